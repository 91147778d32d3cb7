//! One video from its bytes to its chosen frames, in this process, by libav.

mod about;
mod chroma;
mod convert;
mod decode;
mod ffi;
mod index;
mod open;
mod plan;
mod source;
mod webp;

use std::fs::File;

pub use about::Libraries;
pub(super) use about::libraries;
pub(super) use source::Source;

use self::index::Index;
use self::webp::Webp;
use super::error::VideoError;
use super::limits::VideoLimits;
use super::sniff::{Container, HEAD};
use super::{VideoInfo, VideoInput};
use crate::media::{PixelRule, Rgb8};

/// What takes the frames: the place of each in the order of display, and its pixels. Frames come in any order.
pub(super) type Sink<'a> = &'a mut dyn FnMut(u64, Rgb8) -> Result<(), VideoError>;

/// A video whose frames are known and not decoded yet.
pub(super) struct Opened {
    pub(super) info: VideoInfo,
    how: How,
}

enum How {
    Libav {
        source: Source,
        container: Container,
        limits: VideoLimits,
        threads: usize,
        index: Index,
        /// Seconds of a unit of time.
        unit: f64,
    },
    Webp(Webp),
}

impl Opened {
    /// Finds out what frames there are. `threads` is how many may be used.
    pub(super) fn new(source: Source, limits: &VideoLimits, threads: usize) -> Result<Opened, VideoError> {
        // Nothing of what libav has to say is for the caller's terminal.
        ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
        let container = Container::of(&source.head::<HEAD>()?).ok_or(VideoError::UnsupportedFormat)?;
        if container == Container::Webp {
            let webp = Webp::new(source.whole(limits)?, limits)?;
            return Opened { info: webp.info(), how: How::Webp(webp) }.checked();
        }
        let open = || open::open(&source, container, limits);
        let media = open()?;
        let (fps, unit) = (media.fps, f64::from(media.time_base));
        let (width, height) = media.turn.size(media.size);
        let threads = media.threads(threads);
        let index = index::index(media, limits, threads, open)?;
        let info = VideoInfo { frames_total: index.times.len() as u64, width, height, fps };
        let how = How::Libav { container, limits: *limits, threads, index, unit, source };
        Opened { info, how }.checked()
    }

    fn checked(self) -> Result<Opened, VideoError> {
        if self.info.frames_total == 0 { Err(VideoError::NoFrames) } else { Ok(self) }
    }

    /// When a frame is shown, seconds from the first one.
    pub(super) fn seconds(&self, frame: u64) -> f64 {
        match &self.how {
            How::Webp(webp) => webp.seconds(frame),
            How::Libav { index, unit, .. } => {
                let time = |at: u64| index.times.get(at as usize).copied().unwrap_or_default();
                time(frame).saturating_sub(time(0)) as f64 * unit
            }
        }
    }

    /// Decodes frames that exist, in ascending order and each once.
    pub(super) fn decode(&self, chosen: &[u64], rule: PixelRule, sink: Sink<'_>) -> Result<(), VideoError> {
        match &self.how {
            How::Webp(webp) => webp.decode(chosen, rule, sink),
            How::Libav { source, container, limits, threads, index, .. } => {
                let open = || open::open(source, *container, limits);
                decode::Task { open: &open, index, threads: *threads, rule }.run(chosen, sink)
            }
        }
    }
}

impl Source {
    /// The bytes of an input, in a file: that of the path, or one in memory.
    pub(super) fn as_file(input: VideoInput<'_>, limits: &VideoLimits) -> Result<File, VideoError> {
        match input {
            VideoInput::Path(path) => source::open(path),
            VideoInput::Bytes(bytes) => {
                limits.check_encoded(bytes.len() as u64)?;
                source::in_memory(bytes)
            }
        }
    }
}
