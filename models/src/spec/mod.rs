//! What an architecture is made of: layers, norms, attention, rotary rules, vision tower, head. Data only.
//!
//! A family turns `config.json` into a [`ModelSpec`]; the exporter compiles any spec to ONNX without knowing the
//! family. Every weight is named here, so a missing or left-over tensor is found before a byte is written.

mod mixer;
pub mod position;
pub mod window;

pub use mixer::{AttentionSpec, DeltaNetSpec, Mixer};

use crate::package::{
    GenerationDefaults, ImageProcessing, PositionRule, Scores, SpecialTokens, VideoProcessing,
};

/// A whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Name of the family, as in the manifest.
    pub family: &'static str,
    /// The decoder.
    pub decoder: DecoderSpec,
    /// The vision tower, absent for a text-only model.
    pub vision: Option<VisionSpec>,
    /// Picture preprocessing, present with the tower.
    pub image: Option<ImageProcessing>,
    /// Video preprocessing, where the checkpoint says how.
    pub video: Option<VideoProcessing>,
    /// Special tokens.
    pub tokens: SpecialTokens,
    /// What the generation config asks for.
    pub generation: GenerationDefaults,
    /// The chat template, when the checkpoint's own cannot place pictures.
    pub chat_template: Option<&'static str>,
    /// What the chat template is told of `enable_thinking`; `None` leaves it undefined there.
    pub thinking: Option<bool>,
    /// Pack used when the caller names none.
    pub default_pack: &'static str,
    /// Tensors that may stand in the checkpoint and are not used, with the reason in the family's code.
    pub ignored: Vec<String>,
}

/// A weight tensor by its name and shape in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// Name in the checkpoint.
    pub name: String,
    /// Shape in the checkpoint.
    pub shape: Vec<usize>,
}

impl Weight {
    /// A weight.
    pub fn new(name: impl Into<String>, shape: &[usize]) -> Weight {
        Weight { name: name.into(), shape: shape.to_vec() }
    }
}

/// `y = x W^T + b`, the weight stored `[outputs, inputs]` (trailing dimensions of a patch convolution flattened).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// `[outputs, inputs..]`.
    pub weight: Weight,
    /// `[outputs]`.
    pub bias: Option<Weight>,
}

impl Linear {
    /// Width of the result.
    pub fn outputs(&self) -> usize {
        self.weight.shape[0]
    }

    /// Width of the operand.
    pub fn inputs(&self) -> usize {
        self.weight.shape[1..].iter().product()
    }
}

/// A normalisation over the last dimension.
#[derive(Debug, Clone, PartialEq)]
pub enum Norm {
    /// Root mean square, scaled by `offset + weight`.
    Rms {
        /// `[width]`.
        weight: Weight,
        /// Added to the mean square.
        eps: f32,
        /// Added to the weight: 0, or 1 where weights are stored as the distance from one.
        offset: f32,
    },
    /// Mean and variance, scaled and shifted.
    Layer {
        /// `[width]`.
        weight: Weight,
        /// `[width]`.
        bias: Weight,
        /// Added to the variance.
        eps: f32,
    },
}

/// Activation functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The error-function form.
    Gelu,
    /// The tanh approximation.
    GeluTanh,
    /// `x * sigmoid(1.702 * x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
}

/// The decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderSpec {
    /// Hidden size.
    pub hidden: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Longest sequence configured, tokens.
    pub max_positions: usize,
    /// `[vocabulary, hidden]`.
    pub embedding: Weight,
    /// Layers in order.
    pub layers: Vec<DecoderLayer>,
    /// Norm before the head.
    pub norm: Norm,
    /// What the last hidden states go through.
    pub head: Head,
    /// Rotary rule of all layers.
    pub position: PositionRule,
    /// Extra vision features are added to picture rows after each of the first `deepstack` layers.
    pub deepstack: usize,
}

/// What a decoder ends in.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// A logit for each token `[vocabulary, hidden]`; the same tensor as the embedding when the two are tied.
    Vocabulary(Linear),
    /// A few numbers for each asked token.
    Scores(ScoreHead),
}

/// A linear layer or a small MLP to scores.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreHead {
    /// Layers in order, each with what follows it.
    pub layers: Vec<(Linear, Option<Activation>)>,
    /// Where the head is read, and what its outputs are called.
    pub scores: Scores,
}

/// One decoder layer: norm, mixer, residual; norm, MLP, residual.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderLayer {
    /// Path prefix, used for node names.
    pub path: String,
    /// Norm before the mixer.
    pub input_norm: Norm,
    /// What lets a token see the tokens before it.
    pub mixer: Mixer,
    /// Norm before the MLP.
    pub mlp_norm: Norm,
    /// The MLP.
    pub mlp: GatedMlp,
}

/// `down(act(gate(x)) * up(x))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatedMlp {
    /// Gate.
    pub gate: Linear,
    /// Up.
    pub up: Linear,
    /// Down.
    pub down: Linear,
    /// Activation of the gate.
    pub activation: Activation,
}

/// A feed-forward block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mlp {
    /// `down(act(up(x)))`.
    Plain {
        /// Up.
        up: Linear,
        /// Down.
        down: Linear,
        /// Activation between them.
        activation: Activation,
    },
    /// With a gate beside the up layer.
    Gated(GatedMlp),
}

/// Where the queries, keys and values of a vision block come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qkv {
    /// One layer `[3 * hidden, hidden]`: queries, keys, values.
    Packed(Linear),
    /// A layer `[hidden, hidden]` for each.
    Separate {
        /// Queries.
        q: Linear,
        /// Keys.
        k: Linear,
        /// Values.
        v: Linear,
    },
}

impl Qkv {
    /// The layers, in the order of queries, keys and values.
    pub fn layers(&self) -> Vec<&Linear> {
        match self {
            Qkv::Packed(qkv) => vec![qkv],
            Qkv::Separate { q, k, v } => vec![q, k, v],
        }
    }
}

/// What is added to the embedded patches to tell where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchPosition {
    /// A learned table `[side * side, hidden]`, resampled to each picture's grid.
    Table {
        /// The table.
        weight: Weight,
        /// Its rows and columns.
        side: usize,
    },
    /// A row `[patches, hidden]` for each patch of the one grid that the tower knows.
    Fixed(Weight),
    /// Nothing: the rotation tells it.
    None,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionSpec {
    /// Width of the tower.
    pub hidden: usize,
    /// Width of a feature row.
    pub output: usize,
    /// Attention heads.
    pub heads: usize,
    /// Size of a head.
    pub head_dim: usize,
    /// Values of a flattened patch.
    pub patch_dim: usize,
    /// Patches a side that merge into one feature row.
    pub merge: usize,
    /// Patches to width: a convolution whose stride is its kernel, hence a linear layer.
    pub patch_embedding: Linear,
    /// What is added to the embedded patches.
    pub position: PatchPosition,
    /// Base of the axial rotary angles of queries and keys; `None` when nothing is rotated.
    pub rotary_theta: Option<f64>,
    /// Side of an attention window in merged tokens, for the blocks that look no further.
    pub window: Option<usize>,
    /// Blocks in order.
    pub blocks: Vec<VisionBlock>,
    /// Merger of the last block's output.
    pub merger: Merger,
    /// Mergers of earlier blocks: after block `.0`.
    pub deepstack: Vec<(usize, Merger)>,
    /// `[output]`: one more feature row behind those of each grid, the same for all.
    pub closing: Option<Weight>,
}

/// One block: norm, attention, residual; norm, MLP, residual.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionBlock {
    /// Path prefix, used for node names.
    pub path: String,
    /// Norm before attention.
    pub attention_norm: Norm,
    /// Queries, keys and values.
    pub qkv: Qkv,
    /// Whether a patch attends to its window of [`VisionSpec::window`] (true) or to its whole grid (false).
    pub window: bool,
    /// Output projection.
    pub projection: Linear,
    /// Norm before the MLP.
    pub mlp_norm: Norm,
    /// The MLP.
    pub mlp: Mlp,
}

/// Merges `merge * merge` neighbouring patches into a feature row.
#[derive(Debug, Clone, PartialEq)]
pub struct Merger {
    /// Path prefix, used for node names.
    pub path: String,
    /// The norm, where there is one.
    pub norm: Option<Norm>,
    /// Whether the norm sees the merged row (true) or each patch (false).
    pub norm_after_merge: bool,
    /// First layer.
    pub up: Linear,
    /// Second layer.
    pub down: Linear,
    /// Activation between them.
    pub activation: Activation,
}

impl ModelSpec {
    /// Every weight of the model, a tied one once, in the order of the graphs.
    pub fn weights(&self) -> Vec<&Weight> {
        let mut out = Vec::new();
        if let Some(vision) = &self.vision {
            vision.collect(&mut out);
        }
        self.decoder.collect(&mut out);
        let mut seen = std::collections::BTreeSet::new();
        out.retain(|w| seen.insert(w.name.as_str()));
        out
    }
}

impl DecoderSpec {
    /// Whether the head is the embedding table.
    pub fn tied(&self) -> bool {
        matches!(&self.head, Head::Vocabulary(head) if head.weight.name == self.embedding.name)
    }

    /// The layers that attend, in order: each has a key and a value cache.
    pub fn attention(&self) -> impl Iterator<Item = &AttentionSpec> {
        self.layers.iter().filter_map(|layer| match &layer.mixer {
            Mixer::Attention(spec) => Some(spec),
            Mixer::DeltaNet(_) => None,
        })
    }

    /// The layers with a state of fixed size, in order.
    pub fn delta_nets(&self) -> impl Iterator<Item = &DeltaNetSpec> {
        self.layers.iter().filter_map(|layer| match &layer.mixer {
            Mixer::Attention(_) => None,
            Mixer::DeltaNet(spec) => Some(spec),
        })
    }

    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        out.push(&self.embedding);
        for layer in &self.layers {
            layer.input_norm.collect(out);
            layer.mixer.collect(out);
            layer.mlp.collect(out);
            layer.mlp_norm.collect(out);
        }
        self.norm.collect(out);
        match &self.head {
            Head::Vocabulary(head) => head.collect(out),
            Head::Scores(head) => head.layers.iter().for_each(|(layer, _)| layer.collect(out)),
        }
    }
}

impl VisionSpec {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        self.patch_embedding.collect(out);
        match &self.position {
            PatchPosition::Table { weight, .. } | PatchPosition::Fixed(weight) => out.push(weight),
            PatchPosition::None => {}
        }
        for block in &self.blocks {
            block.collect(out);
        }
        for merger in self.deepstack.iter().map(|(_, m)| m).chain([&self.merger]) {
            merger.norm.iter().for_each(|norm| norm.collect(out));
            merger.up.collect(out);
            merger.down.collect(out);
        }
        out.extend(&self.closing);
    }
}

impl VisionBlock {
    /// Every weight of the block.
    pub fn weights(&self) -> Vec<&Weight> {
        let mut out = Vec::new();
        self.collect(&mut out);
        out
    }

    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        self.attention_norm.collect(out);
        self.mlp_norm.collect(out);
        for linear in self.qkv.layers().into_iter().chain([&self.projection]) {
            linear.collect(out);
        }
        match &self.mlp {
            Mlp::Plain { up, down, .. } => [up, down].iter().for_each(|linear| linear.collect(out)),
            Mlp::Gated(mlp) => mlp.collect(out),
        }
    }
}

impl GatedMlp {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        for linear in [&self.gate, &self.up, &self.down] {
            linear.collect(out);
        }
    }
}

impl Linear {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        out.push(&self.weight);
        out.extend(self.bias.as_ref());
    }
}

impl Norm {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Weight>) {
        match self {
            Norm::Rms { weight, .. } => out.push(weight),
            Norm::Layer { weight, bias, .. } => out.extend([weight, bias]),
        }
    }
}
