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

#[cfg(feature = "video")]
mod child;
mod error;
#[cfg(feature = "video")]
mod libav;
// Without libav nothing is limited, and containers are told apart only to say so.
#[cfg_attr(not(feature = "video"), allow(dead_code))]
mod limits;
#[cfg_attr(not(feature = "video"), allow(dead_code))]
mod sniff;

use std::collections::HashMap;
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// In a child process of this program, with limits and without rights: see [`worker_main`].
    #[default]
    Child,
    /// In this process: a fault of a decoder is a fault of the process. For embedders who isolate in a way of their own.
    InProcess,
}

/// Chooses frames, ascending, of a video that it is told about; frames may stand twice. Gives the reason when it cannot.
pub type Choose<'a> = &'a dyn Fn(&VideoInfo) -> Result<Vec<u64>, String>;

/// Which frames were chosen, without their pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The whole video.
    pub info: VideoInfo,
    /// The chosen frames by their place in the order of display, from 0.
    pub indices: Vec<u64>,
    /// When each is shown, seconds from the first frame of the video.
    pub timestamps_s: Vec<f64>,
}

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
    let mut found: HashMap<u64, Rgb8> = HashMap::new();
    let chosen = read_each(input, choose, (rule, mode), limits, &mut |frame, rgb| {
        found.insert(frame, rgb);
    })?;
    let Chosen { info, indices, timestamps_s } = chosen;
    let mut frames: Vec<Rgb8> = Vec::with_capacity(indices.len());
    for (at, index) in indices.iter().enumerate() {
        let again = at.checked_sub(1).filter(|before| indices[*before] == *index);
        frames.push(match again {
            Some(before) => frames[before].clone(),
            None => found.remove(index).ok_or(VideoError::Corrupt)?,
        });
    }
    Ok(Video { info, indices, timestamps_s, frames })
}

/// The same, one frame at a time: `take` is told the index and the pixels of each chosen frame once, in any order, so that
/// frames that are made smaller need not be held at their decoded size.
///
/// # Errors
/// As [`read`].
pub fn read_each(
    input: VideoInput<'_>,
    choose: Choose<'_>,
    (rule, mode): (PixelRule, Isolation),
    limits: &VideoLimits,
    take: &mut dyn FnMut(u64, Rgb8),
) -> Result<Chosen, VideoError> {
    #[cfg(feature = "video")]
    return match mode {
        Isolation::Child => child::read(input, choose, rule, limits, take),
        Isolation::InProcess => {
            let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
            let opened = libav::Opened::new(libav::Source::open(input, limits)?, limits, threads)?;
            let indices = choose_frames(&opened.info, choose, limits)?;
            let mut distinct = indices.clone();
            distinct.dedup();
            opened.decode(&distinct, rule, &mut |frame, rgb| {
                take(frame, rgb);
                Ok(())
            })?;
            let timestamps_s = indices.iter().map(|index| opened.seconds(*index)).collect();
            Ok(Chosen { info: opened.info, indices, timestamps_s })
        }
    };
    #[cfg(not(feature = "video"))]
    {
        let _ = (input, choose, rule, mode, limits, take);
        Err(VideoError::NotBuilt)
    }
}

/// The chosen frames, all of which exist and fit.
#[cfg(feature = "video")]
fn choose_frames(info: &VideoInfo, choose: Choose<'_>, limits: &VideoLimits) -> Result<Vec<u64>, VideoError> {
    if info.frames_total == 0 {
        return Err(VideoError::NoFrames);
    }
    let indices = choose(info).map_err(VideoError::Choice)?;
    if let Some(index) = indices.iter().find(|index| **index >= info.frames_total) {
        return Err(VideoError::NoSuchFrame { index: *index, total: info.frames_total });
    }
    if !indices.is_sorted() {
        return Err(VideoError::Choice("the chosen frames do not ascend".to_owned()));
    }
    limits.check_output(indices.len(), info.width, info.height)?;
    Ok(indices)
}

/// Makes this program one that videos are decoded in. Call it at the start of `main`, before anything else is done: where
/// this process was started to decode a video, it does so and ends; everywhere else it returns, and [`Isolation::Child`]
/// starts this program anew.
#[cfg(feature = "video")]
pub fn worker_main() {
    child::serve_if_asked();
    // The file that runs, also where another has taken its name since.
    let program = Path::new("/proc/self/exe");
    match program.exists() {
        true => child::use_worker(program),
        false => {
            if let Ok(program) = std::env::current_exe() {
                child::use_worker(&program);
            }
        }
    }
}

/// Names another program that videos are decoded in: one whose `main` calls [`worker_main`], such as `rewardrt`. For
/// libraries in processes that are not their own. The first name stays.
#[cfg(feature = "video")]
pub fn use_worker(program: &Path) {
    child::use_worker(program);
}

/// Starts processes to decode the next videos in, which takes tens of milliseconds each, while other things are done.
#[cfg(feature = "video")]
pub fn warm(count: usize) {
    child::warm(count);
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
