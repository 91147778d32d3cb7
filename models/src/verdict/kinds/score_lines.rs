//! `score-lines`: lines such as `Alignment Score (1-5): 3.5`, one for each score that the pack names.
//!
//! Other lines are not read. A label within a line counts for nothing, but where a number follows it, it
//! must be that of the label's own line.

use super::super::lines::{after_dimension, agree, mentions, score_on_scale, starts_line};
use super::super::problem::Problem;
use super::super::protocol::{Dimension, ProtocolError, check_labels, check_names};
use super::super::score::NamedScore;
use serde::Deserialize;

/// The `[answer]` table of kind `score-lines`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreLines {
    /// The lines, in the order of the results; all must be written, in any order.
    pub lines: Vec<Dimension>,
}

impl ScoreLines {
    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
        check_names("lines", self.lines.iter().map(|line| (line.name.as_str(), line.low, line.high)))?;
        check_labels("lines", self.lines.iter().map(|line| line.label.as_str()))
    }

    /// Every score, or the first reason why there are none.
    pub(in super::super) fn read(&self, text: &str) -> Result<Vec<NamedScore>, Problem> {
        self.lines.iter().map(|line| one(text, line)).collect()
    }

    /// The scores as this protocol writes them; none when they are not those of the pack.
    pub fn print(&self, scores: &[NamedScore]) -> Option<String> {
        let fits = scores.len() == self.lines.len();
        let line = |(line, score): (&Dimension, &NamedScore)| {
            (line.name == score.name).then(|| format!("{}: {}\n", line.label, score.value))
        };
        self.lines.iter().zip(scores).map(line).collect::<Option<String>>().filter(|_| fits)
    }
}

fn one(text: &str, line: &Dimension) -> Result<NamedScore, Problem> {
    let (mut written, mut aside) = (None, Vec::new());
    for at in mentions(text, &line.label) {
        if starts_line(text, at) {
            let Some(mut cursor) = after_dimension(text, at, line)? else { continue };
            let value = score_on_scale(&mut cursor, line)?;
            agree(&mut written, value, &line.name)?;
        } else if let Ok(Some(mut cursor)) = after_dimension(text, at, line) {
            aside.extend(cursor.number(&line.name));
        }
    }
    let value = written.ok_or_else(|| Problem::MissingScore { place: line.name.clone() })?;
    aside.into_iter().try_for_each(|other| agree(&mut written, other, &line.name))?;
    Ok(NamedScore { name: line.name.clone(), value, low: Some(line.low), high: Some(line.high) })
}
