//! PNG: chunks are walked and only those that carry pixels reach the decoder.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder};

use super::PixelRule;
use super::canvas::{Canvas, Layout};
use super::error::MediaError;
use super::exif::Turn;
use super::limits::Limits;
use super::sniff::Format;

/// Working memory of the decoder apart from the pixels: a few rows of 8192 RGBA pixels of 16 bits and the
/// inflate window.
const WORKING_BYTES: u64 = 8 << 20;
const CORRUPT: MediaError = MediaError::Corrupt(Format::Png);
const SIGNATURE_LEN: usize = 8;

/// The part of a PNG that decides its pixels, and its orientation.
struct Essence {
    bytes: Vec<u8>,
    turn: Turn,
}

/// Decodes a PNG; of an animation, the default picture.
pub(super) fn decode(bytes: &[u8], rule: PixelRule, limits: &Limits) -> Result<Canvas, MediaError> {
    let essence = distil(bytes, rule, limits)?;
    let mut bounds = image::Limits::default();
    bounds.max_alloc = Some(WORKING_BYTES);
    let decoder = PngDecoder::with_limits(Cursor::new(essence.bytes), bounds).map_err(|_| CORRUPT)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let mut data = vec![0; usize::try_from(decoder.total_bytes()).map_err(|_| CORRUPT)?];
    decoder.read_image(&mut data).map_err(|_| CORRUPT)?;
    let (layout, data) = match color {
        ColorType::L8 => (Layout::Grey, data),
        ColorType::La8 => (Layout::GreyAlpha, data),
        ColorType::Rgb8 => (Layout::Rgb, data),
        ColorType::Rgba8 => (Layout::Rgba, data),
        // Pillow keeps 16-bit grey as integers and clips them on conversion; only people are shown the high byte.
        ColorType::L16 if rule == PixelRule::Reference => (Layout::Grey, narrow(&data, |v| v.min(255))),
        ColorType::L16 => (Layout::Grey, narrow(&data, |v| v >> 8)),
        ColorType::La16 => (Layout::GreyAlpha, narrow(&data, |v| v >> 8)),
        ColorType::Rgb16 => (Layout::Rgb, narrow(&data, |v| v >> 8)),
        ColorType::Rgba16 => (Layout::Rgba, narrow(&data, |v| v >> 8)),
        _ => return Err(CORRUPT),
    };
    Ok(Canvas { width, height, layout, data, turn: essence.turn })
}

fn narrow(data: &[u8], to_byte: impl Fn(u16) -> u16) -> Vec<u8> {
    data.as_chunks::<2>().0.iter().map(|pair| to_byte(u16::from_ne_bytes(*pair)) as u8).collect()
}

/// Copies the chunks that decide the pixels. Profiles and texts stay behind, so nothing in them can inflate, and
/// so do the frames of an animation. Without `tRNS` the decoder makes no alpha that would be dropped again.
fn distil(bytes: &[u8], rule: PixelRule, limits: &Limits) -> Result<Essence, MediaError> {
    let mut kept = bytes[..SIGNATURE_LEN].to_vec();
    let mut turn = None;
    let mut rest = &bytes[SIGNATURE_LEN..];
    let mut first = true;
    loop {
        let (chunk, after) = split_chunk(rest).ok_or(CORRUPT)?;
        if first != (chunk.kind == *b"IHDR") {
            return Err(CORRUPT);
        }
        match &chunk.kind {
            b"IHDR" => {
                check_header(chunk.payload, limits)?;
                kept.extend_from_slice(chunk.whole);
            }
            b"PLTE" | b"IDAT" | b"IEND" => kept.extend_from_slice(chunk.whole),
            b"tRNS" if rule == PixelRule::Displayed => kept.extend_from_slice(chunk.whole),
            b"eXIf" => turn = turn.or(Some(Turn::from_exif(chunk.payload))),
            // An unknown chunk whose name starts with a capital is critical: the pixels depend on it.
            kind if kind[0].is_ascii_uppercase() => return Err(CORRUPT),
            _ => {}
        }
        if chunk.kind == *b"IEND" {
            return Ok(Essence { bytes: kept, turn: turn.unwrap_or_default() });
        }
        rest = after;
        first = false;
    }
}

struct Chunk<'a> {
    kind: [u8; 4],
    payload: &'a [u8],
    /// Length, kind, payload and checksum.
    whole: &'a [u8],
}

fn split_chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let payload = rest.get(..length)?;
    let end = length.checked_add(12)?;
    let whole = bytes.get(..end)?;
    Some((Chunk { kind: *kind, payload, whole }, &bytes[end..]))
}

fn check_header(payload: &[u8], limits: &Limits) -> Result<(), MediaError> {
    let (width, rest) = payload.split_first_chunk::<4>().ok_or(CORRUPT)?;
    let (height, _) = rest.split_first_chunk::<4>().ok_or(CORRUPT)?;
    limits.check_size(Format::Png, u32::from_be_bytes(*width), u32::from_be_bytes(*height))
}
