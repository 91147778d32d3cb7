//! What the workspace's tests share: where the tree lies, and how a golden case is read.
//!
//! The reader of golden files is deliberately not the exporter's: a fault in one cannot hide a fault in the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Errors of the test helpers carry text only: a test prints them and stops.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folders `FAMILY/NAME` that hold `checkpoint/` and `cases/`: those in `REWARDRT_GOLDEN` when it is set, else the
/// committed ones, sorted by path.
pub fn golden_models() -> Result<Vec<PathBuf>> {
    let home = std::env::var_os("REWARDRT_GOLDEN").map_or_else(|| root().join("tests/golden"), PathBuf::from);
    let mut models = Vec::new();
    for family in folders_in(&home)? {
        models.extend(folders_in(&family)?.into_iter().filter(|model| model.join("cases").is_dir()));
    }
    if models.is_empty() {
        return Err(format!("no golden models in {}: run `make golden`", home.display()).into());
    }
    Ok(models)
}

/// The chats of one golden model, by name.
pub fn golden_cases(model: &Path) -> Result<Vec<Golden>> {
    folders_in(&model.join("cases"))?.iter().map(|folder| Golden::read(folder)).collect()
}

/// The committed models that end in a head of scores.
pub fn scored_models() -> Result<Vec<PathBuf>> {
    let folders = folders_in(&root().join("tests/golden/heads"))?;
    Ok(folders.into_iter().filter(|model| model.join("scored").is_dir()).collect())
}

/// The chats of one model that ends in a head of scores, by name.
pub fn scored_cases(model: &Path) -> Result<Vec<Golden>> {
    folders_in(&model.join("scored"))?.iter().map(|folder| Golden::read(folder)).collect()
}

/// The videos of one model that ends in a head of scores, by name; most have none.
pub fn clips(model: &Path) -> Result<Vec<Golden>> {
    let home = model.join("clips");
    if !home.is_dir() {
        return Ok(Vec::new());
    }
    folders_in(&home)?.iter().map(|folder| Golden::read(folder)).collect()
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// One chat and what the reference implementation gave for it. The tensors are listed in `golden/make_reference.py`.
pub struct Golden {
    /// The case's name, such as `pair`.
    pub name: String,
    /// The chat: a file for `rewardrt generate --messages`.
    pub messages: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

/// One tensor of a golden file, as it lies there.
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads the folder of one case.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("golden.safetensors");
        let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, messages: folder.join("messages.json"), tensors: parse(&bytes)? })
    }

    /// Whether the reference gave such a tensor: chats without pictures have none of the vision tower.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.tensor(name)?.shape)
    }

    /// The values of a 32-bit float tensor, in C order.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.rows(name, "F32")?.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// The values of a 64-bit integer tensor, in C order.
    pub fn i64(&self, name: &str) -> Result<Vec<i64>> {
        Ok(self.rows(name, "I64")?.iter().map(|b| i64::from_le_bytes(*b)).collect())
    }

    /// The bytes of an 8-bit tensor, in C order.
    pub fn u8(&self, name: &str) -> Result<&[u8]> {
        Ok(self.rows::<1>(name, "U8")?.as_flattened())
    }

    fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| format!("case {} has no tensor {name}", self.name).into())
    }

    fn rows<const N: usize>(&self, name: &str, dtype: &str) -> Result<&[[u8; N]]> {
        let tensor = self.tensor(name)?;
        let (rows, rest) = tensor.bytes.as_chunks::<N>();
        let whole = rest.is_empty() && rows.len() == tensor.shape.iter().product::<usize>();
        if tensor.dtype != dtype || !whole {
            return Err(format!("{name} is {} {:?}, not whole {dtype}", tensor.dtype, tensor.shape).into());
        }
        Ok(rows)
    }
}

/// A safetensors file: the length of a JSON header, the header, the bytes that its offsets point into.
fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let (length, rest) =
        bytes.split_first_chunk::<8>().ok_or("the file is shorter than its header's length")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, data) = rest.split_at_checked(length).ok_or("the header is longer than the file")?;
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)?;
    header
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| Ok((name.clone(), tensor(entry, data)?)))
        .collect()
}

fn tensor(entry: &serde_json::Value, data: &[u8]) -> Result<Tensor> {
    let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone())?;
    let (start, end): (usize, usize) = serde_json::from_value(entry["data_offsets"].clone())?;
    let bytes = data.get(start..end).ok_or("a tensor's offsets lie outside the file")?.to_vec();
    Ok(Tensor { dtype: entry["dtype"].as_str().unwrap_or_default().to_owned(), shape, bytes })
}
