//! One answer to one verdict.

use super::category::CategoryWinner;
use super::consistency::Flag;
use super::problem::Problem;
use super::protocol::Protocol;
use super::report::Report;
use super::score::{PairScore, by_scores, failed, uncut};
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
    /// The whole report, words as written; absent when there is no winner, or the kind has no report.
    pub report: Option<Report>,
    /// The written winner of each category, in the report's order; empty when there is no winner.
    pub category_winners: Vec<CategoryWinner>,
    /// The scores of both candidates, by which the winner is chosen in the kinds of scores; else empty.
    pub scores: Vec<PairScore>,
    /// What disagrees; empty unless the status is inconsistent.
    pub flags: Vec<Flag>,
    /// Why there is no winner; absent when there is one.
    pub problem: Option<Problem>,
    /// Where the winner stands; absent when there is none, for a tie, when the winner follows from scores, and
    /// when the model wrote it with JSON escapes, whose tokens say nothing about the other winner.
    #[serde(skip)]
    pub span: Option<WinnerSpan>,
}

/// Reads a model's whole answer about two candidates. `finish` says whether the token limit cut it: only then can
/// it be truncated.
///
/// Every answer has an outcome; none is a guess. The winner of a report is the value of its own top-level
/// `winner`, never a word of the prompt's echo, of a reason, or of the prose around it; that of scores has the
/// higher sum of them.
pub fn judge(text: &str, finish: Finish, protocol: &Protocol) -> Outcome {
    read(text, finish, protocol).unwrap_or_else(|problem| Outcome {
        status: failed(&problem, finish),
        problem: Some(problem),
        ..Outcome::default()
    })
}

fn read(text: &str, finish: Finish, protocol: &Protocol) -> Result<Outcome, Problem> {
    if text.len() > MAX_ANSWER_BYTES {
        return Err(Problem::TooLong { bytes: text.len(), limit: MAX_ANSWER_BYTES });
    }
    match protocol {
        Protocol::Report(kind) => kind.read(text),
        Protocol::Sentence(kind) => uncut(text, finish, |text| kind.read(text)).map(said),
        Protocol::Think(kind) => kind.read(text).map(said),
        Protocol::PairScoreLines(kind) => {
            let scores = uncut(text, finish, |text| kind.read(text))?;
            let flags = kind.flags(&scores);
            Ok(scored(scores, flags))
        }
        Protocol::EditPairScores(kind) => {
            Ok(scored(uncut(text, finish, |text| kind.read(text))?, Vec::new()))
        }
        Protocol::ScoreLines(_) | Protocol::EditJson(_) | Protocol::Head(_) => {
            Err(Problem::OtherKind { kind: protocol.kind().name(), candidates: 2 })
        }
    }
}

/// A verdict in words.
fn said((winner, span): (Winner, Option<WinnerSpan>)) -> Outcome {
    Outcome { status: Status::Ok, winner: Some(winner), span, ..Outcome::default() }
}

/// A verdict that follows from scores.
fn scored(scores: Vec<PairScore>, flags: Vec<Flag>) -> Outcome {
    let status = if flags.is_empty() { Status::Ok } else { Status::Inconsistent };
    Outcome { status, winner: Some(by_scores(&scores)), scores, flags, ..Outcome::default() }
}

impl Default for Outcome {
    /// An answer that was not read.
    fn default() -> Outcome {
        Outcome {
            status: Status::Invalid,
            winner: None,
            report: None,
            category_winners: Vec::new(),
            scores: Vec::new(),
            flags: Vec::new(),
            problem: None,
            span: None,
        }
    }
}

impl Outcome {
    /// The verdict as this protocol writes it; reading the text gives the same verdict, report and scores.
    /// None when there is no verdict, or the protocol is not that of this outcome.
    pub fn print(&self, protocol: &Protocol) -> Option<String> {
        let winner = self.winner?;
        match protocol {
            Protocol::Report(kind) => kind.print(self.report.as_ref()?),
            Protocol::Sentence(kind) => kind.print(winner),
            Protocol::Think(kind) => kind.print(winner),
            Protocol::PairScoreLines(kind) => kind.print(&self.scores),
            Protocol::EditPairScores(kind) => kind.print(&self.scores),
            Protocol::ScoreLines(_) | Protocol::EditJson(_) | Protocol::Head(_) => None,
        }
    }
}
