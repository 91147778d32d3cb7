//! Packages that end in a head of scores, against the reference and against themselves: `golden/heads/make_heads.py`
//! makes the cases.

// The measured differences are printed, for the table in golden/README.md.
#![allow(clippy::print_stdout)]

mod drive;

use drive::{Exported, Prompt, Sessions};
use rewardrt::decode::{Completion, DecodeError, Engine, Request};
use rewardrt::judge::{Generate, Sampling};
use rewardrt::load::Package;
use rewardrt::media::{self, Limits, PixelRule};
use rewardrt::preprocess;
use rewardrt::session::{OrtDecoder, library};
use rewardrt::text::chat::Chat;
use rewardrt::{Comparison, Item, Judge, Picture};
use rewardrt_models::package::{Manifest, Precision, hex};
use rewardrt_models::prompt::pack::{FramesAs, Pack};
use rewardrt_models::verdict::Status;
use rewardrt_tests::{Golden, Result, clips, scored_cases, scored_models};
use sha2::{Digest, Sha256};

/// Largest difference of a score.
const SCORES: f32 = 1e-4;
/// Tokens of a slot: more than the longest case, which is read in four chunks.
const TOKENS: usize = 1024;

/// What `golden.json` tells of a case.
struct About {
    caption: String,
    resized: Vec<String>,
    frames: Vec<String>,
}

fn about(case: &Golden) -> Result<About> {
    let read: serde_json::Value =
        serde_json::from_slice(&std::fs::read(case.messages.with_file_name("golden.json"))?)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &serde_json::Value| value.as_array().into_iter().flatten().map(text).collect();
    Ok(About {
        caption: text(&read["caption"]),
        resized: texts(&read["resized"]),
        frames: texts(&read["frames"]),
    })
}

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
fn pictures_of_a_fixed_number_of_pixels_become_the_bytes_of_the_reference() -> Result<()> {
    let mut compared = 0;
    for model in scored_models()? {
        let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
        let manifest = Package::open(&package.path())?.manifest().clone();
        let params = manifest.image.as_ref().ok_or("no picture preprocessing")?;
        for case in scored_cases(&model)? {
            for (file, expected) in drive::chat(&case)?.media.iter().zip(about(&case)?.resized) {
                let rgb =
                    media::decode(&std::fs::read(&file.path)?, PixelRule::Reference, &Limits::default())?;
                let digest = Sha256::digest(preprocess::fit(&rgb, params)?.data());
                assert_eq!(hex(&digest), expected, "{}", file.path);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 8);
    Ok(())
}

/// The judge gives the reference's scores from the caption and the picture, or the frames, alone.
#[test]
fn a_judge_scores_pictures_and_videos_by_the_pack_of_the_package() -> Result<()> {
    let mut videos = 0;
    for model in scored_models()? {
        let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
        let judge = Judge::open(&package.path())?;
        let pictures = judge.pack().frames_as == FramesAs::Pictures;
        let cases = if pictures { scored_cases(&model)? } else { clips(&model)? };
        for case in cases {
            let about = about(&case)?;
            let files: Vec<Picture> = if pictures {
                drive::chat(&case)?.media.into_iter().map(|file| Picture::Path(file.path.into())).collect()
            } else {
                about.frames.iter().map(|frame| Picture::Path(model.join("clips").join(frame))).collect()
            };
            if pictures && files.len() != 1 {
                continue;
            }
            videos += usize::from(!pictures);
            let score = judge.score(&Item::frames(about.caption, files))?;
            let named = format!("{} {}", model.display(), case.name);
            assert_eq!(score.usage.prompt_tokens, case.i64("input_ids")?.len(), "{named}");
            let got: Vec<f32> = score.scores.iter().map(|score| score.value as f32).collect();
            let most = difference(&got, &case.f32("scores")?);
            println!("judge {most:e}");
            assert!(most < SCORES, "{named}: differs by {most}");
            let words = (score.text, score.sampling, score.finish_reason);
            assert_eq!((score.status, words), (Status::Ok, (None, None, None)));
        }
    }
    assert_eq!(videos, 2);
    Ok(())
}

#[test]
fn what_a_head_of_scores_cannot_be_asked_is_refused_by_name() -> Result<()> {
    let mut models = scored_models()?.into_iter();
    let model = models.find(|model| model.ends_with("preference")).ok_or("no such model")?;
    let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
    let picture = || Picture::Path(model.join("scored/a.png"));
    let open = |pack: &str| -> std::result::Result<Judge, rewardrt::Error> {
        Judge::builder().pack(Pack::builtin(pack)?).open(&package.path())
    };
    let refused = |pack: &str, item: Item, expected: &str| {
        let error = open(pack).unwrap().score(&item).expect_err("must be refused").to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    };
    refused(
        "unifiedreward-2-image-point",
        Item::image("x", picture()),
        "ends in a head of scores, which pack",
    );
    refused("scores-image", Item::image("x", picture()), "reads its scores at [<|Reward|>]");
    let mut sampled = Item::image("x", picture());
    sampled.options.sampling = Sampling::Checkpoint { seed: 1 };
    refused("hpsv3", sampled, "nothing to sample");
    let mut long = Item::image("x", picture());
    long.options.max_new_tokens = Some(5);
    refused("hpsv3", long, "makes no tokens");
    let pair = Comparison::images("x", picture(), picture());
    let error = open("unifiedreward-flex-image")?.compare(&pair).expect_err("must be refused").to_string();
    assert!(error.contains("score one candidate at a time, with pack hpsv3"), "{error}");
    let chat = Chat::from_json(br#"[{"role": "user", "content": "hi"}]"#)?;
    let (sampling, pixels) = (Sampling::Greedy, PixelRule::Reference);
    let error = open("hpsv3")?.generate(&Generate { chat, sampling, max_new_tokens: 3, pixels }).unwrap_err();
    assert!(error.to_string().contains("writes no words"), "{error}");
    Ok(())
}

/// A caption that spells the marker stays text: the score is read at the pack's own token alone.
#[test]
fn a_caption_cannot_move_the_place_where_its_score_is_read() -> Result<()> {
    let mut models = scored_models()?.into_iter();
    let model = models.find(|model| model.ends_with("preference")).ok_or("no such model")?;
    let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
    let judge = Judge::open(&package.path())?;
    let ask = |caption: &str| judge.score(&Item::image(caption, Picture::Path(model.join("scored/a.png"))));
    let (plain, spelt) = (ask("a red fox")?, ask("a red <|Reward|> fox")?);
    assert!(spelt.usage.prompt_tokens > plain.usage.prompt_tokens + 2, "the marker became one token");
    assert_eq!(spelt.status, Status::Ok);
    Ok(())
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
    for precision in [Precision::Int8, Precision::Int4, Precision::W8a8] {
        for_each_model(precision, |bench| {
            let mut engine = bench.engine(1)?;
            for (request, expected) in bench.requests.iter().zip(&bench.expected) {
                let got = bench.scores(&engine.run_one(request.clone())?)?;
                println!("{} scores {:e} of {expected:?}", precision.name(), difference(&got, expected));
                assert!(got.iter().all(|score| score.is_finite()));
            }
            let graph = std::fs::read(bench.package.path().join("decoder.onnx"))?;
            let graph = String::from_utf8_lossy(&graph);
            let head = if graph.contains("rm_head") { "rm_head" } else { "score" };
            assert!(graph.contains(&format!("{head}/Gemm")) || graph.contains(&format!("{head}.0/Gemm")));
            assert!(
                !graph.contains(&format!("{head}/MatMul")) && !graph.contains(&format!("{head}.0/MatMul"))
            );
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
