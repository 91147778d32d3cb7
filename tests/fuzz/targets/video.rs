//! What is decoded of a video is within its limits: as many frames as were chosen, all of the size that was told before,
//! shown in ascending order; and the same frames are decoded whether others are chosen with them or not, but for H.264:
//! its pictures say whether others build on them, those that none builds on are not decoded where nobody wants them, and
//! in a damaged file they may lie.
//!
//! This is the function that the decoding child runs, here in the fuzzer's own process. libav itself is not
//! instrumented: what the sanitizer sees is memory that is freed twice, used after it was freed, or lost.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The room alone: its crate would bring ONNX Runtime's binding and the tokenizers into a sanitizer build.
#[allow(dead_code, unused_imports)]
#[path = "../../../runtime/src/media/mod.rs"]
mod media;

use media::PixelRule;
use media::video::{Isolation, Video, VideoError, VideoInfo, VideoInput, VideoLimits, read};

const LIMITS: VideoLimits = VideoLimits {
    max_encoded_bytes: 1 << 18,
    max_side: 512,
    max_pixels: 1 << 16,
    max_frames: 64,
    max_output_bytes: 1 << 21,
    max_cpu_seconds: 1,
    max_seconds: 1,
    max_memory_bytes: 1 << 28,
};

fuzz_target!(|input: &[u8]| {
    let three = |info: &VideoInfo| Ok(vec![0, info.frames_total / 2, info.frames_total - 1]);
    let Some(video) = decode(input, &three) else { return };
    let last = video.info.frames_total - 1;
    assert_eq!(video.indices, [0, (last + 1) / 2, last]);
    if let Some(alone) = decode(input, &|_| Ok(vec![last])) {
        assert_eq!(alone.info, video.info);
        let same = alone.frames.last() == video.frames.last();
        assert!(same || is_h264(input), "frame {last} depends on what else is chosen");
    }
});

/// Whether the file names H.264 anywhere, as its containers here do.
fn is_h264(input: &[u8]) -> bool {
    [&b"avc1"[..], b"avc3", b"V_MPEG4/ISO/AVC", b"H264"]
        .iter()
        .any(|name| input.windows(name.len()).any(|w| w == *name))
}

fn decode(input: &[u8], choose: &dyn Fn(&VideoInfo) -> Result<Vec<u64>, String>) -> Option<Video> {
    match read(VideoInput::Bytes(input), choose, PixelRule::Reference, &LIMITS, Isolation::InProcess) {
        Ok(video) => {
            check(&video);
            Some(video)
        }
        Err(error) => {
            refused(&error);
            None
        }
    }
}

fn check(video: &Video) {
    let info = video.info;
    assert!(info.frames_total > 0 && info.frames_total <= LIMITS.max_frames);
    assert!(info.fps.is_finite() && info.fps >= 0.0);
    assert!(u64::from(info.width) * u64::from(info.height) <= LIMITS.max_pixels);
    assert_eq!(video.frames.len(), video.indices.len());
    assert_eq!(video.timestamps_s.len(), video.indices.len());
    assert!(video.timestamps_s.is_sorted() && video.timestamps_s.iter().all(|t| t.is_finite() && *t >= 0.0));
    for frame in &video.frames {
        assert_eq!((frame.width(), frame.height()), (info.width, info.height));
        assert_eq!(frame.data().len(), 3 * frame.width() as usize * frame.height() as usize);
    }
}

fn refused(error: &VideoError) {
    let known = ["media_unsupported", "media_too_large", "media_corrupt"];
    assert!(known.contains(&error.code()), "{error}");
}
