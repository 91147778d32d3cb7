use proptest::prelude::*;

use super::*;

fn check(rule: &str, video: (u64, f64), bounds: FrameBounds, expected: Result<Vec<u64>, &str>) {
    let got = rule.parse::<FrameRule>().unwrap().indices(video.0, video.1, &bounds);
    match (got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{rule} of {video:?} within {bounds:?}"),
        (Err(got), Err(part)) => assert!(got.to_string().contains(part), "{rule} of {video:?}: {got}"),
        (got, expected) => panic!("{rule} of {video:?} within {bounds:?}: {got:?}, not {expected:?}"),
    }
}

fn bounds(min: u32, max: u32, multiple: u32) -> FrameBounds {
    FrameBounds { min, max, multiple }
}

/// Each line: rule, frames, frames a second, fewest, most, multiple, how many indices there are, and the indices; or,
/// for long lists, `#` and the sum of each index times its place counted from one. Made by numpy 2 and by the video
/// processors of transformers 5.23 with torch on AVX2.
#[test]
fn indices_are_those_of_the_references() {
    let mut lines = 0;
    for line in include_str!("frames_golden.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<u64> = words[3..6].iter().map(|w| w.parse().unwrap()).collect();
        let within = bounds(numbers[0] as u32, numbers[1] as u32, numbers[2] as u32);
        let rule: FrameRule = words[0].parse().unwrap();
        let got = rule.indices(words[1].parse().unwrap(), words[2].parse().unwrap(), &within).unwrap();
        assert_eq!(got.len(), words[6].parse::<usize>().unwrap(), "{line}");
        if words[7] == "#" {
            let sum: u64 = got.iter().zip(1..).map(|(index, place)| index * place).sum();
            assert_eq!(sum, words[8].parse::<u64>().unwrap(), "{line}");
        } else {
            let expected: Vec<u64> = words[7..].iter().map(|w| w.parse().unwrap()).collect();
            assert_eq!(got, expected, "{line}");
        }
        lines += 1;
    }
    assert!(lines > 1000, "{lines} golden lines");
}

#[test]
fn a_short_video_shows_its_frames_as_the_reference_does() {
    let any = FrameBounds::default();
    check("linspace-trunc:8", (3, 24.0), any, Ok(vec![0, 0, 0, 0, 1, 1, 1, 2]));
    check("linspace-round:8", (1, 24.0), any, Ok(vec![0; 8]));
    check("fps:2", (3, 24.0), any, Ok(vec![0, 1, 2]));
    check("fps:2", (1, 24.0), any, Ok(vec![0]));
    check("fps-step:2", (3, 24.0), bounds(4, 768, 2), Ok(vec![0, 1]));
    check("fps-step:2", (1, 24.0), bounds(4, 768, 2), Err("shows 2 frames at least, and the video has 1"));
    check("step:8", (7, 24.0), any, Err("shows 8 frames at least, and the video has 7"));
    check("all", (3, 0.0), any, Ok(vec![0, 1, 2]));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let any = FrameBounds::default();
    check("fps:2", (30, 0.0), any, Err("frame rate is 0"));
    check("fps:2", (30, f64::NAN), any, Err("frame rate is NaN"));
    check("fps-step:2", (30, f64::INFINITY), any, Err("frame rate is inf"));
    check("linspace-trunc:8", (0, 24.0), any, Err("no frames"));
    check("all", (769, 24.0), any, Err("768 at most, and the video has 769"));
    check("fps:2", (30, 24.0), bounds(4, 769, 1), Err("bounded to"));
    check("fps:2", (30, 24.0), bounds(4, 768, 0), Err("bounded to"));
    check("step:1", (30, 24.0), bounds(4, 768, 8), Err("shows 8 frames at least"));
}

#[test]
fn the_rate_is_met_within_bounds() {
    check("fps:2", (45, 15.0), bounds(4, 8, 1), Ok(vec![0, 9, 18, 26, 35, 44]));
    check("fps-step:2", (45, 15.0), bounds(4, 8, 2), Ok(vec![0, 7, 15, 22, 30, 37]));
    check("fps:2", (300, 30.0), bounds(4, 5, 1), Ok(vec![0, 75, 150, 224, 299]));
    check("fps:2", (300, 30.0), bounds(4, 5, 2), Ok(vec![0, 100, 199, 299]));
}

fn rule() -> impl Strategy<Value = FrameRule> {
    let rate = 0.01_f64..MAX_FPS;
    prop_oneof![
        (1..=MAX_FRAMES).prop_map(FrameRule::LinspaceTrunc),
        (1..=MAX_FRAMES).prop_map(FrameRule::LinspaceRound),
        (1..=MAX_FRAMES).prop_map(FrameRule::Step),
        rate.clone().prop_map(FrameRule::Fps),
        rate.prop_map(FrameRule::FpsStep),
        Just(FrameRule::All),
    ]
}

proptest! {
    #[test]
    fn a_rule_is_read_as_it_is_printed(rule in rule()) {
        prop_assert_eq!(rule.to_string().parse::<FrameRule>(), Ok(rule));
    }

    #[test]
    fn any_text_is_a_rule_or_refused(text in "[a-z:0-9.-]{0,20}") {
        if let Ok(rule) = text.parse::<FrameRule>() {
            prop_assert_eq!(rule.to_string().parse::<FrameRule>(), Ok(rule));
        }
    }

    #[test]
    fn indices_ascend_within_the_video(
        rule in rule(),
        total in prop_oneof![1_u64..2000, 1_u64..u64::from(u32::MAX), Just(u64::MAX)],
        fps in prop_oneof![0.01_f64..1000.0, any::<f64>()],
        (min, max, multiple) in (0_u32..800, 0_u32..800, 0_u32..9),
    ) {
        if let Ok(indices) = rule.indices(total, fps, &bounds(min, max, multiple)) {
            prop_assert!(!indices.is_empty() && indices.len() <= MAX_FRAMES as usize);
            prop_assert!(indices.is_sorted() && indices.iter().all(|&index| index < total));
            if let FrameRule::Fps(_) | FrameRule::FpsStep(_) = rule {
                prop_assert_eq!(indices.len() % multiple as usize, 0);
            }
        }
    }
}
