//! The sentences of a verdict, and where in an answer they stand.

use super::super::lines::{mentions, starts_line};
use super::super::problem::Problem;
use super::super::protocol::{ProtocolError, check_word, refuse};
use super::super::{Winner, WinnerSpan};
use std::ops::Range;

/// Words that open a concluding sentence and leave its meaning alone; any others before a verdict might deny it,
/// or make it depend on something.
const CLOSING: [&str; 7] = ["overall", "therefore", "thus", "hence", "so", "in conclusion", "in summary"];

/// The two or three sentences by which a model gives its verdict, without their full stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phrases<'a> {
    pub(super) first: &'a str,
    pub(super) second: &'a str,
    pub(super) tie: Option<&'a str>,
}

impl<'a> Phrases<'a> {
    /// Each phrase with its verdict.
    pub(super) fn all(self) -> impl Iterator<Item = (&'a str, Winner)> {
        let tie = self.tie.map(|tie| (tie, Winner::Tie));
        [(self.first, Winner::First), (self.second, Winner::Second)].into_iter().chain(tie)
    }

    /// The phrase of a verdict, if the protocol has one.
    pub(super) fn of(self, winner: Winner) -> Option<&'a str> {
        self.all().find(|(_, known)| *known == winner).map(|(phrase, _)| phrase)
    }

    pub(super) fn check(self) -> Result<(), ProtocolError> {
        let lower: Vec<String> = self.all().map(|(phrase, _)| phrase.to_ascii_lowercase()).collect();
        for ((phrase, winner), own) in self.all().zip(&lower) {
            let field = match winner {
                Winner::First => "first",
                Winner::Second => "second",
                Winner::Tie => "tie",
            };
            check_word(field, phrase)?;
            if phrase.ends_with('.') {
                return refuse(field, "leave out the full stop; it may be written or not");
            }
            if lower.iter().filter(|other| other.contains(own.as_str())).count() > 1 {
                return refuse(field, "no verdict may hold the whole of another");
            }
        }
        match differing(self.first, self.first, self.second).is_empty()
            || differing(self.second, self.first, self.second).is_empty()
        {
            true => refuse("second", "neither verdict may begin or end with the whole of the other"),
            false => Ok(()),
        }
    }

    /// Where a verdict of this length that begins at a byte stands; none for a tie, which has no token that
    /// the two winners share.
    pub(super) fn span(self, winner: Winner, start: usize) -> Option<WinnerSpan> {
        let phrase = self.of(winner).filter(|_| winner != Winner::Tie)?;
        let part = differing(phrase, self.first, self.second);
        Some(WinnerSpan {
            value: start..start + phrase.len(),
            differing: start + part.start..start + part.end,
        })
    }

    /// The one verdict that a text gives, and the byte where it is first given.
    ///
    /// A verdict is a sentence of its own: words before it on its line end with a mark (`.`, `!`, `?`, `:`,
    /// `;`), but for one of [`CLOSING`] and its comma, and it ends with a mark, or with the line. A verdict that goes on (`.. is better in colour, but`)
    /// gives none, and yet speaks against another.
    pub(super) fn find(self, text: &str) -> Result<(Winner, usize), Problem> {
        let mut given: Option<(Winner, usize)> = None;
        let mut named: Option<(Winner, usize)> = None;
        for (phrase, winner) in self.all() {
            for at in mentions(text, phrase) {
                match named {
                    Some((other, first)) if other != winner => {
                        let (first, second) = (first.min(at), first.max(at));
                        return Err(Problem::Contradictory { first, second });
                    }
                    _ => named = named.or(Some((winner, at))),
                }
                if is_sentence(text, at..at + phrase.len()) {
                    given = given.or(Some((winner, at)));
                }
            }
        }
        given.ok_or(Problem::NoVerdict)
    }
}

/// Bytes of `word`, one of the two, that the other does not share: the `1` of `Image 1`.
pub(super) fn differing(word: &str, a: &str, b: &str) -> Range<usize> {
    let head: usize = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    let (a, b) = (&a[head..], &b[head..]);
    let tail: usize =
        a.chars().rev().zip(b.chars().rev()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    head..word.len().saturating_sub(tail).max(head)
}

/// Whether a text ends with a word, ASCII case aside.
fn ends_with(text: &str, word: &str) -> bool {
    let start = text.len().checked_sub(word.len());
    start.and_then(|start| text.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(word))
}

fn is_sentence(text: &str, range: Range<usize>) -> bool {
    let mark = |c: char| matches!(c, '*' | '_' | '`' | '"' | '\'' | '#' | '>' | '-' | '(' | '[');
    let before = text[..range.start].trim_end_matches(|c: char| mark(c) || matches!(c, ' ' | '\t' | '\r'));
    let ender = |c: char| matches!(c, '\n' | '.' | '!' | '?' | ':' | ';');
    let open = |before: &str| before.trim_end_matches([' ', '\t']).chars().next_back().is_none_or(ender);
    let concluding = || {
        let before = before.strip_suffix(',')?;
        let word = CLOSING.iter().find(|word| ends_with(before, word))?;
        Some(open(before[..before.len() - word.len()].trim_end_matches(mark)))
    };
    let begins = starts_line(text, range.start) || open(before) || concluding() == Some(true);
    let closing = |c: char| matches!(c, '*' | '_' | '`' | '"' | '\'' | ')' | ']');
    let after = text[range.end..].trim_start_matches(closing);
    let rest = after.trim_start_matches([' ', '\t', '\r']);
    let ended = match after.strip_prefix(['.', '!', ';']) {
        Some(next) => !next.starts_with(char::is_alphanumeric),
        None => rest.is_empty() || rest.starts_with('\n'),
    };
    begins && ended
}
