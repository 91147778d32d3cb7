//! Grouped-query attention over KV slots, with the rotation outside the operator.
//!
//! ```text
//! x -> q -> [heads] norm -> RotaryEmbedding -+
//!   -> k -> [heads] norm -> RotaryEmbedding -+-> GroupQueryAttention(past, lengths) -> o
//!   -> v ------------------------------------+         |
//!                                                      +-> present (the same memory)
//! ```
//! The operator's own rotation counts cache rows, but a picture's positions are not cache rows: so the host makes
//! cosine and sine rows from three-stream positions, and `do_rotary` stays 0.
//!
//! With a gate, `q` holds for each head a query and then its gate:
//! ```text
//! q -> [heads] Split -> query -> norm -> ...
//!                    -> gate -> Sigmoid -> Mul(attended) -> o
//! ```

use rewardrt_models::package::names;
use rewardrt_models::package::onnx::{AttributeProto, CONTRIB};
use rewardrt_models::spec::{AttentionSpec, Norm};

use super::decoder::{Place, Rows};
use super::{Builder, Rotation};
impl Builder {
    /// Attention on rows `[tokens, hidden]`.
    pub(super) fn attention(&mut self, x: &str, a: &AttentionSpec, place: &Place<'_>) -> String {
        let Place { layer: i, path, form, .. } = *place;
        let turn = |heads| Rotation { heads, head_dim: a.head_dim, rotary_dim: place.rotary_dim };
        let q = self.linear(x, &a.q, form);
        let (q, gate) = if a.gate { self.query_and_gate(&q, path, a) } else { (q, None) };
        let q = self.rotated(&q, &format!("{path}.q"), a.q_norm.as_ref(), turn(a.heads));
        let k = self.linear(x, &a.k, form);
        let k = self.rotated(&k, &format!("{path}.k"), a.k_norm.as_ref(), turn(a.kv_heads));
        let v = self.linear(x, &a.v, form);
        let v = self.batched(&format!("{path}.v"), &v);
        let (past_key, past_value) = (names::past_key(i), names::past_value(i));
        let mut inputs: Vec<&str> = vec![&q, &k, &v, &past_key, &past_value];
        inputs.extend([names::SEQLENS_K, names::TOTAL_SEQUENCE_LENGTH]);
        if place.rows == Rows::Ragged {
            // Rotation tables, positions, bias, sinks, cache scales and norms: none of them used.
            inputs.extend([""; 9]);
            inputs.push(names::QUERY_SEQLENS);
        }
        let out = format!("{path}/GroupQueryAttention");
        let outputs = [out.as_str(), &names::present_key(i), &names::present_value(i)];
        let int = AttributeProto::int;
        let attributes = vec![
            int("num_heads", a.heads as i64),
            int("kv_num_heads", a.kv_heads as i64),
            int("do_rotary", 0),
        ];
        self.node(CONTRIB, "GroupQueryAttention", &out, &inputs, &outputs, attributes);
        let rows = self.rows(&format!("{path}.rows"), &out, a.heads * a.head_dim);
        let rows = match gate {
            Some(gate) => self.op("Mul", &format!("{path}.gated"), &[&rows, &gate], vec![]),
            None => rows,
        };
        self.linear(&rows, &a.o, form)
    }

    /// The queries, a head a row, and the gate `[tokens, heads * head_dim]`.
    fn query_and_gate(&mut self, q: &str, path: &str, a: &AttentionSpec) -> (String, Option<String>) {
        let pairs = self.rows(&format!("{path}.q.pairs"), q, 2 * a.head_dim);
        let parts = ["query", "gate"].map(|part| format!("{path}.q.{part}"));
        let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::int("num_outputs", 2)];
        let outputs = parts.each_ref().map(String::as_str);
        self.node("", "Split", &format!("{path}.q.split"), &[&pairs], &outputs, attributes);
        let [query, gate] = parts;
        let gate = self.rows(&format!("{path}.gate.rows"), &gate, a.heads * a.head_dim);
        (query, Some(self.op("Sigmoid", &format!("{path}.gate.open"), &[&gate], vec![])))
    }

    /// Norm of each head, then the rotation; `[b, s, heads * head_dim]`.
    fn rotated(&mut self, x: &str, name: &str, norm: Option<&Norm>, turn: Rotation) -> String {
        let x = match norm {
            Some(norm) => {
                let heads = self.rows(&format!("{name}.heads"), x, turn.head_dim);
                self.norm(&heads, norm)
            }
            None => x.to_owned(),
        };
        let x = self.batched(name, &x);
        self.rotate(&format!("{name}.rotated"), &x, names::ROTARY_ROWS, Some(turn))
    }

    /// Rotation of `[b, s, width]` by the rows of the rotary tables that `rows` `[b, s]` names: of the first values
    /// of each head, or of whole heads.
    pub(crate) fn rotate(&mut self, name: &str, x: &str, rows: &str, turn: Option<Rotation>) -> String {
        let [cos, sin] = [names::ROTARY_COS, names::ROTARY_SIN].map(|angles| self.narrowed(angles));
        let inputs = [x, rows, &cos, &sin];
        let mut attributes = vec![AttributeProto::int("interleaved", 0)];
        if let Some(turn) = turn.filter(|turn| turn.rotary_dim < turn.head_dim) {
            // The operator takes the tables' width for half a head unless it is told the heads.
            attributes.push(AttributeProto::int("num_heads", turn.heads as i64));
            attributes.push(AttributeProto::int("rotary_embedding_dim", turn.rotary_dim as i64));
        }
        self.contrib("RotaryEmbedding", name, &inputs, attributes)
    }

    /// `[b, s, width]` from rows, by the shape `[b, s, -1]`.
    pub(super) fn batched(&mut self, name: &str, rows: &str) -> String {
        self.op("Reshape", &format!("{name}.batched"), &[rows, names::BATCH_SHAPE], vec![])
    }
}
