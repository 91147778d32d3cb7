//! One judge and many callers: futures beside threads, groups beside single questions, and callers that go.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod script;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use drive::Exported;
use rewardrt::schedule::{Health, ScheduleError};
use rewardrt::{Comparison, Error, Group, Judge, Picture, Verdict};
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Pack;
use rewardrt_models::verdict::Winner;
use rewardrt_tests::root;
use script::{Says, Stage};

const PACK: &str = "unifiedreward-image-understanding-pair";
const QUESTION: &str = "which is it?";

fn picture() -> Picture {
    Picture::Path(root().join("models/demo/ocean-1.webp"))
}

/// A judge of answers such as `no 7`, who prefers the higher number and falls at 99; beside its slots so many calls may
/// wait.
fn judge(slots: usize, queue: usize) -> Judge {
    Stage::new().judge_with(Judge::builder().queue(queue), PACK, slots, |_, prompt| {
        let number = |of: &str| -> Option<u32> {
            let digits = prompt.split_once(of)?.1.chars().take_while(char::is_ascii_digit);
            digits.collect::<String>().parse().ok()
        };
        let said = number("Answer 1: no ").zip(number("Answer 2: no ")).map(|(a, b)| {
            assert!(a != 99, "ninety-nine");
            format!("Answer {} is better.", if a > b { 1 } else { 2 })
        });
        Says::words(&said.unwrap_or_default())
    })
}

fn pair(a: u32, b: u32) -> Comparison {
    Comparison::answers(QUESTION, vec![picture()], format!("no {a}"), format!("no {b}"))
}

fn group(numbers: &[u32]) -> Group {
    Group::answers(QUESTION, vec![picture()], numbers.iter().map(|n| format!("no {n}")).collect())
}

type Waiting = Pin<Box<dyn Future<Output = Result<Verdict, Error>> + Send>>;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest of executors: all futures on this thread, until the last is done.
fn join<F: Future + ?Sized>(futures: Vec<Pin<Box<F>>>) -> Vec<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut futures: Vec<_> = futures.into_iter().map(Some).collect();
    let mut outputs: Vec<_> = futures.iter().map(|_| None).collect();
    while outputs.iter().any(Option::is_none) {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            let polled = future.as_mut().map(|future| future.as_mut().poll(&mut context));
            if let Some(Poll::Ready(ready)) = polled {
                (*output, *future) = (Some(ready), None);
            }
        }
        if outputs.iter().any(Option::is_none) {
            thread::park();
        }
    }
    outputs.into_iter().flatten().collect()
}

/// Looks after a future once.
fn poll(future: &mut Waiting) -> Poll<Result<Verdict, Error>> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// What the schedule said instead of a verdict.
fn refused(result: Result<Verdict, Error>) -> ScheduleError {
    match result {
        Err(Error::Schedule(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Nothing is held for anyone, and the judge goes on.
fn is_as_new(judge: &Judge) {
    assert_eq!(judge.compare(&pair(2, 1)).unwrap().winner, Some(Winner::First));
    let stats = judge.stats();
    assert_eq!((stats.calls, stats.queued, stats.waiting, stats.running, stats.kv_reserved), (0, 0, 0, 0, 0));
    assert_eq!(stats.entered, stats.done + stats.failed + stats.cancelled + stats.expired);
}

#[test]
fn futures_on_one_thread_get_their_own_answers() {
    let judge = judge(3, 40);
    let asked: Vec<(u32, u32)> = (0..30).map(|i| (i * 7 % 11, i * 5 % 13 + 20 * (i % 2))).collect();
    let ask =
        |&(a, b): &(u32, u32)| -> Waiting { Box::pin(judge.client(a.into()).compare_async(pair(a, b))) };
    let verdicts = join(asked.iter().map(ask).collect());
    for ((a, b), verdict) in asked.into_iter().zip(verdicts) {
        let expected = if a > b { Winner::First } else { Winner::Second };
        assert_eq!(verdict.unwrap().winner, Some(expected), "{a} against {b}");
    }
    let stats = judge.stats();
    assert_eq!((stats.done, stats.admitted), (30, 30));
    // One picture, seen once.
    assert_eq!((stats.vision_seen, stats.vision_reused), (1, 29));
    is_as_new(&judge);
}

#[test]
fn a_group_hands_out_its_pairs_as_they_end() {
    let judge = judge(2, 4);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let ranking = judge.rank_async(group(&[3, 8, 5, 1]), move |finished| {
        let winner = finished.pair.answer.as_ref().unwrap().winner;
        tell.lock().unwrap().push((
            finished.pair.first,
            finished.pair.second,
            winner,
            finished.done,
            finished.most,
        ));
    });
    let ranking = join(vec![Box::pin(ranking)]).pop().unwrap().unwrap();
    assert_eq!(ranking.rewards.order, [1, 2, 0, 3]);
    let told = told.lock().unwrap();
    assert_eq!(
        told.iter().map(|t| (t.3, t.4)).collect::<Vec<_>>(),
        (1..=6).map(|n| (n, 6)).collect::<Vec<_>>()
    );
    let mut pairs: Vec<_> = told.iter().map(|t| (t.0, t.1, t.2)).collect();
    pairs.sort_by_key(|pair| (pair.0, pair.1));
    let expected =
        ranking.pairs.iter().map(|pair| (pair.first, pair.second, pair.answer.as_ref().unwrap().winner));
    assert_eq!(pairs, expected.collect::<Vec<_>>());
}

#[test]
fn the_surplus_is_refused_before_a_picture_is_opened() {
    let judge = judge(1, 2);
    // What was refused asks for a file that is not there, and is not told of it.
    let lost = Picture::Path("nowhere.png".into());
    let asks = (0..5)
        .map(|i| if i < 3 { pair(i, 9) } else { Comparison { shown: vec![lost.clone()], ..pair(i, 9) } });
    let mut futures: Vec<Waiting> =
        asks.map(|ask| -> Waiting { Box::pin(judge.compare_async(ask)) }).collect();
    for (i, future) in futures.iter_mut().enumerate() {
        match poll(future) {
            Poll::Pending => assert!(i < 3),
            Poll::Ready(result) => {
                let why = refused(result);
                assert!(i >= 3 && matches!(why, ScheduleError::Busy { calls: 3, retry_after: 1.. }), "{why}");
                assert!(why.to_string().contains("try again in "));
            }
        }
    }
    let stats = judge.stats();
    assert_eq!((stats.calls, stats.refused), (3, 2));
    drop(futures);
    assert_eq!(judge.stats().cancelled, 3);
    is_as_new(&judge);
}

#[test]
fn futures_that_are_dropped_at_any_moment_leave_nothing_behind() {
    let judge = judge(2, 8);
    for i in 0..120_u32 {
        let mut single: Waiting = Box::pin(judge.compare_async(pair(i, 1)));
        let mut ranking = Box::pin(judge.rank_async(group(&[1, 2, 3]), |_| {}));
        for _ in 0..i % 12 {
            let waker = Waker::noop();
            let both = [
                poll(&mut single).is_ready(),
                ranking.as_mut().poll(&mut Context::from_waker(waker)).is_ready(),
            ];
            if both.contains(&true) {
                break;
            }
            thread::sleep(Duration::from_micros(u64::from(i) * 20));
        }
    }
    is_as_new(&judge);
}

#[test]
fn a_deadline_ends_a_call_by_name() {
    let judge = judge(1, 2);
    let why = refused(judge.within(Duration::ZERO).compare(&pair(1, 2)));
    assert_eq!((why, judge.stats().expired, judge.stats().steps), (ScheduleError::Expired, 1, 0));
    assert!(judge.within(Duration::from_secs(3600)).compare(&pair(1, 2)).is_ok());
    assert!(judge.within(Duration::MAX).compare(&pair(1, 2)).is_ok());
    is_as_new(&judge);
}

#[test]
fn a_fault_of_the_engine_is_told_to_all_and_the_judge_says_that_it_is_broken() {
    let judge = judge(2, 4);
    assert_eq!(judge.health(), Health::Ready);
    for _ in 0..2 {
        let why = refused(judge.compare(&pair(99, 1)));
        assert!(why.to_string().contains("decoding a step: ninety-nine"), "{why}");
    }
    assert!(matches!(judge.health(), Health::Broken { .. }));
    let error = judge.rank(&group(&[1, 2])).unwrap_err().to_string();
    assert!(error.contains("open the package again"), "{error}");
}

#[test]
fn a_future_outlives_the_judge_and_is_told_that_it_was_closed() {
    let judge = judge(1, 2);
    let (begun, late) = (judge.compare_async(pair(1, 2)), judge.compare_async(pair(1, 2)));
    let mut begun: Waiting = Box::pin(begun);
    let done = poll(&mut begun).is_ready();
    drop(judge);
    assert!(done || refused(join(vec![begun]).pop().unwrap()) == ScheduleError::Closed);
    let late: Waiting = Box::pin(late);
    assert_eq!(refused(join(vec![late]).pop().unwrap()), ScheduleError::Closed);
}

#[test]
fn what_is_judged_beside_others_is_what_is_judged_alone() {
    let exported = Exported::new(&root().join("models/shapes-judge/checkpoint"), Precision::Fp32).unwrap();
    let open = |slots: usize| {
        let builder = Judge::builder().pack(Pack::builtin("shapes-judge").unwrap()).tokens(512);
        builder.slots(slots).open(&exported.path()).unwrap()
    };
    let example = |name: &str| Picture::Path(root().join("models/shapes-judge/examples").join(name));
    let items = ["0000a.png", "0001b.png", "0002a.png", "0003a.png"].map(example).to_vec();
    let prompt = "four blue triangles";
    let (alone, shared) = (open(1), open(2));
    let compare = |judge: &Judge, (i, j): (usize, usize)| {
        let verdict = judge.compare(&Comparison::images(prompt, items[i].clone(), items[j].clone())).unwrap();
        (verdict.text, verdict.winner)
    };
    let pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    let expected = pairs.map(|pair| compare(&alone, pair));
    thread::scope(|scope| {
        let (shared, items) = (&shared, &items);
        let ranked = scope.spawn(move || shared.rank(&Group::images(prompt, items.clone())).unwrap());
        let threads = pairs.map(|pair| scope.spawn(move || compare(shared, pair)));
        for (thread, expected) in threads.into_iter().zip(&expected) {
            assert_eq!(&thread.join().unwrap(), expected);
        }
        let answers = ranked.join().unwrap().pairs.into_iter().map(|pair| pair.answer.unwrap());
        assert_eq!(answers.map(|answer| (answer.text, answer.winner)).collect::<Vec<_>>(), expected);
    });
}
