//! A decoded frame becomes RGB8, with the colours that the reference decoder gives it.
//!
//! The reference is PyAV's `to_ndarray(format="rgb24")`: libswscale with its bilinear filter and no other flag, the
//! matrix that the frame names (BT.601 where it names none), its range and the places of its chroma, and fields apart.

use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{color, frame};

use super::chroma::{self, Field};
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
    height: u32,
    space: color::Space,
    full_range: bool,
    /// Whether chroma stands at the left one of the two pixels that share it.
    left: bool,
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
        let data = if frame.is_interlaced() && chroma::is_halved(frame.format()) {
            let [top, bottom] = [Field::Top, Field::Bottom]
                .map(|field| self.packed(frame, &chroma::field(frame, field), field, (pixel, depth)));
            interleave(&top?, &bottom?, width as usize * depth)
        } else {
            self.packed(frame, frame, Field::Whole, (pixel, depth))?
        };
        let canvas = Canvas { width, height, layout, data, turn: Turn::default() };
        let rgb = canvas.into_rgb(self.rule).map_err(|_| VideoError::Corrupt)?;
        let (width, height, data) = self.turn.apply(width, height, rgb.into_data());
        Rgb8::new(width, height, data).map_err(|_| VideoError::Corrupt)
    }

    /// The pixels of a part of a frame, whose colours are those of the frame, without padding.
    fn packed(
        &mut self,
        frame: &frame::Video,
        part: &frame::Video,
        field: Field,
        (pixel, depth): (Pixel, usize),
    ) -> Result<Vec<u8>, VideoError> {
        let spread = chroma::spread(part, frame.chroma_location(), field);
        let part = spread.as_ref().unwrap_or(part);
        let mut out = frame::Video::new(pixel, part.width(), part.height());
        self.scaler(frame, part, pixel)?.run(part, &mut out).map_err(|_| VideoError::Corrupt)?;
        let (row, rows) = (part.width() as usize * depth, part.height() as usize);
        let mut data = Vec::with_capacity(row * rows);
        for line in out.data(0).chunks(out.stride(0)).take(rows) {
            data.extend_from_slice(line.get(..row).ok_or(VideoError::Corrupt)?);
        }
        Ok(data)
    }

    fn scaler(
        &mut self,
        frame: &frame::Video,
        part: &frame::Video,
        to: Pixel,
    ) -> Result<&mut scaling::Context, VideoError> {
        let kind = Kind {
            format: part.format(),
            height: part.height(),
            space: frame.color_space(),
            full_range: frame.color_range() == color::Range::JPEG || is_full_range(frame.format()),
            left: chroma::is_left(frame.chroma_location()),
        };
        if self.scaler.as_ref().is_none_or(|(last, _)| *last != kind) {
            let mut scaler = ffi::scaler(kind.format, to, (part.width(), kind.height), kind.left)
                .ok_or(VideoError::UnsupportedCodec)?;
            ffi::set_colours(&mut scaler, kind.space, kind.full_range);
            self.scaler = Some((kind, scaler));
        }
        self.scaler.as_mut().map(|(_, scaler)| scaler).ok_or(VideoError::Corrupt)
    }
}

/// The rows of two fields, the top one first.
fn interleave(top: &[u8], bottom: &[u8], row: usize) -> Vec<u8> {
    let mut bottom = bottom.chunks(row);
    top.chunks(row).flat_map(|line| [line, bottom.next().unwrap_or_default()]).flatten().copied().collect()
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
