//! From a model's words to a typed verdict.
//!
//! A verdict comes from what the model wrote, or there is none: nothing in this room guesses. [`judge`] reads
//! a whole answer about two candidates, [`score`] one about a single candidate, [`combine`] joins the two orders of a pair, [`group_rewards`] turns many pairs into
//! rewards.
//!
//! What is absent: no IO, no token ids. The runtime learns from [`WinnerSpan`] *where* in the text the
//! verdict stands, and reads the probability of the token there itself.

mod category;
mod consistency;
mod ending;
mod form;
mod grammar;
mod group;
mod judge;
mod kinds;
mod lines;
mod probability;
mod problem;
mod protocol;
mod report;
mod scan;
mod score;

pub use category::{CategoryWinner, category_letter};
pub use consistency::{Flag, flags};
pub use ending::Ending;
pub use form::Form;
pub use grammar::Grammar;
pub use group::{
    FailedPairs, GroupError, GroupRewards, GroupRules, ItemReward, MAX_GROUP, PairOutcome, PairVerdict,
    group_rewards,
};
pub use judge::{Finish, MAX_ANSWER_BYTES, Outcome, WinnerSpan, judge};
pub use kinds::{
    Bounded, EditJson, EditPairScores, HeadProtocol, PairScoreLines, ReportProtocol, ScoreLines,
    SentenceProtocol, ThinkProtocol,
};
pub use probability::{Combined, NotFinite, OrderVerdict, TIE_MARGIN, combine, p_first};
pub use problem::Problem;
pub use protocol::{AnswerKind, Dimension, Protocol, ProtocolError, Skeleton};
pub use report::{Category, Dim, Report};
pub use scan::MAX_DEPTH;
pub use score::{NamedScore, PairScore, ScoreOutcome, score};

use serde::{Deserialize, Serialize};

/// Which of the two candidates, in the order in which the model saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Winner {
    /// The candidate shown first.
    First,
    /// The candidate shown second.
    Second,
    /// Neither: the model says so where its protocol has words or scores for it, or the two orders weigh the
    /// same.
    Tie,
}

impl Winner {
    /// The same winner when the two candidates change places.
    pub fn flipped(self) -> Winner {
        match self {
            Winner::First => Winner::Second,
            Winner::Second => Winner::First,
            Winner::Tie => Winner::Tie,
        }
    }

    /// What the first candidate earns: 1 for a win, 0 for a loss, 0.5 for a tie.
    pub fn first_points(self) -> f64 {
        match self {
            Winner::First => 1.0,
            Winner::Second => 0.0,
            Winner::Tie => 0.5,
        }
    }
}

/// How far an answer can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The answer was read whole, and its parts agree.
    Ok,
    /// The answer was read whole, but its parts disagree; what is written stands.
    Inconsistent,
    /// The answer was cut by the token limit before it was whole; there is no winner and no score.
    Truncated,
    /// The answer cannot be read by its protocol; there is no winner and no score.
    Invalid,
}

impl Status {
    /// Whether an answer of this status has a winner.
    pub fn has_winner(self) -> bool {
        matches!(self, Status::Ok | Status::Inconsistent)
    }
}

#[cfg(test)]
mod tests;
