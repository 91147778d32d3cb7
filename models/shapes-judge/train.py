"""Trains the judge: captions, then reports, then (dpo.py) preferences between its own reports.

    python train.py --hours 2                  begins, or goes on where the last run stopped
    python train.py --hours 0.3 --cool         ends a run: the learning rate falls to zero over that time
    python train.py --stage dpo --hours 0.3    the last stage
    python train.py --export checkpoint        writes the mean of the weights as a checkpoint folder, trains nothing

SIGTERM saves and ends. Everything is kept in --state.
"""
import argparse
import os
import pathlib
import signal
import time

import torch
import torch.nn.functional as F

import data
import dpo
import model as network
from optim import optimizers
from state import Run
from text import Writer, tokenizer

LEARNING_RATE = {"captions": 3e-3, "reports": 2e-3, "dpo": 1e-4}
ROWS = {"captions": 32, "reports": 24, "dpo": 16}
WARMUP = 100
ENOUGH = 0.5
"""Share of captions that must be right in every word before reports begin. Those teach seeing at the same cost a
picture, so there is nothing to wait for."""
MOST_CAPTION_STEPS = 4000
FREE_AFTER = 1500
"""Report step from which 3 in 10 prompts use other words than the canonical ones: first compare, then paraphrase."""
EVERY = 20
"""Steps to a line of the log."""


def weighted_loss(logits, labels, weights):
    """Mean of the tokens' losses by weight, and the sum of weights."""
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=data.IGNORED, reduction="none")
    return (loss * weights.flatten()).sum(), weights.sum()


def measures(logits, labels, weights):
    """Teacher-forced accuracies as counts, i64 [3, 2]: (right, all) of whole rows, evidence tokens, verdict tokens."""
    counted = labels != data.IGNORED
    right = logits.argmax(-1) == labels
    out = [torch.tensor([(right | ~counted).all(1).sum(), len(labels)])]
    for weight in (1.0, data.VERDICT_WEIGHT):
        chosen = counted & (weights == weight)
        out.append(torch.tensor([(right & chosen).sum(), chosen.sum()]))
    return torch.stack(out)


def step(run, writer, rows):
    """Gradients of one step of captions or reports; returns the loss and the measures."""
    free = 0.3 if run.step >= FREE_AFTER else 0.0
    batches = data.step_batches(writer, run.stage, run.step, rows, free)
    total = sum(b["weights"].sum() for b in batches)
    loss, found = 0.0, torch.zeros(3, 2, dtype=torch.long)
    for batch in batches:
        logits = network.logits(run.model, batch)
        part, _ = weighted_loss(logits, batch["labels"], batch["weights"])
        (part / total).backward()
        loss += (part / total).item()
        right = measures(logits.detach(), batch["labels"], batch["weights"])
        if "pixel_values" not in batch:
            right[0] = 0  # Without pictures no report can be right in full.
        found += right
    return loss, found


class Clock:
    """How much of the asked-for time is over, and whether somebody asked to stop."""

    def __init__(self, hours):
        self.start, self.seconds, self.asked = time.time(), hours * 3600, False
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)

    def stop(self, *_):
        """The signal handler: the step under way is finished first."""
        self.asked = True

    def share(self):
        """0 at the start, 1 when the time is over or somebody asked."""
        return 1.0 if self.asked else min(1.0, (time.time() - self.start) / self.seconds)


def update(run, rate):
    """One step of the optimizers on the gradients that are there, and of the mean."""
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.average()
    run.step += 1


def train(run, writer, options):
    """Steps until the time is over."""
    clock, saved, losses, found = Clock(options.hours), time.time(), [], torch.zeros(3, 2, dtype=torch.long)
    take = dpo.Stage(run, writer).step if run.stage == "dpo" else lambda rows: step(run, writer, rows)
    while (over := clock.share()) < 1:
        rate = LEARNING_RATE[run.stage] * min(1.0, (run.step + 1) / WARMUP) * ((1 - over) if options.cool else 1)
        loss, right = take(options.rows or ROWS[run.stage])
        update(run, rate)
        losses.append(loss)
        found += right
        if run.step % EVERY == 0:
            shares = [(r / n).item() if n else float("nan") for r, n in found]
            run.log(loss=sum(losses) / len(losses), lr=rate, **dict(zip(("exact", "evidence", "verdict"), shares)))
            losses, found = [], torch.zeros(3, 2, dtype=torch.long)
            if run.stage == "captions" and (shares[0] >= ENOUGH or run.step >= MOST_CAPTION_STEPS):
                run.enter("reports")
        if time.time() - saved > options.save_every:
            run.save(options.copy)
            saved = time.time()
    run.save(options.copy)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--hours", type=float, default=2.0, help="wall time to train")
    arguments.add_argument("--stage", choices=["auto", "captions", "reports", "dpo"], default="auto",
                           help="auto goes on in the stage of the state, and from captions to reports by itself")
    arguments.add_argument("--state", type=pathlib.Path, default=pathlib.Path(__file__).parent / ".state")
    arguments.add_argument("--copy", type=pathlib.Path, help="a second folder for the state")
    arguments.add_argument("--rows", type=int, help="rows of a step; default by stage")
    arguments.add_argument("--cool", action="store_true", help="let the learning rate fall to zero over --hours")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--save-every", type=float, default=180, help="seconds")
    arguments.add_argument("--pid", type=pathlib.Path, help="a file for the process id")
    arguments.add_argument("--export", type=pathlib.Path, help="write a checkpoint folder and end")
    options = arguments.parse_args()
    if options.pid:
        options.pid.write_text(f"{os.getpid()}\n")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tok = tokenizer()
    writer = Writer(tok)
    network.fast_vision()
    model = network.build(writer)
    run = Run(options.state, model, optimizers(model, 1e-3))
    found = run.load()
    print(f"{network.parameters(model)} parameters, vocabulary {len(tok)}, "
          f"{f'on from {run.stage} step {run.step}' if found else 'a fresh run'}", flush=True)
    if options.export:
        network.save_checkpoint(run.mean, tok, options.export)
        return
    if options.stage not in ("auto", run.stage):
        run.enter(options.stage)
    run.model.train()
    train(run, writer, options)


if __name__ == "__main__":
    main()
