//! What is drafted, shared and mixed changes no word of any judgement: the shapes judge on its own pictures, asked in
//! every way.

// The helpers below are test code too, which the lint cannot see; what was measured is printed for `--nocapture`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod drive;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use drive::Exported;
use rewardrt::decode::{Options, Shapes};
use rewardrt::judge::{CompareOptions, JudgeBuilder, Sampling};
use rewardrt::{Comparison, Judge, Picture, Verdict};
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Pack;
use rewardrt_models::verdict::Ending;
use rewardrt_tests::root;

/// Prompts that the pictures answer well, badly, and not at all.
const PROMPTS: [&str; 5] = [
    "four blue triangles",
    "two red circles left of one blue square",
    "1 green square",
    "three circles",
    "?",
];
/// Pictures of six pairs.
const PICTURES: usize = 12;

/// One judgement of many, by its number: two pictures, a prompt, and every third time a draw.
fn question(number: usize) -> Comparison {
    let picture = |at: usize| {
        let name = format!("{:04}{}.png", at / 2 % 6, ["a", "b"][at % 2]);
        Picture::Path(root().join("models/shapes-judge/examples").join(name))
    };
    let (first, step) = (number % PICTURES, 1 + number / PICTURES % (PICTURES - 1));
    let prompt = PROMPTS[number % PROMPTS.len()];
    let mut comparison = Comparison::images(prompt, picture(first), picture((first + step) % PICTURES));
    let drawn = Sampling::Custom {
        temperature: 0.7,
        top_p: 0.9,
        top_k: 20,
        repetition_penalty: 1.05,
        seed: number as u64,
    };
    comparison.options.sampling = if number % 3 == 2 { drawn } else { Sampling::Greedy };
    comparison
}

/// A judge that leaves the machine's other cores to the tests beside it.
fn builder() -> JudgeBuilder {
    let builder = Judge::builder().threads(NonZeroUsize::MIN).spin(false).tokens(512);
    builder.pack(Pack::builtin("shapes-judge").unwrap())
}

/// How a judge is opened.
#[derive(Debug, Clone, Copy)]
struct Way {
    slots: usize,
    shapes: Shapes,
    reuse: bool,
    speculate: bool,
    /// Whether pictures that were seen are kept.
    cache: bool,
}

const PLAIN: Way = Way { slots: 1, shapes: Shapes::Measured, reuse: false, speculate: false, cache: false };

/// Asks so many judgements from as many threads as there are slots.
fn judge(package: &Path, way: Way, count: usize) -> Vec<Verdict> {
    let Way { slots, shapes, reuse, speculate, cache } = way;
    let builder = builder().slots(slots).decode(Options { shapes, reuse, speculate });
    let builder = if cache { builder } else { builder.vision_cache(0) };
    let judge = builder.open(package).unwrap();
    let next = AtomicUsize::new(0);
    let ask = || {
        let mut answered = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return answered;
            }
            answered.push((number, judge.compare(&question(number)).unwrap()));
        }
    };
    let mut all: Vec<(usize, Verdict)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..slots).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, verdict)| verdict).collect()
}

/// Everything on and off in all combinations, but for drafts in fixed shapes, where there are none.
fn all_ways() -> impl Iterator<Item = Way> {
    (0..32_usize).filter_map(|bits| {
        let on = |bit: usize| bits >> bit & 1 == 1;
        let (slots, shapes) =
            (if on(0) { 4 } else { 1 }, if on(1) { Shapes::Fixed } else { Shapes::Measured });
        let way = Way { slots, shapes, reuse: on(2), speculate: on(3), cache: on(4) };
        (!on(1) || !on(3)).then_some(way)
    })
}

/// Numbers of the judgements whose words differ from plain decoding, way by way.
fn differing(precision: Precision, ways: impl Iterator<Item = Way>, count: usize) -> Vec<(Way, Vec<usize>)> {
    let exported = Exported::new(&root().join("models/shapes-judge/checkpoint"), precision).unwrap();
    let expected = judge(&exported.path(), PLAIN, count);
    let differ = |(a, b): (&Verdict, &Verdict)| {
        let near = match (a.p_first, b.p_first) {
            (Some(a), Some(b)) => precision != Precision::Fp32 || (a - b).abs() < 1e-3,
            (a, b) => a == b,
        };
        (&a.text, a.usage.new_tokens, a.status) != (&b.text, b.usage.new_tokens, b.status) || !near
    };
    let measure = |way: Way| {
        let got = judge(&exported.path(), way, count);
        let drafted: usize = got.iter().map(|verdict| verdict.usage.drafted).sum();
        assert_eq!(drafted > 0, way.speculate);
        (way, (0..count).filter(|&n| differ((&got[n], &expected[n]))).collect())
    };
    ways.map(measure).collect()
}

#[test]
fn two_dozen_judgements_are_the_same_words_in_every_way() {
    // Each mechanism alone and all but each, alone and side by side; all combinations are in the run below.
    let few = all_ways().filter(|way| {
        let on = [way.reuse, way.speculate, way.cache].into_iter().filter(|on| *on).count();
        way.shapes == Shapes::Fixed && on == 2 || way.slots == 4 && on != 1 || way.slots == 1 && on == 1
    });
    for (way, numbers) in differing(Precision::Fp32, few, 24) {
        assert!(numbers.is_empty(), "{way:?}: {numbers:?}");
    }
}

/// The figures of benches/results/mechanisms.md: how many of 200 judgements differ, way by way.
#[test]
#[ignore = "minutes; prints figures: cargo test -p rewardrt-tests --test lossless -- --ignored --nocapture"]
fn two_hundred_judgements_in_every_way_and_precision() {
    for precision in [Precision::Fp32, Precision::Int8, Precision::W8a8] {
        for (way, numbers) in differing(precision, all_ways(), 200) {
            println!("{}, {way:?}: {} of 200 differ {numbers:?}", precision.name(), numbers.len());
            assert!(precision != Precision::Fp32 || numbers.is_empty());
        }
    }
}

/// The end of an answer may stand within a draft.
#[test]
fn an_early_end_is_the_same_with_drafts_and_without() {
    let exported = Exported::new(&root().join("models/shapes-judge/checkpoint"), Precision::Fp32).unwrap();
    for ending in [Ending::Complete, Ending::Decided] {
        let [with, without] = [true, false].map(|speculate| {
            let options = Options { speculate, ..Options::default() };
            let judge = builder().decode(options).open(&exported.path()).unwrap();
            let ask = |number| {
                let question = question(number);
                let options = CompareOptions { ending, ..question.options.clone() };
                let verdict = judge.compare(&Comparison { options, ..question }).unwrap();
                (verdict.text, verdict.winner, verdict.orders[0].finish_reason)
            };
            (0..8).map(ask).collect::<Vec<_>>()
        });
        assert_eq!(with, without);
    }
}
