//! How a token sees the tokens before it: attention over a cache, or a state of fixed size.

use super::{Linear, Norm, Weight};

/// What lets a token see the tokens before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Mixer {
    /// Attention over cached keys and values.
    Attention(AttentionSpec),
    /// A gated delta rule over a state of fixed size.
    DeltaNet(DeltaNetSpec),
}

impl Mixer {
    pub(super) fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        match self {
            Mixer::Attention(spec) => spec.collect(out),
            Mixer::DeltaNet(spec) => spec.collect(out),
        }
    }
}

/// Grouped-query attention with rotary positions.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Size of a head.
    pub head_dim: usize,
    /// Queries; with a gate, for each head a query and then its gate: `[heads * 2 * head_dim, hidden]`.
    pub q: Linear,
    /// Keys.
    pub k: Linear,
    /// Values.
    pub v: Linear,
    /// Output projection.
    pub o: Linear,
    /// Norm of each query head before the rotation.
    pub q_norm: Option<Norm>,
    /// Norm of each key head before the rotation.
    pub k_norm: Option<Norm>,
    /// Whether the attended values are multiplied by the sigmoid of a gate before the output projection.
    pub gate: bool,
}

/// A linear mixer with a state `S` of `[key_dim, value_dim]` a value head (the gated delta rule, arXiv 2412.06464):
///
/// ```text
/// qkv(x) -> causal convolution over each channel -> silu -> q, k, v
/// g = -exp(a_log) * softplus(a(x) + dt_bias)         beta = sigmoid(b(x))
/// S = exp(g) S + k (beta (v - exp(g) S^T k))^T       o = S^T q / sqrt(key_dim)
/// result = out(norm(o) * silu(z(x)))
/// ```
/// Queries and keys are scaled to length one. Each of them serves `value_heads / key_heads` neighbouring value heads.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaNetSpec {
    /// Query heads, and key heads.
    pub key_heads: usize,
    /// Value heads, a multiple of the key heads.
    pub value_heads: usize,
    /// Size of a query or key.
    pub key_dim: usize,
    /// Size of a value.
    pub value_dim: usize,
    /// Added to the squared length of queries and keys.
    pub length_eps: f32,
    /// Queries, keys and values one after the other.
    pub qkv: Linear,
    /// Gate of the output, `[value_heads * value_dim, hidden]`.
    pub z: Linear,
    /// Decay of the state, `[value_heads, hidden]`.
    pub a: Linear,
    /// Strength of the update, `[value_heads, hidden]`.
    pub b: Linear,
    /// Convolution kernels `[channels, 1, width]`, the last tap on the present token.
    pub conv: Weight,
    /// `[value_heads]`.
    pub a_log: Weight,
    /// `[value_heads]`.
    pub dt_bias: Weight,
    /// Norm of each value head, before the gate.
    pub norm: Norm,
    /// Output projection.
    pub out: Linear,
}

impl DeltaNetSpec {
    /// Channels of the convolution: all queries, keys and values.
    pub fn channels(&self) -> usize {
        2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim
    }

    /// Earlier tokens that the convolution sees.
    pub fn window(&self) -> usize {
        self.conv.shape.last().map_or(0, |taps| taps - 1)
    }

    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        for linear in [&self.qkv, &self.z, &self.a, &self.b, &self.out] {
            linear.collect(out);
        }
        out.extend([&self.conv, &self.a_log, &self.dt_bias]);
        self.norm.collect(out);
    }
}

impl AttentionSpec {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        for linear in [&self.q, &self.k, &self.v, &self.o] {
            linear.collect(out);
        }
        for norm in [&self.q_norm, &self.k_norm].into_iter().flatten() {
            norm.collect(out);
        }
    }
}
