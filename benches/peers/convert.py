"""The text part of a checkpoint of `make_checkpoint.py`, for peers that cannot do its vision tower.

    convert.py text CHECKPOINT OUT              the same weights as a plain Qwen3 checkpoint
    convert.py gguf TEXT OUT q4_0|q8_0          that checkpoint as GGUF, without a vocabulary

On text alone all three position streams of the checkpoint are equal, so the plain model computes the same.
Needs: numpy, and for gguf the package of that name.
"""
import json
import pathlib
import shutil
import struct
import sys

import numpy as np

PREFIX = "model.language_model."
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
         "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def tensors(folder):
    """Name, shape and bf16 bytes of every tensor."""
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with open(path, "rb") as f:
            (size,) = struct.unpack("<Q", f.read(8))
            header = json.loads(f.read(size))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                f.seek(8 + size + begin)
                yield name, entry["shape"], f.read(end - begin)


def text(checkpoint, out):
    checkpoint, out = pathlib.Path(checkpoint), pathlib.Path(out)
    out.mkdir(parents=True)
    part = [(name, shape, data) for name, shape, data in tensors(checkpoint) if name.startswith(PREFIX)]
    header, at = {}, 0
    for name, shape, data in part:
        header["model." + name.removeprefix(PREFIX)] = dict(dtype="BF16", shape=shape, data_offsets=[at, at + len(data)])
        at += len(data)
    head = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    head += b" " * (-len(head) % 8)
    with open(out / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for _, _, data in part:
            f.write(data)
    config = json.loads((checkpoint / "config.json").read_text())["text_config"]
    del config["rope_scaling"]
    # The peers read a short length into the sizes of their caches.
    config |= dict(architectures=["Qwen3ForCausalLM"], model_type="qwen3", max_position_embeddings=40960)
    (out / "config.json").write_text(json.dumps(config, indent=1))
    shutil.copy(checkpoint / "tokenizer.json", out)
    (out / "tokenizer_config.json").write_text(json.dumps(dict(
        tokenizer_class="PreTrainedTokenizerFast", eos_token="<|im_end|>", pad_token="<|endoftext|>")))


def to_gguf(folder, out, kind):
    import gguf
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    partial = out + ".part"
    w = gguf.GGUFWriter(partial, "qwen3")
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_key_length(config["head_dim"])
    w.add_value_length(config["head_dim"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_rope_freq_base(config["rope_theta"])
    w.add_vocab_size(config["vocab_size"])
    w.add_tokenizer_model("none")
    kind = gguf.GGMLQuantizationType[kind.upper()]
    for name, shape, data in tensors(folder):
        values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
        name = name.removeprefix("model.").removesuffix(".weight")
        name = dict(embed_tokens="token_embd", norm="output_norm").get(name, name)
        if name.startswith("layers."):
            _, layer, rest = name.split(".", 2)
            name = f"blk.{layer}.{NAMES[rest]}"
        if values.ndim == 1:
            w.add_tensor(name + ".weight", values)
        else:
            w.add_tensor(name + ".weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    pathlib.Path(partial).rename(out)


if __name__ == "__main__":
    dict(text=text, gguf=to_gguf)[sys.argv[1]](*sys.argv[2:])
