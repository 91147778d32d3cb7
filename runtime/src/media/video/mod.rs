//! Video files become the frames that a rule chooses, under limits.
//!
//! The container is read from the first bytes, out of a closed list, and the demuxer gets bytes from one reader only: no
//! protocol, no playlist and no reference to another file can be followed. One video stream is decoded, the first that
//! is no cover picture; its decoder is one of a closed list. A frame that the decoder had to make up is an error, since a
//! judge that scores grey areas is worse than one.
//!
//! # What a frame is
//! | property | rule |
//! |---|---|
//! | number of frames | those that decoding gives, never what the container guesses. Packets are counted where each provably shows one frame, else the video is decoded once to count (fields, AVI with MPEG-4, timestamps that repeat or miss). Frames that an edit list hides do not count, as in the reference decoder |
//! | index | place in the order of display, from 0; also where the frame rate varies |
//! | timestamp | the frame's own, in seconds from the first frame |
//! | rate | the average that the container declares; where it declares none, 0 |
//! | size | as stored, and turned by the display matrix; the sample aspect ratio is not applied |
//! | rotation | quarter turns of the display matrix are applied under both rules, as OpenCV (the reference client of the packs), decord and torchcodec do; PyAV does not |
//! | colours | [`PixelRule::Reference`] and [`PixelRule::Displayed`] alike: matrix and range as the stream names them, BT.601 and limited range where it names none, by libswscale's bilinear filter, as PyAV's `rgb24` |
//! | transparency | dropped under `Reference`, over white under `Displayed` |
//! | animated WebP | decoded by the decoder of still WebP, frame by frame on its canvas |

mod error;
#[cfg(feature = "video")]
mod libav;
// Without libav nothing is limited, and containers are told apart only to say so.
#[cfg_attr(not(feature = "video"), allow(dead_code))]
mod limits;
#[cfg_attr(not(feature = "video"), allow(dead_code))]
mod sniff;

use std::path::Path;

use super::{PixelRule, Rgb8};

pub use error::VideoError;
#[cfg(feature = "video")]
pub use libav::Libraries;
pub use limits::VideoLimits;

/// What is known of a video before any of its frames is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoInfo {
    /// Frames of the whole video.
    pub frames_total: u64,
    /// Width of a frame as it is given, pixels.
    pub width: u32,
    /// Height of a frame as it is given, pixels.
    pub height: u32,
    /// Frames a second on average, as the container declares it; 0 when it declares none.
    pub fps: f64,
}

/// The chosen frames of a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// The whole video.
    pub info: VideoInfo,
    /// The chosen frames by their place in the order of display, from 0; a frame that was chosen twice stands twice.
    pub indices: Vec<u64>,
    /// When each is shown, seconds from the first frame of the video.
    pub timestamps_s: Vec<f64>,
    /// Their pixels, at the decoded size.
    pub frames: Vec<Rgb8>,
}

/// A video, however the caller has it.
#[derive(Debug, Clone, Copy)]
pub enum VideoInput<'a> {
    /// A path to a file.
    Path(&'a Path),
    /// An encoded file.
    Bytes(&'a [u8]),
}

/// Where a video is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// In this process: a fault of a decoder is a fault of the process. For embedders who isolate in a way of their own.
    InProcess,
}

/// Chooses frames, ascending, of a video that it is told about; frames may stand twice. Gives the reason when it cannot.
pub type Choose<'a> = &'a dyn Fn(&VideoInfo) -> Result<Vec<u64>, String>;

/// Decodes the frames of a video that `choose` names.
///
/// # Errors
/// [`VideoError`], with its stable [`code`](VideoError::code).
pub fn read(
    input: VideoInput<'_>,
    choose: Choose<'_>,
    rule: PixelRule,
    limits: &VideoLimits,
    mode: Isolation,
) -> Result<Video, VideoError> {
    match mode {
        #[cfg(feature = "video")]
        Isolation::InProcess => libav::read(input, choose, rule, limits),
        #[cfg(not(feature = "video"))]
        Isolation::InProcess => {
            let _ = (input, choose, rule, limits);
            Err(VideoError::NotBuilt)
        }
    }
}

/// The libraries of libav that this program runs with.
#[cfg(feature = "video")]
pub fn libraries() -> Libraries {
    libav::libraries()
}

/// Whether a file that opens with these bytes is a video, and can be nothing else: animated PNG and WebP, which stand for
/// their first picture elsewhere, are not counted. 12 bytes are enough.
pub fn is_video(head: &[u8]) -> bool {
    sniff::Container::of(head).is_some_and(sniff::Container::is_video_only)
}
