//! Why an answer holds no verdict, by name.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Why an answer was refused. Messages hold places and numbers, never the model's or the caller's text, so
/// they can be logged. Serialized as `{"name", "message"}`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The answer is longer than the token limit can explain.
    #[error("the answer is {bytes} bytes long, over the limit of {limit}; lower the pack's max_new_tokens")]
    TooLong {
        /// Bytes of the answer.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// No JSON object with the keys of a report.
    #[error("the answer holds no JSON report; check that the pack fits the checkpoint")]
    NoReport,
    /// Two reports; which one counts would be a guess.
    #[error("the answer holds two JSON reports, at bytes {first} and {second}; ask again")]
    TwoReports {
        /// Byte at which the first report opens.
        first: usize,
        /// Byte at which the second report opens.
        second: usize,
    },
    /// The answer ends inside the JSON. Under [`Finish::Length`](super::Finish::Length) the status is
    /// truncated.
    #[error("the answer ends before its JSON report closes; raise max_new_tokens or ask again")]
    Unclosed,
    /// The answer breaks the grammar of its protocol.
    #[error("the answer is malformed at byte {at}: it lacks {expected}; ask again")]
    Malformed {
        /// Byte of the answer.
        at: usize,
        /// What the grammar asks for there.
        expected: &'static str,
    },
    /// Nesting that no report needs.
    #[error("the JSON is nested deeper than {limit} levels at byte {at}; ask again")]
    TooDeep {
        /// Byte of the answer.
        at: usize,
        /// Levels allowed.
        limit: usize,
    },
    /// A key of the report is absent.
    #[error("the report has no `{field}`; check that the pack fits the checkpoint")]
    Missing {
        /// The absent key.
        field: String,
    },
    /// A key stands twice; which value counts would be a guess.
    #[error("the report has `{field}` twice; ask again")]
    Duplicate {
        /// The doubled key.
        field: String,
    },
    /// A value of another JSON type than the report has there.
    #[error(
        "the report has a value of the wrong type, at line {line} column {column} of the JSON; ask again"
    )]
    WrongType {
        /// Line within the JSON object, from 1.
        line: usize,
        /// Column within that line, from 1.
        column: usize,
    },
    /// An empty list where the protocol asks for entries.
    #[error("the report's {place} is empty; ask again")]
    Empty {
        /// Which list.
        place: String,
    },
    /// A score in quotation marks.
    #[error("a score is written as text and not as a number; ask again")]
    ScoreAsText,
    /// NaN, an infinity, or a number beyond a double.
    #[error("the report holds a number that is not finite, at byte {at}; ask again")]
    NotFinite {
        /// Byte of the answer.
        at: usize,
    },
    /// A score outside its range.
    #[error("{place} is {score}, outside {low}..={high}; ask again")]
    ScoreOutOfRange {
        /// Which score.
        place: String,
        /// The score as written.
        score: f64,
        /// The lowest score allowed.
        low: f64,
        /// The highest score allowed.
        high: f64,
    },
    /// The winner repeats the choice (`Image 1/2`) instead of making it.
    #[error("{place} repeats the choice instead of making it; ask again")]
    EchoedChoice {
        /// Which winner.
        place: String,
    },
    /// The winner is none of the protocol's words.
    #[error("{place} is none of the protocol's words; check that the pack fits the checkpoint")]
    UnknownWinner {
        /// Which winner.
        place: String,
    },
    /// No sentence of the protocol gives a verdict.
    #[error("the answer gives no verdict in the protocol's words; check that the pack fits the checkpoint")]
    NoVerdict,
    /// The answer names several verdicts; which one counts would be a guess.
    #[error("the answer names two verdicts, at bytes {first} and {second}; ask again")]
    Contradictory {
        /// Byte of the one.
        first: usize,
        /// Byte of the other.
        second: usize,
    },
    /// A tag of the protocol is absent.
    #[error("the answer has no {tag}; raise max_new_tokens, or check that the pack fits the checkpoint")]
    MissingTag {
        /// The tag.
        tag: &'static str,
    },
    /// A tag of the protocol stands twice; which answer counts would be a guess.
    #[error("the answer has {tag} twice; ask again")]
    DoubledTag {
        /// The tag.
        tag: &'static str,
    },
    /// A score of the protocol is absent.
    #[error("the answer has no score for {place}; check that the pack fits the checkpoint")]
    MissingScore {
        /// Name of the score.
        place: String,
    },
    /// A score stands twice with different values; which one counts would be a guess.
    #[error("the answer has two different scores for {place}; ask again")]
    DoubledScore {
        /// Name of the score.
        place: String,
    },
    /// A score out of another number than the highest one.
    #[error("{place} is written on another scale than up to {high}; ask again")]
    OtherScale {
        /// Name of the score.
        place: String,
        /// The highest score in the pack.
        high: f64,
    },
    /// More or fewer values than the protocol has scores.
    #[error("the answer has {found} values in the place of {expected} scores; ask again")]
    ScoreCount {
        /// Values found.
        found: usize,
        /// Scores of the protocol.
        expected: usize,
    },
    /// The token limit cut an answer whose end nothing but the end marks.
    #[error("the answer ends before it is whole; raise max_new_tokens or ask again")]
    Cut,
    /// The protocol is for another number of candidates than the question.
    #[error("answers of kind {kind} are not about {candidates} candidates; choose another pack")]
    OtherKind {
        /// Kind of the protocol.
        kind: &'static str,
        /// Candidates of the question.
        candidates: usize,
    },
}

impl Problem {
    /// Whether the rest of an answer that was cut might have mended it.
    pub(super) fn may_be_for_want_of_more(&self) -> bool {
        matches!(
            self,
            Problem::Unclosed
                | Problem::NoReport
                | Problem::NoVerdict
                | Problem::MissingTag { .. }
                | Problem::MissingScore { .. }
                | Problem::Cut
        )
    }

    /// A stable name for logs, metrics and callers that branch on it.
    pub fn name(&self) -> &'static str {
        match self {
            Problem::TooLong { .. } => "too_long",
            Problem::NoReport => "no_report",
            Problem::TwoReports { .. } => "two_reports",
            Problem::Unclosed => "unclosed",
            Problem::Malformed { .. } => "malformed",
            Problem::TooDeep { .. } => "too_deep",
            Problem::Missing { .. } => "missing_field",
            Problem::Duplicate { .. } => "duplicate_field",
            Problem::WrongType { .. } => "wrong_type",
            Problem::Empty { .. } => "empty",
            Problem::ScoreAsText => "score_as_text",
            Problem::NotFinite { .. } => "not_finite",
            Problem::ScoreOutOfRange { .. } => "score_out_of_range",
            Problem::EchoedChoice { .. } => "echoed_choice",
            Problem::UnknownWinner { .. } => "unknown_winner",
            Problem::NoVerdict => "no_verdict",
            Problem::Contradictory { .. } => "contradictory",
            Problem::MissingTag { .. } => "missing_tag",
            Problem::DoubledTag { .. } => "doubled_tag",
            Problem::MissingScore { .. } => "missing_score",
            Problem::DoubledScore { .. } => "doubled_score",
            Problem::OtherScale { .. } => "other_scale",
            Problem::ScoreCount { .. } => "score_count",
            Problem::Cut => "cut",
            Problem::OtherKind { .. } => "other_kind",
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Problem", 2)?;
        out.serialize_field("name", self.name())?;
        out.serialize_field("message", &self.to_string())?;
        out.end()
    }
}
