//! `think`: thoughts between `<think>` tags, then the verdict between `<answer>` tags.

use super::super::lines::mentions;
use super::super::problem::Problem;
use super::super::protocol::{ProtocolError, Skeleton, refuse};
use super::super::{Winner, WinnerSpan};
use super::check_skeleton_size;
use super::phrase::Phrases;
use serde::Deserialize;

/// What stands before the verdict in an answer without thoughts.
const HEAD: &str = "<think>\n\n</think>\n<answer>";

/// The `[answer]` table of kind `think`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinkProtocol {
    /// What stands between the answer's tags when the first candidate wins, without its full stop.
    pub first: String,
    /// What stands there when the second candidate wins.
    pub second: String,
    /// What stands there when neither wins; absent where the model must choose.
    pub tie: Option<String>,
    /// What a verdict-only request puts before the verdict: both think tags and the opening answer tag.
    /// Absent: no such requests.
    pub skeleton: Option<String>,
}

impl ThinkProtocol {
    fn phrases(&self) -> Phrases<'_> {
        Phrases { first: &self.first, second: &self.second, tie: self.tie.as_deref() }
    }

    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
        self.phrases().check()?;
        if let Some(phrase) = self.phrases().all().map(|(phrase, _)| phrase).find(|p| p.contains('<')) {
            return refuse("first", format!("`{phrase}` holds a tag"));
        }
        let Some(skeleton) = self.skeleton() else { return Ok(()) };
        check_skeleton_size(skeleton.before)?;
        for (end, winner) in [(&skeleton.first, Winner::First), (&skeleton.second, Winner::Second)] {
            let whole = format!("{}{end}</answer>", skeleton.before);
            if self.read(&whole).map(|(found, _)| found) != Ok(winner) {
                return refuse(
                    "skeleton",
                    "no verdict is read when a winner and `</answer>` are put behind it",
                );
            }
        }
        Ok(())
    }

    /// The verdict, and where it stands. The thoughts are not read. Each tag stands once: thoughts that
    /// repeat a caption with tags in it would else speak for the model. The opening think tag may be absent,
    /// for some chat templates write it into the prompt.
    pub(in super::super) fn read(&self, text: &str) -> Result<(Winner, Option<WinnerSpan>), Problem> {
        let [think, thought, answer, end] = ["<think>", "</think>", "<answer>", "</answer>"].map(|tag| {
            let mut places = text.match_indices(tag).map(|(at, _)| at);
            match (places.next(), places.next()) {
                (_, Some(_)) => Err(Problem::DoubledTag { tag }),
                (place, None) => Ok(place),
            }
        });
        let (think, thought, answer, end) = (think?, thought?, answer?, end?);
        let thought = thought.ok_or(Problem::MissingTag { tag: "</think>" })?;
        let answer = answer.ok_or(Problem::MissingTag { tag: "<answer>" })?;
        let end = end.ok_or(Problem::MissingTag { tag: "</answer>" })?;
        if think.is_some_and(|think| think > thought) || thought > answer || answer > end {
            return Err(Problem::Malformed { at: answer, expected: "thoughts before the answer" });
        }
        self.verdict(text, answer + "<answer>".len(), end)
    }

    fn verdict(&self, text: &str, start: usize, end: usize) -> Result<(Winner, Option<WinnerSpan>), Problem> {
        let written = text[start..end].trim_start();
        let start = end - written.len();
        let written = written.trim_end();
        let written = written.strip_suffix('.').unwrap_or(written);
        let phrases = self.phrases();
        if let Some((_, winner)) = phrases.all().find(|(phrase, _)| phrase.eq_ignore_ascii_case(written)) {
            return Ok((winner, phrases.span(winner, start)));
        }
        let named = phrases.all().filter_map(|(phrase, _)| mentions(written, phrase).first().copied());
        let mut named: Vec<usize> = named.map(|at| start + at).collect();
        named.sort_unstable();
        match named[..] {
            [first, second, ..] => Err(Problem::Contradictory { first, second }),
            _ => Err(Problem::UnknownWinner { place: "the text between the answer's tags".to_owned() }),
        }
    }

    /// The verdict as this protocol writes it, without thoughts; none for a tie that it has no words for.
    pub fn print(&self, winner: Winner) -> Option<String> {
        Some(format!("{HEAD}{}</answer>", self.phrases().of(winner)?))
    }

    pub(in super::super) fn skeleton(&self) -> Option<Skeleton<'_>> {
        let before = self.skeleton.as_deref()?;
        let (first, second) = (self.first.clone(), self.second.clone());
        Some(Skeleton { before, caption: String::new(), after: "", first, second })
    }

    pub(in super::super) fn fork(&self) -> [String; 2] {
        let head = self.skeleton.as_deref().unwrap_or(HEAD);
        [&self.first, &self.second].map(|phrase| format!("{head}{phrase}"))
    }
}
