//! Beginnings that prompts share, and which slot holds which.
//!
//! A slot keeps the rows of its last sequence until another one writes there, so an ended sequence's beginning can be
//! taken over as it is, and a running one's copied. Of two that are admitted together the later one waits until the
//! earlier one has read what they share. A prompt is cut into chunks at its marks whether or not anything is shared, so a
//! sequence meets the same chunks either way.

use super::sequence::Sequence;
use super::{Request, Ticket};

/// A place of a prompt up to which another prompt may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Tokens before the place: at least one, and fewer than the prompt has.
    pub tokens: usize,
    /// A hash of all that the rows of these tokens depend on: ids, positions, and the contents of their features. Two
    /// prompts with the same key are taken to be the same up to here.
    pub key: [u8; 32],
}

/// What slots hold.
pub(super) struct Held {
    slots: Vec<Holding>,
    /// Whether anything is shared at all.
    pub(super) on: bool,
    /// Whether a beginning is still known when more was written behind it.
    pub(super) cuts: bool,
}

#[derive(Default)]
struct Holding {
    /// Beginnings whose rows are there.
    marks: Vec<Mark>,
    /// The last sequence that was put there.
    used: Option<Ticket>,
}

impl Held {
    pub(super) fn new(slots: usize, cuts: bool) -> Held {
        Held { slots: (0..slots).map(|_| Holding::default()).collect(), on: true, cuts }
    }

    /// The free slot for a request: one that makes the runs of the live ones no wider than need be; of those the one that
    /// holds most of the request's beginning, else one that holds nothing, else the one that was used longest ago.
    pub(super) fn choose(&self, slots: &[Option<Sequence>], request: &Request) -> Option<usize> {
        let live = || (0..slots.len()).filter(|&i| slots[i].is_some());
        let (first, last) = (live().next(), live().next_back());
        let cost = |&slot: &usize| {
            let width = last.unwrap_or(slot).max(slot) - first.unwrap_or(slot).min(slot);
            if !self.on || !self.cuts {
                return (width, 0, false, None);
            }
            let (shared, holding) = (self.shared(slot, request).unwrap_or(0), &self.slots[slot]);
            (width, usize::MAX - shared, !holding.marks.is_empty(), holding.used)
        };
        (0..slots.len()).filter(|&i| slots[i].is_none()).min_by_key(cost)
    }

    /// A sequence was put into a slot, and has not been run yet.
    pub(super) fn admitted(&mut self, slot: usize, ticket: Ticket) {
        self.slots[slot].used = Some(ticket);
    }

    /// A run will write into a slot from its first row on.
    pub(super) fn overwritten(&mut self, slot: usize) {
        self.slots[slot].marks.clear();
    }

    /// A sequence's beginning stands in its slot, as far as it is cached.
    pub(super) fn reached(&mut self, slot: usize, sequence: &Sequence) {
        let marks = &mut self.slots[slot].marks;
        for mark in &sequence.request.prefix {
            if mark.tokens <= sequence.cached && !marks.contains(mark) {
                marks.push(*mark);
            }
        }
    }

    /// Tokens of the longest beginning that a slot holds.
    pub(super) fn kept(&self, slot: usize) -> usize {
        self.slots[slot].marks.iter().map(|mark| mark.tokens).max().unwrap_or(0)
    }

    /// Tokens of the longest beginning of a request that a slot holds.
    fn shared(&self, slot: usize, request: &Request) -> Option<usize> {
        let marks = &self.slots[slot].marks;
        usable(request).filter(|mark| marks.contains(mark)).map(|mark| mark.tokens).max()
    }

    /// The slot with more of a sequence's beginning than the sequence has, and how many tokens: the sequence's own where
    /// it holds as many as any.
    pub(super) fn source(&self, slots: &[Option<Sequence>], to: usize) -> Option<(usize, usize)> {
        let sequence = slots[to].as_ref().filter(|s| self.on && s.prefilling())?;
        let known = |from: usize| {
            let tokens = self.shared(from, &sequence.request)?;
            let there = self.cuts || slots[from].as_ref().is_some_and(|s| from != to && s.cached == tokens);
            (there && tokens > sequence.cached).then_some((from, tokens))
        };
        let others = (0..slots.len()).rev().filter(|&from| from != to);
        others.chain([to]).filter_map(known).max_by_key(|&(_, tokens)| tokens)
    }

    /// Whether a sequence does better to wait: one that came before it is about to read what they share.
    pub(super) fn waits(&self, slots: &[Option<Sequence>], slot: usize) -> bool {
        let Some(sequence) = slots[slot].as_ref().filter(|s| self.on && s.prefilling()) else { return false };
        let earlier = slots.iter().flatten().filter(|other| other.ticket < sequence.ticket);
        let ahead = |other: &Sequence| {
            let wanted = usable(&sequence.request).filter(|mark| mark.tokens > sequence.cached);
            let mut coming = wanted.filter(|mark| mark.tokens > other.cached);
            coming.any(|mark| other.request.prefix.contains(mark))
        };
        earlier.into_iter().any(ahead)
    }
}

/// The marks up to which a request can do without outputs of its own.
fn usable(request: &Request) -> impl Iterator<Item = &Mark> {
    let first = request.read.first().copied().unwrap_or(usize::MAX);
    request.prefix.iter().filter(move |mark| mark.tokens <= first)
}
