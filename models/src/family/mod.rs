//! Families: `config.json` to [`ModelSpec`]. One folder a family, one line in [`FAMILIES`].

mod common;
pub mod config;
mod head;
mod llava_onevision;
mod parts;
mod qwen2;
mod qwen2_5_vl;
mod qwen2_vl;
mod qwen3_5;
mod qwen3_vl;
mod video;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::spec::ModelSpec;

/// What a checkpoint says of itself: its JSON files and the names of its tensors.
#[derive(Debug, Clone, Default)]
pub struct ConfigFiles {
    /// `config.json`.
    pub config: Value,
    /// `generation_config.json`.
    pub generation: Option<Value>,
    /// The image processor's part of `processor_config.json`, or `preprocessor_config.json`.
    pub image_processor: Option<Value>,
    /// The video processor's part of `processor_config.json`, or `video_preprocessor_config.json`.
    pub video_processor: Option<Value>,
    /// `model_config.json`, the settings that the training of some reward models leaves beside its checkpoints.
    pub reward: Option<Value>,
    /// Tokens that the tokenizer was given beside its model's own, with their ids.
    pub added_tokens: BTreeMap<String, u32>,
    /// Names of the tensors: some architectures come under more than one naming.
    pub tensors: BTreeSet<String>,
}

/// Why a checkpoint's configuration is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FamilyError {
    /// The architecture is none of the families.
    #[error("model_type {found:?} is not supported; this build exports {known}")]
    Unknown {
        /// What config.json says.
        found: String,
        /// The families of this build.
        known: String,
    },
    /// A value that the family's mathematics does not cover.
    #[error("{field}: {reason}")]
    Field {
        /// Path of the field, starting with the file.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A key that no one here knows: it might change the mathematics.
    #[error(
        "{field} is not known to this family and might change the mathematics; remove it if it does not, \
         or use a build that knows it"
    )]
    UnknownKey {
        /// Path of the field, starting with the file.
        field: String,
    },
}

type SpecOf = fn(&ConfigFiles) -> Result<ModelSpec, FamilyError>;

/// The families: `model_type` and what turns its configuration into a spec.
#[rustfmt::skip] // One row a family, however short they are together.
pub const FAMILIES: &[(&str, SpecOf)] = &[
    ("llava_onevision", llava_onevision::spec),
    ("llava_qwen", llava_onevision::original),
    ("llava", llava_onevision::original),
    ("qwen2_5_vl", qwen2_5_vl::spec),
    ("qwen2_vl", qwen2_vl::spec),
    ("qwen3_5", qwen3_5::spec),
    ("qwen3_vl", qwen3_vl::spec),
];

/// The spec of a checkpoint.
///
/// # Errors
/// [`FamilyError`] when the architecture is unknown or a value is outside what the family covers.
pub fn spec(files: &ConfigFiles) -> Result<ModelSpec, FamilyError> {
    let found = files.config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    match FAMILIES.iter().find(|(name, _)| *name == found) {
        Some((_, spec)) => spec(files),
        None => Err(FamilyError::Unknown {
            found: found.to_owned(),
            known: FAMILIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        }),
    }
}
