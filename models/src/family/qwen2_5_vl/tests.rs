use serde_json::{Value, json};

use super::super::spec;
use super::*;

/// The published shape of the smallest checkpoint, flat, in the layout of transformers 4.x.
fn legacy() -> ConfigFiles {
    ConfigFiles {
        config: json!({
            "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
            "image_token_id": 151655, "video_token_id": 151656, "tie_word_embeddings": true,
            "vision_start_token_id": 151652, "vision_end_token_id": 151653, "vision_token_id": 151654,
            "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
            "hidden_size": 2048, "intermediate_size": 11008, "max_position_embeddings": 128000,
            "max_window_layers": 70, "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "sliding_window": 32768, "use_sliding_window": false,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "vocab_size": 151936,
            "vision_config": {
                "depth": 32, "fullatt_block_indexes": [7, 15, 23, 31], "hidden_act": "silu", "hidden_size": 1280,
                "in_chans": 3, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048,
                "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2,
                "tokens_per_second": 2, "window_size": 112,
            },
        }),
        generation: Some(json!({"do_sample": true, "temperature": 1e-6, "repetition_penalty": 1.05,
            "bos_token_id": 151643, "pad_token_id": 151643, "eos_token_id": [151645, 151643]})),
        image_processor: Some(json!({"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14,
            "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "processor_class": "P",
            "image_processor_type": "Qwen2VLImageProcessor"})),
        ..ConfigFiles::default()
    }
}

/// The text settings moved into `text_config`, with the present name of the rotary rule.
fn nested() -> ConfigFiles {
    let mut files = legacy();
    let outer = files.config.as_object_mut().unwrap();
    let stays = ["architectures", "model_type", "tie_word_embeddings", "vision_config"];
    let moved = |key: &str| !stays.contains(&key) && !key.ends_with("_token_id");
    let mut text: serde_json::Map<_, _> =
        outer.iter().filter(|(k, _)| moved(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    outer.retain(|key, _| !moved(key));
    let (theta, mut rope) = (text.remove("rope_theta").unwrap(), text.remove("rope_scaling").unwrap());
    rope["rope_theta"] = theta;
    text.insert("rope_parameters".into(), rope);
    text.insert("layer_types".into(), json!(vec!["full_attention"; 36]));
    outer.insert("text_config".into(), text.into());
    outer["vision_config"]["rope_parameters"] = json!({"rope_theta": 10000.0, "rope_type": "axial"});
    files
}

/// The files with one value changed (`null` removes it) give an error that names the field.
fn check(mut files: ConfigFiles, pointer: &str, value: Value, expected: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    files.config.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
    let error = spec(&files).expect_err("the value must be refused").to_string();
    assert!(error.contains(expected), "{error} does not name {expected}");
}

#[test]
fn the_published_shape_has_the_published_tensors() {
    let spec = spec(&legacy()).unwrap();
    let weights = spec.weights();
    let parameters: usize = weights.iter().map(|w| w.shape.iter().product::<usize>()).sum();
    // 3.75 billion parameters, as published.
    assert_eq!(parameters, 3_754_622_976);
    assert_eq!(weights.len(), 1 + 36 * 12 + 1 + 1 + 32 * 12 + 5);
    let vision = spec.vision.unwrap();
    assert_eq!(vision.window, Some(4));
    let full: Vec<usize> = (0..32).filter(|&i| !vision.blocks[i].window).collect();
    assert_eq!(full, [7, 15, 23, 31]);
    assert_eq!(spec.decoder.position.tokens_per_second, Some(2.0));
    assert_eq!(spec.image.unwrap().max_pixels, 12_845_056);
}

#[test]
fn flat_and_nested_files_say_the_same() {
    assert_eq!(spec(&nested()), spec(&legacy()));

    // transformers between the two writes both, and unsets what does not act in the inner one only.
    let mut both = nested();
    for (key, value) in legacy().config.as_object().unwrap() {
        both.config.as_object_mut().unwrap().entry(key).or_insert_with(|| value.clone());
    }
    let text = &mut both.config["text_config"];
    (text["sliding_window"], text["image_token_id"]) = (Value::Null, json!(151655));
    (text["rope_scaling"], text["rope_theta"]) = (text["rope_parameters"].take(), json!(1e6));
    text["rope_scaling"].as_object_mut().unwrap().remove("rope_theta");
    assert_eq!(spec(&both), spec(&legacy()));

    check(
        both.clone(),
        "/text_config/hidden_size",
        json!(4096),
        "config.json.hidden_size: differs from config.json.text_config",
    );
    check(both, "/text_config/image_token_id", json!(7), "config.json.image_token_id");
}

#[test]
fn tensors_come_under_two_namings() {
    let mut files = legacy();
    let first = |files: &ConfigFiles| {
        let spec = spec(files).unwrap();
        spec.weights()
            .iter()
            .map(|w| w.name.split('.').next().unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(first(&files), ["model", "visual"].map(str::to_owned).into());
    files.tensors =
        ["model.visual.merger.ln_q.weight", "model.language_model.norm.weight"].map(str::to_owned).into();
    assert_eq!(first(&files), ["model".to_owned()].into());
    let names: Vec<String> = spec(&files).unwrap().weights().iter().map(|w| w.name.clone()).collect();
    assert!(names.contains(&"model.visual.blocks.0.attn.qkv.bias".to_owned()));
    assert!(names.contains(&"model.language_model.layers.35.self_attn.v_proj.bias".to_owned()));
}

#[test]
fn pixel_bounds_may_stand_in_three_places() {
    let mut files = legacy();
    let processor = files.image_processor.as_mut().unwrap();
    processor["size"] = json!({"min_pixels": 3136, "max_pixels": 12845056});
    assert_eq!(spec(&files), spec(&legacy()));
    let processor = files.image_processor.as_mut().unwrap().as_object_mut().unwrap();
    processor.retain(|key, _| !key.ends_with("pixels"));
    processor["size"] = json!({"shortest_edge": 3136, "longest_edge": 12845056});
    assert_eq!(spec(&files), spec(&legacy()));
    files.image_processor.as_mut().unwrap()["min_pixels"] = json!(3137);
    assert!(spec(&files).unwrap_err().to_string().contains("size"));
}

#[test]
fn a_value_that_changes_the_mathematics_is_refused_by_name() {
    check(legacy(), "/hidden_act", json!("gelu"), "config.json.hidden_act");
    check(legacy(), "/use_sliding_window", json!(true), "use_sliding_window");
    check(legacy(), "/rope_scaling/type", json!("yarn"), "rope_scaling.type");
    check(legacy(), "/rope_scaling/factor", json!(4.0), "rope_scaling.factor");
    check(legacy(), "/rope_scaling/mrope_section", json!([16, 24, 25]), "mrope_section");
    check(legacy(), "/rope_scaling/mrope_interleaved", json!(true), "mrope_interleaved");
    check(legacy(), "/num_key_value_heads", json!(3), "num_key_value_heads");
    check(legacy(), "/num_attention_heads", json!(15), "num_attention_heads");
    check(legacy(), "/quantization_config", json!({"bits": 4}), "config.json.quantization_config");
    check(legacy(), "/vision_config/hidden_act", json!("gelu"), "vision_config.hidden_act");
    check(legacy(), "/vision_config/window_size", json!(27), "window_size");
    check(legacy(), "/vision_config/fullatt_block_indexes", json!([32]), "fullatt_block_indexes");
    check(legacy(), "/vision_config/fullatt_block_indexes", Value::Null, "fullatt_block_indexes");
    check(legacy(), "/vision_config/in_chans", json!(4), "in_chans");
    check(legacy(), "/vision_config/spatial_patch_size", json!(16), "spatial_patch_size");
    check(legacy(), "/vision_config/patch_size", json!(16), "spatial_patch_size");
    check(legacy(), "/vision_config/out_hidden_size", json!(2049), "config.json.vision_config");
    check(legacy(), "/vision_config/tokens_per_second", json!(0), "tokens_per_second");
    check(nested(), "/text_config/layer_types", json!(["sliding_attention"]), "layer_types");
    check(nested(), "/text_config/surprise", json!(1), "text_config.surprise");
    check(nested(), "/surprise", json!(1), "config.json.surprise");
}
