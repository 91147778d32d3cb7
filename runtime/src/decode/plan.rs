//! One run: which slots take how many tokens, and the tensors that say so.

use rewardrt_models::spec::position::Rotary;

use super::pace::{Pace, Shapes};
use super::prefix::Held;
use super::sequence::Sequence;
use crate::session::{Geometry, StepInput};

/// A run: the first slot, and the new tokens of it and its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) first: usize,
    pub(super) new: Vec<usize>,
}

impl Plan {
    /// The next run, or `None` when no slot has work. Where some read their prompts and others decode they take turns.
    pub(super) fn next(slots: &[Option<Sequence>], columns: usize, pace: &mut Pace) -> Option<Plan> {
        let reading = (0..slots.len()).filter(|&i| prefilling(slots, i));
        let oldest = reading.min_by_key(|&i| slots[i].as_ref().map(|s| s.ticket));
        let step = Plan::step(slots, pace.shapes);
        let Some(oldest) = oldest else {
            pace.read = false;
            return step;
        };
        let Some(step) = step else {
            pace.read = false;
            return Some(match pace.shapes {
                Shapes::Measured => Plan::prompts(slots, columns),
                Shapes::Fixed => Plan::chunk(slots, oldest, columns),
            });
        };
        let patient = step.rows().all(|(slot, _)| slots[slot].as_ref().is_none_or(|s| s.request.patient));
        let chunk = pace.chunk((step.cells(), patient), columns);
        pace.read = chunk.is_some();
        Some(chunk.map_or(step, |most| Plan::chunk(slots, oldest, most)))
    }

    /// A token for each slot that decodes; `None` when none does.
    fn step(slots: &[Option<Sequence>], shapes: Shapes) -> Option<Plan> {
        let decodes = |&i: &usize| slots[i].as_ref().is_some_and(|s| !s.prefilling());
        let first = (0..slots.len()).find(decodes)?;
        let last = (0..slots.len()).rfind(decodes)?;
        let (first, last) = if shapes == Shapes::Fixed { (0, slots.len() - 1) } else { (first, last) };
        Some(Plan { first, new: (first..=last).map(|i| usize::from(decodes(&i))).collect() })
    }

    /// A part of one prompt.
    fn chunk(slots: &[Option<Sequence>], slot: usize, most: usize) -> Plan {
        Plan { first: slot, new: vec![slots[slot].as_ref().map_or(0, |s| s.waiting(most))] }
    }

    /// Parts of prompts that nobody waits for. A run is dense, `slots x columns`, so neighbours are taken only while the
    /// whole stays within the columns of one full chunk.
    fn prompts(slots: &[Option<Sequence>], columns: usize) -> Plan {
        let first = (0..slots.len()).find(|&i| prefilling(slots, i)).unwrap_or(0);
        let mut new: Vec<usize> = Vec::new();
        let mut widest = 0;
        let waiting =
            |i: usize| slots[i].as_ref().filter(|_| prefilling(slots, i)).map(|s| s.waiting(columns));
        for waiting in (first..slots.len()).map_while(waiting) {
            widest = widest.max(waiting);
            if !new.is_empty() && (new.len() + 1) * widest > columns {
                break;
            }
            new.push(waiting);
        }
        Plan { first, new }
    }

    /// Cells of the run: rows times columns.
    pub(super) fn cells(&self) -> usize {
        self.new.len() * self.columns()
    }

    fn columns(&self) -> usize {
        self.new.iter().copied().max().unwrap_or(0)
    }

    /// The slots that take tokens, with how many.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.new.iter().enumerate().filter(|(_, n)| **n > 0).map(|(row, n)| (self.first + row, *n))
    }

    /// Writes the run's tensors over those of an earlier one. Wanted are the places of [`Sequence::wanted`], in slot order.
    pub(super) fn fill(
        &self,
        (slots, held): (&[Option<Sequence>], &Held),
        g: &Geometry,
        rotary: &Rotary,
        step: &mut StepInput,
    ) {
        clear(step, g);
        (step.first_slot, step.columns) = (self.first, self.columns());
        for (row, &new) in self.new.iter().enumerate() {
            let sequence = slots[self.first + row].as_ref();
            push_row(step, sequence, new, rotary);
            // An idle row says what its slot holds, so that nothing of it is touched; that of an empty slot says one token,
            // the least that can be said. It is zeroes or what an earlier sequence left, and nothing that is read depends
            // on it.
            let cached = sequence.map_or_else(|| held.kept(self.first + row), |s| s.cached);
            step.seqlens_k.push((cached + new).max(1) as i32 - 1);
            step.query_seqlens.push(new as i32);
            let wanted = sequence.into_iter().flat_map(|s| s.wanted(new).map(|place| place - s.cached));
            step.logit_rows.extend(wanted.map(|column| (row * step.columns + column) as i64));
        }
        if step.features.is_empty() {
            step.features.resize(g.hidden, 0.0);
            step.deepstack.iter_mut().for_each(|table| table.resize(g.hidden, 0.0));
        }
        if step.logit_rows.is_empty() {
            // The head wants a row; nobody reads it.
            step.logit_rows.push(0);
        }
    }
}

/// Whether a slot's sequence has a prompt to read now.
fn prefilling(slots: &[Option<Sequence>], slot: usize) -> bool {
    slots[slot].as_ref().is_some_and(|s| s.prefilling() && !s.waits)
}

/// A step of nothing, whose memory is kept from run to run.
fn clear(step: &mut StepInput, g: &Geometry) {
    step.ids.clear();
    step.feature_rows.clear();
    step.features.clear();
    step.deepstack.resize(g.deepstack, Vec::new());
    step.deepstack.iter_mut().for_each(Vec::clear);
    step.cos.clear();
    step.sin.clear();
    step.seqlens_k.clear();
    step.query_seqlens.clear();
    step.logit_rows.clear();
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
