//! What the families with a Qwen2 decoder share; those with M-RoPE everything but the vision tower.
//!
//! Published checkpoints differ in three ways that have nothing to do with each other. The text settings stand at
//! the top of `config.json` (flat), in `text_config` (nested), or in both, as a copy. The rotary rule is
//! `rope_scaling` beside `rope_theta` or `rope_parameters`. The tensors are named `visual.` and `model.`, or
//! `model.visual.` and `model.language_model.`.

use serde_json::{Value, json};

use super::config::Reader;
use super::{ConfigFiles, FamilyError, common, head, parts, video};
use crate::package::{PositionRule, SectionLayout};
use crate::spec::{
    AttentionSpec, DecoderLayer, DecoderSpec, Head, Linear, Mixer, ModelSpec, VisionSpec, Weight,
};

/// What tells one family from another.
pub(super) struct Family {
    /// `model_type`.
    pub(super) name: &'static str,
    /// What the names of its classes in `architectures` begin with.
    pub(super) classes: &'static str,
    /// `vision_config` and the prefix of its tensors to the tower.
    pub(super) tower: fn(&Reader, &str) -> Result<Tower, FamilyError>,
}

/// A vision tower and what it says of videos.
pub(super) struct Tower {
    pub(super) spec: VisionSpec,
    /// Temporal positions of a second of video, see [`crate::package::PositionRule`].
    pub(super) tokens_per_second: Option<f64>,
}

/// Configuration to spec.
pub(super) fn spec(files: &ConfigFiles, family: &Family) -> Result<ModelSpec, FamilyError> {
    let config = Reader::new("config.json", &files.config)?;
    let nested = config.get("text_config").map(|_| config.object("text_config")).transpose()?;
    if let Some(text) = &nested {
        config.copies(text)?;
        // The placeholders are read from the outer object; copies of them agree with it.
        text.ignore(&["image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"]);
        text.ignore(&["vision_token_id"]);
    }
    let text = nested.as_ref().unwrap_or(&config);
    let scores = head::scores(files, &config, text, family.classes)?;
    let vision_config = config.object("vision_config")?;
    let [visual, language] = prefixes(files);
    let tower = (family.tower)(&vision_config, visual)?;
    let tied = common::tied(&config, text)?;
    let decoder = decoder(text, (language, common::HEAD), tied, |text, head_dim| {
        common::position(text, head_dim, (1e6, SectionLayout::Chunked), tower.tokens_per_second)
    })?;
    if tower.spec.output != decoder.hidden {
        return Err(
            config.error("vision_config", "leads to rows of another width than the text model's hidden_size")
        );
    }
    let image = common::image_processing(files.image_processor.as_ref(), &tower.spec)?;
    let video = video::grid(files, &image)?;
    let (generation, eos) = common::generation_defaults(files.generation.as_ref())?;
    let tokens = common::special_tokens(&config, text, eos)?;
    // A placeholder that the template never writes; and what stays at the top where `text_config` leaves it unset:
    // both act with use_sliding_window only, which is refused.
    config.ignore(&["vision_token_id", "sliding_window", "max_window_layers"]);
    for reader in [Some(config), nested, Some(vision_config)].into_iter().flatten() {
        reader.finish()?;
    }
    let spec = ModelSpec {
        family: family.name,
        decoder,
        vision: Some(tower.spec),
        image: Some(image),
        video,
        tokens,
        generation,
        chat_template: None,
        thinking: None,
        default_pack: "unifiedreward-image-pair",
        // A tied model's head is the embedding table; some tools store the copy all the same, and the
        // reference implementation ignores it.
        ignored: if tied { vec![common::HEAD.to_owned()] } else { Vec::new() },
    };
    Ok(head::put(spec, scores))
}

/// Prefixes of the tower's and the decoder's tensors, by the naming that the checkpoint uses.
fn prefixes(files: &ConfigFiles) -> [&'static str; 2] {
    let named = |prefix: &str| files.tensors.iter().any(|name| name.starts_with(prefix));
    [
        if named("model.visual.") { "model.visual" } else { "visual" },
        if named("model.language_model.") { "model.language_model" } else { "model" },
    ]
}

/// Sizes of the text model.
struct Sizes {
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    eps: f32,
}

/// The text model with its tensors under `prefix` and its head under `head`, unless that is `tied`; `position` reads the
/// rotary rule for a size of the heads.
pub(super) fn decoder(
    r: &Reader,
    (prefix, head): (&str, &str),
    tied: bool,
    position: impl FnOnce(&Reader, usize) -> Result<PositionRule, FamilyError>,
) -> Result<DecoderSpec, FamilyError> {
    r.only("hidden_act", &[json!("silu")])?;
    r.only("use_sliding_window", &[json!(false)])?;
    // These two act with use_sliding_window only; dropout acts in training only.
    r.ignore(&["sliding_window", "max_window_layers", "attention_dropout"]);
    let sizes = sizes(r)?;
    let layers = r.size("num_hidden_layers")?;
    full_attention(r, layers)?;
    let (hidden, vocabulary) = (sizes.hidden, r.size("vocab_size")?);
    let embedding = Weight::new(format!("{prefix}.embed_tokens.weight"), &[vocabulary, hidden]);
    let head = if tied { embedding.clone() } else { Weight::new(head, &[vocabulary, hidden]) };
    Ok(DecoderSpec {
        hidden,
        vocabulary,
        max_positions: r.size("max_position_embeddings")?,
        embedding,
        layers: (0..layers).map(|i| layer(format!("{prefix}.layers.{i}"), &sizes)).collect(),
        norm: parts::rms(&format!("{prefix}.norm"), hidden, sizes.eps),
        head: Head::Vocabulary(Linear { weight: head, bias: None }),
        position: position(r, sizes.head_dim)?,
        deepstack: 0,
    })
}

fn sizes(r: &Reader) -> Result<Sizes, FamilyError> {
    let (hidden, heads) = (r.size("hidden_size")?, r.size("num_attention_heads")?);
    if !hidden.is_multiple_of(2 * heads) {
        return Err(r.error("num_attention_heads", "does not leave heads of an even size"));
    }
    let kv_heads = r.size_or("num_key_value_heads", heads)?;
    if !heads.is_multiple_of(kv_heads) {
        return Err(r.error("num_key_value_heads", "does not divide num_attention_heads"));
    }
    let intermediate = r.size("intermediate_size")?;
    let eps = r.number_or("rms_norm_eps", 1e-5)? as f32;
    Ok(Sizes { hidden, intermediate, heads, kv_heads, head_dim: hidden / heads, eps })
}

/// The kinds of the layers, where a file lists them: all attend to everything before them.
fn full_attention(r: &Reader, layers: usize) -> Result<(), FamilyError> {
    r.only("layer_types", &[Value::from(vec!["full_attention"; layers])])
}

fn layer(path: String, s: &Sizes) -> DecoderLayer {
    let attention = |name: &str| format!("{path}.self_attn.{name}");
    let biased = |name: &str, outputs: usize| parts::biased(&attention(name), &[outputs, s.hidden]);
    let norm = |name: &str| parts::rms(&format!("{path}.{name}"), s.hidden, s.eps);
    DecoderLayer {
        input_norm: norm("input_layernorm"),
        mixer: Mixer::Attention(AttentionSpec {
            heads: s.heads,
            kv_heads: s.kv_heads,
            head_dim: s.head_dim,
            q: biased("q_proj", s.heads * s.head_dim),
            k: biased("k_proj", s.kv_heads * s.head_dim),
            v: biased("v_proj", s.kv_heads * s.head_dim),
            o: parts::unbiased(&attention("o_proj"), &[s.hidden, s.heads * s.head_dim]),
            q_norm: None,
            k_norm: None,
            gate: false,
        }),
        mlp_norm: norm("post_attention_layernorm"),
        mlp: parts::decoder_mlp(&format!("{path}.mlp"), s.hidden, s.intermediate),
        path,
    }
}

/// What the towers of these families read alike.
pub(super) struct Patches {
    pub(super) patch: usize,
    pub(super) merge: usize,
    pub(super) dim: usize,
    pub(super) embedding: Linear,
}

/// Patch and merge sizes, and the first layer: a convolution without bias whose stride is its kernel.
pub(super) fn patches(r: &Reader, prefix: &str, hidden: usize) -> Result<Patches, FamilyError> {
    for key in ["in_channels", "in_chans"] {
        r.only(key, &[json!(3)])?;
    }
    let (patch, frames) = (r.size_or("patch_size", 14)?, r.size_or("temporal_patch_size", 2)?);
    // A copy of the patch size that older files carry.
    r.only("spatial_patch_size", &[json!(patch)])?;
    let shape = [hidden, 3, frames, patch, patch];
    let weight = Weight::new(format!("{prefix}.patch_embed.proj.weight"), &shape);
    Ok(Patches {
        patch,
        merge: r.size_or("spatial_merge_size", 2)?,
        dim: shape[1..].iter().product(),
        embedding: Linear { weight, bias: None },
    })
}
