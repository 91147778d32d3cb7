//! What the targets of answer parsers share: an answer of one kind, read with every built-in pack of the kind.
//!
//! The first byte of the input says where the answer is cut, the rest is the answer.

// Each target uses a part of this.
#![allow(dead_code)]

use rewardrt_models::prompt::pack::{Pack, builtin_names};
use rewardrt_models::verdict::{AnswerKind, Finish, Outcome, ScoreOutcome, Status, judge, score};

/// The built-in packs of a kind.
pub fn packs(kind: AnswerKind) -> Vec<Pack> {
    let all = builtin_names().map(|name| Pack::builtin(name).expect("a built-in pack"));
    let packs: Vec<Pack> = all.filter(|pack| pack.answer.kind() == kind).collect();
    assert!(!packs.is_empty());
    packs
}

/// The answer of an input, and the answer up to the place where it is cut.
pub fn answer(input: &[u8]) -> Option<(&str, &str)> {
    let (&place, answer) = input.split_first()?;
    let answer = std::str::from_utf8(answer).ok()?;
    Some((answer, &answer[..answer.floor_char_boundary(answer.len() * usize::from(place) / 255)]))
}

/// Checks an answer about two candidates. `closes` says whether such an answer shows that it is whole.
pub fn pair(pack: &Pack, input: &[u8], closes: bool) {
    let Some((text, cut)) = answer(input) else { return };
    let stopped = judge(text, Finish::Stop, &pack.answer);
    well_formed(&stopped);
    assert_ne!(stopped.status, Status::Truncated, "an answer that the model ended was not cut");
    printed(pack, &stopped);
    for value in stopped.scores.iter().flat_map(|score| [score.first, score.second]) {
        written(text, value);
    }
    for limited in [cut, text].map(|text| judge(text, Finish::Length, &pack.answer)) {
        well_formed(&limited);
        assert!(closes || limited.winner.is_none(), "an answer that was cut decides nothing");
    }
    let other = score(text, Finish::Stop, &pack.answer);
    assert!(other.scores.is_empty() && other.problem.is_some());
}

/// Checks an answer about one candidate.
pub fn point(pack: &Pack, input: &[u8], closes: bool) {
    let Some((text, cut)) = answer(input) else { return };
    let stopped = score(text, Finish::Stop, &pack.answer);
    whole_or_nothing(&stopped);
    assert_ne!(stopped.status, Status::Truncated, "an answer that the model ended was not cut");
    if let Some(printed) = stopped.print(&pack.answer) {
        assert_eq!(score(&printed, Finish::Stop, &pack.answer), stopped, "{printed}");
    } else {
        assert!(stopped.scores.is_empty());
    }
    for named in &stopped.scores {
        written(text, named.value);
    }
    for limited in [cut, text].map(|text| score(text, Finish::Length, &pack.answer)) {
        whole_or_nothing(&limited);
        assert!(closes || limited.scores.is_empty(), "an answer that was cut has no score");
    }
    let other = judge(text, Finish::Stop, &pack.answer);
    assert!(other.winner.is_none() && other.problem.is_some());
}

fn well_formed(outcome: &Outcome) {
    let has_winner = outcome.winner.is_some();
    assert_eq!(has_winner, outcome.status.has_winner());
    assert_eq!(has_winner, outcome.problem.is_none());
    assert_eq!(outcome.status == Status::Inconsistent, !outcome.flags.is_empty());
    assert!(has_winner || (outcome.scores.is_empty() && outcome.span.is_none()));
    assert!(outcome.scores.iter().all(|score| score.first.is_finite() && score.second.is_finite()));
}

fn whole_or_nothing(outcome: &ScoreOutcome) {
    assert_eq!(outcome.status == Status::Ok, outcome.problem.is_none());
    assert_eq!(outcome.status == Status::Ok, !outcome.scores.is_empty());
    for score in &outcome.scores {
        let (low, high) = (score.low.expect("a bound"), score.high.expect("a bound"));
        assert!((low..=high).contains(&score.value), "{score:?}");
    }
}

/// Printed and read again, a verdict is the same.
fn printed(pack: &Pack, outcome: &Outcome) {
    let Some(printed) = outcome.print(&pack.answer) else {
        assert!(outcome.winner.is_none(), "a winner that cannot be printed");
        return;
    };
    let again = judge(&printed, Finish::Stop, &pack.answer);
    assert_eq!((again.status, again.winner), (outcome.status, outcome.winner), "{printed}");
    assert_eq!((&again.scores, &again.flags), (&outcome.scores, &outcome.flags), "{printed}");
}

/// The score is one of the numbers that stand in the answer: none is a default.
fn written(text: &str, value: f64) {
    let bytes = text.as_bytes();
    let inside = |at: usize| at > 0 && matches!(bytes[at - 1], b'0'..=b'9' | b'.');
    let starts = (0..bytes.len()).filter(|&at| matches!(bytes[at], b'0'..=b'9' | b'+' | b'-') && !inside(at));
    assert!(starts.map(|at| number(&text[at..])).any(|found| found == Some(value)), "{value} is not written");
}

/// The longest number at the start of a text.
fn number(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = usize::from(matches!(bytes[0], b'+' | b'-'));
    end += digits(end);
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let power = digits(end + 1 + sign);
        end += if power > 0 { 1 + sign + power } else { 0 };
    }
    text[..end].parse().ok()
}
