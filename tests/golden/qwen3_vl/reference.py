"""Qwen3-VL in small."""
import torch
import transformers as tf

import shared

CHAT = shared.CHAT
legacy_layout = shared.legacy_layout


def model(options, rng, vocab, ids):
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


def processor(options, tok):
    image = tf.Qwen2VLImageProcessor(patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=[0.5] * 3,
                                     image_std=[0.5] * 3,
                                     size=dict(shortest_edge=64 * 64, longest_edge=options.longest_edge ** 2))
    most = min(128, options.longest_edge * 2 // 3)
    video = tf.Qwen3VLVideoProcessor(size=dict(shortest_edge=4 * 32 * 32, longest_edge=4 * most ** 2), fps=2,
                                     min_frames=4, max_frames=8, cap_pixels_per_frame=False)
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
    extra = {f"deepstack_{k}": features_ for k, features_ in enumerate(seen.deepstack_features)}
    return {"vision": seen.pooler_output, **extra}
