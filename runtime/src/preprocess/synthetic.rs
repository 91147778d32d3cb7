//! The picture that the goldens were made from, by the formula of `tests/data/media/make.py`.

use crate::media::Rgb8;

/// A picture with smooth ramps and rough tiles.
pub(super) fn synthetic(width: u32, height: u32) -> Rgb8 {
    let mut data = Vec::new();
    for y in 0..u64::from(height) {
        for x in 0..u64::from(width) {
            for c in 0..3 {
                let ramp = (x * 5 + y * 3 + c * 60) % 511;
                let smooth = ramp.min(510 - ramp) % 256;
                let rough = (x * x * 7 + y * y * 13 + x * y * (c + 2) + c * 91) % 256;
                let value = if (x / 9 + y / 7) % 3 == 0 { rough } else { smooth };
                data.push(value as u8);
            }
        }
    }
    Rgb8::new(width, height, data).unwrap()
}

/// FNV-1a of 64 bits: enough to tell golden bytes from others.
pub(super) fn fnv(bytes: impl IntoIterator<Item = u8>) -> String {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step))
}
