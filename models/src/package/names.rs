//! Names of graph inputs and outputs: the contract between the graphs and the runtime.
//!
//! Vision graph, one run over `b` grids of the same size (pictures of one size, or the temporal patches of one
//! video), `p` patches a grid, `m` merged tokens a grid:
//!
//! | name | dtype | shape |
//! |---|---|---|
//! | `patches` | f32 | `[b, p, patch_dim]`; `p` is fixed where the tower knows one grid only |
//! | `position_index` | i64 | `[p, 4]` rows of the learned position table; only with `position_side` |
//! | `position_weight` | f32 | `[p, 4]` bilinear weights; only with `position_side` |
//! | `rotary_cos`, `rotary_sin` | f32 | `[p, head_dim / 2]`; only with `rotary_theta` |
//! | `window_rows` | i64 | `[w, k]` patches of each attention window, filled up to the longest; only with `window` |
//! | `window_lengths` | i32 | `[w]` patches of each window; only with `window` |
//! | `window_places` | i64 | `[p]` flat place (`window * k + column`) of each patch; only with `window` |
//! | out `features` | f32 | `[b, m, hidden]`; `[b, m + 1, hidden]` with `image.tiling`, the last row closes a line |
//! | out `deepstack.{k}` | f32 | `[b, m, hidden]` |
//!
//! Decoder graph, one run over `b` neighbouring KV slots, `s` columns (right-padded), `f` feature rows (at least
//! one; a row of zeros when there is no picture), `n` wanted rows, capacity `c`:
//!
//! | name | dtype | shape |
//! |---|---|---|
//! | `input_ids` | i64 | `[b, s]` |
//! | `feature_rows` | i64 | `[b, s]` row of `features` that replaces the embedding, -1 for a text token |
//! | `features`, `deepstack.{k}` | f32 | `[f, hidden]` |
//! | `rotary_cos`, `rotary_sin` | f32 | `[b * s, rotary_dim / 2]` |
//! | `rotary_rows` | i64 | `[b, s]` = 0 .. b*s |
//! | `seqlens_k` | i32 | `[b]` cache length after the step, minus one |
//! | `total_sequence_length` | i32 | `[]` upper bound of the cache length, at most `c` |
//! | `query_seqlens` | i32 | `[b]` new tokens of the row, 0 = idle; without it a run has one row, or one column |
//! | `batch_shape` | i64 | `[3]` = b, s, -1; only in graphs for cards, which then ask the processor for nothing |
//! | `logit_rows` | i64 | `[n]` flat rows (`row * s + column`) that go through the head |
//! | `past_key.{i}`, `past_value.{i}` | f32, f16, bf16 | `[b, kv_heads, c, head_dim]` of the i-th layer that attends |
//! | `past_conv.{i}` | f32 | `[b, window, channels]` of the i-th recurrent layer: its last inputs, the newest last |
//! | `past_state.{i}` | f32 | `[b, heads, key_dim, value_dim]` of the i-th recurrent layer |
//! | out `logits` | f32 | `[n, vocabulary]`, of a decoder that ends in a vocabulary |
//! | out `scores` | f32 | `[n, width]`, of one that ends in a score head; a package has one of the two |
//! | out `present_key.{i}`, `present_value.{i}` | | as the past; bound to the same memory |
//! | out `present_conv.{i}`, `present_state.{i}` | f32 | as the past; bound to other memory |
//!
//! The two recurrent states of a row are zero before its first token: the runtime sees to it. Padding columns and idle
//! rows leave them as they are, bit for bit but for the sign of a zero and for values too small to be normal.

/// Flattened pixel patches.
pub const PATCHES: &str = "patches";
/// Rows of the learned position table, four a patch.
pub const POSITION_INDEX: &str = "position_index";
/// Bilinear weights of those rows.
pub const POSITION_WEIGHT: &str = "position_weight";
/// Patches of each attention window.
pub const WINDOW_ROWS: &str = "window_rows";
/// How many patches each window holds.
pub const WINDOW_LENGTHS: &str = "window_lengths";
/// Where each patch lies among the windows.
pub const WINDOW_PLACES: &str = "window_places";
/// Cosines of the rotary angles.
pub const ROTARY_COS: &str = "rotary_cos";
/// Sines of the rotary angles.
pub const ROTARY_SIN: &str = "rotary_sin";
/// Row of the rotary table for each token.
pub const ROTARY_ROWS: &str = "rotary_rows";
/// Merged vision features.
pub const FEATURES: &str = "features";
/// Token ids.
pub const INPUT_IDS: &str = "input_ids";
/// Row of [`FEATURES`] for each token, or -1.
pub const FEATURE_ROWS: &str = "feature_rows";
/// Cache length after the step, minus one.
pub const SEQLENS_K: &str = "seqlens_k";
/// Upper bound of the cache length.
pub const TOTAL_SEQUENCE_LENGTH: &str = "total_sequence_length";
/// New tokens of each row.
pub const QUERY_SEQLENS: &str = "query_seqlens";
/// Shape of a run, as rows are reshaped by it.
pub const BATCH_SHAPE: &str = "batch_shape";
/// Flat rows that go through the head.
pub const LOGIT_ROWS: &str = "logit_rows";
/// Scores over the vocabulary.
pub const LOGITS: &str = "logits";
/// Outputs of a score head, before standardisation.
pub const SCORES: &str = "scores";

/// Extra vision features that are added after decoder layer `k`.
pub fn deepstack(k: usize) -> String {
    format!("deepstack.{k}")
}

/// Keys of layer `i` before the step.
pub fn past_key(i: usize) -> String {
    format!("past_key.{i}")
}

/// Values of layer `i` before the step.
pub fn past_value(i: usize) -> String {
    format!("past_value.{i}")
}

/// Last inputs of the convolution of recurrent layer `i` before the step.
pub fn past_conv(i: usize) -> String {
    format!("past_conv.{i}")
}

/// State of recurrent layer `i` before the step.
pub fn past_state(i: usize) -> String {
    format!("past_state.{i}")
}

/// Last inputs of the convolution of recurrent layer `i` after the step.
pub fn present_conv(i: usize) -> String {
    format!("present_conv.{i}")
}

/// State of recurrent layer `i` after the step.
pub fn present_state(i: usize) -> String {
    format!("present_state.{i}")
}

/// Keys of layer `i` after the step.
pub fn present_key(i: usize) -> String {
    format!("present_key.{i}")
}

/// Values of layer `i` after the step.
pub fn present_value(i: usize) -> String {
    format!("present_value.{i}")
}
