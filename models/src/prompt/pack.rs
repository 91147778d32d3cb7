//! Packs: the prompts and the answer protocol of one reward model line and task. Data, no Rust.
//!
//! A pack is a folder with two files, [`PACK_FILE`] and [`PROMPT_FILE`]; no path ever comes out of a pack.
//! The prompt is used byte for byte, and every piece of what is made from it says who wrote it.

mod frames;

pub use frames::{FrameRule, FrameRuleError};

use crate::package::hex;
use crate::verdict::{Protocol, ProtocolError, Skeleton};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of a pack's description.
pub const PACK_FILE: &str = "pack.toml";
/// Name of a pack's prompt.
pub const PROMPT_FILE: &str = "prompt.txt";
/// The place of the caption in a prompt. Any other brace is ordinary text.
pub const CAPTION_HOLE: &str = "{caption}";
/// Version of the pack format that this code reads.
pub const PACK_FORMAT: u32 = 1;
/// Longest caption, in bytes: about 4,000 tokens of English, as much as the answer may have.
pub const MAX_CAPTION_BYTES: usize = 16 * 1024;
/// Longest prompt, in bytes: ten times the 760 tokens of the longest published one known to us.
pub const MAX_PROMPT_BYTES: usize = 32 * 1024;
/// Longest description, in bytes.
pub const MAX_PACK_BYTES: usize = 32 * 1024;
/// Most tokens an answer may have: a report of four categories with five dimensions each is about 2,200, and
/// the reference client asks for the same bound.
pub const MAX_NEW_TOKENS: u32 = 4096;

/// What is judged, and how many of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Two generated pictures for one caption.
    ImagePair,
    /// Two generated videos for one caption.
    VideoPair,
}

impl Task {
    /// Every task with its name, as written on the command line and in packs.
    pub const ALL: [(Task, &'static str); 2] =
        [(Task::ImagePair, "image-pair"), (Task::VideoPair, "video-pair")];

    /// The task's name.
    pub fn name(self) -> &'static str {
        match self {
            Task::ImagePair => "image-pair",
            Task::VideoPair => "video-pair",
        }
    }

    /// The task of that name.
    pub fn from_name(name: &str) -> Option<Task> {
        Task::ALL.iter().find(|(_, known)| *known == name).map(|(task, _)| *task)
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the media stand in the user turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaOrder {
    /// All media, first candidate before second, then one text part.
    BeforeText,
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
    /// Which frames of a video are shown; present for video tasks only. Frames are sent as pictures.
    pub frames: Option<FrameRule>,
    /// Most tokens of an answer, 1..=[`MAX_NEW_TOKENS`].
    pub max_new_tokens: u32,
    /// How the answer is written.
    pub answer: Protocol,
    /// The prompt, byte for byte, with [`CAPTION_HOLE`] once.
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
    max_new_tokens: u32,
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
    /// A caption over [`MAX_CAPTION_BYTES`]; captions are never cut.
    #[error("the caption is {bytes} bytes long, over the limit of {MAX_CAPTION_BYTES}; shorten it")]
    CaptionTooLong {
        /// Bytes of the caption.
        bytes: usize,
    },
}

/// A piece of a prompt, with its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Written by the pack.
    Pack(&'a str),
    /// Written by the caller: ordinary text, whatever it spells.
    Caller(&'a str),
}

/// The text part of a user turn. `to_string` gives it whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptText<'a> {
    /// Its pieces in order: the pack's, the caption, the pack's.
    pub pieces: [Piece<'a>; 3],
}

impl std::fmt::Display for PromptText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Pack(text) | Piece::Caller(text) => f.write_str(text),
        })
    }
}

/// The built-in packs: name, `pack.toml`, `prompt.txt`.
const BUILTIN: [(&str, &str, &str); 3] = [
    (
        "shapes-judge",
        include_str!("../../shapes-judge/pack/pack.toml"),
        include_str!("../../shapes-judge/pack/prompt.txt"),
    ),
    (
        "unifiedreward-flex-image",
        include_str!("../../packs/unifiedreward-flex-image/pack.toml"),
        include_str!("../../packs/unifiedreward-flex-image/prompt.txt"),
    ),
    (
        "unifiedreward-flex-video",
        include_str!("../../packs/unifiedreward-flex-video/pack.toml"),
        include_str!("../../packs/unifiedreward-flex-video/prompt.txt"),
    ),
];

/// Names of the built-in packs.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, ..)| *name)
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
        check_prompt(prompt)?;
        let prompt_sha256 = hex(&Sha256::digest(prompt.as_bytes()));
        if let Some(pinned) = written.prompt_sha256.filter(|pinned| *pinned != prompt_sha256) {
            return Err(PackError::PromptChanged { pinned, found: prompt_sha256 });
        }
        let frames = written.frames.as_deref().map(str::parse).transpose();
        let frames = frames
            .map_err(|e: FrameRuleError| PackError::Field { field: "frames", reason: e.to_string() })?;
        match (written.task, frames) {
            (Task::VideoPair, None) => {
                return refuse("frames", "missing; a video task needs one, as `linspace-trunc:8`");
            }
            (Task::ImagePair, Some(_)) => {
                return refuse("frames", "only video tasks have frames; take it out");
            }
            _ => {}
        }
        Ok(Pack {
            name: written.name,
            version: written.version,
            task: written.task,
            media: written.media,
            frames,
            max_new_tokens: written.max_new_tokens,
            answer: written.answer,
            prompt: prompt.to_owned(),
            prompt_sha256,
        })
    }

    /// The built-in pack of that name.
    ///
    /// # Errors
    /// [`PackError::Unknown`] lists the names that exist.
    pub fn builtin(name: &str) -> Result<Pack, PackError> {
        let Some((_, description, prompt)) = BUILTIN.iter().find(|(known, ..)| *known == name) else {
            let known = builtin_names().collect::<Vec<_>>().join(", ");
            return Err(PackError::Unknown { name: name.to_owned(), known });
        };
        Pack::parse(description, prompt)
    }

    /// The built-in pack for a task, for packages that name none.
    ///
    /// # Errors
    /// None in practice: the built-in packs are parsed by the tests.
    pub fn for_task(task: Task) -> Result<Pack, PackError> {
        Pack::builtin(match task {
            Task::ImagePair => "unifiedreward-flex-image",
            Task::VideoPair => "unifiedreward-flex-video",
        })
    }

    /// The text part of the user turn for a caption, which is put in verbatim.
    ///
    /// # Errors
    /// [`PackError::CaptionTooLong`].
    pub fn user_text<'a>(&'a self, caption: &'a str) -> Result<PromptText<'a>, PackError> {
        check_caption(caption)?;
        let (before, after) = self.prompt.split_once(CAPTION_HOLE).unwrap_or((&self.prompt, ""));
        Ok(PromptText { pieces: [Piece::Pack(before), Piece::Caller(caption), Piece::Pack(after)] })
    }

    /// The forced start of a verdict-only answer for a caption, and its two continuations.
    ///
    /// # Errors
    /// [`PackError::CaptionTooLong`].
    pub fn skeleton(&self, caption: &str) -> Result<Skeleton<'_>, PackError> {
        check_caption(caption)?;
        Ok(self.answer.skeleton(caption))
    }

    /// What a result records of this pack.
    pub fn identity(&self) -> PackIdentity {
        PackIdentity {
            name: self.name.clone(),
            version: self.version,
            prompt_sha256: self.prompt_sha256.clone(),
        }
    }

    /// `pack.toml` of this pack, with its prompt pinned. Parsing it with the prompt gives the same pack.
    pub fn to_toml(&self) -> String {
        // JSON strings are TOML basic strings, but for a bare DEL.
        let quote = |text: &str| serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f");
        let answer = &self.answer;
        let crate::verdict::AnswerKind::Report = answer.kind;
        let MediaOrder::BeforeText = self.media;
        let frames =
            self.frames.map(|rule| format!("frames = {}\n", quote(&rule.to_string()))).unwrap_or_default();
        let categories: String =
            answer.categories.iter().map(|name| format!("    {},\n", quote(name))).collect();
        format!(
            "format = {PACK_FORMAT}\nname = {}\nversion = {}\ntask = {}\nmedia = \"before-text\"\n{frames}\
             max_new_tokens = {}\nprompt_sha256 = {}\n\n[answer]\nkind = \"report\"\nwinner_first = {}\n\
             winner_second = {}\ncategories = [\n{categories}]\nskeleton = {}\n",
            quote(&self.name),
            self.version,
            quote(self.task.name()),
            self.max_new_tokens,
            quote(&self.prompt_sha256),
            quote(&answer.winner_first),
            quote(&answer.winner_second),
            quote(&answer.skeleton),
        )
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
    if !(1..=MAX_NEW_TOKENS).contains(&written.max_new_tokens) {
        return refuse(
            "max_new_tokens",
            format!("{} is not within 1..={MAX_NEW_TOKENS}", written.max_new_tokens),
        );
    }
    Ok(())
}

fn check_prompt(prompt: &str) -> Result<(), PackError> {
    if prompt.len() > MAX_PROMPT_BYTES {
        return Err(PackError::Prompt(format!(
            "{} bytes, over the limit of {MAX_PROMPT_BYTES}",
            prompt.len()
        )));
    }
    match prompt.matches(CAPTION_HOLE).count() {
        1 => Ok(()),
        count => Err(PackError::Prompt(format!(
            "holds {CAPTION_HOLE} {count} times; it must hold it exactly once"
        ))),
    }
}

fn check_caption(caption: &str) -> Result<(), PackError> {
    match caption.len() {
        bytes if bytes > MAX_CAPTION_BYTES => Err(PackError::CaptionTooLong { bytes }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
