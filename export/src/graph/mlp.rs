//! Feed-forward blocks.
//!
//! ```text
//! gated:  x -> gate -> act -+-> Mul -> down        plain:  x -> up -> act -> down
//!           -> up ----------+
//! ```

use rewardrt_models::package::onnx::AttributeProto;
use rewardrt_models::spec::{Activation, GatedMlp, Linear, Mlp};

use super::Builder;
use crate::weights::Store;

impl Builder {
    /// A feed-forward block on rows.
    pub(crate) fn mlp(&mut self, x: &str, mlp: &Mlp, form: Store) -> String {
        match mlp {
            Mlp::Plain { up, down, activation } => self.plain_mlp(x, up, *activation, down, form),
            Mlp::Gated(gated) => self.gated_mlp(x, gated, form),
        }
    }

    /// `down(act(gate(x)) * up(x))` on rows.
    pub(crate) fn gated_mlp(&mut self, x: &str, mlp: &GatedMlp, form: Store) -> String {
        let gate = self.linear(x, &mlp.gate, form);
        let gate = self.activation(&gate, mlp.activation);
        let up = self.linear(x, &mlp.up, form);
        let product = self.op("Mul", &format!("{gate}/Mul"), &[&gate, &up], vec![]);
        self.linear(&product, &mlp.down, form)
    }

    /// `down(act(up(x)))` on rows.
    pub(crate) fn plain_mlp(
        &mut self,
        x: &str,
        up: &Linear,
        act: Activation,
        down: &Linear,
        form: Store,
    ) -> String {
        let x = self.linear(x, up, form);
        let x = self.activation(&x, act);
        self.linear(&x, down, form)
    }

    pub(super) fn activation(&mut self, x: &str, activation: Activation) -> String {
        let name = format!("{x}/Act");
        let gelu = |kind: &str| vec![AttributeProto::text("approximate", kind)];
        // x * sigmoid(alpha * x); with alpha = 1 it is SiLU, in one kernel.
        let alpha = |alpha: f32| vec![AttributeProto::float("alpha", alpha)];
        match activation {
            Activation::Silu => self.contrib("QuickGelu", &name, &[x], alpha(1.0)),
            Activation::QuickGelu => self.contrib("QuickGelu", &name, &[x], alpha(1.702)),
            Activation::Gelu => self.op("Gelu", &name, &[x], gelu("none")),
            Activation::GeluTanh => self.op("Gelu", &name, &[x], gelu("tanh")),
            Activation::Relu => self.op("Relu", &name, &[x], vec![]),
        }
    }
}
