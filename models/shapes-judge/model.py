"""The network: a Qwen3-VL of about 2 million parameters, its fast vision path, and its checkpoint folder.

Only the training is fast-pathed: `fast_vision` changes how the published modules are computed for pictures of one
size, not what they compute, and `recipe_test.py` compares the two. A saved checkpoint is an ordinary one.
"""
import json
import shutil

import numpy as np
import torch
import torch.nn.functional as F
import transformers as tf
from transformers.models.qwen3_vl import modeling_qwen3_vl as reference

from scenes import SIZE

PATCH, MERGE = 16, 2
GRID = SIZE // PATCH


def build(writer, hidden=128, layers=4, vision_hidden=128, vision_layers=4):
    """A fresh model for the tokenizer of `writer`, float32.

    One deepstack output goes in behind the first decoder layer: its merger is as wide as the main one, and a second
    would cost more than a block. The position table has exactly one row per patch
    of a picture, so that nothing is interpolated for pictures of `SIZE`.
    """
    ids = writer.ids
    rope = dict(rope_type="default", rope_theta=1e4, mrope_section=[8, 4, 4], mrope_interleaved=True)
    text = dict(vocab_size=len(writer.tok), hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers,
                num_attention_heads=hidden // 32, num_key_value_heads=hidden // 64, head_dim=32, rope_parameters=rope,
                max_position_embeddings=4096, tie_word_embeddings=True, hidden_act="silu", bos_token_id=None,
                eos_token_id=writer.end, pad_token_id=writer.pad)
    vision = dict(depth=vision_layers, hidden_size=vision_hidden, num_heads=vision_hidden // 32, out_hidden_size=hidden,
                  intermediate_size=3 * vision_hidden, patch_size=PATCH, spatial_merge_size=MERGE,
                  temporal_patch_size=2, num_position_embeddings=GRID ** 2, deepstack_visual_indexes=[1],
                  hidden_act="gelu_pytorch_tanh")
    config = tf.Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, image_token_id=writer.picture,
        video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"])
    model = tf.Qwen3VLForConditionalGeneration(config).float()
    model.generation_config = tf.GenerationConfig(eos_token_id=[writer.end, writer.pad], pad_token_id=writer.pad,
                                                  do_sample=False)
    return model


def parameters(model):
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters())


def fast_vision():
    """The same mathematics for pictures of equal size: worth a factor of about four in a training step on a CPU.

    The patch embedding is one product instead of a 3-D convolution; both frames of a patch hold the same picture, so
    their weights are summed and a patch is [3 * 16 * 16]. Attention has a batch axis instead of a loop over pictures.
    """
    def embed(self, x):
        weight = self.proj.weight.sum(2)
        return F.linear(x, weight.reshape(weight.shape[0], -1), self.proj.bias)

    def attend(self, hidden_states, cu_seqlens, position_embeddings=None, **_):
        pictures, rows = len(cu_seqlens) - 1, hidden_states.shape[0]
        q, k, v = self.qkv(hidden_states).reshape(rows, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
        q, k = reference.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        q, k, v = (t.reshape(pictures, rows // pictures, self.num_heads, -1).transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scaling)
        return self.proj(out.transpose(1, 2).reshape(rows, -1))
    reference.Qwen3VLVisionPatchEmbed.forward = embed
    reference.Qwen3VLVisionAttention.forward = attend


def patches(pictures, frames=1):
    """Pixels as the vision tower takes them: f32 [N * GRID * GRID, 3 * frames * 16 * 16] and the grids, i64 [N, 3].

    `frames` is 1 for `fast_vision`, and 2, the published layout, for the reference. Values are in -1..1, and patches
    are ordered so that the four of one merged token follow each other.
    """
    pixels = np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 127.5 - 1
    count, half = len(pictures), GRID // MERGE
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).reshape(count, 3, half, MERGE, PATCH, half, MERGE, PATCH)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, frames, -1, -1)
    return x.reshape(count * GRID * GRID, -1).contiguous(), torch.tensor([[1, GRID, GRID]] * count)


def positions(row, picture_id):
    """M-RoPE positions of one row of ids, i64 [3, S]: text counts on, a picture takes as many steps as it is wide."""
    side, out, at, here = GRID // MERGE, [], 0, 0
    while at < len(row):
        if row[at] == picture_id:
            out += [(here, here + i // side, here + i % side) for i in range(side * side)]
            at, here = at + side * side, here + side
        else:
            out.append((here,) * 3)
            at, here = at + 1, here + 1
    return torch.tensor(out).T


def logits(model, batch):
    """Logits [B, S, V] of a batch of `data.py`. Padding stands on the right, so the causal mask alone is right."""
    keys = ("input_ids", "pixel_values", "image_grid_thw", "position_ids", "mm_token_type_ids")
    return model(**{key: batch.get(key) for key in keys}, use_cache=False).logits


def processor(tok):
    """The processor files of the checkpoint: every picture is brought to the area of the training pictures."""
    area = dict(shortest_edge=SIZE * SIZE, longest_edge=SIZE * SIZE)
    image = tf.Qwen2VLImageProcessor(patch_size=PATCH, temporal_patch_size=2, merge_size=MERGE, image_mean=[0.5] * 3,
                                     image_std=[0.5] * 3, size=area)
    video = tf.Qwen3VLVideoProcessor(size=dict(shortest_edge=4 * SIZE * SIZE, longest_edge=8 * SIZE * SIZE), fps=2,
                                     min_frames=4, max_frames=8, cap_pixels_per_frame=False)
    return tf.Qwen3VLProcessor(image_processor=image, tokenizer=tok, video_processor=video,
                               chat_template=tok.chat_template)


def save_checkpoint(model, tok, folder):
    """Writes the Hugging Face layout with bfloat16 weights; an older folder of that name is replaced."""
    if folder.exists():
        shutil.rmtree(folder)
    model.save_pretrained(folder, state_dict={k: v.bfloat16() for k, v in model.state_dict().items()})
    config = json.loads((folder / "config.json").read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    processor(tok).save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)
