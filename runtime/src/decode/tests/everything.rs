//! Everything at once: whatever the engine shares and in whichever shapes it runs, a request is answered as alone.

use std::sync::atomic::{AtomicU64, Ordering};

use super::reuse::mark;
use super::*;

/// Logits in which every token before counts.
fn voice(scene: Scene<'_>) -> Answer {
    let seed =
        scene.history.iter().fold(0x9E37_79B9_u64, |h, &id| (h ^ id as u64).wrapping_mul(0x0100_0000_01B3));
    let logit = |i: u64| {
        let mixed = (seed ^ i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed >> 40) % 1000) as f32 / 150.0
    };
    Answer::Logits((0..VOCABULARY as u64).map(logit).collect())
}

/// Drafts what the voice says most probably, with a mistake now and then.
struct Foretell(Vec<i64>);

impl Draft for Foretell {
    fn told(&mut self, id: u32) {
        self.0.push(i64::from(id));
    }

    fn propose(&mut self, most: usize) -> Vec<Guess> {
        let (mut history, mut draft) = (self.0.clone(), Vec::new());
        // Some drafts are longer than asked for, and some tokens do not exist.
        for at in 0..most + 2 {
            let Answer::Logits(logits) = voice(Scene { slot: 0, history: &history, run: 0 }) else { break };
            let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
            let id = match (history.len() * 5 + at) % 11 {
                0 => 7,
                1 => VOCABULARY + 3,
                _ => best.unwrap_or(0),
            };
            let grounds = [Grounds::Form, Grounds::Context, Grounds::Echo][at % 3];
            draft.push(Guess { id: id as u32, grounds });
            history.push(id as i64);
        }
        draft
    }
}

fn guesses() -> Drafts {
    Drafts::new(|prompt| Box::new(Foretell(prompt.iter().map(|&id| i64::from(id)).collect())))
}

/// A request of a few kinds, so that beginnings meet.
#[derive(Debug, Clone)]
struct Kind {
    first: u32,
    second: u32,
    lengths: (usize, usize),
    new: usize,
    seed: Option<u64>,
    patient: bool,
}

impl Kind {
    fn request(&self) -> Request {
        let ids = [prompt(self.first, self.lengths.0), prompt(self.second, self.lengths.1)].concat();
        let sampling = self.seed.map_or(Sampling::Greedy, |seed| Sampling::Seeded {
            temperature: 0.8,
            top_p: 0.9,
            top_k: 6,
            repetition_penalty: 1.1,
            seed,
        });
        Request {
            prefix: vec![mark(&ids, 2), mark(&ids, self.lengths.0)],
            sampling,
            watch: vec![4, 9],
            patient: self.patient,
            drafts: Some(guesses()),
            ..Request::text(ids, self.new, vec![END])
        }
    }
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let lengths = (prop_oneof![Just(12), Just(5), Just(20)], 1..14_usize);
    let kind = (0..3_u32, 0..9_u32, lengths, 0..14_usize, proptest::option::of(0..4_u64), any::<bool>());
    let kind = kind.prop_map(|(first, second, lengths, new, seed, patient)| Kind {
        first,
        second,
        lengths,
        new,
        seed,
        patient,
    });
    proptest::collection::vec(kind, 1..14)
}

/// How an engine is made.
#[derive(Debug, Clone)]
struct Way {
    slots: usize,
    columns: usize,
    reuse: bool,
    speculate: bool,
    shapes: Shapes,
    /// Milliseconds of a cell and of a run, by which chunks are sized.
    cost: (u64, u64),
}

fn ways() -> impl Strategy<Value = Way> {
    let shapes = prop_oneof![3 => Just(Shapes::Measured), 1 => Just(Shapes::Fixed)];
    let on = || any::<bool>();
    (1..6_usize, 1..9_usize, on(), on(), shapes, (0..9_u64, 1..9_u64)).prop_map(
        |(slots, columns, reuse, speculate, shapes, cost)| Way {
            slots,
            columns,
            reuse,
            speculate,
            shapes,
            cost,
        },
    )
}

fn run(way: &Way, kinds: &[Kind]) -> Vec<Completion> {
    let geometry = Geometry { slots: way.slots, columns: way.columns, ..geometry() };
    let clock = AtomicU64::new(0);
    let (cell, run) = way.cost;
    let session = ScriptedDecoder::new(geometry, Box::new(voice));
    let engine = Engine::new(session, &rule()).with(Options {
        shapes: way.shapes,
        reuse: way.reuse,
        speculate: way.speculate,
    });
    // Time goes by on each look, and now faster, now slower.
    let mut engine = engine.timed(move || {
        let now = clock.fetch_add(run, Ordering::Relaxed);
        Duration::from_millis(now + cell * (now % 7))
    });
    engine.run_all(kinds.iter().map(Kind::request).collect()).into_iter().map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn every_way_gives_the_same_tokens_and_probabilities(kinds in kinds(), way in ways()) {
        let plain = Way { slots: 1, columns: 8, reuse: false, speculate: false, shapes: Shapes::Measured, cost: (1, 1) };
        for (got, expected) in run(&way, &kinds).into_iter().zip(run(&plain, &kinds)) {
            prop_assert_eq!(&got.new_ids, &expected.new_ids);
            prop_assert_eq!(got.finish, expected.finish);
            prop_assert_eq!(&got.logprobs, &expected.logprobs);
            prop_assert_eq!(&got.watched, &expected.watched);
            prop_assert!(way.reuse || got.reused == 0);
            prop_assert!(way.speculate || got.drafted.drafted == 0);
            prop_assert_eq!(got.drafted.accepted + got.drafted.runs + usize::from(!got.new_ids.is_empty()), got.new_ids.len());
        }
    }
}
