//! The slot engine: ids in, ids out. It knows no text and no HTTP.
//!
//! An [`Engine`] owns a decoder session with a number of slots. A request is admitted into a free slot, prefilled in
//! chunks, decoded a token at a time beside its neighbours, and leaves its slot at the step that ends it. Each
//! [`Engine::step`] makes one run: tokens for all that decode, or a chunk of prompts ([`Shapes`] says how the two take
//! turns). Who calls it, and when to admit, is for the scheduler above.

mod allow;
mod check;
mod cost;
mod draft;
mod engine;
mod pace;
mod plan;
mod prefix;
mod sample;
mod sequence;
mod settle;
#[cfg(test)]
mod tests;
mod until;

use std::sync::Arc;
use std::time::Duration;

use rewardrt_models::spec::position::Positions;

pub use allow::{Allow, Constraint};
pub use draft::{Draft, Drafted, Drafts, Grounds, Guess, Lookup, Store};
pub use engine::{Engine, Options};
pub use pace::Shapes;
pub use prefix::Mark;
pub use sample::Sampling;
pub use until::{Ended, Until};

use crate::session::{Features, SessionError};

/// A sequence to be continued or scored.
#[derive(Debug, Clone)]
pub struct Request {
    /// Prompt token ids, at least one, each below the vocabulary.
    pub ids: Vec<u32>,
    /// Position streams of the prompt, one a token.
    pub positions: Positions,
    /// Visual features that prompt tokens refer to.
    pub features: Option<Arc<Features>>,
    /// Row of the features that stands at each prompt token, -1 for text; one a token.
    pub feature_rows: Vec<i64>,
    /// Places up to which another prompt may be the same, ascending; what a slot holds of them is not read again.
    pub prefix: Vec<Mark>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most new tokens. 0 asks for the watched log-probabilities after the prompt only.
    pub max_new_tokens: usize,
    /// Tokens that end the answer; the one that did is part of it.
    pub stop: Vec<u32>,
    /// Whether its tokens may wait for the prompts of others as long as full chunks take, for the sake of all together.
    pub patient: bool,
    /// A rule by which the answer ends before a stop token; see [`Until`].
    pub until: Option<Until>,
    /// What the answer is held to; see [`Constraint`].
    pub constraint: Option<Constraint>,
    /// Where drafts of the answer come from; see [`Drafts`].
    pub drafts: Option<Drafts>,
    /// Token ids whose log-probabilities are recorded at every step.
    pub watch: Vec<u32>,
    /// Places of the prompt whose output rows are wanted, ascending. With any, the prompt is read and nothing else:
    /// no token is made and none is watched. A model that ends in scores must be asked for some.
    pub read: Vec<usize>,
}

impl Request {
    /// A greedy request for text, without features.
    pub fn text(ids: Vec<u32>, max_new_tokens: usize, stop: Vec<u32>) -> Request {
        use rewardrt_models::spec::position::Span;
        Request {
            positions: Positions::of(&[Span::Text(ids.len())]),
            feature_rows: vec![-1; ids.len()],
            ids,
            features: None,
            prefix: Vec::new(),
            sampling: Sampling::Greedy,
            max_new_tokens,
            stop,
            patient: false,
            until: None,
            constraint: None,
            drafts: None,
            watch: Vec::new(),
            read: Vec::new(),
        }
    }
}

/// Names an admitted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// Why a request was not admitted. Nothing was run for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Every slot is taken; try again after a step that ends one.
    #[error("all {slots} slots are taken; wait for one to end")]
    Full {
        /// Number of slots.
        slots: usize,
    },
    /// Prompt and answer together do not fit a slot.
    #[error(
        "{needed} tokens are needed (prompt and new tokens), {available} are available; \
         shorten the prompt, use smaller pictures or ask for fewer new tokens"
    )]
    TooLong {
        /// Prompt tokens plus the most new tokens.
        needed: usize,
        /// Tokens that a slot holds.
        available: usize,
    },
    /// A field that cannot be.
    #[error("request field {field}: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why an admitted request ended without a result. Its neighbours go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It was never admitted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The model computed something that is no number.
    #[error("the model gave outputs that are not finite after {tokens} tokens; no verdict is issued")]
    NonFinite {
        /// Tokens in the sequence when it happened.
        tokens: usize,
    },
    /// What the answer is held to leaves no token that could be next.
    #[error("no token of the vocabulary may follow after {tokens} tokens; ask without the constraint")]
    NoToken {
        /// Tokens in the sequence when it happened.
        tokens: usize,
    },
    /// The run failed, also with this sequence alone in it.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl DecodeError {
    /// Whether the request was at fault, and nothing was run for it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, DecodeError::Refused(_))
    }
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop token.
    Stop,
    /// The request's own rule, [`Request::until`].
    Until,
    /// `max_new_tokens` were made.
    Length,
}

/// A finished sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// New token ids, the stop token included.
    pub new_ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// Log-probability of each new token under the model's own distribution: natural logarithm of the softmax of
    /// the raw logits, before penalty, temperature and filters.
    pub logprobs: Vec<f32>,
    /// Log-probabilities of the watched ids at each step, in the order of `watch`; at least one step.
    pub watched: Vec<Vec<f32>>,
    /// The output rows of the places to be read, each `[outputs]`, in their order.
    pub rows: Vec<Vec<f32>>,
    /// Tokens of the prompt that were not read, because a slot held them.
    pub reused: usize,
    /// Tokens that the model would have chosen otherwise, but for [`Request::constraint`].
    pub constrained: usize,
    /// What became of drafts, and how many runs made tokens.
    pub drafted: Drafted,
    /// Time of the runs that read the prompt.
    pub prefill: Duration,
    /// Time of the runs that made tokens. Neighbours share runs, so times of several sequences do not add up.
    pub decode: Duration,
}

/// What a step did to a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was made.
    Token {
        /// Its id.
        id: u32,
        /// Its log-probability.
        logprob: f32,
        /// Log-probabilities of the watched ids at its place.
        watched: Vec<f32>,
    },
    /// The sequence ended; its slot is free.
    Done(Completion),
    /// The sequence failed; its slot is free.
    Failed(DecodeError),
}
