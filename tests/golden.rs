//! The package against the reference implementation, case by case: `golden/README.md` says how the cases are made.

// The measured differences are printed, for the table in golden/README.md.
#![allow(clippy::print_stdout)]

mod drive;

use std::path::Path;

use drive::{Exported, Prompt, Sessions};
use ndarray::Array2;
use rewardrt::judge::{FinishReason, Footage, Generate, Sampling};
use rewardrt::load::Package;
use rewardrt::media::video::Isolation;
use rewardrt::media::{self, Limits, PixelRule};
use rewardrt::preprocess::{self, Patches};
use rewardrt::session::library;
use rewardrt::{Generation, Judge};
use rewardrt_models::package::{Manifest, Precision, VideoShown};
use rewardrt_models::prompt::segment::MediaKind;
use rewardrt_models::spec::position::{Positions, Span, video_step};
use rewardrt_tests::{Golden, Result, golden_cases, golden_models};

/// Largest difference of a logit, and the margin under which a greedy step is open.
const LOGITS: f32 = 2e-3;
/// Largest difference of a normalised pixel value.
const PIXELS: f32 = 1e-6;
/// Largest difference of a vision feature; features are of the order of 1 to 10.
const VISION: f32 = 1e-3;

/// Runs `check` on every case of every golden model, with the model's fp32 package.
fn for_each_case(mut check: impl FnMut(&Golden, &Path) -> Result<()>) -> Result<()> {
    for model in golden_models()? {
        let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
        for case in golden_cases(&model)? {
            check(&case, &package.path()).map_err(|e| format!("{} {}: {e}", model.display(), case.name))?;
        }
    }
    Ok(())
}

fn generate(judge: &Judge, case: &Golden, max_new_tokens: usize) -> Result<Generation> {
    let chat = drive::chat(case)?;
    let pixels = PixelRule::Reference;
    Ok(judge.generate(&Generate { chat, sampling: Sampling::Greedy, max_new_tokens, pixels })?)
}

fn max_difference(got: &[f32], expected: &[f32]) -> Result<f32> {
    if got.len() != expected.len() {
        return Err(format!("{} values, not {}", got.len(), expected.len()).into());
    }
    Ok(got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

fn within(what: &str, got: &[f32], expected: &[f32], limit: f32) -> Result<()> {
    let most = max_difference(got, expected).map_err(|e| format!("{what}: {e}"))?;
    println!("{what} {most:e}");
    // A NaN is not within anything.
    if most < limit { Ok(()) } else { Err(format!("{what} differs by {most}, over {limit}").into()) }
}

/// Compares the resized bytes of a case's pictures, before they are normalised.
fn compare_resized(case: &Golden, manifest: &Manifest) -> Result<()> {
    let params = manifest.image.as_ref().ok_or("no picture preprocessing")?;
    if params.tiling.is_some() {
        // Tiles are compared as pixel values alone: a byte's step is four thousand times the tolerance.
        return Ok(());
    }
    let pictures = drive::chat(case)?.media.into_iter().filter(|file| file.kind == MediaKind::Image);
    for (i, file) in pictures.enumerate() {
        let rgb = media::decode(&std::fs::read(&file.path)?, PixelRule::Reference, &Limits::default())?;
        if preprocess::fit(&rgb, params)?.data() != case.u8(&format!("resized_{i}"))? {
            return Err(format!("picture {i} is resized to other bytes").into());
        }
    }
    Ok(())
}

/// Compares the grids and values of a case's videos.
fn compare_videos(case: &Golden, manifest: &Manifest) -> Result<()> {
    let videos = drive::videos(case, manifest)?;
    let grids: Vec<i64> = videos.iter().flat_map(|(_, p)| p.grid).map(i64::from).collect();
    assert_eq!(grids, case.i64("video_grid_thw")?);
    let values: Vec<f32> = videos.into_iter().flat_map(|(_, p)| p.values).collect();
    within("pixel_values_videos", &values, &case.f32("pixel_values_videos")?, PIXELS)
}

/// What each run of a video's tokens is in its prompt.
fn video_spans(footage: &Footage, patches: &Patches, manifest: &Manifest) -> Result<Vec<Span>> {
    let params = manifest.video.as_ref().ok_or("no video preprocessing")?;
    let [times, rows, columns] = patches.grid.map(|n| n as usize);
    let (rows, columns) = (rows / params.merge_size as usize, columns / params.merge_size as usize);
    Ok(match params.shown {
        VideoShown::Stamped { .. } => vec![Span::Grid(rows, columns); times],
        VideoShown::Pooled => vec![Span::Text(times * rows.div_ceil(2) * columns.div_ceil(2) + 1)],
        VideoShown::Grid => {
            let sampled = &footage.sampled;
            let shown = sampled.indices.len() as f64 / sampled.frames_total as f64 * sampled.fps;
            let seconds = f64::from(params.temporal_patch_size) / shown;
            let step = video_step(&manifest.decoder.position, seconds);
            vec![Span::Video { times, rows, columns, step }]
        }
    })
}

#[test]
fn pictures_become_the_same_bytes_and_values() -> Result<()> {
    for_each_case(|case, package| {
        let manifest = Package::open(package)?.manifest().clone();
        if case.has("video_grid_thw") {
            return compare_videos(case, &manifest);
        }
        compare_resized(case, &manifest)?;
        let patches = drive::pictures(case, &manifest)?;
        if patches.is_empty() {
            return Ok(());
        }
        let grids: Vec<i64> = patches.iter().flat_map(|p| p.grid).map(i64::from).collect();
        assert_eq!(grids, case.i64("image_grid_thw")?);
        // A committed model records the values of single pictures only; the bytes that they follow from, of all.
        if !case.has("pixel_values") {
            assert!(patches.len() > 1, "the values of a single picture are recorded");
            return Ok(());
        }
        let values: Vec<f32> = patches.into_iter().flat_map(|p| p.values).collect();
        within("pixel_values", &values, &case.f32("pixel_values")?, PIXELS)
    })
}

#[test]
fn positions_are_those_of_the_reference() -> Result<()> {
    for_each_case(|case, package| {
        let manifest = Package::open(package)?.manifest().clone();
        let (ids, expected) = (case.i64("input_ids")?, case.i64("position_ids")?);
        let params = manifest.image.as_ref().ok_or("no picture preprocessing")?;
        let placeholders = drive::placeholders(&manifest);
        let mut seen: Vec<Span> = drive::pictures(case, &manifest)?.iter().map(|p| p.span(params)).collect();
        for (footage, patches) in drive::videos(case, &manifest)? {
            seen.extend(video_spans(&footage, &patches, &manifest)?);
        }
        let (mut spans, mut at, mut seen) = (Vec::new(), 0, seen.into_iter());
        while at < ids.len() {
            let span = if placeholders.contains(&ids[at]) {
                seen.next().ok_or("more placeholders than pictures")?
            } else {
                Span::Text(1)
            };
            spans.push(span);
            at += span.tokens();
        }
        let got = Positions::of(&spans).tokens;
        let transposed: Vec<i64> = (0..3).flat_map(|axis| got.iter().map(move |t| t[axis])).collect();
        assert_eq!(transposed, expected);
        Ok(())
    })
}

#[test]
fn features_and_first_logits_are_those_of_the_reference() -> Result<()> {
    let library = library::load(None)?;
    for_each_case(|case, package| {
        let mut sessions = Sessions::open(&library, package, (1, 512))?;
        let features = drive::see(case, &sessions.manifest, &mut sessions.vision)?;
        if case.has("vision") {
            let flat = |table: &Array2<f32>| table.iter().copied().collect::<Vec<f32>>();
            within("vision", &flat(&features.rows), &case.f32("vision")?, VISION)?;
            for (k, table) in features.deepstack.iter().enumerate() {
                let name = format!("deepstack_{k}");
                within(&name, &flat(table), &case.f32(&name)?, VISION)?;
            }
        }
        let prompt = Prompt::of(case, &sessions.manifest, &mut sessions.vision)?;
        within("first_logits", &prompt.first_logits(&mut sessions)?, &case.f32("first_logits")?, LOGITS)
    })
}

#[test]
fn chats_give_the_same_prompt_and_the_same_words() -> Result<()> {
    for_each_case(|case, package| {
        let judge = Judge::builder().isolation(Isolation::InProcess).open(package)?;
        let (expected, margins) = (case.i64("new_ids")?, case.f32("margins")?);
        let got = generate(&judge, case, expected.len())?;
        let ids = |ids: &[u32]| ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
        assert_eq!(ids(&got.prompt_ids), case.i64("input_ids")?, "prompt ids");
        let open = margins.iter().position(|&m| m < LOGITS).unwrap_or(expected.len());
        assert!(open > 0, "the very first step is open: this case shows nothing");
        assert_eq!(ids(&got.new_ids)[..open], expected[..open], "greedy ids up to step {open}");
        let ended = expected.last().is_some_and(|&id| judge.manifest().tokens.eos.contains(&(id as u32)));
        if open == expected.len() {
            assert_eq!(got.finish_reason, if ended { FinishReason::Stop } else { FinishReason::Length });
        }
        assert_eq!(got.logprobs.len(), got.new_ids.len());
        assert!(got.logprobs.iter().all(|p| p.is_finite() && *p <= 0.0));
        Ok(())
    })
}
