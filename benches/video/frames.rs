//! Eight frames of a video by this runtime, as a peer of `peers.py`: `video in-process|child FILE REPEATS` prints one JSON
//! document with the median of the seconds and the sums of the frames.

// What this program is for is the document on its standard output.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use rewardrt::media::PixelRule;
use rewardrt::media::video::{self, Isolation, Video, VideoInfo, VideoInput, VideoLimits};
use rewardrt_models::prompt::pack::{FrameBounds, FrameRule};

/// What the packs of video pairs show.
const RULE: FrameRule = FrameRule::LinspaceTrunc(8);

fn read(path: &Path, mode: Isolation) -> Result<Video, Box<dyn Error>> {
    let choose = |info: &VideoInfo| {
        RULE.indices(info.frames_total, info.fps, &FrameBounds::default()).map_err(|error| error.to_string())
    };
    Ok(video::read(VideoInput::Path(path), &choose, PixelRule::Reference, &VideoLimits::default(), mode)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    video::worker_main();
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, path, repeats] = arguments.as_slice() else {
        return Err("usage: video in-process|child FILE REPEATS".into());
    };
    let mode = match mode.as_str() {
        "in-process" => Isolation::InProcess,
        "child" => Isolation::Child,
        other => return Err(format!("no mode `{other}`").into()),
    };
    let mut seconds = Vec::new();
    let mut sums = Vec::new();
    for _ in 0..repeats.parse::<usize>()?.max(1) {
        let start = Instant::now();
        let video = read(Path::new(path), mode)?;
        seconds.push(start.elapsed().as_secs_f64());
        let sum =
            |frame: &rewardrt::media::Rgb8| frame.data().iter().map(|byte| u64::from(*byte)).sum::<u64>();
        sums = video.frames.iter().map(sum).collect();
    }
    seconds.sort_by(f64::total_cmp);
    let document = serde_json::json!({
        "seconds": seconds[seconds.len() / 2],
        "sums": sums,
    });
    println!("{document}");
    Ok(())
}
