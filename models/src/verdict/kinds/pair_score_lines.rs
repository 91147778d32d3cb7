//! `pair-score-lines`: for each dimension a heading, and behind it a score for each of the two candidates.
//!
//! ```text
//! Alignment Score:
//!  Image 1: 0.7
//!  Image 2: 0.3
//! ```

use super::super::consistency::Flag;
use super::super::lines::{Cursor, after_dimension, in_range, mentions, no_other, pair, starts_line};
use super::super::problem::Problem;
use super::super::protocol::{Dimension, ProtocolError, check_labels, check_names, refuse};
use super::super::score::PairScore;
use super::phrase::differing;
use serde::Deserialize;

/// The `[answer]` table of kind `pair-score-lines`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairScoreLines {
    /// The label of the first candidate, such as `Image 1`.
    pub first: String,
    /// The label of the second candidate.
    pub second: String,
    /// What the two scores of a dimension sum to.
    pub sum: f64,
    /// How far from it a sum may be; beyond, the answer is inconsistent.
    pub tolerance: f64,
    /// The dimensions, in the order of the results; all must be written, in any order.
    pub dimensions: Vec<Dimension>,
}

impl PairScoreLines {
    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
        let dimensions = self.dimensions.iter();
        check_names("dimensions", dimensions.clone().map(|d| (d.name.as_str(), d.low, d.high)))?;
        let labels = [self.first.as_str(), self.second.as_str()].into_iter();
        check_labels("dimensions", labels.chain(dimensions.map(|d| d.label.as_str())))?;
        if differing(&self.first, &self.first, &self.second).is_empty() {
            return refuse("second", "neither label may begin or end with the whole of the other");
        }
        match self.sum.is_finite() && self.tolerance.is_finite() && self.tolerance >= 0.0 {
            true => Ok(()),
            false => refuse("tolerance", "sum and tolerance must be numbers, and the tolerance not negative"),
        }
    }

    /// Every dimension's two scores, or the first reason why there are none.
    pub(in super::super) fn read(&self, text: &str) -> Result<Vec<PairScore>, Problem> {
        let mut headings = Vec::new();
        for (index, dimension) in self.dimensions.iter().enumerate() {
            for at in mentions(text, &dimension.label) {
                if let Some(cursor) = heading(text, at, dimension)? {
                    headings.push((at, cursor.at, index));
                }
            }
        }
        headings.sort_unstable();
        let mut found: Vec<Option<PairScore>> = vec![None; self.dimensions.len()];
        for (n, &(_, start, index)) in headings.iter().enumerate() {
            let end = headings.get(n + 1).map_or(text.len(), |next| next.0);
            let score = self.one(Cursor { text: &text[..end], at: start }, &self.dimensions[index])?;
            match &found[index] {
                Some(known) if *known != score => return Err(Problem::DoubledScore { place: score.name }),
                _ => found[index] = Some(score),
            }
        }
        let missing = |d: &Dimension| Problem::MissingScore { place: d.name.clone() };
        found.into_iter().zip(&self.dimensions).map(|(score, d)| score.ok_or_else(|| missing(d))).collect()
    }

    fn one(&self, mut cursor: Cursor<'_>, dimension: &Dimension) -> Result<PairScore, Problem> {
        let (words, name) = ([self.first.as_str(), self.second.as_str()], dimension.name.as_str());
        let values = pair(&mut cursor, words, name)?;
        no_other(cursor.rest(), words, values, name)?;
        for value in values {
            in_range(value, name, dimension.low, dimension.high)?;
        }
        Ok(PairScore { name: name.to_owned(), first: values[0], second: values[1] })
    }

    /// The dimensions whose scores do not share out the whole.
    pub(in super::super) fn flags(&self, scores: &[PairScore]) -> Vec<Flag> {
        let sums = scores.iter().map(|score| score.first + score.second).enumerate();
        sums.filter(|(_, sum)| (sum - self.sum).abs() > self.tolerance)
            .map(|(dimension, sum)| Flag::SumOff { dimension, sum, expected: self.sum })
            .collect()
    }

    /// The scores as this protocol writes them; none when they are not those of the pack.
    pub fn print(&self, scores: &[PairScore]) -> Option<String> {
        let fits = scores.len() == self.dimensions.len();
        let one = |(dimension, score): (&Dimension, &PairScore)| {
            let (first, second) = (&self.first, &self.second);
            (dimension.name == score.name).then(|| {
                format!("{}:\n {first}: {}\n {second}: {}\n", dimension.label, score.first, score.second)
            })
        };
        self.dimensions.iter().zip(scores).map(one).collect::<Option<String>>().filter(|_| fits)
    }
}

/// Where the scores behind a heading begin. A heading begins its line; a colon or the line's end follows.
fn heading<'a>(text: &'a str, at: usize, dimension: &Dimension) -> Result<Option<Cursor<'a>>, Problem> {
    if !starts_line(text, at) {
        return Ok(None);
    }
    if let Some(cursor) = after_dimension(text, at, dimension)? {
        return Ok(Some(cursor));
    }
    let mut cursor = Cursor { text, at: at + dimension.label.len() };
    cursor.skip_soft();
    Ok(cursor.rest().starts_with('\n').then_some(cursor))
}
