//! Checkpoint to sealed package, without Python.
//!
//! [`checkpoint`] opens and checks the folder, a family of `rewardrt-models` turns its configuration into a spec,
//! [`graph`] compiles the spec, [`weights`] streams the tensors, [`seal`] makes it a package. The weights are read
//! and written by blocks of rows: memory does not grow with the checkpoint.

pub mod checkpoint;
pub mod graph;
mod pipeline;
pub mod quantize;
pub mod seal;
mod variants;
pub mod weights;

pub use pipeline::{ExportError, Options, Progress, export};
