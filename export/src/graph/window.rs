//! Attention inside the windows of a grid, one window a batch row.
//!
//! ```text
//! q, k, v [b, p, h] -> Gather(window_rows) -> [b, w, k, h] -> Reshape [b * w, k, h] -+
//! window_lengths [w] -> Expand [b, w] -> Reshape [b * w] ----------------------------+-> MultiHeadAttention
//!   -> Reshape [b, w * k, h] -> Gather(window_places) -> [b, p, h]
//! ```
//! Windows that the grid's edge cuts off are filled up to the longest; the lengths keep that out of sight, and the
//! second gather leaves it behind. Outside of attention the patches stay in their order, so nothing else of the
//! tower knows of windows.

use rewardrt_models::package::onnx::AttributeProto;
use rewardrt_models::package::{Dtype, names};

use super::{Builder, named};

/// The shape `[-1, k, hidden]` of queries, keys and values.
const SPLIT: &str = "shape.windows";
/// The shape `[b, -1, hidden]` of what comes back.
const JOINED: &str = "shape.joined";
/// Lengths of the windows of all grids, `[b * w]`.
const LENGTHS: &str = "window_lengths.all";

impl Builder {
    pub(super) fn declare_windows(&mut self) {
        self.input(names::WINDOW_ROWS, Dtype::I64, vec![named("w"), named("k")]);
        self.input(names::WINDOW_LENGTHS, Dtype::I32, vec![named("w")]);
        self.input(names::WINDOW_PLACES, Dtype::I64, vec![named("p")]);
    }

    /// What all windowed blocks reshape by.
    pub(super) fn window_shapes(&mut self, hidden: usize) {
        let axis = |n| vec![AttributeProto::int("axis", n)];
        let part = |start, end| vec![AttributeProto::int("start", start), AttributeProto::int("end", end)];
        let rest = self.ints("shape.rest", &[1], &[-1]);
        let width = self.ints("shape.hidden", &[1], &[hidden as i64]);
        let longest = self.op("Shape", "shape.longest", &[names::WINDOW_ROWS], part(1, 2));
        self.op("Concat", SPLIT, &[&rest, &longest, &width], axis(0));
        let grids = self.op("Shape", "shape.grids", &[names::PATCHES], part(0, 1));
        self.op("Concat", JOINED, &[&grids, &rest, &width], axis(0));
        let count = self.op("Shape", "shape.count", &[names::WINDOW_ROWS], part(0, 1));
        let shape = self.op("Concat", "shape.lengths", &[&grids, &count], axis(0));
        let all = self.op("Expand", "window_lengths.grids", &[names::WINDOW_LENGTHS, &shape], vec![]);
        self.op("Reshape", LENGTHS, &[&all, &rest], vec![]);
    }

    /// Attention of queries, keys and values `[b, p, hidden]` inside the windows.
    pub(super) fn window_attention(&mut self, name: &str, parts: [&str; 3], heads: usize) -> String {
        let axis = || vec![AttributeProto::int("axis", 1)];
        let [q, k, v] = parts.map(|x| {
            let cut = self.op("Gather", &format!("{x}.windows"), &[x, names::WINDOW_ROWS], axis());
            self.op("Reshape", &format!("{x}.windows.rows"), &[&cut, SPLIT], vec![])
        });
        let heads = vec![AttributeProto::int("num_heads", heads as i64)];
        let attended = self.contrib("MultiHeadAttention", name, &[&q, &k, &v, "", LENGTHS], heads);
        let joined = self.op("Reshape", &format!("{name}.joined"), &[&attended, JOINED], vec![]);
        self.op("Gather", &format!("{name}.placed"), &[&joined, names::WINDOW_PLACES], axis())
    }
}
