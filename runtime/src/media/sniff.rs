//! The format of a file, read from its first bytes.

use super::error::MediaError;

/// The accepted formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, baseline, extended sequential or progressive.
    Jpeg,
    /// WebP, lossy or lossless.
    Webp,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::Webp => "WebP",
        })
    }
}

/// What stands where a picture was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No bytes at all.
    Nothing,
    /// AVIF.
    Avif,
    /// HEIC or HEIF.
    Heic,
    /// MP4, QuickTime or a relative of theirs.
    Mp4,
    /// GIF.
    Gif,
    /// TIFF or a raw camera format built on it.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// SVG.
    Svg,
    /// PDF.
    Pdf,
    /// JPEG 2000.
    Jpeg2000,
    /// JPEG XL.
    JpegXl,
    /// None of these.
    Unknown,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Seen::Nothing => "an empty file",
            Seen::Avif => "AVIF",
            Seen::Heic => "HEIC",
            Seen::Mp4 => "MP4",
            Seen::Gif => "GIF",
            Seen::Tiff => "TIFF",
            Seen::Bmp => "BMP",
            Seen::Svg => "SVG",
            Seen::Pdf => "PDF",
            Seen::Jpeg2000 => "JPEG 2000",
            Seen::JpegXl => "JPEG XL",
            Seen::Unknown => "unknown data",
        })
    }
}

/// First bytes of the refused formats that a fixed prefix tells apart.
const REFUSED: [(&[u8], Seen); 11] = [
    (b"GIF8", Seen::Gif),
    (b"II*\0", Seen::Tiff),
    (b"MM\0*", Seen::Tiff),
    (b"II+\0", Seen::Tiff),
    (b"MM\0+", Seen::Tiff),
    (b"BM", Seen::Bmp),
    (b"%PDF-", Seen::Pdf),
    (b"\0\0\0\x0cjP  ", Seen::Jpeg2000),
    (b"\xff\x4f\xff\x51", Seen::Jpeg2000),
    (b"\xff\x0a", Seen::JpegXl),
    (b"\0\0\0\x0cJXL ", Seen::JpegXl),
];
/// How far into a text an `<svg` tag is looked for: an XML declaration, a comment and a document type fit.
const SVG_WINDOW: usize = 1024;

/// The format that the first bytes belong to.
pub(super) fn format(bytes: &[u8]) -> Result<Format, MediaError> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Ok(Format::Png)
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Ok(Format::Jpeg)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Ok(Format::Webp)
    } else {
        Err(MediaError::UnsupportedFormat(refused(bytes)))
    }
}

fn refused(bytes: &[u8]) -> Seen {
    if bytes.is_empty() {
        return Seen::Nothing;
    }
    if let Some((_, seen)) = REFUSED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return *seen;
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12) {
            Some(b"avif" | b"avis") => Seen::Avif,
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1") => Seen::Heic,
            _ => Seen::Mp4,
        };
    }
    if is_svg(bytes) { Seen::Svg } else { Seen::Unknown }
}

fn is_svg(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(SVG_WINDOW)];
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    text.starts_with(b"<") && text.windows(4).any(|w| w == b"<svg")
}
