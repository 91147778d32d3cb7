//! The gated delta rule over slots of fixed size: [`rewardrt_models::spec::DeltaNetSpec`] has its formula.
//!
//! ```text
//! x -> Where(valid) -> qkv -+-> CausalConvWithState(past_conv) -> silu -> Split -> q, k -> length one -+
//!                           |                                               +-> v ---------------------+
//!                           +-> Concat(past_conv, .) -> GatherND(own end of each row) -> present_conv  |
//!                   -> a -> -exp(a_log) * Softplus(a + dt_bias) -> Where(valid, ., 0) -----------------+
//!                   -> b -> Sigmoid -> Where(valid, ., 0) ---------------------------------------------+
//!                                            LinearAttention(past_state) -> o, present_state <---------+
//!                   -> z ---------> GatedRMSNorm(o) -> out
//! ```
//! Rows are padded on the right. A padding column must leave the state alone: it decays nothing (`g = 0` in log
//! space) and writes nothing (`beta = 0`), and since zero times infinity is no number, what attention left in padding
//! columns is replaced by zeroes first. The convolution's own next state ends at the last column, which may be
//! padding, so the window is gathered at each row's own end.
//!
//! `GatedDeltaNet` of ONNX Runtime 1.32 computes the same and folds the activations in, but took 250 ms for 256 tokens
//! of 32 heads of 128 x 128 on one core where `LinearAttention` took 39, and its lengths have no epsilon.

use rewardrt_models::package::names;
use rewardrt_models::package::onnx::{AttributeProto, CONTRIB};
use rewardrt_models::spec::DeltaNetSpec;

use super::Builder;
use super::decoder::{Place, TOKENS, ZERO};
use crate::weights::Store;

/// Whether a column is a new token: `[b, s, 1]`, and as rows `[b * s, 1]`.
const VALID: &str = "columns.valid";
const VALID_ROWS: &str = "columns.valid.rows";
/// The last inputs of each row behind its past: `[b, window, 1]` places on the axis of tokens.
const WINDOW: &str = "columns.window";

impl Builder {
    /// What every delta rule needs to know of the run's columns.
    pub(super) fn mark_columns(&mut self, window: usize) {
        let int = AttributeProto::int;
        let (zero, one) = (self.ints("zero", &[], &[0]), self.ints("one", &[], &[1]));
        let [axis1, axis2] = [1, 2].map(|axis| self.ints(&format!("axis.{axis}"), &[1], &[axis]));
        let width = self.op("Gather", "columns.number", &[TOKENS, &one], vec![int("axis", 0)]);
        let columns = self.op("Range", "columns", &[&zero, &width, &one], vec![]);
        // 7: 64-bit integers.
        let lengths = self.op("Cast", "columns.new", &[names::QUERY_SEQLENS], vec![int("to", 7)]);
        let lengths = self.op("Unsqueeze", "columns.new.rows", &[&lengths, &axis1], vec![]);
        let valid = self.op("Less", "columns.valid.flat", &[&columns, &lengths], vec![]);
        self.op("Unsqueeze", VALID, &[&valid, &axis2], vec![]);
        self.rows(VALID_ROWS, &valid, 1);
        let offsets: Vec<i64> = (0..window as i64).collect();
        let offsets = self.ints("columns.window.offsets", &[window as i64], &offsets);
        let places = self.op("Add", "columns.window.flat", &[&lengths, &offsets], vec![]);
        self.op("Unsqueeze", WINDOW, &[&places, &axis2], vec![]);
    }

    /// The delta rule on rows `[tokens, hidden]`.
    pub(super) fn delta_net(&mut self, x: &str, d: &DeltaNetSpec, place: &Place<'_>) -> String {
        let Place { layer, path, form, .. } = *place;
        let x = self.op("Where", &format!("{path}.valid"), &[VALID_ROWS, x, ZERO], vec![]);
        let qkv = self.linear(&x, &d.qkv, form);
        let qkv = self.batched(&format!("{path}.qkv"), &qkv);
        let [q, k, v] = self.convolved(&qkv, d, layer, path);
        let q = self.length_one(&q, d, &format!("{path}.q"));
        let k = self.length_one(&k, d, &format!("{path}.k"));
        let decay = self.decay(&x, d, path);
        let steer = self.policy.table();
        let b = self.linear(&x, &d.b, steer);
        let b = self.op("Sigmoid", &format!("{path}.beta"), &[&b], vec![]);
        let beta = self.where_valid(&b, &format!("{path}.beta"));
        let out = format!("{path}/LinearAttention");
        let int = AttributeProto::int;
        let attributes = vec![
            int("q_num_heads", d.key_heads as i64),
            int("kv_num_heads", d.value_heads as i64),
            AttributeProto::text("update_rule", "gated_delta"),
        ];
        let (past, present) = (names::past_state(layer), names::present_state(layer));
        let (inputs, outputs) = ([&q, &k, &v, &past, &decay, &beta].map(String::as_str), [&out, &present]);
        let outputs = outputs.map(String::as_str);
        self.node(CONTRIB, "LinearAttention", &out, &inputs, &outputs, attributes);
        let rows = self.rows(&format!("{path}.rows"), &out, d.value_heads * d.value_dim);
        let z = self.linear(&x, &d.z, form);
        let gated = self.gated_norm(&rows, &z, &d.norm);
        self.linear(&gated, &d.out, form)
    }

    /// Queries, keys and values behind the convolution, `[b, s, ..]`; keeps the row's last inputs.
    fn convolved(&mut self, qkv: &str, d: &DeltaNetSpec, layer: usize, path: &str) -> [String; 3] {
        let int = AttributeProto::int;
        let past = names::past_conv(layer);
        let seen = self.op("Concat", &format!("{path}.seen"), &[&past, qkv], vec![int("axis", 1)]);
        let last = names::present_conv(layer);
        self.op("GatherND", &last, &[&seen, WINDOW], vec![int("batch_dims", 1)]);
        let taps = self.weight(&d.conv, Store::F32);
        let (out, unused) = (format!("{path}/CausalConvWithState"), format!("{path}.padded_end"));
        let attributes = vec![AttributeProto::text("activation", "silu"), int("channels_last", 1)];
        let inputs = [qkv, &taps, "", &past];
        self.node(CONTRIB, "CausalConvWithState", &out, &inputs, &[&out, &unused], attributes);
        let keys = (d.key_heads * d.key_dim) as i64;
        let values = (d.value_heads * d.value_dim) as i64;
        let widths = self.ints(&format!("split.{keys}.{values}"), &[3], &[keys, keys, values]);
        let parts = ["q", "k", "v"].map(|part| format!("{path}.{part}"));
        let outputs = parts.each_ref().map(String::as_str);
        let split = format!("{path}.split");
        self.node("", "Split", &split, &[&out, &widths], &outputs, vec![int("axis", -1)]);
        parts
    }

    /// Every head scaled to length one: `x / sqrt(sum(x^2) + eps)` is a root-mean-square norm over `n` values whose
    /// scale is `1 / sqrt(n)` and whose epsilon is `eps / n`.
    fn length_one(&mut self, x: &str, d: &DeltaNetSpec, name: &str) -> String {
        let n = d.key_dim;
        let scale = self.floats(&format!("scale.length.{n}"), &[n as i64], &vec![1.0 / (n as f32).sqrt(); n]);
        let heads = self.rows(&format!("{name}.heads"), x, n);
        let attributes =
            vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", d.length_eps / n as f32)];
        let normed =
            self.op("SimplifiedLayerNormalization", &format!("{name}/Length"), &[&heads, &scale], attributes);
        self.batched(name, &normed)
    }

    /// `g` of the formula, `[b, s, value_heads]`, in log space.
    fn decay(&mut self, x: &str, d: &DeltaNetSpec, path: &str) -> String {
        let name = |part: &str| format!("{path}.decay.{part}");
        let steer = self.policy.table();
        let a = self.linear(x, &d.a, steer);
        let bias = self.weight(&d.dt_bias, Store::F32);
        let moved = self.op("Add", &name("moved"), &[&a, &bias], vec![]);
        let step = self.op("Softplus", &name("step"), &[&moved], vec![]);
        let log = self.weight(&d.a_log, Store::F32);
        let rate = self.op("Exp", &name("rate"), &[&log], vec![]);
        let rate = self.op("Neg", &name("rate.negative"), &[&rate], vec![]);
        let g = self.op("Mul", &name("log"), &[&step, &rate], vec![]);
        self.where_valid(&g, &name("log"))
    }

    /// `[b, s, width]` from rows, with zeroes in padding columns.
    fn where_valid(&mut self, rows: &str, name: &str) -> String {
        let batched = self.batched(name, rows);
        self.op("Where", &format!("{name}.valid"), &[VALID, &batched, ZERO], vec![])
    }
}
