//! Drafts from what was written before: where the last few tokens stood earlier, what followed them may follow again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{Draft, Grounds, Guess};

/// Most tokens of earlier answers that are looked through: each proposal reads them all, which takes tens of
/// microseconds.
const MOST_IDS: usize = 16 * 1024;
/// Fewest tokens that must be the same, and most that are compared.
const CONTEXT: (usize, usize) = (2, 16);
/// Tokens from which on a context is a long one.
const LONG: usize = 6;

/// Earlier answers, for all that begin after them. The oldest go when there are too many.
#[derive(Debug, Default)]
pub struct Store {
    answers: Mutex<VecDeque<Arc<[u32]>>>,
}

impl Store {
    /// Keeps an answer.
    pub fn put(&self, ids: &[u32]) {
        if ids.len() < CONTEXT.0 || ids.len() > MOST_IDS {
            return;
        }
        // Nothing panics while it is held; and without earlier answers drafts are only worse.
        let Ok(mut answers) = self.answers.lock() else { return };
        answers.push_back(ids.into());
        let mut all: usize = answers.iter().map(|ids| ids.len()).sum();
        while all > MOST_IDS {
            all -= answers.pop_front().map_or(all, |ids| ids.len());
        }
    }

    /// The answers, the latest first.
    fn all(&self) -> Vec<Arc<[u32]>> {
        self.answers.lock().map(|answers| answers.iter().rev().cloned().collect()).unwrap_or_default()
    }
}

/// Looks for the last tokens of a sequence in what it says, in its prompt, and in earlier answers.
#[derive(Debug)]
pub struct Lookup {
    earlier: Vec<Arc<[u32]>>,
    /// Prompt and answer.
    own: Vec<u32>,
}

impl Lookup {
    /// A lookup for the answer to a prompt, in what `store` holds now.
    pub fn new(prompt: &[u32], store: &Store) -> Lookup {
        Lookup { earlier: store.all(), own: prompt.to_vec() }
    }

    /// What followed the longest of the latest contexts that end as the sequence and `more` do; at most `most` tokens.
    pub fn after(&self, more: &[Guess], most: usize) -> Vec<Guess> {
        let own = &self.own[self.own.len().saturating_sub(CONTEXT.1)..];
        let context: Vec<u32> = own.iter().copied().chain(more.iter().map(|guess| guess.id)).collect();
        let context = &context[context.len().saturating_sub(CONTEXT.1)..];
        let texts = std::iter::once(&self.own[..]).chain(self.earlier.iter().map(|ids| &ids[..]));
        let mut best: Option<(usize, &[u32])> = None;
        for text in texts {
            for end in (1..text.len()).rev() {
                let same = same(&text[..end], context);
                if same >= CONTEXT.0 && best.is_none_or(|(most, _)| same > most) {
                    best = Some((same, &text[end..]));
                }
            }
            if best.is_some_and(|(same, _)| same == context.len()) {
                break;
            }
        }
        let Some((same, rest)) = best else { return Vec::new() };
        let grounds = if same >= LONG { Grounds::Context } else { Grounds::Echo };
        rest.iter().take(most).map(|&id| Guess { id, grounds }).collect()
    }
}

impl Draft for Lookup {
    fn told(&mut self, id: u32) {
        self.own.push(id);
    }

    fn propose(&mut self, most: usize) -> Vec<Guess> {
        self.after(&[], most)
    }
}

/// Tokens at the ends of both that are the same.
fn same(a: &[u32], b: &[u32]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is proposed behind a prompt and the answer so far, with these earlier answers.
    fn check(earlier: &[&[u32]], prompt: &[u32], told: &[u32], expected: &[u32]) {
        let store = Store::default();
        earlier.iter().for_each(|ids| store.put(ids));
        let mut lookup = Lookup::new(prompt, &store);
        told.iter().for_each(|&id| lookup.told(id));
        assert_eq!(ids(&lookup.propose(3)), expected);
    }

    fn ids(guesses: &[Guess]) -> Vec<u32> {
        guesses.iter().map(|guess| guess.id).collect()
    }

    #[test]
    fn what_followed_the_longest_context_follows_and_of_equals_the_latest() {
        check(&[], &[1, 2, 3, 4, 5, 6], &[9, 2, 3], &[4, 5, 6]);
        check(&[&[7, 2, 3, 8]], &[1, 2, 3, 4], &[7, 2, 3], &[8]);
        check(&[&[1, 2, 5], &[1, 2, 6]], &[0], &[1, 2], &[6]);
        // One token alone is no context, and the end of a text has nothing behind it.
        check(&[&[4, 2, 5]], &[0], &[1, 2], &[]);
        check(&[&[1, 2]], &[0], &[1, 2], &[]);
        check(&[], &[], &[], &[]);
    }

    #[test]
    fn a_proposal_goes_on_from_one_that_is_not_written_yet() {
        let store = Store::default();
        store.put(&[5, 6, 7, 8, 9]);
        let lookup = Lookup::new(&[1, 5], &store);
        let more = [6, 7].map(|id| Guess { id, grounds: Grounds::Form });
        assert_eq!(lookup.after(&more, 1), [Guess { id: 8, grounds: Grounds::Echo }]);
    }

    #[test]
    fn a_long_context_is_told_from_a_short_one() {
        let text: Vec<u32> = (1..20).collect();
        for (same, grounds) in [(LONG - 1, Grounds::Echo), (LONG, Grounds::Context)] {
            let mut lookup = Lookup::new(&text, &Store::default());
            [50, 51].iter().chain(&text[..same]).for_each(|&id| lookup.told(id));
            assert!(lookup.propose(2).iter().all(|guess| guess.grounds == grounds), "{same}");
        }
    }

    #[test]
    fn the_oldest_answers_go() {
        let store = Store::default();
        store.put(&[1, 2, 3]);
        for fill in 0..9_u32 {
            store.put(&vec![10 + fill; MOST_IDS / 8]);
        }
        assert!(Lookup::new(&[1, 2], &store).propose(1).is_empty());
        assert!(store.all().iter().map(|ids| ids.len()).sum::<usize>() <= MOST_IDS);
        store.put(&vec![0; MOST_IDS + 1]);
        assert_eq!(store.all().len(), 8);
    }
}
