//! `rewardrt pack import`: a prompt that the user has, in a reference client's script or a text file, becomes
//! a pack whose prompt is pinned by its hash, so that a checkpoint is asked in exactly the words it was
//! trained on.
//!
//! Scripts are read, never run. Whatever could be read in two ways is refused with the line it stands on.

mod lexer;
mod python;

use super::pack::{CAPTION_HOLE, Pack, PackError, Task};
use crate::package::hex;
use sha2::{Digest, Sha256};

/// Longest file that is read, in bytes: a script with a prompt in it is under 100 KiB.
pub const MAX_IMPORT_BYTES: usize = 1024 * 1024;
/// Words that a prompt asking for a report must hold: the keys that only this report has.
const REPORT_KEYS: [&str; 3] = ["categories", "cat_winner", "winner"];
/// A caption's place in text files and plain strings, as the reference clients name it.
const HOLE_NAMES: [&str; 3] = ["{caption}", "{prompt}", "{problem}"];

/// What the imported pack is to be.
#[derive(Debug, Clone, Copy)]
pub struct ImportOptions<'a> {
    /// Name of the new pack.
    pub name: &'a str,
    /// Its task; the answer protocol is that of the built-in pack for it.
    pub task: Task,
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
    /// Nothing asks for a report.
    #[error(
        "no {place} names the report's keys (categories, cat_winner, winner); give the file that holds the prompt, \
         or copy the prompt into a text file and import that"
    )]
    NoPrompt {
        /// What was looked at.
        place: String,
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
/// In a script the prompt is the one string, or concatenation of strings, that names the report's keys.
/// Python's escapes are undone, and doubled braces where Python would (f-strings, `.format`). In a text file
/// the bytes are taken as they are.
///
/// # Errors
/// [`ImportError`] names the line, or the choice that is left to the user.
pub fn import(file_name: &str, content: &str, options: &ImportOptions) -> Result<Imported, ImportError> {
    if content.len() > MAX_IMPORT_BYTES {
        return Err(ImportError::TooLarge { bytes: content.len() });
    }
    let parts = match file_name.to_ascii_lowercase().ends_with(".py") {
        true => script(content, options.at)?,
        false if asks_for_report(content) => named_holes(content),
        false => return Err(ImportError::NoPrompt { place: "text".to_owned() }),
    };
    let prompt = with_caption(&parts)?;
    let mut pack = Pack::for_task(options.task)?;
    pack.name = options.name.to_owned();
    pack.version = 1;
    pack.prompt_sha256 = hex(&Sha256::digest(prompt.as_bytes()));
    let description = pack.to_toml();
    let pack = Pack::parse(&description, &prompt)?;
    Ok(Imported { description, prompt, pack })
}

/// The one template of a script.
fn script(content: &str, at: Option<usize>) -> Result<Vec<Part>, ImportError> {
    // Python itself reads every line end of its source as one newline.
    let source = content.replace("\r\n", "\n").replace('\r', "\n");
    let tokens = lexer::tokens(&source)?;
    let mut found: Vec<python::Concatenation> = python::concatenations(&tokens)
        .into_iter()
        .filter(|found| asks_for_report(&found.raw_text(&source)))
        .filter(|found| at.is_none_or(|line| found.lines(&tokens).contains(&line)))
        .collect();
    match found.len() {
        0 => {
            let place =
                at.map_or_else(|| "string of the script".to_owned(), |line| format!("string at line {line}"));
            Err(ImportError::NoPrompt { place })
        }
        1 => python::parts(&found.swap_remove(0), &tokens, &source),
        _ => Err(ImportError::Several {
            lines: found.iter().map(|found| *found.lines(&tokens).start()).collect(),
        }),
    }
}

fn asks_for_report(text: &str) -> bool {
    REPORT_KEYS.iter().all(|key| text.contains(key))
}

/// Text with the usual names of a caption's place as holes; every other brace stays text.
fn named_holes(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((at, name)) = HOLE_NAMES.iter().filter_map(|name| Some((rest.find(name)?, *name))).min() {
        parts.push(Part::Text(rest[..at].to_owned()));
        parts.push(Part::Hole(name.trim_matches(['{', '}']).to_owned()));
        rest = &rest[at + name.len()..];
    }
    parts.push(Part::Text(rest.to_owned()));
    parts
}

/// The template as one text, its only hole written as a pack writes it.
fn with_caption(parts: &[Part]) -> Result<String, ImportError> {
    let holes: Vec<String> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Hole(name) => Some(name.clone()),
            Part::Text(_) => None,
        })
        .collect();
    if holes.len() != 1 {
        return Err(ImportError::Holes { holes });
    }
    Ok(parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Hole(_) => CAPTION_HOLE,
        })
        .collect())
}

#[cfg(test)]
mod tests;
