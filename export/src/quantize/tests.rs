use super::*;
use proptest::prelude::*;

fn blocks(bits: Bits, size: usize) -> Blocks {
    Blocks::new(bits, size).unwrap()
}

fn quantize(b: Blocks, row: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0xaa; b.per_row(row.len()) * b.bytes()];
    let mut scales = vec![f32::NAN; b.per_row(row.len())];
    b.quantize(row, &mut codes, &mut scales);
    (codes, scales)
}

fn back(b: Blocks, row: &[f32]) -> Vec<f32> {
    let (codes, scales) = quantize(b, row);
    let mut out = vec![f32::NAN; row.len()];
    b.dequantize(&codes, &scales, &mut out);
    out
}

/// The one door: a row quantises to exactly these codes and scales.
fn check(b: Blocks, row: &[f32], codes: &[u8], scales: &[f32]) {
    assert_eq!(quantize(b, row), (codes.to_vec(), scales.to_vec()), "{row:?}");
}

#[test]
fn four_bit_codes_are_packed_low_half_first_around_eight() {
    // Peak -4 at code 0, so the scale is 0.5; sixteen levels from -4 to 3.5.
    let row: Vec<f32> = (0..16).map(|i| (i - 8) as f32 * 0.5).collect();
    check(blocks(Bits::Four, 16), &row, &[0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe], &[0.5]);
    // A positive peak takes code 0 as well, through a negative scale.
    let turned: Vec<f32> = row.iter().map(|x| -x).collect();
    check(blocks(Bits::Four, 16), &turned, &[0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe], &[-0.5]);
}

#[test]
fn fifteen_symmetric_levels_are_taken_when_they_are_exact() {
    // 7 and -7 both: sixteen levels would cut one of them.
    let row: Vec<f32> = (0..16).map(|i| [7.0, -7.0, 1.0, 0.0][i % 4]).collect();
    check(blocks(Bits::Four, 16), &row, &[0x1f, 0x89, 0x1f, 0x89, 0x1f, 0x89, 0x1f, 0x89], &[1.0]);
}

#[test]
fn eight_bit_codes_lie_around_128() {
    let mut row = [0.0; 16];
    row[..5].copy_from_slice(&[-127.0, 127.0, 1.0, -2.4, 0.5]);
    let mut codes = [128; 16];
    codes[..5].copy_from_slice(&[1, 255, 129, 126, 128]);
    check(blocks(Bits::Eight, 16), &row, &codes, &[1.0]);
}

#[test]
fn stored_codes_are_read_as_the_operator_reads_them() {
    let mut row = [f32::NAN; 4];
    blocks(Bits::Four, 16).dequantize(&[0x80, 0x7f, 0, 0, 0, 0, 0, 0], &[0.25], &mut row);
    assert_eq!(row, [-2.0, 0.0, 1.75, -0.25]);
    let mut codes = [0; 16];
    codes[..4].copy_from_slice(&[0, 128, 255, 127]);
    blocks(Bits::Eight, 16).dequantize(&codes, &[-0.5], &mut row);
    assert_eq!(row, [64.0, -0.0, -63.5, 0.5]);
}

#[test]
fn a_short_last_block_is_padded_with_the_zero_point() {
    let mut row = vec![0.0; 17];
    row[16] = -8.0;
    let codes = [vec![0x88; 8], vec![0x80], vec![0x88; 7]].concat();
    check(blocks(Bits::Four, 16), &row, &codes, &[0.0, 1.0]);
    let codes = [vec![128; 16], vec![1], vec![128; 15]].concat();
    check(blocks(Bits::Eight, 16), &row, &codes, &[0.0, 8.0 / 127.0]);
}

#[test]
fn zero_and_nearly_zero_rows_are_stored_as_exact_zero() {
    for tiny in [0.0, -0.0, 1e-40, -1e-45] {
        check(blocks(Bits::Four, 32), &[tiny; 32], &[0x88; 16], &[0.0]);
        check(blocks(Bits::Eight, 32), &[tiny; 32], &[128; 32], &[0.0]);
    }
}

#[test]
fn only_block_sizes_of_the_operator_are_taken() {
    for size in [16, 32, 64, 128, 256] {
        assert_eq!(Blocks::new(Bits::Four, size).map(Blocks::size), Ok(size));
    }
    for size in [0, 1, 8, 24, 48, 512] {
        assert_eq!(Blocks::new(Bits::Eight, size), Err(BlockSizeError(size)));
    }
}

#[test]
fn huge_weights_neither_overflow_nor_vanish() {
    for b in [blocks(Bits::Four, 16), blocks(Bits::Eight, 16)] {
        let row: Vec<f32> = (0..16).map(|i| if i % 2 == 0 { 3e38 } else { -1.5e38 }).collect();
        for (got, want) in back(b, &row).into_iter().zip(row) {
            assert!((got / 2.0 - want / 2.0).abs() <= 3e38 / 28.0, "{got} for {want}");
        }
    }
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

fn any_row() -> impl Strategy<Value = Vec<f32>> {
    let weight = prop_oneof![8 => -1.0_f32..1.0, 1 => -30.0_f32..30.0, 1 => Just(0.0)];
    (prop::collection::vec(weight, 1..300), -30..30)
        .prop_map(|(row, power)| row.into_iter().map(|x| x * 2_f32.powi(power)).collect())
}

fn any_size() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![16_usize, 32, 64, 128, 256])
}

proptest! {
    #[test]
    fn eight_bits_are_off_by_at_most_half_a_scale(row in any_row(), size in any_size()) {
        let b = blocks(Bits::Eight, size);
        let (_, scales) = quantize(b, &row);
        for (i, (got, want)) in back(b, &row).iter().zip(&row).enumerate() {
            let scale = scales[i / size];
            prop_assert!((got - want).abs() <= scale * 0.50001, "{} for {}, scale {}", got, want, scale);
        }
    }

    #[test]
    fn four_bits_are_off_by_half_a_scale_or_a_scale_where_cut(row in any_row(), size in any_size()) {
        let b = blocks(Bits::Four, size);
        let (codes, scales) = quantize(b, &row);
        for (i, (got, want)) in back(b, &row).iter().zip(&row).enumerate() {
            let byte = codes[i / size * b.bytes() + i % size / 2];
            let code = if i % 2 == 0 { byte & 15 } else { byte >> 4 };
            let most = if code == 15 && scales[i / size].is_sign_positive() == (*want > 0.0) { 1.00001 } else { 0.50001 };
            prop_assert!((got - want).abs() <= scales[i / size].abs() * most, "{} for {}", got, want);
        }
    }

    #[test]
    fn four_bits_are_never_worse_than_either_rule_alone(row in prop::collection::vec(-1.0_f64..1.0, 32)) {
        let row: Vec<f32> = row.into_iter().map(|x| x as f32).collect();
        let peak = row.iter().copied().fold(0.0_f32, |p, x| if x.abs() > p.abs() { x } else { p });
        let rule = |scale: f32, least: f32| {
            row.iter().map(|x| (x / scale).round().clamp(least, 7.0) * scale).collect::<Vec<_>>()
        };
        let got = squared(&back(blocks(Bits::Four, 32), &row), &row);
        let best = squared(&rule(peak / -8.0, -8.0), &row).min(squared(&rule(peak.abs() / 7.0, -7.0), &row));
        prop_assert!(got <= best * 1.0001 + 1e-12, "{} against {}", got, best);
    }

    #[test]
    fn representable_weights_come_back_exactly(
        codes in prop::collection::vec(0_u8..16, 32), peak in 0_usize..32, power in -20..20, turn in any::<bool>()
    ) {
        let scale = 2_f32.powi(power) * if turn { -1.0 } else { 1.0 };
        let mut row: Vec<f32> = codes.into_iter().map(|c| (f32::from(c) - 8.0) * scale).collect();
        row[peak] = -8.0 * scale;
        prop_assert_eq!(back(blocks(Bits::Four, 32), &row), row.clone());
        let row: Vec<f32> = row.into_iter().enumerate().map(|(i, x)| if i == peak { 127.0 * scale } else { x }).collect();
        prop_assert_eq!(back(blocks(Bits::Eight, 32), &row), row.clone());
    }
}
