//! Exact conversion of stored elements to 32-bit floats.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::header::Dtype;

/// Halves converted at a time: the processor's instruction for it is chosen once a call, not once an element.
const BLOCK: usize = 1024;

/// Converts little-endian `bytes` into `out`, one float an element; every value of the three types is a value of
/// a 32-bit float. Converts as many elements as both hold.
pub fn to_f32(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 => {
            let (words, _) = bytes.as_chunks();
            for (out, word) in out.iter_mut().zip(words) {
                *out = f32::from_le_bytes(*word);
            }
        }
        Dtype::Bf16 => {
            let (words, _) = bytes.as_chunks();
            for (out, word) in out.iter_mut().zip(words) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16);
            }
        }
        Dtype::F16 => f16_to_f32(bytes, out),
    }
}

fn f16_to_f32(bytes: &[u8], out: &mut [f32]) {
    let (words, _) = bytes.as_chunks();
    let mut halves = [f16::ZERO; BLOCK];
    for (words, out) in words.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        let count = words.len().min(out.len());
        for (half, word) in halves.iter_mut().zip(words) {
            *half = f16::from_le_bytes(*word);
        }
        halves[..count].convert_to_f32_slice(&mut out[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dtype: Dtype, bytes: &[u8], expected: &[f32]) {
        let mut out = vec![9.0; expected.len()];
        to_f32(dtype, bytes, &mut out);
        assert_eq!(
            out.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            expected.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn hand_written_bytes_give_hand_written_floats() {
        check(Dtype::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x80], &[1.0, -0.0]);
        check(
            Dtype::Bf16,
            &[0x80, 0x3f, 0x49, 0xc0, 0x80, 0x7f, 1, 0],
            &[1.0, -3.140625, f32::INFINITY, f32::from_bits(0x1_0000)],
        );
        check(Dtype::F16, &[0, 0x3c, 0, 0xc2, 0xff, 0x7b, 1, 0], &[1.0, -3.0, 65504.0, 2.0_f32.powi(-24)]);
    }

    #[test]
    fn every_half_converts_exactly_across_block_borders() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut out = vec![0.0; 1 << 16];
        to_f32(Dtype::F16, &bytes, &mut out);
        for (bits, got) in out.into_iter().enumerate() {
            let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, (bits & 1023) as f64);
            let magnitude = match exponent {
                0 => fraction * 2_f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                e => (1024.0 + fraction) * 2_f64.powi(e as i32 - 25),
            };
            let want = if sign == 1 { -magnitude } else { magnitude };
            assert!(
                f64::from(got) == want || got.is_nan() && want.is_nan(),
                "{bits:#x}: {got} against {want}"
            );
        }
    }
}
