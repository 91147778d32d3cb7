//! How much one picture may cost.

use super::error::MediaError;
use super::sniff::Format;

/// Longest side: twice the 4K that generators deliver, and a row of it fits every decoder's 16-bit sizes.
const MAX_SIDE: u32 = 8192;
/// Most pixels: a 24-megapixel camera picture passes; as RGB8 this is 120 MB, 320 MB while a 16-bit RGBA PNG decodes.
const MAX_PIXELS: u64 = 40_000_000;
/// Most encoded bytes: half a byte a pixel at the pixel limit, the size of a JPEG of good quality.
const MAX_ENCODED_BYTES: usize = 20 << 20;
/// Most passes of a JPEG: encoders write at most 14; each pass costs a walk over the whole picture.
const MAX_SCANS: usize = 32;

/// Limits of one picture, checked before the allocation that they bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest side, pixels.
    pub max_side: u32,
    /// Most pixels.
    pub max_pixels: u64,
    /// Most encoded bytes.
    pub max_encoded_bytes: usize,
    /// Most scans of a JPEG.
    pub max_scans: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_side: MAX_SIDE,
            max_pixels: MAX_PIXELS,
            max_encoded_bytes: MAX_ENCODED_BYTES,
            max_scans: MAX_SCANS,
        }
    }
}

impl Limits {
    pub(super) fn check_encoded(&self, bytes: usize) -> Result<(), MediaError> {
        if bytes > self.max_encoded_bytes {
            return Err(MediaError::TooManyBytes { bytes, limit: self.max_encoded_bytes });
        }
        Ok(())
    }

    /// Checks the size that a header declares.
    pub(super) fn check_size(&self, format: Format, width: u32, height: u32) -> Result<(), MediaError> {
        if width == 0 || height == 0 {
            return Err(MediaError::Empty(format));
        }
        if width.max(height) > self.max_side {
            return Err(MediaError::SideTooLong { width, height, limit: self.max_side });
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(MediaError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        Ok(())
    }
}
