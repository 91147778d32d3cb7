use super::super::spec;
use super::*;
use crate::package::{Resample, Several};
use crate::spec::{Head, PatchPosition, Weight};

/// The published sizes of 36 pictures, one to six tiles a side.
fn pinpoints() -> Value {
    let sides = || (1..=6).map(|n| 384 * n);
    sides().flat_map(|a| sides().map(move |b| json!([a, b]))).collect()
}

/// The published shape of the 7B checkpoint in the transformers layout.
fn transformers() -> ConfigFiles {
    ConfigFiles {
        config: json!({
            "architectures": ["LlavaOnevisionForConditionalGeneration"], "model_type": "llava_onevision",
            "image_grid_pinpoints": pinpoints(), "image_token_index": 151646, "video_token_index": 151647,
            "projector_hidden_act": "gelu", "tie_word_embeddings": false, "ignore_index": -100,
            "use_image_newline_parameter": true, "vision_aspect_ratio": "anyres_max_9",
            "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
            "text_config": {
                "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944,
                "max_position_embeddings": 32768, "max_window_layers": 28, "model_type": "qwen2",
                "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
                "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000.0, "sliding_window": null,
                "use_sliding_window": false, "vocab_size": 152000, "eos_token_id": 151645,
            },
            "vision_config": {
                "hidden_size": 1152, "image_size": 384, "intermediate_size": 4304, "layer_norm_eps": 1e-6,
                "model_type": "siglip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 26,
                "patch_size": 14, "vision_use_head": false, "hidden_act": "gelu_pytorch_tanh",
            },
        }),
        generation: Some(json!({"eos_token_id": [151645, 151643], "pad_token_id": 151643})),
        image_processor: Some(
            json!({"do_convert_rgb": true, "do_pad": true, "do_resize": true, "resample": 3,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "image_grid_pinpoints": pinpoints(),
            "image_processor_type": "LlavaOnevisionImageProcessor", "size": {"height": 384, "width": 384}}),
        ),
        ..ConfigFiles::default()
    }
}

/// The published configuration of the 7B checkpoint in the original layout.
fn original_files() -> ConfigFiles {
    let text = json!({
        "architectures": ["LlavaQwenForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
        "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 3584, "initializer_range": 0.02,
        "intermediate_size": 18944, "max_position_embeddings": 32768, "max_window_layers": 28,
        "model_type": "llava", "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000.0, "sliding_window": 131072,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
        "use_sliding_window": false, "vocab_size": 152064,
    });
    let pictures = json!({
        "image_token_index": 151646, "image_aspect_ratio": "anyres_max_9", "image_crop_resolution": null,
        "image_grid_pinpoints": pinpoints(), "image_split_resolution": null, "mm_hidden_size": 1152,
        "mm_newline_position": "one_token", "mm_patch_merge_type": "spatial_unpad", "mm_projector_lr": null,
        "mm_projector_type": "mlp2x_gelu", "mm_resampler_type": null, "mm_spatial_pool_mode": "bilinear",
        "mm_tunable_parts": "mm_vision_tower,mm_mlp_adapter,mm_language_model", "mm_vision_tower_lr": 2e-6,
        "mm_use_im_patch_token": false, "mm_use_im_start_end": false, "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2, "mm_vision_tower": "google/siglip-so400m-patch14-384",
    });
    let training = json!({
        "pos_skipping_range": 4096, "tokenizer_model_max_length": 32768, "tokenizer_padding_side": "right",
        "use_mm_proj": true, "use_pos_skipping": false, "vision_tower_pretrained": null,
    });
    let parts = [text, pictures, training].map(|part| part.as_object().unwrap().clone());
    ConfigFiles { config: Value::Object(parts.into_iter().flatten().collect()), ..ConfigFiles::default() }
}

/// The configuration with one value changed gives an error that names the field.
fn check(files: fn() -> ConfigFiles, pointer: &str, value: Value, expected: &str) {
    let mut files = files();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    files.config.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
    let error = spec(&files).expect_err("the value must be refused").to_string();
    assert!(error.contains(expected), "{error} does not name {expected}");
}

/// The processor's file with one value changed gives an error that names the field.
fn check_processor(key: &str, value: Value, expected: &str) {
    let mut files = transformers();
    files.image_processor.as_mut().unwrap()[key] = value;
    let error = spec(&files).expect_err("the value must be refused").to_string();
    assert!(error.contains(expected), "{error} does not name {expected}");
}

#[test]
fn both_layouts_hold_the_same_model_under_their_own_names() {
    let (ours, theirs) = (spec(&transformers()).unwrap(), spec(&original_files()).unwrap());
    let shapes = |s: &ModelSpec| -> Vec<Vec<usize>> {
        let rows = |n: &usize| if *n == 152000 { 152064 } else { *n };
        s.weights().iter().map(|w| w.shape.iter().map(rows).collect()).collect()
    };
    assert_eq!(shapes(&ours), shapes(&theirs));
    let names = |s: &ModelSpec| s.weights().iter().map(|w| w.name.clone()).collect::<Vec<_>>();
    for name in [
        "model.embed_tokens.weight",
        "model.layers.27.self_attn.q_proj.bias",
        "model.vision_tower.vision_tower.vision_model.encoder.layers.25.mlp.fc2.weight",
        "model.mm_projector.0.weight",
        "model.mm_projector.2.bias",
        "model.image_newline",
        "lm_head.weight",
    ] {
        assert!(names(&theirs).iter().any(|n| n == name), "{name}");
    }
    assert!(!names(&theirs).iter().any(|n| n.contains("layers.26.mlp.fc2")));
    let parameters: usize = theirs.weights().iter().map(|w| w.shape.iter().product::<usize>()).sum();
    // 8.03 billion, as published: decoder, 26 layers of the tower, projector, closing feature.
    assert_eq!(parameters, 7_615_616_512 + 397_745_440 + 3584 * (1152 + 1 + 3584 + 1) + 3584);
}

#[test]
fn the_published_tower_makes_27_patches_a_side_of_a_tile() {
    let spec = spec(&original_files()).unwrap();
    let (vision, image) = (spec.vision.unwrap(), spec.image.unwrap());
    assert_eq!(
        vision.position,
        PatchPosition::Fixed(Weight::new(
            "model.vision_tower.vision_tower.vision_model.embeddings.position_embedding.weight",
            &[27 * 27, 1152],
        ))
    );
    assert_eq!((vision.blocks.len(), vision.heads, vision.head_dim, vision.patch_dim), (26, 16, 72, 588));
    let tiling = image.tiling.unwrap();
    assert_eq!((tiling.side, tiling.max_tiles, tiling.sizes.len()), (384, 9, 36));
    // The file lists width before height.
    assert_eq!(tiling.sizes[1], [768, 384]);
}

#[test]
fn several_pictures_are_seen_as_each_layouts_own_code_shows_them() {
    let several = |files: &ConfigFiles| {
        let image = spec(files).unwrap().image.unwrap();
        (image.tiling.unwrap().several, image.resample)
    };
    assert_eq!(several(&transformers()), (Several::Whole, Resample::BicubicTorch));
    assert_eq!(several(&original_files()), (Several::Tiled, Resample::BicubicPillow));
}

#[test]
fn the_original_layout_brings_its_chat_template_and_the_others_do_not() {
    assert!(spec(&original_files()).unwrap().chat_template.unwrap().contains("<image>\\n"));
    assert_eq!(spec(&transformers()).unwrap().chat_template, None);
}

#[test]
fn each_naming_is_told_by_the_tensors() {
    let first = |tensors: &[&str]| {
        let tensors = tensors.iter().map(|t| (*t).to_owned()).collect();
        let spec = spec(&ConfigFiles { tensors, ..transformers() }).unwrap();
        let vision = spec.vision.unwrap();
        let Head::Vocabulary(head) = spec.decoder.head else { panic!("a vocabulary") };
        [vision.patch_embedding.weight.name, vision.closing.unwrap().name, head.weight.name]
    };
    let embedding = "embeddings.patch_embedding.weight";
    assert_eq!(
        first(&[&format!("vision_tower.vision_model.{embedding}")]),
        [&format!("vision_tower.vision_model.{embedding}"), "image_newline", "language_model.lm_head.weight"]
    );
    assert_eq!(first(&["image_newline"])[0], format!("vision_tower.{embedding}"));
    assert_eq!(
        first(&["model.image_newline", &format!("model.vision_tower.vision_model.{embedding}")]),
        [&format!("model.vision_tower.vision_model.{embedding}"), "model.image_newline", "lm_head.weight"]
    );
}

#[test]
fn what_lies_behind_the_selected_layer_may_stand_in_the_checkpoint() {
    let ignored = spec(&original_files()).unwrap().ignored;
    let tower = "model.vision_tower.vision_tower.vision_model";
    for name in ["encoder.layers.26.self_attn.q_proj.weight", "post_layernorm.bias", "head.probe"] {
        assert!(ignored.contains(&format!("{tower}.{name}")), "{name}");
    }
    assert!(!ignored.contains(&format!("{tower}.encoder.layers.25.self_attn.q_proj.weight")));
}

#[test]
fn another_tower_is_refused_by_its_name_unless_its_configuration_is_told() {
    let name = "google/siglip-base-patch16-224";
    check(original_files, "/mm_vision_tower", json!(name), name);
    let tower = json!({"hidden_size": 768, "image_size": 224, "intermediate_size": 3072, "num_attention_heads": 12,
        "num_hidden_layers": 12, "patch_size": 16, "model_type": "siglip_vision_model"});
    check(original_files, "/vision_config", tower.clone(), "other sizes than google/siglip-so400m");
    let mut files = original_files();
    files.config["mm_vision_tower"] = json!(name);
    files.config["mm_hidden_size"] = json!(768);
    files.config["vision_config"] = tower;
    files.config["image_grid_pinpoints"] = json!([[224, 448], [448, 448]]);
    let spec = spec(&files).unwrap();
    assert_eq!((spec.vision.unwrap().blocks.len(), spec.image.unwrap().tiling.unwrap().side), (11, 224));
}

#[test]
fn a_value_that_changes_the_mathematics_is_refused_by_name() {
    for (pointer, value, expected) in [
        ("/projector_hidden_act", json!("relu"), "projector_hidden_act"),
        ("/vision_feature_select_strategy", json!("default"), "vision_feature_select_strategy"),
        ("/vision_feature_layer", json!([-2, -1]), "vision_feature_layer"),
        ("/vision_feature_layer", json!(-28), "vision_feature_layer"),
        ("/vision_aspect_ratio", json!("pad"), "vision_aspect_ratio"),
        ("/vision_aspect_ratio", json!("anyres_max_0"), "vision_aspect_ratio"),
        ("/image_grid_pinpoints", json!([[384, 384]]), "image_grid_pinpoints"),
        ("/image_token_id", json!(7), "image_token_id"),
        ("/surprise", json!(1), "config.json.surprise"),
        ("/text_config/model_type", json!("llama"), "text_config.model_type"),
        ("/text_config/rope_scaling", json!({"rope_type": "yarn"}), "text_config.rope_scaling"),
        ("/text_config/use_sliding_window", json!(true), "use_sliding_window"),
        ("/vision_config/model_type", json!("clip_vision_model"), "vision_config.model_type"),
        ("/vision_config/hidden_act", json!("quick_gelu"), "vision_config.hidden_act"),
        ("/vision_config/num_attention_heads", json!(7), "num_attention_heads"),
        ("/vision_config/patch_size", json!(385), "patch_size"),
        ("/vision_config/image_size", json!(378), "image_size"),
    ] {
        check(transformers, pointer, value, expected);
    }
    for (key, value, expected) in [
        ("architectures", json!(["LlavaForConditionalGeneration"]), "architectures"),
        ("mm_projector_type", json!("linear"), "mm_projector_type"),
        ("mm_patch_merge_type", json!("flat"), "mm_patch_merge_type"),
        ("mm_resampler_type", json!("spatial_pool"), "mm_resampler_type"),
        ("mm_vision_select_feature", json!("cls_patch"), "mm_vision_select_feature"),
        ("mm_vision_select_layer", json!(3), "mm_vision_select_layer"),
        ("mm_use_im_start_end", json!(true), "mm_use_im_start_end"),
        ("mm_hidden_size", json!(1024), "mm_hidden_size"),
        ("image_aspect_ratio", json!("anyres"), "image_aspect_ratio"),
        ("image_grid_pinpoints", Value::Null, "image_grid_pinpoints"),
        ("image_grid_pinpoints", json!("(1x1),...,(6x6)"), "image_grid_pinpoints"),
        ("image_token_index", Value::Null, "<image>"),
        ("mm_perceiver", json!(1), "config.json.mm_perceiver"),
    ] {
        check(original_files, &format!("/{key}"), value, expected);
    }
}

#[test]
fn a_processor_that_makes_other_pixels_is_refused_by_name() {
    for (key, value) in [
        ("do_pad", json!(false)),
        ("do_center_crop", json!(true)),
        ("crop_size", json!({"height": 384, "width": 384})),
        ("resample", json!(2)),
        ("image_processor_type", json!("SiglipImageProcessor")),
        ("image_grid_pinpoints", json!([[384, 400]])),
        ("surprise", json!(1)),
    ] {
        check_processor(key, value, key);
    }
    check_processor("size", json!({"height": 384, "width": 336}), "size.width");
    let error = spec(&ConfigFiles { image_processor: None, ..transformers() }).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json"), "{error}");
}
