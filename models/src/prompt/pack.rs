//! Packs: the prompts and the answer protocol of one reward model line and task. Data, no Rust.
//!
//! A pack is a folder with two files, [`PACK_FILE`] and [`PROMPT_FILE`]; no path ever comes out of a pack.
//! The prompt is used byte for byte, and every piece of what is made from it says who wrote it.

mod builtin;
mod frames;
mod task;
mod text;
mod write;

pub use builtin::builtin_names;
pub use frames::{FrameBounds, FrameIndexError, FrameRule, FrameRuleError, MAX_FRAMES};
pub use task::{ANSWER_HOLE, ANSWER_HOLES, CAPTION_HOLE, Candidate, QUESTION_HOLE, Shown, Task, TaskShape};
pub use text::{Piece, PromptText};

use crate::package::hex;
use crate::verdict::{AnswerKind, Protocol, ProtocolError, Skeleton};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of a pack's description.
pub const PACK_FILE: &str = "pack.toml";
/// Name of a pack's prompt.
pub const PROMPT_FILE: &str = "prompt.txt";
/// Version of the pack format that this code reads.
pub const PACK_FORMAT: u32 = 1;
/// Longest caption, question or answer, in bytes: about 4,000 tokens of English, as much as the answer may have.
pub const MAX_CAPTION_BYTES: usize = 16 * 1024;
/// Longest prompt, in bytes: ten times the 760 tokens of the longest published one known to us.
pub const MAX_PROMPT_BYTES: usize = 32 * 1024;
/// Longest description, in bytes.
pub const MAX_PACK_BYTES: usize = 32 * 1024;
/// Most tokens an answer may have: a report of four categories with five dimensions each is about 2,200, and
/// the reference client asks for the same bound.
pub const MAX_NEW_TOKENS: u32 = 4096;

/// Where the media stand in the user turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaOrder {
    /// All media, then one text part: what is shown beside the candidates (the source of edits, or what a
    /// question is about), then the first candidate, then the second.
    BeforeText,
}

/// How the frames of a video are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FramesAs {
    /// As pictures, one after the other.
    #[default]
    Pictures,
    /// As one video, whose frames share temporal patches.
    Video,
}

/// One reward model line and task: how it is asked, and how it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    /// Name: lower-case letters, digits and hyphens.
    pub name: String,
    /// Version of this pack; raised whenever a word of it changes.
    pub version: u32,
    /// What is judged.
    pub task: Task,
    /// Where the media stand.
    pub media: MediaOrder,
    /// Which frames of a video are shown; present for tasks with videos only, and absent where a video is sent as one
    /// and the package's own rule chooses.
    pub frames: Option<FrameRule>,
    /// How they are sent.
    pub frames_as: FramesAs,
    /// Most tokens of an answer, 1..=[`MAX_NEW_TOKENS`]; 0 where the answer is no words.
    pub max_new_tokens: u32,
    /// How the answer is written.
    pub answer: Protocol,
    /// The prompt, byte for byte, with each hole of the task once. Any other brace is ordinary text.
    pub prompt: String,
    /// SHA-256 of the prompt's bytes, lower-case hex.
    pub prompt_sha256: String,
}

/// Which pack a verdict was asked with; part of every result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackIdentity {
    /// Name of the pack.
    pub name: String,
    /// Version of the pack.
    pub version: u32,
    /// SHA-256 of its prompt.
    pub prompt_sha256: String,
}

/// `pack.toml` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    name: String,
    version: u32,
    task: Task,
    media: MediaOrder,
    frames: Option<String>,
    #[serde(default)]
    frames_as: FramesAs,
    max_new_tokens: Option<u32>,
    prompt_sha256: Option<String>,
    answer: Protocol,
}

/// Why a pack, or a request to it, is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PackError {
    /// `pack.toml` is no TOML, or has an unknown, missing or doubled key.
    #[error("pack.toml cannot be read: {0}")]
    Toml(String),
    /// A field holds a value that no pack may have.
    #[error("pack.toml: {field}: {reason}")]
    Field {
        /// Dotted name of the field.
        field: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The answer protocol is unusable.
    #[error("pack.toml: {0}")]
    Answer(#[from] ProtocolError),
    /// The prompt text is unusable.
    #[error("prompt.txt: {0}")]
    Prompt(String),
    /// The prompt is not the one that was pinned.
    #[error(
        "prompt.txt has SHA-256 {found}, but pack.toml pins {pinned}; restore the prompt, or pin the new one and \
         raise the version"
    )]
    PromptChanged {
        /// Hash in `pack.toml`.
        pinned: String,
        /// Hash of the text.
        found: String,
    },
    /// No built-in pack of that name.
    #[error("no built-in pack is named `{name}`; there are {known}, or give the folder of a pack")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The built-in names.
        known: String,
    },
    /// A caption, instruction or question over [`MAX_CAPTION_BYTES`]; none is ever cut.
    #[error("the caption is {bytes} bytes long, over the limit of {MAX_CAPTION_BYTES}; shorten it")]
    CaptionTooLong {
        /// Bytes of the caption.
        bytes: usize,
    },
    /// An answer over [`MAX_CAPTION_BYTES`]; answers are never cut.
    #[error("an answer is {bytes} bytes long, over the limit of {MAX_CAPTION_BYTES}; shorten it")]
    AnswerTooLong {
        /// Bytes of the answer.
        bytes: usize,
    },
    /// Another number of answers than the task is about.
    #[error("{task} takes {expected} answers in words, not {found}; give those, or choose another task")]
    Answers {
        /// Name of the task.
        task: &'static str,
        /// Answers that it takes.
        expected: usize,
        /// Answers given.
        found: usize,
    },
    /// A caption for a task that has no place for one.
    #[error("{task} looks at the picture alone and has no place for a prompt; leave the prompt empty")]
    NoCaption {
        /// Name of the task.
        task: &'static str,
    },
    /// No verdict can be forced.
    #[error(
        "pack {name} ({kind}) has no skeleton, so there is no verdict without its written answer; ask without \
         verdict_only, or choose a pack with a skeleton"
    )]
    NoSkeleton {
        /// Name of the pack.
        name: String,
        /// Kind of its answer.
        kind: &'static str,
    },
}

fn refuse<T>(field: &'static str, reason: impl Into<String>) -> Result<T, PackError> {
    Err(PackError::Field { field, reason: reason.into() })
}

impl Pack {
    /// Reads a pack from the contents of its two files.
    ///
    /// # Errors
    /// [`PackError`] names the field, or what is wrong with the prompt.
    pub fn parse(description: &str, prompt: &str) -> Result<Pack, PackError> {
        if description.len() > MAX_PACK_BYTES {
            return Err(PackError::Toml(format!(
                "{} bytes, over the limit of {MAX_PACK_BYTES}",
                description.len()
            )));
        }
        let written: Written = toml::from_str(description).map_err(|e| PackError::Toml(e.to_string()))?;
        check_fields(&written)?;
        written.answer.check()?;
        let shape = written.task.shape();
        let kind = written.answer.kind();
        if kind.candidates() != shape.candidates {
            let (task, takes, kind) = (shape.name, shape.takes(), kind.name());
            let reason =
                format!("{kind} is no answer about {takes}, which {task} takes; choose another kind");
            return refuse("answer.kind", reason);
        }
        check_prompt(prompt, shape)?;
        if let Protocol::Head(head) = &written.answer {
            head.check_prompt(prompt).map_err(PackError::Prompt)?;
        }
        let prompt_sha256 = hex(&Sha256::digest(prompt.as_bytes()));
        if let Some(pinned) = written.prompt_sha256.filter(|pinned| *pinned != prompt_sha256) {
            return Err(PackError::PromptChanged { pinned, found: prompt_sha256 });
        }
        let frames = written.frames.as_deref().map(str::parse).transpose();
        let frames = frames
            .map_err(|e: FrameRuleError| PackError::Field { field: "frames", reason: e.to_string() })?;
        // A package that shows videos as such says which frames; one that ends in a head of scores does not.
        let left_to_package = written.frames_as == FramesAs::Video && kind != AnswerKind::Head;
        match (shape.has_frames(), frames) {
            (true, None) if !left_to_package => {
                return refuse("frames", "missing; a video task needs one, as `linspace-trunc:8`");
            }
            (false, Some(_)) => {
                return refuse("frames", "only video tasks have frames; take it out");
            }
            (false, None) if written.frames_as == FramesAs::Video => {
                return refuse("frames_as", "only video tasks have frames; take it out");
            }
            _ => {}
        }
        Ok(Pack {
            name: written.name,
            version: written.version,
            task: written.task,
            media: written.media,
            frames,
            frames_as: written.frames_as,
            max_new_tokens: written.max_new_tokens.unwrap_or_default(),
            answer: written.answer,
            prompt: prompt.to_owned(),
            prompt_sha256,
        })
    }

    /// The forced start of a verdict-only answer for a caption, and its two continuations.
    ///
    /// # Errors
    /// [`PackError::CaptionTooLong`]; [`PackError::NoSkeleton`] when this pack has no such answers.
    pub fn skeleton(&self, caption: &str) -> Result<Skeleton<'_>, PackError> {
        text::check_caption(caption)?;
        self.answer
            .skeleton(caption)
            .ok_or_else(|| PackError::NoSkeleton { name: self.name.clone(), kind: self.answer.kind().name() })
    }

    /// What a result records of this pack.
    pub fn identity(&self) -> PackIdentity {
        PackIdentity {
            name: self.name.clone(),
            version: self.version,
            prompt_sha256: self.prompt_sha256.clone(),
        }
    }
}

fn check_fields(written: &Written) -> Result<(), PackError> {
    if written.format != PACK_FORMAT {
        return refuse(
            "format",
            format!("{} is not the format {PACK_FORMAT} that this version reads", written.format),
        );
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if written.name.is_empty() || written.name.len() > 64 || !written.name.bytes().all(plain) {
        return refuse("name", "must be 1 to 64 lower-case letters, digits and hyphens");
    }
    match (written.max_new_tokens, &written.answer) {
        (None, Protocol::Head(_)) => Ok(()),
        (Some(_), Protocol::Head(_)) => refuse("max_new_tokens", "a head writes no tokens; take it out"),
        (Some(tokens), _) if (1..=MAX_NEW_TOKENS).contains(&tokens) => Ok(()),
        (Some(tokens), _) => refuse("max_new_tokens", format!("{tokens} is not within 1..={MAX_NEW_TOKENS}")),
        (None, _) => refuse("max_new_tokens", "missing; most tokens of an answer"),
    }
}

fn check_prompt(prompt: &str, shape: &TaskShape) -> Result<(), PackError> {
    if prompt.len() > MAX_PROMPT_BYTES {
        return Err(PackError::Prompt(format!(
            "{} bytes, over the limit of {MAX_PROMPT_BYTES}",
            prompt.len()
        )));
    }
    text::check_holes(prompt, shape.holes)
}

#[cfg(test)]
mod tests;
