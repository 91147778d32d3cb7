//! What becomes of a run's outputs.

use std::time::Duration;

use ndarray::{Array2, ArrayView1};

use super::plan::Plan;
use super::prefix::Held;
use super::sample::LogSoftmax;
use super::sequence::Sequence;
use super::{Completion, DecodeError, Event, Finish, Ticket};
use crate::session::SessionError;

/// Gives each sequence of a run its rows of the outputs, and takes those that ended out of their slots.
pub(super) fn settle(
    (slots, held): (&mut [Option<Sequence>], &mut Held),
    plan: &Plan,
    (outputs, time): (&Array2<f32>, Duration),
    events: &mut Vec<(Ticket, Event)>,
) {
    let (mut rows, mut own) = (outputs.rows().into_iter(), Vec::new());
    for (slot, new) in plan.rows() {
        let Some(sequence) = slots[slot].as_mut() else { continue };
        let prompt = sequence.prefilling();
        *(if prompt { &mut sequence.made.prefill } else { &mut sequence.made.decode }) += time;
        let wanted = sequence.wanted(new).count();
        // All of this sequence's rows are taken, so that the next sequence finds its own.
        own.clear();
        own.extend(rows.by_ref().take(wanted));
        let ticket = sequence.ticket;
        let ended = if prompt {
            sequence.cached += new;
            held.reached(slot, sequence);
            match sequence.request.read.is_empty() {
                true if wanted == 0 => continue,
                true => {
                    own.first().map_or_else(|| Some(Err(too_few())), |row| advance(sequence, *row, events))
                }
                false => keep(sequence, &own, wanted),
            }
        } else {
            verify(sequence, &own, events)
        };
        if let Some(end) = ended {
            let event = match end {
                Ok(finish) => slots[slot].take().map(|s| Event::Done(Completion { finish, ..s.made })),
                Err(error) => {
                    // Whatever went wrong, nobody shall go on from it.
                    held.overwritten(slot);
                    slots[slot].take().map(|_| Event::Failed(error))
                }
            };
            events.extend(event.map(|event| (ticket, event)));
        }
    }
}

/// Takes the row behind the last known token, and the one behind each drafted token as long as drafts are right; says how
/// the sequence ended, if it did.
fn verify(
    sequence: &mut Sequence,
    rows: &[ArrayView1<'_, f32>],
    events: &mut Vec<(Ticket, Event)>,
) -> Option<Result<Finish, DecodeError>> {
    let drafted = std::mem::take(&mut sequence.ahead.draft);
    if rows.len() != 1 + drafted.len() {
        return Some(Err(too_few()));
    }
    sequence.made.drafted.runs += 1;
    let (mut right, mut ended) = (0, None);
    for (at, row) in rows.iter().enumerate() {
        // The token before the row is known, so its place in the slot holds what it should.
        sequence.cached += 1;
        ended = advance(sequence, *row, events);
        let as_drafted = drafted.get(at).map(|guess| &guess.id) == sequence.made.new_ids.last();
        if ended.is_some() || !as_drafted {
            break;
        }
        right += 1;
    }
    // What stands behind the end of an answer was not verified.
    let verified = if ended.is_some() { right } else { drafted.len() };
    sequence.made.drafted.drafted += drafted.len();
    sequence.made.drafted.accepted += right;
    sequence.ahead.learn(&drafted[..verified], right);
    ended
}

fn too_few() -> DecodeError {
    SessionError::Input("the session gave too few rows of outputs".into()).into()
}

/// Keeps rows of a sequence that is only read; says how it ended, if it did.
fn keep(
    sequence: &mut Sequence,
    rows: &[ArrayView1<'_, f32>],
    wanted: usize,
) -> Option<Result<Finish, DecodeError>> {
    if rows.len() < wanted {
        return Some(Err(too_few()));
    }
    if rows.iter().any(|row| row.iter().any(|output| !output.is_finite())) {
        return Some(Err(DecodeError::NonFinite { tokens: sequence.cached }));
    }
    sequence.made.rows.extend(rows.iter().map(|row| row.to_vec()));
    (sequence.cached == sequence.len()).then_some(Ok(Finish::Length))
}

/// Takes one row of logits; says how the sequence ended, if it did.
fn advance(
    sequence: &mut Sequence,
    row: ArrayView1<'_, f32>,
    events: &mut Vec<(Ticket, Event)>,
) -> Option<Result<Finish, DecodeError>> {
    let owned;
    let scores = match row.as_slice() {
        Some(scores) => scores,
        None => {
            owned = row.to_vec();
            &owned
        }
    };
    if scores.is_empty() || scores.iter().any(|score| !score.is_finite()) {
        return Some(Err(DecodeError::NonFinite { tokens: sequence.len() }));
    }
    let softmax = LogSoftmax::of(scores);
    let watched: Vec<f32> =
        sequence.request.watch.iter().map(|&id| softmax.at(scores[id as usize])).collect();
    sequence.made.watched.push(watched.clone());
    if sequence.request.max_new_tokens == 0 {
        return Some(Ok(Finish::Length));
    }
    let Some(id) = sequence.choose(scores) else {
        return Some(Err(DecodeError::NoToken { tokens: sequence.len() }));
    };
    let logprob = softmax.at(scores[id as usize]);
    sequence.made.logprobs.push(logprob);
    sequence.made.new_ids.push(id);
    sequence.ahead.told(id);
    events.push((sequence.ticket, Event::Token { id, logprob, watched }));
    if sequence.request.stop.contains(&id) {
        return Some(Ok(Finish::Stop));
    }
    if sequence.ended.as_mut().is_some_and(|ended| ended(id)) {
        return Some(Ok(Finish::Until));
    }
    (sequence.made.new_ids.len() == sequence.request.max_new_tokens).then_some(Ok(Finish::Length))
}
