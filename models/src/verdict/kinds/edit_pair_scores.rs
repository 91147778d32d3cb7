//! `edit-pair-scores`: one score for each of two edits. Scores may be negative, and may be whole numbers.

use super::super::lines::{Cursor, after_label, in_range, mentions, no_other, pair};
use super::super::problem::Problem;
use super::super::protocol::{ProtocolError, check_labels, check_names, refuse};
use super::super::score::PairScore;
use super::phrase::differing;
use serde::Deserialize;

/// The `[answer]` table of kind `edit-pair-scores`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditPairScores {
    /// The label of the first candidate, such as `Edited image 1`.
    pub first: String,
    /// The label of the second candidate.
    pub second: String,
    /// Name of the score in results.
    pub name: String,
    /// The lowest and the highest score; absent where any number will do.
    pub range: Option<[f64; 2]>,
}

impl EditPairScores {
    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
        let [low, high] = self.range.unwrap_or([0.0, 1.0]);
        check_names("name", [(self.name.as_str(), low, high)].into_iter())?;
        check_labels("second", [self.first.as_str(), self.second.as_str()].into_iter())?;
        match differing(&self.first, &self.first, &self.second).is_empty() {
            true => refuse("second", "neither label may begin or end with the whole of the other"),
            false => Ok(()),
        }
    }

    /// The two scores: behind their labels, or bare, when the answer holds nothing but two numbers.
    pub(in super::super) fn read(&self, text: &str) -> Result<Vec<PairScore>, Problem> {
        let words = [self.first.as_str(), self.second.as_str()];
        let labelled =
            |word: &str| mentions(text, word).into_iter().find(|at| after_label(text, *at, word).is_some());
        let values = match words.map(labelled) {
            [None, None] => self.bare(text)?,
            [Some(at), _] => {
                let values = pair(&mut Cursor { text, at }, words, &self.name)?;
                no_other(text, words, values, &self.name)?;
                values
            }
            [None, Some(_)] => return Err(Problem::MissingScore { place: self.name.clone() }),
        };
        for value in values {
            let [low, high] = self.range.unwrap_or([f64::MIN, f64::MAX]);
            in_range(value, &self.name, low, high)?;
        }
        Ok(vec![PairScore { name: self.name.clone(), first: values[0], second: values[1] }])
    }

    /// Two numbers and nothing else but what separates and encloses them.
    fn bare(&self, text: &str) -> Result<[f64; 2], Problem> {
        let cover = |c: char| matches!(c, '[' | ']' | '(' | ')' | ',' | ';' | '*' | '`') || c.is_whitespace();
        let words: Vec<&str> = text.split(cover).filter(|word| !word.is_empty()).collect();
        let number = |word: &str| {
            let at = word.as_ptr() as usize - text.as_ptr() as usize;
            let mut cursor = Cursor { text, at };
            let value = cursor.number(&self.name)?;
            match &text[cursor.at..at + word.len()] {
                "" | "." => Ok(value),
                _ => Err(Problem::Malformed { at, expected: "two numbers and nothing else" }),
            }
        };
        match words[..] {
            [first, second] => Ok([number(first)?, number(second)?]),
            [] | [_] => Err(Problem::MissingScore { place: self.name.clone() }),
            _ => Err(Problem::ScoreCount { found: words.len(), expected: 2 }),
        }
    }

    /// The scores as this protocol writes them; none when they are not those of the pack.
    pub fn print(&self, scores: &[PairScore]) -> Option<String> {
        match scores {
            [score] if score.name == self.name => {
                let (first, second) = (&self.first, &self.second);
                Some(format!("{first}: {}\n{second}: {}\n", score.first, score.second))
            }
            _ => None,
        }
    }
}
