//! The original layout, in which the LLaVA-NeXT code writes: one flat configuration and no file of a processor. What
//! that code knows by itself is brought along here: the tower's sizes, the picture processing, the chat template.

use super::*;

/// The tower whose sizes are brought along.
const TOWER: &str = "google/siglip-so400m-patch14-384";
/// The conversation that the published scripts hold, with a line break behind each picture and a space between two.
/// The tokenizer's own template is the language model's, which knows no pictures.
const CHAT: &str = "\
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for item in message.content %}
            {%- if item.type == 'image' %}
                {%- if not loop.first and loop.previtem.type == 'image' %}{{- ' ' }}{%- endif %}
                {{- '<image>\\n' }}
            {%- elif item.type == 'text' %}
                {{- item.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";

/// Configuration in the original layout to spec.
pub(in super::super) fn spec(files: &ConfigFiles) -> Result<ModelSpec, FamilyError> {
    let config = Reader::new("config.json", &files.config)?;
    check(&config)?;
    let names = Names::original();
    let tied = config.flag_or("tie_word_embeddings", false)?;
    let decoder = qwen2::decoder(&config, (names.text, names.head), tied, |text, head_dim| {
        common::plain_position(text, head_dim, THETA)
    })?;
    let tower = tower(&config)?;
    if config.size("mm_hidden_size")? != tower.hidden {
        return Err(config.error("mm_hidden_size", "differs from the vision tower's hidden_size"));
    }
    let seen = tower.selected(config.get("mm_vision_select_layer")).ok_or_else(|| {
        config.error("mm_vision_select_layer", "is not one layer counted from the last, -1")
    })?;
    let pictures = Pictures {
        max_tiles: image::max_tiles(&config, "image_aspect_ratio")?,
        // Width before height here. The order of the list decides between equals.
        sizes: image::sizes(&config)?.map(|all| all.into_iter().map(|[w, h]| [h, w]).collect()),
    };
    let image = image::original(&tower, pictures)?;
    let (generation, mut eos) = common::generation_defaults(files.generation.as_ref())?;
    if eos.is_empty() {
        eos = config.token_ids("eos_token_id")?;
    }
    let placeholder = token(&config, "image")?.ok_or_else(|| {
        config.error("image_token_index", "is missing; it is the id of <image> in the tokenizer")
    })?;
    config.finish()?;
    Ok(ModelSpec {
        family: NAME,
        vision: Some(tower.spec(&names, seen, decoder.hidden, true)),
        decoder,
        image: Some(image),
        // The code's own processing of videos is not covered.
        video: None,
        tokens: SpecialTokens { image: Some(placeholder), video: None, eos },
        generation,
        chat_template: Some(CHAT),
        thinking: None,
        default_pack: PACK,
        ignored: ignored(&tower, &names, seen, tied),
    })
}

/// Refuses what the code does otherwise for other values.
fn check(config: &Reader) -> Result<(), FamilyError> {
    let architecture = json!(["LlavaQwenForCausalLM"]);
    if config.get("architectures") != Some(&architecture) {
        return Err(config.error("architectures", &format!("is not {architecture}")));
    }
    config.only("mm_projector_type", &[json!("mlp2x_gelu")])?;
    config.only("mm_patch_merge_type", &[json!("spatial_unpad")])?;
    config.only("mm_vision_select_feature", &[json!("patch")])?;
    config.only("mm_resampler_type", &[])?;
    for key in ["mm_use_im_patch_token", "mm_use_im_start_end", "use_pos_skipping"] {
        config.only(key, &[json!(false)])?;
    }
    config.only("use_mm_proj", &[json!(true)])?;
    // Of training alone, or of where the tower came from: its weights stand in the checkpoint.
    config.ignore(&["mm_projector_lr", "mm_tunable_parts", "mm_vision_tower_lr", "pos_skipping_range"]);
    config.ignore(&["unfreeze_mm_vision_tower", "vision_tower_pretrained", "delay_load"]);
    config.ignore(&["tokenizer_model_max_length", "tokenizer_padding_side"]);
    // Of another image_aspect_ratio, crop_split.
    config.ignore(&["image_crop_resolution", "image_split_resolution"]);
    // Of videos alone.
    config.ignore(&["mm_newline_position", "mm_spatial_pool_mode", "mm_spatial_pool_stride"]);
    config.ignore(&["add_faster_video", "add_time_instruction", "faster_token_stride", "force_sample"]);
    Ok(())
}

/// The sizes of the tower: those of the published one by its name, or those that `vision_config` tells, which is the
/// tower's own configuration.
fn tower(config: &Reader) -> Result<Tower, FamilyError> {
    let name = config.get("mm_vision_tower").and_then(Value::as_str).unwrap_or_default();
    let told = match config.get("vision_config") {
        None => None,
        Some(_) => {
            let r = config.object("vision_config")?;
            let tower = Tower::read(&r)?;
            r.finish()?;
            Some(tower)
        }
    };
    match (name == TOWER, told) {
        (true, Some(tower)) if tower != vision::SO400M => {
            Err(config.error("vision_config", &format!("has other sizes than {TOWER}")))
        }
        (true, _) => Ok(vision::SO400M),
        (false, Some(tower)) => Ok(tower),
        (false, None) => Err(config.error(
            "mm_vision_tower",
            &format!(
                "is {name:?}, and this family knows the sizes of {TOWER}; put the tower's own configuration \
                 into config.json as vision_config"
            ),
        )),
    }
}
