//! The frames of a video file that a rule shows, and what is told of them.

use rewardrt_models::prompt::pack::{FrameBounds, FrameRule};
use serde::{Serialize, Serializer};

use crate::Error;
use crate::media::video::{self, Isolation, VideoInput, VideoLimits};
use crate::media::{PixelRule, Rgb8};

/// Which frames of a video were shown, in the field names of the public JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sampled {
    /// Frames of the whole video.
    pub frames_total: u64,
    /// Width of a frame as it is decoded, pixels.
    pub width: u32,
    /// Height of a frame as it is decoded, pixels.
    pub height: u32,
    /// Frames a second on average, as the container declares it; 0 when it declares none.
    pub fps: f64,
    /// The rule that chose.
    #[serde(serialize_with = "written")]
    pub rule: FrameRule,
    /// The frames by their place in the order of display, from 0.
    pub indices: Vec<u64>,
    /// When each is shown, seconds from the first frame of the video.
    pub timestamps_s: Vec<f64>,
}

fn written<S: Serializer>(rule: &FrameRule, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(rule)
}

/// Decodes the frames that a rule shows, in order, at their decoded size. `name` says which video an error is about.
///
/// # Errors
/// [`Error::Video`].
pub fn sample(
    name: &str,
    input: VideoInput<'_>,
    rule: FrameRule,
    bounds: &FrameBounds,
    pixels: PixelRule,
    isolation: Isolation,
) -> Result<(Sampled, Vec<Rgb8>), Error> {
    let choose = |info: &video::VideoInfo| {
        rule.indices(info.frames_total, info.fps, bounds).map_err(|error| error.to_string())
    };
    let read = video::read(input, &choose, pixels, &VideoLimits::default(), isolation);
    let video = read.map_err(|source| Error::Video { name: name.to_owned(), source })?;
    let sampled = Sampled {
        frames_total: video.info.frames_total,
        width: video.info.width,
        height: video.info.height,
        fps: video.info.fps,
        rule,
        indices: video.indices,
        timestamps_s: video.timestamps_s,
    };
    Ok((sampled, video.frames))
}
