//! Qwen3-VL: a vision tower with deepstack outputs, and a decoder with q/k norms and interleaved M-RoPE.
//!
//! Source of the mathematics: the published configuration files and the `qwen3_vl` model of Hugging Face
//! transformers 5.23. Published checkpoints come in two layouts: the present one (`rope_parameters`,
//! `processor_config.json`) and that of transformers 4.x (`rope_theta` beside `rope_scaling`,
//! `preprocessor_config.json`); tensor names are the same in both.

mod decoder;
mod vision;

use serde_json::{Value, json};

use super::config::Reader;
use super::{ConfigFiles, FamilyError};
use crate::package::{GenerationDefaults, ImageProcessing, Resample, SpecialTokens};
use crate::spec::ModelSpec;

/// Name of the family, `model_type` of its configuration.
const NAME: &str = "qwen3_vl";

/// Configuration to spec.
pub(super) fn spec(files: &ConfigFiles) -> Result<ModelSpec, FamilyError> {
    let config = Reader::new("config.json", &files.config)?;
    config.only("architectures", &[json!(["Qwen3VLForConditionalGeneration"])])?;
    let text = config.object("text_config")?;
    let tower = config.object("vision_config")?;
    let tied = tied(&config, &text)?;
    let vision = vision::spec(&tower)?;
    let decoder = decoder::spec(&text, tied, vision.deepstack.len())?;
    if vision.output != decoder.hidden {
        return Err(tower.error("out_hidden_size", "differs from the text model's hidden_size"));
    }
    let image = image_processing(files.image_processor.as_ref(), &vision)?;
    let (generation, mut eos) = generation_defaults(files.generation.as_ref())?;
    if eos.is_empty() {
        eos = text.token_ids("eos_token_id")?;
    }
    let one = |key: &str| Ok::<_, FamilyError>(config.token_ids(key)?.first().copied());
    let tokens = SpecialTokens { image: one("image_token_id")?, video: one("video_token_id")?, eos };
    // The template writes the tokens around a picture; the graphs need only its placeholder.
    config.ignore(&["vision_start_token_id", "vision_end_token_id"]);
    for reader in [config, text, tower] {
        reader.finish()?;
    }
    Ok(ModelSpec {
        family: NAME,
        decoder,
        vision: Some(vision),
        image: Some(image),
        tokens,
        generation,
        default_pack: "unifiedreward-flex-image",
        // A tied model's head is the embedding table; some tools store the copy all the same, and the
        // reference implementation ignores it.
        ignored: if tied { vec![decoder::HEAD.to_owned()] } else { Vec::new() },
    })
}

/// Both places may say whether the head is tied; they must not disagree.
fn tied(config: &Reader, text: &Reader) -> Result<bool, FamilyError> {
    let (outer, inner) = (config.get("tie_word_embeddings"), text.get("tie_word_embeddings"));
    if let (Some(a), Some(b)) = (outer, inner)
        && a != b
    {
        return Err(config.error("tie_word_embeddings", "differs from text_config.tie_word_embeddings"));
    }
    if outer.is_some() {
        config.flag_or("tie_word_embeddings", false)
    } else {
        text.flag_or("tie_word_embeddings", false)
    }
}

fn image_processing(value: Option<&Value>, vision: &vision::Spec) -> Result<ImageProcessing, FamilyError> {
    const FILE: &str = "preprocessor_config.json";
    let missing = || FamilyError::Field {
        field: FILE.to_owned(),
        reason: "is missing (or processor_config.json without image_processor): pixels cannot be prepared"
            .to_owned(),
    };
    let r = Reader::new(FILE, value.ok_or_else(missing)?)?;
    for key in ["do_convert_rgb", "do_normalize", "do_rescale", "do_resize"] {
        r.only(key, &[json!(true)])?;
    }
    for key in ["do_center_crop", "do_pad"] {
        r.only(key, &[json!(false)])?;
    }
    r.only("resample", &[json!(3)])?;
    r.only("image_processor_type", &[json!("Qwen2VLImageProcessor"), json!("Qwen2VLImageProcessorFast")])?;
    let (min_pixels, max_pixels) = pixel_bounds(&r)?;
    let image = ImageProcessing {
        patch_size: r.size_or("patch_size", 16)? as u32,
        temporal_patch_size: r.size_or("temporal_patch_size", 2)? as u32,
        merge_size: r.size_or("merge_size", 2)? as u32,
        min_pixels,
        max_pixels,
        mean: r.triple_or("image_mean", [0.5; 3])?,
        std: r.triple_or("image_std", [0.5; 3])?,
        rescale_factor: r.number_or("rescale_factor", 1.0 / 255.0)?,
        resample: Resample::BicubicTorch,
    };
    let patch = 3 * image.temporal_patch_size * image.patch_size * image.patch_size;
    if patch as usize != vision.patch_dim || image.merge_size as usize != vision.merge {
        return Err(r.error("patch_size", "differs from the vision tower's patches"));
    }
    // Where the processor puts its tensors, how it groups them, and what its class is called, changes no pixel;
    // `default_to_square` reads a size given as one number, which this one is not.
    r.ignore(&["processor_class", "data_format", "device", "input_data_format", "return_tensors"]);
    r.ignore(&["default_to_square", "disable_grouping"]);
    r.finish()?;
    Ok(image)
}

/// `size.shortest_edge` and `size.longest_edge` are areas here, despite their names; older files say
/// `min_pixels` and `max_pixels`.
fn pixel_bounds(r: &Reader) -> Result<(u64, u64), FamilyError> {
    let old = (r.get("min_pixels").is_some(), r.get("max_pixels").is_some());
    if r.get("size").is_some() {
        let size = r.object("size")?;
        let bounds = (size.size("shortest_edge")? as u64, size.size("longest_edge")? as u64);
        size.finish()?;
        let agrees =
            |key: &str, bound: u64| Ok::<_, FamilyError>(r.size_or(key, bound as usize)? as u64 == bound);
        if !agrees("min_pixels", bounds.0)? || !agrees("max_pixels", bounds.1)? {
            return Err(r.error("size", "differs from min_pixels and max_pixels"));
        }
        return Ok(bounds);
    }
    match old {
        (true, true) => Ok((r.size("min_pixels")? as u64, r.size("max_pixels")? as u64)),
        _ => Err(r.error("size", "is missing")),
    }
}

fn generation_defaults(value: Option<&Value>) -> Result<(GenerationDefaults, Vec<u32>), FamilyError> {
    let empty = json!({});
    let r = Reader::new("generation_config.json", value.unwrap_or(&empty))?;
    let defaults = GenerationDefaults {
        do_sample: r.flag_or("do_sample", false)?,
        temperature: r.number_or("temperature", 1.0)? as f32,
        top_p: r.number_or("top_p", 1.0)? as f32,
        // transformers considers 50 tokens unless the file says otherwise.
        top_k: r.number_or("top_k", 50.0)? as u32,
        repetition_penalty: r.number_or("repetition_penalty", 1.0)? as f32,
    };
    let eos = r.token_ids("eos_token_id")?;
    r.ignore(&["max_new_tokens", "max_length", "_from_model_config"]);
    r.finish()?;
    Ok((defaults, eos))
}

#[cfg(test)]
mod tests;
