"""Batches. Everything is drawn anew for every step, from a generator seeded by stage and step: a resumed run goes on
with exactly the batches that an uninterrupted one would have had, and no picture is ever stored."""
import torch

import report
from model import patches, positions
from scenes import SIZE, draw, random_scene, seeded
from text import caption, skeleton

FRAME_WEIGHT = 0.1
"""Weight of the report's fixed frame in the loss. It is right after a hundred steps and carries no judgement."""
VERDICT_WEIGHT = 2.0
"""Weight of scores and winners: few tokens, on which everything depends."""
UNSEEN_WEIGHT = 0.3
"""Weight of evidence in reports without pictures. It cannot be known there, but that no mark follows a word can."""
IGNORED = -100


def batch(writer, rows, pictures):
    """One batch from rows of (head ids, answer ids, weight of every answer token), each with as many pictures.

    Returns tensors: input_ids i64 [B, S], labels i64 [B, S] (the id that follows, or -100), weights f32 [B, S],
    position_ids i64 [3, B, S], mm_token_type_ids i32 [B, S], and with pictures those of `patches`.
    """
    length = max(len(head) + len(answer) for head, answer, _ in rows)
    ids = torch.full((len(rows), length), writer.pad)
    labels = torch.full((len(rows), length), IGNORED)
    weights = torch.zeros((len(rows), length))
    for at, (head, answer, weight) in enumerate(rows):
        whole, start = head + answer, len(head) - 1
        ids[at, :len(whole)] = torch.tensor(whole)
        labels[at, start:start + len(answer)] = torch.tensor(answer)
        weights[at, start:start + len(answer)] = torch.tensor(weight)
    # Pictures stand at the same places in all rows, so one row's positions are everyone's.
    where = positions(ids[0].tolist(), writer.picture)[:, None].expand(-1, len(rows), -1)
    made = dict(input_ids=ids, labels=labels, weights=weights, position_ids=where,
                mm_token_type_ids=(ids == writer.picture).int())
    if pictures:
        made["pixel_values"], made["image_grid_thw"] = patches(pictures)
    return made


def weights_of(writer, answer):
    """The loss weight of every token of an answer."""
    verdict = set(writer.digits.values())
    return [FRAME_WEIGHT if t in writer.frame else VERDICT_WEIGHT if t in verdict else 1.0 for t in answer]


def captions(writer, rng, count, shown):
    """`count` rows that describe `shown` unrelated pictures each (1 or 2)."""
    rows, pictures = [], []
    for _ in range(count):
        scenes = [random_scene(rng) for _ in range(shown)]
        answer = writer.answer(caption(scenes))
        rows.append((writer.head(shown, ""), answer, [1.0] * len(answer)))
        pictures += [draw(rng, scene) for scene in scenes]
    return batch(writer, rows, pictures)


def reports(writer, rng, count, groups, free):
    """`count` judged pairs. `groups`: of each prompt, so that rows have about one length; `free`: see `wording`."""
    rows, pictures = [], []
    for _ in range(count):
        pair = report.random_pair(rng, groups, free)
        answer = writer.answer(report.text(report.report(pair)))
        rows.append((writer.asked(pair.prompt), answer, weights_of(writer, answer)))
        pictures += pair.pictures(rng, SIZE)
    return batch(writer, rows, pictures)


def unseen(writer, rng, count, groups):
    """`count` reports whose question comes without its pictures: comparing, learned apart from seeing.

    What the report says is in the pictures is given to it, as everything before a token is; which words differ from
    the prompt, the scores and the winners follow from that. Pictures stand before the prompt, so leaving them out
    moves nothing between prompt and report, and what is learned here holds with pictures too, at half the cost.
    """
    rows = []
    marks = {writer.encode(mark)[0] for mark in (" (not", ")")}
    for _ in range(count):
        pair = report.random_pair(rng, groups)
        answer = writer.answer(report.text(report.report(pair)))
        weights = [UNSEEN_WEIGHT if weight == 1 and token not in marks else weight
                   for token, weight in zip(answer, weights_of(writer, answer))]
        rows.append((writer.unseen(pair.prompt), answer, weights))
    return batch(writer, rows, [])


def verdicts(writer, rng, count, free):
    """`count` pairs judged without a report: the forced skeleton, and the loss on the winner's digit alone."""
    rows, pictures = [], []
    for _ in range(count):
        pair = report.random_pair(rng, None, free)
        forced = skeleton(pair.prompt)
        whole = writer.answer(forced + report.report(pair)["winner"] + '"}')
        rows.append((writer.asked(pair.prompt) + whole[:-3], whole[-3:], [VERDICT_WEIGHT, 0.0, 0.0]))
        pictures += pair.pictures(rng, SIZE)
    return batch(writer, rows, pictures)


def step_batches(writer, stage, step, size, free):
    """The batches of one optimizer step, together `size` rows; their losses are averaged by weight."""
    rng = seeded("train", stage, step)
    if stage == "captions":
        seen = [captions(writer, rng, 3 * size // 8, shown) for shown in (1, 2)]
        return seen + [unseen(writer, rng, size // 4, 1 + step % 2)]
    made = [reports(writer, rng, size // 2, groups, free) for groups in (1, 2)]
    return made + [verdicts(writer, rng, size // 8, free)]
