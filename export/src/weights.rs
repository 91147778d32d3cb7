//! The writer of an external-data file: tensors are read from the checkpoint in blocks of rows, converted, hashed
//! and appended, so that memory stays at a few blocks whatever the size of the model.
//!
//! Each tensor begins at a multiple of 4096 bytes, so that the loader can map it. The zero bytes between tensors
//! are hashed with the rest.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rewardrt_models::package::onnx::DataType;
use rewardrt_models::package::{FileEntry, hex};
use sha2::{Digest, Sha256};

use self::source::Source;
use crate::checkpoint::{Checkpoint, CheckpointError, Dtype, Tensor};
use crate::quantize::{Bits, BlockSizeError, Blocks, Rounding};
use crate::seal::{SealError, Staging};

mod source;

/// Every tensor begins at a multiple of this: the page size that ONNX Runtime asks for when it maps a file.
pub const ALIGNMENT: u64 = 4096;
/// Bytes of codes that are transposed at a time. A larger matrix is read once more for each further part of it, so it
/// bounds the memory: only matrices of over 32 million weights are read twice.
const PART_BYTES: usize = 32 << 20;

/// Why weights cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The file could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The file could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk is full.
    #[error("{path}: no space left; {needed} bytes are needed: free some or choose another place", path = path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Bytes that the whole file takes.
        needed: u64,
    },
    /// A weight is NaN or infinite.
    #[error(
        "tensor {tensor}, row {row}: a weight is not finite; the checkpoint is damaged or training diverged"
    )]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// The row.
        row: usize,
    },
    /// A weight is too large for 16 bits.
    #[error(
        "tensor {tensor}, row {row}: a weight over 65504 does not fit fp16; export with bf16, fp32, int8, int4 or w8a8"
    )]
    Fp16Range {
        /// Name of the tensor.
        tensor: String,
        /// The row.
        row: usize,
    },
    /// The operator does not take blocks of this size.
    #[error(transparent)]
    BlockSize(#[from] BlockSizeError),
    /// Only a matrix can be quantised.
    #[error("tensor {tensor} of shape {shape:?} is no matrix [N, K..]; store it as fp32")]
    NoMatrix {
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

/// How a tensor is stored. Weights that are not finite are refused whatever the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// 32-bit floats; exact.
    F32,
    /// 16-bit floats, rounded to nearest; a weight that would become infinite is refused.
    F16,
    /// Brain floats, rounded to nearest; exact where the checkpoint holds them.
    Bf16,
    /// In the element type of the checkpoint, byte for byte.
    AsIs,
    /// 8-bit codes in blocks, see [`Blocks`].
    Int8 {
        /// Weights in a block: 16, 32, 64, 128 or 256.
        block: usize,
    },
    /// 4-bit codes in blocks, see [`Blocks`].
    Int4 {
        /// Weights in a block: 16, 32, 64, 128 or 256.
        block: usize,
    },
    /// Signed 8-bit codes with one scale for each output, see [`Rounding::Row`], transposed to `[inputs, outputs]`.
    Columns,
}

impl Store {
    /// How the quantised forms round.
    ///
    /// # Errors
    /// [`BlockSizeError`] for a size that the operator does not take.
    pub fn rounding(self) -> Result<Option<Rounding>, BlockSizeError> {
        let blocks = |bits, size| Ok(Some(Rounding::Blocks(Blocks::new(bits, size)?)));
        match self {
            Store::F32 | Store::F16 | Store::Bf16 | Store::AsIs => Ok(None),
            Store::Int8 { block } => blocks(Bits::Eight, block),
            Store::Int4 { block } => blocks(Bits::Four, block),
            Store::Columns => Ok(Some(Rounding::Row)),
        }
    }

    /// Bytes that a tensor takes in the file, alignment included: the most it can be.
    ///
    /// # Errors
    /// As [`Store::rounding`].
    pub fn planned(self, tensor: &Tensor) -> Result<u64, BlockSizeError> {
        let (rows, columns) = (tensor.rows() as u64, tensor.columns());
        let row = match self.rounding()? {
            Some(rounding) => rounding.bytes(columns) + 4 * rounding.scales(columns),
            None => columns * if self.element(tensor.dtype) == DataType::Float { 4 } else { 2 },
        };
        Ok(rows * row as u64 + 2 * ALIGNMENT)
    }

    /// Element type of the forms that are not quantised.
    fn element(self, stored: Dtype) -> DataType {
        match self {
            Store::F16 => DataType::Float16,
            Store::Bf16 => DataType::Bfloat16,
            Store::AsIs => native(stored),
            _ => DataType::Float,
        }
    }
}

/// The element type of the checkpoint in the words of ONNX.
fn native(stored: Dtype) -> DataType {
    match stored {
        Dtype::F32 => DataType::Float,
        Dtype::F16 => DataType::Float16,
        Dtype::Bf16 => DataType::Bfloat16,
    }
}

/// Place of a tensor in the file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External {
    /// First byte, a multiple of [`ALIGNMENT`].
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// A tensor in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Element type.
    pub dtype: DataType,
    /// Shape.
    pub dims: Vec<i64>,
    /// Where it stands.
    pub external: External,
}

impl Written {
    /// The same bytes as `[first dimension, all others]`.
    pub(crate) fn as_matrix(&self) -> Written {
        let (rows, others) = self.dims.split_first().map_or((1, &[][..]), |(rows, others)| (*rows, others));
        Written { dtype: self.dtype, dims: vec![rows, others.iter().product()], external: self.external }
    }
}

/// A weight in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The weight in the checkpoint's shape, or its codes: uint8 `[N, blocks, block * bits / 8]` in blocks, int8
    /// `[K, N]` with a scale for each output.
    pub data: Written,
    /// The f32 scales of a quantised weight: `[N, blocks]` or `[N]`.
    pub scales: Option<Written>,
}

/// Appends tensors to one file of a staged package.
#[derive(Debug)]
pub struct Writer<W: Write = File> {
    out: BufWriter<W>,
    name: String,
    path: PathBuf,
    planned: u64,
    at: u64,
    hash: Sha256,
}

impl Writer {
    /// Makes the file. `planned` is its size as far as it is known, the sum of [`Store::planned`]; it is told to
    /// the user when the disk is full.
    ///
    /// # Errors
    /// [`WeightsError::Seal`] for a name that a package cannot hold or that is taken.
    pub fn create(staging: &Staging, name: &str, planned: u64) -> Result<Writer, WeightsError> {
        let (file, path) = staging.create(name)?;
        Ok(Writer::over(file, path, name, planned))
    }
}

impl<W: Write> Writer<W> {
    fn over(out: W, path: PathBuf, name: &str, planned: u64) -> Writer<W> {
        let out = BufWriter::with_capacity(1 << 20, out);
        Writer { out, name: name.to_owned(), path, planned, at: 0, hash: Sha256::new() }
    }

    /// Appends a tensor of the checkpoint in the given form; rows keep their order.
    ///
    /// # Errors
    /// [`WeightsError::NotFinite`] and [`WeightsError::Fp16Range`] with the tensor's name and row,
    /// [`WeightsError::NoMatrix`] for a vector that should be quantised, [`WeightsError::Checkpoint`],
    /// [`WeightsError::DiskFull`], [`WeightsError::Io`].
    pub fn store(&mut self, from: &Checkpoint, name: &str, form: Store) -> Result<Stored, WeightsError> {
        let absent = || CheckpointError::NoRows { name: name.to_owned(), begin: 0, end: 0 };
        let tensor = from.tensor(name).ok_or_else(absent)?;
        let source = Source { from, name, tensor };
        match form.rounding()? {
            Some(Rounding::Blocks(blocks)) => self.quantized(&source, blocks),
            Some(Rounding::Row) => self.columns(&source, PART_BYTES),
            None => self.plain(&source, form),
        }
    }

    /// Appends a tensor that is in memory already.
    ///
    /// # Errors
    /// [`WeightsError::DiskFull`], [`WeightsError::Io`].
    pub fn append(&mut self, data: &[u8]) -> Result<External, WeightsError> {
        let offset = self.begin()?;
        self.push(data)?;
        Ok(External { offset, length: data.len() as u64 })
    }

    /// Ends the file. Its bytes reach the disk when the package is sealed.
    ///
    /// # Errors
    /// [`WeightsError::DiskFull`], [`WeightsError::Io`].
    pub fn finish(mut self) -> Result<FileEntry, WeightsError> {
        self.out.flush().map_err(|e| failed(&self.path, self.at, self.planned, e))?;
        Ok(FileEntry { path: self.name, size: self.at, sha256: hex(&self.hash.finalize()) })
    }

    fn plain(&mut self, source: &Source<'_>, form: Store) -> Result<Stored, WeightsError> {
        let dtype = form.element(source.tensor.dtype);
        let offset = self.begin()?;
        for rows in source.blocks() {
            let bytes = source.from.bytes(source.name, rows.clone())?;
            self.push(&source.convert(rows.start, bytes, dtype)?)?;
        }
        let dims = source.tensor.shape.iter().map(|&d| d as i64).collect();
        let external = External { offset, length: self.at - offset };
        Ok(Stored { data: Written { dtype, dims, external }, scales: None })
    }

    fn quantized(&mut self, source: &Source<'_>, blocks: Blocks) -> Result<Stored, WeightsError> {
        source.check_matrix()?;
        let tensor = source.tensor;
        let per_row = blocks.per_row(tensor.columns());
        let offset = self.begin()?;
        // Codes come first in the file, so the scales wait: an eighth of the bytes of bf16 weights with
        // blocks of 16, a sixteenth with 32.
        let mut scales = Vec::with_capacity(tensor.rows() * per_row * 4);
        for rows in source.blocks() {
            let (codes, block_scales) = source.quantize(rows, Rounding::Blocks(blocks))?;
            self.push(&codes)?;
            scales.extend(block_scales.iter().flat_map(|s| s.to_le_bytes()));
        }
        let [rows, per_row] = [tensor.rows() as i64, per_row as i64];
        let codes = External { offset, length: self.at - offset };
        let data = Written {
            dtype: DataType::Uint8,
            dims: vec![rows, per_row, blocks.bytes() as i64],
            external: codes,
        };
        let external = self.append(&scales)?;
        Ok(Stored {
            data,
            scales: Some(Written { dtype: DataType::Float, dims: vec![rows, per_row], external }),
        })
    }

    /// Codes of a scale for each output, transposed in parts of about `part` bytes, then the scales.
    fn columns(&mut self, source: &Source<'_>, part: usize) -> Result<Stored, WeightsError> {
        source.check_matrix()?;
        let (rows, columns) = (source.tensor.rows(), source.tensor.columns());
        let step = (part / rows.max(1)).max(1);
        let offset = self.begin()?;
        let mut scales = Vec::new();
        for begin in (0..columns).step_by(step) {
            let (codes, row_scales) = source.transposed(begin..columns.min(begin + step))?;
            self.push(&codes)?;
            scales = row_scales;
        }
        let external = External { offset, length: self.at - offset };
        let data = Written { dtype: DataType::Int8, dims: vec![columns as i64, rows as i64], external };
        let scales: Vec<u8> = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
        let external = self.append(&scales)?;
        let scales = Written { dtype: DataType::Float, dims: vec![rows as i64], external };
        Ok(Stored { data, scales: Some(scales) })
    }

    /// Pads to the next tensor and returns its offset.
    fn begin(&mut self) -> Result<u64, WeightsError> {
        let padding = self.at.next_multiple_of(ALIGNMENT) - self.at;
        self.push(&[0; ALIGNMENT as usize][..padding as usize])?;
        Ok(self.at)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        self.out.write_all(bytes).map_err(|e| failed(&self.path, self.at, self.planned, e))?;
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// An error of the system after `written` bytes of a file of about `planned`.
fn failed(path: &Path, written: u64, planned: u64, source: std::io::Error) -> WeightsError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            WeightsError::DiskFull { path, needed: planned.max(written) }
        }
        _ => WeightsError::Io { path, source },
    }
}

#[cfg(test)]
mod tests;
