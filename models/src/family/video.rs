//! The video processors of the families, each from its part of either layout's file. Source of the rules: the
//! published configuration files and the video processors of Hugging Face transformers 5.23.

use serde_json::{Value, json};

use super::common::{self, MEAN, STD};
use super::config::Reader;
use super::{ConfigFiles, FamilyError};
use crate::package::{ImageProcessing, PixelBounds, Resample, VideoProcessing, VideoShown, VideoSize};
use crate::prompt::pack::{FrameBounds, FrameRule};

/// Name of the file, for messages.
const FILE: &str = "video_preprocessor_config.json";
/// The tokens around each temporal patch of a stamped video, which the reference takes from the tokenizer.
const STAMPED: [&str; 2] = ["<|vision_start|>", "<|vision_end|>"];

/// What tells one processor of temporal patches from another.
struct Kind {
    /// `video_processor_type`.
    class: &'static str,
    /// Frames a second where the file names neither that nor a number.
    fps: Option<f64>,
    /// Rules for a rate and for a number of frames.
    rate: fn(f64) -> FrameRule,
    number: fn(u32) -> FrameRule,
    /// Whether numbers of frames are cut to whole temporal patches.
    whole: bool,
    /// Fewest and most pixels where the file names none, in cells of a token.
    cells: [u64; 2],
    /// Tokens of the cap where the file names none.
    cap: u64,
    size: fn(PixelBounds) -> VideoSize,
    normalisation: [[f32; 3]; 2],
    patch: usize,
}

const FRAMES: Kind = Kind {
    class: "Qwen2VLVideoProcessor",
    fps: None,
    rate: FrameRule::FpsStep,
    number: FrameRule::Step,
    whole: true,
    cells: [128, 768],
    cap: 128_000,
    size: VideoSize::Frame,
    normalisation: [MEAN, STD],
    patch: 14,
};

const CLIP: Kind = Kind {
    class: "Qwen3VLVideoProcessor",
    fps: Some(2.0),
    rate: FrameRule::Fps,
    number: FrameRule::LinspaceRound,
    whole: false,
    cells: [128, 768],
    cap: 768,
    size: VideoSize::Clip,
    normalisation: [[0.5; 3]; 2],
    patch: 16,
};

/// Videos whose temporal patches follow one another, each frame within bounds of its own.
pub(super) fn grid(
    files: &ConfigFiles,
    image: &ImageProcessing,
) -> Result<Option<VideoProcessing>, FamilyError> {
    let Some(value) = &files.video_processor else { return Ok(None) };
    patched(value, image, &FRAMES, VideoShown::Grid).map(Some)
}

/// Videos whose temporal patches stand behind their seconds, all frames together within bounds.
pub(super) fn stamped(
    files: &ConfigFiles,
    image: &ImageProcessing,
) -> Result<Option<VideoProcessing>, FamilyError> {
    let Some(value) = &files.video_processor else { return Ok(None) };
    let id = |token: &str| {
        files.added_tokens.get(token).copied().ok_or_else(|| FamilyError::Field {
            field: "tokenizer.json".to_owned(),
            reason: format!("adds no token {token}, which stands around each part of a video"),
        })
    };
    let shown = VideoShown::Stamped { start: id(STAMPED[0])?, end: id(STAMPED[1])? };
    patched(value, image, &CLIP, shown).map(Some)
}

/// Videos whose frames are squeezed into one tile each, their features pooled.
pub(super) fn pooled(
    files: &ConfigFiles,
    image: &ImageProcessing,
) -> Result<Option<VideoProcessing>, FamilyError> {
    let (Some(value), Some(tiling)) = (&files.video_processor, &image.tiling) else { return Ok(None) };
    let r = open(value, "LlavaOnevisionVideoProcessor")?;
    // The reference spreads frames by a rule of its own where these are set; no published file sets them.
    r.only("fps", &[])?;
    r.only("num_frames", &[])?;
    r.ignore(&["do_sample_frames"]);
    let size = r.object("size")?;
    for key in ["height", "width"] {
        if size.size(key)? != tiling.side as usize {
            return Err(size.error(key, "differs from the vision tower's image_size"));
        }
    }
    size.finish()?;
    let video = VideoProcessing {
        frames: FrameRule::All,
        bounds: FrameBounds::default(),
        patch_size: image.patch_size,
        temporal_patch_size: image.temporal_patch_size,
        merge_size: image.merge_size,
        size: VideoSize::Fixed { height: tiling.side, width: tiling.side },
        mean: r.triple_or("image_mean", MEAN)?,
        std: r.triple_or("image_std", STD)?,
        rescale_factor: r.number_or("rescale_factor", 1.0 / 255.0)?,
        resample: Resample::BicubicTorch,
        shown: VideoShown::Pooled,
    };
    r.finish()?;
    Ok(Some(video))
}

/// What all these processors do alike.
fn open<'a>(value: &'a Value, class: &str) -> Result<Reader<'a>, FamilyError> {
    let r = Reader::new(FILE, value)?;
    for key in ["do_convert_rgb", "do_normalize", "do_rescale", "do_resize"] {
        r.only(key, &[json!(true)])?;
    }
    for key in ["do_center_crop", "do_pad"] {
        r.only(key, &[json!(false)])?;
    }
    r.only("crop_size", &[])?;
    r.only("pad_size", &[])?;
    r.only("resample", &[json!(3)])?;
    r.only("video_processor_type", &[json!(class)])?;
    // Where the processor puts its tensors, how it groups them, and what its class is called, changes no pixel;
    // `default_to_square` reads a size given as one number, which this one is not. Some versions list their own keys.
    r.ignore(&["processor_class", "data_format", "device", "input_data_format", "return_tensors"]);
    r.ignore(&["default_to_square", "disable_grouping", "return_metadata", "size_divisor"]);
    r.ignore(&["_valid_kwargs_names", "model_valid_processing_keys", "image_processor_type"]);
    Ok(r)
}

fn patched(
    value: &Value,
    image: &ImageProcessing,
    kind: &Kind,
    shown: VideoShown,
) -> Result<VideoProcessing, FamilyError> {
    let r = open(value, kind.class)?;
    let [patch, temporal, merge] =
        [("patch_size", kind.patch), ("temporal_patch_size", 2), ("merge_size", 2)]
            .map(|(key, default)| r.size_or(key, default).map(|n| n as u32));
    let (patch_size, temporal_patch_size, merge_size) = (patch?, temporal?, merge?);
    if [patch_size, temporal_patch_size, merge_size]
        != [image.patch_size, image.temporal_patch_size, image.merge_size]
    {
        return Err(r.error("patch_size", "differs from the vision tower's patches"));
    }
    let [mean, std] = kind.normalisation;
    let bounds = FrameBounds {
        min: r.size_or("min_frames", 4)? as u32,
        max: r.size_or("max_frames", 768)? as u32,
        multiple: if kind.whole { temporal_patch_size } else { 1 },
    };
    let video = VideoProcessing {
        frames: frames(&r, value, kind)?,
        bounds,
        patch_size,
        temporal_patch_size,
        merge_size,
        size: size(&r, kind, u64::from(patch_size * merge_size))?,
        mean: r.triple_or("image_mean", mean)?,
        std: r.triple_or("image_std", std)?,
        rescale_factor: r.number_or("rescale_factor", 1.0 / 255.0)?,
        resample: Resample::BicubicTorch,
        shown,
    };
    r.finish()?;
    Ok(video)
}

/// The rule by which frames are chosen. Without a rate and a number there is none to choose by: all are shown.
fn frames(r: &Reader, value: &Value, kind: &Kind) -> Result<FrameRule, FamilyError> {
    // Whether the processor chooses by itself is for the caller of the reference to say; here it always does.
    r.ignore(&["do_sample_frames"]);
    let number = r.get("num_frames").is_some();
    // A rate that is null is none, one that is absent is the processor's own.
    let rate = match (r.get("fps"), value.get("fps"), kind.fps) {
        (Some(_), ..) => Some(r.number_or("fps", 0.0)?),
        (None, None, default) => default,
        (None, Some(_), _) => None,
    };
    let rule = match (rate, number) {
        (Some(_), true) => return Err(r.error("num_frames", "stands beside a rate; set fps to null")),
        (Some(rate), false) => (kind.rate)(rate),
        (None, true) => (kind.number)(r.size("num_frames")? as u32),
        (None, false) if kind.fps.is_none() => FrameRule::All,
        (None, false) => return Err(r.error("fps", "is null beside no num_frames; give one of them")),
    };
    rule.to_string().parse().map_err(|e| r.error(if number { "num_frames" } else { "fps" }, &format!("{e}")))
}

fn size(r: &Reader, kind: &Kind, factor: u64) -> Result<VideoSize, FamilyError> {
    let named = ["size", "min_pixels", "max_pixels"].iter().any(|key| r.get(key).is_some());
    let (min_pixels, max_pixels) = match named {
        true => common::pixel_bounds(r)?,
        false => (kind.cells[0] * factor * factor, kind.cells[1] * factor * factor),
    };
    let cap = r.size_or("max_video_tokens", kind.cap as usize)? as u64;
    let cap_tokens = r.flag_or("cap_pixels_per_frame", false)?.then_some(cap);
    Ok((kind.size)(PixelBounds { min_pixels, max_pixels, cap_tokens }))
}

#[cfg(test)]
#[path = "video_tests.rs"]
mod tests;
