//! `report`: one JSON object with categories, dimensions, scores, reasons, and the winner last.

use super::super::category::{CategoryWinner, category_letter};
use super::super::consistency::flags;
use super::super::problem::Problem;
use super::super::protocol::{ProtocolError, Skeleton, check_word, refuse};
use super::super::report::{self, Report};
use super::super::scan::{self, Object};
use super::super::{Outcome, Status, Winner, WinnerSpan};
use super::check_skeleton_size;
use super::phrase::differing;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Hole for the caption, JSON-escaped and without quotes, in a skeleton.
const CAPTION_JSON: &str = "{caption_json}";
/// Keys by which a report is told from other objects of an answer.
pub(in super::super) const KEYS: [&str; 2] = ["winner", "categories"];

/// The `[answer]` table of kind `report`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportProtocol {
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

impl ReportProtocol {
    /// Checks what the types cannot say: the winner words differ in the middle or at the end, category
    /// letters are unique, and the skeleton becomes a report when a winner is put behind it.
    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
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
        check_skeleton_size(&self.skeleton)?;
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

    /// Bytes of `word`, one of the two winner words, that the other word does not share.
    fn differing(&self, word: &str) -> std::ops::Range<usize> {
        differing(word, &self.winner_first, &self.winner_second)
    }

    /// The whole report, its winners and its disagreements.
    pub(in super::super) fn read(&self, text: &str) -> Result<Outcome, Problem> {
        let object = report::find(text, &KEYS)?;
        let report = report::read(text, &object)?;
        let winner = self.spoken(&report.winner, || "winner".to_owned())?;
        let mut category_winners = Vec::with_capacity(report.categories.len());
        for (c, category) in report.categories.iter().enumerate() {
            category_winners.push(CategoryWinner {
                name: category.name.clone(),
                letter: category_letter(&category.name, &self.categories),
                winner: self.spoken(&category.cat_winner, || format!("categories[{c}].cat_winner"))?,
            });
        }
        let flags = flags(&report, winner, &category_winners);
        Ok(Outcome {
            status: if flags.is_empty() { Status::Ok } else { Status::Inconsistent },
            winner: Some(winner),
            span: self.span(text, &object, &report.winner, winner),
            report: Some(report),
            category_winners,
            flags,
            scores: Vec::new(),
            problem: None,
        })
    }

    /// The winner that `written` names. Case and outer spaces are forgiven, nothing else is.
    fn spoken(&self, written: &str, place: impl Fn() -> String) -> Result<Winner, Problem> {
        let word = written.trim();
        for (known, winner) in [(&self.winner_first, Winner::First), (&self.winner_second, Winner::Second)] {
            if word.eq_ignore_ascii_case(known) {
                return Ok(winner);
            }
        }
        let lower = word.to_ascii_lowercase();
        let names_both = [&self.winner_first, &self.winner_second]
            .iter()
            .all(|known| lower.contains(&known[self.differing(known)].to_ascii_lowercase()));
        Err(if names_both {
            Problem::EchoedChoice { place: place() }
        } else {
            Problem::UnknownWinner { place: place() }
        })
    }

    fn span(&self, text: &str, object: &Object, written: &str, winner: Winner) -> Option<WinnerSpan> {
        let quoted =
            object.members.iter().find(|member| &text[member.key.clone()] == "winner")?.value.clone();
        if text.get(quoted.start + 1..quoted.end.checked_sub(1)?)? != written {
            return None;
        }
        let start = quoted.start + 1 + (written.len() - written.trim_start().len());
        let known = if winner == Winner::First { &self.winner_first } else { &self.winner_second };
        let differing = self.differing(known);
        Some(WinnerSpan {
            value: start..start + known.len(),
            differing: start + differing.start..start + differing.end,
        })
    }

    /// The report as JSON; reading it gives the same report.
    pub(in super::super) fn print(&self, report: &Report) -> Option<String> {
        serde_json::to_string(report).ok()
    }
}
