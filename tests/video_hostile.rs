//! Videos as strangers send them: damaged, lying, oversized, posing as something else, each with the one answer that it
//! gets. Decoded in this process: a crash of a decoder would be one of the test.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

mod boxes;
mod footage;

use std::fs;
use std::path::Path;

use boxes::{find, made, put, put_bytes, rename, replace, table};
use footage::{clip, fixture, path, read, read_all};
use rewardrt::media::PixelRule;
use rewardrt::media::video::{self, Isolation, Video, VideoError, VideoInput, VideoLimits};

const CORRUPT: Result<u64, &str> = Err("media_corrupt");
const UNSUPPORTED: Result<u64, &str> = Err("media_unsupported");
const TOO_LARGE: Result<u64, &str> = Err("media_too_large");

/// What came of a file: the number of its frames, or the code of its refusal.
fn outcome(made: &Result<Video, VideoError>) -> Result<u64, &'static str> {
    made.as_ref().map(|video| video.info.frames_total).map_err(VideoError::code)
}

/// Decodes all frames of a file that has a name, and a folder around it.
fn read_file(file: &Path) -> Result<Video, VideoError> {
    let all = |info: &video::VideoInfo| Ok((0..info.frames_total).collect());
    let (rule, limits) = (PixelRule::Reference, VideoLimits::default());
    video::read(VideoInput::Path(file), &all, rule, &limits, Isolation::InProcess)
}

/// The one door: eight frames of a file are decoded, or it is refused with this code.
fn check(what: &str, bytes: &[u8], expected: Result<u64, &str>) {
    check_under(what, bytes, &VideoLimits::default(), expected);
}

fn check_under(what: &str, bytes: &[u8], limits: &VideoLimits, expected: Result<u64, &str>) {
    let eight = |total: u64| (0..8).map(|n| n * (total - 1) / 7).collect();
    let made = read(bytes, &|info| eight(info.frames_total), limits);
    assert_eq!(outcome(&made), expected, "{what}");
    if let Ok(video) = made {
        check_sane(what, &video, limits);
    }
}

/// What holds of everything that is decoded, whatever the file was.
fn check_sane(what: &str, video: &Video, limits: &VideoLimits) {
    let info = video.info;
    assert!(info.frames_total <= limits.max_frames, "{what}: {info:?}");
    assert!(info.width.max(info.height) <= limits.max_side, "{what}: {info:?}");
    assert!(info.fps.is_finite() && info.fps >= 0.0, "{what}: {info:?}");
    assert_eq!(video.frames.len(), video.indices.len(), "{what}");
    assert_eq!(video.timestamps_s.len(), video.indices.len(), "{what}");
    assert!(video.timestamps_s.is_sorted() && video.timestamps_s.iter().all(|t| t.is_finite() && *t >= 0.0));
    assert!(video.frames.iter().all(|f| (f.width(), f.height()) == (info.width, info.height)), "{what}");
}

#[test]
fn files_without_frames_are_refused_and_one_frame_is_enough() {
    let mp4 = fixture("three.mp4");
    check("one frame", &fixture("one.mp4"), Ok(1));
    check("one frame of a GIF", &fixture("one.gif"), Ok(1));
    check("audio only", &fixture("audio-only.mp4"), CORRUPT);
    let none = made(b"stsz", &[0; 12]);
    check("no sample", &replace(&mp4, &table("stsz"), &none), CORRUPT);
    check(
        "no sample and no time",
        &replace(&replace(&mp4, &table("stsz"), &none), &table("stts"), &made(b"stts", &[0; 8])),
        CORRUPT,
    );
    check("no table of samples", &rename(&mp4, &boxes::TABLE, b"junk"), UNSUPPORTED);
    check("no moov", &rename(&mp4, &["moov"], b"junk"), CORRUPT);
    check("no track", &rename(&mp4, &["moov", "trak"], b"free"), CORRUPT);
    check("nothing but the first box", &mp4[..find(&mp4, &["ftyp"]).end], CORRUPT);
    let webm = fixture("three.webm");
    let cluster = webm.windows(4).position(|id| id == b"\x1f\x43\xb6\x75").unwrap();
    check("no cluster", &webm[..cluster], CORRUPT);
    check("no image in a GIF", &fixture("one.gif")[..13], CORRUPT);
}

/// The frames that are left are those that the edit list leaves, which stands in a unit of time that is no longer true.
/// PyAV 18 counts the same, and 29 for the two offsets.
#[test]
fn tables_that_lie_about_time_are_survived() {
    let mp4 = fixture("h264.mp4");
    let (stts, ctts) = (table("stts"), table("ctts"));
    // The payload of both: version and flags, the number of entries, then pairs of a count and a value.
    check("a billion samples of time", &put(&mp4, &stts, 8, 1 << 30), Ok(30));
    check("two billion entries of time", &put(&mp4, &stts, 4, 1 << 31), TOO_LARGE);
    check("fewer samples of time than samples", &put(&mp4, &stts, 8, 3), Ok(30));
    check("no time passes", &put(&mp4, &stts, 12, 0), Ok(18));
    check("time goes backwards", &put(&mp4, &stts, 12, u32::MAX - 511), Ok(18));
    check("a sample lasts for ever", &put(&mp4, &stts, 12, i32::MAX as u32), Ok(1));
    check("shown long after", &put(&mp4, &ctts, 12, i32::MAX as u32), Ok(28));
    check("shown long before", &put(&mp4, &ctts, 12, i32::MIN as u32), Ok(28));
    check("two billion entries of offsets", &put(&mp4, &ctts, 4, 1 << 31), CORRUPT);
    check("no offsets", &rename(&mp4, &ctts, b"free"), Ok(28));
    check("no unit of time", &put(&mp4, &["moov", "trak", "mdia", "mdhd"], 12, 0), Ok(1));
}

#[test]
fn tables_that_lie_about_samples_are_refused() {
    let mp4 = fixture("h264.mp4");
    let (stsz, stco, stsc) = (table("stsz"), table("stco"), table("stsc"));
    check("2^31 frames", &put(&mp4, &stsz, 8, 1 << 31), CORRUPT);
    check("2^32 - 1 frames", &put(&mp4, &stsz, 8, u32::MAX), CORRUPT);
    check("2^31 frames of one byte", &put(&put(&mp4, &stsz, 4, 1), &stsz, 8, 1 << 31), CORRUPT);
    check("a sample of 4 GB", &put(&mp4, &stsz, 12, u32::MAX), CORRUPT);
    check("samples behind the end", &put(&mp4, &stco, 8, u32::MAX), CORRUPT);
    check("samples in the head", &put(&mp4, &stco, 8, 0), CORRUPT);
    check("2^31 chunks", &put(&mp4, &stco, 4, 1 << 31), TOO_LARGE);
    check("2^31 samples a chunk", &put(&mp4, &stsc, 12, 1 << 31), Ok(1));
    check("no chunk", &put(&mp4, &stco, 4, 0), CORRUPT);
}

#[test]
fn edit_lists_that_lie_are_survived() {
    let mp4 = fixture("h264.mp4");
    let elst = ["moov", "trak", "edts", "elst"];
    check("an edit from the end of time", &put(&mp4, &elst, 12, i32::MAX as u32), CORRUPT);
    check("an empty edit", &put(&mp4, &elst, 12, u32::MAX), CORRUPT);
    check("2^31 edits", &put(&mp4, &elst, 4, 1 << 31), Ok(30));
    check("an edit of no length", &put(&mp4, &elst, 8, 0), CORRUPT);
}

#[test]
fn sizes_that_are_too_large_or_none_are_refused() {
    let mp4 = fixture("three.mp4");
    let avc1 = [table("stsd"), vec!["avc1"]].concat();
    // Width and height, 16 bits each, behind 24 bytes.
    let sized = |width: u32, height: u32| put(&mp4, &avc1, 24, width << 16 | height);
    check("65535x65535 in the container", &sized(65535, 65535), Ok(3));
    check("0x0 in the container", &sized(0, 0), Ok(3));
    let bomb = fixture("bomb-8192.mp4");
    check("8192x8192", &bomb, TOO_LARGE);
    let small = put(&bomb, &[table("stsd"), vec!["hvc1"]].concat(), 24, 64 << 16 | 48);
    check("8192x8192 that calls itself 64x48", &small, TOO_LARGE);
    check("GIF of 65535x65535", &gif(65535, 65535, 1), CORRUPT);
    check("GIF of 8193x1", &gif(8193, 1, 1), TOO_LARGE);
    check("APNG of 2^31 x 2^31", &apng_of_size(1 << 31, 1 << 31), CORRUPT);
    check("APNG of 65535x65535", &apng_of_size(65535, 65535), CORRUPT);
    check("APNG of 8193x1", &apng_of_size(8193, 1), TOO_LARGE);
    check("WebP of 16384x16384", &webp_of_size(16384, 16384), TOO_LARGE);
}

/// A GIF with this canvas, and as many frames of one pixel.
fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let head = [
        b"GIF89a".as_slice(),
        &width.to_le_bytes(),
        &height.to_le_bytes(),
        &[0x80, 0, 0, 0, 0, 0, 255, 255, 255],
    ];
    // A delay of 40 ms; one pixel at the corner; minimal LZW data: clear, colour 0, end.
    let frame =
        [b"\x21\xf9\x04\x04\x04\0\0\0".as_slice(), b"\x2c\0\0\0\0\x01\0\x01\0\0", b"\x02\x02\x44\x01\0"]
            .concat();
    [head.concat(), frame.repeat(frames), b";".to_vec()].concat()
}

/// `anim.apng` with another size in its header.
fn apng_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = fixture("anim.apng");
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

/// `anim.webp` with another canvas in its header.
fn webp_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = fixture("anim.webp");
    bytes[24..27].copy_from_slice(&(width - 1).to_le_bytes()[..3]);
    bytes[27..30].copy_from_slice(&(height - 1).to_le_bytes()[..3]);
    bytes
}

#[test]
fn more_frames_than_allowed_are_refused_before_they_are_decoded() {
    let few = VideoLimits { max_frames: 20, ..VideoLimits::default() };
    for name in ["h264.mp4", "vp8-alt-ref.webm", "ntsc.mp4", "streamed.webm"] {
        let frames = clip(name).frames() as u64;
        let expected = if frames > 20 { TOO_LARGE } else { Ok(frames) };
        check_under(name, &fixture(name), &few, expected);
    }
    check("a GIF of 300,000 frames", &gif(1, 1, 300_000), TOO_LARGE);
    check("a GIF of 10,000 frames", &gif(16, 16, 10_000), Ok(10_000));
}

#[test]
fn every_limit_is_held() {
    let mp4 = fixture("h264.mp4");
    let default = VideoLimits::default();
    check_under("bytes", &mp4, &VideoLimits { max_encoded_bytes: 100, ..default }, TOO_LARGE);
    check_under("side", &mp4, &VideoLimits { max_side: 63, ..default }, TOO_LARGE);
    check_under("pixels", &mp4, &VideoLimits { max_pixels: 64 * 48 - 1, ..default }, TOO_LARGE);
    check_under("output", &mp4, &VideoLimits { max_output_bytes: 8 * 64 * 48 * 3 - 1, ..default }, TOO_LARGE);
    check_under(
        "all at the limit",
        &mp4,
        &VideoLimits {
            max_encoded_bytes: mp4.len() as u64,
            max_side: 64,
            max_pixels: 64 * 48,
            max_frames: 30,
            max_output_bytes: 8 * 64 * 48 * 3,
            ..default
        },
        Ok(30),
    );
}

#[test]
fn a_size_that_changes_on_the_way_is_refused() {
    check("mp4", &fixture("size-changes.mp4"), UNSUPPORTED);
    check("mkv", &fixture("size-changes.mkv"), UNSUPPORTED);
}

#[test]
fn playlists_and_other_texts_are_no_videos_whatever_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let victim = path("h264.mp4");
    let victim = victim.to_str().unwrap();
    let texts = [
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{victim}\n#EXT-X-ENDLIST\n"),
        format!("ffconcat version 1.0\nfile '{victim}'\n"),
        format!("file '{victim}'\n"),
        format!("concat:{victim}|{victim}"),
        format!("subfile,,start,0,end,0,,:{victim}"),
        format!("[playlist]\nFile1={victim}\n"),
        format!(
            "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:{victim}\n"
        ),
        format!("<?xml version=\"1.0\"?><MPD><Period><BaseURL>{victim}</BaseURL></Period></MPD>"),
        format!("RTSPtext\r\nrtsp://127.0.0.1/{victim}"),
        "http://127.0.0.1/v.mp4".to_owned(),
        format!("file:{victim}"),
        "data:video/mp4;base64,AAAA".to_owned(),
    ];
    for text in texts {
        check(&text, text.as_bytes(), UNSUPPORTED);
        let file = folder.path().join("posing.mp4");
        fs::write(&file, &text).unwrap();
        assert_eq!(outcome(&read_file(&file)), UNSUPPORTED, "{text}");
        // Behind a first box that looks like a video's, the demuxer of that family alone reads on.
        check(&format!("ftyp {text}"), &[made_ftyp(), text.clone().into_bytes()].concat(), CORRUPT);
    }
}

fn made_ftyp() -> Vec<u8> {
    made(b"ftyp", b"isom\0\0\x02\0isom")
}

#[test]
fn other_containers_and_codecs_are_refused() {
    for name in ["other.ts", "other.flv", "other.h264", "expected.json"] {
        check(name, &fixture(name), UNSUPPORTED);
    }
    let mp4 = fixture("three.mp4");
    let stsd = [table("stsd"), vec!["avc1"]].concat();
    check("a codec that nobody knows", &rename(&mp4, &stsd, b"zzzz"), UNSUPPORTED);
    check("a codec that is not accepted", &rename(&mp4, &stsd, b"theo"), UNSUPPORTED);
    check("a still PNG", &still_png(), CORRUPT);
    check("nothing", b"", UNSUPPORTED);
    check(
        "no H.264 behind the name",
        &rename(&fixture("mjpeg-422.mov"), &[table("stsd"), vec!["jpeg"]].concat(), b"avc1"),
        CORRUPT,
    );
}

/// `anim.apng` without the chunk that makes it an animation.
fn still_png() -> Vec<u8> {
    let mut bytes = fixture("anim.apng");
    let at = bytes.windows(4).position(|kind| kind == b"acTL").unwrap();
    bytes[at..at + 4].copy_from_slice(b"acTl");
    bytes
}

/// A description of data that lies in another file: QuickTime's alias with an absolute path, and a name beside the file.
fn alias(target: &str) -> Vec<u8> {
    let name = target.rsplit('/').next().unwrap().as_bytes();
    let mut record = vec![0; 10];
    record.extend([&[0; 28], [0; 12].as_slice(), &[name.len() as u8], name].concat());
    record.resize(10 + 28 + 12 + 64, 0);
    record.extend([0; 16]);
    // Levels up from the one file and down to the other: both lie in one folder.
    record.extend([0, 1, 0, 1]);
    record.extend([0; 16]);
    let padded = [target.as_bytes(), &vec![0; target.len() % 2]].concat();
    record.extend(
        [&[0, 2], (target.len() as u16).to_be_bytes().as_slice(), &padded, &[255, 255, 0, 0]].concat(),
    );
    made(b"alis", &[&[0; 4], record.as_slice()].concat())
}

#[test]
fn frames_that_lie_in_another_file_are_never_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let mp4 = fixture("h264.mp4");
    let other = folder.path().join("other.mp4");
    fs::write(&other, &mp4).unwrap();
    let dref = ["moov", "trak", "mdia", "minf", "dinf", "dref"];
    let entries = [&[0, 0, 0, 0, 0, 0, 0, 1], alias(other.to_str().unwrap()).as_slice()].concat();
    let pointing = replace(&mp4, &dref, &made(b"dref", &entries));
    // Without the frames themselves, only the other file could give them.
    let media = find(&pointing, &["mdat"]);
    let mut emptied = pointing.clone();
    emptied[media.start + 8..media.end].fill(0);
    let file = folder.path().join("pointing.mp4");
    fs::write(&file, &emptied).unwrap();
    assert_eq!(outcome(&read_file(&file)), CORRUPT);
}

#[test]
fn odd_display_matrices_do_not_turn_the_picture() {
    let mp4 = fixture("three.mp4");
    let matrix = |numbers: [i32; 9]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        put_bytes(&mp4, &["moov", "trak", "tkhd"], 40, &bytes)
    };
    let plain = read_all(&mp4).unwrap();
    let (one, tilt) = (1 << 16, 46341);
    for numbers in [[0; 9], [tilt, tilt, 0, -tilt, tilt, 0, 0, 0, 1 << 30], [i32::MAX; 9], [i32::MIN; 9]] {
        assert_eq!(read_all(&matrix(numbers)).as_ref(), Ok(&plain), "{numbers:?}");
    }
    let turned = read_all(&matrix([0, one, 0, -one, 0, 0, 0, 0, 1 << 30])).unwrap();
    assert_eq!((turned.info.width, turned.info.height), (48, 64));
}

/// Cuts that a file is tried at.
const CUTS: usize = 64;
/// Bits that are turned in each file, one at a time.
const FLIPS: usize = 40;
/// One file for each container and codec, and the layouts that differ.
const KINDS: [&str; 17] = [
    "h264.mp4",
    "h264-open-gop.mov",
    "hevc.mp4",
    "vp8-alt-ref.webm",
    "vp9-odd.mkv",
    "av1.mp4",
    "av1.mkv",
    "mpeg4.avi",
    "mjpeg.avi",
    "anim.gif",
    "delays.gif",
    "anim.apng",
    "anim.webp",
    "fragmented.mp4",
    "faststart.mp4",
    "streamed.webm",
    "interlaced.mp4",
];

/// Every frame is a frame of the whole file, in its order; those that are left out were cut off.
fn check_part(what: &str, whole: &Video, video: &Video) {
    let mut rest = whole.frames.iter();
    let known = video.frames.iter().all(|frame| rest.any(|other| other == frame));
    assert!(known, "{what}: a frame that the whole file does not have");
}

#[test]
fn a_file_cut_short_is_refused_or_gives_frames_of_the_whole() {
    for name in KINDS {
        let bytes = fixture(name);
        let whole = read_all(&bytes).unwrap();
        for cut in 0..CUTS {
            let length = bytes.len() * cut / CUTS;
            let what = format!("{name} cut to {length}");
            match read_all(&bytes[..length]) {
                Ok(video) => check_part(&what, &whole, &video),
                Err(error) => {
                    assert!(["media_corrupt", "media_unsupported"].contains(&error.code()), "{what}: {error}")
                }
            }
        }
    }
}

#[test]
fn a_file_with_a_turned_bit_is_refused_or_decoded_within_the_limits() {
    // A generator of its own, so that the same bits are turned for ever (Marsaglia's xorshift, 64 bits).
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let limits = VideoLimits { max_frames: 1000, max_output_bytes: 64 << 20, ..VideoLimits::default() };
    for name in KINDS {
        let bytes = fixture(name);
        for _ in 0..FLIPS {
            let bit = next() as usize % (bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let what = format!("{name} bit {bit}");
            let eight = |total: u64| (0..8).map(|n| n * (total - 1) / 7).collect();
            match read(&flipped, &|info| eight(info.frames_total), &limits) {
                Ok(video) => check_sane(&what, &video, &limits),
                Err(error) => assert!(error.code().starts_with("media_"), "{what}: {error}"),
            }
        }
    }
}

/// A decoder that takes such a picture fills it with what the memory held, and then a frame depends on what else was
/// decoded. The files are finds of the fuzzer: a header without
/// data, data without an end, and a VP8 picture whose data ends early.
#[test]
fn a_picture_that_is_not_whole_is_refused_among_whole_ones() {
    for name in ["damaged-a.avi", "damaged-b.avi", "damaged-c.webm"] {
        check(name, &fixture(name), CORRUPT);
    }
    let mut early = fixture("mjpeg.avi");
    let scan = early.windows(2).position(|marker| marker == b"\xff\xda").unwrap();
    early[scan + 120..scan + 122].copy_from_slice(b"\xff\xd9");
    check("data that ends early", &early, CORRUPT);
}
