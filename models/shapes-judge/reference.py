"""Judges written pairs with the reference implementation: the published modules of transformers and its processor, as
they are, on a checkpoint folder. What the runtime is measured against.

    python pairs.py --out DIR --count 1000
    python reference.py --pairs DIR/pairs.jsonl [--checkpoint checkpoint] [--texts FILE]

Every pair is judged in both orders, greedily. Prints one JSON document in the words of `rewardrt eval`; `--texts`
writes each answer as a line {"id", "order", "text"}.
"""
import argparse
import json
import pathlib
import sys

import torch
import transformers as tf
from PIL import Image

from evaluate import chunks, parsed
from text import HOLE, PROMPT

MOST_TOKENS = 256
"""As the pack has it."""


def questions(path):
    """(row, order, the two pictures in that order), each pair twice."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for order, sides in (("ab", "ab"), ("ba", "ba")):
            yield row, order, [Image.open(path.parent / row[side]).convert("RGB") for side in sides]


@torch.no_grad()
def answers(model, processor, asked):
    """The written answers to some questions."""
    chats = [[{"role": "user", "content": [{"type": "image"}, {"type": "image"},
                                           {"type": "text", "text": PROMPT.replace(HOLE, row["prompt"])}]}]
             for row, _, _ in asked]
    text = [processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    batch = processor(text=text, images=[pictures for _, _, pictures in asked], padding=True, padding_side="left",
                      return_tensors="pt")
    made = model.generate(**batch, max_new_tokens=MOST_TOKENS, do_sample=False)
    return processor.batch_decode(made[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)


def figures(judged):
    """Accuracy by order and together, position consistency and the share of answers that parse. `judged` holds, by
    (id, order), the label and the winner, "a", "b" or None."""
    def share(*orders):
        right = [label == winner for (_, order), (label, winner) in judged.items() if order in orders]
        return sum(right) / len(right)

    ids = {row for row, _ in judged}
    agree = [judged[row, "ab"][1] is not None and judged[row, "ab"][1] == judged[row, "ba"][1] for row in ids]
    both = [judged[row, order][1] is not None for row in ids for order in ("ab", "ba")]
    return {"pairs": len(ids), "accuracy_ab": share("ab"), "accuracy_ba": share("ba"),
            "accuracy_of_answers": share("ab", "ba"), "position_consistency": sum(agree) / len(agree),
            "parsed": sum(both) / len(both)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pairs", type=pathlib.Path, required=True)
    arguments.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path(__file__).parent / "checkpoint")
    arguments.add_argument("--texts", type=pathlib.Path)
    arguments.add_argument("--size", type=int, default=50, help="answers written at a time")
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    processor = tf.AutoProcessor.from_pretrained(options.checkpoint)
    model = tf.AutoModelForImageTextToText.from_pretrained(options.checkpoint, dtype=torch.float32).eval()
    judged, lines = {}, []
    for asked in chunks(list(questions(options.pairs)), options.size):
        for (row, order, _), text in zip(asked, answers(model, processor, asked)):
            document = parsed(text)
            first_wins = document and document["winner"] == "Image 1"
            winner = document and order[0 if first_wins else 1]
            judged[row["id"], order] = row["label"], winner
            lines.append({"id": row["id"], "order": order, "text": text})
        print(f"{len(judged)} answers", file=sys.stderr, flush=True)
    if options.texts:
        options.texts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(json.dumps({**figures(judged), "transformers": tf.__version__, "torch": torch.__version__}, indent=1))


if __name__ == "__main__":
    main()
