//! Why a picture is refused.

use super::sniff::{Format, Seen};

/// Why a picture is refused. The list is closed and no message of a decoder reaches the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// The first bytes are not those of an accepted format.
    #[error("{0} is not an accepted picture format; send PNG, JPEG or WebP")]
    UnsupportedFormat(Seen),
    /// The format is accepted, this coding of it is not.
    #[error("{format} with {feature} is not supported; save it again as a baseline JPEG, PNG or WebP")]
    UnsupportedFeature {
        /// The container format.
        format: Format,
        /// What is not supported.
        feature: Feature,
    },
    /// The data is damaged or ends too early.
    #[error("the {0} data is damaged or cut short; send the file again")]
    Corrupt(Format),
    /// The header declares a width or a height of zero.
    #[error("the {0} picture has no pixels; send one of at least 1x1")]
    Empty(Format),
    /// More encoded bytes than allowed.
    #[error("the file has {bytes} bytes, at most {limit} are accepted; send a smaller file")]
    TooManyBytes {
        /// Size of the file.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A side is longer than allowed.
    #[error("the picture is {width}x{height}, a side may have {limit} pixels; scale it down")]
    SideTooLong {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// The limit.
        limit: u32,
    },
    /// More pixels than allowed.
    #[error("the picture is {width}x{height}, at most {limit} pixels are accepted; scale it down")]
    TooManyPixels {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// The limit.
        limit: u64,
    },
    /// More passes over the picture than any encoder writes.
    #[error("the JPEG has more than {limit} scans; save it again as a baseline JPEG")]
    TooManyScans {
        /// The limit.
        limit: usize,
    },
    /// A pixel buffer whose length does not fit its size.
    #[error(
        "{bytes} bytes are no RGB picture of {width}x{height}; it needs width*height*3 bytes, more than none"
    )]
    BadBuffer {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Length of the buffer.
        bytes: usize,
    },
}

impl MediaError {
    /// The stable name of the error's kind, for wire formats and logs.
    pub fn code(&self) -> &'static str {
        match self {
            MediaError::UnsupportedFormat(_) | MediaError::UnsupportedFeature { .. } => "media_unsupported",
            MediaError::Corrupt(_) | MediaError::Empty(_) => "media_corrupt",
            MediaError::TooManyBytes { .. }
            | MediaError::SideTooLong { .. }
            | MediaError::TooManyPixels { .. }
            | MediaError::TooManyScans { .. } => "media_too_large",
            MediaError::BadBuffer { .. } => "media_bad_buffer",
        }
    }
}

/// A coding of an accepted format that is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// JPEG with arithmetic entropy coding.
    ArithmeticCoding,
    /// Lossless or hierarchical JPEG.
    LosslessProcess,
    /// JPEG with other than 8 bits a sample.
    SampleDepth,
    /// JPEG with a number of components other than 1, 3 and 4.
    ComponentCount,
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Feature::ArithmeticCoding => "arithmetic coding",
            Feature::LosslessProcess => "a lossless or hierarchical process",
            Feature::SampleDepth => "other than 8 bits a sample",
            Feature::ComponentCount => "a component count other than 1, 3 or 4",
        })
    }
}
