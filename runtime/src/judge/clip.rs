//! Video files among the pictures of a request: which of their frames are shown, and what is told of that.

use std::borrow::Cow;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use rewardrt_models::prompt::pack::{FrameBounds, FrameRule, FramesAs};
use serde::{Serialize, Serializer};

use super::Inner;
use super::footage::Footage;
use super::types::Picture;
use crate::Error;
use crate::media::video::{self, Isolation, VideoInput, VideoLimits};
use crate::media::{PixelRule, Rgb8};

/// A video file, which stands for the frames that a rule chooses.
#[derive(Debug, Clone)]
pub struct Clip {
    /// Where it is.
    pub file: ClipFile,
    /// Which frames are shown; none for those of the pack's rule, or of the package's where the pack leaves it to that.
    pub rule: Option<FrameRule>,
    /// Where it is decoded.
    pub isolation: Isolation,
}

/// Where a video file is.
#[derive(Debug, Clone)]
pub enum ClipFile {
    /// At a path.
    Path(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
}

impl Clip {
    /// The file at a path, its frames chosen by the pack's rule and decoded in a child process.
    pub fn path(path: impl Into<PathBuf>) -> Clip {
        Clip { file: ClipFile::Path(path.into()), rule: None, isolation: Isolation::Child }
    }

    /// A file in memory, its frames chosen by the pack's rule and decoded in a child process.
    pub fn bytes(bytes: Vec<u8>) -> Clip {
        Clip { file: ClipFile::Bytes(bytes), rule: None, isolation: Isolation::Child }
    }

    /// What errors call it: its path, or its place in the request.
    fn name(&self, place: &str) -> String {
        match &self.file {
            ClipFile::Path(path) => path.display().to_string(),
            ClipFile::Bytes(_) => place.to_owned(),
        }
    }

    fn input(&self) -> VideoInput<'_> {
        match &self.file {
            ClipFile::Path(path) => VideoInput::Path(path),
            ClipFile::Bytes(bytes) => VideoInput::Bytes(bytes),
        }
    }
}

/// A video of a request, as it was shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlacedVideo {
    /// Its place in the request: `first`, `second`, `shown` or `candidate N`.
    pub place: String,
    /// Its frames.
    #[serde(flatten)]
    pub sampled: Sampled,
}

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

/// The pictures of one place, with every video replaced by its frames.
pub(super) struct Expanded<'a> {
    pub(super) pictures: Cow<'a, [Picture]>,
    pub(super) videos: Vec<PlacedVideo>,
}

/// Replaces the videos of several places by their frames, decoding them side by side; gives the milliseconds that took.
pub(super) fn expand<'a>(
    inner: &Inner,
    places: &[(&str, &'a [Picture])],
    pixels: PixelRule,
) -> Result<(Vec<Expanded<'a>>, f64), Error> {
    let start = Instant::now();
    let one = |(place, pictures): &(&str, &'a [Picture])| expand_one(inner, place, pictures, pixels);
    let has_videos = |(_, pictures): &&(&str, &[Picture])| pictures.iter().any(is_video);
    let expanded: Result<Vec<_>, Error> = match places.iter().filter(has_videos).count() {
        0 => {
            let as_it_is =
                |(_, p): &(&str, &'a [Picture])| Expanded { pictures: Cow::Borrowed(*p), videos: Vec::new() };
            return Ok((places.iter().map(as_it_is).collect(), 0.0));
        }
        1 => places.iter().map(one).collect(),
        _ => thread::scope(|scope| {
            let threads: Vec<_> = places.iter().map(|place| scope.spawn(move || one(place))).collect();
            let joined = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|fault| std::panic::resume_unwind(fault))
            };
            threads.into_iter().map(joined).collect()
        }),
    };
    Ok((expanded?, start.elapsed().as_secs_f64() * 1e3))
}

/// Replaces the videos of one place.
pub(super) fn expand_one<'a>(
    inner: &Inner,
    place: &str,
    pictures: &'a [Picture],
    pixels: PixelRule,
) -> Result<Expanded<'a>, Error> {
    if !pictures.iter().any(is_video) {
        return Ok(Expanded { pictures: Cow::Borrowed(pictures), videos: Vec::new() });
    }
    let (mut all, mut videos) = (Vec::new(), Vec::new());
    for picture in pictures {
        let Picture::Video(clip) = picture else {
            all.push(picture.clone());
            continue;
        };
        let shown = inner.package.manifest().video.as_ref();
        // A pack that sends videos as such may leave the choice to the package.
        let own = shown.filter(|_| inner.pack.frames_as == FramesAs::Video).map(|video| video.frames);
        let Some(rule) = clip.rule.or(inner.pack.frames).or(own) else {
            let name = &inner.pack.name;
            return Err(Error::Request(format!(
                "pack {name} shows pictures and no videos; choose a pack for videos"
            )));
        };
        let bounds = shown.map_or_else(FrameBounds::default, |video| video.bounds);
        let (sampled, frames) =
            sample(&clip.name(place), clip.input(), rule, &bounds, pixels, clip.isolation)?;
        videos.push(PlacedVideo { place: place.to_owned(), sampled: sampled.clone() });
        all.extend(Footage { sampled, frames }.pictures());
    }
    Ok(Expanded { pictures: Cow::Owned(all), videos })
}

fn is_video(picture: &Picture) -> bool {
    matches!(picture, Picture::Video(_))
}
