//! The weight files: one `model.safetensors`, or shards and the index that names them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rewardrt_models::package::{FileEntry, hex, is_plain_name};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::adapter::{self, LowRank, Settings};
use super::error::CheckpointError;
use super::files::{Files, MAX_CONFIG_BYTES, MAX_INDEX_BYTES, regular_size};
use super::header::{self, Dtype, Entry};
use super::json::Pairs;

/// Most shards: a manifest lists at most 256 files of its source, and some of them are not weights.
pub const MAX_SHARDS: usize = 200;

const SINGLE: &str = "model.safetensors";
/// An adapter beside the weights.
const ADAPTER: &str = "adapter_model.safetensors";
/// Its settings.
const ADAPTER_CONFIG: &str = "adapter_config.json";
const INDEX: &str = "model.safetensors.index.json";
/// Bytes hashed at a time.
const HASH_BLOCK: usize = 1 << 20;

/// A tensor of the checkpoint: where it stands and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Element type; 32-bit floats for a weight with an adapter, whatever is stored.
    pub dtype: Dtype,
    /// Shape; a scalar has no dimension.
    pub shape: Vec<usize>,
    shard: usize,
    offset: u64,
}

impl Tensor {
    /// Size of the first dimension; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of a row: the product of all dimensions but the first.
    pub fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.columns() * self.dtype.bytes()
    }

    /// Bytes of the whole tensor.
    pub fn bytes(&self) -> u64 {
        self.rows() as u64 * self.row_bytes() as u64
    }
}

/// One open weight file.
#[derive(Debug)]
struct Shard {
    name: String,
    path: PathBuf,
    file: File,
    size: u64,
    modified: Option<SystemTime>,
}

/// All weight files of a checkpoint, open, and the tensors in them.
#[derive(Debug)]
pub(super) struct Weights {
    shards: Vec<Shard>,
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// The weights with an adapter.
    low: BTreeMap<String, LowRank>,
}

impl Weights {
    /// Opens all weight files. `training` is `model_config.json`, which may hold an adapter's settings.
    pub(super) fn open(files: &mut Files, training: Option<&Value>) -> Result<Weights, CheckpointError> {
        let dir = files.path("");
        let single = regular_size(&files.path(SINGLE))?.is_some();
        let index = read_index(files)?;
        let refuse = |reason: String| CheckpointError::Weights { path: dir.clone(), reason };
        let names: Vec<String> = match (single, &index) {
            (true, None) => vec![SINGLE.to_owned()],
            (false, Some(map)) => map.values().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            (true, Some(_)) => {
                return Err(refuse(format!(
                    "{SINGLE} and {INDEX} stand side by side; remove the one that is stale"
                )));
            }
            (false, None) => return Err(refuse(no_weights(&dir)?)),
        };
        if names.len() > MAX_SHARDS {
            return Err(refuse(format!(
                "{} shards, at most {MAX_SHARDS} are read; save in larger ones",
                names.len()
            )));
        }
        let adapter = files.json(ADAPTER_CONFIG, MAX_CONFIG_BYTES)?;
        let known = |name: &String| names.contains(name) || (adapter.is_some() && name == ADAPTER);
        if let Some(stray) = weight_files(&dir)?.into_iter().find(|name| !known(name)) {
            return Err(refuse(format!(
                "{stray} is not part of the checkpoint; merge it into the weights or move it away"
            )));
        }
        let mut weights = Weights { shards: Vec::new(), tensors: BTreeMap::new(), low: BTreeMap::new() };
        for name in names {
            weights.add(files, name)?;
        }
        if let Some(map) = index {
            weights.check_index(files, &map)?;
        }
        weights.adapt(files, adapter.as_ref(), training)?;
        Ok(weights)
    }

    /// Finds the weights that an adapter is to be added to, beside them or among them.
    fn adapt(
        &mut self,
        files: &mut Files,
        config: Option<&Value>,
        training: Option<&Value>,
    ) -> Result<(), CheckpointError> {
        let refuse = |reason| CheckpointError::Adapter { path: files.path(""), reason };
        let settings = match config {
            Some(config) => Some(Settings::of_adapter(config)),
            None => training.and_then(|config| Settings::of_training(config).transpose()),
        };
        let settings = settings.transpose().map_err(refuse)?;
        let mut beside = BTreeMap::new();
        if config.is_some() && regular_size(&files.path(ADAPTER))?.is_some() {
            let own = std::mem::take(&mut self.tensors);
            self.add(files, ADAPTER.to_owned())?;
            beside = std::mem::replace(&mut self.tensors, own);
        }
        self.low = adapter::merge(&mut self.tensors, beside, settings).map_err(refuse)?;
        Ok(())
    }

    /// The weight of this name with its adapter, if it has one.
    pub(super) fn low_rank(&self, name: &str) -> Option<&LowRank> {
        self.low.get(name)
    }

    fn add(&mut self, files: &Files, name: String) -> Result<(), CheckpointError> {
        let path = files.path(&name);
        if regular_size(&path)?.is_none() {
            return Err(CheckpointError::Missing {
                path,
                way_out: "the index names it; fetch the checkpoint again",
            });
        }
        let (shard, start, entries) = Shard::open(name, path)?;
        for Entry { name, dtype, shape, begin, .. } in entries {
            let tensor = Tensor { dtype, shape, shard: self.shards.len(), offset: start + begin };
            if let Some(other) = self.tensors.get(&name) {
                let other = &self.shards[other.shard].name;
                let reason = format!("tensor {name} stands in {other} and in {}", shard.name);
                return Err(CheckpointError::Weights { path: files.path(""), reason });
            }
            self.tensors.insert(name, tensor);
        }
        self.shards.push(shard);
        Ok(())
    }

    fn check_index(&self, files: &Files, map: &BTreeMap<String, String>) -> Result<(), CheckpointError> {
        let refuse = |reason| Err(CheckpointError::Index { path: files.path(INDEX), reason });
        for (name, file) in map {
            match self.tensors.get(name) {
                None => return refuse(format!("tensor {name:?} is in none of them")),
                Some(t) if self.shards[t.shard].name != *file => {
                    return refuse(format!(
                        "tensor {name} is in {}, not in {file}",
                        self.shards[t.shard].name
                    ));
                }
                Some(_) => {}
            }
        }
        match self.tensors.keys().find(|name| !map.contains_key(*name)) {
            Some(name) => refuse(format!("tensor {name} of a shard is not in the index")),
            None => Ok(()),
        }
    }

    /// Fills `out` with bytes of a tensor, `skip` bytes from its beginning.
    pub(super) fn read(&self, tensor: &Tensor, skip: u64, out: &mut [u8]) -> Result<(), CheckpointError> {
        let shard = &self.shards[tensor.shard];
        let read = shard.file.read_exact_at(out, tensor.offset + skip);
        read.map_err(|source| CheckpointError::Io { path: shard.path.clone(), source })
    }

    /// Name, size and SHA-256 of every weight file.
    pub(super) fn identity(&self) -> Result<Vec<FileEntry>, CheckpointError> {
        self.shards.iter().map(Shard::identity).collect()
    }

    /// Refuses when a weight file was written to since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), CheckpointError> {
        self.shards.iter().try_for_each(Shard::check_unchanged)
    }
}

impl Shard {
    /// Opens the file and reads its header; also returns where the data starts.
    fn open(name: String, path: PathBuf) -> Result<(Shard, u64, Vec<Entry>), CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.clone(), source };
        let refuse = |source| CheckpointError::Header { path: path.clone(), source };
        let file = File::open(&path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        let size = meta.len();
        let Some(after_prefix) = size.checked_sub(8) else {
            return Err(refuse(header::HeaderError::Short { header: 0, file: size }));
        };
        let mut prefix = [0; 8];
        file.read_exact_at(&mut prefix, 0).map_err(io)?;
        let length = header::header_len(prefix, size).map_err(refuse)?;
        let mut json = vec![0; length];
        file.read_exact_at(&mut json, 8).map_err(io)?;
        let entries = header::parse(&json, after_prefix - length as u64).map_err(refuse)?;
        let shard = Shard { name, file, size, modified: meta.modified().ok(), path };
        Ok((shard, 8 + length as u64, entries))
    }

    fn identity(&self) -> Result<FileEntry, CheckpointError> {
        let mut hash = Sha256::new();
        let mut block = vec![0; HASH_BLOCK];
        let mut at = 0;
        while at < self.size {
            let take = (self.size - at).min(HASH_BLOCK as u64) as usize;
            let read = self.file.read_exact_at(&mut block[..take], at);
            read.map_err(|source| CheckpointError::Io { path: self.path.clone(), source })?;
            hash.update(&block[..take]);
            at += take as u64;
        }
        self.check_unchanged()?;
        Ok(FileEntry { path: self.name.clone(), size: self.size, sha256: hex(&hash.finalize()) })
    }

    fn check_unchanged(&self) -> Result<(), CheckpointError> {
        let meta = self.file.metadata();
        let meta = meta.map_err(|source| CheckpointError::Io { path: self.path.clone(), source })?;
        if meta.len() != self.size || meta.modified().ok() != self.modified {
            return Err(CheckpointError::Changed(self.path.clone()));
        }
        Ok(())
    }
}

/// The file of each tensor, or nothing when there is no index.
fn read_index(files: &mut Files) -> Result<Option<BTreeMap<String, String>>, CheckpointError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Pairs<String>,
    }
    let Some(bytes) = files.bytes(INDEX, MAX_INDEX_BYTES)? else { return Ok(None) };
    let refuse = |reason| CheckpointError::Content { path: files.path(INDEX), reason };
    let index: Index = serde_json::from_slice(&bytes).map_err(|e| refuse(e.to_string()))?;
    let map: BTreeMap<_, _> = index.weight_map.0.into_iter().collect();
    if map.is_empty() {
        return Err(refuse("weight_map is empty".to_owned()));
    }
    if let Some(file) = map.values().find(|f| !is_plain_name(f) || !f.ends_with(".safetensors")) {
        return Err(refuse(format!("{file:?} is not a plain .safetensors file name in the folder")));
    }
    Ok(Some(map))
}

/// Names of the safetensors files in a folder, in order.
fn weight_files(dir: &Path) -> Result<Vec<String>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Says what the folder holds instead of weights that can be read.
fn no_weights(dir: &Path) -> Result<String, CheckpointError> {
    let found = weight_files(dir)?;
    Ok(match found.first() {
        Some(file) if file == ADAPTER => format!(
            "{file} is an adapter without its base; put the base model's files beside it and its {ADAPTER_CONFIG}"
        ),
        Some(file) => {
            format!("{file} is there, but neither {SINGLE} nor {INDEX}; fetch the checkpoint again")
        }
        None => format!(
            "neither {SINGLE} nor {INDEX} is there; pickled weights (.bin, .pt) are never opened, since they can \
             run code: save the model again as safetensors"
        ),
    })
}
