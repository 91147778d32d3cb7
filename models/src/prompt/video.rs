//! Videos whose temporal patches stand behind their seconds: what takes the place of their one placeholder.

use super::segment::{MediaKind, Segment, append_text};

/// What a stamped video writes into the prompt. All of it is the processor's, none of it the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps {
    /// Text before each temporal patch.
    pub texts: Vec<String>,
    /// Control tokens before and behind its vision tokens.
    pub around: [u32; 2],
}

impl Stamps {
    /// The stamps of frames `indices` of a video of `fps` frames a second, `temporal` of which make a patch: the mean of
    /// the seconds of its first frame and its last, the last frame repeated as the patches do. As the video processors
    /// of transformers write them: `<0.5 seconds>`, ties of the one digit to even.
    pub fn new(indices: &[u64], fps: f64, temporal: usize, around: [u32; 2]) -> Stamps {
        let second = |patch: &[u64]| {
            let (Some(&first), Some(&last)) = (patch.first(), indices.last()) else { return 0.0 };
            let last = patch.get(temporal.max(1) - 1).copied().unwrap_or(last);
            (first as f64 / fps + last as f64 / fps) / 2.0
        };
        let texts = indices.chunks(temporal.max(1)).map(|patch| format!("<{:.1} seconds>", second(patch)));
        Stamps { texts: texts.collect(), around }
    }
}

/// Puts what it writes in the place of each stamped video; `stamps` has one entry a slot. Each temporal patch becomes a
/// slot of its own, so slots are numbered anew.
pub fn expand(segments: Vec<Segment>, stamps: &[Option<Stamps>]) -> Vec<Segment> {
    if stamps.iter().all(Option::is_none) {
        return segments;
    }
    let (mut out, mut slots) = (Vec::with_capacity(segments.len()), 0..);
    let mut media = |kind| Segment::Media { slot: slots.next().unwrap_or_default(), kind };
    for segment in segments {
        match segment {
            Segment::Text(text) => append_text(&mut out, &text),
            Segment::Control(_) => out.push(segment),
            Segment::Media { slot, kind } => match stamps.get(slot).and_then(Option::as_ref) {
                None => out.push(media(kind)),
                Some(Stamps { texts, around: [start, end] }) => {
                    for text in texts {
                        append_text(&mut out, text);
                        out.extend([
                            Segment::Control(*start),
                            media(MediaKind::Video),
                            Segment::Control(*end),
                        ]);
                    }
                }
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stamps as Python's `f"<{t:.1f} seconds>"` writes them for the same frames.
    fn check(indices: &[u64], fps: f64, temporal: usize, expected: &str) {
        let stamps = Stamps::new(indices, fps, temporal, [1, 2]);
        let texts = stamps.texts.iter().map(|t| t.trim_start_matches('<').trim_end_matches(" seconds>"));
        assert_eq!(texts.collect::<Vec<_>>().join(" "), expected, "{indices:?} at {fps}");
    }

    #[test]
    fn a_stamp_is_the_middle_of_its_patch() {
        check(&[0, 9, 18, 26, 35, 44], 15.0, 2, "0.3 1.5 2.6");
        check(&[0, 12, 24, 36, 48], 24.0, 2, "0.2 1.2 2.0");
        check(&[0, 12, 24, 36, 48], 24.0, 1, "0.0 0.5 1.0 1.5 2.0");
        check(&[7], 10.0, 2, "0.7");
        check(&[0, 1, 2, 3, 4, 5], 10.0, 4, "0.1 0.5");
        check(&[], 10.0, 2, "");
    }

    /// One digit of a tie goes to even: 0.25, 0.75, 1.25 and 1.75 are what they are in binary.
    #[test]
    fn ties_go_to_even() {
        check(&[0, 1, 2, 3, 4, 5, 6, 7], 4.0, 1, "0.0 0.2 0.5 0.8 1.0 1.2 1.5 1.8");
        check(&[1, 3, 9, 7], 20.0, 1, "0.1 0.1 0.5 0.3");
    }

    #[test]
    fn each_patch_becomes_a_slot_and_others_keep_their_order() {
        let text = |text: &str| Segment::Text(text.to_owned());
        let media = |slot, kind| Segment::Media { slot, kind };
        let segments = vec![
            media(0, MediaKind::Image),
            text("a"),
            media(1, MediaKind::Video),
            text("b"),
            media(2, MediaKind::Video),
        ];
        let stamps = Stamps { texts: vec!["x".to_owned(), "y".to_owned()], around: [8, 9] };
        let patch = |slot| [Segment::Control(8), media(slot, MediaKind::Video), Segment::Control(9)];
        let mut expected = vec![media(0, MediaKind::Image), text("ax")];
        expected.extend(patch(1));
        expected.push(text("y"));
        expected.extend(patch(2));
        expected.extend([text("b"), media(3, MediaKind::Video)]);
        assert_eq!(expand(segments.clone(), &[None, Some(stamps), None]), expected);
        assert_eq!(expand(segments.clone(), &[None, None, None]), segments);
    }
}
