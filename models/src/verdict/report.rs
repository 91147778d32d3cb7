//! The report a model writes, and its way from text into types.

use super::problem::Problem;
use super::scan::{self, MAX_DEPTH, Object, Stop};
use serde::de::{DeserializeOwned, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

const SCORE_AS_TEXT: &str = "score written as text";

/// A model's whole written judgement, words as it wrote them. Keys that a report does not have are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The caption as the model repeats it. Never read for the verdict.
    pub prompt: String,
    /// The categories, in the order written; at least one.
    pub categories: Vec<Category>,
    /// Why the winner wins.
    pub reason: String,
    /// The winner in the protocol's words.
    pub winner: String,
}

/// One category of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Name as written; see [`category_letter`](super::category_letter).
    pub name: String,
    /// The dimensions that the model chose for this prompt; at least one.
    pub dims: Vec<Dim>,
    /// Why the category's winner wins.
    pub cat_reason: String,
    /// The category's winner in the protocol's words.
    pub cat_winner: String,
}

/// One dimension: two candidates share ten points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dim {
    /// Name as written.
    pub name: String,
    /// What speaks for or against the first candidate.
    pub reason_1: String,
    /// What speaks for or against the second candidate.
    pub reason_2: String,
    /// Score of the first candidate, finite, 0..=10.
    #[serde(deserialize_with = "score")]
    pub score_1: f64,
    /// Score of the second candidate, finite, 0..=10.
    #[serde(deserialize_with = "score")]
    pub score_2: f64,
}

/// A JSON number, and text refused by name: guessing what `"7/10"` means would be a guess.
fn score<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Score;
    impl Visitor<'_> for Score {
        type Value = f64;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number")
        }
        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<f64, E> {
            // Beyond 2^53 the nearest double is taken; it is out of range either way.
            Ok(value as f64)
        }
        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<f64, E> {
            Ok(value as f64)
        }
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<f64, E> {
            Err(E::custom(SCORE_AS_TEXT))
        }
        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<f64, E> {
            Err(E::invalid_type(Unexpected::Bool(value), &self))
        }
    }
    deserializer.deserialize_any(Score)
}

/// A score in a list of them; read as the scores of a dimension are.
pub(super) struct Score(pub(super) f64);

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Score, D::Error> {
        score(deserializer).map(Score)
    }
}

/// Finds the one object of an answer that has any of `keys`: bare, in a fence (closed or not), with prose around it.
///
/// A `{` opens JSON when a quote or `}` follows. A brace group without quotes and further braces is prose.
/// Anything else is malformed, and the answer with it: skipping on to a later `{` would let a report that a
/// caption smuggled into a broken string stand for the model's own.
pub(super) fn find(text: &str, keys: &[&str]) -> Result<Object, Problem> {
    let mut report: Option<Object> = None;
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|found| at + found) {
        at = match prose_group(text, open)? {
            Some(end) => end,
            None => {
                let object = scan::object(text, open).map_err(problem)?;
                let end = object.range.end;
                if object.members.iter().any(|member| keys.contains(&&text[member.key.clone()])) {
                    if let Some(first) = &report {
                        return Err(Problem::TwoReports { first: first.range.start, second: open });
                    }
                    report = Some(object);
                }
                end
            }
        };
    }
    report.ok_or(Problem::NoReport)
}

/// The end of a brace group that is prose, or `None` when JSON opens here.
fn prose_group(text: &str, open: usize) -> Result<Option<usize>, Problem> {
    let inner = &text[open + 1..];
    match inner.trim_start_matches([' ', '\t', '\r', '\n']).chars().next() {
        None => return Err(Problem::Unclosed),
        Some('"' | '}') => return Ok(None),
        Some(_) => {}
    }
    match inner.find(['{', '}', '"']) {
        None => Err(Problem::Unclosed),
        Some(end) if inner[end..].starts_with('}') => Ok(Some(open + 1 + end + 1)),
        Some(_) => Err(Problem::Malformed { at: open + 1, expected: "a key in double quotes" }),
    }
}

fn problem(stop: Stop) -> Problem {
    match stop {
        Stop::Cut => Problem::Unclosed,
        Stop::Malformed { at, expected } => Problem::Malformed { at, expected },
        Stop::NotFinite { at } => Problem::NotFinite { at },
        Stop::TooDeep { at } => Problem::TooDeep { at, limit: MAX_DEPTH },
    }
}

/// Reads the report that [`find`] found, and checks what types cannot say about its lists and scores.
pub(super) fn read(text: &str, object: &Object) -> Result<Report, Problem> {
    let report: Report = typed(text, object)?;
    if report.categories.is_empty() {
        return Err(Problem::Empty { place: "categories".to_owned() });
    }
    for (c, category) in report.categories.iter().enumerate() {
        if category.dims.is_empty() {
            return Err(Problem::Empty { place: format!("categories[{c}].dims") });
        }
        for (d, dim) in category.dims.iter().enumerate() {
            for (key, score) in [("score_1", dim.score_1), ("score_2", dim.score_2)] {
                if !(0.0..=10.0).contains(&score) {
                    return Err(Problem::ScoreOutOfRange {
                        place: format!("categories[{c}].dims[{d}].{key}"),
                        score,
                        low: 0.0,
                        high: 10.0,
                    });
                }
            }
        }
    }
    Ok(report)
}

/// An object as the type that it should be.
pub(super) fn typed<T: DeserializeOwned>(text: &str, object: &Object) -> Result<T, Problem> {
    serde_json::from_str(&text[object.range.clone()]).map_err(|e| refused(&e, object))
}

/// Names serde's refusal. Its own message may quote the model's text, so only its kind and place are kept.
fn refused(error: &serde_json::Error, object: &Object) -> Problem {
    let message = error.to_string();
    let field = || message.split('`').nth(1).unwrap_or_default().to_owned();
    if message.starts_with("missing field") {
        Problem::Missing { field: field() }
    } else if message.starts_with("duplicate field") {
        Problem::Duplicate { field: field() }
    } else if message.starts_with(SCORE_AS_TEXT) {
        Problem::ScoreAsText
    } else if error.is_data() {
        Problem::WrongType { line: error.line(), column: error.column() }
    } else {
        // The scanner has passed the grammar; what is left is an escape that is no character (a lone
        // surrogate).
        Problem::Malformed { at: object.range.start, expected: "escapes that are characters" }
    }
}
