//! The vision tower: most blocks look no further than their window, a few see the whole grid.

use serde_json::json;

use super::super::config::Reader;
use super::super::qwen2::{Tower, patches};
use super::super::{FamilyError, common, parts};
use crate::spec::{Activation, GatedMlp, Mlp, PatchPosition, Qkv, VisionBlock, VisionSpec};

/// The tower's norms carry this constant in the reference code, not in the configuration.
const EPS: f32 = 1e-6;

pub(super) fn tower(r: &Reader, prefix: &str) -> Result<Tower, FamilyError> {
    r.only("hidden_act", &[json!("silu")])?;
    let (hidden, heads) = (r.size("hidden_size")?, r.size("num_heads")?);
    if !hidden.is_multiple_of(4 * heads) {
        return Err(r.error("num_heads", "does not leave heads of a multiple of four"));
    }
    let patches = patches(r, prefix, hidden)?;
    let (depth, intermediate) = (r.size("depth")?, r.size("intermediate_size")?);
    // Pixels to merged tokens, rounded down as in the reference.
    let window = r.size_or("window_size", 112)? / patches.merge / patches.patch;
    if window == 0 {
        return Err(r.error("window_size", "is less than a merged token"));
    }
    let full = r.sizes("fullatt_block_indexes")?;
    if full.iter().any(|&block| block >= depth) {
        return Err(r.error("fullatt_block_indexes", "names a block beyond the depth"));
    }
    let output = r.size("out_hidden_size")?;
    let merged = hidden * patches.merge * patches.merge;
    let block = |i: usize| VisionBlock {
        window: !full.contains(&i),
        ..block(format!("{prefix}.blocks.{i}"), hidden, intermediate)
    };
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
        window: Some(window),
        blocks: (0..depth).map(block).collect(),
        merger: parts::merger(
            prefix,
            parts::rms(&format!("{prefix}.merger.ln_q"), hidden, EPS),
            merged,
            output,
        ),
        deepstack: Vec::new(),
        closing: None,
    };
    Ok(Tower { spec, tokens_per_second: Some(r.size_or("tokens_per_second", 4)? as f64) })
}

fn block(path: String, hidden: usize, intermediate: usize) -> VisionBlock {
    VisionBlock {
        attention_norm: parts::rms(&format!("{path}.norm1"), hidden, EPS),
        qkv: Qkv::Packed(parts::biased(&format!("{path}.attn.qkv"), &[3 * hidden, hidden])),
        window: true,
        projection: parts::biased(&format!("{path}.attn.proj"), &[hidden, hidden]),
        mlp_norm: parts::rms(&format!("{path}.norm2"), hidden, EPS),
        mlp: Mlp::Gated(GatedMlp {
            gate: parts::biased(&format!("{path}.mlp.gate_proj"), &[intermediate, hidden]),
            up: parts::biased(&format!("{path}.mlp.up_proj"), &[intermediate, hidden]),
            down: parts::biased(&format!("{path}.mlp.down_proj"), &[hidden, intermediate]),
            activation: Activation::Silu,
        }),
        path,
    }
}
