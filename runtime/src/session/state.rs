//! Which side holds each slot's recurrent states, and after how many tokens.
//!
//! A run reads one side of all its slots and writes the other, idle slots too, whose states pass through unchanged.
//! Only a run that succeeded turns the sides, so after a failed one every slot still has what it had. Slots that come
//! from different runs may stand on different sides; the fewer are copied over before a run, which in steady decoding
//! over the same slots is none.
//!
//! A sequence that starts is zeroed here, once, and not in the graph: there it would cost a `Where` over the whole state
//! in every layer and run, which took longer than the layer's own recurrence (3.3 ms against 2.9 for eight slots of 32
//! heads of 128 x 128 on one core).

use super::kv::KvRunner;
use super::{SessionError, StepInput};

/// Where a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    side: usize,
    /// Tokens of the sequence whose state it holds; 0 when it holds none.
    tokens: usize,
}

/// The slots of a recurrent decoder.
pub(super) struct SlotStates {
    slots: Vec<Slot>,
}

impl SlotStates {
    pub(super) fn new(slots: usize) -> SlotStates {
        SlotStates { slots: vec![Slot::default(); slots] }
    }

    /// Makes the states of a checked step's slots ready and returns the side to read: sequences that start are zeroed,
    /// whatever was left there, and all rows stand on one side.
    ///
    /// # Errors
    /// [`SessionError::State`] when a row does not go on from the end of what its slot holds; nothing is changed then.
    pub(super) fn begin(&mut self, step: &StepInput, runner: &mut KvRunner) -> Result<usize, SessionError> {
        for (slot, past, _) in rows(step).filter(|(_, past, new)| *new > 0 && *past > 0) {
            self.holds(slot, past)?;
        }
        let here = &self.slots[step.first_slot..step.first_slot + step.rows()];
        let side = usize::from(2 * here.iter().filter(|slot| slot.side == 1).count() > here.len());
        for (at, past, new) in rows(step) {
            let slot = &mut self.slots[at];
            if new > 0 && past == 0 {
                runner.clear_states((at, side))?;
                slot.tokens = 0;
            } else if slot.side != side && slot.tokens > 0 {
                runner.copy_states((at, slot.side), (at, side))?;
            }
            slot.side = side;
        }
        Ok(side)
    }

    /// Turns the slots of a step that was run to the side that it wrote.
    pub(super) fn commit(&mut self, step: &StepInput) {
        for (at, past, new) in rows(step) {
            let slot = &mut self.slots[at];
            slot.side = 1 - slot.side;
            if new > 0 {
                slot.tokens = past + new;
            }
        }
    }

    /// Copies the states of one slot to another. Slots are in range.
    ///
    /// # Errors
    /// [`SessionError::State`] unless the slot holds exactly that many tokens, or none is asked for.
    pub(super) fn copy(
        &mut self,
        from: usize,
        to: usize,
        tokens: usize,
        runner: &mut KvRunner,
    ) -> Result<(), SessionError> {
        if tokens > 0 {
            self.holds(from, tokens)?;
            let (source, target) = (self.slots[from], self.slots[to]);
            runner.copy_states((from, source.side), (to, target.side))?;
        }
        self.slots[to].tokens = tokens;
        Ok(())
    }

    fn holds(&self, slot: usize, asked: usize) -> Result<(), SessionError> {
        let held = self.slots[slot].tokens;
        if held == asked { Ok(()) } else { Err(SessionError::State { slot, held, asked }) }
    }
}

/// Slot, past and new tokens of each row.
fn rows(step: &StepInput) -> impl Iterator<Item = (usize, usize, usize)> {
    let lengths = step.seqlens_k.iter().zip(&step.query_seqlens);
    lengths
        .enumerate()
        .map(|(row, (&last, &new))| (step.first_slot + row, (last + 1 - new) as usize, new as usize))
}
