//! The threads over a scripted session: many callers, faults, and calls that go at any moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use rewardrt_models::package::{PositionRule, SectionLayout};

use super::*;
use crate::Error;
use crate::schedule::{Call, block_on};
use crate::session::stub::{Answer as Says, Scene};
use crate::session::{Geometry, ScriptedDecoder};

const VOCABULARY: usize = 32;
/// First tokens of prompts that the script treats in its own way.
const PLAIN: u32 = 9;
const NAN: u32 = 3;
const ERROR: u32 = 4;
const PANIC: u32 = 5;
/// Goes on until it is told to end.
const ENDLESS: u32 = 6;
const END: u32 = 1;

/// A judge's threads without a judge.
struct Stage {
    service: Service,
    door: Door,
    preparers: Station<()>,
    /// Tells endless answers to end.
    end: Arc<AtomicBool>,
    /// How often the script was asked about prompts that begin with a token.
    asked: Arc<Mutex<BTreeMap<u32, usize>>>,
}

fn geometry(slots: usize) -> Geometry {
    Geometry {
        slots,
        tokens: 4096,
        columns: 8,
        vocabulary: VOCABULARY,
        outputs: VOCABULARY,
        hidden: 2,
        deepstack: 0,
        rotary_width: 4,
    }
}

/// A language in which the next token depends on every token before it.
fn next(history: &[i64]) -> u32 {
    let hash = history.iter().fold(17_i64, |h, &id| (h * 131 + id + 7).rem_euclid(1_000_003));
    10 + (hash % (VOCABULARY as i64 - 10)) as u32
}

/// What a prompt alone is answered.
fn alone(request: &Request) -> Vec<u32> {
    let mut history: Vec<i64> = request.ids.iter().map(|&id| i64::from(id)).collect();
    for _ in 0..request.max_new_tokens {
        history.push(i64::from(next(&history)));
    }
    history[request.ids.len()..].iter().map(|&id| id as u32).collect()
}

impl Stage {
    fn new(slots: usize, queue: usize) -> Stage {
        let (end, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::new())));
        let (ends, asks) = (end.clone(), asked.clone());
        let script = move |scene: Scene<'_>| {
            let kind = scene.history[0] as u32;
            *asks.lock().unwrap().entry(kind).or_default() += 1;
            match kind {
                NAN => Says::Logits(vec![f32::NAN; VOCABULARY]),
                ERROR => Says::Error("out of memory".into()),
                PANIC => panic!("the script fell"),
                ENDLESS if ends.load(Ordering::SeqCst) => Says::Token(END),
                ENDLESS => Says::After(Duration::from_millis(1), Box::new(Says::Token(ENDLESS))),
                _ => Says::Token(next(scene.history)),
            }
        };
        let rule = PositionRule {
            theta: 1e4,
            rotary_dim: 8,
            sections: [2, 1, 1],
            layout: SectionLayout::Chunked,
            tokens_per_second: None,
        };
        let decoder = ScriptedDecoder::new(geometry(slots), Box::new(script));
        let decoder: Box<dyn DecoderSession> = Box::new(decoder);
        let limits = Limits {
            slots,
            slot_tokens: 4096,
            kv_tokens: 4096 * slots,
            queue,
            singles_ahead: slots + 2,
            groups: 2,
        };
        let mut service = Service::start(limits, Engine::new(decoder, &rule)).unwrap();
        let preparers = service.station("prepare", vec![(); 2], false).unwrap();
        let door = service.door();
        Stage { service, door, preparers, end, asked }
    }

    fn enter(&self, class: Class) -> Result<Call, Error> {
        self.enter_within(class, None)
    }

    fn enter_within(&self, class: Class, ms: Option<u64>) -> Result<Call, Error> {
        let deadline = ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        Call::enter(&self.door, Who { client: 0, class }, deadline)
    }

    /// One call with these requests, from its entry to its answers.
    fn ask(&self, class: Class, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let mut call = self.enter(class)?;
        let answers = block_on(async {
            call.turn().await?;
            let ready = call.post(&self.preparers, |()| Ok(()));
            call.ready(ready).await?;
            call.run(requests.to_vec()).await
        });
        call.leave(answers.is_ok());
        answers
    }

    fn asked(&self, kind: u32) -> usize {
        self.asked.lock().unwrap().get(&kind).copied().unwrap_or(0)
    }

    /// Waits until a condition holds, which it will unless the test fails.
    fn until(&self, holds: impl Fn(Stats) -> bool) {
        while !holds(self.service.stats()) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Nothing is held for anyone.
    fn is_as_new(&self) {
        // What left its slot is gone before the next request's first step.
        assert!(self.ask(Class::Single, &[request(PLAIN, 1, 1)]).is_ok());
        let (stats, state) = (self.service.stats(), self.service.shared.lock());
        assert_eq!((stats.calls, stats.waiting, stats.running, stats.kv_reserved), (0, 0, 0, 0));
        assert_eq!(stats.slots_free, 2);
        assert!(state.requests.is_empty() && state.calls.is_empty() && state.outbox.is_empty());
        let ended = stats.done + stats.failed + stats.cancelled + stats.expired;
        assert_eq!(stats.entered, ended);
    }
}

/// A prompt of a kind, told apart from others by a number.
fn request(kind: u32, number: u32, new: usize) -> Request {
    let number = |i: u32| 10 + (number * 7 + i * i) % (VOCABULARY as u32 - 10);
    let ids = std::iter::once(kind).chain((0..5).map(number)).collect();
    Request::text(ids, new, vec![END])
}

/// Why a call ended.
fn ended<R: std::fmt::Debug>(result: Result<R, Error>) -> ScheduleError {
    match result {
        Err(Error::Schedule(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_callers_are_each_answered_as_alone() {
    let stage = Stage::new(2, 100);
    thread::scope(|scope| {
        for number in 0..40 {
            let stage = &stage;
            scope.spawn(move || {
                let class = if number % 3 == 0 { Class::Group } else { Class::Single };
                let requests: Vec<Request> = (0..1 + number % 4)
                    .map(|k| request(PLAIN, number * 5 + k, 1 + number as usize))
                    .collect();
                let answers = stage.ask(class, &requests).unwrap();
                for (request, answer) in requests.iter().zip(answers) {
                    assert_eq!(answer.unwrap().new_ids, alone(request));
                }
            });
        }
    });
    assert_eq!(stage.service.stats().done, 40);
    stage.is_as_new();
}

#[test]
fn exactly_the_surplus_is_refused_and_told_when_to_come_back() {
    let stage = Stage::new(2, 5);
    let barrier = Barrier::new(20);
    let entered: Vec<_> = thread::scope(|scope| {
        let enter = |_| {
            scope.spawn(|| {
                barrier.wait();
                stage.enter(Class::Single)
            })
        };
        let threads: Vec<_> = (0..20).map(enter).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (calls, refused): (Vec<_>, Vec<_>) = entered.into_iter().partition(Result::is_ok);
    assert_eq!((calls.len(), refused.len()), (7, 13));
    for refusal in refused {
        let why = ended(refusal.map(|_| ()));
        assert!(matches!(why, ScheduleError::Busy { calls: 7, retry_after: 1 }), "{why}");
    }
    assert_eq!(stage.service.stats().refused, 13);
    drop(calls);
    assert_eq!(stage.service.stats().cancelled, 7);
    stage.is_as_new();
}

#[test]
fn ten_thousand_calls_that_go_at_any_moment_leave_nothing_behind() {
    const THREADS: u64 = 4;
    const CALLS: u64 = 2500;
    let stage = Stage::new(2, 3);
    let (gone, done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stage, gone, done, refused) = (&stage, &gone, &done, &refused);
            scope.spawn(move || {
                let mut random = 88_172_645_463_325_252 + thread;
                for number in 0..CALLS {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let class = if random & 1 == 0 { Class::Single } else { Class::Group };
                    let Ok(mut call) = stage.enter(class) else {
                        refused.fetch_add(1, Ordering::SeqCst);
                        continue;
                    };
                    let requests: Vec<Request> = (0..1 + random as u32 % 3)
                        .map(|k| request(PLAIN, number as u32 + k, 1 + (random >> 8) as usize % 30))
                        .collect();
                    let run = async {
                        call.turn().await?;
                        let ready = call.post(&stage.preparers, |()| Ok(()));
                        call.ready(ready).await?;
                        call.run(requests.clone()).await
                    };
                    // So many times it is looked after, then no more.
                    let patience = [12, 200, 100_000][(random >> 40) as usize % 3];
                    match block_on(impatient(run, (random >> 16) as usize % patience)) {
                        None => drop(gone.fetch_add(1, Ordering::SeqCst)),
                        Some(answers) => {
                            for (request, answer) in requests.iter().zip(answers.unwrap()) {
                                assert_eq!(answer.unwrap().new_ids, alone(request));
                            }
                            call.leave(true);
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    let stats = stage.service.stats();
    let counted = [gone, done, refused].map(|count| count.into_inner() as u64);
    assert_eq!([stats.cancelled, stats.done, stats.refused], counted);
    assert_eq!((counted.iter().sum::<u64>(), stats.failed, stats.expired), (THREADS * CALLS, 0, 0));
    assert!(counted[0] > 1000 && counted[1] > 100, "too few of a kind show nothing: {counted:?}");
    stage.is_as_new();
}

/// Polls a future so many times; none when it was not done by then.
async fn impatient<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 {
            return std::task::Poll::Ready(None);
        }
        left = left.saturating_sub(1);
        // Sooner than anything has happened, so that it goes at any moment.
        cx.waker().wake_by_ref();
        thread::yield_now();
        polled
    })
    .await
}

#[test]
fn a_request_that_fails_fails_alone() {
    let stage = Stage::new(2, 9);
    for (kind, says) in [(NAN, "not finite"), (ERROR, "out of memory")] {
        let requests = [request(PLAIN, 1, 9), request(kind, 2, 9), request(PLAIN, 3, 20)];
        let answers = stage.ask(Class::Single, &requests).unwrap();
        for i in [0, 2] {
            assert_eq!(answers[i].as_ref().unwrap().new_ids, alone(&requests[i]));
        }
        assert!(answers[1].as_ref().unwrap_err().to_string().contains(says));
        stage.is_as_new();
    }
    let long = Request::text(vec![PLAIN; 4000], 97, vec![END]);
    let refused = stage.ask(Class::Single, &[long]).unwrap_err().to_string();
    assert!(
        refused.contains("4097 tokens are needed") && refused.contains("4096 are available"),
        "{refused}"
    );
    stage.is_as_new();
}

#[test]
fn a_panic_of_the_decoder_ends_all_calls_by_name_and_later_ones_at_once() {
    let stage = Stage::new(2, 9);
    thread::scope(|scope| {
        let waits =
            scope.spawn(|| stage.ask(Class::Group, &[request(ENDLESS, 1, 4000), request(ENDLESS, 2, 4000)]));
        stage.until(|stats| stats.running == 2);
        let falls = stage.ask(Class::Single, &[request(PANIC, 1, 9)]);
        for why in [ended(falls), ended(waits.join().unwrap())] {
            assert!(why.to_string().contains("decoding a step: the script fell"), "{why}");
        }
    });
    assert!(matches!(ended(stage.ask(Class::Single, &[])), ScheduleError::Broken { .. }));
    let reason = "decoding a step: the script fell".to_owned();
    assert_eq!(stage.service.health(), Health::Broken { reason });
    let stats = stage.service.stats();
    assert_eq!((stats.calls, stats.running, stats.failed, stats.refused), (0, 0, 2, 1));
}

#[test]
fn a_panic_while_a_request_is_made_ready_is_its_own_unless_the_thread_is_vital() {
    let mut stage = Stage::new(2, 9);
    let falls = |stage: &Stage, station: &Station<()>| {
        let mut call = stage.enter(Class::Single)?;
        let ready = call.post(station, |()| -> Result<(), Error> { panic!("it fell") });
        block_on(call.ready(ready))
    };
    let why = ended(falls(&stage, &stage.preparers));
    assert!(matches!(&why, ScheduleError::Unready { reason } if reason == "it fell"), "{why}");
    assert_eq!(stage.service.health(), Health::Ready);
    // Both threads are still there.
    for number in 0..4 {
        assert!(stage.ask(Class::Single, &[request(PLAIN, number, 3)]).is_ok());
    }
    let vital = stage.service.station("see", vec![()], true).unwrap();
    assert!(ended(falls(&stage, &vital)).to_string().contains("it fell"));
    while stage.service.health() == Health::Ready {
        thread::yield_now();
    }
    assert_eq!(stage.service.health(), Health::Broken { reason: "see: it fell".to_owned() });
}

#[test]
fn what_expires_before_its_turn_meets_no_thread_and_no_session() {
    let stage = Stage::new(1, 9);
    // Both threads that make ready are kept busy until the deadline is over.
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let mut busy = stage.enter(Class::Single).unwrap();
    let blocked: Vec<_> = (0..2)
        .map(|_| {
            let wait = wait.clone();
            busy.post(&stage.preparers, move |()| {
                let _ = wait.lock().unwrap().recv();
                Ok(())
            })
        })
        .collect();
    let mut late = stage.enter_within(Class::Single, Some(20)).unwrap();
    let begun = Arc::new(AtomicBool::new(false));
    let begins = begun.clone();
    let ready = late.post(&stage.preparers, move |()| {
        begins.store(true, Ordering::SeqCst);
        Ok(())
    });
    assert_eq!(ended(block_on(late.ready(ready))), ScheduleError::Expired);
    drop(go);
    for ready in blocked {
        block_on(busy.ready(ready)).unwrap();
    }
    drop((busy, late));
    // The only slot is taken by an answer without an end.
    thread::scope(|scope| {
        let first = scope.spawn(|| stage.ask(Class::Single, &[request(ENDLESS, 1, 4000)]));
        stage.until(|stats| stats.running == 1);
        let mut call = stage.enter_within(Class::Single, Some(20)).unwrap();
        assert_eq!(ended(block_on(call.run(vec![request(PLAIN, 1, 3)]))), ScheduleError::Expired);
        call.leave(false);
        stage.end.store(true, Ordering::SeqCst);
        assert!(first.join().unwrap().is_ok());
    });
    assert!(!begun.load(Ordering::SeqCst) && stage.asked(PLAIN) == 0);
    let stats = stage.service.stats();
    assert_eq!((stats.expired, stats.cancelled, stats.done, stats.failed), (2, 1, 1, 0));
}

#[test]
fn what_expires_in_its_slot_is_not_run_again() {
    let stage = Stage::new(2, 9);
    let mut call = stage.enter_within(Class::Single, Some(20)).unwrap();
    let requests = vec![request(ENDLESS, 1, 4000), request(ENDLESS, 2, 4000)];
    assert_eq!(ended(block_on(call.run(requests))), ScheduleError::Expired);
    let runs = stage.asked(ENDLESS);
    assert!(runs > 0);
    stage.is_as_new();
    assert_eq!(stage.asked(ENDLESS), runs);
}

#[test]
fn a_single_question_is_answered_while_a_group_has_all_slots() {
    let stage = Stage::new(2, 9);
    let requests = [1, 2, 3].map(|number| request(ENDLESS, number, 4000));
    assert_eq!(group_beside_single(&stage, &requests), [END; 3]);
    stage.is_as_new();
}

/// Asks a group whose answers have no end until a single question was answered; gives the last token of each.
fn group_beside_single(stage: &Stage, requests: &[Request]) -> Vec<u32> {
    thread::scope(|scope| {
        let group = scope.spawn(|| stage.ask(Class::Group, requests).unwrap());
        stage.until(|stats| stats.running == 2 && stats.waiting == 1);
        let single = request(PLAIN, 7, 5);
        let answers = stage.ask(Class::Single, std::slice::from_ref(&single)).unwrap();
        assert_eq!(answers[0].as_ref().unwrap().new_ids, alone(&single));
        let stats = stage.service.stats();
        assert_eq!((stats.gave_way, stats.done), (1, 1));
        stage.end.store(true, Ordering::SeqCst);
        let answers = group.join().unwrap();
        answers.into_iter().map(|answer| *answer.unwrap().new_ids.last().unwrap()).collect()
    })
}

#[test]
fn when_the_last_handle_goes_the_calls_end_and_the_threads_too() {
    let stage = Stage::new(1, 9);
    let mut calls: Vec<Call> = (0..4).map(|_| stage.enter(Class::Single).unwrap()).collect();
    let (door, preparers) = (stage.door.clone(), stage.preparers.clone());
    thread::scope(|scope| {
        let mut running = calls.pop().unwrap();
        let runs = scope.spawn(move || block_on(running.run(vec![request(ENDLESS, 1, 4000)])));
        stage.until(|stats| stats.running == 1);
        drop(stage.service);
        assert_eq!(ended(runs.join().unwrap()), ScheduleError::Closed);
    });
    let mut queued = calls.pop().unwrap();
    assert_eq!(ended(block_on(queued.run(vec![request(PLAIN, 1, 3)]))), ScheduleError::Closed);
    let mut unready = calls.pop().unwrap();
    let ready = unready.post(&preparers, |()| Ok(()));
    assert_eq!(ended(block_on(unready.ready(ready))), ScheduleError::Closed);
    let refused = Call::enter(&door, Who { client: 0, class: Class::Single }, None);
    assert_eq!(ended(refused.map(|_| ())), ScheduleError::Closed);
}
