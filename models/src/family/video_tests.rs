use super::*;
use crate::package::{Several, Tiling};

fn image(patch_size: u32) -> ImageProcessing {
    ImageProcessing {
        patch_size,
        temporal_patch_size: 2,
        merge_size: 2,
        min_pixels: 1,
        max_pixels: 1 << 20,
        mean: [0.5; 3],
        std: [0.5; 3],
        rescale_factor: 1.0 / 255.0,
        resample: Resample::BicubicTorch,
        tiling: None,
    }
}

type Read = fn(&ConfigFiles, &ImageProcessing) -> Result<Option<VideoProcessing>, FamilyError>;

/// What is made of a processor's file, in one line, or the error.
fn check_with(read: Read, image: &ImageProcessing, processor: &Value, expected: &str) {
    let added_tokens = [(STAMPED[0].to_owned(), 8), (STAMPED[1].to_owned(), 9)].into();
    let files =
        ConfigFiles { video_processor: Some(processor.clone()), added_tokens, ..ConfigFiles::default() };
    let got = match read(&files, image) {
        Ok(video) => format!("{:?}", video.unwrap()),
        Err(error) => error.to_string(),
    };
    assert!(got.contains(expected), "{processor} gave {got}, not {expected}");
}

fn check_grid(processor: &Value, expected: &str) {
    check_with(grid, &image(14), processor, expected);
}

fn check_stamped(processor: &Value, expected: &str) {
    check_with(stamped, &image(16), processor, expected);
}

/// With the values that another file has in their place.
fn with(mut processor: Value, change: &Value) -> Value {
    processor.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    processor
}

/// As transformers 4.57 wrote it for the published checkpoints of the older line.
fn older() -> Value {
    json!({
        "_valid_kwargs_names": ["do_convert_rgb", "do_resize"], "crop_size": null, "data_format": "channels_first",
        "default_to_square": true, "device": null, "do_center_crop": null, "do_convert_rgb": true,
        "do_normalize": true, "do_pad": null, "do_rescale": true, "do_resize": true, "do_sample_frames": false,
        "fps": null, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "input_data_format": null, "max_frames": 768,
        "max_pixels": 12845056, "merge_size": 2, "min_frames": 4, "min_pixels": 3136,
        "model_valid_processing_keys": ["do_resize"], "num_frames": null, "pad_size": null, "patch_size": 14,
        "processor_class": "P", "resample": 3, "rescale_factor": 0.00392156862745098, "return_metadata": false,
        "size": {"longest_edge": 12845056, "shortest_edge": 3136}, "size_divisor": null, "temporal_patch_size": 2,
        "video_metadata": null, "video_processor_type": "Qwen2VLVideoProcessor",
    })
}

/// As published with the checkpoints of the newer line.
fn newer() -> Value {
    json!({
        "size": {"longest_edge": 25165824, "shortest_edge": 4096}, "patch_size": 16, "temporal_patch_size": 2,
        "merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "processor_class": "P",
        "video_processor_type": "Qwen3VLVideoProcessor",
    })
}

#[test]
fn published_files_are_read() {
    check_grid(
        &older(),
        "VideoProcessing { frames: All, bounds: FrameBounds { min: 4, max: 768, multiple: 2 }",
    );
    check_grid(&older(), "Frame(PixelBounds { min_pixels: 3136, max_pixels: 12845056, cap_tokens: None })");
    check_grid(&older(), "shown: Grid");
    let rule = "VideoProcessing { frames: Fps(2.0), bounds: FrameBounds { min: 4, max: 768, multiple: 1 }";
    check_stamped(&newer(), rule);
    check_stamped(&newer(), "Clip(PixelBounds { min_pixels: 4096, max_pixels: 25165824, cap_tokens: None })");
    check_stamped(&newer(), "shown: Stamped { start: 8, end: 9 }");
}

#[test]
fn a_checkpoint_without_the_file_has_no_videos() {
    let none = ConfigFiles::default();
    for read in [grid, stamped, pooled] {
        assert_eq!(read(&none, &image(14)), Ok(None));
    }
}

#[test]
fn frames_are_chosen_as_the_processor_would() {
    check_grid(&with(older(), &json!({"fps": 2})), "frames: FpsStep(2.0)");
    check_grid(&with(older(), &json!({"num_frames": 8})), "frames: Step(8)");
    check_grid(&with(older(), &json!({"num_frames": 8, "fps": 1})), "num_frames: stands beside a rate");
    check_grid(&with(older(), &json!({"num_frames": 769})), "num_frames: `step:769` is no frame rule");
    check_grid(&with(older(), &json!({"fps": -1})), "fps: `fps-step:-1` is no frame rule");
    check_stamped(&with(newer(), &json!({"fps": 0.5})), "frames: Fps(0.5)");
    check_stamped(&with(newer(), &json!({"fps": null, "num_frames": 16})), "frames: LinspaceRound(16)");
    check_stamped(&with(newer(), &json!({"num_frames": 16})), "num_frames: stands beside a rate");
    check_stamped(&with(newer(), &json!({"fps": null})), "fps: is null beside no num_frames");
    check_stamped(&with(newer(), &json!({"min_frames": 2, "max_frames": 64})), "min: 2, max: 64");
}

#[test]
fn sizes_are_the_file_s_or_the_processor_s() {
    let bare = json!({"patch_size": 16});
    check_stamped(&bare, "min_pixels: 131072, max_pixels: 786432");
    check_grid(&json!({}), "min_pixels: 100352, max_pixels: 602112");
    check_stamped(&with(newer(), &json!({"cap_pixels_per_frame": true})), "cap_tokens: Some(768)");
    check_grid(
        &with(older(), &json!({"cap_pixels_per_frame": true, "max_video_tokens": 9})),
        "cap_tokens: Some(9)",
    );
    check_grid(&with(older(), &json!({"min_pixels": 3137})), "size: differs from min_pixels");
}

#[test]
fn what_would_be_seen_otherwise_is_refused() {
    check_grid(&newer(), "video_processor_type: is \"Qwen3VLVideoProcessor\"");
    check_stamped(&with(newer(), &json!({"patch_size": 14})), "patch_size: differs from the vision tower's");
    check_stamped(&with(newer(), &json!({"do_resize": false})), "do_resize: is false");
    check_stamped(&with(newer(), &json!({"resample": 2})), "resample: is 2");
    check_stamped(&with(newer(), &json!({"crop_size": {"height": 4}})), "crop_size: is");
    check_stamped(&with(newer(), &json!({"magic": 1})), "magic is not known");
    let files = ConfigFiles { video_processor: Some(newer()), ..ConfigFiles::default() };
    let error = stamped(&files, &image(16)).unwrap_err().to_string();
    assert!(error.contains("adds no token <|vision_start|>"), "{error}");
}

#[test]
fn pooled_frames_fill_one_tile() {
    let tiling = Tiling { side: 384, sizes: vec![[384, 384]], max_tiles: 9, several: Several::Whole };
    let tiled = ImageProcessing { temporal_patch_size: 1, merge_size: 1, tiling: Some(tiling), ..image(14) };
    let file = json!({
        "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true, "resample": 3,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 384, "width": 384},
        "do_sample_frames": false, "video_processor_type": "LlavaOnevisionVideoProcessor",
    });
    let check = |change: Value, expected: &str| {
        check_with(pooled, &tiled, &with(file.clone(), &change), expected);
    };
    check(json!({}), "frames: All");
    check(json!({}), "size: Fixed { height: 384, width: 384 }");
    check(json!({}), "shown: Pooled");
    check(json!({"size": {"height": 384, "width": 336}}), "size.width: differs from the vision tower's");
    check(json!({"fps": 1}), "fps: is 1");
}
