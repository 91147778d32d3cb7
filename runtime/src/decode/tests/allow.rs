//! Answers that are held to a form.

use super::*;

/// Allows tokens of the other parity than the one before, and the end behind so many of them.
struct Parity {
    last: u32,
    left: usize,
}

impl Allow for Parity {
    fn allows(&self, id: u32) -> bool {
        if id == END { self.left == 0 } else { id > POISON && id % 2 != self.last % 2 }
    }

    fn told(&mut self, id: u32) {
        assert!(self.allows(id));
        (self.last, self.left) = (id, self.left.saturating_sub(1));
    }
}

fn parity(left: usize) -> Constraint {
    Constraint::new(move || Box::new(Parity { last: 0, left }))
}

/// Logits in which every token before counts.
fn voice(scene: Scene<'_>) -> Answer {
    let logit = |i: i64| ((i64::from(next(scene.history)) * 7919 + i * i * 31) % 97) as f32 / 9.0;
    Answer::Logits((0..VOCABULARY as i64).map(logit).collect())
}

/// What the constraint makes of an answer, and how many choices it changed.
fn check(sampling: Sampling, constraint: Option<Constraint>, drafts: Option<Drafts>) -> (Vec<u32>, usize) {
    let clock = std::sync::atomic::AtomicU64::new(0);
    let tick = move || Duration::from_millis(clock.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let request = Request { sampling, constraint, drafts, ..Request::text(prompt(3, 5), 12, vec![END]) };
    let done = engine(voice).timed(tick).run_one(request).unwrap();
    (done.new_ids, done.constrained)
}

#[test]
fn what_is_not_allowed_is_not_chosen_and_each_change_is_counted() {
    let drawn =
        |seed| Sampling::Seeded { temperature: 1.5, top_p: 0.9, top_k: 9, repetition_penalty: 1.1, seed };
    for sampling in (0..20).map(drawn).chain([Sampling::Greedy]) {
        let (ids, changed) = check(sampling, Some(parity(9)), None);
        let words: Vec<u32> = ids.iter().copied().filter(|&id| id != END).collect();
        assert!(words.len() >= 9 && words.windows(2).all(|pair| pair[0] % 2 != pair[1] % 2), "{ids:?}");
        assert!(changed > 0);
        // Drafts, here of what is written, change nothing of it.
        let answer = ids.clone();
        let drafts = Drafts::new(move |_| Box::new(draft::Known::new(answer.clone(), |at| at % 4 == 3)));
        assert_eq!(check(sampling, Some(parity(9)), Some(drafts)), (ids, changed));
    }
}

#[test]
fn where_the_model_keeps_to_the_form_nothing_changes() {
    struct Anything;
    impl Allow for Anything {
        fn allows(&self, _: u32) -> bool {
            true
        }
        fn told(&mut self, _: u32) {}
    }
    let free = check(Sampling::Greedy, None, None);
    assert_eq!(check(Sampling::Greedy, Some(Constraint::new(|| Box::new(Anything))), None), free);
    assert_eq!(free.1, 0);
}

#[test]
fn a_form_that_leaves_no_token_is_named() {
    struct Nothing(usize);
    impl Allow for Nothing {
        fn allows(&self, _: u32) -> bool {
            self.0 > 0
        }
        fn told(&mut self, _: u32) {
            self.0 -= 1;
        }
    }
    let constraint = Constraint::new(|| Box::new(Nothing(2)));
    let stuck = Request { constraint: Some(constraint), ..Request::text(prompt(3, 5), 12, vec![END]) };
    let mut results = engine(speak).run_all(vec![stuck, Request::text(prompt(1, 3), 4, vec![])]);
    assert_eq!(results.pop().map(|done| done.unwrap().new_ids), Some(alone(&prompt(1, 3), 4)));
    assert_eq!(results, [Err(DecodeError::NoToken { tokens: 7 })]);
}
