//! The child that videos are decoded in, as this program starts it: it gives what decoding in this process gives, holds its
//! limits, has no rights, and its faults are errors of one request.
#![cfg(target_os = "linux")]
// The lint's own exception covers test functions, not the helpers that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rewardrt::media::PixelRule;
use rewardrt::media::video::{self, Isolation, Video, VideoError, VideoInfo, VideoInput, VideoLimits};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/video").join(name)
}

fn read(input: VideoInput<'_>, limits: &VideoLimits, mode: Isolation) -> Result<Video, VideoError> {
    video::use_worker(Path::new(env!("CARGO_BIN_EXE_rewardrt")));
    let ends = |info: &VideoInfo| Ok(vec![0, info.frames_total - 1]);
    video::read(input, &ends, PixelRule::Reference, limits, mode)
}

/// The one door: a child under limits gives these frames, or this code.
fn check(what: &str, bytes: &[u8], limits: &VideoLimits, expected: Result<&Video, &str>) {
    let made = read(VideoInput::Bytes(bytes), limits, Isolation::Child);
    assert_eq!(made.as_ref().map_err(VideoError::code), expected, "{what}");
}

/// An animated WebP of so many frames: little to read, and a canvas of 16 MB to copy for every frame.
fn slow(frames: usize) -> Vec<u8> {
    let file = fs::read(fixture("anim.webp")).unwrap();
    let at = file.windows(4).position(|kind| kind == b"ANMF").unwrap();
    let size = u32::from_le_bytes(*file[at + 4..].first_chunk().unwrap()) as usize;
    let frame = &file[at..at + 8 + size + size % 2];
    let mut made = [&file[..at], &frame.repeat(frames)].concat();
    let bytes = (made.len() - 8) as u32;
    made[4..8].copy_from_slice(&bytes.to_le_bytes());
    // Width and height of the canvas, less one, 24 bits each.
    for side in [24, 27] {
        made[side..side + 3].copy_from_slice(&1999_u32.to_le_bytes()[..3]);
    }
    made
}

/// Set while this lives, also when a check fails: who waits for it must not wait for ever.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_child_gives_what_this_process_gives() {
    let limits = VideoLimits::default();
    let files = fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|kind| kind != "md" && kind != "py")) {
        let inside = read(VideoInput::Path(&path), &limits, Isolation::InProcess);
        let child = read(VideoInput::Path(&path), &limits, Isolation::Child);
        assert_eq!(child, inside, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        check(&path.display().to_string(), &bytes, &limits, inside.as_ref().map_err(VideoError::code));
    }
}

#[test]
fn a_child_that_takes_too_long_or_too_much_memory_is_ended_and_others_are_not() {
    let good = fs::read(fixture("h264.mp4")).unwrap();
    let long = slow(10_000);
    let limits = VideoLimits::default();
    let expected = read(VideoInput::Bytes(&good), &limits, Isolation::InProcess).unwrap();
    let busy = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _busy = Busy(&busy);
            let short = VideoLimits { max_cpu_seconds: 1, ..limits };
            check("processor time", &long, &short, Err("video_decoder_timeout"));
            let short = VideoLimits { max_seconds: 1, ..limits };
            check("time of the clock", &long, &short, Err("video_decoder_timeout"));
            let large = fs::read(fixture("bomb-8192.mp4")).unwrap();
            let small = VideoLimits { max_pixels: 1 << 26, max_memory_bytes: 128 << 20, ..limits };
            check("memory", &large, &small, Err("media_too_large"));
        });
        while busy.load(Ordering::Relaxed) {
            check("neighbour", &good, &limits, Ok(&expected));
        }
    });
}

/// What Linux tells of the children of this process: the lines of `/proc/PID/status`.
fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path().join("children"));
    let ids = tasks.filter_map(|path| fs::read_to_string(path).ok()).collect::<Vec<_>>().join(" ");
    let status = |id: &str| fs::read_to_string(format!("/proc/{id}/status")).ok();
    ids.split_whitespace().filter_map(status).collect()
}

#[test]
fn a_child_decodes_under_a_filter_of_its_system_calls_and_can_gain_no_rights() {
    let long = slow(10_000);
    let limits = VideoLimits { max_seconds: 2, ..VideoLimits::default() };
    let (busy, seen) = (AtomicBool::new(true), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _busy = Busy(&busy);
            check("slow", &long, &limits, Err("video_decoder_timeout"));
        });
        while busy.load(Ordering::Relaxed) {
            let bound = |status: &String| {
                status.lines().any(|line| line == "Seccomp:\t2") && status.contains("NoNewPrivs:\t1\n")
            };
            seen.fetch_or(children().iter().any(bound), Ordering::Relaxed);
            thread::yield_now();
        }
    });
    assert!(seen.load(Ordering::Relaxed), "no child was seen under a filter");
}
