"""A training run that can stop and go on: weights, their running mean, optimizers, stage and step in one file."""
import copy
import csv
import pathlib
import shutil
import time

import torch

MEAN = 0.998
"""Decay of the running mean of the weights. The mean is what is evaluated and shipped: it stands in for a decaying
learning rate, so that a run need not know when it will end."""
STAGES = ("captions", "reports", "dpo", "done")
FIELDS = ("stage", "step", "loss", "exact", "evidence", "verdict", "lr", "cpu_s", "time")


class Run:
    """Everything of a run that outlives a process. `folder` holds `state.pt` and `log.csv`."""

    def __init__(self, folder, model, optimizers):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model, self.optimizers = model, optimizers
        self.mean = copy.deepcopy(model).eval().requires_grad_(False)
        self.reference = None
        self.stage, self.step, self.cpu_before = "captions", 0, 0.0

    @property
    def file(self):
        """Where the state is."""
        return self.folder / "state.pt"

    def load(self):
        """Goes on where the folder's state stopped; says whether there was one."""
        if not self.file.exists():
            return False
        kept = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self.mean.load_state_dict(kept["mean"])
        for optimizer, state in zip(self.optimizers, kept["optimizers"]):
            optimizer.load_state_dict(state)
        self.stage, self.step, self.cpu_before = kept["stage"], kept["step"], kept["cpu_s"]
        if kept.get("reference"):
            self.reference = copy.deepcopy(self.mean)
            self.reference.load_state_dict(kept["reference"])
        torch.set_rng_state(kept["rng"])
        self.forget()
        return True

    def forget(self):
        """Takes lines out of the log that are later than the state: a run was killed there, and they come again."""
        path = self.folder / "log.csv"
        if not path.exists():
            return
        head, *lines = path.read_text().splitlines(keepends=True)
        here = STAGES.index(self.stage), self.step
        parts = (line.split(",", 2) for line in lines)
        kept = [line for line, (stage, step, _) in zip(lines, parts) if (STAGES.index(stage), int(step)) <= here]
        path.write_text(head + "".join(kept))

    def save(self, second=None):
        """Writes the state whole or not at all; `second` is a folder for a copy of it and of the log."""
        temporary = self.file.with_suffix(".tmp")
        torch.save(dict(model=self.model.state_dict(), mean=self.mean.state_dict(), stage=self.stage, step=self.step,
                        reference=self.reference and self.reference.state_dict(),
                        optimizers=[o.state_dict() for o in self.optimizers], cpu_s=self.cpu(),
                        rng=torch.get_rng_state()), temporary)
        temporary.replace(self.file)
        if second:
            second = pathlib.Path(second)
            second.mkdir(parents=True, exist_ok=True)
            for file in self.folder.glob("*.*"):
                shutil.copy2(file, second / file.name)

    def cpu(self):
        """CPU seconds of the whole run. Wall time says little on a machine that is shared."""
        return self.cpu_before + time.process_time()

    @torch.no_grad()
    def average(self):
        """Moves the mean towards the weights; faster in a stage's first steps, when it still holds old ones."""
        keep = min(MEAN, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.mean.parameters()), list(self.model.parameters()), 1 - keep)

    def enter(self, stage):
        """Begins a stage at step 0. Weights and optimizers are kept; preferences begin at the mean of the weights,
        and are measured against it."""
        self.stage, self.step = stage, 0
        if stage == "dpo":
            self.model.load_state_dict(self.mean.state_dict())
            self.reference = copy.deepcopy(self.mean)

    def log(self, **values):
        """One line of the log."""
        values.update(stage=self.stage, step=self.step, cpu_s=round(self.cpu()), time=round(time.time()))
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            out = csv.DictWriter(file, FIELDS)
            if new:
                out.writeheader()
            out.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in values.items()})
