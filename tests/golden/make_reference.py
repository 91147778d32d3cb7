#!/usr/bin/env python3
"""Make a tiny random checkpoint of one model family, and the golden values that the
reference implementation (Hugging Face transformers, float32, CPU, greedy) gives for it.

    python make_reference.py --family qwen3_vl --seed 7 --out DIR

DIR/checkpoint/     a checkpoint folder laid out as on the Hugging Face hub
DIR/cases/*.png     the pictures
DIR/cases/NAME/     messages.json, golden.safetensors and golden.json of one chat

golden.safetensors (S prompt tokens, N pictures, P patches in all, M merged picture tokens in all, T new tokens):
    input_ids       i64 [S]       the prompt after the picture tokens are expanded
    position_ids    i64 [3, S]    temporal, height and width positions
    first_logits    f32 [V]       after the prompt
    new_ids         i64 [T]       greedy; the end token that stopped it is the last one
    margins         f32 [T]       top-1 minus top-2 logit of every greedy step
and, where the chat has pictures:
    image_grid_thw  i64 [N, 3]    patches of each picture in time, height and width
    resized_I       u8 [h, w, 3]  picture I after the processor's resize, before normalisation
    pixel_values    f32 [P, D]    what the vision tower is given
    vision          f32 [M, H]    what its merger puts in place of the picture tokens
    deepstack_K     f32 [M, H]    what is added to the hidden states after decoder layer K
golden.json: the prompt as a string, the generated text and ids, the smallest margin, library versions.

Needs the packages of requirements.txt beside this file.
"""
import argparse
import json
import pathlib
import random

import numpy as np
import torch
import transformers as tf
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.image_utils import SizeDict

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
           "<|image_pad|>", "<|video_pad|>"]
# Control tokens that the published tokenizers do not mark as special: the trap for anyone who only strips special ones.
ADDED = ["<think>", "</think>"]
CORPUS = [
    "Compare Image 1 and Image 2 for the prompt: three red circles left of a blue square. "
    "Semantic alignment, image quality, aesthetics. Image 1 follows the prompt; Image 2 does not. ",
    '{"prompt": "a cat", "categories": [{"name": "Alignment", "dims": [{"name": "Count", "reason_1": "three '
    'circles are shown", "reason_2": "one circle", "score_1": 8, "score_2": 2}], "cat_reason": "clear", '
    '"cat_winner": "Image 1"}], "reason": "overall", "winner": "Image 1"}\n',
    "The video is smooth, stable and physically plausible; the camera moves slowly. Video 2 flickers. ",
    "Größe, café, naïve, 価値, 評価, 图像 1 更好, Пример, emoji 🙂, tabs\tand\nnew lines\n\n  two spaces. ",
    "first compare the content, then give the answer: Image 1 is better, score: 4.25 of 5. ",
]
CHAT = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for item in message.content %}"
    "{%- if item.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif item.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif item.type == 'text' %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}")


def make_tokenizer(vocab_size):
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(CORPUS * 3, trainer)
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                      additional_special_tokens=SPECIAL[1:])
    fast.add_tokens(ADDED)
    fast.chat_template = CHAT
    return fast


def qwen3_vl_model(options, rng, vocab, ids):
    """Small, but with every odd corner: more heads than KV heads, head sizes of 16 and 32, tied and untied heads."""
    hidden, heads, kv, head_dim = rng.choice([(64, 4, 2, 16), (96, 6, 2, 16), (64, 4, 1, 32)])
    layers, tied = rng.choice([3, 4]), rng.random() < 0.5
    vision = dict(depth=4, hidden_size=48, num_heads=4, intermediate_size=96, deepstack_visual_indexes=[1, 2])
    if options.demo:
        hidden, heads, kv, head_dim, layers, tied = 64, 4, 2, 16, 2, True
        vision = dict(depth=2, hidden_size=32, num_heads=2, intermediate_size=64, deepstack_visual_indexes=[0])
    third = head_dim // 2 // 4
    rope = dict(rope_type="default", rope_theta=5e6, mrope_section=[head_dim // 2 - 2 * third, third, third],
                mrope_interleaved=True)
    text = dict(vocab_size=vocab, hidden_size=hidden, intermediate_size=2 * hidden + 32, num_hidden_layers=layers,
                num_attention_heads=heads, num_key_value_heads=kv, head_dim=head_dim,
                max_position_embeddings=options.max_positions, tie_word_embeddings=tied,
                eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"], bos_token_id=None,
                rope_parameters=rope)
    vision.update(patch_size=16, spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=hidden,
                  num_position_embeddings=64)
    config = tf.Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=tied,
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"])
    return tf.Qwen3VLForConditionalGeneration(config)


def qwen3_vl_processor(options, tok):
    image = tf.Qwen2VLImageProcessor(patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3,
                                     image_std=[0.5] * 3,
                                     size=dict(shortest_edge=64 * 64, longest_edge=options.longest_edge ** 2))
    video = tf.Qwen3VLVideoProcessor(size=dict(shortest_edge=4 * 32 * 32, longest_edge=4 * 128 * 128), fps=2,
                                     min_frames=4, max_frames=8, cap_pixels_per_frame=False)
    return tf.Qwen3VLProcessor(image_processor=image, tokenizer=tok, video_processor=video,
                               chat_template=tok.chat_template)


# One row a family: how its model and its processor are built.
FAMILIES = {"qwen3_vl": (qwen3_vl_model, qwen3_vl_processor)}


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


def save_checkpoint(model, proc, ids, options, ckpt):
    model.generation_config = tf.GenerationConfig(eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]],
                                                  pad_token_id=ids["<|endoftext|>"], do_sample=False)
    bf16 = options.dtype == "bf16"
    kw = {"max_shard_size": f"{options.shard_mb}MB"} if options.shard_mb else {}
    if bf16:
        kw["state_dict"] = {k: v.bfloat16() for k, v in model.state_dict().items()}
    model.save_pretrained(ckpt, **kw)
    if bf16:
        config = json.loads((ckpt / "config.json").read_text())
        for part in [config, config["text_config"], config["vision_config"]]:
            part["dtype"] = "bfloat16"
        (ckpt / "config.json").write_text(json.dumps(config, indent=1))
    proc.save_pretrained(ckpt)
    if options.layout == "legacy":
        legacy_layout(ckpt)
    for file in ckpt.iterdir():
        file.chmod(0o644)


def legacy_layout(ckpt):
    """Rewrite the folder as transformers 4.x wrote it: the layout of most published checkpoints."""
    cfg = json.loads((ckpt / "config.json").read_text())
    for part in [cfg, cfg["text_config"], cfg["vision_config"]]:
        rope = part.pop("rope_parameters", None)
        if rope and part is not cfg["vision_config"]:
            part["rope_theta"] = rope.pop("rope_theta")
            part["rope_scaling"] = rope if len(rope) > 1 else None
        if "dtype" in part:
            part["torch_dtype"] = part.pop("dtype")
    (ckpt / "config.json").write_text(json.dumps(cfg, indent=1))
    proc = json.loads((ckpt / "processor_config.json").read_text())
    (ckpt / "processor_config.json").unlink()
    (ckpt / "preprocessor_config.json").write_text(json.dumps(proc["image_processor"], indent=1))
    (ckpt / "video_preprocessor_config.json").write_text(json.dumps(proc["video_processor"], indent=1))
    template = ckpt / "chat_template.jinja"
    (ckpt / "chat_template.json").write_text(json.dumps({"chat_template": template.read_text()}))
    template.unlink()


def picture(rng, w, h):
    """A picture with smooth shading, hard edges and noise, so that a wrong resize filter shows."""
    y, x = np.mgrid[0:h, 0:w]
    base = np.stack([(x * 255 / w), (y * 255 / h), 127 + 120 * np.sin(x / 7 + y / 11)], -1)
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 12, base.shape)
    img = Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(img)
    for _ in range(4):
        x0, y0 = rng.randrange(w * 3 // 4), rng.randrange(h * 3 // 4)
        box = [x0, y0, x0 + rng.randrange(8, w // 2), y0 + rng.randrange(8, h // 2)]
        colour = tuple(rng.randrange(256) for _ in range(3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return img


def cases(rng, media):
    def save(name, w, h):
        picture(rng, w, h).save(media / name)
        return {"type": "image", "path": name}
    pair = [save("a.png", 200, 120), save("b.png", 97, 211)]
    text = {"type": "text", "text": "Compare Image 1 and Image 2 for the prompt: drei rote Kreise, 価値 🙂."}
    yield "text", [{"role": "user", "content": [{"type": "text", "text": "Which is better, one or two?  \n\nAnswer:"}]}]
    yield "image", [{"role": "user", "content": [save("c.png", 64, 300), {"type": "text", "text": "Score it."}]}]
    yield "pair", [{"role": "user", "content": pair + [text]}]
    yield "system_multi", [
        {"role": "system", "content": [{"type": "text", "text": "You judge images."}]},
        {"role": "user", "content": [pair[0], {"type": "text", "text": "and"}, pair[1], text, save("d.png", 40, 40)]}]


def resized_pictures(proc, images):
    """Each picture as the processor's resize leaves it: uint8 [h, w, 3]."""
    image = proc.image_processor
    size = image.size if isinstance(image.size, SizeDict) else SizeDict(**image.size)
    resized = []
    for picture_ in images:
        pixels = torch.from_numpy(np.array(picture_)).permute(2, 0, 1)[None].contiguous()
        out = image.resize(pixels, size=size, resample=image.resample, factor=image.patch_size * image.merge_size)
        assert out.dtype == torch.uint8
        resized.append(out)
    return resized


def check_resized(proc, resized, pixel_values):
    """Proves that the recorded bytes are the ones that the processor itself went on with."""
    image, rows = proc.image_processor, []
    for pixels in resized:
        normal = image.rescale_and_normalize(pixels, True, image.rescale_factor, True,
                                             tuple(image.image_mean), tuple(image.image_std))
        patches, _, _ = image.patchify(normal, image.patch_size, image.merge_size, image.temporal_patch_size)
        rows.append(patches[0])
    assert torch.equal(torch.cat(rows), pixel_values), "the resized bytes are not those behind pixel_values"


def golden(model, proc, messages, media, new_tokens):
    """Runs the reference on one chat and returns what it gave, by tensor name."""
    paths = [media / i["path"] for m in messages for i in m["content"] if i["type"] == "image"]
    images = [Image.open(p).convert("RGB") for p in paths]
    prompt = proc.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    batch = proc(text=[prompt], return_tensors="pt", **({"images": images} if images else {}))
    with torch.no_grad():
        out = model.generate(**batch, max_new_tokens=new_tokens, do_sample=False, output_logits=True,
                             return_dict_in_generate=True, use_cache=True)
    logits = torch.stack(out.logits, 0)[:, 0].float()
    top = logits.topk(2, -1).values
    new = out.sequences[0, batch["input_ids"].shape[1]:]
    gold = {"input_ids": batch["input_ids"][0].to(torch.int64), "first_logits": logits[0].clone(),
            "new_ids": new.to(torch.int64), "margins": (top[:, 0] - top[:, 1])[: len(new)].clone()}
    kw = {k: batch[k] for k in ("image_grid_thw", "mm_token_type_ids") if k in batch}
    positions, _ = model.model.get_rope_index(batch["input_ids"], attention_mask=batch["attention_mask"], **kw)
    gold["position_ids"] = positions[-3:, 0].to(torch.int64).contiguous()
    if images:
        resized = resized_pictures(proc, images)
        check_resized(proc, resized, batch["pixel_values"])
        for i, pixels in enumerate(resized):
            gold[f"resized_{i}"] = pixels[0].permute(1, 2, 0).contiguous()
        gold["pixel_values"] = batch["pixel_values"].contiguous()
        gold["image_grid_thw"] = batch["image_grid_thw"].contiguous()
        with torch.no_grad():
            seen = model.model.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"], return_dict=True)
        gold["vision"] = seen.pooler_output.float().contiguous()
        for k, features in enumerate(seen.deepstack_features):
            gold[f"deepstack_{k}"] = features.float().contiguous()
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
    ap.add_argument("--family", default="qwen3_vl", choices=sorted(FAMILIES))
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--out", required=True, type=pathlib.Path)
    ap.add_argument("--new-tokens", type=int, default=24)
    ap.add_argument("--shard-mb", type=int, default=0, help="split the weights into shards of this size")
    ap.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32", help="of the stored weights")
    ap.add_argument("--layout", choices=["current", "legacy"], default="current", help="legacy: as transformers 4.x wrote it")
    ap.add_argument("--longest-edge", type=int, default=192, help="side of a square with the processor's pixel limit")
    ap.add_argument("--max-positions", type=int, default=4096, help="the context length that config.json tells")
    ap.add_argument("--demo", action="store_true", help="the smallest sizes; the checkpoint only, no golden cases")
    return ap.parse_args()


def main():
    options = parse_arguments()
    rng = random.Random(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)

    make_model, make_processor = FAMILIES[options.family]
    tok = make_tokenizer(600)
    ids = {t: tok.convert_tokens_to_ids(t) for t in SPECIAL}
    model = make_model(options, rng, len(tok) + 8, ids).float().eval()
    fill_weights(model, options.dtype == "bf16")
    proc = make_processor(options, tok)
    save_checkpoint(model, proc, ids, options, options.out / "checkpoint")
    if options.demo:
        return

    media = options.out / "cases"
    media.mkdir(parents=True, exist_ok=True)
    for name, messages in cases(rng, media):
        gold = golden(model, proc, messages, media, options.new_tokens)
        write_case(media / name, messages, gold, tok, options)
        print(f"{options.family} {name}: prompt {len(gold['input_ids'])} tokens, new {len(gold['new_ids'])}, "
              f"distinct {len(set(gold['new_ids'].tolist()))}, min margin {gold['margins'].min():.4f}")


if __name__ == "__main__":
    main()
