//! The header of a safetensors file: eight bytes of little-endian length, JSON of that length, then the data.
//!
//! Parsing is a pure function over bytes. What it accepts is sound: names are unique and harmless, every size is
//! the product of its shape and its dtype, and the tensors tile the data without gap, overlap or rest.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::json::Pairs;

/// Longest header. An entry takes about 150 bytes; 32 MiB is room for 200,000 tensors, while the largest public
/// checkpoints list fewer than 100,000 over all their shards.
pub const MAX_HEADER_BYTES: u64 = 32 << 20;
/// Most tensors in one file, see [`MAX_HEADER_BYTES`].
pub const MAX_TENSORS: usize = 1 << 18;
/// Longest tensor name; a path through a module tree stays well under it.
pub const MAX_NAME_BYTES: usize = 256;
/// Most dimensions of a tensor; a video patch convolution has five.
pub const MAX_RANK: usize = 8;
/// Largest single dimension, the largest that an ONNX kernel indexes with 32 bits.
pub const MAX_DIM: u64 = i32::MAX as u64;

/// Element types that weights are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// Brain float: the upper half of a 32-bit float.
    Bf16,
}

impl Dtype {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }

    /// Name in a safetensors header.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
        }
    }

    fn parse(name: &str) -> Option<Dtype> {
        [Dtype::F32, Dtype::F16, Dtype::Bf16].into_iter().find(|d| d.name() == name)
    }
}

/// One tensor of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape; no dimension is zero, a scalar has none.
    pub shape: Vec<usize>,
    /// First byte, counted from the end of the header.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

/// Why a header is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeaderError {
    /// The file cannot hold the header that its first eight bytes announce.
    #[error(
        "a header of {header} bytes is announced in a file of {file} bytes; the file is cut or not safetensors"
    )]
    Short {
        /// Announced header length.
        header: u64,
        /// Length of the file.
        file: u64,
    },
    /// The announced header is too long.
    #[error("a header of {0} bytes, at most {MAX_HEADER_BYTES} are read; save the checkpoint in more shards")]
    Long(u64),
    /// The header is not the JSON of a safetensors header, or a name stands twice in it.
    #[error("the header cannot be read: {0}")]
    Json(String),
    /// One tensor is described in a way that is refused.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// Its name, cut at [`MAX_NAME_BYTES`] characters.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The tensors end before or after the data does.
    #[error("the tensors take {tensors} bytes, the file holds {data}; the file is cut or was appended to")]
    Tail {
        /// End of the last tensor.
        tensors: u64,
        /// Bytes after the header.
        data: u64,
    },
}

/// Length of the JSON part, from the first eight bytes of a file of `file` bytes.
///
/// # Errors
/// [`HeaderError::Long`] over [`MAX_HEADER_BYTES`], [`HeaderError::Short`] when the file cannot hold it.
pub fn header_len(prefix: [u8; 8], file: u64) -> Result<usize, HeaderError> {
    let header = u64::from_le_bytes(prefix);
    if header.checked_add(8).is_none_or(|end| end > file) {
        return Err(HeaderError::Short { header, file });
    }
    if header > MAX_HEADER_BYTES {
        return Err(HeaderError::Long(header));
    }
    usize::try_from(header).map_err(|_| HeaderError::Long(header))
}

/// Reads the JSON part of a header that is followed by `data` bytes; the entries come back in data order.
///
/// # Errors
/// [`HeaderError::Json`], [`HeaderError::Tensor`] and [`HeaderError::Tail`], for the first thing that is wrong.
pub fn parse(json: &[u8], data: u64) -> Result<Vec<Entry>, HeaderError> {
    let Raw(raw) = serde_json::from_slice(json).map_err(|e| HeaderError::Json(e.to_string()))?;
    let mut entries =
        raw.into_iter().map(|(name, entry)| check_entry(name, entry)).collect::<Result<Vec<_>, _>>()?;
    // Ends after begins, so that two tensors can only share a begin by overlapping.
    entries.sort_by_key(|e| (e.begin, e.end));
    let mut at = 0;
    for entry in &entries {
        if entry.begin != at {
            let what =
                if entry.begin < at { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return refuse(&entry.name, format!("begins at {}, {what}, which ends at {at}", entry.begin));
        }
        at = entry.end;
    }
    if at != data {
        return Err(HeaderError::Tail { tensors: at, data });
    }
    Ok(entries)
}

fn check_entry(name: String, raw: RawEntry) -> Result<Entry, HeaderError> {
    if !is_harmless(&name) {
        return refuse(&name, format!("a name is 1 to {MAX_NAME_BYTES} characters of [A-Za-z0-9._-]"));
    }
    let Some(dtype) = Dtype::parse(&raw.dtype) else {
        return refuse(
            &name,
            format!("dtype {:?}; save the checkpoint as F32, F16 or BF16", cut(&raw.dtype)),
        );
    };
    if raw.shape.len() > MAX_RANK || raw.shape.iter().any(|&d| d == 0 || d > MAX_DIM) {
        return refuse(
            &name,
            format!("shape {:?}: at most {MAX_RANK} dimensions of 1..={MAX_DIM}", raw.shape),
        );
    }
    let size = raw.shape.iter().try_fold(dtype.bytes() as u64, |size, &d| size.checked_mul(d));
    let [begin, end] = raw.data_offsets;
    if size.is_none() || end.checked_sub(begin) != size {
        let [shape, dtype] = [format!("{:?}", raw.shape), dtype.name().to_owned()];
        return refuse(&name, format!("bytes {begin}..{end} do not hold a shape of {shape} in {dtype}"));
    }
    // Every dimension is at most MAX_DIM, which fits a usize of 32 bits.
    let shape = raw.shape.iter().map(|&d| d as usize).collect();
    Ok(Entry { name, dtype, shape, begin, end })
}

fn is_harmless(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn refuse<T>(name: &str, reason: String) -> Result<T, HeaderError> {
    Err(HeaderError::Tensor { name: cut(name), reason })
}

/// Text of a hostile file, short enough for a message.
fn cut(text: &str) -> String {
    text.chars().take(MAX_NAME_BYTES).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// All entries but `__metadata__`, which must be an object of strings and is otherwise of no interest.
struct Raw(Vec<(String, RawEntry)>);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_map(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut seen = std::collections::BTreeSet::new();
        let mut entries = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("the name {:?} stands twice", cut(&name))));
            }
            if seen.len() > MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            if name == "__metadata__" {
                access.next_value::<Pairs<String>>()?;
            } else {
                entries.push((name, access.next_value()?));
            }
        }
        Ok(Raw(entries))
    }
}

#[cfg(test)]
mod tests;
