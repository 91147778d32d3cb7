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

use rewardrt_models::package::names;
use rewardrt_models::package::onnx::{AttributeProto, CONTRIB};
use rewardrt_models::spec::{AttentionSpec, Norm};

use super::Builder;
use crate::weights::Store;

impl Builder {
    /// Attention of layer `i` on rows `[tokens, hidden]`; `path` names its nodes.
    pub(crate) fn attention(
        &mut self,
        x: &str,
        a: &AttentionSpec,
        i: usize,
        path: &str,
        form: Store,
    ) -> String {
        let q = self.linear(x, &a.q, form);
        let q = self.rotated(&q, &format!("{path}.q"), a.q_norm.as_ref(), a.head_dim);
        let k = self.linear(x, &a.k, form);
        let k = self.rotated(&k, &format!("{path}.k"), a.k_norm.as_ref(), a.head_dim);
        let v = self.linear(x, &a.v, form);
        let v = self.batched(&format!("{path}.v"), &v);
        let (past_key, past_value) = (names::past_key(i), names::past_value(i));
        let mut inputs: Vec<&str> = vec![&q, &k, &v, &past_key, &past_value];
        inputs.extend([names::SEQLENS_K, names::TOTAL_SEQUENCE_LENGTH]);
        // Rotation tables, positions, bias, sinks, cache scales and norms: none of them used.
        inputs.extend([""; 9]);
        inputs.push(names::QUERY_SEQLENS);
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
        self.linear(&rows, &a.o, form)
    }

    /// Norm of each head, then the rotation; `[b, s, heads * head_dim]`.
    fn rotated(&mut self, x: &str, name: &str, norm: Option<&Norm>, head_dim: usize) -> String {
        let x = match norm {
            Some(norm) => {
                let heads = self.rows(&format!("{name}.heads"), x, head_dim);
                self.norm(&heads, norm)
            }
            None => x.to_owned(),
        };
        let x = self.batched(name, &x);
        self.rotate(&format!("{name}.rotated"), &x, names::ROTARY_ROWS)
    }

    /// Rotation of `[b, s, width]` by the rows of the rotary tables that `rows` `[b, s]` names.
    pub(crate) fn rotate(&mut self, name: &str, x: &str, rows: &str) -> String {
        let inputs = [x, rows, names::ROTARY_COS, names::ROTARY_SIN];
        self.contrib("RotaryEmbedding", name, &inputs, vec![AttributeProto::int("interleaved", 0)])
    }

    /// `[b, s, width]` from rows, by the shape that the graph keeps under [`super::decoder::BATCHED`].
    fn batched(&mut self, name: &str, rows: &str) -> String {
        self.op("Reshape", &format!("{name}.batched"), &[rows, super::decoder::BATCHED], vec![])
    }
}
