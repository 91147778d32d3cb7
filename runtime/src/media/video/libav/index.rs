//! Which frames a video has, in the order of display, without decoding them where that is provably the same.
//!
//! Packets are read once. Their number is the number of frames when every packet shows exactly one picture and all of
//! them have timestamps of their own; what each codec needs for that stands in [`shows_one`]. All other videos are
//! decoded once to be counted.

use std::collections::HashMap;

use ffmpeg_next::codec::Id;
use ffmpeg_next::packet::Packet;
use ffmpeg_next::{Discard, Error, frame};

use super::ffi;
use super::open::{self, Media};
use crate::media::limits::Limits;
use crate::media::markers;
use crate::media::video::error::VideoError;
use crate::media::video::limits::VideoLimits;
use crate::media::video::sniff::Container;

/// The frames of a video.
pub(super) struct Index {
    /// Timestamps in the order of display, in units of the stream's time base.
    pub(super) times: Vec<i64>,
    /// The packets behind the frames; none when packets say nothing about frames, so that frames must be counted
    /// from the start.
    pub(super) packets: Option<Packets>,
}

/// The packets of a video whose packets are its frames.
pub(super) struct Packets {
    /// Place in the order of decoding, by timestamp; hidden packets are left out.
    pub(super) order: HashMap<i64, u32>,
    /// The packets that decoding may start at, in the order of decoding.
    pub(super) keys: Vec<Key>,
}

/// A packet that decoding may start at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Its place in the order of decoding.
    pub(super) order: u32,
    /// When it is shown.
    pub(super) time: i64,
    /// What a demuxer that seeks by the time of decoding is asked for.
    pub(super) seek: i64,
}

/// What is kept of a packet.
struct Seen {
    time: Option<i64>,
    decoded_at: Option<i64>,
    key: bool,
    hidden: bool,
    /// Whether it shows exactly one picture; `None` when it shows none, such as a reference that is only predicted from.
    one: Option<bool>,
}

/// Reads all packets of the stream, and decodes them when that is the only way to know.
pub(super) fn index(
    mut media: Media,
    limits: &VideoLimits,
    threads: usize,
    reopen: impl Fn() -> Result<Media, VideoError>,
) -> Result<Index, VideoError> {
    let packets = read_packets(&mut media, limits)?;
    match from_packets(&media, &packets) {
        Some(index) => Ok(index),
        None => {
            drop(media);
            count(reopen()?, limits, threads)
        }
    }
}

fn read_packets(media: &mut Media, limits: &VideoLimits) -> Result<Vec<Seen>, VideoError> {
    let mut seen = Vec::new();
    while let Some(packet) = next(media)? {
        limits.check_frames(seen.len() as u64 + 1)?;
        seen.push(Seen {
            time: packet.pts(),
            decoded_at: packet.dts(),
            key: packet.is_key(),
            hidden: ffi::is_hidden(&packet),
            one: shows_one(media.codec, packet.data().unwrap_or_default()),
        });
    }
    Ok(seen)
}

/// The next packet of the stream.
pub(super) fn next(media: &mut Media) -> Result<Option<Packet>, VideoError> {
    loop {
        let mut packet = Packet::empty();
        match packet.read(&mut media.input) {
            // The file ends within it, or the demuxer lost its place.
            Ok(())
                if packet.stream() == media.stream && (packet.is_corrupt() || !is_whole(media, &packet)) =>
            {
                return Err(VideoError::Corrupt);
            }
            Ok(()) if packet.stream() == media.stream => return Ok(Some(packet)),
            Ok(()) => {}
            Err(Error::Eof) => return Ok(None),
            Err(_) => return Err(VideoError::Corrupt),
        }
    }
}

/// Whether a packet of JPEG holds a picture from its start to its end. The decoder takes a header without data for a
/// picture too, whose pixels are what the memory held.
fn is_whole(media: &Media, packet: &Packet) -> bool {
    let data = || packet.data().unwrap_or_default();
    media.codec != Id::MJPEG || markers::walk(data(), &Limits::default()).is_ok()
}

/// The index, when packets tell it.
fn from_packets(media: &Media, packets: &[Seen]) -> Option<Index> {
    let first = packets.first()?;
    // Fields may share a frame. AVI tells only when packets are decoded, which is when they are shown where none builds on
    // another.
    let reorders = media.container == Container::Avi && media.codec != Id::MJPEG;
    if media.interlaced || reorders || !first.key {
        return None;
    }
    let mut order = HashMap::with_capacity(packets.len());
    let mut keys = Vec::new();
    for (at, packet) in packets.iter().enumerate() {
        let at = u32::try_from(at).ok()?;
        let Some(one) = packet.one else { continue };
        let time = packet.time?;
        // Pictures before the first key are not shown: what they are predicted from is missing.
        if !one || Some(time) < first.time {
            return None;
        }
        if packet.key && !packet.hidden {
            // Matroska finds its keys by when they are shown, the others by when they are decoded.
            let decoded_at = packet.decoded_at.filter(|_| media.container != Container::Matroska);
            keys.push(Key { order: at, time, seek: decoded_at.unwrap_or(time) });
        }
        if !packet.hidden && order.insert(time, at).is_some() {
            return None;
        }
    }
    let mut times: Vec<i64> = order.keys().copied().collect();
    times.sort_unstable();
    // Frames of these build on all frames before them, whatever the container calls a key.
    if matches!(media.container, Container::Gif | Container::Apng) {
        keys.truncate(1);
    }
    Some(Index { times, packets: Some(Packets { order, keys }) })
}

/// Decodes the whole video and keeps only when its frames are shown.
fn count(mut media: Media, limits: &VideoLimits, threads: usize) -> Result<Index, VideoError> {
    let mut times: Vec<i64> = Vec::new();
    each_frame(&mut media, threads, |_, frame| {
        times.push(next_time(&times, frame.timestamp()));
        limits.check_frames(times.len() as u64).map(|()| true)
    })?;
    Ok(Index { times, packets: None })
}

/// When the next frame is shown: as it says, but behind the frame before it, since frames are told apart by their times.
/// One that says nothing follows at the distance of the two before it.
fn next_time(times: &[i64], said: Option<i64>) -> i64 {
    match (times, said) {
        ([.., before, last], None) => last.saturating_add(last.saturating_sub(*before).max(1)),
        ([.., last], said) => said.unwrap_or(i64::MIN).max(last.saturating_add(1)),
        ([], said) => said.unwrap_or(0),
    }
}

/// Decodes from the start. `keep` is told each frame and its place in the order of display, until it says no more.
pub(super) fn each_frame(
    media: &mut Media,
    threads: usize,
    mut keep: impl FnMut(u64, &frame::Video) -> Result<bool, VideoError>,
) -> Result<(), VideoError> {
    let mut decoder = open::decoder(media, threads)?;
    decoder.skip_frame(Discard::Default);
    let (mut at, mut frame) = (0, frame::Video::empty());
    loop {
        let packet = next(media)?;
        match &packet {
            Some(packet) => decoder.send_packet(packet).map_err(open::refused)?,
            None => decoder.send_eof().map_err(open::refused)?,
        }
        while decoder.receive_frame(&mut frame).is_ok() {
            open::check_whole(media.codec, &frame)?;
            if !keep(at, &frame)? {
                return Ok(());
            }
            at += 1;
        }
        if packet.is_none() {
            return Ok(());
        }
    }
}

/// Whether a packet of the codec shows exactly one picture; `None` when it shows none.
///
/// - H.264 and HEVC that are not coded as fields, MPEG-4, MJPEG, GIF and APNG: one access unit, one picture.
/// - AV1: a packet is a temporal unit, which shows exactly one frame (AV1 specification, section 7.5).
/// - VP8: the bit `show_frame` of the frame tag (RFC 6386, section 9.1). Frames that are only predicted from are
///   packets of their own.
/// - VP9: the bits of the uncompressed header (VP9 specification, section 6.2), for every frame of a superframe
///   (annex B).
fn shows_one(codec: Id, data: &[u8]) -> Option<bool> {
    let shown = match codec {
        Id::VP8 => u32::from(data.first().is_some_and(|tag| tag & 0x10 != 0)),
        Id::VP9 => vp9::shown(data),
        _ => u32::from(!data.is_empty()),
    };
    (shown > 0).then_some(shown == 1)
}

mod vp9 {
    //! How many frames of a packet are shown.

    /// Frames of the packet that are shown. What cannot be read counts as two, so that the video is decoded to be
    /// counted.
    pub(super) fn shown(data: &[u8]) -> u32 {
        match superframe(data) {
            None => u32::from(is_shown(data)),
            Some(frames) => frames.map_or(2, |frames| frames.iter().map(|f| u32::from(is_shown(f))).sum()),
        }
    }

    /// The frames of a superframe, from the index at its end: a marker byte `110` with the size of a size and the number
    /// of frames, the sizes in little-endian order, and the marker again.
    fn superframe(data: &[u8]) -> Option<Option<Vec<&[u8]>>> {
        let marker = *data.last()?;
        if marker & 0xe0 != 0xc0 {
            return None;
        }
        let (bytes, frames) = (usize::from(marker >> 3 & 3) + 1, usize::from(marker & 7) + 1);
        let start = data.len().checked_sub(2 + bytes * frames)?;
        if data[start] != marker {
            return None;
        }
        let mut rest = &data[..start];
        let sizes = data[start + 1..data.len() - 1].chunks_exact(bytes);
        let split = |size: &[u8]| {
            let size = size.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let (frame, after) = rest.split_at_checked(size)?;
            rest = after;
            Some(frame)
        };
        Some(sizes.map(split).collect())
    }

    /// Two bits of marker, two of the profile and one more in profile 3, `show_existing_frame`, `frame_type`,
    /// `show_frame`.
    fn is_shown(frame: &[u8]) -> bool {
        let Some(&byte) = frame.first() else { return false };
        let skip = if byte & 0x30 == 0x30 { 5 } else { 4 };
        let bit = |at: u8| byte << at & 0x80 != 0;
        bit(skip) || bit(skip + 2)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn check(data: &[u8], expected: u32) {
            assert_eq!(shown(data), expected, "{data:x?}");
        }

        #[test]
        fn shown_frames_are_counted_also_in_superframes() {
            check(&[], 0);
            check(&[0b1000_0010, 0], 1);
            check(&[0b1000_0000, 0], 0);
            check(&[0b1000_1000], 1);
            check(&[0b1011_0001, 0], 1);
            // Two frames of two bytes, the first one hidden.
            check(&[0x80, 1, 0x82, 2, 0xc1, 2, 2, 0xc1], 1);
            check(&[0x82, 1, 0x82, 2, 0xc1, 2, 2, 0xc1], 2);
            // Sizes that do not fit.
            check(&[0x82, 1, 0x82, 2, 0xc1, 2, 9, 0xc1], 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times: &[i64], said: Option<i64>, expected: i64) {
        assert_eq!(next_time(times, said), expected, "{said:?} behind {times:?}");
    }

    #[test]
    fn frames_that_do_not_say_when_follow_the_ones_before() {
        check(&[], None, 0);
        check(&[], Some(-7), -7);
        check(&[5], None, 6);
        check(&[5, 15], None, 25);
        check(&[5, 15], Some(30), 30);
    }

    #[test]
    fn no_two_frames_have_one_time() {
        check(&[5, 15], Some(15), 16);
        check(&[5, 15], Some(-1), 16);
        check(&[i64::MIN, i64::MAX], None, i64::MAX);
    }
}
