//! The writer of an external-data file: tensors are read from the checkpoint in blocks of rows, converted, hashed
//! and appended, so that memory stays at a few blocks whatever the size of the model.
//!
//! Each tensor begins at a multiple of 4096 bytes, so that the loader can map it. The zero bytes between tensors
//! are hashed with the rest.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rewardrt_models::package::onnx::DataType;
use rewardrt_models::package::{FileEntry, hex};
use sha2::{Digest, Sha256};

use crate::checkpoint::{Checkpoint, CheckpointError, Dtype, Tensor, to_f32};
use crate::quantize::{Bits, BlockSizeError, Blocks};
use crate::seal::{SealError, Staging};

/// Every tensor begins at a multiple of this: the page size that ONNX Runtime asks for when it maps a file.
pub const ALIGNMENT: u64 = 4096;
/// Bytes of the checkpoint that are read at a time. Large enough that starting threads costs nothing beside it.
const BLOCK_BYTES: usize = 4 << 20;
/// More threads than this only wait for the disk and the hash.
const MAX_THREADS: usize = 8;

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
        "tensor {tensor}, row {row}: a weight over 65504 does not fit fp16; export with fp32, int8 or int4"
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
    /// Only a matrix can be block-quantised.
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
}

impl Store {
    /// The blocks of the quantised forms.
    ///
    /// # Errors
    /// [`BlockSizeError`] for a size that the operator does not take.
    pub fn blocks(self) -> Result<Option<Blocks>, BlockSizeError> {
        match self {
            Store::F32 | Store::F16 | Store::AsIs => Ok(None),
            Store::Int8 { block } => Blocks::new(Bits::Eight, block).map(Some),
            Store::Int4 { block } => Blocks::new(Bits::Four, block).map(Some),
        }
    }

    /// Bytes that a tensor takes in the file, alignment included: the most it can be.
    ///
    /// # Errors
    /// As [`Store::blocks`].
    pub fn planned(self, tensor: &Tensor) -> Result<u64, BlockSizeError> {
        let (rows, columns) = (tensor.rows() as u64, tensor.columns());
        let row = match self.blocks()? {
            Some(blocks) => blocks.per_row(columns) * (blocks.bytes() + 4),
            None => columns * if self.element(tensor.dtype) == DataType::Float { 4 } else { 2 },
        };
        Ok(rows * row as u64 + 2 * ALIGNMENT)
    }

    /// Element type of the forms without blocks.
    fn element(self, stored: Dtype) -> DataType {
        match self {
            Store::F16 => DataType::Float16,
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

/// A weight in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The weight in the checkpoint's shape, or its codes as uint8 `[N, blocks, block * bits / 8]`.
    pub data: Written,
    /// The f32 scales `[N, blocks]` of a block-quantised weight.
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
    /// [`WeightsError::NoMatrix`] for blocks of a vector, [`WeightsError::Checkpoint`],
    /// [`WeightsError::DiskFull`], [`WeightsError::Io`].
    pub fn store(&mut self, from: &Checkpoint, name: &str, form: Store) -> Result<Stored, WeightsError> {
        let absent = || CheckpointError::NoRows { name: name.to_owned(), begin: 0, end: 0 };
        let tensor = from.tensor(name).ok_or_else(absent)?;
        let source = Source { from, name, tensor };
        match form.blocks()? {
            Some(blocks) => self.quantized(&source, blocks),
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
        let tensor = source.tensor;
        if tensor.shape.len() < 2 {
            return Err(WeightsError::NoMatrix {
                tensor: source.name.to_owned(),
                shape: tensor.shape.clone(),
            });
        }
        let per_row = blocks.per_row(tensor.columns());
        let offset = self.begin()?;
        // Codes come first in the file, so the scales wait: an eighth of the bytes of bf16 weights with
        // blocks of 16, a sixteenth with 32.
        let mut scales = Vec::with_capacity(tensor.rows() * per_row * 4);
        for rows in source.blocks() {
            let (codes, block_scales) = source.quantize(rows, blocks)?;
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

/// A tensor on its way out of the checkpoint.
struct Source<'a> {
    from: &'a Checkpoint,
    name: &'a str,
    tensor: &'a Tensor,
}

impl Source<'_> {
    /// Ranges of rows of about [`BLOCK_BYTES`] each, at least one row.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.tensor.rows(), (BLOCK_BYTES / self.tensor.row_bytes()).max(1));
        (0..rows).step_by(step).map(move |begin| begin..rows.min(begin + step))
    }

    /// The rows that begin at `first` as little-endian elements of another type; all of them are checked.
    fn convert(&self, first: usize, bytes: Vec<u8>, to: DataType) -> Result<Vec<u8>, WeightsError> {
        let same = to == native(self.tensor.dtype);
        let mut row = vec![0.0; self.tensor.columns()];
        let mut halves = vec![f16::ZERO; row.len()];
        let mut out = Vec::with_capacity(if same { 0 } else { bytes.len() / self.tensor.dtype.bytes() * 4 });
        for (i, stored) in bytes.chunks_exact(self.tensor.row_bytes()).enumerate() {
            self.load(first + i, stored, &mut row)?;
            match to {
                _ if same => {}
                DataType::Float16 => {
                    if largest(&row) >= FP16_OVERFLOW {
                        return Err(WeightsError::Fp16Range { tensor: self.name.to_owned(), row: first + i });
                    }
                    halves.convert_from_f32_slice(&row);
                    out.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
                }
                _ => out.extend(row.iter().flat_map(|x| x.to_le_bytes())),
            }
        }
        Ok(if same { bytes } else { out })
    }

    /// Codes and scales of some rows, made on all cores.
    fn quantize(&self, rows: Range<usize>, blocks: Blocks) -> Result<(Vec<u8>, Vec<f32>), WeightsError> {
        let bytes = self.from.bytes(self.name, rows.clone())?;
        let per_row = blocks.per_row(self.tensor.columns());
        let mut codes = vec![0; rows.len() * per_row * blocks.bytes()];
        let mut scales = vec![0.0; rows.len() * per_row];
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let share = rows.len().div_ceil(threads);
        let parts = bytes
            .chunks(share * self.tensor.row_bytes())
            .zip(codes.chunks_mut(share * per_row * blocks.bytes()))
            .zip(scales.chunks_mut(share * per_row))
            .enumerate();
        thread::scope(|scope| {
            let running: Vec<_> = parts
                .map(|(i, ((bytes, codes), scales))| {
                    let first = rows.start + i * share;
                    scope.spawn(move || self.quantize_part(first, bytes, blocks, (codes, scales)))
                })
                .collect();
            // A panic of a part is a fault of this program and goes on as one.
            running.into_iter().try_for_each(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
        })?;
        Ok((codes, scales))
    }

    fn quantize_part(
        &self,
        first: usize,
        bytes: &[u8],
        blocks: Blocks,
        (codes, scales): (&mut [u8], &mut [f32]),
    ) -> Result<(), WeightsError> {
        let mut row = vec![0.0; self.tensor.columns()];
        let per_row = blocks.per_row(row.len());
        let outputs = codes.chunks_exact_mut(per_row * blocks.bytes()).zip(scales.chunks_exact_mut(per_row));
        for (i, (stored, (codes, scales))) in
            bytes.chunks_exact(self.tensor.row_bytes()).zip(outputs).enumerate()
        {
            self.load(first + i, stored, &mut row)?;
            blocks.quantize(&row, codes, scales);
        }
        Ok(())
    }

    /// Converts one row and refuses it when a weight is not finite.
    fn load(&self, number: usize, stored: &[u8], row: &mut [f32]) -> Result<(), WeightsError> {
        to_f32(self.tensor.dtype, stored, row);
        if largest(row) >= f32::INFINITY.to_bits() {
            return Err(WeightsError::NotFinite { tensor: self.name.to_owned(), row: number });
        }
        Ok(())
    }
}

/// Bits of the smallest magnitude that rounds to infinity in 16 bits: 65520, half a step above 65504.
const FP16_OVERFLOW: u32 = 65520.0_f32.to_bits();

/// Bits of the largest magnitude: they are ordered as the magnitudes are, with infinity and then NaN on top.
fn largest(row: &[f32]) -> u32 {
    row.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff))
}

#[cfg(test)]
mod tests;
