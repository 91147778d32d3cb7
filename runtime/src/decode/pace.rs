//! How the reading of prompts and the making of tokens take turns.

use super::cost::Costs;

/// Ordinary steps by which a chunk may delay the tokens of those that decode.
const DELAY: f64 = 2.0;

/// What runs look like. Sums of another shape may round in another way, so this is also what the last bits of a result
/// may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shapes {
    /// As time tells. Beside sequences that decode, a prompt is read in chunks, one after each of their steps, each as
    /// long as two steps were measured to take at most, or full where all of them are patient. Prompts that nobody waits
    /// for are read in full chunks, short ones together.
    #[default]
    Measured,
    /// Always the same: prompts are read one by one in full chunks, with a step of those that decode after each, and a step
    /// is a run over all slots, idle ones too. So a sequence meets the same shapes whatever runs beside it, those that
    /// decode wait for a whole chunk, and a single sequence costs as many rows as there are slots.
    Fixed,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pub(super) shapes: Shapes,
    pub(super) costs: Costs,
    /// Whether the last run read a prompt while others could decode.
    pub(super) read: bool,
    /// Steps that could have verified drafts.
    pub(super) steps: u64,
}

impl Pace {
    /// Tokens that the next chunk beside others may have; none when it is their turn. `step` is the cells of their
    /// ordinary step, and whether all of them are patient; `columns` the most of a chunk.
    pub(super) fn chunk(&self, (step, patient): (usize, bool), columns: usize) -> Option<usize> {
        if self.read {
            return None;
        }
        if patient || self.shapes == Shapes::Fixed {
            return Some(columns);
        }
        // Their step is measured first.
        let most = DELAY * self.costs.of(step).filter(|_| self.costs.measured(step))?;
        let fits = |size: &usize| self.costs.of(*size).is_some_and(|seconds| seconds <= most);
        // A prompt goes on whatever it costs.
        Some(
            std::iter::successors(Some(columns), |size| (*size > 1).then_some(size / 2))
                .find(fits)
                .unwrap_or(1),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The chunk beside a step of some cells, where a run takes `fixed + cells * each` milliseconds.
    fn check((fixed, each): (u64, u64), step: usize, expected: usize) {
        let mut pace = Pace::default();
        let time = |cells: usize| Duration::from_millis(fixed + each * cells as u64);
        assert_eq!(pace.chunk((step, false), 256), None);
        pace.costs.record(256, time(256));
        pace.costs.record(step, time(step));
        assert_eq!(pace.chunk((step, false), 256), Some(expected));
        let taken = time(expected);
        assert!(expected == 1 || taken <= 2 * time(step), "{taken:?}");
        pace.read = true;
        assert_eq!(pace.chunk((step, false), 256), None);
    }

    #[test]
    fn a_chunk_takes_two_steps_at_most() {
        check((31, 1), 1, 32);
        check((30, 4), 1, 8);
        check((30, 4), 8, 16);
        check((1, 1), 1, 2);
        check((300, 1), 1, 256);
    }

    #[test]
    fn where_two_tokens_are_too_many_one_is_read() {
        let mut pace = Pace::default();
        pace.costs.record(1, Duration::from_millis(1));
        pace.costs.record(2, Duration::from_millis(9));
        assert_eq!(pace.chunk((1, false), 8), Some(1));
    }

    #[test]
    fn fixed_shapes_and_patient_sequences_do_not_ask_the_time() {
        assert_eq!(Pace { shapes: Shapes::Fixed, ..Pace::default() }.chunk((4, false), 256), Some(256));
        assert_eq!(Pace::default().chunk((4, true), 256), Some(256));
        assert_eq!(Pace { read: true, ..Pace::default() }.chunk((4, true), 256), None);
    }
}
