//! A tensor on its way out of the checkpoint: read in blocks of rows, checked, converted, on all cores.

use std::ops::Range;
use std::thread;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rewardrt_models::package::onnx::DataType;

use super::{WeightsError, native};
use crate::checkpoint::{Checkpoint, Tensor, to_f32};
use crate::quantize::Rounding;

/// Bytes of the checkpoint that are read at a time. Large enough that starting threads costs nothing beside it.
const BLOCK_BYTES: usize = 4 << 20;
/// More threads than this only wait for the disk and the hash.
const MAX_THREADS: usize = 8;

/// Side of a square of codes that is transposed at a time.
const TILE: usize = 64;

/// A tensor on its way out of the checkpoint.
pub(super) struct Source<'a> {
    pub(super) from: &'a Checkpoint,
    pub(super) name: &'a str,
    pub(super) tensor: &'a Tensor,
}

impl Source<'_> {
    /// Ranges of rows of about [`BLOCK_BYTES`] each, at least one row.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.tensor.rows(), (BLOCK_BYTES / self.tensor.row_bytes()).max(1));
        (0..rows).step_by(step).map(move |begin| begin..rows.min(begin + step))
    }

    /// The rows that begin at `first` as little-endian elements of another type; all of them are checked.
    pub(super) fn convert(
        &self,
        first: usize,
        bytes: Vec<u8>,
        to: DataType,
    ) -> Result<Vec<u8>, WeightsError> {
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
                DataType::Bfloat16 => {
                    if largest(&row) >= BF16_OVERFLOW {
                        return Err(WeightsError::NotFinite { tensor: self.name.to_owned(), row: first + i });
                    }
                    out.extend(row.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()));
                }
                _ => out.extend(row.iter().flat_map(|x| x.to_le_bytes())),
            }
        }
        Ok(if same { bytes } else { out })
    }

    /// Refuses what has no rows of weights.
    pub(super) fn check_matrix(&self) -> Result<(), WeightsError> {
        let (tensor, shape) = (self.name.to_owned(), self.tensor.shape.clone());
        if shape.len() < 2 { Err(WeightsError::NoMatrix { tensor, shape }) } else { Ok(()) }
    }

    /// Codes and scales of some rows, made on all cores.
    pub(super) fn quantize(
        &self,
        rows: Range<usize>,
        rounding: Rounding,
    ) -> Result<(Vec<u8>, Vec<f32>), WeightsError> {
        let bytes = self.from.bytes(self.name, rows.clone())?;
        let columns = self.tensor.columns();
        let (row_bytes, row_scales) = (rounding.bytes(columns), rounding.scales(columns));
        let mut codes = vec![0; rows.len() * row_bytes];
        let mut scales = vec![0.0; rows.len() * row_scales];
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let share = rows.len().div_ceil(threads);
        let parts = bytes
            .chunks(share * self.tensor.row_bytes())
            .zip(codes.chunks_mut(share * row_bytes))
            .zip(scales.chunks_mut(share * row_scales))
            .enumerate();
        thread::scope(|scope| {
            let running: Vec<_> = parts
                .map(|(i, ((bytes, codes), scales))| {
                    let first = rows.start + i * share;
                    scope.spawn(move || self.quantize_part(first, bytes, rounding, (codes, scales)))
                })
                .collect();
            // A panic of a part is a fault of this program and goes on as one.
            running.into_iter().try_for_each(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
        })?;
        Ok((codes, scales))
    }

    /// Some columns of the codes of [`Rounding::Row`], a column after the other, and the scales of all rows.
    pub(super) fn transposed(&self, columns: Range<usize>) -> Result<(Vec<u8>, Vec<f32>), WeightsError> {
        let (all_rows, all_columns) = (self.tensor.rows(), self.tensor.columns());
        let mut out = vec![0; all_rows * columns.len()];
        let mut scales = Vec::with_capacity(all_rows);
        for rows in self.blocks() {
            let (codes, row_scales) = self.quantize(rows.clone(), Rounding::Row)?;
            scales.extend(row_scales);
            // In tiles, so that the lines of the cache that are written stay there until they are full.
            for first in (0..rows.len()).step_by(TILE) {
                for tile in columns.clone().step_by(TILE) {
                    for column in tile..columns.end.min(tile + TILE) {
                        let at = (column - columns.start) * all_rows + rows.start + first;
                        let height = TILE.min(rows.len() - first);
                        for (row, code) in out[at..at + height].iter_mut().enumerate() {
                            *code = codes[(first + row) * all_columns + column];
                        }
                    }
                }
            }
        }
        Ok((out, scales))
    }

    fn quantize_part(
        &self,
        first: usize,
        bytes: &[u8],
        rounding: Rounding,
        (codes, scales): (&mut [u8], &mut [f32]),
    ) -> Result<(), WeightsError> {
        let mut row = vec![0.0; self.tensor.columns()];
        let (row_bytes, row_scales) = (rounding.bytes(row.len()), rounding.scales(row.len()));
        let outputs = codes.chunks_exact_mut(row_bytes).zip(scales.chunks_exact_mut(row_scales));
        for (i, (stored, (codes, scales))) in
            bytes.chunks_exact(self.tensor.row_bytes()).zip(outputs).enumerate()
        {
            self.load(first + i, stored, &mut row)?;
            rounding.quantize(&row, codes, scales);
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

/// Bits of the smallest magnitude that rounds to infinity as a brain float: half a step above the largest.
const BF16_OVERFLOW: u32 = 0x7f7f_8000;

/// Bits of the largest magnitude: they are ordered as the magnitudes are, with infinity and then NaN on top.
fn largest(row: &[f32]) -> u32 {
    row.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff))
}
