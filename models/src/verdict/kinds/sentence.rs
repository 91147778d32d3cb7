//! `sentence`: one sentence says which candidate is better, with prose around it or without.

use super::super::lines::{mentions, starts_line};
use super::super::problem::Problem;
use super::super::protocol::{ProtocolError, Skeleton, check_word, refuse};
use super::super::{Winner, WinnerSpan};
use super::check_skeleton_size;
use super::phrase::Phrases;
use serde::Deserialize;

/// The `[answer]` table of kind `sentence`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentenceProtocol {
    /// The sentence by which the first candidate wins, without its full stop: `Image 1 is better`.
    pub first: String,
    /// The sentence by which the second candidate wins.
    pub second: String,
    /// The sentence by which neither wins; absent where the model must choose.
    pub tie: Option<String>,
    /// The words that stand before the verdict, such as `Overall Judgment:`; with them, a verdict counts
    /// behind them only, and the prose before may weigh both sides.
    pub lead: Option<String>,
    /// What a verdict-only request puts before the verdict; it may be empty. Absent: no such requests.
    pub skeleton: Option<String>,
}

impl SentenceProtocol {
    fn phrases(&self) -> Phrases<'_> {
        Phrases { first: &self.first, second: &self.second, tie: self.tie.as_deref() }
    }

    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
        self.phrases().check()?;
        if let Some(lead) = &self.lead {
            check_word("lead", lead)?;
            if !lead.ends_with(':') {
                return refuse("lead", "must end with a colon, as in `Overall Judgment:`");
            }
        }
        let Some(skeleton) = self.skeleton() else { return Ok(()) };
        check_skeleton_size(skeleton.before)?;
        for (end, winner) in [(&skeleton.first, Winner::First), (&skeleton.second, Winner::Second)] {
            if self.read(&format!("{}{end}.", skeleton.before)).map(|(found, _)| found) != Ok(winner) {
                return refuse("skeleton", "no verdict is read when a winner is put behind it");
            }
        }
        Ok(())
    }

    /// The verdict, and where it stands.
    pub(in super::super) fn read(&self, text: &str) -> Result<(Winner, Option<WinnerSpan>), Problem> {
        let phrases = self.phrases();
        let (winner, at) = match &self.lead {
            None => phrases.find(text)?,
            Some(lead) => led(text, lead, phrases)?,
        };
        Ok((winner, phrases.span(winner, at)))
    }

    /// The verdict as this protocol writes it; none for a tie that it has no words for.
    pub fn print(&self, winner: Winner) -> Option<String> {
        let lead = self.lead.as_ref().map_or_else(String::new, |lead| format!("{lead} "));
        Some(format!("{lead}{}.", self.phrases().of(winner)?))
    }

    pub(in super::super) fn skeleton(&self) -> Option<Skeleton<'_>> {
        let before = self.skeleton.as_deref()?;
        let (first, second) = (self.first.clone(), self.second.clone());
        Some(Skeleton { before, caption: String::new(), after: "", first, second })
    }

    pub(in super::super) fn fork(&self) -> [String; 2] {
        let head = match (&self.skeleton, &self.lead) {
            (Some(skeleton), _) => skeleton.clone(),
            (None, Some(lead)) => format!("{lead} "),
            (None, None) => String::new(),
        };
        [&self.first, &self.second].map(|phrase| format!("{head}{phrase}"))
    }
}

/// The verdict behind the lead. Every place behind a lead that gives a verdict must give the same one, and
/// one of them must begin its line.
fn led(text: &str, lead: &str, phrases: Phrases<'_>) -> Result<(Winner, usize), Problem> {
    let words = lead.trim_end_matches(':');
    let mut found: Option<(Winner, usize)> = None;
    let mut named: Option<(Winner, usize)> = None;
    for at in mentions(text, words) {
        let after = text[at + words.len()..].trim_start_matches(['*', '_', '`', ' ']);
        let Some(behind) = after.strip_prefix(':') else { continue };
        let behind = behind.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | '`'));
        let start = text.len() - behind.len();
        let (winner, place) = match phrases.find(behind.split('\n').next().unwrap_or_default()) {
            Ok((winner, offset)) => (winner, start + offset),
            Err(Problem::NoVerdict) => continue,
            Err(problem) => return Err(problem),
        };
        match named {
            Some((other, first)) if other != winner => {
                return Err(Problem::Contradictory { first, second: place });
            }
            _ => named = named.or(Some((winner, place))),
        }
        if starts_line(text, at) {
            found = found.or(Some((winner, place)));
        }
    }
    found.ok_or(Problem::NoVerdict)
}
