//! Animated WebP, which libav does not demux: by the decoder of still WebP, frame by frame.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, ImageDecoder, RgbaImage};

use super::Sink;
use crate::media::canvas::{Canvas, Layout};
use crate::media::exif::Turn;
use crate::media::video::VideoInfo;
use crate::media::video::error::VideoError;
use crate::media::video::limits::VideoLimits;
use crate::media::{PixelRule, Rgb8};

/// An animation whose frames are counted.
pub(super) struct Webp {
    bytes: Vec<u8>,
    size: (u32, u32),
    /// When each frame is shown, seconds, and when the last one ends.
    times: Vec<f64>,
}

impl Webp {
    /// Decodes every frame once: they build on each other.
    pub(super) fn new(bytes: Vec<u8>, limits: &VideoLimits) -> Result<Webp, VideoError> {
        let decoder = open(&bytes)?;
        let size = decoder.dimensions();
        limits.check_size(size.0, size.1)?;
        if !decoder.has_animation() {
            return Err(VideoError::UnsupportedFormat);
        }
        let mut times = vec![0.0];
        each(decoder, |at, seconds, _| {
            times.push(times[at as usize] + seconds);
            limits.check_frames(at + 1).map(|()| true)
        })?;
        Ok(Webp { bytes, size, times })
    }

    pub(super) fn info(&self) -> VideoInfo {
        let frames_total = self.times.len() as u64 - 1;
        let length = self.times.last().copied().unwrap_or_default();
        let fps = if length > 0.0 { frames_total as f64 / length } else { 0.0 };
        VideoInfo { frames_total, width: self.size.0, height: self.size.1, fps }
    }

    pub(super) fn seconds(&self, frame: u64) -> f64 {
        self.times.get(frame as usize).copied().unwrap_or_default()
    }

    pub(super) fn decode(&self, chosen: &[u64], rule: PixelRule, sink: Sink<'_>) -> Result<(), VideoError> {
        let mut wanted = chosen.iter().peekable();
        each(open(&self.bytes)?, |at, _, picture| {
            if wanted.next_if_eq(&&at).is_some() {
                sink(at, pixels(picture, rule)?)?;
            }
            Ok(wanted.peek().is_some())
        })?;
        if wanted.peek().is_some() { Err(VideoError::Corrupt) } else { Ok(()) }
    }
}

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, VideoError> {
    WebPDecoder::new(Cursor::new(bytes)).map_err(|_| VideoError::Corrupt)
}

/// Tells every frame until `tell` says no more: its place, how long it is shown in seconds, and its pixels on the canvas.
fn each(
    decoder: WebPDecoder<Cursor<&[u8]>>,
    mut tell: impl FnMut(u64, f64, &RgbaImage) -> Result<bool, VideoError>,
) -> Result<(), VideoError> {
    for (at, frame) in decoder.into_frames().enumerate() {
        let frame = frame.map_err(|_| VideoError::Corrupt)?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let seconds = f64::from(numerator) / f64::from(denominator.max(1)) / 1e3;
        if !tell(at as u64, seconds, frame.buffer())? {
            break;
        }
    }
    Ok(())
}

fn pixels(picture: &RgbaImage, rule: PixelRule) -> Result<Rgb8, VideoError> {
    let (width, height) = picture.dimensions();
    let data = picture.as_raw().clone();
    let canvas = Canvas { width, height, layout: Layout::Rgba, data, turn: Turn::default() };
    canvas.into_rgb(rule).map_err(|_| VideoError::Corrupt)
}
