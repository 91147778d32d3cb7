//! Answers that are held to the grammar of a report: the shapes judge, asked calmly and wildly.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;

use std::num::NonZeroUsize;

use drive::Exported;
use rewardrt::judge::{CompareOptions, Constrain, Sampling};
use rewardrt::{Comparison, Judge, Picture, Verdict};
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Pack;
use rewardrt_models::verdict::Status;
use rewardrt_tests::root;

/// A shapes judge, and what one of its judgements by these options is.
struct Bench {
    _exported: Exported,
    judge: Judge,
}

impl Bench {
    fn new(pack: &str) -> Bench {
        let exported =
            Exported::new(&root().join("models/shapes-judge/checkpoint"), Precision::Fp32).unwrap();
        let builder = Judge::builder().threads(NonZeroUsize::MIN).spin(false).tokens(2048).slots(1);
        let builder = builder.pack(Pack::builtin(pack).unwrap());
        let judge = builder.open(&exported.path()).unwrap();
        Bench { _exported: exported, judge }
    }

    fn ask(&self, number: usize, options: &CompareOptions) -> Result<Verdict, rewardrt::Error> {
        let picture = |side: &str| {
            Picture::Path(root().join(format!("models/shapes-judge/examples/{:04}{side}.png", number % 6)))
        };
        let mut comparison = Comparison::images("four blue triangles", picture("a"), picture("b"));
        comparison.options = options.clone();
        self.judge.compare(&comparison)
    }
}

fn held(sampling: Sampling) -> CompareOptions {
    CompareOptions { constrain: Some(Constrain::Report), sampling, ..CompareOptions::default() }
}

/// Draws from nearly all tokens.
fn wild(seed: u64) -> Sampling {
    Sampling::Custom { temperature: 2.5, top_p: 1.0, top_k: 0, repetition_penalty: 1.0, seed }
}

#[test]
fn a_report_that_can_be_read_is_left_as_it_is() {
    let bench = Bench::new("shapes-judge");
    for number in 0..6 {
        let free = bench.ask(number, &CompareOptions::default()).unwrap();
        let held = bench.ask(number, &held(Sampling::Greedy)).unwrap();
        assert!(held.status.has_winner() && free.constrain.is_none());
        assert_eq!((&held.text, held.winner), (&free.text, free.winner));
        assert_eq!((held.usage.constrained, held.constrain), (0, Some(Constrain::Report)));
    }
}

#[test]
fn a_wild_answer_is_a_report_then_and_the_changes_are_counted() {
    let bench = Bench::new("shapes-judge");
    let (mut invalid, mut read) = (0, 0);
    for seed in 0..12 {
        let sampling = wild(seed);
        let free = CompareOptions { sampling, ..CompareOptions::default() };
        invalid += usize::from(bench.ask(0, &free).unwrap().status == Status::Invalid);
        let held = bench.ask(0, &held(sampling)).unwrap();
        assert_ne!(held.status, Status::Invalid, "{}", held.text);
        read += usize::from(held.status.has_winner() && held.usage.constrained > 0);
    }
    assert!(invalid > 0 && read > 0, "{invalid} were invalid, {read} were read");
}

#[test]
fn what_has_no_report_is_refused() {
    let bench = Bench::new("unifiedreward-think-image-pair");
    let refusal = bench.ask(0, &held(Sampling::Greedy)).unwrap_err().to_string();
    assert!(refusal.contains("unifiedreward-think-image-pair are no reports"), "{refusal}");
    let bench = Bench::new("shapes-judge");
    let both = CompareOptions { verdict_only: true, ..held(Sampling::Greedy) };
    let refusal = bench.ask(0, &both).unwrap_err().to_string();
    assert!(refusal.contains("nothing is written"), "{refusal}");
}
