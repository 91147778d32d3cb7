//! Prompts that are read beside sequences that decode.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::session::{SessionError, StepInput};

/// Microseconds that a run of some cells takes.
type Cost = fn(usize) -> u64;

/// A scripted decoder whose runs take what they are said to take, by a clock of its own.
struct Timed {
    inner: ScriptedDecoder,
    cost: Cost,
    clock: Arc<AtomicU64>,
    /// When each run began, in microseconds; its rows and its columns.
    runs: Arc<Mutex<Vec<(u64, usize, usize)>>>,
}

impl DecoderSession for Timed {
    fn geometry(&self) -> &Geometry {
        self.inner.geometry()
    }

    fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
        let cost = (self.cost)(step.rows() * step.columns);
        let start = self.clock.fetch_add(cost, Ordering::Relaxed);
        self.runs.lock().unwrap().push((start, step.rows(), step.columns));
        self.inner.run(step)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
        self.inner.copy_prefix(from, to, tokens)
    }
}

struct Bench {
    engine: Engine<Timed>,
    clock: Arc<AtomicU64>,
    runs: Arc<Mutex<Vec<(u64, usize, usize)>>>,
}

fn bench(cost: Cost, shapes: Shapes) -> Bench {
    let geometry = Geometry { tokens: 600, columns: 64, ..geometry() };
    let (clock, runs) = (Arc::new(AtomicU64::new(0)), Arc::default());
    let inner = ScriptedDecoder::new(geometry, Box::new(speak));
    let session = Timed { inner, cost, clock: clock.clone(), runs: Arc::clone(&runs) };
    let time = clock.clone();
    let engine = Engine::new(session, &rule()).with(Options { shapes, ..Options::default() });
    let engine = engine.timed(move || Duration::from_micros(time.load(Ordering::Relaxed)));
    Bench { engine, clock, runs }
}

/// Three sequences decode, then a prompt of 400 tokens comes. Returns the longest wait of the three between two tokens,
/// in ordinary steps, and their steps between the prompt's first chunk and its last. Everything is answered as alone.
fn check(cost: Cost, shapes: Shapes, patient: bool) -> (f64, usize) {
    let mut bench = bench(cost, shapes);
    let mut lengths = BTreeMap::new();
    for i in 0..3 {
        let request = Request { patient, ..Request::text(prompt(i, 9), 500, vec![]) };
        lengths.insert(bench.engine.admit(request).unwrap(), (i, 9, 500));
    }
    for _ in 0..8 {
        bench.engine.step();
    }
    let late = bench.engine.admit(Request::text(prompt(7, 400), 20, vec![])).unwrap();
    lengths.insert(late, (7, 400, 20));
    let (mut last, mut longest, mut steps) = (bench.clock.load(Ordering::Relaxed), 0, 0);
    let mut first = None;
    while bench.engine.free() < 4 {
        let events = bench.engine.step();
        let now = bench.clock.load(Ordering::Relaxed);
        let of = |late_one: bool| {
            events.iter().any(|(t, e)| (*t == late) == late_one && matches!(e, Event::Token { .. }))
        };
        if of(false) {
            longest = longest.max(now - last);
            last = now;
        }
        steps += usize::from(of(false));
        first = first.or(of(true).then_some(steps));
        for (ticket, event) in events {
            if let Event::Done(done) = event {
                let (seed, n, new) = lengths[&ticket];
                assert_eq!(done.new_ids, alone(&prompt(seed, n), new));
            }
        }
    }
    assert!(!bench.runs.lock().unwrap().is_empty());
    let ordinary = cost(if shapes == Shapes::Fixed { 4 } else { 3 }) as f64;
    (longest as f64 / ordinary, first.unwrap())
}

/// A machine on which 16 tokens cost half as much again as one, and one on which they cost three times as much.
const WIDE: Cost = |cells| 1000 + 33 * cells as u64;
const NARROW: Cost = |cells| 1000 + 133 * cells as u64;

#[test]
fn a_long_prompt_delays_the_others_by_two_steps_at_most_and_is_read_all_the_same() {
    for (cost, wide) in [(WIDE, true), (NARROW, false)] {
        let (wait, steps) = check(cost, Shapes::Measured, false);
        // A token after its own step and two steps of delay.
        assert!(wait > 1.0 && wait <= 3.0, "{wait}");
        // 400 tokens in chunks that two steps pay for: 32 of them on the one, 8 on the other.
        assert_eq!(steps, if wide { 12 } else { 49 });
    }
}

#[test]
fn patient_sequences_and_fixed_shapes_wait_for_full_chunks_and_no_longer() {
    for (shapes, patient, ordinary) in [(Shapes::Measured, true, 3), (Shapes::Fixed, false, 4)] {
        let (wait, steps) = check(WIDE, shapes, patient);
        assert_eq!(steps, 400_usize.div_ceil(64) - 1);
        assert_eq!(wait, (WIDE(ordinary) + WIDE(64)) as f64 / WIDE(ordinary) as f64);
    }
}

#[test]
fn fixed_shapes_are_the_same_whatever_runs_beside() {
    let shapes_of = |neighbours: u32| {
        let mut bench = bench(WIDE, Shapes::Fixed);
        for i in 0..neighbours {
            bench.engine.admit(Request::text(prompt(i, 30 + 40 * i as usize), 30, vec![])).unwrap();
        }
        bench.engine.run_one(Request::text(prompt(9, 150), 5, vec![])).unwrap();
        let runs =
            bench.runs.lock().unwrap().iter().map(|&(_, rows, columns)| (rows, columns)).collect::<Vec<_>>();
        let read = runs.iter().filter(|run| run.0 == 1).copied().collect::<Vec<_>>();
        assert!(runs.iter().all(|&(rows, columns)| rows == 1 || (rows, columns) == (4, 1)), "{runs:?}");
        read[read.len() - 3..].to_vec()
    };
    assert_eq!(shapes_of(0), [(1, 64), (1, 64), (1, 22)]);
    assert_eq!(shapes_of(3), shapes_of(0));
}
