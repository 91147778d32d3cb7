//! The answer protocol of a pack: the shape of its answer, and which words and names stand in it.

use super::kinds::{
    EditJson, EditPairScores, HeadProtocol, PairScoreLines, ReportProtocol, ScoreLines, SentenceProtocol,
    ThinkProtocol,
};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Longest skeleton, in bytes: it is prefilled with every verdict-only request.
pub(super) const MAX_SKELETON_BYTES: usize = 4 * 1024;
/// Longest winner word, label or category name, in bytes.
const MAX_WORD_BYTES: usize = 128;
/// Most scores of one answer: five is the most that a published task has.
const MAX_SCORES: usize = 32;

/// The shape of the answer that a pack asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerKind {
    /// One JSON object: prompt, categories with dimensions and scores, reason, winner.
    Report,
    /// One sentence that names the better candidate, or says that both are equal.
    Sentence,
    /// Thoughts between tags, then such a sentence between tags.
    Think,
    /// Lines of a label, a colon and a score, for one candidate.
    ScoreLines,
    /// A heading for each dimension, and under it a score for each of the two candidates.
    PairScoreLines,
    /// One score for each of the two candidates.
    EditPairScores,
    /// A JSON object with a list of scores, for one candidate.
    EditJson,
    /// No words: the outputs of the package's head of scores, for one candidate.
    Head,
}

impl AnswerKind {
    /// The kind's name in packs.
    pub fn name(self) -> &'static str {
        match self {
            AnswerKind::Report => "report",
            AnswerKind::Sentence => "sentence",
            AnswerKind::Think => "think",
            AnswerKind::ScoreLines => "score-lines",
            AnswerKind::PairScoreLines => "pair-score-lines",
            AnswerKind::EditPairScores => "edit-pair-scores",
            AnswerKind::EditJson => "edit-json",
            AnswerKind::Head => "head",
        }
    }

    /// How many candidates such an answer judges: 1 or 2.
    pub fn candidates(self) -> usize {
        match self {
            AnswerKind::ScoreLines | AnswerKind::EditJson | AnswerKind::Head => 1,
            _ => 2,
        }
    }
}

/// How a pack's answer is written. The `[answer]` table of `pack.toml`; its `kind` says which other fields
/// it has.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Protocol {
    /// See [`AnswerKind::Report`].
    Report(ReportProtocol),
    /// See [`AnswerKind::Sentence`].
    Sentence(SentenceProtocol),
    /// See [`AnswerKind::Think`].
    Think(ThinkProtocol),
    /// See [`AnswerKind::ScoreLines`].
    ScoreLines(ScoreLines),
    /// See [`AnswerKind::PairScoreLines`].
    PairScoreLines(PairScoreLines),
    /// See [`AnswerKind::EditPairScores`].
    EditPairScores(EditPairScores),
    /// See [`AnswerKind::EditJson`].
    EditJson(EditJson),
    /// See [`AnswerKind::Head`].
    Head(HeadProtocol),
}

/// A labelled score of the line protocols.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// The words before the colon, such as `Alignment Score`. Read without regard to ASCII case.
    pub label: String,
    /// Its name in results: lower-case letters, digits and underscores.
    pub name: String,
    /// The lowest score.
    pub low: f64,
    /// The highest score.
    pub high: f64,
}

/// Why an answer protocol cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answer.{field}: {reason}")]
pub struct ProtocolError {
    /// Field of the `[answer]` table.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// The forced start of an answer, and the two ways in which it may go on.
///
/// Encode `head + first` and `head + second` each as a whole: the verdict is read at the first id in which
/// the two differ, given everything before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton<'a> {
    /// What the pack wrote before the caption.
    pub before: &'a str,
    /// The caption, JSON-escaped; empty where the kind repeats none. It is the caller's text and never
    /// becomes control tokens.
    pub caption: String,
    /// What the pack wrote after the caption.
    pub after: &'a str,
    /// The continuation by which the first candidate wins.
    pub first: String,
    /// The continuation by which the second candidate wins.
    pub second: String,
}

impl Skeleton<'_> {
    /// The forced text as one string.
    pub fn head(&self) -> String {
        format!("{}{}{}", self.before, self.caption, self.after)
    }
}

impl Protocol {
    /// The shape of the answer.
    pub fn kind(&self) -> AnswerKind {
        match self {
            Protocol::Report(_) => AnswerKind::Report,
            Protocol::Sentence(_) => AnswerKind::Sentence,
            Protocol::Think(_) => AnswerKind::Think,
            Protocol::ScoreLines(_) => AnswerKind::ScoreLines,
            Protocol::PairScoreLines(_) => AnswerKind::PairScoreLines,
            Protocol::EditPairScores(_) => AnswerKind::EditPairScores,
            Protocol::EditJson(_) => AnswerKind::EditJson,
            Protocol::Head(_) => AnswerKind::Head,
        }
    }

    /// Checks what the types cannot say: words that can be told apart, names that are unique, ranges that
    /// hold a number, skeletons that become an answer when a winner is put behind them.
    ///
    /// # Errors
    /// [`ProtocolError`] names the field.
    pub fn check(&self) -> Result<(), ProtocolError> {
        match self {
            Protocol::Report(kind) => kind.check(),
            Protocol::Sentence(kind) => kind.check(),
            Protocol::Think(kind) => kind.check(),
            Protocol::ScoreLines(kind) => kind.check(),
            Protocol::PairScoreLines(kind) => kind.check(),
            Protocol::EditPairScores(kind) => kind.check(),
            Protocol::EditJson(kind) => kind.check(),
            Protocol::Head(kind) => kind.check(),
        }
    }

    /// The forced text for a verdict without reasoning; none where the kind, or the pack, has no such
    /// verdict. `caption` is escaped as JSON text where it is repeated.
    pub fn skeleton(&self, caption: &str) -> Option<Skeleton<'_>> {
        match self {
            Protocol::Report(kind) => Some(kind.skeleton(caption)),
            Protocol::Sentence(kind) => kind.skeleton(),
            Protocol::Think(kind) => kind.skeleton(),
            _ => None,
        }
    }

    /// Two answers that part where the verdict's token stands: by their ids the probability of the first
    /// against the second is read in any answer. None for the kinds of scores, which have no such token.
    pub fn fork(&self, caption: &str) -> Option<[String; 2]> {
        match self {
            Protocol::Report(kind) => {
                let skeleton = kind.skeleton(caption);
                let head = skeleton.head();
                Some([format!("{head}{}", skeleton.first), format!("{head}{}", skeleton.second)])
            }
            Protocol::Sentence(kind) => Some(kind.fork()),
            Protocol::Think(kind) => Some(kind.fork()),
            _ => None,
        }
    }

    /// Words that a prompt asking for such an answer holds, by which `pack import` finds it in a script.
    pub fn prompt_marks(&self) -> Vec<&str> {
        match self {
            Protocol::Report(_) => vec!["categories", "cat_winner", "winner"],
            Protocol::Sentence(kind) => vec![&kind.first, &kind.second],
            Protocol::Think(kind) => vec!["<answer>", &kind.first],
            Protocol::ScoreLines(kind) => kind.lines.iter().map(|line| line.label.as_str()).collect(),
            Protocol::PairScoreLines(kind) => {
                let labels = kind.dimensions.iter().map(|line| line.label.as_str());
                labels.chain([kind.first.as_str(), kind.second.as_str()]).collect()
            }
            Protocol::EditPairScores(kind) => vec![&kind.first, &kind.second],
            Protocol::EditJson(_) => vec!["reasoning", "score"],
            Protocol::Head(kind) => kind.markers.iter().map(String::as_str).collect(),
        }
    }
}

pub(super) fn refuse<T>(field: &'static str, reason: impl Into<String>) -> Result<T, ProtocolError> {
    Err(ProtocolError { field, reason: reason.into() })
}

pub(super) fn check_word(field: &'static str, word: &str) -> Result<(), ProtocolError> {
    // Words that JSON would escape could be written in several ways, and would not be found by their bytes.
    let plain = word.chars().all(|c| !c.is_control() && c != '"' && c != '\\');
    if word.is_empty() || word.len() > MAX_WORD_BYTES || word.trim() != word || !plain {
        return refuse(
            field,
            format!(
                "must be 1 to {MAX_WORD_BYTES} bytes, without quotes, backslashes, control characters or outer spaces"
            ),
        );
    }
    Ok(())
}

/// Names of results are plain and unique, and each range holds more than one number.
pub(super) fn check_names<'a>(
    field: &'static str,
    names: impl Iterator<Item = (&'a str, f64, f64)>,
) -> Result<(), ProtocolError> {
    let mut seen = BTreeSet::new();
    for (name, low, high) in names {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return refuse(field, "a name must be 1 to 64 lower-case letters, digits and underscores");
        }
        if !seen.insert(name) {
            return refuse(field, format!("the name {name} stands twice"));
        }
        if !(low.is_finite() && high.is_finite() && low < high) {
            return refuse(field, format!("{name} has no range: low must be below high"));
        }
    }
    match seen.len() {
        1..=MAX_SCORES => Ok(()),
        count => refuse(field, format!("{count} entries; give 1 to {MAX_SCORES}")),
    }
}

/// Labels can be told apart: none is the end of another, for a label may follow other words in a line.
pub(super) fn check_labels<'a>(
    field: &'static str,
    labels: impl Iterator<Item = &'a str>,
) -> Result<(), ProtocolError> {
    let mut known: Vec<String> = Vec::new();
    for label in labels {
        check_word(field, label)?;
        let alphanumeric = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if !alphanumeric(label.chars().next()) || !alphanumeric(label.chars().next_back()) {
            return refuse(field, format!("the label `{label}` must begin and end with a letter or digit"));
        }
        let lower = label.to_ascii_lowercase();
        if let Some(other) = known.iter().find(|other| other.ends_with(&lower) || lower.ends_with(*other)) {
            return refuse(field, format!("the labels `{lower}` and `{other}` end alike"));
        }
        known.push(lower);
    }
    Ok(())
}
