//! Qwen2-VL: a vision tower whose blocks all see the whole grid, with layer norms; a Qwen2 decoder; videos that count
//! temporal patches and not seconds.
//!
//! Source of the mathematics: the published configuration files and the `qwen2_vl` model of Hugging Face
//! transformers 5.23.

mod vision;

use super::{ConfigFiles, FamilyError, qwen2};
use crate::spec::ModelSpec;

/// Configuration to spec.
pub(super) fn spec(files: &ConfigFiles) -> Result<ModelSpec, FamilyError> {
    let family = qwen2::Family { name: "qwen2_vl", classes: "Qwen2VL", tower: vision::tower };
    qwen2::spec(files, &family)
}

#[cfg(test)]
mod tests;
