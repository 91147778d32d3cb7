//! A sequence in a slot: what is known of it, and what of that the slot holds.

use super::sample::Sampler;
use super::{Completion, Ended, Finish, Request, Ticket, Until};

/// A sequence in a slot.
pub(super) struct Sequence {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    pub(super) sampler: Sampler,
    /// The request's own rule for its end, as far as it was told of tokens.
    pub(super) ended: Option<Ended>,
    /// Tokens whose keys and values are in the slot.
    pub(super) cached: usize,
    /// Whether it waits for another to read the beginning that they share.
    pub(super) waits: bool,
    /// What was made so far.
    pub(super) made: Completion,
}

impl Sequence {
    pub(super) fn new(ticket: Ticket, request: Request) -> Sequence {
        let made = Completion {
            new_ids: Vec::new(),
            finish: Finish::Length,
            logprobs: Vec::new(),
            watched: Vec::new(),
            rows: Vec::new(),
            reused: 0,
            prefill: Default::default(),
            decode: Default::default(),
        };
        let sampler = Sampler::new(request.sampling, &request.ids);
        let ended = request.until.as_ref().map(Until::start);
        Sequence { ticket, sampler, ended, request, cached: 0, waits: false, made }
    }

    /// Tokens known so far: prompt and answer.
    pub(super) fn len(&self) -> usize {
        self.request.ids.len() + self.made.new_ids.len()
    }

    pub(super) fn prefilling(&self) -> bool {
        self.cached < self.request.ids.len()
    }

    /// Places whose output rows a run over the next `new` tokens gives: those to be read, or the last one when it is
    /// the end of what is known.
    pub(super) fn wanted(&self, new: usize) -> impl Iterator<Item = usize> {
        let part = self.cached..self.cached + new;
        let last = (self.request.read.is_empty() && new > 0 && part.end == self.len()).then(|| part.end - 1);
        let inside = move |place: &usize| part.contains(place);
        self.request.read.iter().copied().filter(inside).chain(last)
    }

    /// Tokens that the next run may take: no chunk crosses a mark.
    pub(super) fn waiting(&self, columns: usize) -> usize {
        let mark = self.request.prefix.iter().map(|mark| mark.tokens).find(|&tokens| tokens > self.cached);
        (mark.unwrap_or(self.len()).min(self.len()) - self.cached).min(columns)
    }

    /// Id, positions and feature row of the token at `place`.
    pub(super) fn token(&self, place: usize) -> (u32, [i64; 3], i64) {
        let prompt = self.request.ids.len();
        if place < prompt {
            let positions = self.request.positions.tokens[place];
            return (self.request.ids[place], positions, self.request.feature_rows[place]);
        }
        let made = place - prompt;
        (self.made.new_ids[made], [self.request.positions.next + made as i64; 3], -1)
    }
}
