//! The text model.

use serde_json::json;

use super::super::config::Reader;
use super::super::{FamilyError, common, parts};
use crate::package::SectionLayout;
use crate::spec::{AttentionSpec, DecoderLayer, DecoderSpec, Head, Linear, Mixer, Weight};

const PREFIX: &str = "model.language_model";

/// Sizes of the text model.
struct Sizes {
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    eps: f32,
}

pub(super) fn spec(r: &Reader, tied: bool, deepstack: usize) -> Result<DecoderSpec, FamilyError> {
    r.only("hidden_act", &[json!("silu")])?;
    r.only("attention_bias", &[json!(false)])?;
    r.only("use_sliding_window", &[json!(false)])?;
    // Dropout acts in training only.
    r.ignore(&["attention_dropout"]);
    let (hidden, heads) = (r.size("hidden_size")?, r.size("num_attention_heads")?);
    let sizes = Sizes {
        hidden,
        intermediate: r.size("intermediate_size")?,
        heads,
        kv_heads: r.size_or("num_key_value_heads", heads)?,
        head_dim: r.size_or("head_dim", hidden / heads)?,
        eps: r.number_or("rms_norm_eps", 1e-6)? as f32,
    };
    if !heads.is_multiple_of(sizes.kv_heads) {
        return Err(r.error("num_key_value_heads", "does not divide num_attention_heads"));
    }
    let layers = r.size("num_hidden_layers")?;
    if deepstack > layers {
        return Err(r.error("num_hidden_layers", "is fewer than the deepstack outputs"));
    }
    let vocabulary = r.size("vocab_size")?;
    let embedding = Weight::new(format!("{PREFIX}.embed_tokens.weight"), &[vocabulary, hidden]);
    let head = if tied { embedding.clone() } else { Weight::new(common::HEAD, &[vocabulary, hidden]) };
    Ok(DecoderSpec {
        hidden,
        vocabulary,
        max_positions: r.size("max_position_embeddings")?,
        embedding,
        layers: (0..layers).map(|i| layer(i, &sizes)).collect(),
        norm: parts::rms(&format!("{PREFIX}.norm"), hidden, sizes.eps),
        head: Head::Vocabulary(Linear { weight: head, bias: None }),
        // Each temporal patch of a video is a grid of its own, behind a time stamp in the text.
        position: common::position(r, sizes.head_dim, (5e6, SectionLayout::Interleaved), None)?,
        deepstack,
    })
}

fn layer(i: usize, s: &Sizes) -> DecoderLayer {
    let path = format!("{PREFIX}.layers.{i}");
    let linear = |name: &str, outputs: usize, inputs: usize| {
        parts::unbiased(&format!("{path}.{name}"), &[outputs, inputs])
    };
    let norm = |name: &str, width: usize| parts::rms(&format!("{path}.{name}"), width, s.eps);
    DecoderLayer {
        input_norm: norm("input_layernorm", s.hidden),
        mixer: Mixer::Attention(AttentionSpec {
            heads: s.heads,
            kv_heads: s.kv_heads,
            head_dim: s.head_dim,
            q: linear("self_attn.q_proj", s.heads * s.head_dim, s.hidden),
            k: linear("self_attn.k_proj", s.kv_heads * s.head_dim, s.hidden),
            v: linear("self_attn.v_proj", s.kv_heads * s.head_dim, s.hidden),
            o: linear("self_attn.o_proj", s.hidden, s.heads * s.head_dim),
            q_norm: Some(norm("self_attn.q_norm", s.head_dim)),
            k_norm: Some(norm("self_attn.k_norm", s.head_dim)),
            gate: false,
        }),
        mlp_norm: norm("post_attention_layernorm", s.hidden),
        mlp: parts::decoder_mlp(&format!("{path}.mlp"), s.hidden, s.intermediate),
        path,
    }
}
