//! Drafts: how a sequence may go on, to be verified in one run.
//!
//! A run over the last known token and `k` drafted ones gives the outputs behind each of them. The engine chooses tokens
//! from these in order, with the sampler that plain decoding has, and goes on to the next output only while the chosen
//! token is the drafted one. So what is written is what would have been written without, whether tokens are drawn or not:
//! a draft costs time when it is wrong, and nothing else. Rows of the cache behind the last accepted token are written
//! over by the next run.

mod lookup;

use std::fmt;
use std::sync::Arc;

use super::pace::Pace;
use super::plan::Plan;
use super::sequence::Sequence;

pub use lookup::{Lookup, Store};

/// Most tokens of a draft.
pub(super) const MOST: usize = 15;
/// Share of drafted tokens that are taken to be right before any was verified, for each of the [`Grounds`].
const TRUST: [f64; 3] = [0.9, 0.8, 0.5];
/// Weight of the newest token in that share.
const NEWEST: f64 = 0.05;
/// Every so many steps a longer draft is tried than what was measured speaks for, so that a single slow run is not
/// believed for ever.
const TRIAL: u64 = 32;

/// Why a token is drafted. Each is believed as far as it was right of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds {
    /// It follows from the form of the answer.
    Form,
    /// It followed many of the same tokens before.
    Context,
    /// It followed a few of the same tokens before.
    Echo,
}

/// A drafted token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// Its id; one that the model does not have ends the draft.
    pub id: u32,
    /// Why it is drafted.
    pub grounds: Grounds,
}

/// Proposes how one sequence goes on.
pub trait Draft: Send {
    /// The next token of the answer, as it was chosen.
    fn told(&mut self, id: u32);

    /// At most `most` tokens that are likely to follow; none without an idea.
    fn propose(&mut self, most: usize) -> Vec<Guess>;
}

/// Starts the drafts of a sequence with this prompt.
type Start = dyn Fn(&[u32]) -> Box<dyn Draft> + Send + Sync;

/// Where the drafts of a request come from. Copies of the request share it, and each sequence starts it anew.
#[derive(Clone)]
pub struct Drafts(Arc<Start>);

impl Drafts {
    /// Drafts that are started by this, with the prompt.
    pub fn new(start: impl Fn(&[u32]) -> Box<dyn Draft> + Send + Sync + 'static) -> Drafts {
        Drafts(Arc::new(start))
    }

    /// The drafts of a new sequence.
    pub(super) fn start(&self, prompt: &[u32]) -> Box<dyn Draft> {
        (self.0)(prompt)
    }
}

impl fmt::Debug for Drafts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drafts")
    }
}

/// What became of a sequence's drafts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drafted {
    /// Tokens that were drafted and verified.
    pub drafted: usize,
    /// Those of them that were right.
    pub accepted: usize,
    /// Runs that made tokens, but for the one that read the end of the prompt.
    pub runs: usize,
}

/// A sequence's drafts.
pub(super) struct Ahead {
    source: Option<Box<dyn Draft>>,
    /// What the next run, or the one at work, verifies.
    pub(super) draft: Vec<Guess>,
    /// Share of drafted tokens that are right, of late, for each of the [`Grounds`].
    trust: [f64; 3],
}

impl Ahead {
    pub(super) fn new(source: Option<Box<dyn Draft>>) -> Ahead {
        Ahead { source, draft: Vec::new(), trust: TRUST }
    }

    pub(super) fn told(&mut self, id: u32) {
        if let Some(source) = &mut self.source {
            source.told(id);
        }
    }

    /// Asks for at most `most` tokens, of which ids below `vocabulary` are taken.
    fn look(&mut self, most: usize, vocabulary: usize) {
        self.draft = match &mut self.source {
            Some(source) if most > 0 => source.propose(most),
            _ => Vec::new(),
        };
        let exist = self.draft.iter().take_while(|guess| (guess.id as usize) < vocabulary).count();
        self.draft.truncate(exist.min(most));
    }

    /// Learns that the first `right` of these were as drafted, and the next, if there is one, was not.
    pub(super) fn learn(&mut self, drafted: &[Guess], right: usize) {
        for (at, guess) in drafted.iter().take(right + 1).enumerate() {
            let trust = &mut self.trust[guess.grounds as usize];
            *trust += NEWEST * (f64::from(u8::from(at < right)) - *trust);
        }
    }

    /// Tokens that a run which verifies `most` of the draft makes, on average.
    fn expected(&self, most: usize) -> f64 {
        let mut still = 1.0;
        let more = self.draft.iter().take(most).map(|guess| {
            still *= self.trust[guess.grounds as usize];
            still
        });
        1.0 + more.sum::<f64>()
    }
}

/// Makes a step that decodes verify drafts, as many tokens as pay. `vocabulary` bounds their ids, `columns` the run.
pub(super) fn widen(
    plan: &mut Plan,
    slots: &mut [Option<Sequence>],
    pace: &mut Pace,
    (vocabulary, columns): (usize, usize),
) {
    let of: Vec<usize> = plan.rows().map(|(slot, _)| slot).collect();
    for &slot in &of {
        let Some(sequence) = &mut slots[slot] else { continue };
        if sequence.prefilling() {
            return;
        }
        let left = sequence.request.max_new_tokens - sequence.made.new_ids.len();
        sequence.ahead.look(MOST.min(left.saturating_sub(1)).min(columns - 1), vocabulary);
    }
    let most = width(plan, slots, pace);
    for (row, new) in plan.new.iter_mut().enumerate().filter(|(_, new)| **new > 0) {
        if let Some(sequence) = &mut slots[plan.first + row] {
            sequence.ahead.draft.truncate(most);
            *new = 1 + sequence.ahead.draft.len();
        }
    }
}

/// The length of drafts that makes most tokens a second.
fn width(plan: &Plan, slots: &[Option<Sequence>], pace: &mut Pace) -> usize {
    let live = || plan.rows().filter_map(|(slot, _)| slots[slot].as_ref());
    let longest = live().map(|s| s.ahead.draft.len()).max().unwrap_or(0);
    // A step without drafts is measured before anything is compared with it.
    if longest == 0 || !pace.costs.measured(plan.new.len()) {
        return 0;
    }
    let sizes: Vec<usize> = [0, 1, 3, 7, MOST].into_iter().filter(|&k| k == 0 || k / 2 < longest).collect();
    let speed = |k: usize| {
        let tokens: f64 = live().map(|s| s.ahead.expected(k)).sum();
        let seconds = pace.costs.of(plan.new.len() * (1 + k.min(longest)))?;
        Some(tokens / seconds.max(f64::MIN_POSITIVE))
    };
    let speeds: Vec<f64> = sizes.iter().map(|&k| speed(k).unwrap_or(0.0)).collect();
    let best = (0..speeds.len()).max_by(|&a, &b| speeds[a].total_cmp(&speeds[b])).unwrap_or(0);
    pace.steps += 1;
    let trial = usize::from(pace.steps.is_multiple_of(TRIAL));
    sizes[(best + trial).min(sizes.len() - 1)]
}
