//! Qwen3-VL: a vision tower with deepstack outputs, and a decoder with q/k norms and interleaved M-RoPE.
//!
//! Source of the mathematics: the published configuration files and the `qwen3_vl` model of Hugging Face
//! transformers 5.23. Published checkpoints come in two layouts: the present one (`rope_parameters`,
//! `processor_config.json`) and that of transformers 4.x (`rope_theta` beside `rope_scaling`,
//! `preprocessor_config.json`); tensor names are the same in both.

mod decoder;
pub(super) mod vision;

use super::config::Reader;
use super::{ConfigFiles, FamilyError, common, head, video};
use crate::spec::ModelSpec;

/// Name of the family, `model_type` of its configuration.
const NAME: &str = "qwen3_vl";

/// Configuration to spec.
pub(super) fn spec(files: &ConfigFiles) -> Result<ModelSpec, FamilyError> {
    let config = Reader::new("config.json", &files.config)?;
    let text = config.object("text_config")?;
    let scores = head::scores(files, &config, &text, "Qwen3VL")?;
    let tower = config.object("vision_config")?;
    let tied = common::tied(&config, &text)?;
    let vision = vision::spec(&tower, tower.sizes("deepstack_visual_indexes")?)?;
    let decoder = decoder::spec(&text, tied, vision.deepstack.len())?;
    if vision.output != decoder.hidden {
        return Err(tower.error("out_hidden_size", "differs from the text model's hidden_size"));
    }
    let image = common::image_processing(files.image_processor.as_ref(), &vision)?;
    let video = video::stamped(files, &image)?;
    let (generation, eos) = common::generation_defaults(files.generation.as_ref())?;
    let tokens = common::special_tokens(&config, &text, eos)?;
    for reader in [config, text, tower] {
        reader.finish()?;
    }
    let spec = ModelSpec {
        family: NAME,
        decoder,
        vision: Some(vision),
        image: Some(image),
        video,
        tokens,
        generation,
        chat_template: None,
        thinking: None,
        default_pack: "unifiedreward-flex-image",
        // A tied model's head is the embedding table; some tools store the copy all the same, and the
        // reference implementation ignores it.
        ignored: if tied { vec![common::HEAD.to_owned()] } else { Vec::new() },
    };
    Ok(head::put(spec, scores))
}

#[cfg(test)]
mod tests;
