//! The vision tower.

use serde_json::json;

use super::super::config::Reader;
use super::super::qwen2::{Tower, patches};
use super::super::{FamilyError, common, parts};
use crate::spec::{Activation, Mlp, PatchPosition, Qkv, VisionBlock, VisionSpec};

/// The tower's norms carry this constant in the reference code, not in the configuration.
const EPS: f32 = 1e-6;

/// `embed_dim` is the tower's width here, and `hidden_size` that of its result.
pub(super) fn tower(r: &Reader, prefix: &str) -> Result<Tower, FamilyError> {
    r.only("hidden_act", &[json!("quick_gelu")])?;
    let (hidden, heads) = (r.size("embed_dim")?, r.size("num_heads")?);
    if !hidden.is_multiple_of(4 * heads) {
        return Err(r.error("num_heads", "does not leave heads of a multiple of four"));
    }
    let patches = patches(r, prefix, hidden)?;
    let (depth, output) = (r.size("depth")?, r.size("hidden_size")?);
    let ratio = r.number_or("mlp_ratio", 4.0)?;
    let intermediate = hidden as f64 * ratio;
    if intermediate < 1.0 || intermediate.fract() != 0.0 {
        return Err(r.error("mlp_ratio", "does not lead to an MLP of a whole width"));
    }
    let block = |i: usize| block(format!("{prefix}.blocks.{i}"), hidden, intermediate as usize);
    let merged = hidden * patches.merge * patches.merge;
    let spec = VisionSpec {
        hidden,
        output,
        heads,
        head_dim: hidden / heads,
        patch_dim: patches.dim,
        merge: patches.merge,
        patch_embedding: patches.embedding,
        position: PatchPosition::None,
        rotary_theta: Some(common::axial_theta(r)?),
        window: None,
        blocks: (0..depth).map(block).collect(),
        merger: parts::merger(
            prefix,
            parts::layer_norm(&format!("{prefix}.merger.ln_q"), hidden, EPS),
            merged,
            output,
        ),
        deepstack: Vec::new(),
        closing: None,
    };
    Ok(Tower { spec, tokens_per_second: None })
}

fn block(path: String, hidden: usize, intermediate: usize) -> VisionBlock {
    VisionBlock {
        attention_norm: parts::layer_norm(&format!("{path}.norm1"), hidden, EPS),
        qkv: Qkv::Packed(parts::biased(&format!("{path}.attn.qkv"), &[3 * hidden, hidden])),
        window: false,
        projection: parts::biased(&format!("{path}.attn.proj"), &[hidden, hidden]),
        mlp_norm: parts::layer_norm(&format!("{path}.norm2"), hidden, EPS),
        mlp: Mlp::Plain {
            up: parts::biased(&format!("{path}.mlp.fc1"), &[intermediate, hidden]),
            down: parts::biased(&format!("{path}.mlp.fc2"), &[hidden, intermediate]),
            activation: Activation::QuickGelu,
        },
        path,
    }
}
