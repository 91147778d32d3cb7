//! Opens a checkpoint folder: configuration, tokenizer, chat template and safetensors weights.
//!
//! Nothing is executed and nothing is guessed: a file that is too long, says a thing twice or does not agree with
//! another is refused by name. Weights are read in blocks of rows and never mapped or held, so that memory stays
//! bounded whatever the size of the checkpoint, and a file that shrinks meanwhile is an error and not a signal.

mod adapter;
mod convert;
mod error;
mod files;
pub mod header;
mod json;
mod shards;
mod template;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rewardrt_models::package::FileEntry;
use rewardrt_models::spec::Weight;
use serde::Deserialize;
use serde_json::Value;

pub use convert::to_f32;
pub use error::{CheckpointError, Mismatch};
pub use files::{MAX_CONFIG_BYTES, MAX_INDEX_BYTES, MAX_TOKENIZER_BYTES, MAX_TOKENIZER_CONFIG_BYTES};
pub use header::Dtype;
pub use shards::{MAX_SHARDS, Tensor};

use files::Files;

/// An open checkpoint. Weights stay in their files until rows of them are asked for; reading takes `&self` and may
/// happen on several threads.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder.
    pub dir: PathBuf,
    /// `config.json`.
    pub config: Value,
    /// `generation_config.json`.
    pub generation: Option<Value>,
    /// The bytes of `tokenizer.json`, known to be JSON.
    pub tokenizer: Vec<u8>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<Value>,
    /// The chat template, a Jinja text.
    pub chat_template: String,
    /// `processor_config.json`, where the present layout keeps the picture processing.
    pub processor: Option<Value>,
    /// `preprocessor_config.json`, where the older layout keeps it.
    pub preprocessor: Option<Value>,
    /// `video_preprocessor_config.json` of the older layout.
    pub video_preprocessor: Option<Value>,
    /// `model_config.json`, which the training of some reward models leaves.
    pub reward: Option<Value>,
    /// The tokens that `tokenizer.json` adds to its model's own, with their ids.
    pub added_tokens: BTreeMap<String, u32>,
    weights: shards::Weights,
    small: Vec<FileEntry>,
}

impl Checkpoint {
    /// Opens the folder and reads everything but the weights themselves.
    ///
    /// # Errors
    /// A [`CheckpointError`] that names the file: absent, too long, not what its name says, or in disagreement
    /// with another.
    pub fn open(dir: &Path) -> Result<Checkpoint, CheckpointError> {
        if !dir.is_dir() {
            return Err(CheckpointError::NotAFolder(dir.to_owned()));
        }
        let mut files = Files::new(dir);
        let way_out = "every checkpoint has one; fetch the checkpoint again";
        let missing = |name: &str| CheckpointError::Missing { path: dir.join(name), way_out };
        let config = files.json("config.json", MAX_CONFIG_BYTES)?.ok_or_else(|| missing("config.json"))?;
        let generation = files.json("generation_config.json", MAX_CONFIG_BYTES)?;
        let (tokenizer, added_tokens) = tokenizer(&mut files)?.ok_or_else(|| missing("tokenizer.json"))?;
        let tokenizer_config = files.json("tokenizer_config.json", MAX_TOKENIZER_CONFIG_BYTES)?;
        let chat_template = template::find(&mut files, tokenizer_config.as_ref())?;
        let processor = files.json("processor_config.json", MAX_CONFIG_BYTES)?;
        let preprocessor = files.json("preprocessor_config.json", MAX_CONFIG_BYTES)?;
        let video_preprocessor = files.json("video_preprocessor_config.json", MAX_CONFIG_BYTES)?;
        let reward = files.json("model_config.json", MAX_CONFIG_BYTES)?;
        let weights = shards::Weights::open(&mut files, reward.as_ref())?;
        Ok(Checkpoint {
            dir: dir.to_owned(),
            config,
            generation,
            tokenizer,
            tokenizer_config,
            chat_template,
            processor,
            preprocessor,
            video_preprocessor,
            reward,
            added_tokens,
            weights,
            small: files.read,
        })
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.weights.tensors
    }

    /// One tensor.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.weights.tensors.get(name)
    }

    /// Compares the tensors with those that a spec describes; `ignored` may stand in the checkpoint unused.
    ///
    /// # Errors
    /// [`CheckpointError::Mismatch`] with every tensor that is missing, left over or of another shape.
    pub fn check(&self, described: &[&Weight], ignored: &[String]) -> Result<(), CheckpointError> {
        let mut mismatch = Mismatch::default();
        let mut known: BTreeSet<&str> = ignored.iter().map(String::as_str).collect();
        for weight in described {
            known.insert(&weight.name);
            match self.tensor(&weight.name) {
                None => mismatch.missing.push(weight.name.clone()),
                Some(t) if t.shape != weight.shape => {
                    let text = format!("{} is {:?}, not {:?}", weight.name, t.shape, weight.shape);
                    mismatch.wrong_shape.push(text);
                }
                Some(_) => {}
            }
        }
        let left_over = self.weights.tensors.keys().filter(|name| !known.contains(name.as_str()));
        mismatch.left_over = left_over.cloned().collect();
        if mismatch.is_empty() {
            return Ok(());
        }
        Err(CheckpointError::Mismatch { path: self.dir.clone(), mismatch })
    }

    /// Little-endian bytes of rows of a tensor that is seen as `[rows, columns]`, see [`Tensor::columns`].
    ///
    /// # Errors
    /// [`CheckpointError::NoRows`] for an unknown name or rows beyond the end, [`CheckpointError::Io`].
    pub fn bytes(&self, name: &str, rows: Range<usize>) -> Result<Vec<u8>, CheckpointError> {
        let tensor = self.with_rows(name, &rows)?;
        match self.weights.low_rank(name) {
            Some(sum) => sum.rows(&self.weights, rows),
            None => self.read(tensor, rows),
        }
    }

    /// The same rows as 32-bit floats, `[rows, columns]` in row-major order; the conversion is exact.
    ///
    /// # Errors
    /// As [`Checkpoint::bytes`].
    pub fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, CheckpointError> {
        let tensor = self.with_rows(name, &rows)?;
        let bytes = self.bytes(name, rows)?;
        let mut out = vec![0.0; bytes.len() / tensor.dtype.bytes()];
        to_f32(tensor.dtype, &bytes, &mut out);
        Ok(out)
    }

    fn with_rows(&self, name: &str, rows: &Range<usize>) -> Result<&Tensor, CheckpointError> {
        let tensor = self.tensor(name).filter(|t| rows.start <= rows.end && rows.end <= t.rows());
        tensor.ok_or_else(|| CheckpointError::NoRows {
            name: name.to_owned(),
            begin: rows.start,
            end: rows.end,
        })
    }

    fn read(&self, tensor: &Tensor, rows: Range<usize>) -> Result<Vec<u8>, CheckpointError> {
        let mut out = vec![0; rows.len() * tensor.row_bytes()];
        self.weights.read(tensor, rows.start as u64 * tensor.row_bytes() as u64, &mut out)?;
        Ok(out)
    }

    /// Name, size and SHA-256 of every file that was read, weights included. This reads all weights once; it may
    /// run on a thread of its own beside the export.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], [`CheckpointError::Changed`].
    pub fn identity(&self) -> Result<Vec<FileEntry>, CheckpointError> {
        let mut all = self.small.clone();
        all.extend(self.weights.identity()?);
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    /// Refuses when a weight file was written to since the checkpoint was opened; to be called after the last read,
    /// so that the identity belongs to the weights that were exported.
    ///
    /// # Errors
    /// [`CheckpointError::Changed`], [`CheckpointError::Io`].
    pub fn check_unchanged(&self) -> Result<(), CheckpointError> {
        self.weights.check_unchanged()
    }
}

/// The bytes of a tokenizer, and the tokens that it adds.
type Tokenizer = (Vec<u8>, BTreeMap<String, u32>);

/// The tokenizer travels into the package byte for byte; that it is JSON is checked here, and which tokens it adds is
/// read. Its meaning is for whoever loads it.
fn tokenizer(files: &mut Files) -> Result<Option<Tokenizer>, CheckpointError> {
    const NAME: &str = "tokenizer.json";
    #[derive(Deserialize)]
    struct Read {
        #[serde(default)]
        added_tokens: Vec<Added>,
    }
    #[derive(Deserialize)]
    struct Added {
        id: u32,
        content: String,
    }
    let Some(bytes) = files.bytes(NAME, MAX_TOKENIZER_BYTES)? else { return Ok(None) };
    match serde_json::from_slice::<Read>(&bytes) {
        Ok(read) => Ok(Some((bytes, read.added_tokens.into_iter().map(|t| (t.content, t.id)).collect()))),
        Err(e) => Err(CheckpointError::Content { path: files.path(NAME), reason: e.to_string() }),
    }
}
