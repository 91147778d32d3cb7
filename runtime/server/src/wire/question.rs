//! `compare`, `rank` and `score`, as callers write them: the flags of the command line as fields.

use rewardrt::judge::{CompareOptions, Pairs, RankOptions, Sampling, ScoreOptions};
use rewardrt::media::PixelRule;
use rewardrt::{Comparison, Group, Item, Picture};
use rewardrt_models::prompt::pack::{Candidate, FrameRule, Shown as Beside, Task, TaskShape};
use rewardrt_models::verdict::{Ending, FailedPairs};
use serde::Deserialize;

use super::media::{Media, Shown};
use super::{Gallery, Wire};
use crate::error::ApiError;

/// Where sampling values come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    /// The most probable token, always.
    #[default]
    Greedy,
    /// The checkpoint's own defaults.
    Checkpoint,
}

/// Which pairs of a group are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Plan {
    #[default]
    All,
    Circular,
    Swiss,
}

/// What a pair without a verdict counts for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Failed {
    #[default]
    LeaveOut,
    Tie,
}

/// A request with the fields that all questions have, which `deny_unknown_fields` keeps from being flattened.
macro_rules! question {
    ($(#[$note:meta])* $name:ident { $($(#[$field_note:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$note])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_note])* $field: $kind,)*
            #[serde(default)]
            shown: Vec<Media>,
            model: Option<String>,
            task: Option<Task>,
            pack: Option<String>,
            rule: Option<FrameRule>,
            #[serde(default)]
            sampling: Source,
            seed: Option<u64>,
            max_new_tokens: Option<usize>,
            #[serde(default)]
            ending: Ending,
            #[serde(default)]
            pixels: PixelRule,
        }

        impl $name {
            fn sampling(&self) -> Result<Sampling, ApiError> {
                match (self.sampling, self.seed) {
                    (Source::Checkpoint, seed) => Ok(Sampling::Checkpoint { seed: seed.unwrap_or(0) }),
                    (Source::Greedy, None) => Ok(Sampling::Greedy),
                    (Source::Greedy, Some(_)) => Err(ApiError::bad("a seed needs sampling: checkpoint").at("/seed")),
                }
            }
        }
    };
}

question!(
    /// Which of two is better?
    Compare {
        prompt: String,
        first: Option<Shown>,
        second: Option<Shown>,
        answers: Option<[String; 2]>,
        #[serde(default)]
        both_orders: bool,
        #[serde(default)]
        verdict_only: bool,
    }
);

question!(
    /// In which order do many stand?
    Rank {
        prompt: String,
        #[serde(default)]
        items: Vec<Shown>,
        #[serde(default)]
        answers: Vec<String>,
        #[serde(default)]
        pairs: Plan,
        #[serde(default)]
        failed: Failed,
        #[serde(default)]
        upstream: bool,
        #[serde(default)]
        both_orders: bool,
        #[serde(default)]
        verdict_only: bool,
        #[serde(default)]
        stream: bool,
    }
);

question!(
    /// How good is one?
    Score {
        #[serde(default)]
        prompt: String,
        item: Option<Shown>,
        answer: Option<String>,
    }
);

/// A question, and what chooses the judge that answers it.
pub(crate) struct Question<T> {
    pub(crate) ask: T,
    pub(crate) choice: Choice,
}

/// What chooses the pack.
pub(crate) struct Choice {
    pub(crate) model: Option<String>,
    pub(crate) task: Option<Task>,
    pub(crate) pack: Option<String>,
    pub(crate) given: Given,
}

/// What was given, as tasks are told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    candidates: usize,
    candidate: Candidate,
    beside: Option<Beside>,
    /// Frames of the candidates that came as pictures, where they are as many in each.
    pub(crate) frames: Option<usize>,
}

impl Given {
    /// Looks at candidates, which are none where they are answers, and at what is shown beside them.
    fn of(candidates: &[Vec<Picture>], answers: usize, each: usize, shown: &[Picture]) -> Given {
        let video =
            |pictures: &[Picture]| pictures.iter().any(|picture| matches!(picture, Picture::Video(_)));
        let frames = candidates.iter().any(|pictures| pictures.len() > 1 || video(pictures));
        let counted = candidates.iter().find(|pictures| pictures.len() > 1 && !video(pictures)).map(Vec::len);
        let (candidate, beside) = match (answers > 0, frames) {
            (true, _) if video(shown) => (Candidate::Answer, Some(Beside::Frames)),
            (true, _) => (Candidate::Answer, Some(Beside::Pictures)),
            (false, true) => (Candidate::Frames, (!shown.is_empty()).then_some(Beside::Source)),
            (false, false) => (Candidate::Picture, (!shown.is_empty()).then_some(Beside::Source)),
        };
        Given { candidates: each, candidate, beside, frames: counted }
    }

    /// Whether a task takes this. A list of pictures beside answers may be the frames of a video.
    pub(crate) fn fits(&self, shape: &TaskShape) -> bool {
        let beside = match (self.candidate, shape.shown) {
            (Candidate::Answer, Some(Beside::Frames)) => {
                matches!(self.beside, Some(Beside::Frames | Beside::Pictures))
            }
            (_, shown) => shown == self.beside,
        };
        beside && (shape.candidates, shape.candidate) == (self.candidates, self.candidate)
    }

    /// What it is, in words.
    pub(crate) fn words(&self) -> String {
        let what = match self.candidate {
            Candidate::Picture => "pictures",
            Candidate::Frames => "videos",
            Candidate::Answer => "answers",
        };
        let beside = if self.beside.is_some() { ", with something shown beside them" } else { "" };
        format!("{what}, {} at a time{beside}", self.candidates)
    }
}

fn either(media: bool, answers: bool, names: &str) -> Result<(), ApiError> {
    match (media, answers) {
        (true, false) | (false, true) => Ok(()),
        _ => Err(ApiError::bad(format!("give either {names}"))),
    }
}

impl Wire for Compare {
    type Asked = Question<Comparison>;

    fn asked(self, gallery: &mut Gallery) -> Result<Self::Asked, ApiError> {
        let options = CompareOptions {
            both_orders: self.both_orders,
            verdict_only: self.verdict_only,
            sampling: self.sampling()?,
            max_new_tokens: self.max_new_tokens,
            ending: self.ending,
            constrain: None,
            pixels: self.pixels,
        };
        let media = self.first.is_some() && self.second.is_some();
        either(
            media,
            self.answers.is_some(),
            "first and second, or answers and what they are about in shown",
        )?;
        let mut place = |shown: Option<Shown>, at| {
            shown.map_or_else(|| Ok(Vec::new()), |shown| gallery.pictures(shown, self.rule, at))
        };
        let (first, second) = (place(self.first, "/first")?, place(self.second, "/second")?);
        let shown = gallery.list(self.shown, self.rule, "/shown")?;
        let candidates = [first, second];
        let given = Given::of(&candidates, self.answers.iter().len(), 2, &shown);
        let [first, second] = candidates;
        let ask = Comparison { prompt: self.prompt, shown, first, second, answers: self.answers, options };
        let choice = Choice { model: self.model, task: self.task, pack: self.pack, given };
        Ok(Question { ask, choice })
    }
}

/// A group, and whether its pairs are to be sent as they end.
pub(crate) struct Ranked {
    pub(crate) group: Group,
    pub(crate) stream: bool,
}

impl Wire for Rank {
    type Asked = Question<Ranked>;

    fn asked(self, gallery: &mut Gallery) -> Result<Self::Asked, ApiError> {
        let ask = CompareOptions {
            both_orders: self.both_orders,
            verdict_only: self.verdict_only,
            sampling: self.sampling()?,
            max_new_tokens: self.max_new_tokens,
            ending: self.ending,
            constrain: None,
            pixels: self.pixels,
        };
        let names = "items, or answers and what they are about in shown";
        either(!self.items.is_empty(), !self.answers.is_empty(), names)?;
        let one = |(i, shown)| gallery.pictures(shown, self.rule, &format!("/items/{i}"));
        let mut candidates: Vec<Vec<Picture>> =
            self.items.into_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        let shown = gallery.list(self.shown, self.rule, "/shown")?;
        let given = Given::of(&candidates, self.answers.len(), 2, &shown);
        if !self.answers.is_empty() {
            candidates = vec![Vec::new(); self.answers.len()];
        }
        let pairs = match self.pairs {
            Plan::All => Pairs::All,
            Plan::Circular => Pairs::Circular,
            Plan::Swiss => Pairs::Swiss,
        };
        let failed = match self.failed {
            Failed::LeaveOut => FailedPairs::LeaveOut,
            Failed::Tie => FailedPairs::Tie,
        };
        let options = RankOptions { ask, pairs, failed, upstream: self.upstream };
        let group = Group { prompt: self.prompt, shown, candidates, answers: self.answers, options };
        let choice = Choice { model: self.model, task: self.task, pack: self.pack, given };
        Ok(Question { ask: Ranked { group, stream: self.stream }, choice })
    }
}

impl Wire for Score {
    type Asked = Question<Item>;

    fn asked(self, gallery: &mut Gallery) -> Result<Self::Asked, ApiError> {
        let options = ScoreOptions {
            sampling: self.sampling()?,
            max_new_tokens: self.max_new_tokens,
            ending: self.ending,
            pixels: self.pixels,
        };
        either(self.item.is_some(), self.answer.is_some(), "item, or answer and what it is about in shown")?;
        let candidate =
            self.item.map_or_else(|| Ok(Vec::new()), |item| gallery.pictures(item, self.rule, "/item"))?;
        let shown = gallery.list(self.shown, self.rule, "/shown")?;
        let candidates = [candidate];
        let given = Given::of(&candidates, self.answer.iter().len(), 1, &shown);
        let [candidate] = candidates;
        let ask = Item { prompt: self.prompt, shown, candidate, answer: self.answer, options };
        let choice = Choice { model: self.model, task: self.task, pack: self.pack, given };
        Ok(Question { ask, choice })
    }
}
