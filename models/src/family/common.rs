//! What the families read in the same way: tied heads, rotary rules, picture processing, generation defaults.

use serde_json::{Value, json};

use super::FamilyError;
use super::config::Reader;
use crate::package::{
    GenerationDefaults, ImageProcessing, PositionRule, Resample, SectionLayout, SpecialTokens,
};
use crate::spec::VisionSpec;

/// The head in most namings, absent from the checkpoint when it is tied to the embedding.
pub(super) const HEAD: &str = "lm_head.weight";
/// Means and deviations that the reference's image processor has where the file names none.
pub(super) const MEAN: [f32; 3] = [0.48145466, 0.4578275, 0.40821073];
pub(super) const STD: [f32; 3] = [0.26862954, 0.2613026, 0.2757771];
/// Names of the least and the most pixels inside `size`.
const EDGES: [&str; 2] = ["shortest_edge", "longest_edge"];
const PIXELS: [&str; 2] = ["min_pixels", "max_pixels"];

/// Both places may say whether the head is tied; they must not disagree.
pub(super) fn tied(config: &Reader, text: &Reader) -> Result<bool, FamilyError> {
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

/// Rotary rule of a family whose pictures take positions as text does: one stream, where the rule's other two say
/// nothing. `rope_parameters` (present layout), or `rope_theta` (transformers 4.x); `default` is the base where the file
/// names none.
pub(super) fn plain_position(r: &Reader, head_dim: usize, default: f64) -> Result<PositionRule, FamilyError> {
    let theta = if r.get("rope_parameters").is_some() {
        let rope = r.object("rope_parameters")?;
        rope.only("rope_type", &[json!("default")])?;
        let theta = rope.number_or("rope_theta", default)?;
        rope.finish()?;
        theta
    } else {
        r.number_or("rope_theta", default)?
    };
    r.only("rope_scaling", &[])?;
    Ok(PositionRule {
        theta,
        rotary_dim: head_dim as u32,
        sections: [head_dim as u32 / 2, 0, 0],
        layout: SectionLayout::Chunked,
        tokens_per_second: None,
    })
}

/// Rotary rule of the three streams: `rope_parameters` (present layout), or `rope_theta` beside `rope_scaling`
/// (transformers 4.x). `family` holds the base where the file names none, and the family's layout of the sections.
pub(super) fn position(
    r: &Reader,
    head_dim: usize,
    family: (f64, SectionLayout),
    tokens_per_second: Option<f64>,
) -> Result<PositionRule, FamilyError> {
    let (default, layout) = family;
    let present = r.get("rope_parameters").is_some();
    let rope = r.object(if present { "rope_parameters" } else { "rope_scaling" })?;
    let theta = if present { &rope } else { r }.number_or("rope_theta", default)?;
    // The reference reads "mrope" as "default": the sections are what makes it so.
    for key in ["rope_type", "type"] {
        rope.only(key, &[json!("default"), json!("mrope")])?;
    }
    // A family's layout is fixed; a file that says otherwise is another architecture.
    rope.only("mrope_interleaved", &[json!(layout == SectionLayout::Interleaved)])?;
    let sections = sections(&rope, head_dim)?;
    rope.finish()?;
    Ok(PositionRule { theta, rotary_dim: head_dim as u32, sections, layout, tokens_per_second })
}

/// How many of the `rotated / 2` angles of a head follow each stream.
pub(super) fn sections(rope: &Reader, rotated: usize) -> Result<[u32; 3], FamilyError> {
    let sections = <[usize; 3]>::try_from(rope.sizes("mrope_section")?)
        .map_err(|_| rope.error("mrope_section", "is not three sections"))?
        .map(|s| s as u32);
    // Sizes are bounded, so neither the cast nor the sum loses anything.
    if sections.iter().sum::<u32>() as usize != rotated / 2 {
        return Err(rope.error("mrope_section", "does not sum to half of the rotated part of head_dim"));
    }
    Ok(sections)
}

/// Base of a tower's axial angles. Absent in transformers 4.x files, where it is a constant of the code.
pub(super) fn axial_theta(r: &Reader) -> Result<f64, FamilyError> {
    if r.get("rope_parameters").is_none() {
        return Ok(1e4);
    }
    let rope = r.object("rope_parameters")?;
    rope.only("rope_type", &[json!("axial")])?;
    let theta = rope.number_or("rope_theta", 1e4)?;
    rope.finish()?;
    Ok(theta)
}

/// Placeholders of pictures and videos, and what ends an answer: `eos` of the generation config, or the text model's.
pub(super) fn special_tokens(
    config: &Reader,
    text: &Reader,
    mut eos: Vec<u32>,
) -> Result<SpecialTokens, FamilyError> {
    if eos.is_empty() {
        eos = text.token_ids("eos_token_id")?;
    }
    let one = |key: &str| Ok::<_, FamilyError>(config.token_ids(key)?.first().copied());
    // The template writes the tokens around a picture; the graphs need only its placeholder.
    config.ignore(&["vision_start_token_id", "vision_end_token_id"]);
    Ok(SpecialTokens { image: one("image_token_id")?, video: one("video_token_id")?, eos })
}

/// The picture processor that these families share, from its part of either layout's file.
pub(super) fn image_processing(
    value: Option<&Value>,
    vision: &VisionSpec,
) -> Result<ImageProcessing, FamilyError> {
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
        patch_size: r.size_or("patch_size", 14)? as u32,
        temporal_patch_size: r.size_or("temporal_patch_size", 2)? as u32,
        merge_size: r.size_or("merge_size", 2)? as u32,
        min_pixels,
        max_pixels,
        mean: r.triple_or("image_mean", MEAN)?,
        std: r.triple_or("image_std", STD)?,
        rescale_factor: r.number_or("rescale_factor", 1.0 / 255.0)?,
        resample: Resample::BicubicTorch,
        tiling: None,
    };
    let sides = [3, image.temporal_patch_size, image.patch_size, image.patch_size].map(u64::from);
    let patch = sides.iter().try_fold(1_u64, |size, side| size.checked_mul(*side));
    if patch != Some(vision.patch_dim as u64) || image.merge_size as usize != vision.merge {
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
/// `min_pixels` and `max_pixels`, inside `size` or in its place or both.
pub(super) fn pixel_bounds(r: &Reader) -> Result<(u64, u64), FamilyError> {
    let old = (r.get("min_pixels").is_some(), r.get("max_pixels").is_some());
    if r.get("size").is_some() {
        let size = r.object("size")?;
        let named = if size.get("shortest_edge").is_some() { EDGES } else { PIXELS };
        let bounds = (size.area(named[0])?, size.area(named[1])?);
        size.finish()?;
        let agrees =
            |key: &str, bound: u64| Ok::<_, FamilyError>(r.get(key).is_none() || r.area(key)? == bound);
        if !agrees("min_pixels", bounds.0)? || !agrees("max_pixels", bounds.1)? {
            return Err(r.error("size", "differs from min_pixels and max_pixels"));
        }
        return Ok(bounds);
    }
    match old {
        (true, true) => Ok((r.area("min_pixels")?, r.area("max_pixels")?)),
        _ => Err(r.error("size", "is missing")),
    }
}

/// What the generation config asks for, and its end tokens.
pub(super) fn generation_defaults(
    value: Option<&Value>,
) -> Result<(GenerationDefaults, Vec<u32>), FamilyError> {
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
