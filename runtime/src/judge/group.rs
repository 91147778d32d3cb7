//! Many candidates for one prompt, and their order.

use rewardrt_models::prompt::pack::PackIdentity;
use rewardrt_models::verdict::{FailedPairs, GroupRewards, GroupRules};
use serde::Serialize;

use super::clip::{Clip, PlacedVideo};
use super::plan::Pairs;
use super::types::{CompareOptions, Mode, ModelInfo, OrderResult, Picture, Usage};
use crate::decode;
use crate::media::PixelRule;

/// Most bytes of features of a group, which are in memory while its pairs are judged: 256 candidates of 512x512 take
/// 5.3 GB in the widest models (80 KiB a token).
pub const MAX_GROUP_FEATURES: usize = 8 << 30;

/// Candidates for one prompt, to be put in order. Use a constructor: one a task.
#[derive(Debug, Clone)]
pub struct Group {
    /// The caption that all were made for, the instruction of all edits, or the question of all answers.
    pub prompt: String,
    /// What is shown before the candidates: the source of the edits, or what the question is about.
    pub shown: Vec<Picture>,
    /// The pictures of each candidate: one, or the frames of a video; none for answers in words.
    pub candidates: Vec<Vec<Picture>>,
    /// Every candidate in words, when they are answers.
    pub answers: Vec<String>,
    /// How it is asked.
    pub options: RankOptions,
}

impl Group {
    fn new(prompt: impl Into<String>, candidates: Vec<Vec<Picture>>) -> Group {
        let (prompt, options) = (prompt.into(), RankOptions::default());
        Group { prompt, shown: Vec::new(), candidates, answers: Vec::new(), options }
    }

    /// Pictures made for a prompt.
    pub fn images(prompt: impl Into<String>, items: Vec<Picture>) -> Group {
        Group::new(prompt, items.into_iter().map(|picture| vec![picture]).collect())
    }

    /// Videos made for a prompt, each as the frames that the pack's rule chose.
    pub fn frames(prompt: impl Into<String>, items: Vec<Vec<Picture>>) -> Group {
        Group::new(prompt, items)
    }

    /// Video files made for a prompt.
    pub fn videos(prompt: impl Into<String>, items: Vec<Clip>) -> Group {
        Group::new(prompt, items.into_iter().map(|clip| vec![Picture::Video(clip)]).collect())
    }

    /// Edits of a source by one instruction.
    pub fn edits(instruction: impl Into<String>, source: Picture, items: Vec<Picture>) -> Group {
        Group { shown: vec![source], ..Group::images(instruction, items) }
    }

    /// Answers to a question about pictures, or about a video as the frames that the pack's rule chose.
    pub fn answers(question: impl Into<String>, pictures: Vec<Picture>, answers: Vec<String>) -> Group {
        let candidates = vec![Vec::new(); answers.len()];
        Group { shown: pictures, answers, ..Group::new(question, candidates) }
    }
}

/// How a group is asked.
#[derive(Debug, Clone, Default)]
pub struct RankOptions {
    /// How each pair is asked; with `both_orders` each pair is judged twice, and both verdicts count.
    pub ask: CompareOptions,
    /// Which pairs are judged.
    pub pairs: Pairs,
    /// What a pair without a verdict counts for.
    pub failed: FailedPairs,
    /// Rewards as the published trainer computes them: see [`GroupRules::upstream`].
    pub upstream: bool,
}

/// The order of a group, and what it rests on.
#[derive(Debug, Clone, Serialize)]
pub struct Ranking {
    /// Win rate and score of every candidate, their order, and the matrix of probabilities.
    #[serde(flatten)]
    pub rewards: GroupRewards,
    /// The pairs without a verdict, by what became of them.
    pub unanswered: Unanswered,
    /// Share of the pairs judged in both orders whose verdicts name the same candidate; null when there are none.
    pub position_consistency: Option<f64>,
    /// The videos that were given as files, and which of their frames were shown.
    pub videos: Vec<PlacedVideo>,
    /// The pairs in the order in which they were asked.
    pub pairs: Vec<RankedPair>,
    /// Which pairs were judged.
    pub plan: Pairs,
    /// How pairs became rewards.
    pub rules: GroupRules,
    /// What was asked of the model.
    pub mode: Mode,
    /// The pack that it was asked with.
    pub pack: PackIdentity,
    /// How files became pixels.
    pub pixels: PixelRule,
    /// How tokens were chosen: greedily, or by these values and this seed, in every pair.
    pub sampling: decode::Sampling,
    /// Tokens of all pairs.
    pub usage: Usage,
    /// Time of the whole ranking.
    pub timing_ms: RankTiming,
    /// The model that judged.
    pub model: ModelInfo,
}

/// Pairs without a verdict, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unanswered {
    /// The token limit cut the answer.
    pub truncated: usize,
    /// The answer cannot be read by its protocol.
    pub invalid: usize,
    /// There is no answer: the pair could not be run.
    pub failed: usize,
}

/// One ordered pair of a group.
#[derive(Debug, Clone, Serialize)]
pub struct RankedPair {
    /// Index of the candidate shown first.
    pub first: usize,
    /// Index of the candidate shown second.
    pub second: usize,
    /// What the model answered, first being the candidate shown first; `order` is `ba` for the second asking of a pair.
    /// Null when the pair could not be run.
    pub answer: Option<OrderResult>,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// A pair that is done, as soon as it is.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// The pair.
    pub pair: &'a RankedPair,
    /// Pairs that are done, this one included.
    pub done: usize,
    /// Pairs that there are; in Swiss rounds, at most.
    pub most: usize,
}

/// Wall time of a ranking in milliseconds; the times of each pair stand with its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RankTiming {
    /// Verifying and loading the package; 0 when it was loaded before.
    pub load: f64,
    /// Decoding and preprocessing pictures and videos.
    pub preprocess: f64,
    /// The part of it in which videos were decoded.
    pub video: f64,
    /// The part of it in which pictures were decoded and resized, and frames of videos resized.
    pub resize: f64,
    /// Vision tower.
    pub vision: f64,
    /// Asking all pairs, from their prompts to their answers.
    pub pairs: f64,
}
