"""Qwen2.5-VL in small."""
import transformers as tf

import qwen2
import shared
from qwen2 import features, legacy_layout, resized  # noqa: F401, the parts that make_reference.py asks for

CHAT = shared.CHAT
positions = shared.rope_positions


def model(options, rng, vocab, ids):
    """Windows of two tokens a side, so that the pictures' edges cut some off; an MLP that fills no whole block."""
    text = qwen2.text(options, rng, vocab, ids)
    vision = dict(depth=4, hidden_size=32, num_heads=2, intermediate_size=52, hidden_act="silu", patch_size=14,
                  spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=text["hidden_size"], window_size=56,
                  fullatt_block_indexes=[1, 3], tokens_per_second=2)
    return qwen2.model(options, tf.Qwen2_5_VLConfig, tf.Qwen2_5_VLForConditionalGeneration, text, vision, ids)


def processor(options, tok):
    return qwen2.processor(options, tok, tf.Qwen2_5_VLProcessor)
