//! Encoded pictures become pixels, under limits and by one documented rule.
//!
//! The format is read from the first bytes, never from a name or a MIME type. Sizes are read from the header and
//! checked before anything is allocated. A picture that is cut short is refused: a judge that scores grey padding
//! is worse than an error. Metadata (colour profiles, texts, XMP) is stepped over and never inflated; the one tag
//! that is read is the EXIF orientation.
//!
//! # How each kind becomes RGB8
//! [`PixelRule::Reference`] gives the pixels that the reference client sees, Pillow's
//! `Image.open(f).convert("RGB")`: no rotation, alpha dropped, first frame of an animation.
//! [`PixelRule::Displayed`] gives what a person sees: EXIF orientation applied, transparency over white.
//! Measured against Pillow 12.3 (libjpeg-turbo 3.1.4, libwebp 1.6.0); the measured fixtures are in
//! `tests/data/media`, and the tests hold every number of this table.
//!
//! | kind | Reference | against Pillow | Displayed differs by |
//! |---|---|---|---|
//! | PNG grey 1, 2, 4, 8 bit | scaled to 8 bits, copied to the three channels | equal | transparent grey over white |
//! | PNG grey 16 bit | values above 255 become 255, as in Pillow | equal | high byte instead, transparent grey over white |
//! | PNG grey and alpha, 8 and 16 bit | alpha dropped; high byte of 16 bits | equal | over white |
//! | PNG palette, with or without `tRNS` | palette entry, alpha dropped | equal | over white |
//! | PNG RGB and RGBA, 8 and 16 bit | alpha and `tRNS` dropped; high byte of 16 bits | equal | over white |
//! | PNG interlaced | as the same picture without interlacing | equal | - |
//! | PNG animated | the default picture (`IDAT`) | equal | - |
//! | PNG with `gAMA`, `iCCP`, `sRGB`, text | ignored | equal | - |
//! | PNG with `eXIf` | ignored | equal | orientation |
//! | JPEG grey | copied to the three channels | chosen: at most 1 | orientation |
//! | JPEG YCbCr or RGB, without chroma subsampling | libjpeg's colour rule and integer conversion | chosen: at most 3, 1 to 4 % of the bytes | orientation |
//! | JPEG YCbCr 4:2:2 and 4:2:0, baseline or progressive | smooth chroma upsampling, then as above | chosen: at most 5, mean 0.15; last column see below | orientation |
//! | JPEG CMYK | inverted as Adobe writes it, then Pillow's CMYK formula | chosen: at most 1 | orientation |
//! | JPEG YCCK | converted to CMYK as libjpeg does, then as above | chosen: at most 2 | orientation |
//! | WebP lossy | smooth chroma upsampling | equal | - |
//! | WebP lossless | as stored | equal | - |
//! | WebP with alpha | alpha dropped | equal | over white |
//! | WebP animated | first frame on a transparent black canvas | equal | over white when the file declares alpha |
//! | WebP with `EXIF` | ignored | equal | orientation |
//!
//! The JPEG differences come from the inverse cosine transform, which has 12 fractional bits here and 13 in
//! libjpeg, and from chroma upsampling, which rounds twice here and, where the width of the chroma is no multiple
//! of 8, lets the encoder's padding into the last column (up to 57 measured on noise; sides that are multiples of 16
//! are free of it). They are accepted for a decoder written in a safe language.
//!
//! A JPEG that ends early is refused: without an end marker always, with one when all data lies in one scan. The
//! scans of a progressive file are not counted to their last block, but a file must hold a bit a block at least.
//!
//! Two kinds are stricter than Pillow: a JPEG without its end marker and a PNG without `IEND` are refused.
//! An orientation that stands only in XMP or in a text chunk is not read.

mod canvas;
mod error;
mod exif;
mod jpeg;
mod limits;
mod markers;
mod png;
mod rgb;
mod sniff;
pub mod video;
mod webp;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use error::{Feature, MediaError};
pub use limits::Limits;
pub use rgb::Rgb8;
pub use sniff::{Format, Seen};

/// Which pixels a file stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelRule {
    /// What the reference client sees: no rotation, alpha dropped, first frame.
    #[default]
    Reference,
    /// What a person sees: EXIF orientation applied, transparency composited on white, first frame.
    Displayed,
}

/// Decodes one picture to RGB8.
///
/// # Errors
/// [`MediaError`], whose [`code`](MediaError::code) is `media_unsupported` for other formats and coding
/// processes, `media_too_large` for what exceeds `limits`, `media_corrupt` for damaged or truncated data and for
/// pictures without pixels.
pub fn decode(bytes: &[u8], rule: PixelRule, limits: &Limits) -> Result<Rgb8, MediaError> {
    limits.check_encoded(bytes.len())?;
    let canvas = match sniff::format(bytes)? {
        Format::Png => png::decode(bytes, rule, limits)?,
        Format::Jpeg => jpeg::decode(bytes, limits)?,
        Format::Webp => webp::decode(bytes, limits)?,
    };
    canvas.into_rgb(rule)
}
