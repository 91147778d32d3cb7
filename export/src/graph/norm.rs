//! Normalisation over the last dimension, alone or with the residual sum before it.
//!
//! ```text
//! rms:         x, g -> SimplifiedLayerNormalization
//! layer:       x, g, b -> LayerNormalization
//! sum and rms: x, residual, g -> SkipSimplifiedLayerNormalization -> normed, x + residual
//! gated rms:   x, g, z -> GatedRMSNorm -> normed * silu(z)
//! ```
//! A scale that is stored as the distance from one gets its one by an Add, which is folded when the graph is loaded.

use rewardrt_models::package::onnx::{AttributeProto, CONTRIB};
use rewardrt_models::spec::{Activation, Norm, Weight};

use super::Builder;
use crate::weights::Store;

impl Builder {
    /// A norm of rows, or of anything whose last dimension is the norm's width.
    pub(crate) fn norm(&mut self, x: &str, norm: &Norm) -> String {
        let axis = AttributeProto::int("axis", -1);
        match norm {
            Norm::Rms { weight, eps, offset } => {
                let (name, g) = self.scale(weight, *offset);
                let attributes = vec![axis, AttributeProto::float("epsilon", *eps)];
                self.op("SimplifiedLayerNormalization", &name, &[x, &g], attributes)
            }
            Norm::Layer { weight, bias, eps } => {
                let (name, g) = self.scale(weight, 0.0);
                let b = self.float_weight(bias, Store::F32);
                let attributes = vec![axis, AttributeProto::float("epsilon", *eps)];
                self.op("LayerNormalization", &name, &[x, &g, &b], attributes)
            }
        }
    }

    /// The sum of a block's result and the residual, and its norm: `(normed, sum)`.
    pub(crate) fn sum_and_norm(&mut self, x: &str, residual: &str, norm: &Norm) -> (String, String) {
        let (weight, eps, offset) = match norm {
            Norm::Rms { weight, eps, offset } => (weight, eps, *offset),
            Norm::Layer { weight, .. } => {
                let sum = self.op("Add", &format!("{}.sum", weight.name), &[x, residual], vec![]);
                return (self.norm(&sum, norm), sum);
            }
        };
        let (name, g) = self.scale(weight, offset);
        let sum = format!("{name}.sum");
        self.node(
            CONTRIB,
            "SkipSimplifiedLayerNormalization",
            &name,
            &[x, residual, &g],
            &[&name, "", "", &sum],
            vec![AttributeProto::float("epsilon", *eps)],
        );
        (name, sum)
    }

    /// The norm of each head of `x` `[tokens, heads * width]`, times the silu of the gate `z` of the same shape.
    pub(crate) fn gated_norm(&mut self, x: &str, z: &str, norm: &Norm) -> String {
        match norm {
            Norm::Rms { weight, eps, offset } => {
                let (name, g) = self.scale(weight, *offset);
                let attributes =
                    vec![AttributeProto::text("activation", "silu"), AttributeProto::float("epsilon", *eps)];
                self.contrib("GatedRMSNorm", &name, &[x, &g, z], attributes)
            }
            Norm::Layer { weight, .. } => {
                let normed = self.norm(x, norm);
                let gate = self.activation(z, Activation::Silu);
                self.op("Mul", &format!("{}.gated", weight.name), &[&normed, &gate], vec![])
            }
        }
    }

    fn scale(&mut self, weight: &Weight, offset: f32) -> (String, String) {
        let name = format!("{}/Norm", weight.name.trim_end_matches(".weight"));
        if offset == 0.0 {
            return (name, self.float_weight(weight, Store::F32));
        }
        let g = self.weight(weight, Store::F32);
        let constant = self.floats(&format!("offset.{offset}"), &[1], &[offset]);
        let g = self.op("Add", &format!("{g}.scale"), &[&g, &constant], vec![]);
        (name, self.narrowed(&g))
    }
}
