//! `edit-json`: one JSON object `{"reasoning": .., "score": [20, 3]}`, bare, fenced, or with prose around it.

use super::super::lines::in_range;
use super::super::problem::Problem;
use super::super::protocol::{ProtocolError, check_names};
use super::super::report::{self, Score};
use super::super::score::NamedScore;
use serde::Deserialize;

/// Keys by which the answer is told from other objects.
pub(in super::super) const KEYS: [&str; 2] = ["score", "reasoning"];

/// A named score without a label of its own: its place in the list says which it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounded {
    /// Its name in results: lower-case letters, digits and underscores.
    pub name: String,
    /// The lowest score.
    pub low: f64,
    /// The highest score.
    pub high: f64,
}

/// The `[answer]` table of kind `edit-json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditJson {
    /// The scores in the order of the list.
    pub scores: Vec<Bounded>,
}

/// The object as written. Keys that it does not have are left out.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "reasoning")]
    _reasoning: String,
    score: Vec<Score>,
}

impl EditJson {
    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
        check_names("scores", self.scores.iter().map(|score| (score.name.as_str(), score.low, score.high)))
    }

    /// Every score, or the first reason why there are none.
    pub(in super::super) fn read(&self, text: &str) -> Result<Vec<NamedScore>, Problem> {
        let object = report::find(text, &KEYS)?;
        let written: Written = report::typed(text, &object)?;
        if written.score.len() != self.scores.len() {
            return Err(Problem::ScoreCount { found: written.score.len(), expected: self.scores.len() });
        }
        let named = |(bounds, score): (&Bounded, Score)| {
            let value = in_range(score.0, &bounds.name, bounds.low, bounds.high)?;
            Ok(NamedScore {
                name: bounds.name.clone(),
                value,
                low: Some(bounds.low),
                high: Some(bounds.high),
            })
        };
        self.scores.iter().zip(written.score).map(named).collect()
    }

    /// The scores as this protocol writes them, without a reason; none when they are not those of the pack.
    pub fn print(&self, scores: &[NamedScore]) -> Option<String> {
        let names = self.scores.iter().map(|score| score.name.as_str());
        let values: Vec<f64> = scores.iter().map(|score| score.value).collect();
        let fits = names.eq(scores.iter().map(|score| score.name.as_str()));
        fits.then(|| serde_json::json!({ "reasoning": "", "score": values }).to_string())
    }
}
