//! `rewardrt pack import`: a prompt that the user has, in a reference client's script or a text file, becomes
//! a pack whose prompt is pinned by its hash, so that a checkpoint is asked in exactly the words it was
//! trained on.
//!
//! Scripts are read, never run. Whatever could be read in two ways is refused with the line it stands on.

mod lexer;
mod python;

use super::pack::{
    ANSWER_HOLE, ANSWER_HOLES, CAPTION_HOLE, Pack, PackError, QUESTION_HOLE, Shown, TaskShape,
};
use crate::package::hex;
use sha2::{Digest, Sha256};

/// Longest file that is read, in bytes: a script with a prompt in it is under 100 KiB.
pub const MAX_IMPORT_BYTES: usize = 1024 * 1024;

/// The names by which the reference clients call the texts of a prompt, and the hole of a pack for each.
const CAPTION_NAMES: &[(&str, &str)] = &[
    ("caption", CAPTION_HOLE),
    ("prompt", CAPTION_HOLE),
    ("problem", CAPTION_HOLE),
    ("text_prompt", CAPTION_HOLE),
];
/// The same for the instruction of an edit.
const EDIT_NAMES: &[(&str, &str)] = &[
    ("caption", CAPTION_HOLE),
    ("prompt", CAPTION_HOLE),
    ("problem", CAPTION_HOLE),
    ("instruction", CAPTION_HOLE),
];
/// The same for a question and its answers.
const ANSWER_NAMES: &[(&str, &str)] = &[
    ("question", QUESTION_HOLE),
    ("query", QUESTION_HOLE),
    ("prompt", QUESTION_HOLE),
    ("problem", QUESTION_HOLE),
    ("answer", ANSWER_HOLE),
    ("response", ANSWER_HOLE),
    ("answer_1", ANSWER_HOLES[0]),
    ("answer_2", ANSWER_HOLES[1]),
    ("answer1", ANSWER_HOLES[0]),
    ("answer2", ANSWER_HOLES[1]),
    ("response_1", ANSWER_HOLES[0]),
    ("response_2", ANSWER_HOLES[1]),
    ("response1", ANSWER_HOLES[0]),
    ("response2", ANSWER_HOLES[1]),
];

/// The names of a task's texts.
fn names(shape: &TaskShape) -> &'static [(&'static str, &'static str)] {
    match (shape.holes, shape.shown) {
        ([], _) => &[],
        ([_], Some(Shown::Source)) => EDIT_NAMES,
        ([_], _) => CAPTION_NAMES,
        _ => ANSWER_NAMES,
    }
}

/// What the imported pack is to be.
#[derive(Debug, Clone, Copy)]
pub struct ImportOptions<'a> {
    /// Name of the new pack.
    pub name: &'a str,
    /// The pack whose task, answer protocol, frame rule and token limit the new one has.
    pub like: &'a Pack,
    /// A line, from 1, of the string to take when a script holds several.
    pub at: Option<usize>,
}

/// An imported pack: the contents of its two files, and the same parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Content of `pack.toml`.
    pub description: String,
    /// Content of `prompt.txt`: the original bytes, with `{caption}` for the caption's place.
    pub prompt: String,
    /// The pack of the two.
    pub pack: Pack,
}

/// Why a file gives no pack.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// Over [`MAX_IMPORT_BYTES`].
    #[error(
        "the file has {bytes} bytes, over the limit of {MAX_IMPORT_BYTES}; copy the prompt into a text file"
    )]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
    /// The script cannot be read.
    #[error("line {line}: {reason}; copy the prompt into a text file and import that")]
    Python {
        /// Line, from 1.
        line: usize,
        /// What cannot be read.
        reason: String,
    },
    /// Nothing asks for the answer.
    #[error(
        "no {place} names what the answer holds ({marks}); give the file that holds the prompt, copy the prompt \
         into a text file and import that, or name a pack with another answer to go by"
    )]
    NoPrompt {
        /// What was looked at.
        place: String,
        /// The words that were looked for.
        marks: String,
    },
    /// Several strings do.
    #[error("{} strings could be the prompt, at lines {}; choose one with --at LINE", .lines.len(), join(.lines))]
    Several {
        /// First line of each, from 1.
        lines: Vec<usize>,
    },
    /// The prompt has no place for the caption, or more than one.
    #[error(
        "the prompt has {} places for a caption ({}); it must have exactly one, written {{caption}} or {{prompt}}",
        .holes.len(), .holes.join(", ")
    )]
    Holes {
        /// The places found, as written.
        holes: Vec<String>,
    },
    /// The places for a question and its answers are not those of the task.
    #[error(
        "the prompt has the places ({}), and must have {expected}, each once; copy the prompt into a text file, \
         write its places so, and import that",
        .holes.join(", ")
    )]
    Places {
        /// The places found, as written.
        holes: Vec<String>,
        /// The places of the task.
        expected: String,
    },
    /// The result is no valid pack.
    #[error(transparent)]
    Pack(#[from] PackError),
}

fn join(lines: &[usize]) -> String {
    lines.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// A part of a template: text, or a place where a value is put in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The expression or name that stands there.
    Hole(String),
}

/// Makes a pack out of a reference client's script (`.py`) or a text file (any other name).
///
/// In a script the prompt is the one string, or concatenation of strings, that names what the answer must hold
/// (of a report, its keys). Python's escapes are undone, and doubled braces where Python would (f-strings,
/// `.format`). In a text file the bytes are taken as they are.
///
/// # Errors
/// [`ImportError`] names the line, or the choice that is left to the user.
pub fn import(file_name: &str, content: &str, options: &ImportOptions) -> Result<Imported, ImportError> {
    if content.len() > MAX_IMPORT_BYTES {
        return Err(ImportError::TooLarge { bytes: content.len() });
    }
    let wanted =
        Wanted { marks: options.like.answer.prompt_marks(), names: names(options.like.task.shape()) };
    let parts = match file_name.to_ascii_lowercase().ends_with(".py") {
        true => script(content, options.at, &wanted)?,
        false if wanted.asks(content) => named_holes(content, wanted.names),
        false => return Err(wanted.missing("text".to_owned())),
    };
    let prompt = with_holes(&parts, options.like.task.shape())?;
    let mut pack = options.like.clone();
    pack.name = options.name.to_owned();
    pack.version = 1;
    pack.prompt_sha256 = hex(&Sha256::digest(prompt.as_bytes()));
    let description = pack.to_toml();
    let pack = Pack::parse(&description, &prompt)?;
    Ok(Imported { description, prompt, pack })
}

/// What the prompt is known by.
struct Wanted<'a> {
    /// Words that it holds.
    marks: Vec<&'a str>,
    /// Names of its places, without braces, and the hole for each.
    names: &'static [(&'static str, &'static str)],
}

impl Wanted<'_> {
    fn asks(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        self.marks.iter().all(|mark| text.contains(&mark.to_ascii_lowercase()))
    }

    fn missing(&self, place: String) -> ImportError {
        ImportError::NoPrompt { place, marks: self.marks.join(", ") }
    }
}

/// The one template of a script.
fn script(content: &str, at: Option<usize>, wanted: &Wanted<'_>) -> Result<Vec<Part>, ImportError> {
    // Python itself reads every line end of its source as one newline.
    let source = content.replace("\r\n", "\n").replace('\r', "\n");
    let tokens = lexer::tokens(&source)?;
    let mut found: Vec<python::Concatenation> = python::concatenations(&tokens)
        .into_iter()
        .filter(|found| wanted.asks(&found.raw_text(&source)))
        .filter(|found| at.is_none_or(|line| found.lines(&tokens).contains(&line)))
        .collect();
    match found.len() {
        0 => {
            let place =
                at.map_or_else(|| "string of the script".to_owned(), |line| format!("string at line {line}"));
            Err(wanted.missing(place))
        }
        1 => python::parts(&found.swap_remove(0), &tokens, &source, wanted.names),
        _ => Err(ImportError::Several {
            lines: found.iter().map(|found| *found.lines(&tokens).start()).collect(),
        }),
    }
}

/// Text with the usual names of places as holes; every other brace stays text.
fn named_holes(text: &str, names: &[(&str, &str)]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    let next = |rest: &str| {
        let found = names.iter().filter_map(|(name, _)| Some((rest.find(&format!("{{{name}}}"))?, *name)));
        found.min()
    };
    while let Some((at, name)) = next(rest) {
        parts.push(Part::Text(rest[..at].to_owned()));
        parts.push(Part::Hole(name.to_owned()));
        rest = &rest[at + name.len() + 2..];
    }
    parts.push(Part::Text(rest.to_owned()));
    parts
}

/// The template as one text, its holes written as a pack writes them. Where the task has one text, the one hole
/// is its place, whatever it is called; where it has several, the name tells them apart.
fn with_holes(parts: &[Part], shape: &TaskShape) -> Result<String, ImportError> {
    let found =
        || parts.iter().filter_map(|part| if let Part::Hole(name) = part { Some(name) } else { None });
    let holes = || found().cloned().collect::<Vec<_>>();
    let places = || ImportError::Places { holes: holes(), expected: shape.holes.join(", ") };
    let mut written: Vec<&str> = match shape.holes {
        [only] if found().count() == 1 => vec![only],
        [_] => return Err(ImportError::Holes { holes: holes() }),
        _ => found().map(|name| hole_of(name)).collect::<Option<_>>().ok_or_else(places)?,
    };
    let mut sorted = written.clone();
    sorted.sort_unstable();
    let mut expected = shape.holes.to_vec();
    expected.sort_unstable();
    if sorted != expected {
        return Err(places());
    }
    written.reverse();
    let text = parts.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        Part::Hole(_) => written.pop().unwrap_or_default(),
    });
    Ok(text.collect())
}

/// The hole for an expression such as `item["question"]`: its last word tells.
fn hole_of(expression: &str) -> Option<&'static str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let last = expression.split(|c| !word(c)).rfind(|word| !word.is_empty())?;
    ANSWER_NAMES.iter().find(|(name, _)| last.eq_ignore_ascii_case(name)).map(|(_, hole)| *hole)
}

#[cfg(test)]
mod tests;
