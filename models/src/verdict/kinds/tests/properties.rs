//! What is printed reads back as itself, and nothing that was not written ever becomes a score.

use super::super::super::{Flag, NamedScore, PairScore, Status, Winner};
use super::*;
use proptest::prelude::*;

/// An outcome printed and read again is the same outcome.
fn check_pair_printed(text: &str, pack: &Pack) {
    let outcome = judge(text, Stop, &pack.answer);
    if let Some(printed) = outcome.print(&pack.answer) {
        let again = judge(&printed, Stop, &pack.answer);
        assert_eq!(
            (again.winner, &again.scores, &again.flags),
            (outcome.winner, &outcome.scores, &outcome.flags)
        );
        assert_eq!(again.print(&pack.answer), Some(printed));
    } else {
        assert!(outcome.winner.is_none());
    }
}

fn check_point_printed(text: &str, pack: &Pack) {
    let outcome = score(text, Stop, &pack.answer);
    if let Some(printed) = outcome.print(&pack.answer) {
        assert_eq!(score(&printed, Stop, &pack.answer), outcome);
    } else {
        assert!(outcome.scores.is_empty());
    }
}

/// Words that the parsers look for, between them numbers and noise.
fn parts() -> impl Strategy<Value = String> {
    let words: Vec<String> = builtin_names()
        .flat_map(|name| {
            Pack::builtin(name)
                .unwrap()
                .answer
                .prompt_marks()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .chain(
            ["<think>", "</think>", "<answer>", "</answer>", "Overall Judgment", "Final Score"]
                .map(str::to_owned),
        )
        .chain(
            [
                ":", ".", "\n", " ", "-", "3", "0.5", "1e9", "nan", "/5", "(1-5)", "[", "]", "{", "}", "\"",
                ",",
            ]
            .map(str::to_owned),
        )
        .collect();
    let word = prop_oneof![6 => proptest::sample::select(words), 1 => "\\PC{0,4}"];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_answer_has_an_outcome_that_prints_as_it_reads(text in parts(), cut in any::<bool>()) {
        let finish = if cut { Length } else { Stop };
        for pack in builtin_names().map(|name| Pack::builtin(name).unwrap()) {
            summary(&text, finish, &pack.answer);
            match pack.answer.kind().candidates() {
                1 => check_point_printed(&text, &pack),
                _ => check_pair_printed(&text, &pack),
            }
        }
    }

    /// Without a digit there is no number, and so no score.
    #[test]
    fn no_score_comes_of_an_answer_without_digits(text in parts()) {
        let text: String = text.chars().filter(|c| !c.is_numeric()).collect();
        for pack in builtin_names().map(|name| Pack::builtin(name).unwrap()) {
            if pack.answer.kind().candidates() == 1 {
                prop_assert!(score(&text, Stop, &pack.answer).scores.is_empty());
            } else if pack.answer.kind().by_scores() {
                prop_assert!(judge(&text, Stop, &pack.answer).scores.is_empty());
            }
        }
    }

    #[test]
    fn scores_read_as_the_floats_they_were_printed_from(values in proptest::collection::vec(1.0f64..=4.0, 6)) {
        let pack = Pack::builtin("unifiedreward-video-point").unwrap();
        let Protocol::ScoreLines(kind) = &pack.answer else { unreachable!() };
        let scores: Vec<NamedScore> = kind.lines.iter().zip(&values).map(|(line, value)| NamedScore {
            name: line.name.clone(), value: *value, low: Some(line.low), high: Some(line.high),
        }).collect();
        let printed = kind.print(&scores).unwrap();
        let outcome = score(&printed, Stop, &pack.answer);
        prop_assert_eq!((outcome.status, &outcome.scores), (Status::Ok, &scores));
        // Any number of whole lines before the last is not enough.
        let cut = printed.trim_end().rfind('\n').unwrap();
        prop_assert_eq!(score(&printed[..=cut], Stop, &pack.answer).scores, vec![]);
    }

    #[test]
    fn edits_of_any_finite_scores_are_compared_exactly(first in any::<f64>(), second in any::<f64>()) {
        prop_assume!(first.is_finite() && second.is_finite());
        let pack = Pack::builtin("unifiedreward-edit-pair-score").unwrap();
        let winner = if first > second { Winner::First } else if first < second { Winner::Second } else { Winner::Tie };
        for text in [format!("{first} {second}"), format!("Edited image 1: {first}\nEdited image 2: {second}")] {
            let outcome = judge(&text, Stop, &pack.answer);
            prop_assert_eq!(outcome.winner, Some(winner));
            prop_assert_eq!(outcome.scores, vec![PairScore { name: "score".to_owned(), first, second }]);
        }
    }

    #[test]
    fn shares_that_do_not_add_up_are_flagged(first in 0.0f64..=1.0, second in 0.0f64..=1.0) {
        let pack = Pack::builtin("unifiedreward-2-video-pair-score").unwrap();
        let text = ["Alignment", "Physics", "Style"].map(|l| format!("{l}:\nVideo 1: {first}\nVideo 2: {second}\n"));
        let outcome = judge(&text.concat(), Stop, &pack.answer);
        let off = (first + second - 1.0).abs() > 0.01;
        prop_assert_eq!(outcome.status, if off { Status::Inconsistent } else { Status::Ok });
        prop_assert_eq!(outcome.flags.len(), if off { 3 } else { 0 });
        let sums = outcome.flags.iter().filter(|flag| matches!(flag, Flag::SumOff { expected: 1.0, .. }));
        prop_assert_eq!(sums.count(), outcome.flags.len());
    }
}
