//! Labelled pairs as written: our own rows, and those of two public preference sets.
//!
//! Bytes in, [`Row`]s out; nothing is opened. A line that is not what it should be is an error that names the line
//! and the field; a row of a public set that is whole, but asks for what cannot be judged yet, is refused by name
//! and counted.

mod fields;
mod genai_bench;
mod mmrb2;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use rewardrt_models::prompt::pack::Task;
use serde::{Serialize, Serializer};

use fields::Fields;

/// Most bytes of a file: a set of two thousand pairs with its pictures embedded is about that much.
pub const MAX_FILE_BYTES: usize = 1 << 30;
/// Most bytes of a line: two embedded pictures, each of the 20 MiB that a picture may have, in base64.
pub const MAX_LINE_BYTES: usize = 56 << 20;
/// Most rows: ten times the largest public preference set of pictures known to us.
pub const MAX_ROWS: usize = 100_000;
/// Most frames of a video; packs show eight.
pub const MAX_FRAMES: usize = 256;
/// Longest `id` and longest `kind` in bytes: they are printed in tables.
pub const MAX_NAME_BYTES: usize = 256;

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One [`Row`] a line.
    Rows,
    /// GenAI-Bench: one row of the data set a line, as its library exports JSON.
    GenaiBench,
    /// MMRB2: one JSON document with a list of pairs.
    Mmrb2,
}

impl Format {
    /// Every format with its name on the command line.
    pub const ALL: [(Format, &'static str); 3] =
        [(Format::Rows, "rows"), (Format::GenaiBench, "genai-bench"), (Format::Mmrb2, "mmrb2")];

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`RowsError`]: the first thing that is wrong.
    pub fn parse(self, bytes: &[u8]) -> Result<Input, RowsError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(RowsError::FileTooLong);
        }
        let input = match self {
            Format::Rows => {
                let rows = lines(bytes)?.map(|line| line.and_then(|(place, text)| Row::parse(&place, text)));
                Input { rows: rows.collect::<Result<_, _>>()?, refused: Vec::new() }
            }
            Format::GenaiBench => genai_bench::read(bytes)?,
            Format::Mmrb2 => mmrb2::read(bytes)?,
        };
        if input.rows.len() + input.refused.len() > MAX_ROWS {
            return Err(RowsError::TooManyRows);
        }
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(input.rows.len());
        for (at, row) in input.rows.iter().enumerate() {
            if let Some(first) = seen.insert(&row.id, at) {
                return Err(RowsError::SameId { id: row.id.clone(), first: first + 1, second: at + 1 });
            }
        }
        match input.rows.is_empty() && input.refused.is_empty() {
            true => Err(RowsError::Empty),
            false => Ok(input),
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The pairs, in the order of the file; their ids are unique.
    pub rows: Vec<Row>,
    /// What cannot be judged, in the order of the file.
    pub refused: Vec<Refusal>,
}

/// A row that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// A labelled pair. Written as JSON it is a line of the format `rows`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the pair, unique in its file.
    pub id: String,
    /// What both candidates were made for.
    pub prompt: String,
    /// Candidate a.
    pub a: Media,
    /// Candidate b.
    pub b: Media,
    /// Which one people preferred.
    pub label: Label,
    /// What is judged.
    pub task: Task,
    /// What the two differ in, in the words of whoever made the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl Row {
    /// The fields of a row: all but the last are required.
    const FIELDS: [&str; 7] = ["id", "prompt", "a", "b", "label", "task", "kind"];

    fn parse(place: &str, text: &str) -> Result<Row, RowsError> {
        let mut fields = Fields::parse(place, text)?;
        let row = Row {
            id: fields.name("id")?,
            prompt: fields.text("prompt")?,
            a: fields.media("a")?,
            b: fields.media("b")?,
            label: fields.label("label")?,
            task: fields.task("task")?,
            kind: fields.optional_name("kind")?,
        };
        fields.nothing_else(&Row::FIELDS)?;
        Ok(row)
    }
}

/// A candidate as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// Path of a picture or of a folder of frames, relative to the file that names it.
    Path(String),
    /// Paths of a video's frames, in order.
    Frames(Vec<String>),
    /// A picture that stands in the row itself; written as a `data:` URI.
    Embedded(Vec<u8>),
}

impl Serialize for Media {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Media::Path(path) => serializer.serialize_str(path),
            Media::Frames(paths) => paths.serialize(serializer),
            Media::Embedded(bytes) => serializer.serialize_str(&fields::data_uri(bytes)),
        }
    }
}

/// Which candidate of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Candidate a.
    A,
    /// Candidate b.
    B,
    /// Neither.
    Tie,
}

impl Label {
    /// Every label with its name.
    pub const ALL: [(Label, &'static str); 3] = [(Label::A, "a"), (Label::B, "b"), (Label::Tie, "tie")];

    /// Whether it names one of the two.
    pub fn decides(self) -> bool {
        self != Label::Tie
    }

    /// The label's name.
    pub fn name(self) -> &'static str {
        match self {
            Label::A => "a",
            Label::B => "b",
            Label::Tie => "tie",
        }
    }
}

/// Why a file of pairs is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RowsError {
    /// More bytes than [`MAX_FILE_BYTES`].
    #[error("the file has more than {MAX_FILE_BYTES} bytes; split it")]
    FileTooLong,
    /// More bytes than [`MAX_LINE_BYTES`].
    #[error("line {line} has {bytes} bytes, more than {MAX_LINE_BYTES}; name pictures by path")]
    LineTooLong {
        /// Number of the line, from 1.
        line: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// More rows than [`MAX_ROWS`].
    #[error("the file has more than {MAX_ROWS} rows; split it")]
    TooManyRows,
    /// No row at all.
    #[error("the file holds no row")]
    Empty,
    /// Not UTF-8.
    #[error("{place} is not UTF-8 text; save the file as UTF-8")]
    NotText {
        /// Which line.
        place: String,
    },
    /// Not the JSON that it should be.
    #[error("{place} is not the JSON object that it should be: {reason}")]
    Json {
        /// Which line or pair.
        place: String,
        /// What the parser says.
        reason: String,
    },
    /// A field that is missing, doubled, unknown or wrong.
    #[error("{place}, field `{field}`: {reason}")]
    Field {
        /// Which line or pair.
        place: String,
        /// Which field.
        field: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// Two rows of one id.
    #[error("rows {first} and {second} have the same id `{id}`; ids must be unique")]
    SameId {
        /// The id.
        id: String,
        /// Number of the first of them, from 1.
        first: usize,
        /// Number of the second.
        second: usize,
    },
}

/// The lines of a file with their places, `line 1` and so on; blank ones are passed over.
fn lines(bytes: &[u8]) -> Result<impl Iterator<Item = Result<(String, &str), RowsError>>, RowsError> {
    // Counted before anything is made of them, so that a file of short lines costs no memory.
    if bytes.iter().filter(|b| **b == b'\n').count() > 2 * MAX_ROWS {
        return Err(RowsError::TooManyRows);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let filled = |(_, line): &(usize, &[u8])| !line.trim_ascii().is_empty();
    Ok(bytes.split(|b| *b == b'\n').enumerate().filter(filled).map(|(at, line)| {
        let place = format!("line {}", at + 1);
        if line.len() > MAX_LINE_BYTES {
            return Err(RowsError::LineTooLong { line: at + 1, bytes: line.len() });
        }
        match std::str::from_utf8(line) {
            Ok(text) => Ok((place, text)),
            Err(_) => Err(RowsError::NotText { place }),
        }
    }))
}
