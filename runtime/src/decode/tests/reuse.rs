//! Beginnings that prompts share: read once, and nobody says anything else for it.

use super::*;
use crate::session::{SessionError, StepInput};

/// The mark of the first tokens of these ids.
pub(super) fn mark(ids: &[u32], tokens: usize) -> Mark {
    let mut key = [0; 32];
    for (i, id) in ids[..tokens].iter().enumerate() {
        key[i % 32] = (key[i % 32] ^ *id as u8).wrapping_mul(31).wrapping_add(i as u8);
    }
    Mark { tokens, key }
}

/// A prompt of two parts, with a mark where the first one ends.
fn pair(first: u32, second: u32) -> Request {
    let ids = [prompt(first, 11), prompt(second, 6)].concat();
    Request { prefix: vec![mark(&ids, 11)], ..Request::text(ids, 4, vec![]) }
}

/// Runs a request; its tokens are those of the request alone, and this many of its prompt were not read.
fn check<S: DecoderSession>(engine: &mut Engine<S>, request: Request, reused: usize) {
    let done = engine.run_one(request.clone()).unwrap();
    assert_eq!((done.new_ids, done.reused), (alone(&request.ids, 4), reused));
}

#[test]
fn what_an_ended_sequence_left_is_taken_over_until_it_is_overwritten() {
    let mut engine = engine(speak);
    check(&mut engine, pair(1, 2), 0);
    check(&mut engine, pair(1, 3), 11);
    // Another beginning takes an empty slot, so both are there.
    check(&mut engine, pair(5, 2), 0);
    check(&mut engine, pair(1, 4), 11);
    check(&mut engine, pair(5, 3), 11);
    // Four others overwrite the one that was used longest ago, each the next.
    (6..9).for_each(|first| check(&mut engine, pair(first, 2), 0));
    check(&mut engine, pair(5, 9), 11);
    check(&mut engine, pair(1, 9), 0);
    // The mark is a place where chunks end, whether or not anything is shared.
    assert_eq!(engine.session().runs[..3], [(0, vec![8], 8), (0, vec![3], 3), (0, vec![6], 6)]);
    let mut engine = super::engine(speak).with(Options { reuse: false, ..Options::default() });
    check(&mut engine, pair(1, 2), 0);
    check(&mut engine, pair(1, 3), 0);
    assert_eq!(engine.session().runs[6..9], [(0, vec![8], 8), (0, vec![3], 3), (0, vec![6], 6)]);
}

#[test]
fn of_those_that_come_together_one_reads_what_they_share() {
    let mut engine = engine(speak);
    let requests = [pair(1, 2), pair(1, 3), pair(4, 2), pair(1, 5)];
    let done = engine.run_all(requests.to_vec());
    let reused: Vec<usize> = done.iter().map(|done| done.as_ref().unwrap().reused).collect();
    assert_eq!(reused, [0, 11, 0, 11]);
    for (done, request) in done.iter().zip(&requests) {
        assert_eq!(done.as_ref().unwrap().new_ids, alone(&request.ids, 4));
    }
    let read: i32 = engine.session().runs.iter().filter(|run| run.2 > 1).flat_map(|run| &run.1).sum();
    assert_eq!(read, 2 * 11 + 4 * 6);
}

#[test]
fn the_longest_beginning_counts_and_a_place_to_be_read_is_never_skipped() {
    let mut engine = engine(speak);
    let nested = |second: u32| {
        let request = pair(1, second);
        let (short, long) = (mark(&request.ids, 3), mark(&request.ids, 14));
        Request { prefix: vec![short, request.prefix[0], long], ..request }
    };
    check(&mut engine, nested(2), 0);
    check(&mut engine, nested(2), 14);
    check(&mut engine, nested(3), 11);
    let read = |place| Request { read: vec![place], max_new_tokens: 0, ..nested(2) };
    for (place, reused) in [(1, 0), (5, 3), (11, 11), (13, 11), (16, 14)] {
        let done = engine.run_one(read(place)).unwrap();
        assert_eq!((done.reused, done.rows.len()), (reused, 1), "{place}");
        let said = done.rows[0].iter().position(|&p| p == 1.0).unwrap() as u32;
        assert_eq!(said, alone(&nested(2).ids[..=place], 1)[0]);
    }
    for prefix in
        [vec![mark(&[1], 0)], vec![mark(&prompt(1, 17), 17)], vec![mark(&[1; 9], 5), mark(&[1; 9], 5)]]
    {
        let refusal = engine.admit(Request { prefix, ..pair(1, 2) }).unwrap_err();
        assert!(matches!(refusal, Refusal::Field { field: "prefix", .. }), "{refusal}");
    }
}

#[test]
fn when_the_one_that_reads_goes_away_the_next_one_reads() {
    for fails in [false, true] {
        let mut engine = engine(move |scene| match scene.run {
            0 if fails => Answer::Error("out of memory".into()),
            _ => speak(scene),
        });
        let first = engine.admit(pair(1, 2)).unwrap();
        let second = engine.admit(pair(1, 3)).unwrap();
        let mut events = engine.step();
        assert_eq!(engine.cancel(first), !fails);
        while engine.free() < 4 {
            events.extend(engine.step());
        }
        let done = events.iter().find_map(|(ticket, event)| match event {
            Event::Done(done) if *ticket == second => Some(done),
            _ => None,
        });
        let done = done.unwrap();
        assert_eq!((&done.new_ids, done.reused), (&alone(&pair(1, 3).ids, 4), 0));
    }
}

/// A decoder with recurrent states: it copies a sequence at its very end only.
struct Recurrent {
    inner: ScriptedDecoder,
    ends: Vec<usize>,
    copies: usize,
}

impl DecoderSession for Recurrent {
    fn geometry(&self) -> &Geometry {
        self.inner.geometry()
    }

    fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
        for (row, &new) in step.query_seqlens.iter().enumerate().filter(|(_, new)| **new > 0) {
            let (slot, end) = (step.first_slot + row, step.seqlens_k[row] as usize + 1);
            assert!(end == new as usize || self.ends[slot] == end - new as usize, "a state was taken back");
            self.ends[slot] = end;
        }
        self.inner.run(step)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
        assert_eq!(self.ends[from], tokens);
        self.ends[to] = tokens;
        self.copies += 1;
        self.inner.copy_prefix(from, to, tokens)
    }

    fn keeps_prefixes(&self) -> bool {
        false
    }
}

#[test]
fn recurrent_states_are_shared_by_those_that_wait_for_them_and_by_no_others() {
    let inner = ScriptedDecoder::new(geometry(), Box::new(speak));
    let mut engine = Engine::new(Recurrent { inner, ends: vec![0; 4], copies: 0 }, &rule());
    let done = engine.run_all(vec![pair(1, 2), pair(1, 3), pair(1, 4), pair(2, 2)]);
    let reused: Vec<usize> = done.iter().map(|done| done.as_ref().unwrap().reused).collect();
    assert_eq!((reused, engine.session().copies), (vec![0, 11, 11, 0], 2));
    for (done, second) in done.iter().zip([2, 3, 4]) {
        assert_eq!(done.as_ref().unwrap().new_ids, alone(&pair(1, second).ids, 4));
    }
    check(&mut engine, pair(1, 5), 0);
}

#[test]
fn a_session_that_cannot_copy_reads_everything() {
    struct Device(ScriptedDecoder);
    impl DecoderSession for Device {
        fn geometry(&self) -> &Geometry {
            self.0.geometry()
        }
        fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
            self.0.run(step)
        }
        fn copy_prefix(&mut self, _: usize, _: usize, _: usize) -> Result<(), SessionError> {
            Err(SessionError::Input("a prefix in device memory cannot be copied".into()))
        }
    }
    let session = Device(ScriptedDecoder::new(geometry(), Box::new(speak)));
    let mut engine = Engine::new(session, &rule());
    for (done, second) in engine.run_all(vec![pair(1, 2), pair(1, 3)]).into_iter().zip([2, 3]) {
        let done = done.unwrap();
        assert_eq!((done.new_ids, done.reused), (alone(&pair(1, second).ids, 4), 0));
    }
}

/// On the real runtime: a beginning with a picture in it, copied and taken over, changes no token.
#[test]
fn on_the_real_runtime_a_shared_beginning_changes_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let package = fixture::package(dir.path());
    let features = Arc::new(Features {
        rows: Array2::from_shape_fn((6, fixture::HIDDEN), |(r, i)| ((r * 7 + i) % 5) as f32 * 0.3 - 0.5),
        deepstack: vec![Array2::from_elem((6, fixture::HIDDEN), 0.1)],
    });
    let request = |i: usize| {
        let spans = [Span::Text(40), Span::Grid(2, 3), Span::Text(9)];
        let mut feature_rows = vec![-1; 55];
        (0..6).for_each(|row| feature_rows[40 + row] = row as i64);
        let ids: Vec<u32> = (0..55)
            .map(|t| ((t * t + if t < 46 { 0 } else { i * 13 }) % fixture::VOCABULARY) as u32)
            .collect();
        let prefix = vec![mark(&ids, 46)];
        let text = Request::text(ids, 12, vec![]);
        Request {
            positions: Positions::of(&spans),
            features: Some(features.clone()),
            feature_rows,
            prefix,
            ..text
        }
    };
    let open = |reuse| {
        let options = SessionOptions { threads: std::num::NonZeroUsize::MIN, ..SessionOptions::default() };
        let decoder = OrtDecoder::open(&fixture::library(), &package, &options, (3, 400)).unwrap();
        Engine::new(decoder, &fixture::rule()).with(Options { reuse, ..Options::default() })
    };
    let [with, without] = [true, false].map(|on| open(on).run_all((0..7).map(request).collect()));
    for (i, (with, without)) in with.into_iter().zip(without).enumerate() {
        let (with, without) = (with.unwrap(), without.unwrap());
        assert_eq!(
            (with.new_ids, with.reused),
            (without.new_ids, if i == 0 { 0 } else { 46 }),
            "request {i}"
        );
    }
}
