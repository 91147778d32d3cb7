"""The last stage: direct preference optimization between the true report and a wrong one of the judge's own.

Every step the judge, as it stands, writes reports on fresh pairs, by sampling. Those that differ from the true report
are the rejected side. What is compared are log probabilities of whole answers, against those of the weights with
which the stage began; a share of the ordinary loss on the true report keeps its words likely.
"""
import torch
import torch.nn.functional as F

import data
import model as network
import report
from generate import write
from scenes import SIZE, seeded

BETA = 0.1
"""How far the judge may leave the reference: the usual value of the method."""
KEEP = 0.5
"""Weight of the ordinary loss on the true report."""


def log_probabilities(logits, labels):
    """Log probability of every labelled token, 0 elsewhere: f32 [B, S]."""
    chosen = labels.clamp_min(0)[..., None]
    return logits.log_softmax(-1).gather(-1, chosen)[..., 0] * (labels != data.IGNORED)


def step(run, writer, rows):
    """Gradients of one step on `rows` pairs; returns the loss and counts: of own reports the true ones, and of the
    wrong ones those that are less preferred than the truth."""
    rng = seeded("train", "dpo", run.step)
    pairs = [report.random_pair(rng, None, 0.3) for _ in range(rows)]
    pictures = [pair.pictures(rng, SIZE) for pair in pairs]
    own = write(run.model, writer, pairs, pictures, sample=True)
    true = [report.text(report.report(pair)) for pair in pairs]
    wrong = [at for at in range(rows) if own[at] != true[at]]
    found = torch.zeros(3, 2, dtype=torch.long)
    found[0] = torch.tensor([rows - len(wrong), rows])
    if not wrong:
        return 0.0, found
    loss, better = preference(run, writer, [(pairs[i], true[i], own[i], pictures[i]) for i in wrong])
    found[2] = torch.tensor([int(better.sum()), len(wrong)])
    loss.backward()
    return loss.item(), found


def preference(run, writer, cases):
    """The loss of (pair, true answer, own answer, pictures) cases, and which of them are preferred rightly."""
    rows, pictures = [], []
    for side in (1, 2):
        for case in cases:
            answer = writer.answer(case[side])
            rows.append((writer.asked(case[0].prompt), answer, data.weights_of(writer, answer)))
            pictures += case[3]
    batch = data.batch(writer, rows, pictures)
    tokens = log_probabilities(network.logits(run.model, batch), batch["labels"])
    with torch.no_grad():
        before = log_probabilities(network.logits(run.reference, batch), batch["labels"])
    good, bad = (tokens - before).sum(1).chunk(2)
    weights = batch["weights"].chunk(2)[0]
    ordinary = -(tokens.chunk(2)[0] * weights).sum() / weights.sum()
    return -F.logsigmoid(BETA * (good - bad)).mean() + KEEP * ordinary, good > bad
