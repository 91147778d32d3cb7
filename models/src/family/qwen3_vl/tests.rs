use serde_json::{Value, json};

use super::super::spec;
use super::*;

/// The published shape of the smallest checkpoint, in the layout of transformers 4.x.
fn legacy() -> ConfigFiles {
    ConfigFiles {
        config: json!({
            "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl",
            "image_token_id": 151655, "video_token_id": 151656, "tie_word_embeddings": true,
            "vision_start_token_id": 151652, "vision_end_token_id": 151653,
            "text_config": {
                "attention_bias": false, "attention_dropout": 0.0, "eos_token_id": 151645, "head_dim": 128,
                "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144,
                "max_position_embeddings": 262144, "num_attention_heads": 16, "num_hidden_layers": 28,
                "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_theta": 5000000, "vocab_size": 151936,
                "rope_scaling": {"mrope_interleaved": true, "mrope_section": [24, 20, 20], "rope_type": "default"},
            },
            "vision_config": {
                "deepstack_visual_indexes": [5, 11, 17], "depth": 24, "hidden_act": "gelu_pytorch_tanh",
                "hidden_size": 1024, "in_channels": 3, "intermediate_size": 4096, "num_heads": 16,
                "num_position_embeddings": 2304, "out_hidden_size": 2048, "patch_size": 16,
                "spatial_merge_size": 2, "temporal_patch_size": 2,
            },
        }),
        generation: Some(json!({"do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
            "repetition_penalty": 1.0, "eos_token_id": [151645, 151643], "pad_token_id": 151643})),
        image_processor: Some(json!({"size": {"longest_edge": 16777216, "shortest_edge": 65536},
            "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5], "processor_class": "P",
            "image_processor_type": "Qwen2VLImageProcessorFast"})),
        ..ConfigFiles::default()
    }
}

/// The file with one value changed (`null` removes it) gives an error that names the field.
fn check(pointer: &str, value: Value, expected: &str) {
    let mut files = legacy();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let target = files.config.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    target.insert(key.to_owned(), value);
    let error = spec(&files).expect_err("the value must be refused").to_string();
    assert!(error.contains(expected), "{error} does not name {expected}");
}

#[test]
fn the_published_shape_has_the_published_tensors() {
    let spec = spec(&legacy()).unwrap();
    let weights = spec.weights();
    let parameters: usize = weights.iter().map(|w| w.shape.iter().product::<usize>()).sum();
    // 2.13 billion parameters, 4.26 GB in 16 bits, as published.
    assert_eq!(parameters, 2_127_532_032);
    assert_eq!(weights.len(), 1 + 28 * 11 + 1 + 3 + 24 * 12 + 4 * 6);
    assert!(spec.decoder.tied());
    assert_eq!(spec.tokens.eos, [151645, 151643]);
    assert_eq!(spec.generation.top_k, 20);
}

#[test]
fn both_layouts_say_the_same() {
    let mut present = legacy();
    let text = present.config["text_config"].as_object_mut().unwrap();
    let (theta, mut rope) = (text.remove("rope_theta").unwrap(), text.remove("rope_scaling").unwrap());
    rope["rope_theta"] = theta;
    text.insert("rope_parameters".into(), rope);
    present.config["vision_config"]["rope_parameters"] = json!({"rope_theta": 10000.0, "rope_type": "axial"});
    assert_eq!(spec(&present), spec(&legacy()));
}

/// Trainers save every setting of a processor, most of them unset.
#[test]
fn a_key_that_says_nothing_is_no_surprise() {
    let mut saved = legacy();
    let unset = json!({"crop_size": null, "do_center_crop": null, "do_pad": false, "pad_size": null, "max_pixels": null,
        "min_pixels": null, "default_to_square": true, "disable_grouping": null, "data_format": "channels_first"});
    let processor = saved.image_processor.as_mut().unwrap().as_object_mut().unwrap();
    processor.extend(unset.as_object().unwrap().clone());
    saved.config["text_config"]["sliding_window"] = Value::Null;
    assert_eq!(spec(&saved), spec(&legacy()));

    saved.image_processor.as_mut().unwrap()["do_center_crop"] = json!(true);
    assert!(spec(&saved).unwrap_err().to_string().contains("do_center_crop"));
}

#[test]
fn a_value_that_changes_the_mathematics_is_refused_by_name() {
    check("/text_config/hidden_act", json!("gelu"), "text_config.hidden_act");
    check("/text_config/attention_bias", json!(true), "text_config.attention_bias");
    check("/text_config/rope_scaling/rope_type", json!("yarn"), "rope_scaling.rope_type");
    check("/text_config/rope_scaling/factor", json!(4.0), "rope_scaling.factor");
    check("/text_config/rope_scaling/mrope_section", json!([24, 20, 21]), "mrope_section");
    check("/text_config/sliding_window", json!(4096), "text_config.sliding_window");
    check("/vision_config/hidden_act", json!("gelu"), "vision_config.hidden_act");
    check("/vision_config/deepstack_visual_indexes", json!([5, 24]), "deepstack_visual_indexes");
    check("/vision_config/num_position_embeddings", json!(2305), "num_position_embeddings");
    check("/quantization_config", json!({"bits": 4}), "config.json.quantization_config");
    check("/text_config/tie_word_embeddings", json!(false), "tie_word_embeddings");
    // Cut to 32 bits, the section would be the published one.
    check("/text_config/rope_scaling/mrope_section", json!([(1_u64 << 32) + 24, 20, 20]), "mrope_section");
    check("/vision_config/spatial_merge_size", json!(1_u64 << 31), "spatial_merge_size");
    check("/text_config/hidden_size", json!(0), "text_config.hidden_size");
    check("/model_type", json!("other"), "qwen3_vl");
}
