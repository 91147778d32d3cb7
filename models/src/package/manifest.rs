//! `package.json`: parse, validate, print.
//!
//! Every struct refuses unknown fields: a manifest that says something this version does not understand is a
//! package that this version must not run. The file ends with its own digest, so that no damage to it goes unseen.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::precision::Precision;
use super::scores::Scores;
use super::seal;
use super::tiling::Tiling;
use super::variant::Activations;
use super::video::VideoProcessing;

/// Version of the package format that this code writes and reads.
pub const FORMAT: u32 = 1;
/// File name of the manifest inside a package.
pub const MANIFEST_FILE: &str = "package.json";
/// The manifest lists a few dozen files; one megabyte is a hundred times that.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// A package holds a handful of graphs, weights and tokenizer files; more is not a package.
pub const MAX_FILES: usize = 256;

/// Why a manifest is refused. The message names the field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// The text is not the JSON of a manifest.
    #[error("package.json cannot be read: {0}; export the checkpoint again")]
    Json(String),
    /// The text is not the one that was sealed.
    #[error(
        "package.json: SHA-256 expected {expected}, got {got}; the file is damaged or was edited: copy the package \
         again, or export the checkpoint again"
    )]
    Seal {
        /// The digest that the file ends with.
        expected: String,
        /// Of the text before it.
        got: String,
    },
    /// A field holds a value that no package of this format has.
    #[error("package.json: {field}: {reason}; export the checkpoint again")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The manifest of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Package format version, [`FORMAT`].
    pub format: u32,
    /// Name of the model: the checkpoint folder's name unless the exporter was told another.
    pub name: String,
    /// Architecture family.
    pub family: String,
    /// How weights are stored.
    pub precision: Precision,
    /// Identity of the checkpoint files that the package was made from.
    pub source: Vec<FileEntry>,
    /// The vision tower, absent for a text-only model.
    pub vision: Option<VisionComponent>,
    /// The decoder.
    pub decoder: DecoderComponent,
    /// What the decoder's outputs mean when it ends in a score head; absent when it ends in a vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// Picture preprocessing, present with the vision tower.
    pub image: Option<ImageProcessing>,
    /// Video preprocessing; absent when the checkpoint says nothing of videos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoProcessing>,
    /// Special tokens.
    pub tokens: SpecialTokens,
    /// What the checkpoint's generation config asks for.
    pub generation: GenerationDefaults,
    /// Tokenizer file, relative to the package.
    pub tokenizer: String,
    /// Chat template file, relative to the package.
    pub chat_template: String,
    /// What the chat template is told of `enable_thinking`; absent, it is left undefined there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
    /// Pack used when the caller names none.
    pub default_pack: String,
    /// What the loading machine must offer.
    pub requires: Requirements,
    /// Every file of the package but the manifest.
    pub files: Vec<FileEntry>,
}

/// One file: relative path, size in bytes, SHA-256 in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path inside the folder: one component, `[A-Za-z0-9._-]`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hex digits.
    pub sha256: String,
}

/// A dimension of a graph input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dim {
    /// A fixed size.
    Fixed(u64),
    /// A named size, chosen at run time.
    Named(String),
}

/// Element types at a graph's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// Brain float.
    Bf16,
    /// 64-bit integer.
    I64,
    /// 32-bit integer.
    I32,
}

/// One input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<Dim>,
}

/// A graph file with its interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// The ONNX file.
    pub file: String,
    /// External data files that the graph may open.
    pub weights: Vec<String>,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// Floats between its operators and in its cache; 32-bit when absent.
    #[serde(default, skip_serializing_if = "Activations::is_default")]
    pub activations: Activations,
    /// Lowest ONNX Runtime version that runs it; that of the package when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime: Option<String>,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionComponent {
    /// Its graph on a processor.
    pub graph: Graph,
    /// Graphs over the same weights for other providers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Graph>,
    /// Rows and columns of the square learned position table; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_side: Option<u32>,
    /// Size of an attention head.
    pub head_dim: u32,
    /// Base of the axial rotary angles; absent when nothing is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_theta: Option<f64>,
    /// Side of an attention window in merged tokens; absent when every block sees the whole grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Number of extra feature outputs.
    pub deepstack: u32,
    /// Width of a feature row, equal to the decoder's hidden size.
    pub hidden: u32,
}

/// The decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderComponent {
    /// Its graph on a processor.
    pub graph: Graph,
    /// Graphs over the same weights for other providers and other libraries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Graph>,
    /// Layers that attend, each with a key and a value cache.
    pub layers: u32,
    /// Key-value heads.
    pub kv_heads: u32,
    /// Size of an attention head.
    pub head_dim: u32,
    /// Hidden size.
    pub hidden: u32,
    /// Rows of the embedding table.
    pub vocabulary: u32,
    /// Longest sequence that the checkpoint was configured for, in tokens.
    pub max_positions: u32,
    /// How token positions become rotary angles.
    pub position: PositionRule,
    /// Layers that keep a state of fixed size instead of a cache; absent when all layers attend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrent: Option<Recurrent>,
}

/// What recurrent layers keep of a sequence, see [`super::names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    /// Number of such layers.
    pub layers: u32,
    /// Heads of a state.
    pub heads: u32,
    /// Rows of a head's state.
    pub key_dim: u32,
    /// Columns of a head's state.
    pub value_dim: u32,
    /// Inputs that the convolution remembers.
    pub window: u32,
    /// Values of each of them.
    pub channels: u32,
}

/// How token positions become rotary angles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionRule {
    /// Base of the angles.
    pub theta: f64,
    /// Rotated part of a head, an even number.
    pub rotary_dim: u32,
    /// Half-head sections that follow the temporal, height and width position.
    pub sections: [u32; 3],
    /// How the sections are laid out over the half head.
    pub layout: SectionLayout,
    /// Temporal positions that a second of video takes; absent when a temporal patch takes one, however long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
}

/// Layout of the three position streams over the half head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SectionLayout {
    /// One stream after the other.
    Chunked,
    /// Height at 1, 4, 7, .., width at 2, 5, 8, .., the rest temporal.
    Interleaved,
}

/// Resampling filter, named after the implementation whose bytes it reproduces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resample {
    /// Bicubic with antialiasing as torchvision does it on uint8 tensors.
    BicubicTorch,
    /// Bicubic as Pillow before version 13 does it.
    BicubicPillow,
}

/// Picture preprocessing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageProcessing {
    /// Side of a patch, pixels.
    pub patch_size: u32,
    /// Frames a patch spans.
    pub temporal_patch_size: u32,
    /// Patches a side that merge into one token.
    pub merge_size: u32,
    /// Fewest pixels after resizing.
    pub min_pixels: u64,
    /// Most pixels after resizing.
    pub max_pixels: u64,
    /// Channel means of the normalisation.
    pub mean: [f32; 3],
    /// Channel standard deviations.
    pub std: [f32; 3],
    /// Factor from bytes to the unit interval.
    pub rescale_factor: f64,
    /// Resampling filter.
    pub resample: Resample,
    /// How a picture is cut into tiles; absent when it is seen in one piece. A tile's pixels are `min_pixels` and
    /// `max_pixels` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiling: Option<Tiling>,
}

/// Special tokens by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokens {
    /// Placeholder that a picture's tokens replace.
    pub image: Option<u32>,
    /// Placeholder that a video's tokens replace.
    pub video: Option<u32>,
    /// Tokens that end an answer.
    pub eos: Vec<u32>,
}

/// What the checkpoint's generation config asks for; used only on request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationDefaults {
    /// Sample instead of taking the best token.
    pub do_sample: bool,
    /// Divisor of the logits.
    pub temperature: f32,
    /// Smallest set of tokens whose probability reaches this.
    pub top_p: f32,
    /// Most tokens considered; 0 means all.
    pub top_k: u32,
    /// Factor against tokens already present; 1 means none.
    pub repetition_penalty: f32,
}

/// What the loading machine must offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// Lowest ONNX Runtime version that runs any of the graphs, `major.minor.patch`.
    pub onnxruntime: String,
    /// Operators the graphs use, `domain::Name` (the default domain is `ai.onnx`).
    pub operators: Vec<String>,
}

impl Manifest {
    /// Reads and validates the bytes of `package.json`.
    ///
    /// # Errors
    /// [`ManifestError::Json`] when the bytes are no manifest, [`ManifestError::Seal`] when they are not what was
    /// sealed, [`ManifestError::Field`] with the field's path when a value cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::Json(format!("{} bytes, at most {MAX_MANIFEST_BYTES}", bytes.len())));
        }
        let manifest: Manifest =
            serde_json::from_slice(&seal::open(bytes)?).map_err(|e| ManifestError::Json(e.to_string()))?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The bytes of `package.json`: indented JSON that ends with its seal, the member `seal`, and a newline.
    ///
    /// # Errors
    /// [`ManifestError::Json`] when the manifest cannot be written as JSON.
    pub fn print(&self) -> Result<Vec<u8>, ManifestError> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| ManifestError::Json(e.to_string()))?;
        Ok(seal::seal(&text))
    }

    /// SHA-256 of the printed manifest: the identity of the whole package, since the manifest holds the hash of
    /// every other file.
    ///
    /// # Errors
    /// As [`Manifest::print`].
    pub fn sha256(&self) -> Result<String, ManifestError> {
        Ok(hex(&Sha256::digest(self.print()?)))
    }

    /// The entry of one file.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.path == path)
    }
}

/// Lower-case hex of a digest.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Whether a name may be a file of a package: one path component of `[A-Za-z0-9._-]`, not starting with a dot.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
