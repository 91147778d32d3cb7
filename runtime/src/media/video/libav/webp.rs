//! Animated WebP, which libav does not demux: by the decoder of still WebP, frame by frame.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, ImageDecoder, RgbaImage};

use super::choose_frames;
use crate::media::canvas::{Canvas, Layout};
use crate::media::exif::Turn;
use crate::media::video::error::VideoError;
use crate::media::video::limits::VideoLimits;
use crate::media::video::{Choose, Video, VideoInfo};
use crate::media::{PixelRule, Rgb8};

pub(super) fn read(
    bytes: &[u8],
    choose: Choose<'_>,
    rule: PixelRule,
    limits: &VideoLimits,
) -> Result<Video, VideoError> {
    let decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    if !decoder.has_animation() {
        return Err(VideoError::UnsupportedFormat);
    }
    // Frames build on each other, so the first pass decodes them too; it keeps when each is shown.
    let mut starts = vec![0.0];
    each(decoder, |_, end, _| {
        let last = starts.last().copied().unwrap_or_default();
        starts.push(last + end);
        limits.check_frames(starts.len() as u64 - 1)
    })?;
    let (frames_total, length) = (starts.len() as u64 - 1, starts.pop().unwrap_or_default());
    let fps = if length > 0.0 { frames_total as f64 / length } else { 0.0 };
    let info = VideoInfo { frames_total, width, height, fps };
    let indices = choose_frames(&info, choose, limits)?;
    let mut frames = Vec::with_capacity(indices.len());
    each(open(bytes)?, |at, _, picture| {
        for _ in indices.iter().filter(|index| **index == at) {
            frames.push(pixels(picture, rule)?);
        }
        Ok(())
    })?;
    if frames.len() != indices.len() {
        return Err(VideoError::Corrupt);
    }
    Ok(Video { info, timestamps_s: indices.iter().map(|i| starts[*i as usize]).collect(), indices, frames })
}

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, VideoError> {
    WebPDecoder::new(Cursor::new(bytes)).map_err(|_| VideoError::Corrupt)
}

/// Tells every frame: its place, how long it is shown in seconds, and its pixels on the canvas.
fn each(
    decoder: WebPDecoder<Cursor<&[u8]>>,
    mut tell: impl FnMut(u64, f64, &RgbaImage) -> Result<(), VideoError>,
) -> Result<(), VideoError> {
    for (at, frame) in decoder.into_frames().enumerate() {
        let frame = frame.map_err(|_| VideoError::Corrupt)?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let seconds = f64::from(numerator) / f64::from(denominator.max(1)) / 1e3;
        tell(at as u64, seconds, frame.buffer())?;
    }
    Ok(())
}

fn pixels(picture: &RgbaImage, rule: PixelRule) -> Result<Rgb8, VideoError> {
    let (width, height) = picture.dimensions();
    let data = picture.as_raw().clone();
    let canvas = Canvas { width, height, layout: Layout::Rgba, data, turn: Turn::default() };
    canvas.into_rgb(rule).map_err(|_| VideoError::Corrupt)
}
