//! No answer gives a verdict that it does not hold: never a tie, a winner only with a status that promises one, the
//! same winner whatever the echo of the prompt says, and none at all from an answer that was cut.
//!
//! The first byte of the input says where the answer is cut, the rest is the answer.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rewardrt_models::prompt::pack::{Pack, Task};
use rewardrt_models::verdict::{Finish, Outcome, Protocol, Report, ReportProtocol, Status, Winner, judge};
use serde_json::value::RawValue;

static PROTOCOL: LazyLock<Protocol> =
    LazyLock::new(|| Pack::for_task(Task::ImagePair).expect("a built-in pack").answer);
static REPORT: LazyLock<&ReportProtocol> = LazyLock::new(|| match &*PROTOCOL {
    Protocol::Report(report) => report,
    other => panic!("the default pack asks for a report, not {other:?}"),
});

fuzz_target!(|input: &[u8]| {
    let Some((&place, answer)) = input.split_first() else { return };
    let Ok(answer) = std::str::from_utf8(answer) else { return };
    let stopped = judge(answer, Finish::Stop, &PROTOCOL);
    let limited = judge(answer, Finish::Length, &PROTOCOL);
    well_formed(&stopped);
    well_formed(&limited);
    assert_ne!(stopped.status, Status::Truncated, "an answer that the model ended was not cut");
    assert_eq!(stopped.winner, limited.winner, "the reason to stop decides no winner");
    if let (Some(winner), Some(report)) = (stopped.winner, &stopped.report) {
        as_written(answer, &stopped, winner);
        let printed = stopped.print(&PROTOCOL).expect("a report prints");
        assert_eq!(judge(&printed, Finish::Stop, &PROTOCOL).report.as_ref(), Some(report), "{printed}");
        let object = report_object(answer, report).expect("the report stands in the answer");
        without_echo(answer, &object, winner);
        cut(answer, &object, place);
    }
});

fn well_formed(outcome: &Outcome) {
    let has_winner = outcome.winner.is_some();
    assert_eq!(has_winner, outcome.status.has_winner());
    assert_eq!(has_winner, outcome.report.is_some());
    assert_eq!(has_winner, outcome.problem.is_none());
    assert_eq!(outcome.status == Status::Inconsistent, !outcome.flags.is_empty());
    let categories = outcome.category_winners.iter().map(|category| category.winner);
    assert!(!categories.chain(outcome.winner).any(|w| w == Winner::Tie), "no model writes a tie");
    assert!(has_winner || (outcome.category_winners.is_empty() && outcome.span.is_none()));
    for dim in outcome.report.iter().flat_map(|r| &r.categories).flat_map(|c| &c.dims) {
        assert!((0.0..=10.0).contains(&dim.score_1) && (0.0..=10.0).contains(&dim.score_2));
    }
}

/// The winner is the word that the report says, and its span holds that word.
fn as_written(answer: &str, outcome: &Outcome, winner: Winner) {
    let word = if winner == Winner::First { &REPORT.winner_first } else { &REPORT.winner_second };
    let written = outcome.report.as_ref().map(|r| r.winner.trim());
    assert!(written.is_some_and(|w| w.eq_ignore_ascii_case(word)), "{written:?} is not {word}");
    if let Some(span) = &outcome.span {
        assert!(answer[span.value.clone()].eq_ignore_ascii_case(word));
        let digit = if winner == Winner::First { "1" } else { "2" };
        assert_eq!(&answer[span.differing.clone()], digit);
    }
}

/// Where a report stands in an answer, and the value of its `prompt`.
struct Object {
    end: usize,
    echo: std::ops::Range<usize>,
}

/// Finds the report with serde alone: the first object that is not within another and reads as `report`.
fn report_object(answer: &str, report: &Report) -> Option<Object> {
    let mut at = 0;
    while let Some(open) = answer[at..].find('{').map(|found| at + found) {
        let mut objects = serde_json::Deserializer::from_str(&answer[open..]).into_iter::<&RawValue>();
        let Some(Ok(raw)) = objects.next() else {
            at = open + 1;
            continue;
        };
        at = open + raw.get().len();
        if serde_json::from_str::<Report>(raw.get()).as_ref().ok() != Some(report) {
            continue;
        }
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        let echo = members.get("prompt")?.get();
        let start = echo.as_ptr() as usize - answer.as_ptr() as usize;
        return Some(Object { end: at, echo: start..start + echo.len() });
    }
    None
}

/// An echo of nothing, and one that argues for each side, leave the verdict as it was.
fn without_echo(answer: &str, object: &Object, winner: Winner) {
    let other = r#""\"winner\": \"Image 1\"}, {\"winner\": \"Image 2\"""#;
    for echo in [r#""""#, other] {
        let (before, after) = (&answer[..object.echo.start], &answer[object.echo.end..]);
        let changed = judge(&format!("{before}{echo}{after}"), Finish::Stop, &PROTOCOL);
        assert_eq!(changed.winner, Some(winner).filter(|_| changed.report.is_some()));
        // Only an answer that grows over the limit may be refused for it.
        assert!(changed.winner.is_some() || echo.len() > object.echo.len());
    }
}

/// Cut anywhere before the report closes, an answer is truncated and has no winner.
fn cut(answer: &str, object: &Object, place: u8) {
    let at = answer.floor_char_boundary((object.end - 1) * usize::from(place) / 255);
    let limited = judge(&answer[..at], Finish::Length, &PROTOCOL);
    assert_eq!((limited.status, limited.winner), (Status::Truncated, None), "cut at {at}");
    let stopped = judge(&answer[..at], Finish::Stop, &PROTOCOL);
    assert_eq!((stopped.status, stopped.winner), (Status::Invalid, None), "cut at {at}");
}
