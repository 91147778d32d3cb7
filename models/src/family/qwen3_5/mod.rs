//! Qwen3.5: three layers of a gated delta rule to one of attention, and the vision tower of Qwen3-VL without its
//! deepstack outputs.
//!
//! Source of the mathematics: the published configuration files and the `qwen3_5` model of Hugging Face
//! transformers 5.23. The published files are in the present layout (`rope_parameters`); the one that transformers
//! 4.x wrote (`rope_theta` and `partial_rotary_factor` beside `rope_scaling`) is read too.

mod decoder;

use serde_json::json;

use super::config::Reader;
use super::{ConfigFiles, FamilyError, common, qwen3_vl, video};
use crate::spec::ModelSpec;

/// Name of the family, `model_type` of its configuration.
const NAME: &str = "qwen3_5";

/// Configuration to spec.
pub(super) fn spec(files: &ConfigFiles) -> Result<ModelSpec, FamilyError> {
    let config = Reader::new("config.json", &files.config)?;
    config.only("architectures", &[json!(["Qwen3_5ForConditionalGeneration"])])?;
    config.only("language_model_only", &[json!(false)])?;
    let text = config.object("text_config")?;
    let tower = config.object("vision_config")?;
    let tied = common::tied(&config, &text)?;
    // Files that were made from those of the older family still hold the key.
    tower.only("deepstack_visual_indexes", &[json!([])])?;
    let vision = qwen3_vl::vision::spec(&tower, Vec::new())?;
    let decoder = decoder::spec(&text, tied)?;
    if vision.output != decoder.hidden {
        return Err(tower.error("out_hidden_size", "differs from the text model's hidden_size"));
    }
    let image = common::image_processing(files.image_processor.as_ref(), &vision)?;
    let video = video::stamped(files, &image)?;
    let (generation, eos) = common::generation_defaults(files.generation.as_ref())?;
    let tokens = common::special_tokens(&config, &text, eos)?;
    let ignored = decoder::ignored(&text, tied)?;
    for reader in [config, text, tower] {
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
        // Judges of this line are served without thinking: the template then writes an empty thought.
        thinking: Some(false),
        default_pack: "unifiedreward-flex-image",
        ignored,
    })
}

#[cfg(test)]
mod tests;
