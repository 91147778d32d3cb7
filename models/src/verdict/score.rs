//! Scores with names: of one candidate, and of two.

use super::problem::Problem;
use super::{AnswerKind, Finish, MAX_ANSWER_BYTES, Protocol, Status, Winner};
use serde::{Deserialize, Serialize};

/// Sums of scores that a model wrote in decimals differ by this much from rounding alone.
const ROUNDING: f64 = 1e-9;

/// One score of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedScore {
    /// Its name in the pack.
    pub name: String,
    /// The score as written, finite, within the range.
    pub value: f64,
    /// The lowest score; absent where there is no bound.
    pub low: Option<f64>,
    /// The highest score; absent where there is no bound.
    pub high: Option<f64>,
}

/// One score of two candidates, in the order in which they were shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairScore {
    /// Its name in the pack.
    pub name: String,
    /// Score of the first candidate, finite.
    pub first: f64,
    /// Score of the second candidate, finite.
    pub second: f64,
}

/// What became of an answer about one candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreOutcome {
    /// Ok when every score was read, else truncated or invalid.
    pub status: Status,
    /// Every score that the pack names, in its order; empty unless the status is ok.
    pub scores: Vec<NamedScore>,
    /// Why there are no scores; absent when there are.
    pub problem: Option<Problem>,
}

impl ScoreOutcome {
    /// The scores as this protocol writes them; reading the text gives the same scores. None when there are
    /// no scores, or the protocol is not that of these scores.
    pub fn print(&self, protocol: &Protocol) -> Option<String> {
        let whole = self.problem.is_none() && !self.scores.is_empty();
        match protocol {
            Protocol::ScoreLines(kind) if whole => kind.print(&self.scores),
            Protocol::EditJson(kind) if whole => kind.print(&self.scores),
            _ => None,
        }
    }
}

/// Reads a model's whole answer about one candidate. `finish` says whether the token limit cut it.
///
/// All scores that the pack names are read, or none: a missing score has no default.
pub fn score(text: &str, finish: Finish, protocol: &Protocol) -> ScoreOutcome {
    let read = match protocol {
        _ if text.len() > MAX_ANSWER_BYTES => {
            Err(Problem::TooLong { bytes: text.len(), limit: MAX_ANSWER_BYTES })
        }
        Protocol::ScoreLines(kind) => uncut(text, finish, |text| kind.read(text)),
        Protocol::EditJson(kind) => kind.read(text),
        other => Err(Problem::OtherKind { kind: other.kind().name(), candidates: 1 }),
    };
    match read {
        Ok(scores) => ScoreOutcome { status: Status::Ok, scores, problem: None },
        Err(problem) => {
            ScoreOutcome { status: failed(&problem, finish), scores: Vec::new(), problem: Some(problem) }
        }
    }
}

/// The status of an answer that was refused: truncated when the rest might have mended it.
pub(super) fn failed(problem: &Problem, finish: Finish) -> Status {
    let cut = finish == Finish::Length && problem.may_be_for_want_of_more();
    if cut { Status::Truncated } else { Status::Invalid }
}

/// Reads an answer of lines or sentences. Nothing in it says that it is whole, so one that the limit cut has
/// no result: its last number may lack digits, and its next line may take back the one before. What is
/// refused in its whole lines is refused all the same.
pub(super) fn uncut<T>(
    text: &str,
    finish: Finish,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<T, Problem> {
    match finish {
        Finish::Stop => read(text),
        Finish::Length => {
            let lines = text.rfind('\n').map_or("", |end| &text[..=end]);
            match read(lines) {
                Err(problem) if !problem.may_be_for_want_of_more() => Err(problem),
                _ => Err(Problem::Cut),
            }
        }
    }
}

/// The candidate with the higher sum of scores, which is that with the higher mean; a tie when both are
/// equal, for several scores up to the rounding of their sums.
pub(super) fn by_scores(scores: &[PairScore]) -> Winner {
    let lead: f64 = scores.iter().map(|score| score.first - score.second).sum();
    let margin = if scores.len() > 1 { ROUNDING } else { 0.0 };
    match lead {
        lead if lead > margin => Winner::First,
        lead if lead < -margin => Winner::Second,
        _ => Winner::Tie,
    }
}

impl AnswerKind {
    /// Whether the winner follows from scores instead of words.
    pub fn by_scores(self) -> bool {
        matches!(self, AnswerKind::PairScoreLines | AnswerKind::EditPairScores)
    }
}
