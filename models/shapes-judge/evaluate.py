"""How well the judge judges pairs that it was not trained on, free-running: nothing of the true report is given to it.

    python evaluate.py --pairs 200            the state under .state (the mean of its weights)
    python evaluate.py --checkpoint DIR       a checkpoint folder

Every pair is judged in both orders. Seeds are apart from those of training. Prints one JSON document:
    captions            pictures described right in every word, if `--captions` is not 0
    pair_accuracy       right winners over both orders; an answer that does not parse is wrong
    position_consistent pairs whose two answers name the same picture
    format              answers that parse, with scores that sum to ten and no contradiction
    evidence            reasons of categories A and B right in every word
    written_by_the_rule winners that follow, by the rule, from the scores that the judge itself wrote
    verdict_only        winners right when the forced skeleton is all that is written
    by_kind             pair accuracy by what the pictures differ in
"""
import argparse
import collections
import json
import pathlib
import sys

import torch
import transformers as tf

import model as network
import report
from generate import write
from pairs import held_out
from scenes import draw, random_scene, seeded
from text import Writer, caption, skeleton, tokenizer


def chunks(items, size):
    """Slices of at most `size`."""
    return (items[at:at + size] for at in range(0, len(items), size))


def parsed(answer):
    """The report of an answer, or None where it is no report of the format."""
    try:
        document = json.loads(answer)
        names = [category["name"] for category in document["categories"]]
        winners = {document["winner"], *(category["cat_winner"] for category in document["categories"])}
        dims = [dim for category in document["categories"] for dim in category["dims"]]
        ok = names == list(report.CATEGORIES) and winners <= {"Image 1", "Image 2"} and dims
        return document if ok and all(dim["score_1"] + dim["score_2"] == 10 for dim in dims) else None
    except (ValueError, KeyError, TypeError):
        return None


def contradicts(document):
    """Whether winners speak against scores or categories, as the runtime's own check has it."""
    sign = {"Image 1": 1, "Image 2": -1}
    margins = [report.margin(category["dims"]) for category in document["categories"]]
    bests = [sign[category["cat_winner"]] for category in document["categories"]]
    whole = sign[document["winner"]]
    return any(m * b < 0 for m, b in zip(margins, bests)) or sum(margins) * whole < 0 or sum(bests) * whole < 0


def reasons(document):
    """The evidence of categories A and B."""
    return [(dim["reason_1"], dim["reason_2"]) for category in document["categories"][:2] for dim in category["dims"]]


def judge_pairs(model, writer, count, free, size):
    """Judges `count` held-out pairs in both orders, `size` answers at a time; returns the figures."""
    cases = []
    for at in range(count):
        pair, pictures = held_out(at, free)
        cases += [(pair, pictures), (pair.swapped(), pictures[::-1])]
    tally, kinds, winners = collections.Counter(), collections.defaultdict(list), []
    for chunk in chunks(cases, size):
        answers = write(model, writer, *zip(*chunk))
        for (pair, _), answer in zip(chunk, answers):
            true, own = report.report(pair), parsed(answer)
            right = own is not None and own["winner"] == true["winner"]
            winners.append(own and own["winner"])
            kinds[pair.kind].append(right)
            tally["right"] += right
            if own:
                tally["format"] += not contradicts(own)
                tally["evidence"] += reasons(own) == reasons(true)
                a, b = (report.margin(category["dims"]) for category in own["categories"][:2])
                tally["by_rule"] += own["winner"] == report.name(a or b)
        print(f"{len(winners)} of {len(cases)}: {tally['right']} right", flush=True, file=sys.stderr)
    orders = list(zip(winners[::2], winners[1::2]))
    consistent = sum(None not in both and both[0] != both[1] for both in orders)
    share = {key: round(tally[key] / len(cases), 4) for key in ("right", "format", "evidence", "by_rule")}
    return {"pairs": count, "pair_accuracy": share["right"], "position_consistent": round(consistent / count, 4),
            "format": share["format"], "evidence": share["evidence"], "written_by_the_rule": share["by_rule"],
            "by_kind": {kind: [round(sum(r) / len(r), 3), len(r)] for kind, r in sorted(kinds.items())}}


@torch.no_grad()
def verdict_only(model, writer, count, free):
    """Share of right winners at the verdict token behind the forced skeleton, over both orders."""
    right = 0
    for at in range(count):
        pair, pictures = held_out(at, free)
        for asked, shown in ((pair, pictures), (pair.swapped(), pictures[::-1])):
            row = writer.asked(asked.prompt) + writer.encode(skeleton(asked.prompt) + 'Image 1"')[:-2]
            pixels, grid = network.patches(shown)
            ids = torch.tensor([row])
            batch = dict(input_ids=ids, pixel_values=pixels, image_grid_thw=grid,
                         position_ids=network.positions(row, writer.picture)[:, None],
                         mm_token_type_ids=(ids == writer.picture).int())
            last = network.logits(model, batch)[0, -1]
            one, two = (last[writer.digits[digit]] for digit in "12")
            right += ("Image 1" if one >= two else "Image 2") == report.report(asked)["winner"]
    return round(right / (2 * count), 4)


def describe(model, writer, count, size):
    """Share of single held-out pictures whose free-running description is right in every word."""
    cases, right = [], 0
    for at in range(count):
        rng = seeded("held-out caption", at)
        scene = random_scene(rng)
        cases.append((scene, [draw(rng, scene)]))
    for chunk in chunks(cases, size):
        heads = [writer.head(1, "")] * len(chunk)
        answers = write(model, writer, chunk, [pictures for _, pictures in chunk], heads=heads)
        right += sum(answer == caption([scene]) for (scene, _), answer in zip(chunk, answers))
    return round(right / count, 4)


def load(options):
    """The model (eval mode, fast vision path) and the writer."""
    network.fast_vision()
    if options.checkpoint:
        tok = tf.PreTrainedTokenizerFast.from_pretrained(options.checkpoint)
        model = tf.Qwen3VLForConditionalGeneration.from_pretrained(options.checkpoint, dtype=torch.float32)
        return model.eval(), Writer(tok), {"checkpoint": options.checkpoint.name}
    writer = Writer(tokenizer())
    model = network.build(writer)
    kept = torch.load(options.state / "state.pt", weights_only=True)
    model.load_state_dict(kept["mean"])
    return model.eval(), writer, {"stage": kept["stage"], "step": kept["step"], "cpu_s": round(kept["cpu_s"])}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--state", type=pathlib.Path, default=pathlib.Path(__file__).parent / ".state")
    arguments.add_argument("--checkpoint", type=pathlib.Path)
    arguments.add_argument("--pairs", type=int, default=200)
    arguments.add_argument("--captions", type=int, default=200)
    arguments.add_argument("--free", type=float, default=0.3, help="share of prompts in other than canonical words")
    arguments.add_argument("--size", type=int, default=50, help="answers written at a time")
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    model, writer, result = load(options)
    if options.captions:
        result["captions"] = describe(model, writer, options.captions, options.size)
    if options.pairs:
        result.update(judge_pairs(model, writer, options.pairs, options.free, options.size))
        result["verdict_only"] = verdict_only(model, writer, options.pairs, options.free)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
