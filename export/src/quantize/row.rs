//! One scale a row, and how a row of weights becomes codes in general.
//!
//! A row of a weight `[N, K]` makes one output, so a scale for each row can be taken out of the product: the sum runs
//! over integers only, and the operator MatMulIntegerToFloat multiplies it by the scale in the end.
//! Codes are signed and symmetric, `weight = code * scale` with codes in `-127..=127`.

use super::{Blocks, ROUND};

/// How the weights of a row become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// A scale for each block, see [`Blocks`].
    Blocks(Blocks),
    /// A scale for the row; a signed byte for each weight.
    Row,
}

impl Rounding {
    /// Bytes of the codes of a row of `columns` weights.
    pub fn bytes(self, columns: usize) -> usize {
        match self {
            Rounding::Blocks(blocks) => blocks.per_row(columns) * blocks.bytes(),
            Rounding::Row => columns,
        }
    }

    /// Scales of a row of `columns` weights.
    pub fn scales(self, columns: usize) -> usize {
        match self {
            Rounding::Blocks(blocks) => blocks.per_row(columns),
            Rounding::Row => 1,
        }
    }

    /// Quantises one row of finite weights. `codes` holds [`Rounding::bytes`], signed ones as their two's complement,
    /// `scales` holds [`Rounding::scales`].
    pub fn quantize(self, row: &[f32], codes: &mut [u8], scales: &mut [f32]) {
        match self {
            Rounding::Blocks(blocks) => blocks.quantize(row, codes, scales),
            Rounding::Row => scales.fill(quantize_row(row, codes)),
        }
    }
}

/// Writes signed codes and returns their scale, the largest magnitude over 127.
fn quantize_row(row: &[f32], codes: &mut [u8]) -> f32 {
    // The bits of magnitudes are ordered as the magnitudes are, and integers are compared many at a time.
    let peak = f32::from_bits(row.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff)));
    let scale = peak / 127.0;
    // A row this close to zero has no normal scale: it is stored as zero, which is off by less than 2e-36.
    if scale < f32::MIN_POSITIVE {
        codes.fill(0);
        return 0.0;
    }
    let inverse = 127.0 / peak;
    for (code, &weight) in codes.iter_mut().zip(row) {
        *code = (weight * inverse + ROUND).to_bits() as u8;
    }
    scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The one door: a row quantises to exactly these codes and this scale.
    fn check(row: &[f32], codes: &[i8], scale: f32) {
        let (mut got, mut scales) = (vec![0xaa; Rounding::Row.bytes(row.len())], [f32::NAN]);
        Rounding::Row.quantize(row, &mut got, &mut scales);
        let got: Vec<i8> = got.into_iter().map(|code| code as i8).collect();
        assert_eq!((got.as_slice(), scales), (codes, [scale]), "{row:?}");
    }

    #[test]
    fn codes_are_signed_and_lie_around_zero() {
        check(&[-127.0, 127.0, 1.0, -2.4, 0.5, 1.5, 0.0], &[-127, 127, 1, -2, 0, 2, 0], 1.0);
        check(&[2.0], &[127], 2.0 / 127.0);
    }

    #[test]
    fn nearly_zero_rows_are_stored_as_exact_zero() {
        for tiny in [0.0, -0.0, 1e-40, -1e-45] {
            check(&[tiny; 5], &[0; 5], 0.0);
        }
    }

    #[test]
    fn huge_weights_neither_overflow_nor_vanish() {
        check(&[3e38, -1.5e38, 0.0], &[127, -64, 0], 3e38 / 127.0);
    }

    proptest! {
        #[test]
        fn weights_are_off_by_at_most_half_a_scale(
            row in prop::collection::vec(-1.0_f32..1.0, 1..70), power in -60..60
        ) {
            let row: Vec<f32> = row.into_iter().map(|x| x * 2_f32.powi(power)).collect();
            let (mut codes, mut scale) = (vec![0; row.len()], [0.0]);
            Rounding::Row.quantize(&row, &mut codes, &mut scale);
            for (code, want) in codes.iter().zip(&row) {
                let got = f32::from(*code as i8) * scale[0];
                prop_assert!((got - want).abs() <= scale[0] * 0.50001, "{} for {}, scale {}", got, want, scale[0]);
                prop_assert!(*code != 0x80);
            }
        }
    }
}
