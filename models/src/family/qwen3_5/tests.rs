use serde_json::Value;

use super::super::spec;
use super::*;
use crate::spec::Mixer;

fn text() -> Value {
    let kinds: Vec<&str> =
        (1..=24).map(|i| if i % 4 == 0 { "full_attention" } else { "linear_attention" }).collect();
    json!({
        "attention_bias": false, "attention_dropout": 0.0, "attn_output_gate": true, "dtype": "bfloat16",
        "eos_token_id": 248044, "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu",
        "hidden_size": 1024, "intermediate_size": 3584, "layer_types": kinds, "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 16,
        "linear_value_head_dim": 128, "mamba_ssm_dtype": "float32", "max_position_embeddings": 262144,
        "mlp_only_layers": [], "model_type": "qwen3_5_text", "mtp_num_hidden_layers": 1,
        "mtp_use_dedicated_embeddings": false, "num_attention_heads": 8, "num_hidden_layers": 24,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "vocab_size": 248320,
        "rope_parameters": {"mrope_interleaved": true, "mrope_section": [11, 11, 10],
            "rope_type": "default", "rope_theta": 10000000, "partial_rotary_factor": 0.25},
    })
}

/// The published shape of the smallest checkpoint.
fn published() -> ConfigFiles {
    ConfigFiles {
        config: json!({
            "architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5",
            "image_token_id": 248056, "video_token_id": 248057, "tie_word_embeddings": true,
            "vision_start_token_id": 248053, "vision_end_token_id": 248054,
            "text_config": text(),
            "vision_config": {
                "deepstack_visual_indexes": [], "depth": 12, "hidden_act": "gelu_pytorch_tanh",
                "hidden_size": 768, "in_channels": 3, "intermediate_size": 3072, "model_type": "qwen3_5",
                "num_heads": 12, "num_position_embeddings": 2304, "out_hidden_size": 1024, "patch_size": 16,
                "spatial_merge_size": 2, "temporal_patch_size": 2,
            },
        }),
        generation: None,
        image_processor: Some(json!({"size": {"longest_edge": 16777216, "shortest_edge": 65536},
            "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2,
            "image_processor_type": "Qwen2VLImageProcessorFast"})),
        ..ConfigFiles::default()
    }
}

/// The file with one value changed (`null` removes it) gives an error that names the field.
fn check(pointer: &str, value: Value, expected: &str) {
    let mut files = published();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let target = files.config.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    target.insert(key.to_owned(), value);
    let error = spec(&files).expect_err("the value must be refused").to_string();
    assert!(error.contains(expected), "{error} does not name {expected}");
}

#[test]
fn the_published_shape_has_the_published_tensors() {
    let spec = spec(&published()).unwrap();
    let kinds: Vec<bool> =
        spec.decoder.layers.iter().map(|l| matches!(l.mixer, Mixer::Attention(_))).collect();
    assert_eq!(kinds, (1..=24).map(|i| i % 4 == 0).collect::<Vec<_>>());
    // 4 tensors of the MLP and its norm and one norm before; 9 of a delta rule, 6 of attention.
    assert_eq!(spec.weights().len(), 1 + 24 * 5 + 18 * 9 + 6 * 6 + 1 + 3 + 12 * 12 + 6);
    let delta = spec.decoder.delta_nets().next().unwrap();
    assert_eq!((delta.channels(), delta.window()), (6144, 3));
    let attention = spec.decoder.attention().next().unwrap();
    assert_eq!(attention.q.weight.shape, [4096, 1024]);
    assert_eq!(spec.decoder.position.rotary_dim, 64);
    assert_eq!((spec.thinking, spec.tokens.eos), (Some(false), vec![248044]));
    assert!(spec.decoder.tied() && spec.ignored.contains(&"lm_head.weight".to_owned()));
    assert!(spec.ignored.contains(&"mtp.layers.0.self_attn.q_norm.weight".to_owned()));
}

#[test]
fn both_layouts_say_the_same() {
    let mut legacy = published();
    let text = legacy.config["text_config"].as_object_mut().unwrap();
    let mut rope = text.remove("rope_parameters").unwrap();
    for key in ["rope_theta", "partial_rotary_factor"] {
        text.insert(key.into(), rope.as_object_mut().unwrap().remove(key).unwrap());
    }
    text.insert("rope_scaling".into(), rope);
    text.remove("layer_types");
    assert_eq!(spec(&legacy), spec(&published()));
}

#[test]
fn a_value_that_changes_the_mathematics_is_refused_by_name() {
    check("/text_config/hidden_act", json!("gelu"), "text_config.hidden_act");
    check("/text_config/attention_bias", json!(true), "text_config.attention_bias");
    check("/text_config/attn_output_gate", json!(false), "text_config.attn_output_gate");
    check("/text_config/mamba_ssm_dtype", json!("bfloat16"), "text_config.mamba_ssm_dtype");
    check("/text_config/mlp_only_layers", json!([3]), "text_config.mlp_only_layers");
    check("/text_config/layer_types", json!(["full_attention"]), "text_config.layer_types");
    check("/text_config/layer_types", json!(vec!["sliding_attention"; 24]), "text_config.layer_types");
    check("/text_config/layer_types", json!(vec!["full_attention"; 24]), "text_config.layer_types");
    check("/text_config/linear_num_key_heads", json!(7), "text_config.linear_num_key_heads");
    check("/text_config/linear_conv_kernel_dim", json!(1), "text_config.linear_conv_kernel_dim");
    check("/text_config/linear_value_head_dim", json!(null), "text_config.linear_value_head_dim");
    check("/text_config/partial_rotary_factor", json!(0.5), "partial_rotary_factor");
    check("/text_config/rope_parameters/partial_rotary_factor", json!(0.01), "mrope_section");
    check("/text_config/rope_parameters/partial_rotary_factor", json!(1.5), "partial_rotary_factor");
    check("/text_config/rope_parameters/mrope_section", json!([11, 11, 11]), "mrope_section");
    check("/text_config/rope_parameters/mrope_interleaved", json!(false), "mrope_interleaved");
    check("/text_config/rope_parameters/rope_type", json!("yarn"), "rope_parameters.rope_type");
    check("/text_config/mtp_use_dedicated_embeddings", json!(true), "mtp_use_dedicated_embeddings");
    check("/text_config/num_experts", json!(8), "text_config.num_experts");
    check("/vision_config/deepstack_visual_indexes", json!([2]), "deepstack_visual_indexes");
    check("/vision_config/out_hidden_size", json!(2048), "vision_config.out_hidden_size");
    check("/language_model_only", json!(true), "language_model_only");
}
