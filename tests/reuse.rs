//! What was seen and read before is not seen and read again, and nothing that is judged changes by that: to the bit for
//! pictures, to the token for the beginnings of prompts.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod script;

use std::path::Path;

use drive::Exported;
use rewardrt::decode::Options;
use rewardrt::judge::{CompareOptions, Generate, Sampling};
use rewardrt::media::video::Isolation;
use rewardrt::media::{PixelRule, Rgb8};
use rewardrt::{Comparison, Generation, Group, Judge, Picture, Verdict};
use rewardrt_models::package::Precision;
use rewardrt_tests::{Golden, Result, golden_cases, golden_models, root};
use script::{CAPTION, Says, report};

/// Tokens that every chat is continued by.
const NEW: usize = 4;

fn judge(package: &Path, cache: usize) -> Result<Judge> {
    let builder = Judge::builder().isolation(Isolation::InProcess).slots(2).tokens(512);
    Ok(builder.vision_cache(cache).open(package)?)
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

/// Pairs of five pictures with the demo model, whose weights are random: all answers are cut, and every token of them
/// depends on everything before it.
#[test]
fn pairs_that_begin_alike_read_their_beginning_once_and_say_what_each_says_alone() {
    let exported = Exported::new(&root().join("models/demo/checkpoint"), Precision::Fp32).unwrap();
    let open = |slots: usize, reuse: bool| {
        let builder = Judge::builder().slots(slots).tokens(2048);
        builder.decode(Options { reuse, ..Options::default() }).open(&exported.path()).unwrap()
    };
    let item = |i: usize| {
        let value = |at: usize| ((at * (i + 3)) / 7 % 256) as u8;
        Picture::Pixels(Rgb8::new(192, 192, (0..192 * 192 * 3).map(value).collect()).unwrap())
    };
    let mut group = Group::images(CAPTION, (0..5).map(item).collect());
    group.options.ask = CompareOptions { max_new_tokens: Some(8), ..CompareOptions::default() };
    let [with, without] = [true, false].map(|reuse| open(3, reuse).rank(&group).unwrap());
    let alone = open(1, false);
    for (with, without) in with.pairs.iter().zip(&without.pairs) {
        let comparison = Comparison::images(CAPTION, item(with.first), item(with.second));
        let comparison = Comparison { options: group.options.ask.clone(), ..comparison };
        let expected = alone.compare(&comparison).unwrap();
        let (with, without) = (with.answer.as_ref().unwrap(), without.answer.as_ref().unwrap());
        assert!(!expected.text.is_empty());
        assert_eq!((&with.text, &without.text), (&expected.text, &expected.text));
        assert_eq!((without.usage.prefix_reused, expected.usage.prefix_reused), (0, 0));
    }
    // Four pictures are shown first, four times, thrice, twice and once: all but the first of each go on from it. The
    // picture takes 36 tokens, and a few words stand before it.
    let reused: Vec<bool> =
        with.pairs.iter().map(|p| p.answer.as_ref().unwrap().usage.prefix_reused >= 36).collect();
    assert_eq!(reused, [false, true, true, true, false, true, true, false, true, false]);
    assert!(with.usage.prefix_reused >= 6 * 36);
}
