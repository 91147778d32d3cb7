//! Decoder children that crash, hang, or answer with nonsense: errors of their request and of no other.
#![cfg(target_os = "linux")]
// The lint's own exception covers test functions, not the helpers that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use rewardrt::media::PixelRule;
use rewardrt::media::video::{self, Isolation, Video, VideoError, VideoInfo, VideoInput, VideoLimits};

/// Requests at once.
const NEIGHBOURS: usize = 6;
/// How often a fault is tried until a request meets it.
const ROUNDS: usize = 20;

fn read(limits: &VideoLimits, mode: Isolation) -> Result<Video, VideoError> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/video/three.mp4");
    let all = |info: &VideoInfo| Ok((0..info.frames_total).collect());
    video::read(VideoInput::Path(&file), &all, PixelRule::Reference, limits, mode)
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A program in the place of the decoder: what the file `fault` beside it says is done by the first child that takes it
/// away, and every other one decodes.
fn write_program(folder: &Path) -> std::path::PathBuf {
    let (path, fault, taken) = (folder.join("decoder"), folder.join("fault"), folder.join("taken"));
    let script = format!(
        "#!/bin/sh\nif /bin/mv {fault} {taken} 2>/dev/null; then . {taken}; fi\nexec {program} \"$@\"\n",
        fault = fault.display(),
        taken = taken.display(),
        program = env!("CARGO_BIN_EXE_rewardrt"),
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The one door: requests at once, of which at most one is refused, and with this code. Tells whether one was.
fn check_round(limits: &VideoLimits, expected: &Video, fault: &str, code: &str) -> bool {
    let made: Vec<_> = thread::scope(|scope| {
        let one = || scope.spawn(|| read(limits, Isolation::Child));
        let started: Vec<_> = (0..NEIGHBOURS).map(|_| one()).collect();
        started.into_iter().map(|request| request.join().unwrap()).collect()
    });
    let refused: Vec<_> =
        made.iter().filter_map(|video| video.as_ref().err()).map(VideoError::code).collect();
    assert!(refused.is_empty() || refused == [code], "{fault}: {refused:?} for {code}");
    assert!(made.iter().flatten().all(|video| video == expected), "{fault}: a neighbour got other frames");
    !refused.is_empty()
}

#[test]
fn a_fault_of_one_child_is_an_error_of_one_request() {
    let folder = tempfile::tempdir().unwrap();
    video::use_worker(&write_program(folder.path()));
    let limits = VideoLimits { max_seconds: 8, ..VideoLimits::default() };
    let expected = read(&limits, Isolation::InProcess).unwrap();
    assert_eq!(read(&limits, Isolation::Child).as_ref(), Ok(&expected));
    for (fault, code) in [
        ("kill -SEGV $$", "video_decoder_crashed"),
        ("kill -ABRT $$", "video_decoder_crashed"),
        ("exit 0", "video_decoder_crashed"),
        ("exit 7", "video_decoder_crashed"),
        ("echo nonsense; exit 0", "video_decoder_crashed"),
        // More frames than may be, of a size that may not be: the kind, then four numbers.
        ("printf 'i%032d' 0; exec /bin/sleep 60", "video_decoder_crashed"),
        ("printf 'i\\377\\377\\377\\377\\377\\377\\377\\377'; exec /bin/sleep 60", "video_decoder_timeout"),
        ("kill -KILL $$", "video_decoder_timeout"),
        ("exec /bin/sleep 60", "video_decoder_timeout"),
        ("exec /usr/bin/yes", "video_decoder_crashed"),
    ] {
        let files = open_files();
        // A child that waits for work may take the fault and is then found dead by nobody's request.
        let hit = (0..ROUNDS).any(|_| {
            fs::write(folder.path().join("fault"), fault).unwrap();
            check_round(&limits, &expected, fault, code)
        });
        assert!(hit, "{fault}: no request met it");
        // A spare child may have been started, which has a socket.
        assert!(open_files() <= files + 1, "{fault}: files were left open");
    }
}
