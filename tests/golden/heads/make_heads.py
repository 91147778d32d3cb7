#!/usr/bin/env python3
"""Make a tiny random checkpoint that ends in a head of scores, and the scores that the reference implementation
(Hugging Face transformers and torch, float32, CPU) gives for it.

    python make_heads.py --head preference --family qwen2_vl --seed 1 --out DIR

    classifier   `*ForSequenceClassification`, transformers' own forward
    preference   HPSv3: an MLP at `<|Reward|>`; pictures of a fixed number of pixels, resized by Pillow
    video        VideoReward: a linear layer at three tokens, standardised; a low-rank adapter beside the weights, which
                 the reference keeps apart from them

DIR/checkpoint/      a checkpoint folder laid out as on the Hugging Face hub, bf16 weights
DIR/scored/*.png     the pictures
DIR/scored/NAME/     messages.json, golden.json and golden.safetensors of one chat
DIR/clips/NAME/      the same of a video as its frames, where the head is for videos; golden.json names the frames

golden.safetensors (S prompt tokens, K scores):
    input_ids     i64 [S]     the prompt after the picture tokens are expanded
    position_ids  i64 [3, S]  temporal, height and width positions
    scores        f32 [K]     in the order of the package's scores
golden.json: the caption, whose place in the prompt of the head's own pack the text is, and where the head's code resizes
pictures itself the SHA-256 of each one's RGB bytes after that.

Needs the packages of ../requirements.txt.
"""
import argparse
import functools
import hashlib
import json
import pathlib
import random
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import v2 as transforms
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import make_reference  # noqa: E402
import shared  # noqa: E402

LABELS = ["alignment", "quality"]
PACKS = HERE.parents[2] / "models" / "packs"
RANK, ALPHA = 4, 6
DIMENSIONS = ["VQ", "MQ", "TA"]
NORMS = {"VQ_mean": 0.3, "VQ_std": 1.7, "MQ_mean": -0.8, "MQ_std": 0.6, "TA_mean": 1.1, "TA_std": 2.4}


class Classifier:
    """`score.weight` at the last token that is not padding."""

    pack, tokens, longest_edge = "scores-image", [], 96

    def __init__(self, base, tok):
        config = base.config
        config.num_labels = len(LABELS)
        config.id2label = dict(enumerate(LABELS))
        config.label2id = {label: i for i, label in enumerate(LABELS)}
        # transformers has the layout without a class of it for these families; trainers declare one as here.
        parents = [b for b in type(base).__mro__ if b.__name__.endswith("PreTrainedModel")]
        name = type(base).__name__.replace("ConditionalGeneration", "SequenceClassification")
        self.model = type(name, (GenericForSequenceClassification, parents[0]), {})(config).float().eval()

    def tame(self):
        pass

    def opened(self, image):
        return image

    def positions(self, part, batch):
        return part.positions(self.model, batch)

    def scores(self, batch):
        with torch.no_grad():
            return self.model(**batch).logits[0]

    def finish(self, checkpoint):
        pass


class Reward:
    """`rm_head` at tokens of its own. The published code calls the model with embeddings only, so that it numbers the
    tokens of pictures as those of text."""

    def __init__(self, base, tok):
        name = type(base).__name__.replace("ForConditionalGeneration", "RewardModelBT")
        self.model = type(name, (type(base),), {})(base.config).float().eval()
        self.model.rm_head = self.layers(base.config.text_config.hidden_size)
        self.model.save_pretrained = functools.partial(self.model.save_pretrained, save_original_format=False)
        self.ids = [tok.convert_tokens_to_ids(token) for token in self.tokens]

    def tame(self):
        """The wide weights of the rest would make of three more layers a measure of float noise."""
        with torch.no_grad():
            for weight in self.model.rm_head.parameters():
                weight.mul_(0.5)

    def opened(self, image):
        return image

    def positions(self, part, batch):
        return torch.arange(batch["input_ids"].shape[1]).expand(3, -1)

    def hidden(self, batch):
        model, ids = self.model.model, batch["input_ids"]
        embedded = model.language_model.embed_tokens(ids)
        for kind, pixels, grid in [("image", "pixel_values", "image_grid_thw"),
                                   ("video", "pixel_values_videos", "video_grid_thw")]:
            if pixels in batch:
                seen = model.visual(batch[pixels], grid_thw=batch[grid], return_dict=True).pooler_output
                mask = (ids == getattr(self.model.config, f"{kind}_token_id"))[..., None].expand_as(embedded)
                embedded = embedded.masked_scatter(mask, seen)
        return model(input_ids=None, inputs_embeds=embedded, attention_mask=batch["attention_mask"])[0]

    def rows(self, batch):
        """The head's outputs at its tokens, f32 [tokens, outputs]"""
        with torch.no_grad():
            out = self.model.rm_head(self.hidden(batch))[0]
        return torch.stack([out[batch["input_ids"][0] == token][0] for token in self.ids])


class Preference(Reward):
    pack, tokens, longest_edge = "hpsv3", ["<|Reward|>"], 1000

    def layers(self, hidden):
        nn = torch.nn
        return nn.Sequential(nn.Linear(hidden, 1024), nn.ReLU(), nn.Dropout(0.05), nn.Linear(1024, 16), nn.ReLU(),
                             nn.Linear(16, 2)).eval()

    def opened(self, image):
        pixels = 256 * 28 * 28
        height, width = smart_resize(image.height, image.width, factor=28, min_pixels=pixels, max_pixels=pixels)
        image = image.resize((width, height))
        self.resized.append(hashlib.sha256(image.tobytes()).hexdigest())
        return image

    def scores(self, batch):
        return self.rows(batch)[0]

    def finish(self, checkpoint):
        pass


class Video(Reward):
    pack, tokens, longest_edge = "videoreward", [f"<|{name}_reward|>" for name in DIMENSIONS], 1000

    def opened(self, image):
        image = Image.fromarray(self.resized_frame(image).permute(1, 2, 0).numpy())
        self.resized.append(hashlib.sha256(image.tobytes()).hexdigest())
        return image

    def resized_frame(self, image):
        """u8 [3, h, w], by the transform that the processors use. The published code calls an older one, which keeps
        floats between its two passes: a few steps of a byte, at edges."""
        height, width = smart_resize(image.height, image.width, factor=28, min_pixels=128 * 28 * 28, max_pixels=200704)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()
        return transforms.functional.resize(pixels, [height, width], transforms.InterpolationMode.BICUBIC)[0]

    def layers(self, hidden):
        return torch.nn.Linear(hidden, len(DIMENSIONS), bias=False)

    def adapt(self):
        """Gives every linear layer of the decoder a pair, kept apart from its weight."""
        self.pairs = {}
        for name, module in self.model.named_modules():
            if isinstance(module, torch.nn.Linear) and "language_model" in name:
                out, inputs = module.weight.shape
                a, b = torch.randn(RANK, inputs) / inputs ** 0.5, torch.randn(out, RANK) * 0.4
                a, b = a.bfloat16().float(), b.bfloat16().float()
                self.pairs[name] = (a, b)
                module.register_forward_hook(
                    lambda _, args, result, a=a, b=b: result + ALPHA / RANK * (args[0] @ a.T @ b.T))

    def scores(self, batch):
        raw = self.rows(batch).diagonal().tolist()
        scores = [(score - NORMS[f"{name}_mean"]) / NORMS[f"{name}_std"] for name, score in zip(DIMENSIONS, raw)]
        return torch.tensor(scores + [sum(scores)])

    def finish(self, checkpoint):
        pairs = {}
        for name, (a, b) in self.pairs.items():
            pairs[f"base_model.model.{name}.lora_A.weight"] = a.bfloat16()
            pairs[f"base_model.model.{name}.lora_B.weight"] = b.bfloat16()
        save_file(pairs, checkpoint / "adapter_model.safetensors")
        (checkpoint / "adapter_config.json").write_text(json.dumps({
            "base_model_name_or_path": "base", "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
            "init_lora_weights": True, "layers_pattern": None, "lora_alpha": ALPHA, "lora_dropout": 0.05,
            "modules_to_save": None, "peft_type": "LORA", "r": RANK, "rank_pattern": {}, "alpha_pattern": {},
            "target_modules": sorted(self.pairs), "task_type": "CAUSAL_LM", "use_dora": False, "use_rslora": False,
        }, indent=1) + "\n")
        (checkpoint / "model_config.json").write_text(json.dumps({
            "data_config": {"max_frame_pixels": 200704, "fps": 2.0, "prompt_template_type": "detailed_special"},
            "model_config": {"output_dim": 3, "use_special_tokens": True, "reward_token": "special"},
            "inference_config": NORMS,
        }, indent=1) + "\n")


HEADS = {"classifier": Classifier, "preference": Preference, "video": Video}


def chats(rng, media, pack):
    """Name, caption and messages; the pack's prompt is the text of each."""
    prompt = (PACKS / pack / "prompt.txt").read_text()

    def save(name, w, h):
        shared.picture(rng, w, h).save(media / name)
        return {"type": "image", "path": name}

    def chat(caption, *pictures):
        text = {"type": "text", "text": prompt.replace("{caption}", caption)}
        return caption, [{"role": "user", "content": [*pictures, text]}]

    one, two = save("a.png", 120, 72), save("b.png", 64, 150)
    yield "text", *chat("No picture at all, 価値 🙂.")
    yield "image", *chat("three red circles left of a blue square", one)
    yield "tall", *chat("drei rote Kreise", two)
    yield "pair", *chat("which of the two is the sharper one?", one, two)


def batch_of(head, proc, messages, media):
    paths = [media / i["path"] for m in messages for i in m["content"] if i["type"] == "image"]
    head.resized = []
    images = [head.opened(Image.open(p).convert("RGB")) for p in paths]
    prompt = proc.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return proc(text=[prompt], return_tensors="pt", **({"images": images} if images else {}))


def clips(rng, media, pack):
    """Name, caption, frames and the text; an odd number of frames fills its last temporal patch with a copy."""
    prompt = (PACKS / pack / "prompt.txt").read_text()
    for name, count, size in [("even", 4, (64, 48)), ("odd", 3, (40, 60))]:
        frames = [f"{name}-{i}.png" for i in range(count)]
        for frame in frames:
            shared.picture(rng, *size).save(media / frame)
        caption = f"a {name} number of frames, Größe 価値"
        yield name, caption, frames, prompt.replace("{caption}", caption)


def clip_batch(head, proc, frames, text, media):
    video = torch.stack([head.resized_frame(Image.open(media / frame).convert("RGB")) for frame in frames])
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}]
    prompt = proc.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return proc(text=[prompt], videos=[video], return_tensors="pt", do_resize=False, do_sample_frames=False)


def gold_of(head, part, batch):
    return {"input_ids": batch["input_ids"][0].to(torch.int64), "scores": head.scores(batch).float().contiguous(),
            "position_ids": head.positions(part, batch).to(torch.int64).contiguous()}


def write(folder, gold, about):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "golden.json").write_text(json.dumps(about, ensure_ascii=False) + "\n")
    save_file(gold, folder / "golden.safetensors")
    (folder / "golden.safetensors").chmod(0o644)
    print(f"{folder.name}: prompt {len(gold['input_ids'])} tokens, scores {gold['scores'].tolist()}")


def parse_arguments():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--head", required=True, choices=HEADS)
    ap.add_argument("--family", required=True, choices=make_reference.FAMILIES)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", required=True, type=pathlib.Path)
    options = ap.parse_args()
    return argparse.Namespace(**vars(options), demo=True, longest_edge=HEADS[options.head].longest_edge,
                              max_positions=4096, shard_mb=0, dtype="bf16", layout="current")


def main():
    options = parse_arguments()
    rng = random.Random(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)

    part = make_reference.family(options.family)
    tok = shared.make_tokenizer(600, part.CHAT, shared.SPECIAL)
    tok.add_special_tokens({"additional_special_tokens": HEADS[options.head].tokens}, replace_extra_special_tokens=False)
    ids = {t: tok.convert_tokens_to_ids(t) for t in shared.SPECIAL}
    base = part.model(options, rng, len(tok) + 8, ids).float().eval()
    head = HEADS[options.head](base, tok)
    make_reference.fill_weights(head.model, bf16=True)
    head.tame()
    proc = part.processor(options, tok)
    make_reference.save_checkpoint(part, head.model, proc, ids, options)
    if hasattr(head, "adapt"):
        head.adapt()
    head.finish(options.out / "checkpoint")

    media = options.out / "scored"
    media.mkdir(parents=True, exist_ok=True)
    for name, caption, messages in chats(rng, media, head.pack):
        batch = batch_of(head, proc, messages, media)
        write(media / name, gold_of(head, part, batch), {"caption": caption, "resized": head.resized})
        relative = json.loads(json.dumps(messages))
        for message in relative:
            for item in message["content"]:
                if item["type"] == "image":
                    item["path"] = f"../{item['path']}"
        (media / name / "messages.json").write_text(json.dumps(relative, ensure_ascii=False, indent=1) + "\n")
    if hasattr(head, "resized_frame"):
        media = options.out / "clips"
        media.mkdir(exist_ok=True)
        for name, caption, frames, text in clips(rng, media, head.pack):
            gold = gold_of(head, part, clip_batch(head, proc, frames, text, media))
            write(media / name, gold, {"caption": caption, "frames": frames})


if __name__ == "__main__":
    main()
