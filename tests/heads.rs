//! Packages that end in a head of scores, against the reference and against themselves: `golden/heads/make_heads.py`
//! makes the cases.

// The measured differences are printed, for the table in golden/README.md.
#![allow(clippy::print_stdout)]

mod drive;

use drive::{Exported, Prompt, Sessions};
use rewardrt::decode::{Completion, DecodeError, Engine, Request};
use rewardrt::session::{OrtDecoder, library};
use rewardrt_models::package::{Manifest, Precision};
use rewardrt_tests::{Result, scored_cases, scored_models};

/// Largest difference of a score.
const SCORES: f32 = 1e-4;
/// Tokens of a slot: more than the longest case, fewer than two chunks.
const TOKENS: usize = 300;

/// One model's package and its cases as requests.
struct Bench {
    package: Exported,
    manifest: Manifest,
    requests: Vec<Request>,
    /// The reference's scores, in the order of the requests.
    expected: Vec<Vec<f32>>,
}

impl Bench {
    fn new(model: &std::path::Path, precision: Precision) -> Result<Bench> {
        let package = Exported::new(&model.join("checkpoint"), precision)?;
        let mut sessions = Sessions::open(&library::load(None)?, &package.path(), (1, TOKENS))?;
        let (mut requests, mut expected) = (Vec::new(), Vec::new());
        for case in scored_cases(model)? {
            let prompt = Prompt::of(&case, &sessions.manifest, &mut sessions.vision)?;
            requests.push(prompt.scores(&sessions.manifest)?);
            expected.push(case.f32("scores")?);
        }
        Ok(Bench { package, manifest: sessions.manifest, requests, expected })
    }

    fn engine(&self, slots: usize) -> Result<Engine<OrtDecoder>> {
        let sessions = Sessions::open(&library::load(None)?, &self.package.path(), (slots, TOKENS))?;
        Ok(Engine::new(sessions.decoder, &sessions.manifest.decoder.position))
    }

    /// Standardised scores of a completion.
    fn scores(&self, done: &Completion) -> Result<Vec<f32>> {
        let rule = self.manifest.scores.as_ref().ok_or("no scores")?;
        let scores = rule.standardise(&done.rows).ok_or("a score is no number")?;
        Ok(scores.into_iter().map(|(_, value)| value as f32).collect())
    }
}

fn for_each_model(precision: Precision, check: impl Fn(&Bench) -> Result<()>) -> Result<()> {
    let models = scored_models()?;
    assert!(!models.is_empty(), "no model with a head of scores");
    for model in models {
        Bench::new(&model, precision)
            .and_then(|bench| check(&bench))
            .map_err(|e| format!("{}: {e}", model.display()))?;
    }
    Ok(())
}

/// The largest difference; a NaN is larger than anything.
fn difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len(), "numbers of scores");
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, |most, d| if d <= most { most } else { d })
}

#[test]
fn scores_are_those_of_the_reference() -> Result<()> {
    for_each_model(Precision::Fp32, |bench| {
        let mut engine = bench.engine(1)?;
        for (request, expected) in bench.requests.iter().zip(&bench.expected) {
            let got = bench.scores(&engine.run_one(request.clone())?)?;
            let most = difference(&got, expected);
            println!("scores {most:e}");
            assert!(most < SCORES, "{got:?}, not {expected:?}");
        }
        Ok(())
    })
}

#[test]
fn scores_do_not_depend_on_company_or_on_what_a_slot_held_before() -> Result<()> {
    for_each_model(Precision::Fp32, |bench| {
        let mut alone = Vec::new();
        for request in &bench.requests {
            alone.push(bench.engine(1)?.run_one(request.clone())?.rows);
        }
        let ragged: Vec<Request> =
            bench.requests.iter().chain(bench.requests.iter().rev()).cloned().collect();
        let done = bench.engine(3)?.run_all(ragged);
        let again = alone.iter().chain(alone.iter().rev());
        for (done, alone) in done.into_iter().zip(again) {
            let most = difference(&done?.rows.concat(), &alone.concat());
            println!("in company {most:e}");
            // Another shape of a run adds up in another order, in the last bits of a float.
            assert!(most < SCORES / 10.0, "differs by {most}");
        }
        Ok(())
    })
}

#[test]
fn every_precision_keeps_the_head_itself_in_floats() -> Result<()> {
    for precision in [Precision::Int8, Precision::Int4] {
        for_each_model(precision, |bench| {
            let mut engine = bench.engine(1)?;
            for (request, expected) in bench.requests.iter().zip(&bench.expected) {
                let got = bench.scores(&engine.run_one(request.clone())?)?;
                println!("{} scores {:e} of {expected:?}", precision.name(), difference(&got, expected));
                assert!(got.iter().all(|score| score.is_finite()));
            }
            let graph = std::fs::read(bench.package.path().join("decoder.onnx"))?;
            let graph = String::from_utf8_lossy(&graph);
            assert!(graph.contains("score/Gemm") && !graph.contains("score/MatMulNBits"));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_model_that_ends_in_scores_is_asked_for_places_and_makes_no_tokens() -> Result<()> {
    for_each_model(Precision::Fp32, |bench| {
        let mut engine = bench.engine(1)?;
        let request = bench.requests.first().ok_or("no case")?;
        let end = request.ids.len();
        let mut refused = |change: &dyn Fn(&mut Request), expected: &str| {
            let mut bad = request.clone();
            change(&mut bad);
            let Err(DecodeError::Refused(refusal)) = engine.run_one(bad) else { panic!("must be refused") };
            assert!(refusal.to_string().contains(expected), "{refusal}");
        };
        refused(&|r| r.read.clear(), "the model ends in scores");
        refused(&|r| r.read = vec![end], "ascending places of the prompt");
        refused(&|r| r.read = vec![1, 1], "ascending places of the prompt");
        refused(&|r| r.max_new_tokens = 1, "makes no tokens");
        refused(&|r| r.watch = vec![1], "makes no tokens");
        let done = engine.run_one(Request { read: (0..end).collect(), ..request.clone() })?;
        assert_eq!((done.rows.len(), done.new_ids.len()), (end, 0));
        Ok(())
    })
}
