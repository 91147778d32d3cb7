//! The markers of a JPEG, walked from the first to the last before anything is decoded.
//!
//! The walk knows what the decoder does not tell: which colours the components stand for by libjpeg's rule, the
//! orientation, how many scans there are, and whether the file is whole.

use super::error::{Feature, MediaError};
use super::exif::Turn;
use super::limits::Limits;
use super::sniff::Format;

const CORRUPT: MediaError = MediaError::Corrupt(Format::Jpeg);

/// What the components of a JPEG stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// What the markers tell.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) colour: Colour,
    pub(super) turn: Turn,
    /// Whether all coefficients lie in one sequential scan.
    pub(super) single_scan: bool,
    /// Where the end marker stands.
    pub(super) end: usize,
}

/// What has been met so far.
#[derive(Default)]
struct Walk {
    frame: Option<Frame>,
    jfif: bool,
    adobe_transform: Option<u8>,
    turn: Option<Turn>,
    scans: usize,
    /// Bytes behind the header of the first scan, trailing bytes of the file included.
    coded: usize,
}

struct Frame {
    width: u32,
    height: u32,
    /// One identifier a component.
    components: Vec<u8>,
    progressive: bool,
}

/// Walks all markers up to the end of the image.
pub(super) fn walk(bytes: &[u8], limits: &Limits) -> Result<Header, MediaError> {
    let mut walk = Walk::default();
    let mut rest = bytes.strip_prefix(b"\xff\xd8").ok_or(CORRUPT)?;
    loop {
        let (marker, after) = next_marker(rest).ok_or(CORRUPT)?;
        rest = after;
        match marker {
            // The marker's two bytes lie before `rest`.
            0xd9 => return walk.finish(bytes.len() - rest.len() - 2),
            // Restart markers and the private marker stand alone.
            0x01 | 0xd0..=0xd7 => continue,
            0xd8 => return Err(CORRUPT),
            _ => {}
        }
        let (segment, after) = split_segment(rest).ok_or(CORRUPT)?;
        walk.segment(marker, segment, limits)?;
        rest = after;
        if marker == 0xda && walk.scans == 1 {
            walk.coded = rest.len();
        }
    }
}

/// The next marker. Between segments libjpeg steps over strange bytes; inside a scan this steps over the coded
/// data, whose 0xff bytes are followed by zero.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes;
    loop {
        let at = rest.iter().position(|&b| b == 0xff)?;
        rest = &rest[at + 1..];
        match rest.first()? {
            0x00 => rest = &rest[1..],
            0xff => {}
            marker => return Some((*marker, &rest[1..])),
        }
    }
}

fn split_segment(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk::<2>()?));
    Some((bytes.get(2..length)?, &bytes[length..]))
}

impl Walk {
    fn segment(&mut self, marker: u8, segment: &[u8], limits: &Limits) -> Result<(), MediaError> {
        match marker {
            0xc0..=0xc2 => self.frame(segment, marker == 0xc2, limits)?,
            0xc8..=0xcf => return unsupported(Feature::ArithmeticCoding),
            0xc3 | 0xc5..=0xc7 => return unsupported(Feature::LosslessProcess),
            0xda => {
                self.scans += 1;
                if self.frame.is_none() {
                    return Err(CORRUPT);
                }
                if self.scans > limits.max_scans {
                    return Err(MediaError::TooManyScans { limit: limits.max_scans });
                }
            }
            // Only what stands before the picture describes it.
            _ if self.scans > 0 => {}
            0xe0 if segment.starts_with(b"JFIF\0") && segment.len() >= 12 => self.jfif = true,
            0xe1 => {
                if let Some(tiff) = segment.strip_prefix(b"Exif\0\0") {
                    self.turn = self.turn.or(Some(Turn::from_exif(tiff)));
                }
            }
            0xee if segment.starts_with(b"Adobe") => {
                self.adobe_transform = segment.get(11).copied().or(self.adobe_transform);
            }
            _ => {}
        }
        Ok(())
    }

    fn frame(&mut self, segment: &[u8], progressive: bool, limits: &Limits) -> Result<(), MediaError> {
        let (&[depth, h1, h0, w1, w0, count], rest) = segment.split_first_chunk::<6>().ok_or(CORRUPT)?;
        if self.frame.is_some() || rest.len() != usize::from(count) * 3 {
            return Err(CORRUPT);
        }
        if depth != 8 {
            return unsupported(Feature::SampleDepth);
        }
        if !matches!(count, 1 | 3 | 4) {
            return unsupported(Feature::ComponentCount);
        }
        let width = u32::from(u16::from_be_bytes([w1, w0]));
        let height = u32::from(u16::from_be_bytes([h1, h0]));
        limits.check_size(Format::Jpeg, width, height)?;
        let components = rest.chunks_exact(3).map(|component| component[0]).collect();
        self.frame = Some(Frame { width, height, components, progressive });
        Ok(())
    }

    fn finish(self, end: usize) -> Result<Header, MediaError> {
        let frame = self.frame.ok_or(CORRUPT)?;
        // Each block of 8x8 pixels takes a bit at least: a header cannot promise more than the file may hold.
        let blocks = u64::from(frame.width.div_ceil(8)) * u64::from(frame.height.div_ceil(8));
        if self.scans == 0 || (self.coded as u64).saturating_mul(8) < blocks {
            return Err(CORRUPT);
        }
        Ok(Header {
            width: frame.width,
            height: frame.height,
            colour: colour(&frame.components, self.jfif, self.adobe_transform),
            turn: self.turn.unwrap_or_default(),
            single_scan: self.scans == 1 && !frame.progressive,
            end,
        })
    }
}

/// libjpeg's rule: JFIF means YCbCr, else Adobe's transform decides, else the component names do.
fn colour(components: &[u8], jfif: bool, adobe: Option<u8>) -> Colour {
    match (components, adobe) {
        ([_], _) => Colour::Grey,
        ([_, _, _], _) if jfif => Colour::YCbCr,
        ([_, _, _], Some(0)) | ([b'R', b'G', b'B'], None) => Colour::Rgb,
        ([_, _, _], _) => Colour::YCbCr,
        (_, None | Some(0)) => Colour::Cmyk,
        (_, Some(_)) => Colour::Ycck,
    }
}

fn unsupported<T>(feature: Feature) -> Result<T, MediaError> {
    Err(MediaError::UnsupportedFeature { format: Format::Jpeg, feature })
}
