//! LLaVA-OneVision: a SigLIP tower that sees a picture as tiles, a projector, and a Qwen2 decoder.
//!
//! Source of the mathematics: the published configuration files, the `llava_onevision` model of Hugging Face
//! transformers 5.23, and for the [`original`] layout what the LLaVA-NeXT code does with the same weights.

mod image;
mod names;
mod original;
mod vision;

use serde_json::{Value, json};

use super::config::Reader;
use super::{ConfigFiles, FamilyError, common, qwen2, video};
use crate::package::SpecialTokens;
use crate::spec::ModelSpec;
use image::Pictures;
use names::Names;
use vision::Tower;

pub(super) use original::spec as original;

/// Name of the family, `model_type` of its configuration in the transformers layout.
const NAME: &str = "llava_onevision";
/// Pack used when the caller names none.
const PACK: &str = "unifiedreward-image-pair";
/// Base of the rotary angles where a file names none.
const THETA: f64 = 1e4;

/// Configuration in the transformers layout to spec.
pub(super) fn spec(files: &ConfigFiles) -> Result<ModelSpec, FamilyError> {
    let config = Reader::new("config.json", &files.config)?;
    config.only("architectures", &[json!(["LlavaOnevisionForConditionalGeneration"])])?;
    config.only("projector_hidden_act", &[json!("gelu")])?;
    config.only("vision_feature_select_strategy", &[json!("full")])?;
    config.only("use_image_newline_parameter", &[json!(true)])?;
    // A label of the loss.
    config.ignore(&["ignore_index"]);
    let (text, tower_config) = (config.object("text_config")?, config.object("vision_config")?);
    text.only("model_type", &[json!("qwen2")])?;
    let names = Names::transformers(&files.tensors);
    let tied = common::tied(&config, &text)?;
    let decoder = qwen2::decoder(&text, (names.text, names.head), tied, |text, head_dim| {
        common::plain_position(text, head_dim, THETA)
    })?;
    let tower = Tower::read(&tower_config)?;
    let seen = tower
        .selected(Some(config.get("vision_feature_layer").unwrap_or(&json!(-1))))
        .ok_or_else(|| config.error("vision_feature_layer", "is not one layer counted from the last, -1"))?;
    let bias = config.flag_or("multimodal_projector_bias", true)?;
    let vision = tower.spec(&names, seen, decoder.hidden, bias);
    let max_tiles = match config.get("vision_aspect_ratio") {
        Some(_) => image::max_tiles(&config, "vision_aspect_ratio")?,
        None => image::DEFAULT_TILES,
    };
    let pictures = Pictures { max_tiles, sizes: image::sizes(&config)? };
    let image = image::transformers(files.image_processor.as_ref(), &tower, pictures)?;
    let video = video::pooled(files, &image)?;
    let (generation, mut eos) = common::generation_defaults(files.generation.as_ref())?;
    if eos.is_empty() {
        eos = text.token_ids("eos_token_id")?;
    }
    let tokens = SpecialTokens { image: token(&config, "image")?, video: token(&config, "video")?, eos };
    for reader in [config, text, tower_config] {
        reader.finish()?;
    }
    Ok(ModelSpec {
        family: NAME,
        decoder,
        vision: Some(vision),
        image: Some(image),
        video,
        tokens,
        generation,
        chat_template: None,
        thinking: None,
        default_pack: PACK,
        ignored: ignored(&tower, &names, seen, tied),
    })
}

/// A placeholder, under the name that it has in the files or the one that it has in the code.
fn token(config: &Reader, kind: &str) -> Result<Option<u32>, FamilyError> {
    let [index, id] = ["index", "id"].map(|end| format!("{kind}_token_{end}"));
    let (in_files, in_code) = (config.token_ids(&index)?, config.token_ids(&id)?);
    if !in_files.is_empty() && !in_code.is_empty() && in_files != in_code {
        return Err(config.error(&id, &format!("differs from {index}")));
    }
    Ok(in_files.first().or(in_code.first()).copied())
}

/// Tensors without a use: what lies behind the layer that is looked at; and a tied model's head, which some tools store
/// all the same and the reference implementation ignores.
fn ignored(tower: &Tower, names: &Names, seen: usize, tied: bool) -> Vec<String> {
    let mut all = tower.behind(names, seen);
    all.extend(tied.then(|| names.head.to_owned()));
    all
}

#[cfg(test)]
mod tests;
