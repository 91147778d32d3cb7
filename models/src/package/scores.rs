//! What the outputs of a score head mean: where they are read, what they are called, how they are standardised.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::manifest::ManifestError;
use super::validate::{positive, refuse, within};

/// Most outputs of a head, and most scores that are made of them: the published heads have three.
const MAX_WIDTH: u64 = 4096;
/// Most marker tokens of a prompt.
const MAX_MARKERS: usize = 64;
/// Longest name of a score or a marker, bytes.
const MAX_NAME: usize = 128;

/// The scores of a package whose decoder ends in a score head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Outputs of the head for each row that it is asked about.
    pub width: u32,
    /// The tokens whose hidden states the head is asked about.
    pub at: ReadAt,
    /// How the tokens of a picture are numbered for the rotary angles.
    pub pictures: PictureOrder,
    /// The scores, in the order in which they are told.
    pub scores: Vec<ScoreOutput>,
    /// Name of the sum of all scores, told after them, for models that define one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
}

/// Which tokens of the prompt the head is asked about: one row of outputs for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadAt {
    /// The last token that is not this padding token; the very last one when there is no padding token.
    Last(Option<u32>),
    /// These control tokens, in this order. The pack writes each of them once.
    Markers(Vec<Marker>),
}

/// A control token that marks where a score is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// How a pack writes it.
    pub token: String,
    /// Its id.
    pub id: u32,
}

/// How the tokens of a picture are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PictureOrder {
    /// By their place in the picture, as the base model does.
    Grid,
    /// One after the other, as text. Reward models whose reference calls the decoder without the pictures' grids
    /// were trained so.
    Sequence,
}

/// One score: `(output - mean) / std`, of one output at one of the tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreOutput {
    /// Its name.
    pub name: String,
    /// Which of the tokens, from 0.
    pub row: u32,
    /// Which output of the head at that token, from 0.
    pub column: u32,
    /// Subtracted from the output.
    pub mean: f64,
    /// Divides what is left.
    pub std: f64,
}

/// Why a prompt cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A marker stands in the prompt less or more often than once.
    #[error("the prompt holds {token} {times} times; the pack must write each marker of the package once")]
    Marker {
        /// The marker.
        token: String,
        /// How often it stands in the prompt.
        times: usize,
    },
    /// The markers stand in another order than the package lists them in.
    #[error("the pack writes {token} out of its turn; the package's markers stand in one order only")]
    Order {
        /// The first marker that comes too early.
        token: String,
    },
    /// A prompt of padding alone.
    #[error("the prompt holds no token but padding; give it some text")]
    Padding,
}

impl ReadAt {
    /// Number of tokens, hence of rows.
    pub fn rows(&self) -> usize {
        match self {
            ReadAt::Last(_) => 1,
            ReadAt::Markers(markers) => markers.len(),
        }
    }

    /// The markers, none for a head that is read at the last token.
    pub fn markers(&self) -> impl Iterator<Item = &Marker> {
        let markers = match self {
            ReadAt::Last(_) => &[][..],
            ReadAt::Markers(markers) => markers,
        };
        markers.iter()
    }

    /// The places in a prompt that the head is asked about, ascending.
    ///
    /// # Errors
    /// [`ReadError`] when the prompt has no such places.
    pub fn places(&self, ids: &[u32]) -> Result<Vec<usize>, ReadError> {
        let markers = match self {
            ReadAt::Last(padding) => {
                let last = ids.iter().rposition(|id| Some(*id) != *padding);
                return last.map(|place| vec![place]).ok_or(ReadError::Padding);
            }
            ReadAt::Markers(markers) => markers,
        };
        let mut places = Vec::with_capacity(markers.len());
        for Marker { token, id } in markers {
            let found: Vec<usize> = (0..ids.len()).filter(|&place| ids[place] == *id).collect();
            let token = || token.clone();
            match found[..] {
                [place] if places.last().is_some_and(|&before| before > place) => {
                    return Err(ReadError::Order { token: token() });
                }
                [place] => places.push(place),
                _ => return Err(ReadError::Marker { token: token(), times: found.len() }),
            }
        }
        Ok(places)
    }
}

impl Scores {
    /// The standardised scores of a head's outputs, `[rows, width]` in the order of [`Scores::at`]: each with its
    /// name, and the sum of all after them when the model defines one. None when an output that is needed is
    /// absent or when a score is no finite number.
    pub fn standardise(&self, outputs: &[Vec<f32>]) -> Option<Vec<(String, f64)>> {
        let one = |score: &ScoreOutput| {
            let output = outputs.get(score.row as usize)?.get(score.column as usize)?;
            let value = (f64::from(*output) - score.mean) / score.std;
            value.is_finite().then(|| (score.name.clone(), value))
        };
        let mut all = self.scores.iter().map(one).collect::<Option<Vec<_>>>()?;
        if let Some(name) = &self.total {
            let sum: f64 = all.iter().map(|(_, value)| value).sum();
            all.push((name.clone(), sum.is_finite().then_some(sum)?));
        }
        Some(all)
    }

    pub(super) fn validate(&self, vocabulary: u32) -> Result<(), ManifestError> {
        within("scores.width", u64::from(self.width), 1, MAX_WIDTH)?;
        self.validate_place(vocabulary)?;
        within("scores.scores", self.scores.len() as u64, 1, MAX_WIDTH)?;
        let mut names = BTreeSet::new();
        for (i, score) in self.scores.iter().enumerate() {
            let field = |name: &str| format!("scores.scores[{i}].{name}");
            if score.row as usize >= self.at.rows() {
                return refuse(field("row"), format!("{} of {} tokens", score.row, self.at.rows()));
            }
            if score.column >= self.width {
                return refuse(field("column"), format!("{} of {} outputs", score.column, self.width));
            }
            if !score.mean.is_finite() {
                return refuse(field("mean"), "not finite");
            }
            positive(&field("std"), score.std)?;
            check_name(&score.name, &field("name"), &mut names)?;
        }
        self.total.as_ref().map_or(Ok(()), |name| check_name(name, "scores.total", &mut names))
    }

    fn validate_place(&self, vocabulary: u32) -> Result<(), ManifestError> {
        let known = |field: &str, id: u32| {
            if id < vocabulary {
                return Ok(());
            }
            refuse(field, format!("{id} is not below the vocabulary of {vocabulary}"))
        };
        match &self.at {
            ReadAt::Last(padding) => padding.map_or(Ok(()), |id| known("scores.at.last", id)),
            ReadAt::Markers(markers) => {
                within("scores.at.markers", markers.len() as u64, 1, MAX_MARKERS as u64)?;
                let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
                for marker in markers {
                    known("scores.at.markers", marker.id)?;
                    check_name(&marker.token, "scores.at.markers", &mut names)?;
                    if !ids.insert(marker.id) {
                        return refuse("scores.at.markers", format!("{} stands twice", marker.id));
                    }
                }
                Ok(())
            }
        }
    }
}

/// A name is short, not empty, and stands once.
fn check_name<'a>(name: &'a str, field: &str, seen: &mut BTreeSet<&'a str>) -> Result<(), ManifestError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return refuse(field, format!("{name:?} is no name of 1 to {MAX_NAME} bytes"));
    }
    if !seen.insert(name) {
        return refuse(field, format!("{name:?} stands twice"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markers(ids: &[u32]) -> ReadAt {
        ReadAt::Markers(ids.iter().map(|&id| Marker { token: format!("<{id}>"), id }).collect())
    }

    /// The places of the tokens 5 to 9 in a prompt, or the error's text.
    fn check(at: &ReadAt, ids: &[u32], expected: Result<&[usize], &str>) {
        match (at.places(ids), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{at:?} in {ids:?}"),
            (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{got}"),
            (got, expected) => panic!("{at:?} in {ids:?} gave {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn the_last_token_is_the_last_that_is_no_padding() {
        check(&ReadAt::Last(None), &[5, 6, 0], Ok(&[2]));
        check(&ReadAt::Last(Some(0)), &[5, 0, 6, 0, 0], Ok(&[2]));
        check(&ReadAt::Last(Some(0)), &[0, 0], Err("padding"));
    }

    #[test]
    fn each_marker_stands_once_and_in_its_turn() {
        check(&markers(&[7, 9]), &[1, 7, 2, 9, 3], Ok(&[1, 3]));
        check(&markers(&[7, 9]), &[1, 9, 2, 7, 3], Err("<9> out of its turn"));
        check(&markers(&[7, 9]), &[1, 7, 2], Err("<9> 0 times"));
        check(&markers(&[7]), &[7, 7], Err("<7> 2 times"));
    }

    fn scores() -> Scores {
        let score = |name: &str, row, column, mean, std| ScoreOutput {
            name: name.to_owned(),
            row,
            column,
            mean,
            std,
        };
        let scores = vec![score("a", 0, 0, 1.0, 2.0), score("b", 1, 1, 0.0, 1.0)];
        let (at, pictures, total) = (markers(&[7, 9]), PictureOrder::Sequence, Some("sum".to_owned()));
        Scores { width: 2, at, pictures, scores, total }
    }

    #[test]
    fn scores_are_standardised_and_summed_or_not_told_at_all() {
        let named = |a, b, sum| Some(vec![("a".to_owned(), a), ("b".to_owned(), b), ("sum".to_owned(), sum)]);
        let told = |outputs: &[Vec<f32>]| scores().standardise(outputs);
        assert_eq!(told(&[vec![4.0, 8.0], vec![9.0, -2.0]]), named(1.5, -2.0, -0.5));
        assert_eq!(told(&[vec![4.0, 8.0]]), None, "a row is missing");
        assert_eq!(told(&[vec![f32::NAN, 8.0], vec![9.0, -2.0]]), None);
        assert_eq!(told(&[vec![f32::INFINITY, 8.0], vec![9.0, -2.0]]), None);
    }

    #[test]
    fn what_no_head_has_is_refused_by_its_field() {
        let refused = |change: &dyn Fn(&mut Scores), expected: &str| {
            let mut bad = scores();
            change(&mut bad);
            let error = bad.validate(10).expect_err("must be refused").to_string();
            assert!(error.contains(expected), "{error} does not name {expected}");
        };
        assert_eq!(scores().validate(10), Ok(()));
        refused(&|s| s.width = 0, "scores.width");
        refused(&|s| s.scores.clear(), "scores.scores");
        refused(&|s| s.scores[1].row = 2, "scores.scores[1].row");
        refused(&|s| s.scores[1].column = 2, "scores.scores[1].column");
        refused(&|s| s.scores[0].mean = f64::NAN, "scores.scores[0].mean");
        refused(&|s| s.scores[0].std = 0.0, "scores.scores[0].std");
        refused(&|s| s.scores[1].name = "a".to_owned(), "stands twice");
        refused(&|s| s.scores[1].name = String::new(), "scores.scores[1].name");
        refused(&|s| s.total = Some("b".to_owned()), "scores.total");
        refused(&|s| s.at = markers(&[7, 10]), "not below the vocabulary");
        refused(&|s| s.at = markers(&[7, 7]), "stands twice");
        refused(&|s| s.at = markers(&[]), "scores.at.markers");
        refused(&|s| s.at = ReadAt::Last(Some(10)), "scores.at.last");
    }
}
