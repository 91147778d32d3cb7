//! One candidate to be scored, and its score.

use rewardrt_models::prompt::pack::PackIdentity;
use rewardrt_models::verdict::{Ending, NamedScore, Problem, Status};
use serde::Serialize;

use super::clip::{Clip, PlacedVideo};
use super::types::{FinishReason, ModelInfo, Picture, Sampling, Timing, Usage};
use crate::decode;
use crate::media::PixelRule;

/// One candidate to be scored, whichever task it belongs to.
#[derive(Debug, Clone)]
pub struct Item {
    /// Caption, instruction or question; empty for tasks that take none.
    pub prompt: String,
    /// What is shown before the candidate: the source of an edit, or what a question is about.
    pub shown: Vec<Picture>,
    /// The pictures of the candidate: one, or the frames of a video; none for an answer in words.
    pub candidate: Vec<Picture>,
    /// The candidate in words.
    pub answer: Option<String>,
    /// How it is asked.
    pub options: ScoreOptions,
}

impl Item {
    fn new(prompt: impl Into<String>, shown: Vec<Picture>, candidate: Vec<Picture>) -> Item {
        let prompt = prompt.into();
        Item { prompt, shown, candidate, answer: None, options: ScoreOptions::default() }
    }

    /// A picture made for a prompt.
    pub fn image(prompt: impl Into<String>, picture: Picture) -> Item {
        Item::new(prompt, Vec::new(), vec![picture])
    }

    /// A video made for a prompt, as the frames that the pack's rule chose.
    pub fn frames(prompt: impl Into<String>, frames: Vec<Picture>) -> Item {
        Item::new(prompt, Vec::new(), frames)
    }

    /// A video file made for a prompt.
    pub fn video(prompt: impl Into<String>, clip: Clip) -> Item {
        Item::new(prompt, Vec::new(), vec![Picture::Video(clip)])
    }

    /// What an editor made of a source by an instruction.
    pub fn edit(instruction: impl Into<String>, source: Picture, result: Picture) -> Item {
        Item::new(instruction, vec![source], vec![result])
    }

    /// An answer to a question about pictures, or about a video as the frames that the pack's rule chose.
    pub fn answer(question: impl Into<String>, pictures: Vec<Picture>, answer: impl Into<String>) -> Item {
        Item { answer: Some(answer.into()), ..Item::new(question, pictures, Vec::new()) }
    }
}

/// How an item is scored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScoreOptions {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Fewer tokens than the pack allows.
    pub max_new_tokens: Option<usize>,
    /// How much of the answer is waited for.
    pub ending: Ending,
    /// How files become pixels.
    pub pixels: PixelRule,
}

/// The typed result of scoring one candidate.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// How far it can be trusted: ok, truncated or invalid.
    pub status: Status,
    /// Every score that the pack names, in its order; empty unless the status is ok.
    pub scores: Vec<NamedScore>,
    /// Why there are no scores.
    pub problem: Option<Problem>,
    /// What the model wrote; null when it writes nothing.
    pub text: Option<String>,
    /// `stop`, `complete`, `decided` or `length`; null when the model writes nothing.
    pub finish_reason: Option<FinishReason>,
    /// The pack that it was asked with; null when the package needs none.
    pub pack: Option<PackIdentity>,
    /// How files became pixels.
    pub pixels: PixelRule,
    /// How tokens were chosen; null when the model writes nothing.
    pub sampling: Option<decode::Sampling>,
    /// The videos that were given as files, and which of their frames were shown.
    pub videos: Vec<PlacedVideo>,
    /// Tokens.
    pub usage: Usage,
    /// Wall time.
    pub timing_ms: Timing,
    /// The model that scored.
    pub model: ModelInfo,
}
