"""Qwen2-VL in small."""
import transformers as tf

import qwen2
import shared
from qwen2 import features, legacy_layout, resized  # noqa: F401, the parts that make_reference.py asks for

CHAT = shared.CHAT
positions = shared.rope_positions


def model(options, rng, vocab, ids):
    """An MLP that fills no whole block of quantised weights."""
    text = qwen2.text(options, rng, vocab, ids)
    vision = dict(depth=4, embed_dim=40, num_heads=2, mlp_ratio=2, hidden_act="quick_gelu", patch_size=14,
                  spatial_merge_size=2, temporal_patch_size=2, hidden_size=text["hidden_size"])
    return qwen2.model(options, tf.Qwen2VLConfig, tf.Qwen2VLForConditionalGeneration, text, vision, ids)


def processor(options, tok):
    return qwen2.processor(options, tok, tf.Qwen2VLProcessor)
