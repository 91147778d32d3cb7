//! A sequence in a slot: what is known of it, and what of that the slot holds.

use super::allow::{Allow, Constraint};
use super::draft::{Ahead, Drafts};
use super::sample::Sampler;
use super::{Completion, Ended, Finish, Request, Ticket, Until};

/// A sequence in a slot.
pub(super) struct Sequence {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    pub(super) sampler: Sampler,
    /// The request's own rule for its end, as far as it was told of tokens.
    pub(super) ended: Option<Ended>,
    /// What the answer is held to.
    allow: Option<Box<dyn Allow>>,
    /// Drafts of what follows.
    pub(super) ahead: Ahead,
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
            constrained: 0,
            drafted: Default::default(),
            prefill: Default::default(),
            decode: Default::default(),
        };
        let sampler = Sampler::new(request.sampling, &request.ids);
        let ended = request.until.as_ref().map(Until::start);
        let allow = request.constraint.as_ref().map(Constraint::start);
        let ahead = Ahead::new(request.drafts.as_ref().map(|drafts: &Drafts| drafts.start(&request.ids)));
        Sequence { ticket, sampler, ended, allow, ahead, request, cached: 0, waits: false, made }
    }

    /// The next token by its scores, which are finite; none when nothing is allowed.
    pub(super) fn choose(&mut self, scores: &[f32]) -> Option<u32> {
        let mut id = self.sampler.choose(scores);
        if let Some(allow) = &mut self.allow {
            if !allow.allows(id) {
                let narrow = |(id, &score)| if allow.allows(id) { score } else { f32::NEG_INFINITY };
                let narrowed: Vec<f32> = (0..).zip(scores).map(narrow).collect();
                if narrowed.iter().all(|score| *score == f32::NEG_INFINITY) {
                    return None;
                }
                self.made.constrained += 1;
                id = self.sampler.choose(&narrowed);
            }
            allow.told(id);
        }
        self.sampler.took(id);
        Some(id)
    }

    /// Tokens known so far: prompt and answer.
    pub(super) fn len(&self) -> usize {
        self.request.ids.len() + self.made.new_ids.len()
    }

    pub(super) fn prefilling(&self) -> bool {
        self.cached < self.request.ids.len()
    }

    /// Places whose output rows a run over the next `new` tokens gives: those to be read, or those from the last known
    /// token on.
    pub(super) fn wanted(&self, new: usize) -> impl Iterator<Item = usize> {
        let part = self.cached..self.cached + new;
        let open = if self.request.read.is_empty() && new > 0 { self.len() - 1 } else { part.end };
        let last = open.max(part.start)..part.end;
        let inside = move |place: &usize| part.contains(place);
        self.request.read.iter().copied().filter(inside).chain(last)
    }

    /// Tokens that the next run may take: no chunk crosses a mark.
    pub(super) fn waiting(&self, columns: usize) -> usize {
        let mark = self.request.prefix.iter().map(|mark| mark.tokens).find(|&tokens| tokens > self.cached);
        (mark.unwrap_or(self.len()).min(self.len()) - self.cached).min(columns)
    }

    /// Id, positions and feature row of the token at `place`, which may be a drafted one.
    pub(super) fn token(&self, place: usize) -> (u32, [i64; 3], i64) {
        let prompt = self.request.ids.len();
        if place < prompt {
            let positions = self.request.positions.tokens[place];
            return (self.request.ids[place], positions, self.request.feature_rows[place]);
        }
        let made = place - prompt;
        let drafted = || self.ahead.draft[made - self.made.new_ids.len()].id;
        let id = self.made.new_ids.get(made).copied().unwrap_or_else(drafted);
        (id, [self.request.positions.next + made as i64; 3], -1)
    }
}
