//! The frames of a video become patches, as [`VideoProcessing`] describes it. Sizes are those of the reference's video
//! processors, in the same order of float operations.

use rewardrt_models::package::{PixelBounds, VideoProcessing, VideoShown, VideoSize};

use super::PreprocessError;
use super::geometry::{GeometryError, MAX_RESIZED_PIXELS, check_shape, smart_resize};
use super::packing::{Packing, Pooling};
use super::patches::{Patches, patchify};
use super::resize::resize_bicubic;
use super::tiles::crop;
use crate::media::Rgb8;

/// The frames of one video from decoded pixels to patches, one grid a temporal patch. They are all of one size.
///
/// # Errors
/// As [`fit_video`] and [`patchify`]; [`PreprocessError::Frames`] for no frame or frames of several sizes.
pub fn prepare_video(frames: &[Rgb8], params: &VideoProcessing) -> Result<Patches, PreprocessError> {
    let size = |frame: &Rgb8| (frame.width(), frame.height());
    let first = frames.first().map_or((0, 0), size);
    if let Some((index, frame)) = frames.iter().enumerate().find(|(_, frame)| size(frame) != first) {
        return Err(PreprocessError::Frames { index, found: size(frame), expected: first });
    }
    let (height, width) = fit_video(frames.len(), (first.1, first.0), params)?;
    let one = |frame: &Rgb8| resize_bicubic(frame, width, height, params.resample);
    let resized: Vec<Rgb8> = frames.iter().map(one).collect::<Result<_, _>>()?;
    if params.shown != VideoShown::Pooled {
        return patchify(&resized, params);
    }
    // Pixels behind the last whole patch are cut off.
    let side =
        height.checked_div(params.patch_size).ok_or(PreprocessError::Parameter { field: "patch_size" })?;
    let seen = side * params.patch_size;
    let cropped: Vec<Rgb8> =
        resized.iter().map(|frame| crop(frame, (0, 0), seen)).collect::<Result<_, _>>()?;
    let packing = Packing::Frames(Pooling::new(side as usize, frames.len()));
    Ok(Patches { packing: Some(packing), ..patchify(&cropped, params)? })
}

/// Height and width in which `frames` frames of `(height, width)` are seen. All sizes in pixels.
///
/// # Errors
/// [`PreprocessError::Short`] for fewer frames than a patch spans, where all together are bounded;
/// [`PreprocessError::Geometry`] as [`smart_resize`]; [`PreprocessError::Parameter`] for sizes without meaning.
pub fn fit_video(
    frames: usize,
    (height, width): (u32, u32),
    params: &VideoProcessing,
) -> Result<(u32, u32), PreprocessError> {
    let factor = params
        .patch_size
        .checked_mul(params.merge_size)
        .ok_or(PreprocessError::Parameter { field: "merge_size" })?;
    let temporal = params.temporal_patch_size;
    let count = frames.max(1) as u64;
    match &params.size {
        VideoSize::Fixed { height, width } => Ok((*height, *width)),
        VideoSize::Frame(bounds) => {
            let cell = u64::from(factor) * u64::from(factor);
            let most = bounds.cap_tokens.map_or(bounds.max_pixels, |tokens| {
                let total = ((tokens * cell) as f64 * 0.9) as u64;
                bounds.max_pixels.min(total * u64::from(temporal) / count).max(floor(bounds))
            });
            Ok(smart_resize(height, width, factor, bounds.min_pixels, most)?)
        }
        VideoSize::Clip(bounds) => {
            if frames < temporal as usize {
                return Err(PreprocessError::Short { found: frames, needed: temporal });
            }
            let most = bounds.cap_tokens.map_or(bounds.max_pixels, |tokens| {
                let cap = tokens * u64::from(factor) * u64::from(factor);
                cap.min(bounds.max_pixels / count).max(floor(bounds)) * count
            });
            let clip = Clip { frames, temporal, factor, least: bounds.min_pixels, most };
            Ok(clip.size((height, width))?)
        }
    }
}

/// What a cap leaves a frame, whatever the number of frames.
fn floor(bounds: &PixelBounds) -> u64 {
    (bounds.min_pixels as f64 * 1.05) as u64
}

/// Bounds of all frames together.
struct Clip {
    frames: usize,
    temporal: u32,
    factor: u32,
    least: u64,
    most: u64,
}

impl Clip {
    /// Multiples of the factor that keep the aspect as well as they can. A frame that is smaller than one cell is taken
    /// for one enlarged. The count of frames is rounded to whole patches to decide, and not to scale.
    fn size(&self, (height, width): (u32, u32)) -> Result<(u32, u32), GeometryError> {
        check_shape(height, width)?;
        if self.factor == 0 || self.temporal == 0 || self.least == 0 || self.most == 0 {
            let Clip { factor, least: min_pixels, most: max_pixels, .. } = *self;
            return Err(GeometryError::Bounds { factor, min_pixels, max_pixels });
        }
        let (mut h, mut w, step) = (f64::from(height), f64::from(width), f64::from(self.factor));
        if h < step || w < step {
            let scale = (step / h).max(step / w);
            (h, w) = ((h * scale).trunc(), (w * scale).trunc());
            check_shape(h as u32, w as u32)?;
        }
        let nearest = |side: f64| (side / step).round_ties_even() * step;
        let (mut out_h, mut out_w) = (nearest(h), nearest(w));
        let (frames, temporal) = (self.frames as f64, f64::from(self.temporal));
        let times = (frames / temporal).round_ties_even() * temporal;
        let (least, most) = (self.least as f64, self.most as f64);
        if times * out_h * out_w > most {
            let beta = ((frames * h * w) / most).sqrt();
            let shrunk = |side: f64| ((side / beta / step).floor() * step).max(step);
            (out_h, out_w) = (shrunk(h), shrunk(w));
        } else if times * out_h * out_w < least {
            let beta = (least / (frames * h * w)).sqrt();
            let grown = |side: f64| (side * beta / step).ceil() * step;
            (out_h, out_w) = (grown(h), grown(w));
        }
        if out_h * out_w * frames > MAX_RESIZED_PIXELS as f64 {
            return Err(GeometryError::TooLarge { height: out_h as u64, width: out_w as u64 });
        }
        Ok((out_h as u32, out_w as u32))
    }
}

#[cfg(test)]
#[path = "video_tests.rs"]
mod tests;
