//! One run: which slots take how many tokens, and the tensors that say so.

use rewardrt_models::spec::position::Rotary;

use super::Request;
use super::sample::Sampler;
use super::{Completion, Finish, Ticket};
use crate::session::{Geometry, StepInput};

/// A sequence in a slot.
pub(super) struct Sequence {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    pub(super) sampler: Sampler,
    /// Tokens whose keys and values are in the slot.
    pub(super) cached: usize,
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
            prefill: Default::default(),
            decode: Default::default(),
        };
        Sequence { ticket, sampler: Sampler::new(request.sampling, &request.ids), request, cached: 0, made }
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

    /// Tokens that the next run may take.
    fn waiting(&self, columns: usize) -> usize {
        (self.len() - self.cached).min(columns)
    }

    /// Id, positions and feature row of the token at `place`.
    fn token(&self, place: usize) -> (u32, [i64; 3], i64) {
        let prompt = self.request.ids.len();
        if place < prompt {
            let positions = self.request.positions.tokens[place];
            return (self.request.ids[place], positions, self.request.feature_rows[place]);
        }
        let made = place - prompt;
        (self.made.new_ids[made], [self.request.positions.next + made as i64; 3], -1)
    }
}

/// A run: the first slot, and the new tokens of it and its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) first: usize,
    pub(super) new: Vec<usize>,
}

impl Plan {
    /// The next run, or `None` when no slot has work.
    ///
    /// Prompts come first: a slot is prefilled once before it decodes, so nobody waits longer than the other slots'
    /// prompts, and decode runs are as full as they can be. A run is dense, `slots x columns`, so a prefill run
    /// takes neighbours only while the whole stays within the columns of one full chunk. Each sequence's chunks
    /// start at multiples of the chunk size whatever its neighbours do.
    pub(super) fn next(slots: &[Option<Sequence>], columns: usize) -> Option<Plan> {
        let live = |i: usize| slots[i].as_ref();
        let prefilling = |i: usize| live(i).filter(|s| s.prefilling()).map(|s| s.waiting(columns));
        if let Some(first) = (0..slots.len()).find(|&i| prefilling(i).is_some()) {
            let mut new: Vec<usize> = Vec::new();
            let mut widest = 0;
            for waiting in (first..slots.len()).map_while(prefilling) {
                widest = widest.max(waiting);
                if !new.is_empty() && (new.len() + 1) * widest > columns {
                    break;
                }
                new.push(waiting);
            }
            return Some(Plan { first, new });
        }
        let first = (0..slots.len()).find(|&i| live(i).is_some())?;
        let last = (0..slots.len()).rfind(|&i| live(i).is_some())?;
        Some(Plan { first, new: (first..=last).map(|i| usize::from(live(i).is_some())).collect() })
    }

    /// The slots that take tokens, with how many.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.new.iter().enumerate().filter(|(_, n)| **n > 0).map(|(row, n)| (self.first + row, *n))
    }

    /// The run's tensors. Wanted are the places of [`Sequence::wanted`], in slot order.
    pub(super) fn input(&self, slots: &[Option<Sequence>], g: &Geometry, rotary: &Rotary) -> StepInput {
        let columns = self.new.iter().copied().max().unwrap_or(0);
        let mut step = StepInput {
            first_slot: self.first,
            columns,
            ids: Vec::with_capacity(self.new.len() * columns),
            feature_rows: Vec::with_capacity(self.new.len() * columns),
            features: Vec::new(),
            deepstack: vec![Vec::new(); g.deepstack],
            cos: Vec::with_capacity(self.new.len() * columns * g.rotary_width),
            sin: Vec::with_capacity(self.new.len() * columns * g.rotary_width),
            seqlens_k: Vec::with_capacity(self.new.len()),
            query_seqlens: Vec::with_capacity(self.new.len()),
            logit_rows: Vec::new(),
        };
        for (row, &new) in self.new.iter().enumerate() {
            let sequence = slots[self.first + row].as_ref();
            push_row(&mut step, sequence, new, rotary);
            let wanted = sequence.into_iter().flat_map(|s| s.wanted(new).map(|place| place - s.cached));
            step.logit_rows.extend(wanted.map(|column| (row * columns + column) as i64));
        }
        if step.features.is_empty() {
            step.features.resize(g.hidden, 0.0);
            step.deepstack.iter_mut().for_each(|table| table.resize(g.hidden, 0.0));
        }
        if step.logit_rows.is_empty() {
            // The head wants a row; nobody reads it.
            step.logit_rows.push(0);
        }
        step
    }
}

/// Appends one row of cells: the next `new` tokens, then padding.
fn push_row(step: &mut StepInput, sequence: Option<&Sequence>, new: usize, rotary: &Rotary) {
    let cached = sequence.map_or(0, |s| s.cached);
    for column in 0..step.columns {
        let token = sequence.filter(|_| column < new).map(|s| s.token(cached + column));
        let (id, position, feature) = token.unwrap_or((0, [0; 3], -1));
        step.ids.push(i64::from(id));
        rotary.push(position, &mut step.cos, &mut step.sin);
        let row = sequence.and_then(|s| push_feature(step, s, feature));
        step.feature_rows.push(row.unwrap_or(-1));
    }
    // An idle row of an empty slot says that it holds one token, the least that can be said; it is zeroes or what
    // an earlier sequence left, and nothing that is read depends on it.
    step.seqlens_k.push((cached + new).max(1) as i32 - 1);
    step.query_seqlens.push(new as i32);
}

/// Copies the feature row of a token into the run's table and returns its place there.
fn push_feature(step: &mut StepInput, sequence: &Sequence, feature: i64) -> Option<i64> {
    let features = sequence.request.features.as_ref().filter(|_| feature >= 0)?;
    let at = step.features.len() / features.rows.ncols().max(1);
    step.features.extend(features.rows.row(feature as usize));
    for (table, source) in step.deepstack.iter_mut().zip(&features.deepstack) {
        table.extend(source.row(feature as usize));
    }
    Some(at as i64)
}
