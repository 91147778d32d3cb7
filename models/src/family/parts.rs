//! Pieces of a spec that several families name alike: layers and norms by the path of their tensors.

use crate::spec::{Activation, GatedMlp, Linear, Merger, Norm, Weight};

fn weight(path: &str, shape: &[usize]) -> Weight {
    Weight::new(format!("{path}.weight"), shape)
}

/// A layer without a bias.
pub(super) fn unbiased(path: &str, shape: &[usize]) -> Linear {
    Linear { weight: weight(path, shape), bias: None }
}

/// A layer with a bias.
pub(super) fn biased(path: &str, shape: &[usize]) -> Linear {
    Linear { weight: weight(path, shape), bias: Some(Weight::new(format!("{path}.bias"), &shape[..1])) }
}

/// A norm by mean and variance.
pub(super) fn layer_norm(path: &str, width: usize, eps: f32) -> Norm {
    let bias = Weight::new(format!("{path}.bias"), &[width]);
    Norm::Layer { weight: weight(path, &[width]), bias, eps }
}

/// A norm by the root mean square.
pub(super) fn rms(path: &str, width: usize, eps: f32) -> Norm {
    Norm::Rms { weight: weight(path, &[width]), eps, offset: 0.0 }
}

/// The feed-forward block of these families' decoders.
pub(super) fn decoder_mlp(path: &str, hidden: usize, intermediate: usize) -> GatedMlp {
    GatedMlp {
        gate: unbiased(&format!("{path}.gate_proj"), &[intermediate, hidden]),
        up: unbiased(&format!("{path}.up_proj"), &[intermediate, hidden]),
        down: unbiased(&format!("{path}.down_proj"), &[hidden, intermediate]),
        activation: Activation::Silu,
    }
}

/// The merger of the two older towers: each patch is normed, then `merged` values become `output`.
pub(super) fn merger(prefix: &str, norm: Norm, merged: usize, output: usize) -> Merger {
    let path = format!("{prefix}.merger");
    Merger {
        norm: Some(norm),
        norm_after_merge: false,
        up: biased(&format!("{path}.mlp.0"), &[merged, merged]),
        down: biased(&format!("{path}.mlp.2"), &[output, merged]),
        activation: Activation::Gelu,
        path,
    }
}
