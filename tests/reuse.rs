//! A picture goes through the vision tower once per content, and nothing that is judged changes by that, to the bit.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod script;

use std::path::Path;

use drive::Exported;
use rewardrt::judge::{CompareOptions, Generate, Sampling};
use rewardrt::media::PixelRule;
use rewardrt::{Comparison, Generation, Judge, Picture, Verdict};
use rewardrt_models::package::Precision;
use rewardrt_tests::{Golden, Result, golden_cases, golden_models, root};
use script::{CAPTION, Says, report};

/// Tokens that every chat is continued by.
const NEW: usize = 4;

fn judge(package: &Path, cache: usize) -> Result<Judge> {
    Ok(Judge::builder().slots(2).tokens(512).vision_cache(cache).open(package)?)
}

fn generate(judge: &Judge, case: &Golden) -> Result<Generation> {
    let (sampling, pixels) = (Sampling::Greedy, PixelRule::Reference);
    Ok(judge.generate(&Generate { chat: drive::chat(case)?, sampling, max_new_tokens: NEW, pixels })?)
}

/// Tokens, and probabilities bit for bit.
fn bits(generation: &Generation) -> (Vec<u32>, Vec<u32>) {
    (generation.new_ids.clone(), generation.logprobs.iter().map(|p| p.to_bits()).collect())
}

/// Every golden chat, in a judge that keeps features and one that keeps none, in two passes of different order: the
/// same answers.
fn check(model: &Path, precision: Precision) -> Result<()> {
    let package = Exported::new(&model.join("checkpoint"), precision)?;
    let (keeps, forgets) = (judge(&package.path(), 64 << 20)?, judge(&package.path(), 0)?);
    let cases = golden_cases(model)?;
    let kept: Vec<_> = cases.iter().rev().map(|case| generate(&keeps, case)).collect::<Result<_>>()?;
    for (case, first) in cases.iter().zip(kept.iter().rev()) {
        let (expected, again) = (generate(&forgets, case)?, generate(&keeps, case)?);
        assert_eq!(bits(first), bits(&expected), "{}", case.name);
        assert_eq!(bits(&again), bits(&expected), "{}", case.name);
        assert_eq!(again.usage.vision_reused, again.usage.vision_tokens, "{}", case.name);
        assert_eq!(expected.usage.vision_reused, 0);
    }
    Ok(())
}

#[test]
fn answers_are_the_same_bits_whatever_was_seen_before() -> Result<()> {
    let models = golden_models()?;
    let fp32 = models.iter().map(|model| (model, Precision::Fp32));
    for (model, precision) in fp32.chain([(&models[0], Precision::Int8)]) {
        check(model, precision).map_err(|e| format!("{} {}: {e}", model.display(), precision.name()))?;
    }
    Ok(())
}

fn ask(judge: &Judge, pictures: [&str; 2], both_orders: bool) -> Verdict {
    let [a, b] = pictures.map(|name| Picture::Path(root().join("models/demo").join(name)));
    let mut comparison = Comparison::images(CAPTION, a, b);
    comparison.options =
        CompareOptions { both_orders, max_new_tokens: Some(1200), ..CompareOptions::default() };
    judge.compare(&comparison).unwrap()
}

#[test]
fn both_orders_and_later_requests_say_what_they_reused() {
    let judge = script::judge(2, |_, _| Says::report(report("7", "Image 1", "Image 1")));
    let (one, two) = ("ocean-1.webp", "ocean-4.webp");
    let spent = |verdict: &Verdict| -> Vec<(usize, usize)> {
        verdict.orders.iter().map(|o| (o.usage.vision_tokens, o.usage.vision_reused)).collect()
    };
    let first = ask(&judge, [one, two], true);
    let all = first.orders[0].usage.vision_tokens;
    assert_eq!(spent(&first), [(all, 0), (all, all)]);
    assert_eq!((first.usage.vision_tokens, first.usage.vision_reused), (2 * all, all));
    // The same picture twice is one content, and was seen.
    let again = ask(&judge, [two, two], false);
    assert_eq!(spent(&again), [(again.usage.vision_tokens, again.usage.vision_tokens)]);
    assert_eq!(serde_json::json!(again)["usage"]["vision_reused"], again.usage.vision_tokens);
}

#[test]
fn another_pixel_rule_is_another_content_only_where_pixels_differ() {
    let judge = script::judge(1, |_, _| Says::report(report("7", "Image 1", "Image 1")));
    ask(&judge, ["ocean-1.webp", "ocean-4.webp"], false);
    let picture = |name: &str| Picture::Path(root().join("models/demo").join(name));
    let mut comparison = Comparison::images(CAPTION, picture("ocean-1.webp"), picture("ocean-4.webp"));
    comparison.options.pixels = PixelRule::Displayed;
    let usage = judge.compare(&comparison).unwrap().usage;
    // These pictures have no rotation and no alpha.
    assert_eq!(usage.vision_reused, usage.vision_tokens);
}
