"""LLaVA-OneVision in small. Its layouts are those of transformers, present and 4.x, and the original one, whose
tensors, configuration and picture processing are those of the LLaVA-NeXT code."""
import json

import torch
import transformers as tf
from safetensors.torch import load_file, save_file

import shared

# As in the published tower, some pixels lie behind the last whole patch.
TILE, PATCH = 30, 7
SIDE = TILE // PATCH
IMAGE, VIDEO = "<image>", "<video>"
SPECIAL = shared.SPECIAL + [IMAGE, VIDEO]
# Pictures before texts, as the published template of the transformers layout has it.
CHAT = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + ' ' }}"
    "{%- if message.content is string %}{{- '\n' + message.content }}{%- else %}"
    "{%- for item in message.content | selectattr('type', 'equalto', 'image') %}{{- '<image>' }}{%- endfor %}"
    "{%- for item in message.content | selectattr('type', 'equalto', 'video') %}{{- '<video>' }}{%- endfor %}"
    "{%- for item in message.content | selectattr('type', 'equalto', 'text') %}{{- '\n' + item.text }}{%- endfor %}"
    "{%- endif %}{{- '<|im_end|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}")
# The original code's conversation "qwen_1_5": the exporter brings this template, the checkpoint has none for pictures.
ORIGINAL_CHAT = (
    "{%- if messages[0].role != 'system' %}"
    "{{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for item in message.content %}"
    "{%- if item.type == 'image' %}"
    "{%- if not loop.first and loop.previtem.type == 'image' %}{{- ' ' }}{%- endif %}{{- '<image>\n' }}"
    "{%- elif item.type == 'text' %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def model(options, rng, vocab, ids):
    """Small, with tied and untied heads, and max_9 made max_4 or max_1, so that joint maps are resampled."""
    hidden, heads, kv = rng.choice([(64, 4, 2), (96, 6, 2), (64, 4, 1)])
    layers, tied = rng.choice([2, 3]), rng.random() < 0.5
    text = dict(model_type="qwen2", vocab_size=vocab, hidden_size=hidden, intermediate_size=hidden + 40,
                num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv,
                max_position_embeddings=options.max_positions, tie_word_embeddings=tied,
                eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"], bos_token_id=None,
                rope_parameters=dict(rope_type="default", rope_theta=1e6))
    vision = dict(model_type="siglip_vision_model", hidden_size=48, intermediate_size=104, num_hidden_layers=3,
                  num_attention_heads=4, image_size=TILE, patch_size=PATCH, vision_use_head=False)
    config = tf.LlavaOnevisionConfig(
        text_config=text, vision_config=vision, image_token_index=ids[IMAGE], video_token_index=ids[VIDEO],
        vision_feature_layer=-1, vision_feature_select_strategy="full", vision_aspect_ratio=aspect(options),
        image_grid_pinpoints=pinpoints(options), tie_word_embeddings=tied)
    return tf.LlavaOnevisionForConditionalGeneration(config)


def settle(model_):
    """Features of the size that those of other families have: no norm stands before the projector."""
    with torch.no_grad():
        for p in model_.model.multi_modal_projector.linear_2.parameters():
            p.mul_(0.125)


def pinpoints(options):
    """Up to three tiles a side; two in the small goldens that are committed."""
    sides = range(1, 4 if options.longest_edge > 96 else 3)
    return [[TILE * a, TILE * b] for a in sides for b in sides]


def aspect(options):
    return "anyres_max_1" if options.seed % 2 else "anyres_max_4"


def processor(options, tok):
    kind = tf.LlavaOnevisionImageProcessor
    if options.layout == "original":
        kind, tok.chat_template = tf.LlavaOnevisionImageProcessorPil, ORIGINAL_CHAT
    image = kind(size=dict(height=TILE, width=TILE), image_mean=[0.5] * 3, image_std=[0.5] * 3,
                 image_grid_pinpoints=pinpoints(options))
    video = tf.LlavaOnevisionVideoProcessor(size=dict(height=TILE, width=TILE), image_mean=[0.5] * 3,
                                            image_std=[0.5] * 3)
    return tf.LlavaOnevisionProcessor(image_processor=image, tokenizer=tok, video_processor=video,
                                      num_image_tokens=SIDE * SIDE, vision_feature_select_strategy="full",
                                      chat_template=tok.chat_template, image_token=IMAGE, video_token=VIDEO,
                                      vision_aspect_ratio=aspect(options))


def encode(proc, prompt, images, videos):
    """The pictures of a chat belong together, as the processor's own apply_chat_template hands them over; the original
    code cuts each into tiles, however many there are."""
    original = isinstance(proc.image_processor, tf.LlavaOnevisionImageProcessorPil)
    kw = {"images": images if original else [images]} if images else {}
    return proc(text=[prompt], return_tensors="pt", **kw, **shared.sampled(videos))


def legacy_layout(ckpt):
    """As transformers 4.52 to 4.57 wrote it, tensor names included."""
    shared.legacy_layout(ckpt)
    rename(ckpt, [("language_model.lm_head.", "lm_head."), ("language_model.model.", "model.language_model."),
                  ("vision_tower.", "model.vision_tower.vision_model."), ("image_newline", "model.image_newline"),
                  ("multi_modal_projector.", "model.multi_modal_projector.")])


def original_layout(ckpt):
    """As the LLaVA-NeXT code wrote it: one flat configuration, no processor files, the tower without the layer that is
    not looked at. The tower's own configuration stands in `vision_config`, as the published name says another one."""
    tensors = [("language_model.lm_head.", "lm_head."), ("language_model.model.", "model."),
               ("vision_tower.", "model.vision_tower.vision_tower.vision_model."),
               ("image_newline", "model.image_newline"), ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
               ("multi_modal_projector.linear_2.", "model.mm_projector.2.")]
    rename(ckpt, tensors)
    cfg = json.loads((ckpt / "config.json").read_text())
    text, vision = cfg["text_config"], cfg["vision_config"]
    theta = text.pop("rope_parameters")["rope_theta"]
    text.pop("layer_types")
    vision["num_hidden_layers"] += 1
    dtype = text.pop("dtype", None) or cfg["dtype"]
    text.update(
        architectures=["LlavaQwenForCausalLM"], model_type="llava_qwen", rope_theta=theta, rope_scaling=None,
        torch_dtype=dtype, sliding_window=131072, image_token_index=cfg["image_token_index"],
        image_aspect_ratio=cfg["vision_aspect_ratio"], image_grid_pinpoints=cfg["image_grid_pinpoints"],
        image_crop_resolution=None, image_split_resolution=None, mm_hidden_size=vision["hidden_size"],
        mm_newline_position="one_token", mm_patch_merge_type="spatial_unpad", mm_projector_lr=None,
        mm_projector_type="mlp2x_gelu", mm_resampler_type=None, mm_spatial_pool_mode="bilinear",
        mm_tunable_parts="mm_vision_tower,mm_mlp_adapter,mm_language_model", mm_use_im_patch_token=False,
        mm_use_im_start_end=False, mm_vision_select_feature="patch", mm_vision_select_layer=-2,
        mm_vision_tower="tiny/siglip-patch7-30", mm_vision_tower_lr=2e-6, pos_skipping_range=4096,
        tokenizer_model_max_length=32768, tokenizer_padding_side="right", use_mm_proj=True, use_pos_skipping=False,
        vision_tower_pretrained=None, vision_config={k: v for k, v in vision.items() if k != "dtype"})
    (ckpt / "config.json").write_text(json.dumps(text, indent=1))
    (ckpt / "processor_config.json").unlink()
    # What such checkpoints have is the language model's template, which knows no pictures.
    (ckpt / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
        "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def rename(ckpt, prefixes):
    file = ckpt / "model.safetensors"

    def renamed(name):
        return next((new + name[len(old):] for old, new in prefixes if name.startswith(old)), name)
    save_file({renamed(k): v for k, v in load_file(file).items()}, file, metadata={"format": "pt"})


def positions(model_, batch):
    """Temporal, height and width positions, i64 [3, S]: one and the same here."""
    return torch.arange(batch["input_ids"].shape[1]).expand(3, -1)


def resized(proc, images, pixel_values):
    """Tiles are compared as pixel values alone."""
    return []


def patches(tiles):
    """The patches of tiles, row by row: f32 [tiles * SIDE * SIDE, 3 * PATCH * PATCH]."""
    seen = SIDE * PATCH
    cut = tiles[:, :, :seen, :seen].unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    return cut.permute(0, 2, 3, 1, 4, 5).reshape(len(tiles) * SIDE * SIDE, -1)


def features(model_, batch):
    """What the tower is given and gives, by golden tensor name; tiles stand in the place of time."""
    if "pixel_values_videos" in batch:
        with torch.no_grad():
            seen = model_.model.get_video_features(batch["pixel_values_videos"], vision_feature_layer=-1,
                                                   vision_feature_select_strategy="full")
        frames = batch["pixel_values_videos"][0]
        return {"vision": seen.pooler_output[0], "pixel_values_videos": patches(frames),
                "video_grid_thw": torch.tensor([[len(frames), SIDE, SIDE]])}
    grids, rows = [], []
    alone = [n == 1 for n in batch["batch_num_images"].tolist() for _ in range(n)]
    for pixels, size, one in zip(batch["pixel_values"], batch["image_sizes"].tolist(), alone):
        height, width = tf.image_processing_utils.select_best_resolution(size, model_.config.image_grid_pinpoints)
        tiles = 1 + height * width // TILE ** 2 if one else 1
        grids.append([tiles, SIDE, SIDE])
        rows.append(patches(pixels[:tiles]))
    with torch.no_grad():
        seen = model_.model.get_image_features(
            batch["pixel_values"], batch["image_sizes"], batch_num_images=batch["batch_num_images"], return_dict=True)
    return {"vision": torch.cat(seen.pooler_output), "pixel_values": torch.cat(rows),
            "image_grid_thw": torch.tensor(grids)}
