//! Drafts that are verified: faster where they are right, and never anything else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::session::{SessionError, StepInput};

/// Drafts the answer that a sequence alone is given, where `wrong` says so with another token.
pub(super) struct Known {
    answer: Vec<u32>,
    told: usize,
    wrong: fn(usize) -> bool,
}

impl Known {
    pub(super) fn new(answer: Vec<u32>, wrong: fn(usize) -> bool) -> Known {
        Known { answer, told: 0, wrong }
    }
}

impl Draft for Known {
    fn told(&mut self, id: u32) {
        assert_eq!(id, self.answer[self.told]);
        self.told += 1;
    }

    fn propose(&mut self, most: usize) -> Vec<Guess> {
        let rest = self.answer[self.told..].iter().enumerate().take(most);
        let id = |(i, &id)| if (self.wrong)(self.told + i) { POISON } else { id };
        rest.map(|token| Guess { id: id(token), grounds: Grounds::Form }).collect()
    }
}

fn drafted(ids: Vec<u32>, new: usize, wrong: fn(usize) -> bool) -> Request {
    let answer = alone(&ids, new);
    let drafts = Drafts::new(move |_| Box::new(Known::new(answer.clone(), wrong)));
    Request { drafts: Some(drafts), ..Request::text(ids, new, vec![]) }
}

/// A decoder whose runs take a millisecond, and so many microseconds for a cell; and whether it can take tokens back.
struct Timed(ScriptedDecoder, u64, Arc<AtomicU64>, bool);

impl DecoderSession for Timed {
    fn geometry(&self) -> &Geometry {
        self.0.geometry()
    }

    fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
        let cells = (step.rows() * step.columns) as u64;
        self.2.fetch_add(1000 + self.1 * cells, Ordering::Relaxed);
        self.0.run(step)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
        self.0.copy_prefix(from, to, tokens)
    }

    fn keeps_prefixes(&self) -> bool {
        self.3
    }
}

/// Sequences of 40 tokens side by side on a machine where a cell takes so long: what became of all their drafts.
fn check(each: u64, rows: usize, wrong: fn(usize) -> bool, options: Options) -> Drafted {
    check_on(true, each, rows, (wrong, options))
}

/// The same, where tokens can be taken back or not.
fn check_on(keeps: bool, each: u64, rows: usize, (wrong, options): (fn(usize) -> bool, Options)) -> Drafted {
    let clock = Arc::new(AtomicU64::new(0));
    let script = ScriptedDecoder::new(Geometry { columns: 16, ..geometry() }, Box::new(speak));
    let time = clock.clone();
    let engine = Engine::new(Timed(script, each, clock, keeps), &rule()).with(options);
    let mut engine = engine.timed(move || Duration::from_micros(time.load(Ordering::Relaxed)));
    let requests = (0..rows as u32).map(|i| drafted(prompt(i, 16), 40, wrong)).collect();
    let mut all = Drafted::default();
    for (i, done) in engine.run_all(requests).into_iter().enumerate() {
        let done = done.unwrap();
        assert_eq!(done.new_ids, alone(&prompt(i as u32, 16), 40));
        assert_eq!(done.new_ids.len(), 1 + done.drafted.runs + done.drafted.accepted);
        all.drafted += done.drafted.drafted;
        all.accepted += done.drafted.accepted;
        all.runs += done.drafted.runs;
    }
    all
}

fn never(_: usize) -> bool {
    false
}

#[test]
fn right_drafts_make_many_tokens_a_run() {
    let done = check(10, 1, never, Options::default());
    assert_eq!(done.drafted, done.accepted);
    // One step is measured first; then up to sixteen tokens a run.
    assert!(done.runs <= 5, "{done:?}");
    let done = check(10, 4, never, Options::default());
    assert!(done.runs <= 4 * 10, "{done:?}");
}

#[test]
fn drafts_that_are_wrong_or_cost_too_much_grow_short() {
    let wrong = check(10, 1, |_| true, Options::default());
    assert_eq!((wrong.accepted, wrong.runs), (0, 39));
    let last = check(200, 1, |at| at % 4 == 3, Options::default());
    assert!(last.accepted > 20 && last.drafted < 3 * last.accepted, "{last:?}");
    // Where each cell is a step, nothing pays; a trial every 32 steps is all.
    let dear = check(100_000, 2, never, Options::default());
    assert!(dear.drafted <= 4, "{dear:?}");
}

/// Two sequences of 40 tokens, each of which but the first took a run.
const PLAIN: Drafted = Drafted { drafted: 0, accepted: 0, runs: 2 * 39 };

#[test]
fn where_nothing_can_be_taken_back_or_shapes_are_fixed_nothing_is_drafted() {
    for options in [
        Options { speculate: false, ..Options::default() },
        Options { shapes: Shapes::Fixed, ..Options::default() },
    ] {
        assert_eq!(check(10, 2, never, options), PLAIN);
    }
    assert_eq!(check_on(false, 10, 2, (never, Options::default())), PLAIN);
}

/// The last token of a slot, and the end of an answer within a draft.
#[test]
fn a_draft_ends_where_the_answer_or_the_slot_does() {
    let stop = alone(&prompt(1, 9), 12)[7];
    let first = alone(&prompt(1, 9), 12).iter().position(|&id| id == stop).unwrap();
    let mut engine = engine(speak);
    for _ in 0..3 {
        let request = Request { stop: vec![stop], ..drafted(prompt(1, 9), 12, never) };
        let done = engine.run_one(request).unwrap();
        assert_eq!((done.finish, done.new_ids.len()), (Finish::Stop, first + 1));
        let done = engine.run_one(drafted(prompt(2, 50), 14, never)).unwrap();
        assert_eq!((done.finish, done.new_ids), (Finish::Length, alone(&prompt(2, 50), 14)));
    }
}

#[test]
fn a_run_that_fails_with_drafts_is_tried_without() {
    let widths = Arc::new(Mutex::new(Vec::new()));
    struct Narrow(ScriptedDecoder, Arc<Mutex<Vec<i32>>>);
    impl DecoderSession for Narrow {
        fn geometry(&self) -> &Geometry {
            self.0.geometry()
        }
        fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
            let past = step.seqlens_k[0] + 1 - step.query_seqlens[0];
            self.1.lock().unwrap().push(step.query_seqlens[0]);
            if past > 0 && step.columns > 1 {
                return Err(SessionError::Runtime { action: "run", reason: "out of memory".into() });
            }
            self.0.run(step)
        }
        fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
            self.0.copy_prefix(from, to, tokens)
        }
    }
    let session = Narrow(ScriptedDecoder::new(geometry(), Box::new(speak)), widths.clone());
    // Every run takes as long as any other, so that drafts pay.
    let clock = AtomicU64::new(0);
    let tick = move || Duration::from_millis(clock.fetch_add(1, Ordering::Relaxed));
    let mut engine = Engine::new(session, &rule()).timed(tick);
    let done = engine.run_one(drafted(prompt(1, 8), 20, never)).unwrap();
    assert_eq!((done.new_ids, done.drafted.drafted), (alone(&prompt(1, 8), 20), 0));
    assert!(widths.lock().unwrap()[1..].iter().any(|&new| new > 1));
}

/// What stands behind a wrong token is never looked at; behind a right one it counts.
#[test]
fn an_output_that_is_no_number_counts_where_the_draft_was_right() {
    let poisoned = |scene: Scene<'_>| match scene.history.contains(&i64::from(POISON)) {
        true => Answer::Logits(vec![f32::NAN; VOCABULARY]),
        false => speak(scene),
    };
    let clock = AtomicU64::new(0);
    let mut wrong =
        engine(poisoned).timed(move || Duration::from_millis(clock.fetch_add(1, Ordering::Relaxed)));
    let done = wrong.run_one(drafted(prompt(1, 8), 30, |at| at % 5 == 4)).unwrap();
    assert_eq!(done.new_ids, alone(&prompt(1, 8), 30));
    assert!(done.drafted.drafted > done.drafted.accepted);

    let broken = |scene: Scene<'_>| match scene.history.len() < 20 {
        true => speak(scene),
        false => Answer::Logits(vec![f32::NAN; VOCABULARY]),
    };
    let clock = AtomicU64::new(0);
    let mut right =
        engine(broken).timed(move || Duration::from_millis(clock.fetch_add(1, Ordering::Relaxed)));
    let mut results = right.run_all(vec![drafted(prompt(1, 8), 30, never), drafted(prompt(2, 3), 9, never)]);
    assert_eq!(results.pop().map(|done| done.unwrap().new_ids), Some(alone(&prompt(2, 3), 9)));
    assert_eq!(results, [Err(DecodeError::NonFinite { tokens: 20 })]);
}

/// On real attention: drafts of many and of no tokens side by side, up to the last row of a slot.
#[test]
fn on_the_real_runtime_drafts_change_no_token() {
    const TOKENS: usize = 64;
    let dir = tempfile::tempdir().unwrap();
    let package = fixture::package(dir.path());
    let open = |slots| {
        let options = SessionOptions { threads: std::num::NonZeroUsize::MIN, ..SessionOptions::default() };
        let decoder = OrtDecoder::open(&fixture::library(), &package, &options, (slots, TOKENS)).unwrap();
        let clock = AtomicU64::new(0);
        // Every run takes as long as any other, so that drafts pay.
        Engine::new(decoder, &fixture::rule())
            .timed(move || Duration::from_millis(clock.fetch_add(1, Ordering::Relaxed)))
    };
    let plain = |i: usize| {
        let ids: Vec<u32> = (0..3 + 9 * i).map(|t| ((i * 13 + t * t) % fixture::VOCABULARY) as u32).collect();
        let new = TOKENS - ids.len() - i % 2;
        Request::text(ids, new, vec![])
    };
    let expected: Vec<Completion> = (0..6).map(|i| open(1).run_one(plain(i)).unwrap()).collect();
    let drafted = |i: usize| {
        let answer = expected[i].new_ids.clone();
        let wrong: fn(usize) -> bool = if i == 2 { |_| true } else { |at| at % 9 == 8 };
        let drafts = Drafts::new(move |_| Box::new(Known::new(answer.clone(), wrong)));
        Request { drafts: Some(drafts), ..plain(i) }
    };
    for (i, done) in open(4).run_all((0..6).map(drafted).collect()).into_iter().enumerate() {
        let done = done.unwrap();
        assert_eq!(done.new_ids, expected[i].new_ids, "request {i}");
        let pairs = done.logprobs.iter().zip(&expected[i].logprobs);
        assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-4, "request {i}");
        assert!(i == 2 || done.drafted.accepted > done.drafted.runs, "{i}: {:?}", done.drafted);
    }
}
