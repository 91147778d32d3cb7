//! A decoded frame becomes RGB8, with the colours that the reference decoder gives it.
//!
//! The reference is PyAV's `to_ndarray(format="rgb24")`: libswscale with its bilinear filter and no other flag, the
//! matrix that the frame names (BT.601 where it names none) and its range.

use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling::{self, Flags};
use ffmpeg_next::{color, frame};

use super::ffi;
use crate::media::canvas::{Canvas, Layout};
use crate::media::exif::Turn;
use crate::media::video::error::VideoError;
use crate::media::{PixelRule, Rgb8};

/// Turns frames of one stream into pixels.
pub(super) struct Converter {
    size: (u32, u32),
    rule: PixelRule,
    turn: Turn,
    /// The last scaler, and the frames it is for.
    scaler: Option<(Kind, scaling::Context)>,
}

/// What a scaler depends on.
#[derive(Clone, Copy, PartialEq)]
struct Kind {
    format: Pixel,
    space: color::Space,
    full_range: bool,
}

impl Converter {
    /// A converter for frames of this stored size, which are turned so.
    pub(super) fn new(size: (u32, u32), rule: PixelRule, turn: Turn) -> Converter {
        Converter { size, rule, turn, scaler: None }
    }

    /// The pixels of a frame.
    pub(super) fn rgb(&mut self, frame: &frame::Video) -> Result<Rgb8, VideoError> {
        if (frame.width(), frame.height()) != self.size {
            return Err(VideoError::SizeChanged);
        }
        let (width, height) = self.size;
        let layout = match self.rule {
            PixelRule::Displayed if has_alpha(frame.format()) => Layout::Rgba,
            _ => Layout::Rgb,
        };
        let (pixel, depth) = match layout {
            Layout::Rgba => (Pixel::RGBA, 4),
            _ => (Pixel::RGB24, 3),
        };
        let mut out = frame::Video::new(pixel, width, height);
        self.scaler(frame, pixel)?.run(frame, &mut out).map_err(|_| VideoError::Corrupt)?;
        let row = width as usize * depth;
        let mut data = Vec::with_capacity(row * height as usize);
        for line in out.data(0).chunks(out.stride(0)).take(height as usize) {
            data.extend_from_slice(line.get(..row).ok_or(VideoError::Corrupt)?);
        }
        let canvas = Canvas { width, height, layout, data, turn: Turn::default() };
        let rgb = canvas.into_rgb(self.rule).map_err(|_| VideoError::Corrupt)?;
        let (width, height, data) = self.turn.apply(width, height, rgb.into_data());
        Rgb8::new(width, height, data).map_err(|_| VideoError::Corrupt)
    }

    fn scaler(&mut self, frame: &frame::Video, to: Pixel) -> Result<&mut scaling::Context, VideoError> {
        let kind = Kind {
            format: frame.format(),
            space: frame.color_space(),
            full_range: frame.color_range() == color::Range::JPEG || is_full_range(frame.format()),
        };
        if self.scaler.as_ref().is_none_or(|(last, _)| *last != kind) {
            let (w, h) = self.size;
            let mut scaler = scaling::Context::get(kind.format, w, h, to, w, h, Flags::BILINEAR)
                .map_err(|_| VideoError::UnsupportedCodec)?;
            ffi::set_colours(&mut scaler, kind.space, kind.full_range);
            self.scaler = Some((kind, scaler));
        }
        self.scaler.as_mut().map(|(_, scaler)| scaler).ok_or(VideoError::Corrupt)
    }
}

/// Formats that stand for the full range by their name.
fn is_full_range(format: Pixel) -> bool {
    matches!(format, Pixel::YUVJ411P | Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ440P | Pixel::YUVJ444P)
}

fn has_alpha(format: Pixel) -> bool {
    let formats =
        [Pixel::BGRA, Pixel::RGBA, Pixel::ARGB, Pixel::ABGR, Pixel::PAL8, Pixel::YA8, Pixel::YUVA420P];
    formats.contains(&format) || matches!(format, Pixel::RGBA64BE | Pixel::YA16BE)
}
