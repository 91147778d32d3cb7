//! Requests and results, with the field names of the public JSON.

use std::iter::Sum;
use std::path::PathBuf;
use std::sync::Arc;

use rewardrt_models::package::GenerationDefaults;
use rewardrt_models::prompt::pack::PackIdentity;
use rewardrt_models::verdict::{Ending, Flag, PairScore, Problem, Report, Status, Winner};
use serde::Serialize;

use super::clip::{Clip, PlacedVideo, Sampled};
use super::footage::Footage;
use crate::decode;
use crate::media::{PixelRule, Rgb8};
use crate::text::chat::{Chat, Role};

/// A picture, however the caller has it.
#[derive(Debug, Clone)]
pub enum Picture {
    /// An encoded file: PNG, JPEG or WebP.
    Bytes(Vec<u8>),
    /// A path to such a file.
    Path(PathBuf),
    /// Decoded pixels.
    Pixels(Rgb8),
    /// A chosen frame of a video file, by its place among those that were chosen. Packs that show a video as one take all
    /// of its frames, in order.
    Frame(Arc<Footage>, usize),
    /// A video file, which stands for the frames that are shown of it.
    Video(Clip),
}

/// One question: which of two candidates is better? Use a constructor: one a task.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The caption that both were made for, the instruction of both edits, or the question of both answers.
    pub prompt: String,
    /// What is shown before the candidates: the source of the edits, or what the question is about.
    pub shown: Vec<Picture>,
    /// The pictures of the first candidate: one, or the frames of a video; none for an answer in words.
    pub first: Vec<Picture>,
    /// The pictures of the second candidate.
    pub second: Vec<Picture>,
    /// Both candidates in words, when they are answers.
    pub answers: Option<[String; 2]>,
    /// How it is asked.
    pub options: CompareOptions,
}

impl Comparison {
    fn new(prompt: impl Into<String>, first: Vec<Picture>, second: Vec<Picture>) -> Comparison {
        let (prompt, options) = (prompt.into(), CompareOptions::default());
        Comparison { prompt, shown: Vec::new(), first, second, answers: None, options }
    }

    /// Two pictures made for a prompt.
    pub fn images(prompt: impl Into<String>, first: Picture, second: Picture) -> Comparison {
        Comparison::new(prompt, vec![first], vec![second])
    }

    /// Two videos made for a prompt, each as the frames that the pack's rule chose.
    pub fn frames(prompt: impl Into<String>, first: Vec<Picture>, second: Vec<Picture>) -> Comparison {
        Comparison::new(prompt, first, second)
    }

    /// Two video files made for a prompt.
    pub fn videos(prompt: impl Into<String>, first: Clip, second: Clip) -> Comparison {
        Comparison::new(prompt, vec![Picture::Video(first)], vec![Picture::Video(second)])
    }

    /// Two edits of a source by one instruction.
    pub fn edits(
        instruction: impl Into<String>,
        source: Picture,
        first: Picture,
        second: Picture,
    ) -> Comparison {
        Comparison { shown: vec![source], ..Comparison::new(instruction, vec![first], vec![second]) }
    }

    /// Two answers to a question about pictures, or about a video as the frames that the pack's rule chose.
    pub fn answers(
        question: impl Into<String>,
        pictures: Vec<Picture>,
        first: impl Into<String>,
        second: impl Into<String>,
    ) -> Comparison {
        let answers = Some([first.into(), second.into()]);
        Comparison { shown: pictures, answers, ..Comparison::new(question, Vec::new(), Vec::new()) }
    }
}

/// How a comparison is asked.
#[derive(Debug, Clone, Default)]
pub struct CompareOptions {
    /// Ask (A, B) and (B, A), and combine the two.
    pub both_orders: bool,
    /// Force the pack's skeleton and weigh the two winners, without any written reasoning. Packs without one, and
    /// packs of scores, refuse it.
    pub verdict_only: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Fewer tokens than the pack allows.
    pub max_new_tokens: Option<usize>,
    /// How much of the answer is waited for.
    pub ending: Ending,
    /// What the answer is held to; nothing when this is none.
    pub constrain: Option<Constrain>,
    /// How files become pixels.
    pub pixels: PixelRule,
}

/// What an answer is held to while it is written. `usage.constrained` says how many choices of the model this changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Constrain {
    /// The grammar of a report that can be read and has a winner; only a report that is cut has none then. For packs that
    /// ask for reports.
    Report,
}

impl CompareOptions {
    /// What is asked of the model.
    pub(super) fn mode(&self) -> Mode {
        if self.verdict_only { Mode::VerdictOnly } else { Mode::Report }
    }
}

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Sampling {
    /// The most probable token, always.
    #[default]
    Greedy,
    /// What the checkpoint's generation config asks for.
    Checkpoint {
        /// Seed of the random stream.
        seed: u64,
    },
    /// Given values.
    Custom {
        /// Divisor of the logits, above 0.
        temperature: f32,
        /// Smallest set of tokens whose probability reaches this, in (0, 1].
        top_p: f32,
        /// Most tokens considered; 0 means all.
        top_k: u32,
        /// Factor against tokens already present; 1 means none.
        repetition_penalty: f32,
        /// Seed of the random stream.
        seed: u64,
    },
}

/// What was asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The model wrote its answer.
    Report,
    /// The skeleton was forced and the two winners weighed: another method than the model was trained on.
    VerdictOnly,
}

/// The typed result of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The winner; null unless the status is ok or inconsistent.
    pub winner: Option<Winner>,
    /// How far it can be trusted.
    pub status: Status,
    /// Probability of the first against the second at the verdict token, given everything written before it; null
    /// where there is no such token: a written tie, and packs whose winner follows from scores.
    pub p_first: Option<f64>,
    /// Whether both orders name the same candidate; null when one order was asked.
    pub position_consistent: Option<bool>,
    /// The parsed report of the first order; null for packs that ask for none.
    pub report: Option<Report>,
    /// The scores of the first order, for packs whose winner follows from scores; else empty.
    pub scores: Vec<PairScore>,
    /// The whole text of the first order.
    pub text: String,
    /// What was asked of the model.
    pub mode: Mode,
    /// The pack that it was asked with.
    pub pack: PackIdentity,
    /// How files became pixels.
    pub pixels: PixelRule,
    /// How tokens were chosen: greedily, or by these values and this seed.
    pub sampling: decode::Sampling,
    /// What the answers were held to; null when they were free.
    pub constrain: Option<Constrain>,
    /// The videos that were given as files, and which of their frames were shown.
    pub videos: Vec<PlacedVideo>,
    /// One entry an order.
    pub orders: Vec<OrderResult>,
    /// Tokens of all orders.
    pub usage: Usage,
    /// Time of the whole comparison.
    pub timing_ms: Timing,
    /// The model that judged.
    pub model: ModelInfo,
}

/// One order of a comparison, in its own words: first is the candidate shown first.
#[derive(Debug, Clone, Serialize)]
pub struct OrderResult {
    /// `ab` or `ba`.
    pub order: &'static str,
    /// Winner in this order's own words.
    pub winner: Option<Winner>,
    /// How far it can be trusted.
    pub status: Status,
    /// Probability of the first shown.
    pub p_first: Option<f64>,
    /// Disagreements within the answer.
    pub flags: Vec<Flag>,
    /// Why there is no verdict.
    pub problem: Option<Problem>,
    /// The parsed report.
    pub report: Option<Report>,
    /// The scores of both candidates.
    pub scores: Vec<PairScore>,
    /// The whole text.
    pub text: String,
    /// `stop`, `complete`, `decided`, `length` or `forced`.
    pub finish_reason: FinishReason,
    /// Tokens.
    pub usage: Usage,
    /// Time of this order's own phases.
    pub timing_ms: OrderTiming,
}

/// Wall time of one order in milliseconds. Pictures are prepared and seen once for all orders: that time stands in
/// the [`Timing`] of the comparison. Orders that run together wait for each other's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct OrderTiming {
    /// Prompt.
    pub prefill: f64,
    /// Written tokens.
    pub decode: f64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// An end token was written.
    Stop,
    /// The answer was complete, see [`Ending::Complete`]; what the model would have written behind it is not known.
    Complete,
    /// The verdict was decided, see [`Ending::Decided`]; the rest of the answer is not known.
    Decided,
    /// The token limit was reached.
    Length,
    /// Nothing was written: the answer was forced.
    Forced,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt, pictures included.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub new_tokens: usize,
    /// Tokens of the prompt that are pictures.
    pub vision_tokens: usize,
    /// Those of them whose picture did not go through the vision tower for this prompt: it was seen before, for another
    /// prompt of this request or for an earlier request.
    pub vision_reused: usize,
    /// Tokens of the prompt that the decoder did not read, because it held the same beginning of another prompt.
    pub prefix_reused: usize,
    /// Tokens that the model would have chosen otherwise, but for [`CompareOptions::constrain`].
    pub constrained: usize,
    /// Tokens that were drafted.
    pub drafted: usize,
    /// Those of them that the model would have written, and so did.
    pub accepted: usize,
    /// Runs of the decoder that wrote tokens, behind the one that read the prompt's end.
    pub runs: usize,
}

impl Usage {
    /// Nothing but what became of drafts.
    pub(super) fn of(drafted: &decode::Drafted) -> Usage {
        let decode::Drafted { drafted, accepted, runs } = *drafted;
        Usage { drafted, accepted, runs, ..Usage::default() }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(all: I) -> Usage {
        all.fold(Usage::default(), |sum, one| Usage {
            prompt_tokens: sum.prompt_tokens + one.prompt_tokens,
            new_tokens: sum.new_tokens + one.new_tokens,
            vision_tokens: sum.vision_tokens + one.vision_tokens,
            vision_reused: sum.vision_reused + one.vision_reused,
            prefix_reused: sum.prefix_reused + one.prefix_reused,
            constrained: sum.constrained + one.constrained,
            drafted: sum.drafted + one.drafted,
            accepted: sum.accepted + one.accepted,
            runs: sum.runs + one.runs,
        })
    }
}

/// Wall time in milliseconds. Requests that ran together share their phases' time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Verifying and loading the package; 0 when it was loaded before.
    pub load: f64,
    /// Decoding and preprocessing pictures and videos, and tokenising.
    pub preprocess: f64,
    /// The part of it in which videos were decoded, those of one request side by side.
    pub video: f64,
    /// The part of it in which pictures were decoded and resized, and frames of videos resized.
    pub resize: f64,
    /// Vision tower.
    pub vision: f64,
    /// Prompt.
    pub prefill: f64,
    /// Written tokens.
    pub decode: f64,
}

/// The model that judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// Name in the manifest.
    pub name: String,
    /// SHA-256 of the manifest, which holds the hash of every file.
    pub package_sha256: String,
    /// How weights are stored.
    pub precision: &'static str,
}

/// A chat to continue.
#[derive(Debug, Clone)]
pub struct Generate {
    /// The chat; its pictures and videos are named by paths.
    pub chat: Chat,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens written.
    pub max_new_tokens: usize,
    /// How files become pixels.
    pub pixels: PixelRule,
}

/// A continued chat.
#[derive(Debug, Clone, Serialize)]
pub struct Generation {
    /// Ids of the prompt, every picture token included.
    pub prompt_ids: Vec<u32>,
    /// Ids written, the end token included.
    pub new_ids: Vec<u32>,
    /// Their text, without the end token.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Natural logarithm of the probability of each id written.
    pub logprobs: Vec<f32>,
    /// The videos of the chat in order, and which of their frames were shown; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub videos: Vec<ShownVideo>,
    /// Token counts.
    pub usage: Usage,
    /// Wall time.
    pub timing_ms: Timing,
}

/// A video of a chat.
#[derive(Debug, Clone, Serialize)]
pub struct ShownVideo {
    /// Path of the file, or of the folder of frames.
    pub path: String,
    /// Number of frames shown.
    pub frames: usize,
    /// Which frames of the file were shown; none for a folder, whose frames are all shown.
    #[serde(flatten)]
    pub sampled: Option<Sampled>,
}

/// The role that a pack's question is asked in.
pub(crate) const ASKER: Role = Role::User;

/// The values that a request is run with.
pub(super) fn resolve(asked: Sampling, defaults: &GenerationDefaults) -> decode::Sampling {
    let (temperature, top_p, top_k, repetition_penalty, seed) = match asked {
        Sampling::Custom { temperature, top_p, top_k, repetition_penalty, seed } => {
            (temperature, top_p, top_k, repetition_penalty, seed)
        }
        // A checkpoint that does not sample still has its penalty: temperature 0 takes the best token after it.
        Sampling::Checkpoint { seed } => {
            let d = defaults;
            let temperature = if d.do_sample { d.temperature } else { 0.0 };
            (temperature, d.top_p, d.top_k, d.repetition_penalty, seed)
        }
        Sampling::Greedy => return decode::Sampling::Greedy,
    };
    decode::Sampling::Seeded { temperature, top_p, top_k, repetition_penalty, seed }
}
