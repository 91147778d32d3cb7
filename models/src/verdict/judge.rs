//! One answer to one verdict.

use super::category::{CategoryWinner, category_letter};
use super::consistency::{Flag, flags};
use super::problem::Problem;
use super::protocol::Protocol;
use super::report::{self, Report};
use super::scan::Object;
use super::{Status, Winner};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Longest answer that is read, in bytes: the 4096 tokens that a pack may ask for, at 16 bytes a token.
/// English has about 4 bytes a token, so only a runaway answer is longer.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why the model stopped writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// It wrote an end token.
    Stop,
    /// The token limit cut it.
    Length,
}

/// Where the winner stands in the answer's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WinnerSpan {
    /// Bytes of the winner's words, without quotes.
    pub value: Range<usize>,
    /// Bytes of the part in which the two winners differ: the digit of `Image 1`. The token that holds the
    /// first of these bytes is the verdict token, where `p_first` is read.
    pub differing: Range<usize>,
}

/// What became of one answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// How far the answer can be trusted.
    pub status: Status,
    /// The written winner; absent unless the status is ok or inconsistent.
    pub winner: Option<Winner>,
    /// The whole report, words as written; absent when there is no winner.
    pub report: Option<Report>,
    /// The written winner of each category, in the report's order; empty when there is no winner.
    pub category_winners: Vec<CategoryWinner>,
    /// What disagrees; empty unless the status is inconsistent.
    pub flags: Vec<Flag>,
    /// Why there is no winner; absent when there is one.
    pub problem: Option<Problem>,
    /// Where the winner stands; absent when there is none, or when the model wrote it with JSON escapes,
    /// whose tokens say nothing about the other winner.
    #[serde(skip)]
    pub span: Option<WinnerSpan>,
}

/// Reads a model's whole answer. `finish` says whether the token limit cut it: only then can it be truncated.
///
/// Every answer has an outcome; none is a guess. The winner is the value of the report's own top-level
/// `winner`, never a word of the prompt's echo, of a reason, or of the prose around the report.
pub fn judge(text: &str, finish: Finish, protocol: &Protocol) -> Outcome {
    match read(text, protocol) {
        Ok(outcome) => outcome,
        Err(problem) => {
            let cut = finish == Finish::Length && matches!(problem, Problem::Unclosed | Problem::NoReport);
            let status = if cut { Status::Truncated } else { Status::Invalid };
            Outcome {
                status,
                winner: None,
                report: None,
                category_winners: Vec::new(),
                flags: Vec::new(),
                problem: Some(problem),
                span: None,
            }
        }
    }
}

fn read(text: &str, protocol: &Protocol) -> Result<Outcome, Problem> {
    if text.len() > MAX_ANSWER_BYTES {
        return Err(Problem::TooLong { bytes: text.len(), limit: MAX_ANSWER_BYTES });
    }
    let object = report::find(text)?;
    let report = report::read(text, &object)?;
    let winner = spoken(&report.winner, protocol, || "winner".to_owned())?;
    let mut category_winners = Vec::with_capacity(report.categories.len());
    for (c, category) in report.categories.iter().enumerate() {
        category_winners.push(CategoryWinner {
            name: category.name.clone(),
            letter: category_letter(&category.name, &protocol.categories),
            winner: spoken(&category.cat_winner, protocol, || format!("categories[{c}].cat_winner"))?,
        });
    }
    let flags = flags(&report, winner, &category_winners);
    Ok(Outcome {
        status: if flags.is_empty() { Status::Ok } else { Status::Inconsistent },
        winner: Some(winner),
        span: span(text, &object, &report.winner, winner, protocol),
        report: Some(report),
        category_winners,
        flags,
        problem: None,
    })
}

/// The winner that `written` names. Case and outer spaces are forgiven, nothing else is.
fn spoken(written: &str, protocol: &Protocol, place: impl Fn() -> String) -> Result<Winner, Problem> {
    let word = written.trim();
    for (known, winner) in
        [(&protocol.winner_first, Winner::First), (&protocol.winner_second, Winner::Second)]
    {
        if word.eq_ignore_ascii_case(known) {
            return Ok(winner);
        }
    }
    let lower = word.to_ascii_lowercase();
    let names_both = [&protocol.winner_first, &protocol.winner_second]
        .iter()
        .all(|known| lower.contains(&known[protocol.differing(known)].to_ascii_lowercase()));
    Err(if names_both {
        Problem::EchoedChoice { place: place() }
    } else {
        Problem::UnknownWinner { place: place() }
    })
}

fn span(
    text: &str,
    object: &Object,
    written: &str,
    winner: Winner,
    protocol: &Protocol,
) -> Option<WinnerSpan> {
    let quoted = object.members.iter().find(|member| &text[member.key.clone()] == "winner")?.value.clone();
    if text.get(quoted.start + 1..quoted.end.checked_sub(1)?)? != written {
        return None;
    }
    let start = quoted.start + 1 + (written.len() - written.trim_start().len());
    let known = if winner == Winner::First { &protocol.winner_first } else { &protocol.winner_second };
    let differing = protocol.differing(known);
    Some(WinnerSpan {
        value: start..start + known.len(),
        differing: start + differing.start..start + differing.end,
    })
}
