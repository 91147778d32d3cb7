"""What the families with a Qwen2 decoder have in common: text settings, processor, and the flat layout of old files.

Published files come in two forms that these two layouts stand for: nested settings with tensors named
`model.visual.` and `model.language_model.` (current), and flat settings with `visual.` and `model.` (legacy)."""
import functools
import json

import torch
import transformers as tf

import shared


def text(options, rng, vocab, ids):
    """Settings of a small decoder: head sizes of 16 and 32, more heads than KV heads, tied and untied heads."""
    hidden, heads, kv = rng.choice([(64, 4, 2), (96, 6, 2), (128, 4, 1)])
    layers, tied = rng.choice([2, 3]), rng.random() < 0.5
    half = hidden // heads // 2
    rope = dict(rope_type="default", rope_theta=1e6, mrope_section=[half - 2 * (half // 4), half // 4, half // 4])
    return dict(vocab_size=vocab, hidden_size=hidden, intermediate_size=hidden + 36, num_hidden_layers=layers,
                num_attention_heads=heads, num_key_value_heads=kv, max_position_embeddings=options.max_positions,
                tie_word_embeddings=tied, eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"],
                bos_token_id=None, rope_parameters=rope)


def model(options, config, kind, text_config, vision_config, ids):
    """The model, which writes the names of its own modules in the current layout, and those of 4.x in the legacy one."""
    made = kind(config(
        text_config=text_config, vision_config=vision_config, tie_word_embeddings=text_config["tie_word_embeddings"],
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"]))
    made.save_pretrained = functools.partial(made.save_pretrained, save_original_format=options.layout == "legacy")
    return made


def processor(options, tok, kind):
    image = tf.Qwen2VLImageProcessor(patch_size=14, temporal_patch_size=2, merge_size=2,
                                     size=dict(shortest_edge=56 * 56, longest_edge=options.longest_edge ** 2))
    video = tf.Qwen2VLVideoProcessor(patch_size=14, temporal_patch_size=2, merge_size=2, fps=2, min_frames=4,
                                     max_frames=8, size=dict(shortest_edge=56 * 56,
                                                             longest_edge=min(112, options.longest_edge) ** 2))
    return kind(image_processor=image, tokenizer=tok, video_processor=video, chat_template=tok.chat_template)


def legacy_layout(ckpt):
    """Rewrite the folder as transformers 4.x wrote it, with the text settings at the top of config.json."""
    shared.legacy_layout(ckpt)
    config = json.loads((ckpt / "config.json").read_text())
    flat = config.pop("text_config")
    flat.pop("model_type")
    flat["rope_scaling"] = {"type": "mrope", "mrope_section": flat["rope_scaling"]["mrope_section"]}
    (ckpt / "config.json").write_text(json.dumps({**flat, **config}, indent=1))
    processor_ = json.loads((ckpt / "preprocessor_config.json").read_text())
    size = processor_.pop("size")
    processor_.update(min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])
    (ckpt / "preprocessor_config.json").write_text(json.dumps(processor_, indent=1))


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
