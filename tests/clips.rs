//! Videos shown as such: through chats and through packs, from files and from folders of frames.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;

use std::path::{Path, PathBuf};

use drive::Exported;
use rewardrt::judge::{Clip, CompareOptions, Footage, Generate, Sampling};
use rewardrt::media::PixelRule;
use rewardrt::media::video::Isolation;
use rewardrt::text::chat::Chat;
use rewardrt::{Comparison, Judge};
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Pack;
use rewardrt_tests::root;

fn model(name: &str) -> PathBuf {
    root().join("tests/golden").join(name)
}

fn export(name: &str) -> Exported {
    Exported::new(&model(name).join("checkpoint"), Precision::Fp32).unwrap()
}

fn open(package: &Exported) -> Judge {
    // No decoder child can be made of a test program.
    Judge::builder().isolation(Isolation::InProcess).open(&package.path()).unwrap()
}

/// A chat about the video at this path.
fn ask(judge: &Judge, path: &Path, words: &str) -> Result<rewardrt::Generation, rewardrt::Error> {
    let json = serde_json::json!([{"role": "user", "content": [
        {"type": "video", "path": path.to_str().unwrap()}, {"type": "text", "text": words}]}]);
    let chat = Chat::from_json(json.to_string().as_bytes()).unwrap();
    let (sampling, pixels) = (Sampling::Greedy, PixelRule::Reference);
    judge.generate(&Generate { chat, sampling, max_new_tokens: 2, pixels })
}

fn refused(judge: &Judge, path: &Path, expected: &str) {
    let error = ask(judge, path, "x").unwrap_err().to_string();
    assert!(error.contains(expected), "{error}, not {expected}");
}

#[test]
fn a_chat_names_the_frames_that_it_showed() {
    let (stamped, file) = (export("qwen3_vl/current-fp32"), model("qwen3_vl/current-fp32/cases/v.mp4"));
    let judge = open(&stamped);
    let shown = ask(&judge, &file, "<9.9 seconds> <|video_pad|>").unwrap();
    let document = serde_json::to_value(&shown).unwrap();
    let video = &document["videos"][0];
    assert_eq!(video["indices"], serde_json::json!([0, 9, 18, 26, 35, 44]));
    assert_eq!(video["frames_total"], 45);
    assert_eq!(video["rule"], "fps:2");
    assert_eq!(video["timestamps_s"][1], 0.6);
    // What the caller spells is text: as many tokens stand for the video as without it.
    let plain = ask(&judge, &file, "x").unwrap();
    assert_eq!(shown.usage.vision_tokens, plain.usage.vision_tokens);
    assert_eq!((plain.usage.vision_reused, plain.videos.len()), (plain.usage.vision_tokens, 1));
    refused(&judge, &model("heads/video/clips"), "there is no frame rate here");
    refused(&judge, Path::new("no/such/video.mp4"), "no/such/video.mp4");
}

#[test]
fn a_folder_of_frames_is_a_video_where_no_time_is_told() {
    let exported = export("qwen2_vl/current-bf16");
    let judge = open(&exported);
    let folder = tempfile::tempdir().unwrap();
    for i in 0..4 {
        let from = model("heads/video/clips").join(format!("even-{i}.png"));
        std::fs::copy(from, folder.path().join(format!("{i}.png"))).unwrap();
    }
    let shown = ask(&judge, folder.path(), "x").unwrap();
    assert_eq!((shown.videos[0].frames, shown.videos[0].sampled.is_none()), (4, true));
    assert!(shown.usage.vision_tokens > 0);
    let counted = export("qwen2_5_vl/current-bf16");
    refused(&open(&counted), folder.path(), "there is no frame rate here");
    let original = export("llava_onevision/original-bf16");
    refused(&open(&original), folder.path(), "does not say how videos are seen");
}

/// A pair of videos, each sent as one, in both orders: both videos are seen once, and shown twice.
#[test]
fn a_pack_may_send_videos_as_such() {
    let builtin = Pack::builtin("unifiedreward-flex-video").unwrap();
    let one = builtin.to_toml().replace("frames = \"linspace-trunc:8\"\n", "frames_as = \"video\"\n");
    let pack = Pack::parse(&one, &builtin.prompt).unwrap();
    for name in ["qwen3_vl/current-fp32", "qwen2_5_vl/current-bf16", "llava_onevision/current-bf16"] {
        let exported = export(name);
        let judge = Judge::builder()
            .isolation(Isolation::InProcess)
            .tokens(4096)
            .pack(pack.clone())
            .open(&exported.path())
            .unwrap();
        let manifest = judge.manifest();
        let rule = manifest.video.as_ref().unwrap().frames;
        let file = model(name).join("cases/v.mp4");
        let read = || {
            Footage::open(&file, rule, manifest, PixelRule::Reference, Isolation::InProcess)
                .unwrap()
                .pictures()
        };
        let options = CompareOptions { both_orders: true, max_new_tokens: Some(2), ..Default::default() };
        let pair = Comparison { options, ..Comparison::frames("a square", read(), read()) };
        let verdict = judge.compare(&pair).unwrap();
        let [ab, ba] = [0, 1].map(|order: usize| verdict.orders[order].usage);
        // They are equal, so the second video is the first again.
        assert_eq!((ab.vision_tokens, ab.vision_reused), (ba.vision_tokens, ab.vision_tokens / 2), "{name}");
        assert_eq!(ba.vision_reused, ba.vision_tokens, "{name}");
        // A file is shown in the same way, its frames chosen by the package, since the pack names no rule.
        let clip = || Clip { isolation: Isolation::InProcess, ..Clip::path(&file) };
        let options = CompareOptions { max_new_tokens: Some(2), ..Default::default() };
        let files = Comparison { options, ..Comparison::videos("a square", clip(), clip()) };
        let shown = judge.compare(&files).unwrap();
        assert_eq!(
            (shown.videos[0].sampled.rule, shown.orders[0].usage.prompt_tokens),
            (rule, ab.prompt_tokens)
        );
        let alone = ask(&judge, &file, "x").unwrap().usage.vision_tokens;
        assert_eq!(ab.vision_tokens, 2 * alone, "{name}");
    }
    let original = export("llava_onevision/original-bf16");
    let judge = Judge::builder().pack(pack).open(&original.path()).unwrap();
    let frames = || vec![rewardrt::Picture::Path(root().join("models/demo/ocean-1.webp"))];
    let error = judge.compare(&Comparison::frames("x", frames(), frames())).unwrap_err().to_string();
    assert!(
        error.contains("sends frames as one video") && error.contains("video_preprocessor_config"),
        "{error}"
    );
}
