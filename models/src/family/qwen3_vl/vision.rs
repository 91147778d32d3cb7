//! The vision tower.

use serde_json::json;

use super::super::FamilyError;
use super::super::config::Reader;
use super::super::{common, parts};
use crate::spec::{Activation, Merger, Mlp, PatchPosition, Qkv, VisionBlock, VisionSpec, Weight};

const PREFIX: &str = "model.visual";
/// The tower's norms carry this constant in the reference code, not in the configuration.
const EPS: f32 = 1e-6;

/// The tower, with extra feature outputs behind each of `blocks`.
pub(in super::super) fn spec(r: &Reader, blocks: Vec<usize>) -> Result<VisionSpec, FamilyError> {
    r.only("hidden_act", &[json!("gelu_pytorch_tanh")])?;
    r.only("in_channels", &[json!(3)])?;
    let (hidden, heads) = (r.size("hidden_size")?, r.size("num_heads")?);
    if !hidden.is_multiple_of(4 * heads) {
        return Err(r.error("num_heads", "does not leave heads of a multiple of four"));
    }
    let (patch, frames) = (r.size_or("patch_size", 16)?, r.size_or("temporal_patch_size", 2)?);
    let (merge, output) = (r.size_or("spatial_merge_size", 2)?, r.size("out_hidden_size")?);
    let places = r.size("num_position_embeddings")?;
    let side = places.isqrt();
    if side * side != places {
        return Err(r.error("num_position_embeddings", "is not a square"));
    }
    let (depth, intermediate) = (r.size("depth")?, r.size("intermediate_size")?);
    let merged = hidden * merge * merge;
    let mut deepstack = Vec::new();
    for (i, block) in blocks.into_iter().enumerate() {
        if block >= depth || deepstack.iter().any(|(b, _)| *b >= block) {
            return Err(r.error("deepstack_visual_indexes", "are not ascending block numbers"));
        }
        let path = format!("{PREFIX}.deepstack_merger_list.{i}");
        deepstack.push((block, merger(path, merged, merged, output)));
    }
    Ok(VisionSpec {
        hidden,
        output,
        heads,
        head_dim: hidden / heads,
        patch_dim: 3 * frames * patch * patch,
        merge,
        patch_embedding: parts::biased(
            &format!("{PREFIX}.patch_embed.proj"),
            &[hidden, 3, frames, patch, patch],
        ),
        position: PatchPosition::Table {
            weight: Weight::new(format!("{PREFIX}.pos_embed.weight"), &[places, hidden]),
            side,
        },
        rotary_theta: Some(common::axial_theta(r)?),
        window: None,
        blocks: (0..depth).map(|i| block(i, hidden, intermediate)).collect(),
        merger: merger(format!("{PREFIX}.merger"), hidden, merged, output),
        deepstack,
        closing: None,
    })
}

fn block(i: usize, hidden: usize, intermediate: usize) -> VisionBlock {
    let path = format!("{PREFIX}.blocks.{i}");
    VisionBlock {
        attention_norm: parts::layer_norm(&format!("{path}.norm1"), hidden, EPS),
        qkv: Qkv::Packed(parts::biased(&format!("{path}.attn.qkv"), &[3 * hidden, hidden])),
        window: false,
        projection: parts::biased(&format!("{path}.attn.proj"), &[hidden, hidden]),
        mlp_norm: parts::layer_norm(&format!("{path}.norm2"), hidden, EPS),
        mlp: Mlp::Plain {
            up: parts::biased(&format!("{path}.mlp.linear_fc1"), &[intermediate, hidden]),
            down: parts::biased(&format!("{path}.mlp.linear_fc2"), &[hidden, intermediate]),
            activation: Activation::GeluTanh,
        },
        path,
    }
}

/// The norm sees each patch in the main merger (`norm_width` = hidden) and the merged row in the others.
fn merger(path: String, norm_width: usize, merged: usize, output: usize) -> Merger {
    Merger {
        norm: Some(parts::layer_norm(&format!("{path}.norm"), norm_width, EPS)),
        norm_after_merge: norm_width == merged,
        up: parts::biased(&format!("{path}.linear_fc1"), &[merged, merged]),
        down: parts::biased(&format!("{path}.linear_fc2"), &[output, merged]),
        activation: Activation::Gelu,
        path,
    }
}
