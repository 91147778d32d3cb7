//! The container of a video, read from its first bytes.

/// The accepted containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media::video) enum Container {
    /// MP4, QuickTime and their relatives.
    Mov,
    /// Matroska and WebM.
    Matroska,
    /// AVI.
    Avi,
    /// GIF.
    Gif,
    /// PNG, which must be animated.
    Apng,
    /// WebP, which must be animated.
    Webp,
}

/// Bytes that the decision needs.
pub(super) const HEAD: usize = 12;

/// Kinds of the boxes that files of the MP4 family open with.
const BOXES: [&[u8; 4]; 8] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"];
/// Kinds of HEIC and AVIF pictures, which are files of the MP4 family without a video.
const PICTURES: [&[u8; 4]; 6] = [b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1"];

impl Container {
    /// The container that the first bytes belong to.
    pub(super) fn of(head: &[u8]) -> Option<Container> {
        let at = |from: usize| head.get(from..from + 4);
        let riff = head.starts_with(b"RIFF");
        if head.starts_with(b"\x1a\x45\xdf\xa3") {
            Some(Container::Matroska)
        } else if riff && at(8) == Some(b"AVI ") {
            Some(Container::Avi)
        } else if riff && at(8) == Some(b"WEBP") {
            Some(Container::Webp)
        } else if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
            Some(Container::Gif)
        } else if head.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Container::Apng)
        } else if at(4).is_some_and(|kind| BOXES.iter().any(|known| kind == *known)) {
            let picture = at(8).is_some_and(|brand| PICTURES.iter().any(|known| brand == *known));
            (at(4) != Some(b"ftyp") || !picture).then_some(Container::Mov)
        } else {
            None
        }
    }

    /// libav's name of its demuxer.
    pub(super) fn demuxer(self) -> &'static str {
        match self {
            Container::Mov => "mov",
            Container::Matroska => "matroska",
            Container::Avi => "avi",
            Container::Gif => "gif",
            Container::Apng => "apng",
            // Decoded by another decoder; no demuxer has this name.
            Container::Webp => "none",
        }
    }

    /// Whether a file of it is a video wherever a picture could stand as well. Animated PNG and WebP stand for their
    /// first picture there.
    pub(super) fn is_video_only(self) -> bool {
        !matches!(self, Container::Apng | Container::Webp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8], expected: Option<Container>) {
        assert_eq!(Container::of(head), expected, "{head:?}");
    }

    #[test]
    fn containers_are_told_by_their_first_bytes() {
        check(b"\0\0\0\x20ftypisom", Some(Container::Mov));
        check(b"\0\0\0\x08wide\0\0\0\0", Some(Container::Mov));
        check(b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x23", Some(Container::Matroska));
        check(b"RIFF\x24\0\0\0AVI ", Some(Container::Avi));
        check(b"RIFF\x24\0\0\0WEBP", Some(Container::Webp));
        check(b"GIF89a\x10\0\x10\0\0\0", Some(Container::Gif));
        check(b"\x89PNG\r\n\x1a\n\0\0\0\x0d", Some(Container::Apng));
    }

    #[test]
    fn pictures_playlists_and_other_files_are_no_videos() {
        check(b"\0\0\0\x1cftypavif", None);
        check(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", None);
        check(b"#EXTM3U\n#EXT", None);
        check(b"ffconcat ver", None);
        check(b"RIFF\x24\0\0\0WAVE", None);
        check(b"OggS\0\x02\0\0\0\0\0\0", None);
        check(b"", None);
    }
}
