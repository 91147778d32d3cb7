//! The answer protocol of a pack: which words a model uses for its verdict, and how a verdict is forced.

use super::category::category_letter;
use super::scan;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Hole for the caption, JSON-escaped and without quotes, in a skeleton.
const CAPTION_JSON: &str = "{caption_json}";
/// Longest skeleton, in bytes: it is prefilled with every verdict-only request.
const MAX_SKELETON_BYTES: usize = 4 * 1024;
/// Longest winner word or category name, in bytes.
const MAX_WORD_BYTES: usize = 128;

/// The shape of the answer that a pack asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerKind {
    /// One JSON object: prompt, categories with dimensions and scores, reason, winner.
    Report,
}

/// How a pack's answer is written. The `[answer]` table of `pack.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// The shape of the answer.
    pub kind: AnswerKind,
    /// The words by which the model names the first candidate, such as `Image 1`.
    pub winner_first: String,
    /// The words by which the model names the second candidate, such as `Image 2`.
    pub winner_second: String,
    /// Names of the categories, in order, each with its own leading letter: `A. Semantic Alignment`.
    pub categories: Vec<String>,
    /// What a verdict-only request puts in the model's mouth: a report up to the opening quote of the winner,
    /// with `{caption_json}` once.
    pub skeleton: String,
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
    /// The caption, JSON-escaped. It is the caller's text and never becomes control tokens.
    pub caption: String,
    /// What the pack wrote after the caption; ends with the opening quote of the winner.
    pub after: &'a str,
    /// The continuation by which the first candidate wins: its words and the closing quote.
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

fn refuse<T>(field: &'static str, reason: impl Into<String>) -> Result<T, ProtocolError> {
    Err(ProtocolError { field, reason: reason.into() })
}

impl Protocol {
    /// Checks what the types cannot say: the winner words differ in the middle or at the end, category
    /// letters are unique, and the skeleton becomes a report when a winner is put behind it.
    pub fn check(&self) -> Result<(), ProtocolError> {
        check_word("winner_first", &self.winner_first)?;
        check_word("winner_second", &self.winner_second)?;
        if self.differing(&self.winner_first).is_empty() || self.differing(&self.winner_second).is_empty() {
            return refuse(
                "winner_second",
                "neither winner word may begin or end with the whole of the other",
            );
        }
        if self.categories.is_empty() || self.categories.len() > 26 {
            return refuse("categories", format!("{} names; give 1 to 26", self.categories.len()));
        }
        let mut letters = BTreeSet::new();
        for name in &self.categories {
            check_word("categories", name)?;
            match category_letter(name, &[]) {
                Some(letter) if letters.insert(letter) => {}
                Some(letter) => {
                    return refuse("categories", format!("two names begin with the letter {letter}"));
                }
                None => {
                    return refuse(
                        "categories",
                        "a name does not begin with a letter and a dot, as in `A. Name`",
                    );
                }
            }
        }
        self.check_skeleton()
    }

    fn check_skeleton(&self) -> Result<(), ProtocolError> {
        if self.skeleton.len() > MAX_SKELETON_BYTES {
            return refuse("skeleton", format!("{} bytes, over {MAX_SKELETON_BYTES}", self.skeleton.len()));
        }
        if self.skeleton.matches(CAPTION_JSON).count() != 1 {
            return refuse("skeleton", format!("must hold {CAPTION_JSON} exactly once"));
        }
        let skeleton = self.skeleton("a caption");
        let head = skeleton.head();
        let whole = format!("{head}{}}}", skeleton.first);
        let winner = head
            .find('{')
            .and_then(|open| scan::object(&whole, open).ok())
            .filter(|object| object.range.end == whole.len())
            .and_then(|object| object.members.into_iter().next_back());
        match winner {
            Some(last) if &whole[last.key.clone()] == "winner" && last.value.start + 1 == head.len() => {
                Ok(())
            }
            _ => refuse(
                "skeleton",
                "must be a JSON object up to the opening quote of its last value, `winner`",
            ),
        }
    }

    /// The forced text for a verdict without reasoning. `caption` is escaped as JSON text.
    pub fn skeleton(&self, caption: &str) -> Skeleton<'_> {
        let (before, after) = self.skeleton.split_once(CAPTION_JSON).unwrap_or((&self.skeleton, ""));
        let quoted = serde_json::Value::from(caption).to_string();
        Skeleton {
            before,
            caption: quoted[1..quoted.len() - 1].to_owned(),
            after,
            first: format!("{}\"", self.winner_first),
            second: format!("{}\"", self.winner_second),
        }
    }

    /// Bytes of `word`, one of the two winner words, that the other word does not share: the `1` of `Image
    /// 1`.
    pub(super) fn differing(&self, word: &str) -> std::ops::Range<usize> {
        let (a, b) = (&self.winner_first, &self.winner_second);
        let head: usize =
            a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
        let (a, b) = (&a[head..], &b[head..]);
        let tail: usize =
            a.chars().rev().zip(b.chars().rev()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
        head..word.len().saturating_sub(tail).max(head)
    }
}

fn check_word(field: &'static str, word: &str) -> Result<(), ProtocolError> {
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
