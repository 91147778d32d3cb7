//! `package.json`: parse, validate, print.
//!
//! Every struct refuses unknown fields: a manifest that says something this version does not understand is a
//! package that this version must not run. The file ends with its own digest, so that no damage to it goes unseen.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::scores::Scores;
use super::seal;
use super::tiling::Tiling;

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

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats, computed in 32 bits on a CPU.
    Fp16,
    /// 8-bit integers in blocks with a scale each.
    Int8,
    /// 4-bit integers in blocks with a scale each.
    Int4,
}

impl Precision {
    /// All precisions, in the order of their size.
    pub const ALL: [Precision; 4] = [Precision::Fp32, Precision::Fp16, Precision::Int8, Precision::Int4];

    /// The name on the command line and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp16 => "fp16",
            Precision::Int8 => "int8",
            Precision::Int4 => "int4",
        }
    }
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
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionComponent {
    /// Its graph.
    pub graph: Graph,
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
    /// Its graph.
    pub graph: Graph,
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
    /// Lowest ONNX Runtime version, `major.minor.patch`.
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

    fn validate(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return refuse("format", format!("version {}, this build reads {FORMAT}", self.format));
        }
        let listed = self.validate_files()?;
        self.validate_references(&listed)?;
        self.validate_decoder()?;
        self.validate_vision()?;
        if let Some(scores) = &self.scores {
            scores.validate(self.decoder.vocabulary)?;
        }
        self.validate_generation()
    }

    fn validate_files(&self) -> Result<BTreeSet<&str>, ManifestError> {
        if self.files.len() > MAX_FILES || self.source.len() > MAX_FILES {
            return refuse("files", format!("more than {MAX_FILES} entries"));
        }
        let mut listed = BTreeMap::new();
        for (list, name) in [(&self.source, "source"), (&self.files, "files")] {
            for (i, entry) in list.iter().enumerate() {
                check_entry(entry, &format!("{name}[{i}]"))?;
            }
        }
        for (i, entry) in self.files.iter().enumerate() {
            if entry.path == MANIFEST_FILE || listed.insert(entry.path.as_str(), i).is_some() {
                return refuse(format!("files[{i}].path"), format!("{} stands twice", entry.path));
            }
        }
        Ok(listed.into_keys().collect())
    }

    fn validate_references(&self, listed: &BTreeSet<&str>) -> Result<(), ManifestError> {
        let mut named = vec![("tokenizer", &self.tokenizer), ("chat_template", &self.chat_template)];
        named.push(("decoder.graph.file", &self.decoder.graph.file));
        named.extend(self.decoder.graph.weights.iter().map(|w| ("decoder.graph.weights", w)));
        if let Some(vision) = &self.vision {
            named.push(("vision.graph.file", &vision.graph.file));
            named.extend(vision.graph.weights.iter().map(|w| ("vision.graph.weights", w)));
        }
        for (field, path) in named {
            if !listed.contains(path.as_str()) {
                return refuse(field, format!("{path} is not listed in files"));
            }
        }
        Ok(())
    }

    fn validate_decoder(&self) -> Result<(), ManifestError> {
        let d = &self.decoder;
        let sizes = [
            ("layers", d.layers, 1 << 10),
            ("kv_heads", d.kv_heads, 1 << 10),
            ("head_dim", d.head_dim, 1 << 12),
            ("hidden", d.hidden, 1 << 20),
            ("vocabulary", d.vocabulary, 1 << 24),
            ("max_positions", d.max_positions, 1 << 24),
        ];
        for (field, value, most) in sizes {
            within(&format!("decoder.{field}"), u64::from(value), 1, most)?;
        }
        if let Some(r) = &d.recurrent {
            r.validate()?;
        }
        let p = &d.position;
        if p.rotary_dim == 0 || !p.rotary_dim.is_multiple_of(2) || p.rotary_dim > d.head_dim {
            return refuse(
                "decoder.position.rotary_dim",
                format!("{} of head_dim {}", p.rotary_dim, d.head_dim),
            );
        }
        if p.sections.iter().map(|&s| u64::from(s)).sum::<u64>() != u64::from(p.rotary_dim / 2) {
            return refuse("decoder.position.sections", "do not sum to half of rotary_dim");
        }
        positive("decoder.position.theta", p.theta)?;
        if let Some(rate) = p.tokens_per_second {
            positive("decoder.position.tokens_per_second", rate)?;
        }
        let known = |id: u32| id < d.vocabulary;
        let all = self.tokens.eos.iter().copied().chain(self.tokens.image).chain(self.tokens.video);
        for id in all {
            if !known(id) {
                return refuse("tokens", format!("{id} is not below the vocabulary of {}", d.vocabulary));
            }
        }
        if self.tokens.eos.is_empty() && self.scores.is_none() {
            return refuse("tokens.eos", "empty: no answer would ever end");
        }
        Ok(())
    }

    fn validate_vision(&self) -> Result<(), ManifestError> {
        let (vision, image) = match (&self.vision, &self.image) {
            (None, None) => return Ok(()),
            (Some(v), Some(i)) => (v, i),
            _ => return refuse("image", "vision and image stand together or not at all"),
        };
        if vision.hidden != self.decoder.hidden {
            return refuse("vision.hidden", format!("{} against decoder.hidden", vision.hidden));
        }
        for (field, side) in
            [("vision.position_side", vision.position_side), ("vision.window", vision.window)]
        {
            side.map_or(Ok(()), |side| within(field, u64::from(side), 1, 1 << 12))?;
        }
        within("vision.head_dim", u64::from(vision.head_dim), 4, 1 << 12)?;
        within("vision.deepstack", u64::from(vision.deepstack), 0, u64::from(self.decoder.layers))?;
        vision.rotary_theta.map_or(Ok(()), |theta| positive("vision.rotary_theta", theta))?;
        within("image.patch_size", u64::from(image.patch_size), 1, 256)?;
        within("image.temporal_patch_size", u64::from(image.temporal_patch_size), 1, 16)?;
        within("image.merge_size", u64::from(image.merge_size), 1, 16)?;
        within("image.max_pixels", image.max_pixels, 1, 1 << 32)?;
        within("image.min_pixels", image.min_pixels, 1, image.max_pixels)?;
        positive("image.rescale_factor", image.rescale_factor)?;
        for (m, s) in image.mean.iter().zip(image.std) {
            positive("image.std", f64::from(s))?;
            if !m.is_finite() {
                return refuse("image.mean", "not finite");
            }
        }
        if let Some(tiling) = &image.tiling {
            tiling.validate(image)?;
            // Only feature rows are put together from tiles.
            within("vision.deepstack", u64::from(vision.deepstack), 0, 0)?;
        }
        if self.tokens.image.is_none() {
            return refuse("tokens.image", "absent, but the package has a vision tower");
        }
        Ok(())
    }

    fn validate_generation(&self) -> Result<(), ManifestError> {
        let g = &self.generation;
        positive("generation.temperature", f64::from(g.temperature))?;
        positive("generation.repetition_penalty", f64::from(g.repetition_penalty))?;
        positive("generation.top_p", f64::from(g.top_p))?;
        if g.top_p > 1.0 {
            return refuse("generation.top_p", "over 1");
        }
        Ok(())
    }
}

impl Recurrent {
    fn validate(&self) -> Result<(), ManifestError> {
        let sizes = [
            ("layers", self.layers, 1 << 10),
            ("heads", self.heads, 1 << 10),
            ("key_dim", self.key_dim, 1 << 12),
            ("value_dim", self.value_dim, 1 << 12),
            ("window", self.window, 1 << 6),
            ("channels", self.channels, 1 << 20),
        ];
        sizes.iter().try_for_each(|(field, value, most)| {
            within(&format!("decoder.recurrent.{field}"), u64::from(*value), 1, *most)
        })
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

fn check_entry(entry: &FileEntry, field: &str) -> Result<(), ManifestError> {
    if !is_plain_name(&entry.path) {
        return refuse(format!("{field}.path"), "not a plain file name of [A-Za-z0-9._-]");
    }
    if entry.sha256.len() != 64
        || !entry.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return refuse(format!("{field}.sha256"), "not 64 lower-case hex digits");
    }
    Ok(())
}

pub(super) fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), ManifestError> {
    if value < least || value > most {
        return refuse(field, format!("{value} is not within {least}..={most}"));
    }
    Ok(())
}

pub(super) fn positive(field: &str, value: f64) -> Result<(), ManifestError> {
    if !value.is_finite() || value <= 0.0 {
        return refuse(field, format!("{value} is not a positive number"));
    }
    Ok(())
}

pub(super) fn refuse<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, ManifestError> {
    Err(ManifestError::Field { field: field.into(), reason: reason.into() })
}
