//! The text model.

use serde_json::json;

use super::super::config::Reader;
use super::super::{FamilyError, common, parts};
use crate::package::{PositionRule, SectionLayout};
use crate::spec::{
    AttentionSpec, DecoderLayer, DecoderSpec, DeltaNetSpec, Head, Linear, Mixer, Norm, Weight,
};

const PREFIX: &str = "model.language_model";
/// The reference adds it to the squared length of queries and keys; a constant of its code.
const LENGTH_EPS: f32 = 1e-6;
/// Rotated part of a head where no file says it.
const ROTARY_PART: f64 = 0.25;

/// Sizes of the text model.
struct Sizes {
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    key_heads: usize,
    value_heads: usize,
    key_dim: usize,
    value_dim: usize,
    taps: usize,
    eps: f32,
}

pub(super) fn spec(r: &Reader, tied: bool) -> Result<DecoderSpec, FamilyError> {
    r.only("hidden_act", &[json!("silu")])?;
    r.only("attention_bias", &[json!(false)])?;
    r.only("attn_output_gate", &[json!(true)])?;
    r.only("mlp_only_layers", &[json!([])])?;
    // The states are kept in 32-bit floats here, as the reference does.
    r.only("mamba_ssm_dtype", &[json!("float32")])?;
    // Dropout acts in training only.
    r.ignore(&["attention_dropout"]);
    let sizes = sizes(r)?;
    let layers = (0..).zip(layer_kinds(r)?).map(|(i, attends)| layer(i, attends, &sizes)).collect();
    let vocabulary = r.size("vocab_size")?;
    let embedding = Weight::new(format!("{PREFIX}.embed_tokens.weight"), &[vocabulary, sizes.hidden]);
    let head = if tied { embedding.clone() } else { Weight::new(common::HEAD, &[vocabulary, sizes.hidden]) };
    Ok(DecoderSpec {
        hidden: sizes.hidden,
        vocabulary,
        max_positions: r.size("max_position_embeddings")?,
        embedding,
        layers,
        norm: rms(format!("{PREFIX}.norm.weight"), sizes.hidden, sizes.eps),
        head: Head::Vocabulary(Linear { weight: head, bias: None }),
        position: position(r, sizes.head_dim)?,
        deepstack: 0,
    })
}

fn sizes(r: &Reader) -> Result<Sizes, FamilyError> {
    let sizes = Sizes {
        hidden: r.size("hidden_size")?,
        intermediate: r.size("intermediate_size")?,
        heads: r.size("num_attention_heads")?,
        kv_heads: r.size("num_key_value_heads")?,
        head_dim: r.size("head_dim")?,
        key_heads: r.size("linear_num_key_heads")?,
        value_heads: r.size("linear_num_value_heads")?,
        key_dim: r.size("linear_key_head_dim")?,
        value_dim: r.size("linear_value_head_dim")?,
        taps: r.size("linear_conv_kernel_dim")?,
        eps: r.number_or("rms_norm_eps", 1e-6)? as f32,
    };
    if !sizes.heads.is_multiple_of(sizes.kv_heads) {
        return Err(r.error("num_key_value_heads", "does not divide num_attention_heads"));
    }
    if !sizes.value_heads.is_multiple_of(sizes.key_heads) {
        return Err(r.error("linear_num_key_heads", "does not divide linear_num_value_heads"));
    }
    if sizes.taps < 2 {
        return Err(r.error("linear_conv_kernel_dim", "is one: a convolution that remembers nothing"));
    }
    Ok(sizes)
}

/// Whether each layer attends: `layer_types`, or without it every `full_attention_interval`-th.
fn layer_kinds(r: &Reader) -> Result<Vec<bool>, FamilyError> {
    let (layers, interval) = (r.size("num_hidden_layers")?, r.size_or("full_attention_interval", 4)?);
    let Some(list) = r.get("layer_types") else {
        return Ok((1..=layers).map(|i| i % interval == 0).collect());
    };
    let kind = |value: &serde_json::Value| match value.as_str() {
        Some("full_attention") => Some(true),
        Some("linear_attention") => Some(false),
        _ => None,
    };
    let kinds: Option<Vec<bool>> = list.as_array().and_then(|list| list.iter().map(kind).collect());
    let kinds = kinds
        .ok_or_else(|| r.error("layer_types", "is not a list of full_attention and linear_attention"))?;
    if kinds.len() != layers {
        return Err(r.error("layer_types", "is not one entry a layer of num_hidden_layers"));
    }
    if !kinds.contains(&true) || !kinds.contains(&false) {
        return Err(r.error("layer_types", "is all of one kind, and this family mixes both"));
    }
    Ok(kinds)
}

/// `rope_parameters` (present layout), or `rope_theta` beside `rope_scaling` (transformers 4.x).
fn position(r: &Reader, head_dim: usize) -> Result<PositionRule, FamilyError> {
    let present = r.get("rope_parameters").is_some();
    let rope = r.object(if present { "rope_parameters" } else { "rope_scaling" })?;
    let theta = if present { rope.number_or("rope_theta", 1e7)? } else { r.number_or("rope_theta", 1e7)? };
    let outer = r.number_or("partial_rotary_factor", ROTARY_PART)?;
    let part = rope.number_or("partial_rotary_factor", outer)?;
    if r.get("partial_rotary_factor").is_some() && part != outer {
        return Err(rope.error("partial_rotary_factor", "differs from text_config.partial_rotary_factor"));
    }
    rope.only("rope_type", &[json!("default")])?;
    rope.only("type", &[json!("default"), json!("mrope")])?;
    // The family is always interleaved; a file that says otherwise is another architecture.
    rope.only("mrope_interleaved", &[json!(true)])?;
    // The reference cuts the product to a whole number; a part of which that is not a pair of halves is none.
    let rotary_dim = (head_dim as f64 * part) as usize;
    if rotary_dim == 0 || rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
        return Err(rope.error("partial_rotary_factor", "does not leave an even part of head_dim"));
    }
    let sections = common::sections(&rope, rotary_dim)?;
    rope.finish()?;
    Ok(PositionRule {
        theta,
        rotary_dim: rotary_dim as u32,
        sections,
        layout: SectionLayout::Interleaved,
        tokens_per_second: None,
    })
}

fn layer(i: usize, attends: bool, s: &Sizes) -> DecoderLayer {
    let path = format!("{PREFIX}.layers.{i}");
    let norm = |name: &str| rms(format!("{path}.{name}.weight"), s.hidden, s.eps);
    DecoderLayer {
        input_norm: norm("input_layernorm"),
        mixer: if attends {
            Mixer::Attention(attention(&format!("{path}.self_attn"), s))
        } else {
            Mixer::DeltaNet(delta_net(&format!("{path}.linear_attn"), s))
        },
        mlp_norm: norm("post_attention_layernorm"),
        mlp: parts::decoder_mlp(&format!("{path}.mlp"), s.hidden, s.intermediate),
        path,
    }
}

fn attention(path: &str, s: &Sizes) -> AttentionSpec {
    let (queries, keys) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let norm = |name: &str| Some(rms(format!("{path}.{name}.weight"), s.head_dim, s.eps));
    AttentionSpec {
        heads: s.heads,
        kv_heads: s.kv_heads,
        head_dim: s.head_dim,
        q: linear(&format!("{path}.q_proj"), 2 * queries, s.hidden),
        k: linear(&format!("{path}.k_proj"), keys, s.hidden),
        v: linear(&format!("{path}.v_proj"), keys, s.hidden),
        o: linear(&format!("{path}.o_proj"), s.hidden, queries),
        q_norm: norm("q_norm"),
        k_norm: norm("k_norm"),
        gate: true,
    }
}

fn delta_net(path: &str, s: &Sizes) -> DeltaNetSpec {
    let values = s.value_heads * s.value_dim;
    let channels = 2 * s.key_heads * s.key_dim + values;
    let weight = |name: &str, shape: &[usize]| Weight::new(format!("{path}.{name}"), shape);
    DeltaNetSpec {
        key_heads: s.key_heads,
        value_heads: s.value_heads,
        key_dim: s.key_dim,
        value_dim: s.value_dim,
        length_eps: LENGTH_EPS,
        qkv: linear(&format!("{path}.in_proj_qkv"), channels, s.hidden),
        z: linear(&format!("{path}.in_proj_z"), values, s.hidden),
        a: linear(&format!("{path}.in_proj_a"), s.value_heads, s.hidden),
        b: linear(&format!("{path}.in_proj_b"), s.value_heads, s.hidden),
        conv: weight("conv1d.weight", &[channels, 1, s.taps]),
        a_log: weight("A_log", &[s.value_heads]),
        dt_bias: weight("dt_bias", &[s.value_heads]),
        // Alone among the norms, its weight is stored as it is.
        norm: Norm::Rms { weight: weight("norm.weight", &[s.value_dim]), eps: s.eps, offset: 0.0 },
        out: linear(&format!("{path}.out_proj"), s.hidden, values),
    }
}

fn linear(path: &str, outputs: usize, inputs: usize) -> Linear {
    parts::unbiased(path, &[outputs, inputs])
}

/// Weights are stored as the distance from one.
fn rms(name: String, width: usize, eps: f32) -> Norm {
    Norm::Rms { weight: Weight::new(name, &[width]), eps, offset: 1.0 }
}

/// Tensors that published checkpoints hold and the model does not use: the layers that draft several tokens ahead,
/// which the reference implementation does not load; and a tied head's copy, which some tools store all the same.
pub(super) fn ignored(r: &Reader, tied: bool) -> Result<Vec<String>, FamilyError> {
    r.only("mtp_use_dedicated_embeddings", &[json!(false)])?;
    let mut names: Vec<String> = tied.then(|| common::HEAD.to_owned()).into_iter().collect();
    let layers = r.get("mtp_num_hidden_layers").map_or(Ok(0), |_| r.size("mtp_num_hidden_layers"))?;
    if layers == 0 {
        return Ok(names);
    }
    let outer = ["fc", "norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"];
    names.extend(outer.map(|name| format!("mtp.{name}.weight")));
    let attention = ["q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"];
    let mlp = ["gate_proj", "up_proj", "down_proj"];
    for i in 0..layers {
        let path = format!("mtp.layers.{i}");
        names.extend(attention.map(|name| format!("{path}.self_attn.{name}.weight")));
        names.extend(mlp.map(|name| format!("{path}.mlp.{name}.weight")));
        names.extend(["input_layernorm", "post_attention_layernorm"].map(|n| format!("{path}.{n}.weight")));
    }
    Ok(names)
}
