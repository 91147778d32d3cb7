//! Videos are seen as PyAV and OpenCV see them: counts, indices, times and pixels of every fixture.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

mod footage;

use footage::{Clip, clips, hash, numbers, read, read_all, unturned};
use rewardrt::media::Rgb8;
use rewardrt::media::video::VideoLimits;
use rewardrt_models::prompt::pack::{FrameBounds, FrameRule};

/// Files whose frames are not those of PyAV bit for bit, and the largest difference. The pixels of one frame of each are
/// kept. `anim.webp` is composed on its canvas by another decoder, and chroma of odd heights is rounded otherwise.
const NEAR: [(&str, u8); 3] = [("anim.webp", 1), ("mpeg4-odd.avi", 1), ("vp9-odd.mkv", 1)];
/// Files whose rate libavformat 5.1 and 8 estimate differently: a GIF has none.
const OTHER_RATE: [&str; 1] = ["delays.gif"];
/// Files that PyAV decodes and this decoder refuses: frames of two sizes.
const REFUSED: [&str; 2] = ["size-changes.mkv", "size-changes.mp4"];
/// Files for which OpenCV's count is the container's guess, and wrong.
const MISCOUNTED: [&str; 6] =
    ["anim.apng", "anim.webp", "edit-list.mp4", "late-start.mkv", "streamed.webm", "vfr.webm"];
/// Seconds that two computations of one timestamp may differ by.
const SAME_TIME: f64 = 1e-9;

/// The one door: a frame is PyAV's.
fn check(clip: &Clip, index: usize, frame: &Rgb8) {
    let stored = unturned(frame, clip.quarters());
    if hash(&stored) == clip.hash(index) {
        return;
    }
    let off = clip.pixels.iter().find(|(at, _)| *at == index).map(|(_, golden)| {
        assert_eq!(golden.len(), stored.len(), "{} frame {index}: another size", clip.file);
        golden.iter().zip(&stored).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    });
    let granted = NEAR.iter().find(|(file, _)| *file == clip.file).map(|(_, off)| *off);
    // Frames whose pixels are not kept cannot be measured: they are granted with the file's checked one.
    let fine = off.map_or(granted.is_some(), |off| off <= granted.unwrap_or(1));
    assert!(fine, "{} frame {index} is off by {off:?}, granted {granted:?}", clip.file);
}

/// The fixtures that are decoded.
fn decoded() -> impl Iterator<Item = Clip> {
    clips().into_iter().filter(|clip| !REFUSED.contains(&clip.file.as_str()))
}

#[test]
fn every_frame_of_every_file_is_the_one_that_pyav_gives() {
    for clip in decoded() {
        let video = read_all(&clip.bytes()).unwrap_or_else(|error| panic!("{}: {error}", clip.file));
        assert_eq!(video.info.frames_total, clip.frames() as u64, "{}", clip.file);
        let (width, height) = clip.size().unwrap();
        let size = if clip.quarters() % 2 == 1 { (height, width) } else { (width, height) };
        assert_eq!((video.info.width, video.info.height), size, "{}", clip.file);
        assert_eq!(video.indices, (0..clip.frames() as u64).collect::<Vec<_>>(), "{}", clip.file);
        for (index, frame) in video.frames.iter().enumerate() {
            check(&clip, index, frame);
        }
    }
}

#[test]
fn times_and_rates_are_those_that_pyav_reports() {
    for clip in decoded() {
        let video = read_all(&clip.bytes()).unwrap();
        let off = |a: f64, b: f64| (a - b).abs() > SAME_TIME;
        let times = clip.timestamps();
        let worst = video.timestamps_s.iter().zip(&times).find(|(a, b)| off(**a, **b));
        assert!(worst.is_none() && times.len() == video.timestamps_s.len(), "{}: {worst:?}", clip.file);
        let same = !off(video.info.fps, clip.rate());
        let expected = !OTHER_RATE.contains(&clip.file.as_str());
        assert_eq!(same, expected, "{}: {} for {}", clip.file, video.info.fps, clip.rate());
    }
}

#[test]
fn a_frame_that_is_asked_for_alone_is_the_same_as_among_all() {
    for clip in decoded() {
        let bytes = clip.bytes();
        for index in 0..clip.frames() {
            let video = read(&bytes, &|_| vec![index as u64], &VideoLimits::default())
                .unwrap_or_else(|error| panic!("{} frame {index}: {error}", clip.file));
            assert_eq!(video.indices, [index as u64]);
            check(&clip, index, &video.frames[0]);
        }
    }
}

/// The indices that a rule gives for a file are those of `expected.json`, and the frames behind them PyAV's.
fn check_rule(clip: &Clip, rule: &str, expected: &[i64]) {
    let rule: FrameRule = rule.parse().unwrap();
    let choose = |info: &rewardrt::media::video::VideoInfo| {
        rule.indices(info.frames_total, info.fps, &FrameBounds::default()).unwrap()
    };
    let video = read(&clip.bytes(), &choose, &VideoLimits::default()).unwrap();
    let indices: Vec<i64> = video.indices.iter().map(|index| *index as i64).collect();
    assert_eq!(indices, expected, "{} by {rule}", clip.file);
    for (index, frame) in video.indices.iter().zip(&video.frames) {
        check(clip, *index as usize, frame);
    }
}

#[test]
fn rules_choose_the_frames_that_numpy_and_the_video_processor_choose() {
    for clip in decoded() {
        for (rule, name) in [
            ("linspace-trunc:8", "linspace_trunc_8"),
            ("linspace-round:8", "linspace_round_8"),
            ("fps:2", "fps_2"),
        ] {
            if rule != "fps:2" || !OTHER_RATE.contains(&clip.file.as_str()) {
                check_rule(&clip, rule, &numbers(&clip.row[name]));
            }
        }
    }
}

#[test]
fn opencv_chooses_the_same_frames_wherever_it_counts_right() {
    for clip in decoded() {
        let seen = &clip.row["opencv"];
        let wrong = MISCOUNTED.contains(&clip.file.as_str());
        let same = seen["linspace_trunc_8"] == clip.row["linspace_trunc_8"];
        assert_eq!(same, !wrong, "{}: {} for {}", clip.file, seen["stated_frames"], clip.frames());
        if same {
            check_rule(&clip, "linspace-trunc:8", &numbers(&seen["linspace_trunc_8"]));
        }
    }
}

#[test]
fn turned_videos_are_shown_upright_as_opencv_shows_them() {
    for clip in decoded().filter(|clip| clip.quarters() > 0) {
        // The golden is PyAV's frame turned by PyAV's angle; OpenCV's frame is that one, and not the unturned one.
        assert_eq!(clip.row["opencv"]["mean_difference"], 0.0, "{}", clip.file);
        let video = read_all(&clip.bytes()).unwrap();
        assert_ne!(hash(video.frames[0].data()), clip.hash(0), "{} is not turned", clip.file);
    }
}

#[test]
fn videos_whose_size_changes_are_refused_by_name() {
    for clip in clips().iter().filter(|clip| REFUSED.contains(&clip.file.as_str())) {
        let refused = read_all(&clip.bytes()).map(|_| ()).map_err(|error| error.code());
        assert_eq!(refused, Err("media_unsupported"), "{}", clip.file);
    }
}
