//! Normalisation over the last dimension, alone or with the residual sum before it.
//!
//! ```text
//! rms:         x, g -> SimplifiedLayerNormalization
//! layer:       x, g, b -> LayerNormalization
//! sum and rms: x, residual, g -> SkipSimplifiedLayerNormalization -> normed, x + residual
//! ```

use rewardrt_models::package::onnx::{AttributeProto, CONTRIB};
use rewardrt_models::spec::{Norm, Weight};

use super::Builder;
use crate::weights::Store;

impl Builder {
    /// A norm of rows, or of anything whose last dimension is the norm's width.
    pub(crate) fn norm(&mut self, x: &str, norm: &Norm) -> String {
        let axis = AttributeProto::int("axis", -1);
        match norm {
            Norm::Rms { weight, eps } => {
                let (name, g) = self.scale(weight);
                let attributes = vec![axis, AttributeProto::float("epsilon", *eps)];
                self.op("SimplifiedLayerNormalization", &name, &[x, &g], attributes)
            }
            Norm::Layer { weight, bias, eps } => {
                let (name, g) = self.scale(weight);
                let b = self.weight(bias, Store::F32);
                let attributes = vec![axis, AttributeProto::float("epsilon", *eps)];
                self.op("LayerNormalization", &name, &[x, &g, &b], attributes)
            }
        }
    }

    /// The sum of a block's result and the residual, and its norm: `(normed, sum)`.
    pub(crate) fn sum_and_norm(&mut self, x: &str, residual: &str, norm: &Norm) -> (String, String) {
        let (weight, eps) = match norm {
            Norm::Rms { weight, eps } => (weight, eps),
            Norm::Layer { weight, .. } => {
                let sum = self.op("Add", &format!("{}.sum", weight.name), &[x, residual], vec![]);
                return (self.norm(&sum, norm), sum);
            }
        };
        let (name, g) = self.scale(weight);
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

    fn scale(&mut self, weight: &Weight) -> (String, String) {
        let g = self.weight(weight, Store::F32);
        (format!("{}/Norm", weight.name.trim_end_matches(".weight")), g)
    }
}
