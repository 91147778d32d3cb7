//! The chosen frames of a video file, kept together with what is known of them.

use std::path::Path;
use std::sync::Arc;

use rewardrt_models::package::Manifest;
use rewardrt_models::prompt::pack::{FrameBounds, FrameRule};

use super::clip::{Sampled, sample};
use super::types::Picture;
use crate::Error;
use crate::media::video::{Isolation, VideoInput};
use crate::media::{PixelRule, Rgb8};

/// The chosen frames of a video file, and which they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Footage {
    /// Which frames were chosen.
    pub sampled: Sampled,
    /// Their pixels, at the decoded size.
    pub frames: Vec<Rgb8>,
}

impl Footage {
    /// Decodes the frames of a file that `rule` chooses, within the bounds of the package.
    ///
    /// # Errors
    /// [`Error::Video`].
    pub fn open(
        path: &Path,
        rule: FrameRule,
        manifest: &Manifest,
        pixels: PixelRule,
        isolation: Isolation,
    ) -> Result<Footage, Error> {
        let bounds = manifest.video.as_ref().map_or_else(FrameBounds::default, |video| video.bounds);
        let name = path.display().to_string();
        let (sampled, frames) = sample(&name, VideoInput::Path(path), rule, &bounds, pixels, isolation)?;
        Ok(Footage { sampled, frames })
    }

    /// The frames as pictures that remember their video, so that a pack may show it as one.
    pub fn pictures(self) -> Vec<Picture> {
        let footage = Arc::new(self);
        (0..footage.frames.len()).map(|at| Picture::Frame(footage.clone(), at)).collect()
    }

    /// The video whose frames these pictures are, all of them in order; none for other pictures.
    pub(super) fn whole(pictures: &[Picture]) -> Option<&Footage> {
        let Some(Picture::Frame(footage, _)) = pictures.first() else { return None };
        let is_next = |(place, picture): (usize, &Picture)| match picture {
            Picture::Frame(other, at) => *at == place && Arc::ptr_eq(other, footage),
            _ => false,
        };
        let all = footage.frames.len() == pictures.len() && pictures.iter().enumerate().all(is_next);
        all.then_some(footage)
    }
}
