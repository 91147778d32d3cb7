//! The vision tower and the projector behind it.

use serde_json::{Value, json};

use super::super::config::Reader;
use super::super::{FamilyError, parts};
use super::names::Names;
use crate::spec::{Activation, Linear, Merger, Mlp, PatchPosition, Qkv, VisionBlock, VisionSpec, Weight};

/// Sizes of a tower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tower {
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    /// Side of the picture it takes, pixels.
    pub(super) image: usize,
    pub(super) patch: usize,
    pub(super) eps: f32,
}

/// What is published of `google/siglip-so400m-patch14-384`.
pub(super) const SO400M: Tower =
    Tower { hidden: 1152, intermediate: 4304, heads: 16, layers: 27, image: 384, patch: 14, eps: 1e-6 };

impl Tower {
    /// Reads a tower's configuration.
    pub(super) fn read(r: &Reader) -> Result<Tower, FamilyError> {
        r.only("model_type", &[json!("siglip_vision_model")])?;
        r.only("hidden_act", &[json!("gelu_pytorch_tanh")])?;
        r.only("num_channels", &[json!(3)])?;
        // Dropout acts in training only; the pooling head is not looked at, and neither is what sizes its output.
        r.ignore(&["attention_dropout", "vision_use_head", "projection_dim"]);
        let tower = Tower {
            hidden: r.size("hidden_size")?,
            intermediate: r.size("intermediate_size")?,
            heads: r.size("num_attention_heads")?,
            layers: r.size("num_hidden_layers")?,
            image: r.size("image_size")?,
            patch: r.size("patch_size")?,
            eps: r.number_or("layer_norm_eps", 1e-6)? as f32,
        };
        if !tower.hidden.is_multiple_of(tower.heads) {
            return Err(r.error("num_attention_heads", "does not divide hidden_size"));
        }
        if tower.patch > tower.image {
            return Err(r.error("patch_size", "is over image_size"));
        }
        Ok(tower)
    }

    /// Patches a side.
    pub(super) fn side(&self) -> usize {
        self.image / self.patch
    }

    /// How many layers lie before the selected one, itself included: `-1` is the last.
    pub(super) fn selected(&self, value: Option<&Value>) -> Option<usize> {
        let layer = value.and_then(Value::as_i64)?;
        let seen = usize::try_from(self.layers as i64 + 1 + layer).ok()?;
        (layer < 0 && seen > 0).then_some(seen)
    }

    /// The tower's first `seen` layers and a projector to rows of `output` values.
    pub(super) fn spec(&self, names: &Names, seen: usize, output: usize, bias: bool) -> VisionSpec {
        let (tower, hidden, patch) = (&names.tower, self.hidden, self.patch);
        let [up, down] = names.projector.each_ref();
        let projector = |path: &str, inputs: usize| Linear {
            bias: bias.then(|| Weight::new(format!("{path}.bias"), &[output])),
            ..parts::biased(path, &[output, inputs])
        };
        VisionSpec {
            hidden,
            output,
            heads: self.heads,
            head_dim: hidden / self.heads,
            patch_dim: 3 * patch * patch,
            merge: 1,
            patch_embedding: parts::biased(
                &format!("{tower}.embeddings.patch_embedding"),
                &[hidden, 3, patch, patch],
            ),
            position: PatchPosition::Fixed(Weight::new(
                format!("{tower}.embeddings.position_embedding.weight"),
                &[self.side() * self.side(), hidden],
            )),
            rotary_theta: None,
            window: None,
            blocks: (0..seen).map(|i| self.block(format!("{tower}.encoder.layers.{i}"))).collect(),
            merger: Merger {
                path: names.projector_path.to_owned(),
                norm: None,
                norm_after_merge: false,
                up: projector(up, hidden),
                down: projector(down, output),
                activation: Activation::Gelu,
            },
            deepstack: Vec::new(),
            closing: Some(Weight::new(names.newline, &[output])),
        }
    }

    fn block(&self, path: String) -> VisionBlock {
        let hidden = self.hidden;
        let square = |name: &str| parts::biased(&format!("{path}.self_attn.{name}"), &[hidden, hidden]);
        let norm = |name: &str| parts::layer_norm(&format!("{path}.{name}"), hidden, self.eps);
        VisionBlock {
            attention_norm: norm("layer_norm1"),
            qkv: Qkv::Separate { q: square("q_proj"), k: square("k_proj"), v: square("v_proj") },
            window: false,
            projection: square("out_proj"),
            mlp_norm: norm("layer_norm2"),
            mlp: Mlp::Plain {
                up: parts::biased(&format!("{path}.mlp.fc1"), &[self.intermediate, hidden]),
                down: parts::biased(&format!("{path}.mlp.fc2"), &[hidden, self.intermediate]),
                activation: Activation::GeluTanh,
            },
            path,
        }
    }

    /// Tensors of a tower that lie behind the selected layer: its other layers, its last norm, its pooling head.
    pub(super) fn behind(&self, names: &Names, seen: usize) -> Vec<String> {
        let tower = &names.tower;
        let mut weights = Vec::new();
        let rest = (seen..self.layers).map(|i| self.block(format!("{tower}.encoder.layers.{i}")));
        rest.for_each(|block| weights.extend(block.weights().into_iter().map(|w| w.name.clone())));
        let norms =
            ["post_layernorm", "head.layernorm", "head.attention.out_proj", "head.mlp.fc1", "head.mlp.fc2"];
        weights
            .extend(norms.iter().flat_map(|n| ["weight", "bias"].map(|part| format!("{tower}.{n}.{part}"))));
        let others = ["probe", "attention.in_proj_weight", "attention.in_proj_bias"];
        weights.extend(others.map(|name| format!("{tower}.head.{name}")));
        weights
    }
}
