//! The small files of a checkpoint: read whole, within a limit, and hashed.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rewardrt_models::package::{FileEntry, hex};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::CheckpointError;
use super::json;

/// Longest config, generation config, processor config or template; real ones take a few kilobytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Longest tokenizer_config.json; it may describe each added token and hold a template.
pub const MAX_TOKENIZER_CONFIG_BYTES: u64 = 16 << 20;
/// Longest tokenizer.json; vocabularies of 260,000 tokens with their merges take 35 MB.
pub const MAX_TOKENIZER_BYTES: u64 = 128 << 20;
/// Longest shard index, room for as many names as the headers may hold.
pub const MAX_INDEX_BYTES: u64 = 32 << 20;

/// Reads small files of one folder and keeps the identity of each.
pub(super) struct Files {
    dir: PathBuf,
    /// Name, size and hash of every file read, in the order of reading.
    pub(super) read: Vec<FileEntry>,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Files {
        Files { dir: dir.to_owned(), read: Vec::new() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The bytes of a file, or nothing when it does not exist.
    pub(super) fn bytes(&mut self, name: &str, most: u64) -> Result<Option<Vec<u8>>, CheckpointError> {
        let path = self.path(name);
        let Some(size) = regular_size(&path)? else { return Ok(None) };
        if size > most {
            return Err(CheckpointError::TooLong { path, size, most });
        }
        let mut bytes = Vec::new();
        let file =
            fs::File::open(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
        // One byte more than the limit, so that a file that grew meanwhile is noticed.
        let copied = file.take(most + 1).read_to_end(&mut bytes);
        copied.map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
        let size = bytes.len() as u64;
        if size > most {
            return Err(CheckpointError::TooLong { path, size, most });
        }
        self.read.push(FileEntry { path: name.to_owned(), size, sha256: hex(&Sha256::digest(&bytes)) });
        Ok(Some(bytes))
    }

    /// The JSON of a file, or nothing when it does not exist.
    pub(super) fn json(&mut self, name: &str, most: u64) -> Result<Option<Value>, CheckpointError> {
        let Some(bytes) = self.bytes(name, most)? else { return Ok(None) };
        let parsed =
            json::parse(&bytes).map_err(|reason| CheckpointError::Content { path: self.path(name), reason });
        parsed.map(Some)
    }

    /// The text of a file, or nothing when it does not exist.
    pub(super) fn text(&mut self, name: &str, most: u64) -> Result<Option<String>, CheckpointError> {
        let Some(bytes) = self.bytes(name, most)? else { return Ok(None) };
        let reason = |e: std::string::FromUtf8Error| e.utf8_error().to_string();
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|e| CheckpointError::Content { path: self.path(name), reason: reason(e) })
    }
}

/// Size of a regular file, through symbolic links as download caches make them; nothing when it does not exist.
pub(super) fn regular_size(path: &Path) -> Result<Option<u64>, CheckpointError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(meta.len())),
        Ok(_) => Err(CheckpointError::NotAFile(path.to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CheckpointError::Io { path: path.to_owned(), source }),
    }
}
