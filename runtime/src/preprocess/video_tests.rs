use rewardrt_models::package::Resample;
use rewardrt_models::prompt::pack::{FrameBounds, FrameRule};

use super::super::synthetic::synthetic;
use super::*;

fn params(patch_size: u32, size: VideoSize) -> VideoProcessing {
    VideoProcessing {
        frames: FrameRule::All,
        bounds: FrameBounds::default(),
        patch_size,
        temporal_patch_size: 2,
        merge_size: 2,
        size,
        mean: [0.5; 3],
        std: [0.5; 3],
        rescale_factor: 1.0 / 255.0,
        resample: Resample::BicubicTorch,
        shown: VideoShown::Grid,
    }
}

fn clip() -> VideoProcessing {
    let bounds = PixelBounds { min_pixels: 4096, max_pixels: 65536, cap_tokens: None };
    params(16, VideoSize::Clip(bounds))
}

/// Each line: bound, patch, fewest and most pixels, tokens of the cap or 0, frames, height, width; then height and width
/// that the `resize` of transformers 5.23's two video processors of temporal patches asks for.
#[test]
fn sizes_are_those_of_the_reference() {
    let mut lines = 0;
    for line in include_str!("video_sizes.txt").lines() {
        let (bound, numbers) = line.split_once(' ').unwrap();
        let n: Vec<u64> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
        let bounds =
            PixelBounds { min_pixels: n[1], max_pixels: n[2], cap_tokens: (n[3] > 0).then_some(n[3]) };
        let size = if bound == "clip" { VideoSize::Clip(bounds) } else { VideoSize::Frame(bounds) };
        let got = fit_video(n[4] as usize, (n[5] as u32, n[6] as u32), &params(n[0] as u32, size));
        assert_eq!(got, Ok((n[7] as u32, n[8] as u32)), "{line}");
        lines += 1;
    }
    assert!(lines > 80, "{lines} golden lines");
}

/// Frames and their side, and what becomes of them: the grid and its tokens, or the error.
fn check(frames: usize, side: u32, params: &VideoProcessing, expected: &str) {
    let frames = vec![synthetic(side, side); frames];
    let got = match prepare_video(&frames, params) {
        Ok(made) => format!("{:?} {:?}", made.grid, made.packing.map(|packing| packing.tokens())),
        Err(error) => error.to_string(),
    };
    assert!(got.contains(expected), "{got}, not {expected}");
}

#[test]
fn the_last_frame_fills_the_last_patch() {
    check(5, 64, &clip(), "[3, 4, 4] None");
    check(4, 64, &clip(), "[2, 4, 4] None");
}

#[test]
fn a_frame_alone_is_refused_where_all_are_bounded_together() {
    check(1, 64, &clip(), "shows 1 frame, and the model sees 2 together");
    check(0, 64, &clip(), "shows 0 frame");
    let bounds = PixelBounds { min_pixels: 1, max_pixels: 4096, cap_tokens: None };
    check(1, 64, &params(16, VideoSize::Frame(bounds)), "[1, 4, 4] None");
}

#[test]
fn pooled_frames_are_squeezed_and_their_edge_is_cut_off() {
    let fixed = params(7, VideoSize::Fixed { height: 30, width: 30 });
    let pooled =
        VideoProcessing { temporal_patch_size: 1, merge_size: 1, shown: VideoShown::Pooled, ..fixed };
    check(3, 64, &pooled, "[3, 4, 4] Some(13)");
}

#[test]
fn frames_of_several_sizes_are_no_video() {
    let error = prepare_video(&[synthetic(32, 32), synthetic(64, 32)], &clip()).unwrap_err();
    assert!(matches!(error, PreprocessError::Frames { index: 1, .. }));
}
