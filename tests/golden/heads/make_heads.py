#!/usr/bin/env python3
"""Make a tiny random checkpoint that ends in a head of scores, and the scores that the reference implementation
(Hugging Face transformers and torch, float32, CPU) gives for it.

    python make_heads.py --head classifier --family qwen3_vl --seed 1 --out DIR

DIR/checkpoint/      a checkpoint folder laid out as on the Hugging Face hub, bf16 weights
DIR/scored/*.png     the pictures
DIR/scored/NAME/     messages.json and golden.safetensors of one chat

golden.safetensors (S prompt tokens, K scores):
    input_ids     i64 [S]     the prompt after the picture tokens are expanded
    position_ids  i64 [3, S]  temporal, height and width positions
    scores        f32 [K]     in the order of the package's scores

Needs the packages of ../requirements.txt.
"""
import argparse
import json
import pathlib
import random
import sys

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers.modeling_layers import GenericForSequenceClassification

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import make_reference  # noqa: E402
import shared  # noqa: E402

LABELS = ["alignment", "quality"]


class Classifier:
    """`*ForSequenceClassification`: `score.weight` at the last token that is not padding."""

    def __init__(self, base, tok):
        config = base.config
        config.num_labels = len(LABELS)
        config.id2label = dict(enumerate(LABELS))
        config.label2id = {label: i for i, label in enumerate(LABELS)}
        # transformers has the layout without a class of it for these families; trainers declare one as here.
        bases = (GenericForSequenceClassification, next(b for b in type(base).__mro__ if b.__name__.endswith("PreTrainedModel")
                                                        and b.__name__ != "PreTrainedModel"))
        name = type(base).__name__.replace("ConditionalGeneration", "SequenceClassification")
        self.model = type(name, bases, {})(config).float().eval()

    def scores(self, batch):
        """f32 [B, K]"""
        with torch.no_grad():
            return self.model(**batch).logits

    def positions(self, part, batch):
        return part.positions(self.model, batch)


HEADS = {"classifier": Classifier}


def chats(rng, media):
    def save(name, w, h):
        shared.picture(rng, w, h).save(media / name)
        return {"type": "image", "path": name}

    def user(*content):
        return [{"role": "user", "content": list(content)}]

    def text(words):
        return {"type": "text", "text": words}

    one, two = save("a.png", 120, 72), save("b.png", 64, 150)
    yield "text", user(text("No picture at all, 価値 🙂."))
    yield "image", user(one, text("three red circles left of a blue square"))
    yield "tall", user(two, text("drei rote Kreise"))
    yield "pair", user(one, two, text("which of the two is the sharper one?"))


def batch_of(proc, messages, media):
    paths = [media / i["path"] for m in messages for i in m["content"] if i["type"] == "image"]
    images = [Image.open(p).convert("RGB") for p in paths]
    prompt = proc.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return proc(text=[prompt], return_tensors="pt", **({"images": images} if images else {}))


def parse_arguments():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--head", required=True, choices=HEADS)
    ap.add_argument("--family", required=True, choices=make_reference.FAMILIES)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", required=True, type=pathlib.Path)
    options = ap.parse_args()
    return argparse.Namespace(**vars(options), demo=True, longest_edge=96, max_positions=4096, shard_mb=0,
                              dtype="bf16", layout="current")


def main():
    options = parse_arguments()
    rng = random.Random(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)

    part = make_reference.family(options.family)
    tok = shared.make_tokenizer(600, part.CHAT)
    ids = {t: tok.convert_tokens_to_ids(t) for t in shared.SPECIAL}
    base = part.model(options, rng, len(tok) + 8, ids).float().eval()
    head = HEADS[options.head](base, tok)
    make_reference.fill_weights(head.model, bf16=True)
    proc = part.processor(options, tok)
    make_reference.save_checkpoint(part, head.model, proc, ids, options)

    media = options.out / "scored"
    media.mkdir(parents=True, exist_ok=True)
    for name, messages in chats(rng, media):
        batch = batch_of(proc, messages, media)
        gold = {"input_ids": batch["input_ids"][0].to(torch.int64), "scores": head.scores(batch)[0].float(),
                "position_ids": head.positions(part, batch).to(torch.int64).contiguous()}
        (media / name).mkdir(exist_ok=True)
        relative = json.loads(json.dumps(messages))
        for message in relative:
            for item in message["content"]:
                if item["type"] == "image":
                    item["path"] = f"../{item['path']}"
        (media / name / "messages.json").write_text(json.dumps(relative, ensure_ascii=False, indent=1) + "\n")
        save_file(gold, media / name / "golden.safetensors")
        (media / name / "golden.safetensors").chmod(0o644)
        print(f"{options.head} {name}: prompt {len(gold['input_ids'])} tokens, scores {gold['scores'].tolist()}")


if __name__ == "__main__":
    main()
