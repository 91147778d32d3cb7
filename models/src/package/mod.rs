//! The sealed package: what `export` writes and `runtime` loads.
//!
//! `export` and `runtime` never see each other; they meet here. [`manifest`] is `package.json`, [`onnx`] the few
//! ONNX messages that a graph is made of, [`names`] the inputs and outputs that both sides agree on.

mod interface;
pub mod manifest;
pub mod names;
pub mod onnx;
mod precision;
mod scores;
mod seal;
mod tiling;
mod validate;
mod variant;
mod video;

pub use manifest::*;
pub use precision::Precision;
pub use scores::{Marker, PictureOrder, ReadAt, ReadError, ScoreOutput, Scores};
pub use tiling::{Several, Tiling};
pub use variant::{Activations, Unfit, Version, parse_version};
pub use video::{PixelBounds, VideoProcessing, VideoShown, VideoSize};

#[cfg(test)]
mod tests;
