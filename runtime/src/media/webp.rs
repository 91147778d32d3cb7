//! WebP: the container is walked, the first frame of an animation is lifted out and decoded as a still.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;

use super::canvas::{Canvas, Layout};
use super::error::MediaError;
use super::exif::Turn;
use super::limits::Limits;
use super::sniff::Format;

const CORRUPT: MediaError = MediaError::Corrupt(Format::Webp);
/// Flags of the extended header.
const ANIMATED: u8 = 0x02;
const ALPHA: u8 = 0x10;
/// Position, size, duration and flags before the picture of a frame.
const FRAME_HEADER: usize = 16;

/// What the container tells.
#[derive(Default)]
struct Header<'a> {
    width: u32,
    height: u32,
    /// Flags of the extended header, zero without one.
    flags: u8,
    /// Payload of the first frame of an animation.
    frame: Option<&'a [u8]>,
    turn: Option<Turn>,
}

/// Decodes a WebP; of an animation, the first frame on its canvas.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Canvas, MediaError> {
    let header = walk(bytes, limits)?;
    let turn = header.turn.unwrap_or_default();
    let mut canvas = match header.frame {
        None if header.flags & ANIMATED != 0 => return Err(CORRUPT),
        None => still(bytes, header.width, header.height)?,
        Some(frame) => first_frame(&header, frame)?,
    };
    canvas.turn = turn;
    Ok(canvas)
}

fn walk<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Header<'a>, MediaError> {
    let declared = bytes.get(4..8).and_then(|b| b.first_chunk::<4>()).ok_or(CORRUPT)?;
    let end = usize::try_from(u32::from_le_bytes(*declared)).ok().and_then(|n| n.checked_add(8));
    let mut rest = end.and_then(|end| bytes.get(12..end)).ok_or(CORRUPT)?;
    let mut header = Header::default();
    let mut first = true;
    while !rest.is_empty() {
        let (kind, payload, after) = split_chunk(rest).ok_or(CORRUPT)?;
        if first {
            header = size(&kind, payload).ok_or(CORRUPT)?;
            limits.check_size(Format::Webp, header.width, header.height)?;
        }
        match &kind {
            b"EXIF" => {
                // Some writers keep the JPEG prefix.
                let tiff = payload.strip_prefix(b"Exif\0\0").unwrap_or(payload);
                header.turn = header.turn.or(Some(Turn::from_exif(tiff)));
            }
            b"ANMF" if header.flags & ANIMATED != 0 => header.frame = header.frame.or(Some(payload)),
            _ => {}
        }
        rest = after;
        first = false;
    }
    if first { Err(CORRUPT) } else { Ok(header) }
}

/// Kind, payload and what follows. Payloads are padded to even lengths; the last padding byte may be missing.
fn split_chunk(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let payload = rest.get(..length)?;
    let padded = length.checked_add(length & 1)?;
    Some((*kind, payload, rest.get(padded..).unwrap_or_default()))
}

/// Reads the size from the first chunk.
fn size<'a>(kind: &[u8; 4], payload: &[u8]) -> Option<Header<'a>> {
    let (width, height, flags) = match kind {
        b"VP8X" => (three(payload, 4)? + 1, three(payload, 7)? + 1, *payload.first()?),
        b"VP8L" => {
            let bits = u32::from_le_bytes(*payload.get(1..5)?.first_chunk()?);
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1, 0)
        }
        b"VP8 " => {
            let side = |at: usize| {
                let pair = payload.get(at..at + 2)?.first_chunk()?;
                Some(u32::from(u16::from_le_bytes(*pair) & 0x3fff))
            };
            (side(6)?, side(8)?, 0)
        }
        _ => return None,
    };
    Some(Header { width, height, flags, ..Header::default() })
}

/// A little-endian number of three bytes.
fn three(bytes: &[u8], at: usize) -> Option<u32> {
    let &[a, b, c] = bytes.get(at..at + 3)?.first_chunk()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

/// Decodes a still that must have the size its container declares.
fn still(bytes: &[u8], width: u32, height: u32) -> Result<Canvas, MediaError> {
    let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|_| CORRUPT)?;
    if decoder.dimensions() != (width, height) {
        return Err(CORRUPT);
    }
    let layout = if decoder.color_type().has_alpha() { Layout::Rgba } else { Layout::Rgb };
    let mut data = vec![0; usize::try_from(decoder.total_bytes()).map_err(|_| CORRUPT)?];
    decoder.read_image(&mut data).map_err(|_| CORRUPT)?;
    Ok(Canvas { width, height, layout, data, turn: Turn::default() })
}

/// Decodes the first frame of an animation and lays it on the canvas, which is transparent black as in libwebp.
fn first_frame(header: &Header<'_>, frame: &[u8]) -> Result<Canvas, MediaError> {
    let number = |at| three(frame, at).ok_or(CORRUPT);
    let (x, y) = (number(0)? * 2, number(3)? * 2);
    let (width, height) = (number(6)? + 1, number(9)? + 1);
    if x + width > header.width || y + height > header.height {
        return Err(CORRUPT);
    }
    let picture = frame.get(FRAME_HEADER..).ok_or(CORRUPT)?;
    let alpha = picture.starts_with(b"ALPH") || picture.starts_with(b"VP8L");
    let still = still(&wrap(picture, width, height, alpha)?, width, height)?;
    let mut data = vec![0; header.width as usize * header.height as usize * 4];
    let stride = header.width as usize * 4;
    let depth = if still.layout == Layout::Rgba { 4 } else { 3 };
    let rows = data.chunks_exact_mut(stride).skip(y as usize);
    for (row, source) in rows.zip(still.data.chunks_exact(width as usize * depth)) {
        let cells = row.as_chunks_mut::<4>().0.iter_mut().skip(x as usize);
        for (cell, pixel) in cells.zip(source.chunks_exact(depth)) {
            cell[3] = 255;
            cell[..depth].copy_from_slice(pixel);
        }
    }
    // A file that declares no alpha is opaque, whatever its frames hold.
    if header.flags & ALPHA == 0 {
        data.as_chunks_mut::<4>().0.iter_mut().for_each(|cell| cell[3] = 255);
    }
    let (width, height) = (header.width, header.height);
    Ok(Canvas { width, height, layout: Layout::Rgba, data, turn: Turn::default() })
}

/// A still WebP around the chunks of one frame.
fn wrap(picture: &[u8], width: u32, height: u32, alpha: bool) -> Result<Vec<u8>, MediaError> {
    let mut body = b"WEBPVP8X\x0a\0\0\0".to_vec();
    body.extend([if alpha { ALPHA } else { 0 }, 0, 0, 0]);
    body.extend(&(width - 1).to_le_bytes()[..3]);
    body.extend(&(height - 1).to_le_bytes()[..3]);
    body.extend(picture);
    let length = u32::try_from(body.len()).map_err(|_| CORRUPT)?;
    Ok([b"RIFF", length.to_le_bytes().as_slice(), &body].concat())
}
