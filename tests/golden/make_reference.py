#!/usr/bin/env python3
"""Make a tiny random checkpoint of one model family, and the golden values that the
reference implementation (Hugging Face transformers, float32, CPU, greedy) gives for it.

    python make_reference.py --family qwen3_vl --seed 7 --out DIR

DIR/checkpoint/     a checkpoint folder laid out as on the Hugging Face hub
DIR/cases/*.png     the pictures, and v.mp4, a video of 45 frames whose coding loses nothing
DIR/cases/NAME/     messages.json, golden.safetensors and golden.json of one chat

golden.safetensors (S prompt tokens, N pictures or videos, P patches in all, M merged tokens of them in all, T new tokens):
    input_ids       i64 [S]       the prompt after the picture tokens are expanded
    position_ids    i64 [3, S]    temporal, height and width positions
    first_logits    f32 [V]       after the prompt
    new_ids         i64 [T]       greedy; the end token that stopped it is the last one
    margins         f32 [T]       top-1 minus top-2 logit of every greedy step
and, where the chat has pictures:
    image_grid_thw  i64 [N, 3]    patches of each picture in time (or tiles), height and width
    resized_I       u8 [h, w, 3]  picture I after the processor's resize, before normalisation
    pixel_values    f32 [P, D]    what the vision tower is given
    vision          f32 [M, H]    what its merger puts in place of the picture tokens
    deepstack_K     f32 [M, H]    what is added to the hidden states after decoder layer K
A video's `pixel_values_videos` and `video_grid_thw` stand in the place of `pixel_values` and `image_grid_thw`; frames stand
in the place of time where each is seen alone. There are no resized bytes of videos.
golden.json: the prompt as a string, the generated text and ids, the smallest margin, library versions.

Needs the packages of requirements.txt beside this file.
"""
import argparse
import importlib.util
import json
import pathlib
import random

import torch
import transformers as tf
from PIL import Image
from safetensors.torch import save_file

import shared

HERE = pathlib.Path(__file__).parent
FAMILIES = sorted(path.parent.name for path in HERE.glob("*/reference.py"))


def family(name):
    """The family's part: CHAT, model, processor, legacy_layout, positions, resized and features; qwen3_vl's file is the
    example. A part may have more special tokens, more layouts, its own way to encode pictures, settle what random
    weights give (llava_onevision's file has all of them), and have a TEMPLATE of what its chat template is told."""
    spec = importlib.util.spec_from_file_location(name, HERE / name / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill_weights(model, bf16):
    """Wide weights: the context decides each token, and its margin is clear."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim >= 2 and "patch_embed" not in name and "pos_embed" not in name:
                wide = 1.0 if "embed_tokens" in name or "lm_head" in name else 2.2 / p.shape[-1] ** 0.5
                p.copy_(torch.randn_like(p) * wide)
            elif "norm" in name:
                p.add_(torch.randn_like(p) * 0.1)
            elif "bias" in name:
                p.add_(torch.randn_like(p) * 0.05)
            if bf16:
                p.copy_(p.bfloat16().float())


def save_checkpoint(part, model, proc, ids, options):
    ckpt = options.out / "checkpoint"
    model.generation_config = tf.GenerationConfig(eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]],
                                                  pad_token_id=ids["<|endoftext|>"], do_sample=False)
    bf16 = options.dtype == "bf16"
    kw = {"max_shard_size": f"{options.shard_mb}MB"} if options.shard_mb else {}
    if bf16:
        kw["state_dict"] = {k: v.bfloat16() for k, v in model.state_dict().items()}
    model.save_pretrained(ckpt, **kw)
    if bf16:
        config = json.loads((ckpt / "config.json").read_text())
        for section in [config, config["text_config"], config["vision_config"]]:
            section["dtype"] = "bfloat16"
        (ckpt / "config.json").write_text(json.dumps(config, indent=1))
    proc.save_pretrained(ckpt)
    if options.layout != "current":
        getattr(part, options.layout + "_layout")(ckpt)
    for file in ckpt.iterdir():
        file.chmod(0o644)


def cases(rng, media, videos):
    def save(name, w, h):
        shared.picture(rng, w, h).save(media / name)
        return {"type": "image", "path": name}
    pair = [save("a.png", 200, 120), save("b.png", 97, 211)]
    text = {"type": "text", "text": "Compare Image 1 and Image 2 for the prompt: drei rote Kreise, 価値 🙂."}
    yield "text", [{"role": "user", "content": [{"type": "text", "text": "Which is better, one or two?  \n\nAnswer:"}]}]
    yield "image", [{"role": "user", "content": [save("c.png", 64, 300), {"type": "text", "text": "Score it."}]}]
    yield "pair", [{"role": "user", "content": pair + [text]}]
    yield "system_multi", [
        {"role": "system", "content": [{"type": "text", "text": "You judge images."}]},
        {"role": "user", "content": [pair[0], {"type": "text", "text": "and"}, pair[1], text, save("d.png", 40, 40)]}]
    if videos:
        shared.write_video(media / "v.mp4", 45, 15)
        motion = [{"type": "video", "path": "v.mp4"}, {"type": "text", "text": "Rate the motion."}]
        yield "video", [{"role": "user", "content": motion}]


def golden(part, model, proc, messages, media, options):
    """Runs the reference on one chat and returns what it gave, by tensor name."""
    items = [i for m in messages for i in m["content"]]
    images = [Image.open(media / i["path"]).convert("RGB") for i in items if i["type"] == "image"]
    videos = [shared.read_video(media / i["path"]) for i in items if i["type"] == "video"]
    told = getattr(part, "TEMPLATE", {})
    prompt = proc.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **told)
    batch = getattr(part, "encode", shared.encode)(proc, prompt, images, videos)
    with torch.no_grad():
        out = model.generate(**batch, max_new_tokens=options.new_tokens, do_sample=False, output_logits=True,
                             return_dict_in_generate=True, use_cache=True)
    logits = torch.stack(out.logits, 0)[:, 0].float()
    top = logits.topk(2, -1).values
    new = out.sequences[0, batch["input_ids"].shape[1]:]
    gold = {"input_ids": batch["input_ids"][0].to(torch.int64), "first_logits": logits[0].clone(),
            "new_ids": new.to(torch.int64), "margins": (top[:, 0] - top[:, 1])[: len(new)].clone()}
    gold["position_ids"] = part.positions(model, batch).to(torch.int64).contiguous()
    if images:
        for i, pixels in enumerate(part.resized(proc, images, batch["pixel_values"])):
            gold[f"resized_{i}"] = pixels
        for key in ("pixel_values", "image_grid_thw"):
            if key in batch and not (options.thin and key == "pixel_values" and len(images) > 1):
                gold[key] = batch[key].contiguous()
    if videos:
        for key in ("pixel_values_videos", "video_grid_thw"):
            if key in batch:
                gold[key] = batch[key].contiguous()
    if images or videos:
        for name, tensor in part.features(model, batch).items():
            gold[name] = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
    return gold


def write_case(folder, messages, gold, tok, options):
    folder.mkdir(exist_ok=True)
    relative = json.loads(json.dumps(messages))
    for m in relative:
        for item in m["content"]:
            if "path" in item:
                item["path"] = "../" + item["path"]
    (folder / "messages.json").write_text(json.dumps(relative, ensure_ascii=False, indent=1) + "\n")
    save_file(gold, folder / "golden.safetensors")
    (folder / "golden.safetensors").chmod(0o644)
    (folder / "golden.json").write_text(json.dumps({
        "prompt": tok.decode(gold["input_ids"]), "text": tok.decode(gold["new_ids"], skip_special_tokens=True),
        "new_ids": gold["new_ids"].tolist(), "min_margin": float(gold["margins"].min()), "family": options.family,
        "seed": options.seed, "transformers": tf.__version__, "torch": torch.__version__},
        ensure_ascii=False, indent=1) + "\n")


def parse_arguments():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--family", default="qwen3_vl", choices=FAMILIES)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", required=True, type=pathlib.Path)
    ap.add_argument("--new-tokens", type=int, default=24)
    ap.add_argument("--shard-mb", type=int, default=0, help="split the weights into shards of this size")
    ap.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32", help="of the stored weights")
    ap.add_argument("--layout", choices=["current", "legacy", "original"], default="current",
                    help="legacy: as transformers 4.x wrote it; original: as the authors' own code did")
    ap.add_argument("--longest-edge", type=int, default=192, help="side of a square with the processor's pixel limit")
    ap.add_argument("--thin", action="store_true", help="record pixel_values only where a chat has one picture")
    ap.add_argument("--max-positions", type=int, default=4096, help="the context length that config.json tells")
    ap.add_argument("--demo", action="store_true", help="the smallest sizes; the checkpoint only, no golden cases")
    return ap.parse_args()


def main():
    options = parse_arguments()
    rng = random.Random(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)

    part = family(options.family)
    if options.layout != "current" and not hasattr(part, options.layout + "_layout"):
        print(f"{options.family} has no {options.layout} layout")
        return
    special = getattr(part, "SPECIAL", shared.SPECIAL)
    tok = shared.make_tokenizer(600, part.CHAT, special)
    ids = {t: tok.convert_tokens_to_ids(t) for t in special}
    model = part.model(options, rng, len(tok) + 8, ids).float().eval()
    fill_weights(model, options.dtype == "bf16")
    if hasattr(part, "settle"):
        part.settle(model)
    proc = part.processor(options, tok)
    save_checkpoint(part, model, proc, ids, options)
    if options.demo:
        return

    media = options.out / "cases"
    media.mkdir(parents=True, exist_ok=True)
    # The exporter's template of the original code's layout knows no videos.
    for name, messages in cases(rng, media, options.layout != "original"):
        gold = golden(part, model, proc, messages, media, options)
        write_case(media / name, messages, gold, tok, options)
        print(f"{options.family} {name}: prompt {len(gold['input_ids'])} tokens, new {len(gold['new_ids'])}, "
              f"distinct {len(set(gold['new_ids'].tolist()))}, min margin {gold['margins'].min():.4f}")


if __name__ == "__main__":
    main()
