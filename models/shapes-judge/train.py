"""Trains the judge: captions, then reports, then (dpo.py) preferences between its own reports.

    python train.py --export checkpoint              the whole recipe: begins, or goes on where the last run stopped
    python train.py --hours 0.5                      the same for half an hour; the next run goes on
    python train.py --hours 0 --export checkpoint    writes the weights as they are, trains nothing

SIGTERM saves and ends. Everything is kept in --state. How long a stage is and how its learning rate runs is counted in
steps, so that a run which was stopped ten times does what an uninterrupted one does.
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
STEPS = {"captions": 4000, "reports": 4000, "dpo": 100}
"""Most steps of a stage. Captions end earlier, see ENOUGH."""
COOLING = {"captions": 0, "reports": 800, "dpo": 100}
"""Last steps of a stage, over which the learning rate falls to zero."""
AFTER = {"captions": "reports", "reports": "dpo", "dpo": "done"}
WARMUP = 100
ENOUGH = 0.5
"""Share of captions that must be right in every word before reports begin. Those teach seeing at the same cost a
picture, so there is nothing to wait for."""
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


def rate(stage, at):
    """The learning rate of step `at` of a stage."""
    left = (STEPS[stage] - at) / COOLING[stage] if COOLING[stage] else 1.0
    return LEARNING_RATE[stage] * min(1.0, (at + 1) / WARMUP, left)


class Clock:
    """Whether the asked-for time is over, or somebody asked to stop."""

    def __init__(self, hours):
        self.start, self.seconds, self.asked = time.time(), hours * 3600, False
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)

    def stop(self, *_):
        """The signal handler: the step under way is finished first."""
        self.asked = True

    def over(self):
        """Whether to stop before the next step."""
        return self.asked or time.time() - self.start >= self.seconds


def update(run, learning_rate):
    """One step of the optimizers on the gradients that are there, and of the mean. A preference step whose own reports
    were all true has no gradients, and moves nothing."""
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    moved = any(p.grad is not None for p in run.model.parameters())
    for optimizer in run.optimizers if moved else ():
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.average()
    run.step += 1


def take(run, writer, rows):
    """One step of whatever stage it is: gradients, the loss and the measures."""
    if run.stage == "dpo":
        return dpo.step(run, writer, rows)
    return step(run, writer, rows)


def train(run, writer, options):
    """Steps until the recipe is done or the time is over."""
    clock, saved, losses, found = Clock(options.hours), time.time(), [], torch.zeros(3, 2, dtype=torch.long)
    while run.stage != "done" and not clock.over():
        learning_rate = rate(run.stage, run.step)
        loss, right = take(run, writer, options.rows or ROWS[run.stage])
        update(run, learning_rate)
        losses.append(loss)
        found += right
        shares = [(r / n).item() if n else float("nan") for r, n in found]
        if run.step % EVERY == 0:
            named = dict(zip(("exact", "evidence", "verdict"), shares))
            run.log(loss=sum(losses) / len(losses), lr=learning_rate, **named)
            losses, found = [], torch.zeros(3, 2, dtype=torch.long)
        seen = run.stage == "captions" and run.step % EVERY == 0 and shares[0] >= ENOUGH
        if seen or run.step == STEPS[run.stage]:
            run.enter(AFTER[run.stage])
            run.save(options.copy)
        if time.time() - saved > options.save_every:
            run.save(options.copy)
            saved = time.time()
    run.save(options.copy)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--hours", type=float, default=24.0, help="most wall time to train")
    arguments.add_argument("--state", type=pathlib.Path, default=pathlib.Path(__file__).parent / ".state")
    arguments.add_argument("--copy", type=pathlib.Path, help="a second folder for the state")
    arguments.add_argument("--rows", type=int, help="rows of a step; default by stage")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--save-every", type=float, default=180, help="seconds")
    arguments.add_argument("--pid", type=pathlib.Path, help="a file for the process id")
    arguments.add_argument("--export", type=pathlib.Path, help="write a checkpoint folder at the end")
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
    run.model.train()
    train(run, writer, options)
    if options.export:
        network.save_checkpoint(run.mean, tok, options.export)


if __name__ == "__main__":
    main()
