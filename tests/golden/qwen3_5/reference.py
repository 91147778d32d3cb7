"""Qwen3.5 in small."""
import json

import torch
import transformers as tf

import shared

# As the published template ends: without thinking an empty thought stands before the answer.
CHAT = shared.CHAT.replace(
    "{{- '<|im_start|>assistant\n' }}",
    "{{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- else %}{{- '<think>\n' }}{%- endif %}")
# Judges of this line are served without thinking.
TEMPLATE = {"enable_thinking": False}


def small(options):
    """Whether the pictures are those of the committed models, too small for patches of 16."""
    return options.longest_edge < 64


def legacy_layout(ckpt):
    shared.legacy_layout(ckpt)
    cfg = json.loads((ckpt / "config.json").read_text())
    text = cfg["text_config"]
    text["partial_rotary_factor"] = text["rope_scaling"].pop("partial_rotary_factor")
    (ckpt / "config.json").write_text(json.dumps(cfg, indent=1))


def model(options, rng, vocab, ids):
    """Small, but with every odd corner: value heads that share a key head and such that do not, keys wider than values
    and narrower, a quarter and a half of a head rotated, tied and untied heads, both kinds of layer in both places."""
    hidden, heads, kv, head_dim, part = rng.choice([(64, 4, 2, 16, 0.5), (96, 6, 2, 16, 0.5), (64, 4, 1, 32, 0.25)])
    if small(options):
        hidden, heads, kv, head_dim, part = 32, 2, 1, 16, 0.5
    key_heads, value_heads, key_dim, value_dim = rng.choice([(2, 4, 16, 16), (2, 2, 16, 24), (1, 3, 24, 16)])
    layers, interval, tied = rng.choice([3, 4]), rng.choice([2, 3]), rng.random() < 0.5
    rotated = int(head_dim * part) // 2
    third = max(rotated // 4, 1)
    rope = dict(rope_type="default", rope_theta=1e7, mrope_section=[rotated - 2 * third, third, third],
                mrope_interleaved=True, partial_rotary_factor=part)
    text = dict(vocab_size=vocab, hidden_size=hidden, intermediate_size=2 * hidden + 32, num_hidden_layers=layers,
                num_attention_heads=heads, num_key_value_heads=kv, head_dim=head_dim, full_attention_interval=interval,
                linear_conv_kernel_dim=4, linear_key_head_dim=key_dim, linear_value_head_dim=value_dim,
                linear_num_key_heads=key_heads, linear_num_value_heads=value_heads,
                max_position_embeddings=options.max_positions, tie_word_embeddings=tied,
                eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"], bos_token_id=None,
                rope_parameters=rope)
    width, vision_heads, patch = (32, 2, 8) if small(options) else (48, 4, 16)
    vision = dict(depth=2, hidden_size=width, num_heads=vision_heads, intermediate_size=2 * width, patch_size=patch,
                  spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=hidden, num_position_embeddings=64)
    config = tf.Qwen3_5Config(
        text_config=text, vision_config=vision, tie_word_embeddings=tied,
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"])
    return tf.Qwen3_5ForConditionalGeneration(config)


def processor(options, tok):
    patch, least = (8, 16 * 16) if small(options) else (16, 64 * 64)
    image = tf.Qwen2VLImageProcessor(patch_size=patch, temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3,
                                     image_std=[0.5] * 3,
                                     size=dict(shortest_edge=least, longest_edge=options.longest_edge ** 2))
    most = 32 if small(options) else 128
    video = tf.Qwen3VLVideoProcessor(size=dict(shortest_edge=4 * (2 * patch) ** 2, longest_edge=4 * most ** 2), fps=2,
                                     patch_size=patch, min_frames=4, max_frames=8, cap_pixels_per_frame=False)
    return tf.Qwen3VLProcessor(image_processor=image, tokenizer=tok, video_processor=video,
                               chat_template=tok.chat_template)


def positions(model_, batch):
    """Temporal, height and width positions, i64 [3, S]."""
    return shared.rope_positions(model_, batch)


def resized(proc, images, pixel_values):
    """The bytes of each picture after the processor's resize, u8 [h, w, 3]."""
    pictures = shared.resized_pictures(proc, images)
    shared.check_resized(proc, pictures, pixel_values)
    return [pixels[0].permute(1, 2, 0).contiguous() for pixels in pictures]


def features(model_, batch):
    """What the tower gives, by golden tensor name."""
    values, grids = shared.seen(batch)
    with torch.no_grad():
        seen = model_.model.visual(values, grid_thw=grids, return_dict=True)
    return {"vision": seen.pooler_output}
