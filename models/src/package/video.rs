//! What the manifest says of videos that are shown as such, not as pictures.

use serde::{Deserialize, Serialize};

use super::manifest::{ImageProcessing, ManifestError, Resample};
use super::tiling::MAX_SIDE;
use super::validate::{check_normalisation, refuse, within};
use crate::prompt::pack::{FrameBounds, FrameRule, MAX_FRAMES};

/// Video preprocessing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoProcessing {
    /// Which frames are shown, where no pack says so.
    pub frames: FrameRule,
    /// How many frames a rule by the second may give.
    pub bounds: FrameBounds,
    /// Side of a patch, pixels.
    pub patch_size: u32,
    /// Frames a patch spans; the last frame is repeated until a patch is full.
    pub temporal_patch_size: u32,
    /// Patches a side that merge into one token.
    pub merge_size: u32,
    /// The size in which frames are seen.
    pub size: VideoSize,
    /// Channel means of the normalisation.
    pub mean: [f32; 3],
    /// Channel standard deviations.
    pub std: [f32; 3],
    /// Factor from bytes to the unit interval.
    pub rescale_factor: f64,
    /// Resampling filter.
    pub resample: Resample,
    /// How its tokens stand in the prompt.
    pub shown: VideoShown,
}

/// The size in which the frames of a video are seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "bound", rename_all = "lowercase", deny_unknown_fields)]
pub enum VideoSize {
    /// Each frame has so many pixels.
    Frame(PixelBounds),
    /// All frames together have so many pixels.
    Clip(PixelBounds),
    /// Every frame has this size, whatever its aspect.
    Fixed {
        /// Pixels.
        height: u32,
        /// Pixels.
        width: u32,
    },
}

/// Fewest and most pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelBounds {
    /// Fewest pixels after resizing.
    pub min_pixels: u64,
    /// Most pixels after resizing.
    pub max_pixels: u64,
    /// Tokens by which the most pixels of a frame are lowered further; absent when they are not. Of a video, the most
    /// that a frame has; of a frame, those of which nine tenths are divided among the frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_tokens: Option<u64>,
}

/// How the tokens of a video stand in the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "lowercase", deny_unknown_fields)]
pub enum VideoShown {
    /// Temporal patches one after the other, in the place of the placeholder.
    Grid,
    /// Each temporal patch by itself, behind the second in which it is seen and between two control tokens.
    Stamped {
        /// The token before a temporal patch.
        start: u32,
        /// The token behind it.
        end: u32,
    },
    /// The features of each frame resampled to half their rows and columns, and the closing feature behind the last.
    Pooled,
}

impl VideoProcessing {
    /// Refuses the first value that cannot be. `vocabulary` is the decoder's.
    pub(super) fn validate(&self, image: &ImageProcessing, vocabulary: u32) -> Result<(), ManifestError> {
        let most = u64::from(MAX_FRAMES);
        within("video.bounds.max", u64::from(self.bounds.max), 1, most)?;
        within("video.bounds.min", u64::from(self.bounds.min), 1, u64::from(self.bounds.max))?;
        within("video.bounds.multiple", u64::from(self.bounds.multiple), 1, 16)?;
        let sizes = [
            ("video.patch_size", self.patch_size, image.patch_size),
            ("video.temporal_patch_size", self.temporal_patch_size, image.temporal_patch_size),
            ("video.merge_size", self.merge_size, image.merge_size),
        ];
        // One tower sees both.
        for (field, found, expected) in sizes {
            within(field, u64::from(found), u64::from(expected), u64::from(expected))?;
        }
        check_normalisation("video", self.mean, self.std, self.rescale_factor)?;
        self.size.validate()?;
        let side = image.tiling.as_ref().map(|tiling| tiling.side);
        match (&self.shown, &self.size, side) {
            (VideoShown::Pooled, VideoSize::Fixed { height, width }, Some(side)) => {
                within("video.size.height", u64::from(*height), u64::from(side), u64::from(side))?;
                within("video.size.width", u64::from(*width), u64::from(side), u64::from(side))
            }
            (VideoShown::Grid, VideoSize::Frame(_) | VideoSize::Clip(_), None) => Ok(()),
            (VideoShown::Stamped { start, end }, VideoSize::Frame(_) | VideoSize::Clip(_), None) => {
                let last = u64::from(vocabulary).saturating_sub(1);
                within("video.shown.start", u64::from(*start), 0, last)?;
                within("video.shown.end", u64::from(*end), 0, last)
            }
            _ => refuse("video.shown", "does not go with video.size and image.tiling"),
        }
    }
}

impl VideoSize {
    fn validate(&self) -> Result<(), ManifestError> {
        match self {
            VideoSize::Frame(bounds) | VideoSize::Clip(bounds) => {
                within("video.size.max_pixels", bounds.max_pixels, 1, 1 << 32)?;
                within("video.size.min_pixels", bounds.min_pixels, 1, bounds.max_pixels)?;
                bounds.cap_tokens.map_or(Ok(()), |cap| within("video.size.cap_tokens", cap, 1, 1 << 24))
            }
            VideoSize::Fixed { height, width } => {
                within("video.size.height", u64::from(*height), 1, u64::from(MAX_SIDE))?;
                within("video.size.width", u64::from(*width), 1, u64::from(MAX_SIDE))
            }
        }
    }
}
