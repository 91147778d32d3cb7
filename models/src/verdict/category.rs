//! Category names as models write them, and the letter that each stands for.

use super::Winner;
use serde::Serialize;
use std::collections::BTreeSet;

/// The written winner of one category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CategoryWinner {
    /// Name as written.
    pub name: String,
    /// The category's letter; absent when the name tells none.
    pub letter: Option<char>,
    /// The written winner.
    pub winner: Winner,
}

/// The letter of a category name: its own (`A.`, `b)`, `C:`), or that of the known name that shares most
/// words.
///
/// Models drop the letter or reword the name now and then; keyed by the whole name, such a category would be
/// counted apart. A name is matched by words when it shares at least half of all words of the two, with one
/// known name only.
pub fn category_letter(name: &str, known: &[String]) -> Option<char> {
    if let Some((letter, _)) = split_letter(name) {
        return Some(letter);
    }
    let words = words(name);
    let mut best: Option<(f64, char)> = None;
    let mut shared = false;
    for (letter, rest) in known.iter().filter_map(|known| split_letter(known)) {
        let other = self::words(rest);
        let overlap = words.intersection(&other).count() as f64 / words.union(&other).count().max(1) as f64;
        match best {
            Some((most, _)) if overlap < most => {}
            Some((most, _)) if overlap == most => shared = true,
            _ => {
                best = Some((overlap, letter));
                shared = false;
            }
        }
    }
    best.filter(|&(overlap, _)| overlap >= 0.5 && !shared).map(|(_, letter)| letter)
}

/// A leading letter with its mark, and the rest. Markdown emphasis before it is skipped.
fn split_letter(name: &str) -> Option<(char, &str)> {
    let name = name.trim_start_matches(|c: char| c.is_whitespace() || c == '*');
    let mut chars = name.chars();
    let (letter, mark) = (chars.next()?, chars.next()?);
    let marked = letter.is_ascii_alphabetic() && matches!(mark, '.' | ':' | ')');
    marked.then(|| (letter.to_ascii_uppercase(), chars.as_str()))
}

fn words(name: &str) -> BTreeSet<String> {
    name.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && word != "and")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<char>) {
        let known =
            ["A. Semantic Alignment & Accuracy", "B. Image Quality & Realism", "C. Aesthetics & Artistry"];
        assert_eq!(category_letter(name, &known.map(str::to_owned)), expected, "{name}");
    }

    #[test]
    fn a_category_has_the_letter_it_is_written_with() {
        for name in ["A. Semantic Alignment & Accuracy", "a) semantics", "**A:** Alignment", " A.x"] {
            check(name, Some('A'));
        }
        check("D. Text Rendering", Some('D'));
        check("C. Semantic Alignment & Accuracy", Some('C'));
    }

    #[test]
    fn without_a_letter_the_words_decide_or_nothing_does() {
        check("Semantic Alignment & Accuracy", Some('A'));
        check("Semantic alignment and accuracy", Some('A'));
        check("Image Quality", Some('B'));
        check("AESTHETICS / ARTISTRY", Some('C'));
        for name in ["", "Text Rendering", "Quality", "A", "Aesthetics of Image Quality in the Large"] {
            check(name, None);
        }
        assert_eq!(category_letter("Quality", &["A. Quality".to_owned(), "B. quality!".to_owned()]), None);
    }
}
