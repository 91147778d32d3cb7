//! One video from its bytes to its chosen frames, in this process, by libav.

mod about;
mod convert;
mod decode;
mod ffi;
mod index;
mod open;
mod plan;
mod source;
mod webp;

use std::collections::HashMap;

pub use about::Libraries;
pub(super) use about::libraries;

use self::source::Source;
use super::error::VideoError;
use super::limits::VideoLimits;
use super::sniff::{Container, HEAD};
use super::{Choose, Video, VideoInfo, VideoInput};
use crate::media::{PixelRule, Rgb8};

pub(super) fn read(
    input: VideoInput<'_>,
    choose: Choose<'_>,
    rule: PixelRule,
    limits: &VideoLimits,
) -> Result<Video, VideoError> {
    let source = Source::open(input, limits)?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
    let container = Container::of(&source.head::<HEAD>()?).ok_or(VideoError::UnsupportedFormat)?;
    if container == Container::Webp {
        return webp::read(&source.whole(limits)?, choose, rule, limits);
    }
    let open = || open::open(&source, container, limits);
    let media = open()?;
    let (fps, size, base) = (media.fps, media.turn.size(media.size), f64::from(media.time_base));
    let index = index::index(media, limits, open)?;
    let frames_total = index.times.len() as u64;
    let info = VideoInfo { frames_total, width: size.0, height: size.1, fps };
    let indices = choose_frames(&info, choose, limits)?;
    let start = index.times.first().copied().unwrap_or_default();
    let times: Vec<i64> = indices.iter().map(|i| index.times[*i as usize]).collect();
    let mut distinct = times.clone();
    distinct.dedup();
    let mut found: HashMap<i64, Rgb8> = HashMap::with_capacity(distinct.len());
    decode::frames(&open, &index, &distinct, rule, &mut |time, rgb| {
        found.insert(time, rgb);
        Ok(())
    })?;
    Ok(Video {
        info,
        timestamps_s: times.iter().map(|time| (time - start) as f64 * base).collect(),
        frames: times
            .iter()
            .map(|time| found.get(time).cloned().ok_or(VideoError::Corrupt))
            .collect::<Result<_, _>>()?,
        indices,
    })
}

/// The chosen frames, all of which exist and fit.
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
