use serde_json::{Value, json};

use super::super::spec;
use super::*;

/// The published shape of the smallest checkpoint, flat, in the layout of transformers 4.x.
fn legacy() -> ConfigFiles {
    ConfigFiles {
        config: json!({
            "architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl",
            "image_token_id": 151655, "video_token_id": 151656, "tie_word_embeddings": true,
            "vision_start_token_id": 151652, "vision_end_token_id": 151653, "vision_token_id": 151654,
            "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
            "hidden_size": 1536, "intermediate_size": 8960, "max_position_embeddings": 32768,
            "max_window_layers": 28, "num_attention_heads": 12, "num_hidden_layers": 28, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "sliding_window": 32768, "use_sliding_window": false,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "vocab_size": 151936,
            "vision_config": {
                "depth": 32, "embed_dim": 1280, "hidden_size": 1536, "in_chans": 3, "mlp_ratio": 4,
                "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
                "temporal_patch_size": 2,
            },
        }),
        generation: Some(json!({"do_sample": true, "temperature": 0.01, "top_p": 0.001, "top_k": 1,
            "bos_token_id": 151643, "pad_token_id": 151643, "eos_token_id": [151645, 151643]})),
        image_processor: Some(json!({"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14,
            "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "image_processor_type": "Qwen2VLImageProcessor"})),
        ..ConfigFiles::default()
    }
}

/// The file with one value changed gives an error that names the field.
fn check(pointer: &str, value: Value, expected: &str) {
    let mut files = legacy();
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
    // 2.21 billion parameters, as published.
    assert_eq!(parameters, 2_208_985_600);
    assert_eq!(weights.len(), 1 + 28 * 12 + 1 + 1 + 32 * 12 + 6);
    let vision = spec.vision.unwrap();
    assert!(vision.window.is_none() && vision.blocks.iter().all(|block| !block.window));
    assert_eq!(spec.decoder.position.tokens_per_second, None);
}

#[test]
fn a_value_that_changes_the_mathematics_is_refused_by_name() {
    check("/vision_config/hidden_act", json!("gelu"), "vision_config.hidden_act");
    check("/vision_config/mlp_ratio", json!(0.0001), "vision_config.mlp_ratio");
    check("/vision_config/mlp_ratio", json!(-4), "vision_config.mlp_ratio");
    check("/vision_config/embed_dim", json!(1282), "vision_config.num_heads");
    check("/vision_config/hidden_size", json!(1280), "config.json.vision_config");
    check("/vision_config/window_size", json!(112), "vision_config.window_size");
    check("/vision_config/tokens_per_second", json!(2), "vision_config.tokens_per_second");
    check("/rope_scaling/type", json!("linear"), "rope_scaling.type");
    check("/use_sliding_window", json!(true), "use_sliding_window");
    check("/architectures", json!(["Qwen2VLForTokenClassification"]), "config.json.architectures");
}
