//! Weights as integers: in blocks, below, or with one scale a row, in [`row`].
//!
//! Blocks have the layout of the contrib operator MatMulNBits.
//! A weight `[N, K]` is cut along `K` into blocks; each block has one f32 scale and unsigned codes of 4 or 8 bits.
//! The operator reads a weight as `(code - zero_point) * scale`, its zero point being the middle code, 8 or 128,
//! when none is given:
//!
//! ```text
//! codes  [N, ceil(K / block), block * bits / 8]   4 bits: the even element in the low half of the byte
//! scales [N, ceil(K / block)]
//! ```
//!
//! The last block of a row is padded with the zero point. Rows keep the order of the checkpoint. The same bytes
//! serve GatherBlockQuantized when `K` is a multiple of the block, so a tied embedding is stored once.

mod row;

pub use row::Rounding;

/// Elements handled side by side; every block size is a multiple of it.
const LANES: usize = 16;
/// Adding it to a number of at most 22 bits leaves the number, rounded half to even, in the low bits.
const ROUND: f32 = 12_582_912.0;
/// Largest block that the operator takes.
const MAX_BLOCK: usize = 256;

/// Bits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// 16 levels, two codes a byte.
    Four,
    /// 255 of 256 levels, symmetric.
    Eight,
}

/// A block size that the operator does not take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a quantisation block of {0} weights: the operator takes 16, 32, 64, 128 or 256")]
pub struct BlockSizeError(pub usize);

/// How a weight is cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    bits: Bits,
    size: usize,
}

impl Blocks {
    /// Blocks of `size` weights.
    ///
    /// # Errors
    /// [`BlockSizeError`] unless `size` is a power of two within 16..=256.
    pub fn new(bits: Bits, size: usize) -> Result<Blocks, BlockSizeError> {
        if !size.is_power_of_two() || !(LANES..=MAX_BLOCK).contains(&size) {
            return Err(BlockSizeError(size));
        }
        Ok(Blocks { bits, size })
    }

    /// Weights in a block: the operator's `block_size`.
    pub fn size(self) -> usize {
        self.size
    }

    /// Bits of a code: the operator's `bits`.
    pub fn bits(self) -> usize {
        match self.bits {
            Bits::Four => 4,
            Bits::Eight => 8,
        }
    }

    /// The code that stands for zero.
    pub fn zero_point(self) -> u8 {
        1 << (self.bits() - 1)
    }

    /// Bytes of the codes of a block.
    pub fn bytes(self) -> usize {
        self.size * self.bits() / 8
    }

    /// Blocks of a row of `columns` weights, hence also its number of scales.
    pub fn per_row(self, columns: usize) -> usize {
        columns.div_ceil(self.size)
    }

    /// Quantises one row of finite weights. `codes` holds [`Blocks::per_row`] times [`Blocks::bytes`], `scales`
    /// holds [`Blocks::per_row`].
    ///
    /// With 8 bits the scale is the largest magnitude over 127, and no weight is off by more than half a scale.
    /// With 4 bits it is whichever has the smaller squared error over the block: the weight of largest magnitude
    /// at code 0, sixteen levels of which one end is cut, or fifteen symmetric levels.
    pub fn quantize(self, row: &[f32], codes: &mut [u8], scales: &mut [f32]) {
        let mut padded = [0.0; MAX_BLOCK];
        let blocks = row.chunks(self.size).zip(codes.chunks_exact_mut(self.bytes())).zip(scales);
        for ((block, codes), scale) in blocks {
            let block = if block.len() == self.size {
                block
            } else {
                // Zero quantises to the zero point, so padding needs no case of its own.
                padded[..block.len()].copy_from_slice(block);
                padded[block.len()..].fill(0.0);
                &padded[..self.size]
            };
            *scale = match self.bits {
                Bits::Four => quantize4(block, codes),
                Bits::Eight => quantize8(block, codes),
            };
        }
    }

    /// What the operator reads from `codes` and `scales`: the inverse of [`Blocks::quantize`], up to its rounding.
    pub fn dequantize(self, codes: &[u8], scales: &[f32], row: &mut [f32]) {
        let zero = f32::from(self.zero_point());
        let blocks = row.chunks_mut(self.size).zip(codes.chunks_exact(self.bytes())).zip(scales);
        for ((block, codes), &scale) in blocks {
            for (i, weight) in block.iter_mut().enumerate() {
                let code = match self.bits {
                    Bits::Four => codes[i / 2] >> (4 * (i % 2)) & 15,
                    Bits::Eight => codes[i],
                };
                *weight = (f32::from(code) - zero) * scale;
            }
        }
    }
}

fn quantize8(block: &[f32], codes: &mut [u8]) -> f32 {
    let peak = peak(block).abs();
    let scale = peak / 127.0;
    if scale < f32::MIN_POSITIVE {
        codes.fill(128);
        return 0.0;
    }
    let inverse = 127.0 / peak;
    for (code, &weight) in codes.iter_mut().zip(block) {
        *code = ((weight * inverse + ROUND).to_bits() as u8).wrapping_add(128);
    }
    scale
}

fn quantize4(block: &[f32], codes: &mut [u8]) -> f32 {
    let peak = peak(block);
    // A block this close to zero has no normal scale: it is stored as zero, which is off by less than 1e-37.
    if peak.abs() / 8.0 < f32::MIN_POSITIVE {
        codes.fill(0x88);
        return 0.0;
    }
    let (all, symmetric) = (-8.0 / peak, 7.0 / peak.abs());
    // Errors are counted in steps, so they are compared as (steps / levels)^2 and can neither overflow nor vanish.
    let (inverse, scale) = if error4(block, symmetric) / 49.0 < error4(block, all) / 64.0 {
        (symmetric, peak.abs() / 7.0)
    } else {
        (all, peak / -8.0)
    };
    for (byte, pair) in codes.iter_mut().zip(block.as_chunks::<2>().0) {
        let [low, high] =
            pair.map(|weight| ((weight * inverse).clamp(-8.0, 7.0) + ROUND).to_bits().wrapping_add(8));
        *byte = (low & 15 | (high & 15) << 4) as u8;
    }
    scale
}

/// The element of largest magnitude, with its sign.
fn peak(block: &[f32]) -> f32 {
    let (mut most, mut least) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for lanes in block.as_chunks::<LANES>().0 {
        for ((most, least), &x) in most.iter_mut().zip(&mut least).zip(lanes) {
            *most = if x > *most { x } else { *most };
            *least = if x < *least { x } else { *least };
        }
    }
    let (most, least) = (most.into_iter().fold(0.0, f32::max), least.into_iter().fold(0.0, f32::min));
    if most >= -least { most } else { least }
}

/// Squared rounding and cutting error over a block in units of the step, `1 / inverse`.
fn error4(block: &[f32], inverse: f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for lanes in block.as_chunks::<LANES>().0 {
        for (sum, &x) in sums.iter_mut().zip(lanes) {
            let step = x * inverse;
            let off = step - ((step.clamp(-8.0, 7.0) + ROUND) - ROUND);
            *sum += off * off;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests;
