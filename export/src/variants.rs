//! Which graphs a package holds for each component, all over the same weights.
//!
//! | component | computes in | rows | from | for |
//! |---|---|---|---|---|
//! | decoder | f32 | ragged | 1.32.0 | the processor |
//! | decoder | f32 | rectangular | 1.24.0 | the processor, with an older library |
//! | decoder | 16 bits | ragged, rectangular | as above | cards |
//! | vision | f32 | | 1.24.0 | the processor |
//! | vision | 16 bits | | 1.24.0 | cards |
//!
//! Decoders with layers of a delta rule have the first only: those layers need to know each row's own length, and keep
//! their states in 32 bits. Whether there are graphs for cards is [`Policy::card`]'s to say.

use rewardrt_models::package::{Activations, Graph, Precision};
use rewardrt_models::spec::ModelSpec;

use crate::checkpoint::{Checkpoint, Dtype};
use crate::graph::{self, Plan, Policy, Rows, Wanted};

/// The first ONNX Runtime whose attention takes ragged chunks over a batch of slots (`query_seqlens`).
const RAGGED: &str = "1.32.0";
/// The oldest ONNX Runtime that the runtime's binding reads.
const RECTANGULAR: &str = "1.24.0";

/// A component's graph for the processor and the newest library, and its others.
pub(crate) struct Component<T> {
    /// Always there.
    pub(crate) first: T,
    /// For other providers and libraries.
    pub(crate) others: Vec<T>,
}

/// A graph to be written.
pub(crate) struct Variant {
    /// Name of its file.
    pub(crate) file: String,
    /// What it computes in.
    pub(crate) activations: Activations,
    /// From which version on it runs.
    pub(crate) onnxruntime: &'static str,
    /// The graph.
    pub(crate) plan: Plan,
}

impl<T> Component<T> {
    /// All of them, the first one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The same of something else.
    pub(crate) fn try_map<U, E>(self, mut map: impl FnMut(T) -> Result<U, E>) -> Result<Component<U>, E> {
        let first = map(self.first)?;
        Ok(Component { first, others: self.others.into_iter().map(map).collect::<Result<_, _>>()? })
    }
}

impl Component<Variant> {
    /// Every weight that one of the graphs wants, once.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let mut all = self.first.plan.wanted.clone();
        for wanted in self.others.iter().flat_map(|variant| &variant.plan.wanted) {
            if !all.contains(wanted) {
                all.push(wanted.clone());
            }
        }
        all
    }
}

impl Component<Graph> {
    /// The lowest version that runs one of the graphs.
    pub(crate) fn lowest(&self) -> &'static str {
        let old = self.iter().any(|graph| graph.onnxruntime.as_deref() == Some(RECTANGULAR));
        if old { RECTANGULAR } else { RAGGED }
    }
}

/// The graphs of the vision tower, when there is one.
pub(crate) fn vision(
    checkpoint: &Checkpoint,
    spec: &ModelSpec,
    precision: Precision,
) -> Option<Component<Variant>> {
    let tower = spec.vision.as_ref()?;
    let variant = |activations| {
        let plan = graph::vision(tower, Policy { precision, activations });
        Variant { file: file("vision", activations, ""), activations, onnxruntime: RECTANGULAR, plan }
    };
    let others = card(checkpoint, spec, precision).map(variant).into_iter().collect();
    Some(Component { first: variant(Activations::F32), others })
}

/// The graphs of the decoder.
pub(crate) fn decoder(checkpoint: &Checkpoint, spec: &ModelSpec, precision: Precision) -> Component<Variant> {
    let variant = |activations, rows| {
        let plan = graph::decoder(&spec.decoder, Policy { precision, activations }, rows);
        let (kind, onnxruntime) = match rows {
            Rows::Ragged => ("", RAGGED),
            Rows::Rectangular => (".rectangular", RECTANGULAR),
        };
        Variant { file: file("decoder", activations, kind), activations, onnxruntime, plan }
    };
    let first = variant(Activations::F32, Rows::Ragged);
    let mut others = Vec::new();
    if !has_states(spec) {
        others.push(variant(Activations::F32, Rows::Rectangular));
        if let Some(card) = card(checkpoint, spec, precision) {
            others.extend([variant(card, Rows::Ragged), variant(card, Rows::Rectangular)]);
        }
    }
    Component { first, others }
}

fn has_states(spec: &ModelSpec) -> bool {
    spec.decoder.delta_nets().next().is_some()
}

/// What a card computes in. The kind of the checkpoint's halves is that of its embedding.
fn card(checkpoint: &Checkpoint, spec: &ModelSpec, precision: Precision) -> Option<Activations> {
    let embedding = checkpoint.tensor(&spec.decoder.embedding.name);
    let halves = match embedding.map(|tensor| tensor.dtype) {
        Some(Dtype::F16) => Some(Activations::F16),
        Some(Dtype::Bf16) => Some(Activations::Bf16),
        Some(Dtype::F32) | None => None,
    };
    Policy::card(precision, halves).filter(|_| !has_states(spec))
}

fn file(component: &str, activations: Activations, kind: &str) -> String {
    let floats = match activations {
        Activations::F32 => "",
        Activations::F16 => ".f16",
        Activations::Bf16 => ".bf16",
    };
    format!("{component}{floats}{kind}.onnx")
}
