//! The engine over a scripted session, and once over the real one.

use std::sync::Arc;

use ndarray::Array2;
use proptest::prelude::*;
use rewardrt_models::package::{PositionRule, SectionLayout};
use rewardrt_models::spec::position::{Positions, Span};

mod allow;
mod draft;
mod everything;
mod mixing;
mod reuse;

use super::*;
use crate::session::stub::{Answer, Scene};
use crate::session::{DecoderSession, Geometry, OrtDecoder, ScriptedDecoder, SessionOptions, fixture};

const VOCABULARY: usize = 32;
/// The tokens that scripts end an answer with, and that they treat as poison.
const END: u32 = 1;
const POISON: u32 = 2;

fn rule() -> PositionRule {
    PositionRule {
        theta: 1e4,
        rotary_dim: 8,
        sections: [2, 1, 1],
        layout: SectionLayout::Chunked,
        tokens_per_second: None,
    }
}

fn geometry() -> Geometry {
    Geometry {
        slots: 4,
        tokens: 64,
        columns: 8,
        vocabulary: VOCABULARY,
        outputs: VOCABULARY,
        hidden: 2,
        deepstack: 1,
        rotary_width: 4,
    }
}

fn engine(script: impl FnMut(Scene<'_>) -> Answer + Send + 'static) -> Engine<ScriptedDecoder> {
    Engine::new(ScriptedDecoder::new(geometry(), Box::new(script)), &rule())
}

/// A language in which the next token depends on every token before it.
fn next(history: &[i64]) -> u32 {
    let hash = history.iter().fold(17_i64, |h, &id| (h * 131 + id + 7).rem_euclid(1_000_003));
    3 + (hash % (VOCABULARY as i64 - 3)) as u32
}

fn speak(scene: Scene<'_>) -> Answer {
    Answer::Token(next(scene.history))
}

/// What a sequence alone would be answered.
fn alone(prompt: &[u32], n: usize) -> Vec<u32> {
    let mut history: Vec<i64> = prompt.iter().map(|&id| i64::from(id)).collect();
    let new: Vec<u32> = (0..n)
        .map(|_| {
            let id = next(&history);
            history.push(i64::from(id));
            id
        })
        .collect();
    new
}

fn prompt(seed: u32, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| 3 + (seed * 7 + i * i) % (VOCABULARY as u32 - 3)).collect()
}

fn ids(results: Vec<Result<Completion, DecodeError>>) -> Vec<Vec<u32>> {
    results.into_iter().map(|r| r.unwrap().new_ids).collect()
}

#[test]
fn more_requests_than_slots_are_all_answered_as_alone() {
    let lengths = [3, 8, 9, 1, 30, 16, 2, 17, 5, 40];
    let requests =
        lengths.iter().enumerate().map(|(i, &n)| Request::text(prompt(i as u32, n), 3 + i, vec![]));
    let mut engine = engine(speak);
    let results = ids(engine.run_all(requests.collect()));
    for (i, &n) in lengths.iter().enumerate() {
        assert_eq!(results[i], alone(&prompt(i as u32, n), 3 + i), "request {i}");
    }
    assert_eq!(engine.free(), 4);
}

#[test]
fn prompts_are_read_in_chunks_beside_short_neighbours_and_then_all_decode_together() {
    let mut engine = engine(speak);
    for n in [20, 2, 3] {
        let request = Request { patient: true, ..Request::text(prompt(n, n as usize), 2, vec![]) };
        engine.admit(request).unwrap();
    }
    while engine.free() < 4 {
        engine.step();
    }
    let runs = &engine.session().runs;
    // A full chunk runs alone; the last four tokens fit beside two, and three more slots would not fit eight.
    assert_eq!(runs[..3], [(0, vec![8], 8), (0, vec![8], 8), (0, vec![4, 2], 4)]);
    assert_eq!(runs[3..], [(2, vec![3], 3), (0, vec![1, 1, 1], 1)]);
}

#[test]
fn a_stop_token_ends_the_answer_and_is_part_of_it() {
    let mut engine = engine(|scene| if scene.history.len() == 5 { Answer::Token(END) } else { speak(scene) });
    let done = engine.run_all(vec![Request::text(prompt(1, 3), 20, vec![END])]).remove(0).unwrap();
    assert_eq!((done.finish, done.new_ids.len(), done.new_ids[2]), (Finish::Stop, 3, END));
    let done = engine.run_all(vec![Request::text(prompt(1, 3), 2, vec![END])]).remove(0).unwrap();
    assert_eq!((done.finish, done.new_ids.len()), (Finish::Length, 2));
}

#[test]
fn a_request_ends_by_its_own_rule_and_a_stop_token_comes_first() {
    let rule = Until::new(|| {
        let mut told = Vec::new();
        Box::new(move |id| {
            told.push(id);
            told.len() == 3
        })
    });
    let mut engine = engine(|scene| if scene.history.len() == 7 { Answer::Token(END) } else { speak(scene) });
    for (n, finish, new) in [(3, Finish::Until, 3), (5, Finish::Stop, 3), (6, Finish::Stop, 2)] {
        let request = Request { until: Some(rule.clone()), ..Request::text(prompt(1, n), 9, vec![END]) };
        let done = engine.run_one(request).unwrap();
        assert_eq!((done.finish, done.new_ids.len()), (finish, new));
        let without = engine.run_one(Request::text(prompt(1, n), 9, vec![END])).unwrap();
        assert!(without.new_ids.starts_with(&done.new_ids) && without.logprobs.starts_with(&done.logprobs));
    }
}

#[test]
fn the_exact_limit_fits_and_one_more_is_refused_with_both_counts() {
    let mut engine = engine(speak);
    let fits = engine.run_all(vec![Request::text(prompt(1, 60), 4, vec![])]).remove(0).unwrap();
    assert_eq!(fits.new_ids, alone(&prompt(1, 60), 4));
    let refusal = engine.admit(Request::text(prompt(1, 60), 5, vec![])).unwrap_err();
    assert_eq!(refusal, Refusal::TooLong { needed: 65, available: 64 });
    assert!(
        refusal.to_string().starts_with("65 tokens are needed") && refusal.to_string().contains("64 are")
    );
    assert!(engine.admit(Request::text(prompt(1, 3), usize::MAX, vec![])).is_err());
}

#[test]
fn bad_fields_are_refused_by_name_before_anything_runs() {
    let features = Arc::new(Features { rows: Array2::zeros((2, 2)), deepstack: vec![Array2::zeros((2, 2))] });
    let good = Request {
        features: Some(features),
        feature_rows: vec![-1, 0, 1],
        ..Request::text(prompt(1, 3), 1, vec![])
    };
    let mut engine = engine(speak);
    let mut check = |edit: &dyn Fn(&mut Request), expected: &str| {
        let mut request = good.clone();
        edit(&mut request);
        match engine.admit(request) {
            Err(Refusal::Field { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    };
    check(&|r| r.ids.clear(), "ids");
    check(&|r| r.ids[1] = VOCABULARY as u32, "ids");
    check(&|r| r.watch = vec![u32::MAX], "watch");
    check(&|r| r.positions.tokens.truncate(2), "positions");
    check(&|r| r.feature_rows.truncate(2), "feature_rows");
    check(&|r| r.feature_rows[0] = 2, "feature_rows");
    check(&|r| r.feature_rows[0] = -2, "feature_rows");
    check(&|r| r.features = None, "feature_rows");
    check(
        &|r| r.features = Some(Arc::new(Features { rows: Array2::zeros((2, 3)), deepstack: vec![] })),
        "features",
    );
    check(
        &|r| r.features = Some(Arc::new(Features { rows: Array2::zeros((2, 2)), deepstack: vec![] })),
        "features",
    );
    let seeded =
        |top_p| Sampling::Seeded { temperature: 1.0, top_p, top_k: 0, repetition_penalty: 1.0, seed: 0 };
    check(&|r| r.sampling = seeded(2.0), "top_p");
    assert!(engine.session().runs.is_empty());
    engine.admit(good).unwrap();
}

#[test]
fn a_request_beyond_the_slots_is_told_to_wait() {
    let mut engine = engine(speak);
    let tickets: Vec<_> =
        (0..4).map(|i| engine.admit(Request::text(prompt(i, 2), 9, vec![])).unwrap()).collect();
    assert_eq!(engine.admit(Request::text(prompt(9, 2), 1, vec![])), Err(Refusal::Full { slots: 4 }));
    assert!(engine.cancel(tickets[2]) && !engine.cancel(tickets[2]));
    engine.admit(Request::text(prompt(9, 2), 1, vec![])).unwrap();
    assert_eq!(engine.free(), 0);
}

/// A script that answers a poisoned sequence with `poison` and all others as usual.
fn poisoned(poison: Answer) -> impl FnMut(Scene<'_>) -> Answer + Send {
    move |scene| if scene.history[0] == i64::from(POISON) { poison.clone() } else { speak(scene) }
}

/// The poisoned one of four fails with `expected`; its neighbours are answered as alone.
fn check_isolation(poison: Answer, expected: &DecodeError) {
    let mut engine = engine(poisoned(poison));
    let prompts = [prompt(1, 3), vec![POISON, 5, 6], prompt(2, 11), prompt(3, 2), vec![POISON]];
    let results = engine.run_all(prompts.iter().map(|p| Request::text(p.clone(), 6, vec![])).collect());
    for (prompt, result) in prompts.iter().zip(results) {
        match result {
            Ok(done) => assert_eq!((done.new_ids, prompt[0] == POISON), (alone(prompt, 6), false)),
            Err(error) => {
                assert!(prompt[0] == POISON && error.to_string() == expected.to_string(), "{error}")
            }
        }
    }
    assert_eq!(engine.free(), 4);
}

#[test]
fn logits_that_are_no_numbers_fail_their_own_request_only() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut logits = vec![0.0; VOCABULARY];
        logits[7] = bad;
        let mut engine = engine(poisoned(Answer::Logits(logits)));
        let requests = [prompt(1, 3), vec![POISON, 4], prompt(2, 9)];
        let results = engine.run_all(requests.iter().map(|p| Request::text(p.clone(), 5, vec![])).collect());
        assert_eq!(results[0].as_ref().unwrap().new_ids, alone(&requests[0], 5));
        assert_eq!(results[1], Err(DecodeError::NonFinite { tokens: 2 }));
        assert_eq!(results[2].as_ref().unwrap().new_ids, alone(&requests[2], 5));
    }
}

#[test]
fn equal_logits_are_an_answer_and_not_a_fault() {
    let mut engine = engine(|_| Answer::Logits(vec![0.5; VOCABULARY]));
    let request = Request { watch: vec![9], ..Request::text(prompt(1, 2), 2, vec![]) };
    let done = engine.run_all(vec![request]).remove(0).unwrap();
    assert_eq!(done.new_ids, [0, 0]);
    let uniform = -(VOCABULARY as f32).ln();
    assert!(done.logprobs.iter().chain(done.watched.iter().flatten()).all(|p| (p - uniform).abs() < 1e-6));
}

#[test]
fn a_run_that_fails_is_tried_sequence_by_sequence() {
    let reason = "out of memory".to_owned();
    let error = SessionError::Runtime { action: "follow the script", reason: reason.clone() };
    check_isolation(Answer::Error(reason), &error.into());
}

#[test]
fn a_score_gives_the_watched_log_probabilities_after_the_prompt_and_no_token() {
    let mut engine = engine(|scene| match scene.history.len() {
        9 => Answer::Logits((0..VOCABULARY).map(|i| if i == 4 { 3_f32.ln() } else { 0.0 }).collect()),
        // The first chunk asks for a row that nobody reads.
        _ => Answer::Logits(vec![f32::NAN; VOCABULARY]),
    });
    engine.admit(Request { watch: vec![4, 5], ..Request::text(prompt(1, 9), 0, vec![]) }).unwrap();
    let mut events = Vec::new();
    while engine.free() < 4 {
        events.extend(engine.step());
    }
    let [(_, Event::Done(done))] = &events[..] else { panic!("{events:?}") };
    assert!(done.new_ids.is_empty());
    let sum = (VOCABULARY + 2) as f32;
    assert_eq!(done.watched.len(), 1);
    assert!((done.watched[0][0] - (3.0 / sum).ln()).abs() < 1e-6);
    assert!((done.watched[0][1] - (1.0 / sum).ln()).abs() < 1e-6);
}

/// The outputs of a model that ends in two scores: how many tokens it has read, and the last one's id.
fn scores(scene: Scene<'_>) -> Answer {
    let last = scene.history.last().copied().unwrap_or_default();
    let first = if last == i64::from(POISON) { f32::NAN } else { scene.history.len() as f32 };
    Answer::Logits(vec![first, last as f32])
}

fn scoring_engine() -> Engine<ScriptedDecoder> {
    let geometry = Geometry { outputs: 2, ..geometry() };
    Engine::new(ScriptedDecoder::new(geometry, Box::new(scores)), &rule())
}

#[test]
fn rows_are_read_at_their_places_in_whichever_chunk_they_lie() {
    let asked =
        [(20, vec![0, 7, 8, 19]), (3, vec![2]), (9, vec![8]), (30, vec![1]), (1, vec![0]), (12, vec![3, 4])];
    let requests = asked.iter().enumerate().map(|(i, (n, read))| Request {
        read: read.clone(),
        ..Request::text(prompt(i as u32, *n), 0, vec![])
    });
    let mut engine = scoring_engine();
    for (i, (done, (n, read))) in engine.run_all(requests.collect()).into_iter().zip(&asked).enumerate() {
        let ids = prompt(i as u32, *n);
        let expected: Vec<Vec<f32>> = read.iter().map(|&at| vec![at as f32 + 1.0, ids[at] as f32]).collect();
        assert_eq!(done.unwrap().rows, expected, "request {i}");
    }
    assert_eq!(engine.free(), 4);
}

#[test]
fn an_output_that_is_no_number_fails_its_own_request_and_leaves_the_neighbours_rows() {
    let read = |i: u32| Request { read: vec![1, 4], ..Request::text(prompt(i, 5), 0, vec![]) };
    let mut bad = read(9);
    bad.ids[1] = POISON;
    let mut results = scoring_engine().run_all(vec![read(0), bad, read(1)]);
    assert_eq!(results.remove(1), Err(DecodeError::NonFinite { tokens: 5 }));
    for (i, done) in results.into_iter().enumerate() {
        let ids = prompt(i as u32, 5);
        assert_eq!(done.unwrap().rows, [[2.0, ids[1] as f32], [5.0, ids[4] as f32]]);
    }
}

#[test]
fn a_boxed_session_and_a_rule_of_another_width_are_met() {
    let boxed: Box<dyn DecoderSession> = Box::new(ScriptedDecoder::new(geometry(), Box::new(speak)));
    let done = Engine::new(boxed, &rule()).run_one(Request::text(prompt(1, 3), 2, vec![])).unwrap();
    assert_eq!(done.new_ids, alone(&prompt(1, 3), 2));
    let other = PositionRule { rotary_dim: 4, sections: [2, 0, 0], ..rule() };
    let mut engine = Engine::new(ScriptedDecoder::new(geometry(), Box::new(speak)), &other);
    let error = engine.run_one(Request::text(prompt(1, 3), 2, vec![])).unwrap_err();
    assert!(error.to_string().contains("cos") && !error.is_refusal(), "{error}");
}

#[test]
fn others_advance_while_run_all_waits_and_their_events_are_kept() {
    let mut engine = engine(speak);
    let other = engine.admit(Request::text(prompt(5, 2), 2, vec![])).unwrap();
    engine.run_all(vec![Request::text(prompt(1, 3), 6, vec![])]);
    let events = engine.step();
    assert!(events.iter().all(|(ticket, _)| *ticket == other));
    let [.., (_, Event::Done(done))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(done.new_ids, alone(&prompt(5, 2), 2));
}

#[test]
fn a_request_that_is_refused_among_others_keeps_its_place() {
    let request = |i: usize| Request::text(if i == 3 { vec![] } else { prompt(i as u32, 3) }, 10 - i, vec![]);
    for (i, result) in engine(speak).run_all((0..10).map(request).collect()).into_iter().enumerate() {
        match result {
            Ok(done) => assert_eq!(done.new_ids, alone(&prompt(i as u32, 3), 10 - i)),
            Err(error) => assert!(error.is_refusal() && i == 3, "{error}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Admit { seed: u32, prompt: usize, new: usize },
    Cancel(usize),
    Step,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let admit = (0..1000_u32, 1..30_usize, 0..12_usize).prop_map(|(seed, prompt, new)| Act::Admit {
        seed,
        prompt,
        new,
    });
    let act = prop_oneof![3 => admit, 1 => (0..64_usize).prop_map(Act::Cancel), 4 => Just(Act::Step)];
    proptest::collection::vec(act, 0..80)
}

proptest! {
    /// Slots are conserved, every sequence ends exactly once or was cancelled, and its tokens are those of the
    /// sequence alone, whatever the order of arrivals and cancellations.
    #[test]
    fn no_job_is_lost_and_no_slot_leaks(acts in acts()) {
        let mut engine = engine(speak);
        let mut live: Vec<(Ticket, Vec<u32>, usize)> = Vec::new();
        let mut events = Vec::new();
        for act in acts {
            match act {
                Act::Admit { seed, prompt: n, new } => {
                    let free = engine.free();
                    match engine.admit(Request::text(prompt(seed, n), new, vec![])) {
                        Ok(ticket) => live.push((ticket, prompt(seed, n), new)),
                        Err(refusal) => prop_assert_eq!((free, refusal), (0, Refusal::Full { slots: 4 })),
                    }
                }
                Act::Cancel(i) if !live.is_empty() => {
                    let (ticket, ..) = live.remove(i % live.len());
                    prop_assert!(engine.cancel(ticket));
                }
                Act::Cancel(_) => {}
                Act::Step => events.extend(engine.step()),
            }
            settle(&mut live, &mut events)?;
            prop_assert_eq!(engine.free() + live.len(), 4);
        }
        while engine.free() < 4 {
            events.extend(engine.step());
            settle(&mut live, &mut events)?;
        }
        prop_assert!(live.is_empty());
        prop_assert!(engine.step().is_empty());
    }
}

/// Takes finished sequences out and checks their tokens.
fn settle(
    live: &mut Vec<(Ticket, Vec<u32>, usize)>,
    events: &mut Vec<(Ticket, Event)>,
) -> Result<(), TestCaseError> {
    for (ticket, event) in events.drain(..) {
        let at = live.iter().position(|(t, ..)| *t == ticket);
        prop_assert!(at.is_some(), "an event of a sequence that is gone");
        match event {
            Event::Token { .. } => {}
            Event::Done(done) => {
                let (_, prompt, new) = live.remove(at.unwrap());
                prop_assert_eq!(done.new_ids, alone(&prompt, new));
            }
            Event::Failed(error) => prop_assert!(false, "{}", error),
        }
    }
    Ok(())
}

#[test]
fn on_the_real_runtime_eight_ragged_sequences_say_what_each_says_alone() {
    let dir = tempfile::tempdir().unwrap();
    let package = fixture::package(dir.path());
    let open = |slots| {
        let options = SessionOptions { threads: std::num::NonZeroUsize::MIN, ..SessionOptions::default() };
        let decoder = OrtDecoder::open(&fixture::library(), &package, &options, (slots, 400)).unwrap();
        Engine::new(decoder, &fixture::rule())
    };
    let features = Arc::new(Features {
        rows: Array2::from_shape_fn((6, fixture::HIDDEN), |(r, i)| ((r * 7 + i) % 5) as f32 * 0.3 - 0.5),
        deepstack: vec![Array2::from_elem((6, fixture::HIDDEN), 0.1)],
    });
    let request = |i: usize| {
        let (text, n) = (3 + 5 * i, [30, 300, 1, 17, 260, 8, 64, 5][i]);
        let spans = [Span::Text(text), Span::Grid(2, 3), Span::Text(n)];
        let mut feature_rows = vec![-1; text + 6 + n];
        (0..6).for_each(|row| feature_rows[text + row] = row as i64);
        let ids = (0..text + 6 + n).map(|t| ((i * 13 + t * t) % fixture::VOCABULARY) as u32).collect();
        let positions = Positions::of(&spans);
        let text = Request::text(ids, 12 + i, vec![]);
        Request { positions, features: Some(features.clone()), feature_rows, ..text }
    };
    let together = open(8).run_all((0..8).map(request).collect());
    let queued = open(3).run_all((0..8).map(request).collect());
    for i in 0..8 {
        let alone = open(1).run_all(vec![request(i)]).remove(0).unwrap();
        assert_eq!(alone.new_ids.len(), 12 + i);
        for batched in [&together[i], &queued[i]] {
            let batched = batched.as_ref().unwrap();
            assert_eq!(batched.new_ids, alone.new_ids, "request {i}");
            let pairs = batched.logprobs.iter().zip(&alone.logprobs);
            assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-4, "request {i}");
        }
    }
}
