//! What the protocols of lines share: labels, numbers, and the marks that models put around both.

use super::problem::Problem;
use super::protocol::Dimension;

/// Blanks within a line, and the marks of emphasis and code.
fn soft(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '*' | '_' | '`')
}

/// What may stand in a line before a label: quotes, headings, list marks.
fn lead(c: char) -> bool {
    soft(c) || matches!(c, '#' | '>' | '-' | '+' | '\u{2022}' | '|')
}

/// What may stand between the scores of two candidates.
fn separator(c: char) -> bool {
    lead(c) || matches!(c, '\n' | ',' | ';')
}

/// A place in an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, which: fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(which).len();
    }

    pub(super) fn skip_soft(&mut self) {
        self.skip(soft);
    }

    pub(super) fn skip_separators(&mut self) {
        self.skip(separator);
    }

    /// Steps over a word when it stands here, ASCII case aside.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Reads a number: a sign, digits, digits after a point, an exponent; all but the digits may be absent.
    /// Nothing else is one: `.5`, `5e`, `1,000` and words are refused.
    pub(super) fn number(&mut self, place: &str) -> Result<f64, Problem> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits =
            |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
        let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
        let whole = digits(sign);
        if whole == 0 {
            return Err(match rest[sign..].chars().next() {
                None | Some('\n') => Problem::MissingScore { place: place.to_owned() },
                Some(c) if c.is_alphabetic() => Problem::ScoreAsText,
                Some(_) => Problem::Malformed { at: self.at, expected: "a number in digits" },
            });
        }
        let mut end = sign + whole;
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let power = digits(end + 1 + sign);
            end += if power > 0 { 1 + sign + power } else { 0 };
        }
        let value = rest[..end].parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or(Problem::NotFinite { at: self.at })?;
        self.at += end;
        Ok(value)
    }

    /// Nothing but marks and a full stop stands in the rest of the line: `4 or 5` is no score.
    pub(super) fn end_of_line(&self) -> Result<(), Problem> {
        let line = self.rest().split('\n').next().unwrap_or_default();
        match line.find(|c: char| !soft(c) && !matches!(c, '.' | ',' | ';' | '|')) {
            None => Ok(()),
            Some(at) => {
                Err(Problem::Malformed { at: self.at + at, expected: "the end of the line after a score" })
            }
        }
    }
}

/// Every place where a phrase stands as whole words, ASCII case aside.
pub(super) fn mentions(text: &str, phrase: &str) -> Vec<usize> {
    let (text, phrase) = (text.to_ascii_lowercase(), phrase.to_ascii_lowercase());
    let whole = |at: &usize| {
        let before = text[..*at].chars().next_back();
        let after = text[at + phrase.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    };
    text.match_indices(&phrase).map(|(at, _)| at).filter(whole).collect()
}

/// Whether a place is the beginning of its line, list marks and numbering aside.
pub(super) fn starts_line(text: &str, at: usize) -> bool {
    let head = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at];
    let head = head.trim_start_matches(lead);
    let rest = head.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = match rest.strip_prefix(['.', ')']) {
        Some(rest) if rest.len() + 1 < head.len() => rest,
        _ => head,
    };
    rest.trim_start_matches(lead).is_empty()
}

/// Steps over a label that stands at a place, and the colon after it; none when no colon follows.
pub(super) fn after_label<'a>(text: &'a str, at: usize, label: &str) -> Option<Cursor<'a>> {
    let mut cursor = Cursor { text, at: at + label.len() };
    cursor.skip_soft();
    if !cursor.eat(":") {
        return None;
    }
    cursor.skip_soft();
    Some(cursor)
}

/// As [`after_label`], and steps over the range in brackets that may stand between the two.
pub(super) fn after_dimension<'a>(
    text: &'a str,
    at: usize,
    dimension: &Dimension,
) -> Result<Option<Cursor<'a>>, Problem> {
    let mut cursor = Cursor { text, at: at + dimension.label.len() };
    cursor.skip_soft();
    let open = cursor.at;
    if cursor.eat("(") {
        cursor.skip_soft();
        let low = cursor.number(&dimension.name);
        cursor.skip_soft();
        let dash = cursor.eat("-") || cursor.eat("\u{2013}") || cursor.eat("to");
        cursor.skip_soft();
        let high = cursor.number(&dimension.name);
        cursor.skip_soft();
        let range = (low.ok(), high.ok()) == (Some(dimension.low), Some(dimension.high));
        if !(dash && range && cursor.eat(")")) {
            return Err(Problem::Malformed { at: open, expected: "the range that the pack gives" });
        }
        cursor.skip_soft();
    }
    if !cursor.eat(":") {
        return Ok(None);
    }
    cursor.skip_soft();
    Ok(Some(cursor))
}

/// Reads the score at the end of a line, with or without `/5` or `out of 5` behind it, where that is the highest
/// score; any other number there leaves open on which scale the first one is.
pub(super) fn score_on_scale(cursor: &mut Cursor<'_>, dimension: &Dimension) -> Result<f64, Problem> {
    let place = dimension.name.as_str();
    let value = cursor.number(place)?;
    let mut after = *cursor;
    after.skip_soft();
    if after.eat("/") || after.eat("out of ") {
        after.skip_soft();
        if after.number(place)? != dimension.high {
            return Err(Problem::OtherScale { place: place.to_owned(), high: dimension.high });
        }
        *cursor = after;
    }
    cursor.end_of_line()?;
    in_range(value, place, dimension.low, dimension.high)
}

/// The value, when it lies within the range.
pub(super) fn in_range(value: f64, place: &str, low: f64, high: f64) -> Result<f64, Problem> {
    match (low..=high).contains(&value) {
        true => Ok(value),
        false => Err(Problem::ScoreOutOfRange { place: place.to_owned(), score: value, low, high }),
    }
}

/// Takes a score that stands again, which must be the same.
pub(super) fn agree(known: &mut Option<f64>, value: f64, place: &str) -> Result<(), Problem> {
    match known {
        Some(known) if *known != value => Err(Problem::DoubledScore { place: place.to_owned() }),
        _ => {
            *known = Some(value);
            Ok(())
        }
    }
}

/// Reads `first: 0.6` and `second: 0.4`, in this order, on one line or on two.
pub(super) fn pair(cursor: &mut Cursor<'_>, words: [&str; 2], place: &str) -> Result<[f64; 2], Problem> {
    let mut values = [0.0; 2];
    for (value, word) in values.iter_mut().zip(words) {
        cursor.skip_separators();
        let start = cursor.at;
        let labelled = cursor.eat(word).then(|| after_label(cursor.text, start, word)).flatten();
        *cursor = labelled.ok_or_else(|| Problem::MissingScore { place: place.to_owned() })?;
        *value = cursor.number(place)?;
    }
    cursor.end_of_line()?;
    Ok(values)
}

/// Refuses another number that stands behind a candidate's label.
pub(super) fn no_other(text: &str, words: [&str; 2], values: [f64; 2], place: &str) -> Result<(), Problem> {
    for (word, value) in words.into_iter().zip(values) {
        let numbers = mentions(text, word).into_iter().filter_map(|at| after_label(text, at, word));
        for mut cursor in numbers {
            if cursor.number(place).is_ok_and(|again| again != value) {
                return Err(Problem::DoubledScore { place: place.to_owned() });
            }
        }
    }
    Ok(())
}
