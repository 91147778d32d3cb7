//! The vision graph; its ports are listed in [`rewardrt_models::package::names`].
//!
//! ```text
//! patches -> embed (-> + positions, or Sum(Gather(table, position_index) * position_weight)) -> x
//! x -> block 0 -> ... -> block n -> merger (-> | closing row) -> features
//!        |  (after chosen blocks)
//!        +-> merger k -> deepstack.k
//! block:  norm -> qkv -> Split (-> rotate q, k) -> attention -> projection -> + -> norm -> MLP -> +
//! ```
//! Attention runs over one grid a batch row, or over one window of it ([`super::window`]): grids of one size share a
//! run, and never see each other.

use rewardrt_models::package::names;
use rewardrt_models::package::onnx::AttributeProto;
use rewardrt_models::package::{Activations, Dtype};
use rewardrt_models::spec::{Merger, PatchPosition, Qkv, VisionBlock, VisionSpec, Weight};

use super::{Builder, Plan, Policy, fixed, named};
use crate::weights::Store;

/// The shape `[b, p, -1]`.
const BATCHED: &str = "shape.batched";
const ROWS: &str = "rotary_rows";
/// Features before the closing row.
const UNCLOSED: &str = "features.unclosed";

/// Compiles the vision tower.
pub fn vision(spec: &VisionSpec, policy: Policy) -> Plan {
    let mut b = Builder::new("vision", policy);
    declare(&mut b, spec);
    let mut x = embed(&mut b, spec);
    for (i, block) in spec.blocks.iter().enumerate() {
        x = vision_block(&mut b, spec, block, &x);
        for (k, (_, merger)) in spec.deepstack.iter().enumerate().filter(|(_, (after, _))| *after == i) {
            merge(&mut b, spec, merger, &x, &names::deepstack(k));
        }
    }
    match &spec.closing {
        None => merge(&mut b, spec, &spec.merger, &x, names::FEATURES),
        Some(row) => {
            merge(&mut b, spec, &spec.merger, &x, UNCLOSED);
            close(&mut b, spec, row);
        }
    }
    b.finish()
}

fn declare(b: &mut Builder, spec: &VisionSpec) {
    let patches = match &spec.position {
        PatchPosition::Fixed(weight) => fixed(weight.shape[0]),
        PatchPosition::Table { .. } | PatchPosition::None => named("p"),
    };
    b.input(names::PATCHES, Dtype::F32, vec![named("b"), patches, fixed(spec.patch_dim)]);
    if let PatchPosition::Table { .. } = spec.position {
        b.input(names::POSITION_INDEX, Dtype::I64, vec![named("p"), fixed(4)]);
        b.input(names::POSITION_WEIGHT, Dtype::F32, vec![named("p"), fixed(4)]);
    }
    if spec.rotary_theta.is_some() {
        for angles in [names::ROTARY_COS, names::ROTARY_SIN] {
            b.input(angles, Dtype::F32, vec![named("p"), fixed(spec.head_dim / 2)]);
        }
    }
    if spec.window.is_some() {
        b.declare_windows();
    }
    let features = || vec![named("b"), named("m"), fixed(spec.output)];
    b.output(names::FEATURES, Dtype::F32, features());
    for k in 0..spec.deepstack.len() {
        b.output(&names::deepstack(k), Dtype::F32, features());
    }
}

/// Patches and their positions, as rows; keeps what the blocks reshape and rotate by.
fn embed(b: &mut Builder, spec: &VisionSpec) -> String {
    let int = AttributeProto::int;
    let shape = b.op("Shape", "shape.grid", &[names::PATCHES], vec![int("start", 0), int("end", 2)]);
    let rest = b.ints("shape.rest", &[1], &[-1]);
    b.op("Concat", BATCHED, &[&shape, &rest], vec![int("axis", 0)]);
    if spec.rotary_theta.is_some() {
        let (zero, one) = (b.ints("zero", &[], &[0]), b.ints("one", &[], &[1]));
        let patches = b.op("Gather", "shape.patches", &[&shape, &one], vec![int("axis", 0)]);
        let range = b.op("Range", "rotary_range", &[&zero, &patches, &one], vec![]);
        b.op("Expand", ROWS, &[&range, &shape], vec![]);
    }
    if spec.window.is_some() {
        b.window_shapes(spec.hidden);
    }
    let flat = b.rows("patches.rows", names::PATCHES, spec.patch_dim);
    let flat = b.narrowed(&flat);
    let x = b.linear(&flat, &spec.patch_embedding, b.policy.table());
    match &spec.position {
        PatchPosition::Table { weight, .. } => add_table(b, spec, weight, &x),
        PatchPosition::Fixed(weight) => {
            let form = b.policy.table();
            let rows = b.float_weight(weight, form);
            add_positions(b, spec, &rows, &x)
        }
        PatchPosition::None => x,
    }
}

/// Adds the learned positions, resampled by the host's indices and weights.
fn add_table(b: &mut Builder, spec: &VisionSpec, table: &Weight, x: &str) -> String {
    let int = AttributeProto::int;
    let form = b.policy.table();
    let table = b.float_weight(table, form);
    let taps = b.op("Gather", "position.taps", &[&table, names::POSITION_INDEX], vec![int("axis", 0)]);
    let axis = b.ints("axis.2", &[1], &[2]);
    let weight = b.narrowed(names::POSITION_WEIGHT);
    let weight = b.op("Unsqueeze", "position.weight", &[&weight, &axis], vec![]);
    let weighted = b.op("Mul", "position.weighted", &[&taps, &weight], vec![]);
    let axis = b.ints("axis.1", &[1], &[1]);
    let position = b.op("ReduceSum", "position.sum", &[&weighted, &axis], vec![int("keepdims", 0)]);
    add_positions(b, spec, &position, x)
}

/// Adds positions `[p, hidden]` to the patches of each grid.
fn add_positions(b: &mut Builder, spec: &VisionSpec, position: &str, x: &str) -> String {
    let batched = b.op("Reshape", "patches.batched", &[x, BATCHED], vec![]);
    let sum = b.op("Add", "patches.placed", &[&batched, position], vec![]);
    b.rows("patches.placed.rows", &sum, spec.hidden)
}

fn vision_block(b: &mut Builder, spec: &VisionSpec, block: &VisionBlock, residual: &str) -> String {
    let (form, path) = (b.policy.vision(), &block.path);
    let x = b.norm(residual, &block.attention_norm);
    let [q, k, v] = queries_keys_values(b, spec, block, &x);
    let attend = format!("{path}/MultiHeadAttention");
    let attended = if block.window {
        b.window_attention(&attend, [&q, &k, &v], spec.heads)
    } else {
        let heads = vec![AttributeProto::int("num_heads", spec.heads as i64)];
        b.contrib("MultiHeadAttention", &attend, &[&q, &k, &v], heads)
    };
    let rows = b.rows(&format!("{path}.attended.rows"), &attended, spec.hidden);
    let projected = b.linear(&rows, &block.projection, form);
    let residual = b.op("Add", &format!("{path}.attended.sum"), &[residual, &projected], vec![]);
    let x = b.norm(&residual, &block.mlp_norm);
    let x = b.mlp(&x, &block.mlp, form);
    b.op("Add", &format!("{path}.sum"), &[&residual, &x], vec![])
}

/// Queries and keys, rotated, and values: `[b, p, hidden]` each.
fn queries_keys_values(b: &mut Builder, spec: &VisionSpec, block: &VisionBlock, x: &str) -> [String; 3] {
    let (form, path) = (b.policy.vision(), &block.path);
    let parts = match &block.qkv {
        Qkv::Separate { q, k, v } => [q, k, v].map(|linear| b.linear(x, linear, form)),
        Qkv::Packed(qkv) => {
            let qkv = b.linear(x, qkv, form);
            let parts = ["q", "k", "v"].map(|part| format!("{path}.{part}"));
            let outputs = parts.each_ref().map(String::as_str);
            let split = format!("{path}.split");
            let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::int("num_outputs", 3)];
            b.node("", "Split", &split, &[&qkv], &outputs, attributes);
            parts
        }
    };
    let [q, k, v] = parts.map(|p| b.op("Reshape", &format!("{p}.batched"), &[&p, BATCHED], vec![]));
    if spec.rotary_theta.is_none() {
        return [q, k, v];
    }
    let q = b.rotate(&format!("{path}.q.rotated"), &q, ROWS, None);
    let k = b.rotate(&format!("{path}.k.rotated"), &k, ROWS, None);
    [q, k, v]
}

/// `merge * merge` neighbouring patches become one feature row; the patches come in merge blocks already.
fn merge(b: &mut Builder, spec: &VisionSpec, merger: &Merger, x: &str, output: &str) {
    let width = spec.hidden * spec.merge * spec.merge;
    let path = &merger.path;
    let merged = format!("{path}.merged");
    let x = match &merger.norm {
        None => b.rows(&merged, x, width),
        Some(norm) if merger.norm_after_merge => {
            let x = b.rows(&merged, x, width);
            b.norm(&x, norm)
        }
        Some(norm) => {
            let x = b.norm(x, norm);
            b.rows(&merged, &x, width)
        }
    };
    let form = b.policy.vision();
    let x = b.plain_mlp(&x, &merger.up, merger.activation, &merger.down, form);
    let int = AttributeProto::int;
    let batch =
        b.op("Shape", &format!("{path}.batch"), &[names::PATCHES], vec![int("start", 0), int("end", 1)]);
    let rest = b.ints("shape.features", &[2], &[-1, spec.output as i64]);
    let shape = b.op("Concat", &format!("{path}.shape"), &[&batch, &rest], vec![int("axis", 0)]);
    if b.policy.activations == Activations::F32 {
        b.op("Reshape", output, &[&x, &shape], vec![]);
    } else {
        let halves = b.op("Reshape", &format!("{output}.halves"), &[&x, &shape], vec![]);
        b.widened(output, &halves);
    }
}

/// Puts the closing row behind the features of each grid.
fn close(b: &mut Builder, spec: &VisionSpec, row: &Weight) {
    let int = AttributeProto::int;
    let row = b.weight(row, Store::F32);
    let batch = b.op("Shape", "closing.batch", &[names::PATCHES], vec![int("start", 0), int("end", 1)]);
    let rest = b.ints("closing.rest", &[2], &[1, spec.output as i64]);
    let shape = b.op("Concat", "closing.shape", &[&batch, &rest], vec![int("axis", 0)]);
    let rows = b.op("Expand", "closing.rows", &[&row, &shape], vec![]);
    b.op("Concat", names::FEATURES, &[UNCLOSED, &rows], vec![int("axis", 1)]);
}
