//! One decoder graph for prefill and decode; its ports are listed in [`rewardrt_models::package::names`].
//!
//! ```text
//! input_ids -> Gather(embedding) --------------+      quantized: GatherBlockQuantized(codes, scales)
//! feature_rows -> mask, Gather(features) ------+-> Where -> x
//! x -> layer 0 -> (+ deepstack.0 where mask) -> layer 1 -> ... -> Gather(logit_rows) -> norm -> head -> logits
//!
//! a head of scores, in the place of the head:  norm -> layer -> (act) -> layer -> ... -> scores
//! ```

use rewardrt_models::package::names;
use rewardrt_models::package::onnx::AttributeProto;
use rewardrt_models::package::{Activations, Dtype};
use rewardrt_models::spec::{DecoderLayer, DecoderSpec, DeltaNetSpec, Head, Mixer, ScoreHead, Weight};

use super::{Builder, Plan, Policy, fixed, named, scale_name};
use crate::weights::Store;

/// The shape `[b, s]` of the run.
pub(super) const TOKENS: &str = "shape.tokens";
/// The float 0.
pub(super) const ZERO: &str = "zero.float";

/// Which runs the attention takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Rows of different lengths, idle ones included: `query_seqlens` tells.
    Ragged,
    /// One new token in every row, or one row: what libraries before 1.32 take.
    Rectangular,
}

/// Where a mixer stands in the decoder, and how its weights are stored.
pub(super) struct Place<'a> {
    /// Number among the layers with mixers of this kind, which numbers its caches or states.
    pub(super) layer: usize,
    /// Path of its nodes.
    pub(super) path: &'a str,
    /// Form of its weights.
    pub(super) form: Store,
    /// Which runs it takes.
    pub(super) rows: Rows,
    /// Rotated part of a head.
    pub(super) rotary_dim: usize,
}

/// Where the rows of vision features go.
struct FeatureRows {
    mask: String,
    index: String,
    zero: String,
}

/// Compiles the decoder. Layers of a delta rule need ragged rows and 32-bit floats.
pub fn decoder(spec: &DecoderSpec, policy: Policy, rows: Rows) -> Plan {
    let mut b = Builder::new("decoder", policy);
    declare(&mut b, spec, rows);
    let (embedded, features) = embed(&mut b, spec);
    if let Some(first) = spec.delta_nets().next() {
        b.mark_columns(first.window());
    }
    let mut residual = embedded;
    let mut block = None;
    let (mut attentions, mut delta_nets) = (0, 0);
    for (i, layer) in spec.layers.iter().enumerate() {
        let counter = match layer.mixer {
            Mixer::Attention(_) => &mut attentions,
            Mixer::DeltaNet(_) => &mut delta_nets,
        };
        let place = Place {
            layer: *counter,
            path: &format!("{}.attention", layer.path),
            form: b.policy.layer(),
            rows,
            rotary_dim: spec.position.rotary_dim as usize,
        };
        *counter += 1;
        let (out, sum) = decoder_layer(&mut b, layer, &place, block.as_deref(), &residual);
        residual = sum;
        block = Some(if i < spec.deepstack { add_features(&mut b, &features, i, &out) } else { out });
    }
    head(&mut b, spec, block.as_deref(), &residual);
    b.finish()
}

/// Returns the MLP's result and the residual that it is still to be added to.
fn decoder_layer(
    b: &mut Builder,
    layer: &DecoderLayer,
    place: &Place<'_>,
    block: Option<&str>,
    residual: &str,
) -> (String, String) {
    let (x, residual) = match block {
        Some(block) => b.sum_and_norm(block, residual, &layer.input_norm),
        None => (b.norm(residual, &layer.input_norm), residual.to_owned()),
    };
    let mixed = match &layer.mixer {
        Mixer::Attention(spec) => b.attention(&x, spec, place),
        Mixer::DeltaNet(spec) => b.delta_net(&x, spec, place),
    };
    let (x, residual) = b.sum_and_norm(&mixed, &residual, &layer.mlp_norm);
    (b.gated_mlp(&x, &layer.mlp, place.form), residual)
}

fn declare(b: &mut Builder, spec: &DecoderSpec, runs: Rows) {
    let rows = || vec![named("b"), named("s")];
    b.input(names::INPUT_IDS, Dtype::I64, rows());
    b.input(names::FEATURE_ROWS, Dtype::I64, rows());
    b.input(names::FEATURES, Dtype::F32, vec![named("f"), fixed(spec.hidden)]);
    for k in 0..spec.deepstack {
        b.input(&names::deepstack(k), Dtype::F32, vec![named("f"), fixed(spec.hidden)]);
    }
    let angles = vec![named("t"), fixed(spec.position.rotary_dim as usize / 2)];
    b.input(names::ROTARY_COS, Dtype::F32, angles.clone());
    b.input(names::ROTARY_SIN, Dtype::F32, angles);
    b.input(names::ROTARY_ROWS, Dtype::I64, rows());
    b.input(names::SEQLENS_K, Dtype::I32, vec![named("b")]);
    b.input(names::TOTAL_SEQUENCE_LENGTH, Dtype::I32, vec![]);
    if runs == Rows::Ragged {
        b.input(names::QUERY_SEQLENS, Dtype::I32, vec![named("b")]);
    }
    if b.policy.activations != Activations::F32 {
        b.input(names::BATCH_SHAPE, Dtype::I64, vec![fixed(3)]);
    }
    b.input(names::LOGIT_ROWS, Dtype::I64, vec![named("n")]);
    match &spec.head {
        Head::Vocabulary(_) => b.output(names::LOGITS, Dtype::F32, vec![named("n"), fixed(spec.vocabulary)]),
        Head::Scores(head) => {
            b.output(names::SCORES, Dtype::F32, vec![named("n"), fixed(head.scores.width as usize)]);
        }
    }
    for (i, a) in spec.attention().enumerate() {
        let cache = || vec![named("b"), fixed(a.kv_heads), named("c"), fixed(a.head_dim)];
        let kept = b.policy.activations.dtype();
        b.input(&names::past_key(i), kept, cache());
        b.input(&names::past_value(i), kept, cache());
        b.output(&names::present_key(i), kept, cache());
        b.output(&names::present_value(i), kept, cache());
    }
    for (i, d) in spec.delta_nets().enumerate() {
        declare_states(b, d, i);
    }
}

fn declare_states(b: &mut Builder, d: &DeltaNetSpec, i: usize) {
    let window = || vec![named("b"), fixed(d.window()), fixed(d.channels())];
    let state = || vec![named("b"), fixed(d.value_heads), fixed(d.key_dim), fixed(d.value_dim)];
    b.input(&names::past_conv(i), Dtype::F32, window());
    b.input(&names::past_state(i), Dtype::F32, state());
    b.output(&names::present_conv(i), Dtype::F32, window());
    b.output(&names::present_state(i), Dtype::F32, state());
}

/// Token embeddings with the vision features put in place, as rows, and where those rows are.
fn embed(b: &mut Builder, spec: &DecoderSpec) -> (String, FeatureRows) {
    let rest = b.ints("shape.rest", &[1], &[-1]);
    if b.policy.activations == Activations::F32 {
        let shape = b.op("Shape", TOKENS, &[names::INPUT_IDS], vec![]);
        b.op("Concat", names::BATCH_SHAPE, &[&shape, &rest], vec![AttributeProto::int("axis", 0)]);
    }

    let form = b.policy.embedding(spec.hidden);
    let looked_up = b.look_up(&spec.embedding, form, names::INPUT_IDS);
    let text = b.rows("embedding.rows", &looked_up, spec.hidden);

    let flat = b.op("Reshape", "feature_rows.flat", &[names::FEATURE_ROWS, &rest], vec![]);
    let zero = b.ints("zero", &[], &[0]);
    let present = b.op("GreaterOrEqual", "feature_rows.present", &[&flat, &zero], vec![]);
    let axis = b.ints("axis.1", &[1], &[1]);
    let mask = b.op("Unsqueeze", "feature_rows.mask", &[&present, &axis], vec![]);
    let index = b.op("Max", "feature_rows.index", &[&flat, &zero], vec![]);
    let rows = FeatureRows { mask, index, zero: b.cast_float(ZERO, &zero) };
    let seen = b.gather(names::FEATURES, &rows.index, "features.rows");
    let seen = b.narrowed(&seen);
    let x = b.op("Where", "embedding.merged", &[&rows.mask, &seen, &text], vec![]);
    (x, rows)
}

/// Adds the extra features of layer `k` to the rows of pictures.
fn add_features(b: &mut Builder, rows: &FeatureRows, k: usize, x: &str) -> String {
    let name = names::deepstack(k);
    let seen = b.gather(&name, &rows.index, &format!("{name}.rows"));
    let seen = b.narrowed(&seen);
    let masked = b.op("Where", &format!("{name}.masked"), &[&rows.mask, &seen, &rows.zero], vec![]);
    b.op("Add", &format!("{name}.added"), &[x, &masked], vec![])
}

/// Only the rows that are asked for go through the last norm and the head.
fn head(b: &mut Builder, spec: &DecoderSpec, block: Option<&str>, residual: &str) {
    let residual = b.gather(residual, names::LOGIT_ROWS, "head.residual");
    let x = match block {
        Some(block) => {
            let block = b.gather(block, names::LOGIT_ROWS, "head.block");
            b.sum_and_norm(&block, &residual, &spec.norm).0
        }
        None => b.norm(&residual, &spec.norm),
    };
    let (out, name) = match &spec.head {
        Head::Vocabulary(head) => {
            let form = b.policy.head();
            (b.linear(&x, head, form), names::LOGITS)
        }
        Head::Scores(head) => (b.score_head(&x, head), names::SCORES),
    };
    b.widened(name, &out);
}

impl Builder {
    /// The layers of a head of scores on rows: the last of the graph, and in 32-bit floats whatever came before.
    fn score_head(&mut self, x: &str, head: &ScoreHead) -> String {
        let form = self.policy.scores();
        let x = if self.policy.activations == Activations::F32 {
            x.to_owned()
        } else {
            self.widened("head.input", x)
        };
        self.policy.activations = Activations::F32;
        head.layers.iter().fold(x, |x, (layer, activation)| {
            let x = self.linear(&x, layer, form);
            activation.map_or_else(|| x.clone(), |activation| self.activation(&x, activation))
        })
    }

    /// Rows of a table as the floats that the graph computes in.
    fn look_up(&mut self, table: &Weight, form: Store, rows: &str) -> String {
        let int = AttributeProto::int;
        if let Store::Int8 { block } = form {
            let (codes, scale) = (self.table(table, form), self.narrowed(&scale_name(&table.name)));
            let attributes = vec![
                int("bits", 8),
                int("block_size", block as i64),
                int("gather_axis", 0),
                int("quantize_axis", 1),
            ];
            return self.contrib("GatherBlockQuantized", "embedding", &[&codes, rows, &scale], attributes);
        }
        let stored = self.weight(table, form);
        let looked_up = self.op("Gather", "embedding", &[&stored, rows], vec![int("axis", 0)]);
        if self.computes_in(form) { looked_up } else { self.cast_float("embedding.float", &looked_up) }
    }

    fn gather(&mut self, table: &str, rows: &str, name: &str) -> String {
        self.op("Gather", name, &[table, rows], vec![AttributeProto::int("axis", 0)])
    }
}
