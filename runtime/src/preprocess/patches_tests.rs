use rewardrt_models::package::Resample;

use super::super::synthetic::{fnv, synthetic};
use super::super::{fit, prepare};
use super::*;

fn params(patch_size: u32, min_pixels: u64, max_pixels: u64) -> ImageProcessing {
    let (mean, std) = match patch_size {
        14 => ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_55, 0.261_302_6, 0.275_777_1]),
        _ => ([0.5; 3], [0.5; 3]),
    };
    ImageProcessing {
        patch_size,
        temporal_patch_size: 2,
        merge_size: 2,
        min_pixels,
        max_pixels,
        mean,
        std,
        rescale_factor: 1.0 / 255.0,
        resample: Resample::BicubicTorch,
        tiling: None,
    }
}

/// Grid, row length and hash of the values, little-endian.
fn check(image: &Rgb8, params: &ImageProcessing, expected: ([u32; 3], usize, &str)) {
    let made = prepare(image, params, 1).unwrap();
    let hash = fnv(made.values.iter().flat_map(|value| value.to_le_bytes()));
    assert_eq!((made.grid, made.row_len(), hash.as_str()), expected);
}

#[test]
fn values_equal_the_reference_bit_for_bit() {
    for line in include_str!("goldens/patches.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| fields[i].parse::<u32>().unwrap();
        let image = synthetic(number(0), number(1));
        let params = params(number(2), number(3).into(), number(4).into());
        let grid = [number(5), number(6), number(7)];
        check(&image, &params, (grid, number(8) as usize, fields[9]));
    }
}

#[test]
fn a_picture_fills_the_temporal_patch_by_repetition() {
    let params = params(16, 1, 1 << 20);
    let image = synthetic(64, 32);
    let alone = patchify(std::slice::from_ref(&image), &params).unwrap();
    assert_eq!(alone, patchify(&[image.clone(), image.clone()], &params).unwrap());
    let three = patchify(&[image.clone(), image.clone(), image], &params).unwrap();
    assert_eq!((alone.grid, three.grid), ([1, 2, 4], [2, 2, 4]));
    assert_eq!(three.values, [alone.values.clone(), alone.values].concat());
}

#[test]
fn frames_stand_in_the_order_of_time() {
    let params = params(16, 1, 1 << 20);
    let plain = |value| Rgb8::new(32, 32, vec![value; 32 * 32 * 3]).unwrap();
    let made = patchify(&[plain(0), plain(255), plain(0)], &params).unwrap();
    let frame = |row: usize, frame: usize| made.values[row * made.row_len() + frame * 256];
    assert_eq!((made.rows(), made.row_len()), (8, 1536));
    assert_eq!([frame(0, 0), frame(0, 1), frame(4, 0), frame(4, 1)], [-1.0, 1.0, -1.0, -1.0]);
}

#[test]
fn frames_of_several_sizes_and_no_frames_are_refused() {
    let params = params(16, 1, 1 << 20);
    let mixed = patchify(&[synthetic(32, 32), synthetic(64, 32)], &params);
    assert_eq!(mixed, Err(PreprocessError::Frames { index: 1, found: (64, 32), expected: (32, 32) }));
    assert!(matches!(patchify(&[], &params), Err(PreprocessError::Frames { index: 0, .. })));
}

#[test]
fn a_picture_that_was_not_fitted_is_refused() {
    let made = patchify(&[synthetic(33, 32)], &params(16, 1, 1 << 20));
    assert_eq!(made, Err(PreprocessError::Grid { width: 33, height: 32, factor: 32 }));
}

#[test]
fn parameters_without_meaning_are_named() {
    let good = params(16, 1, 1 << 20);
    let cases = [
        ("patch_size", ImageProcessing { patch_size: 0, ..good.clone() }),
        ("temporal_patch_size", ImageProcessing { temporal_patch_size: 0, ..good.clone() }),
        ("merge_size", ImageProcessing { merge_size: 0, ..good.clone() }),
        ("std", ImageProcessing { std: [0.5, 0.0, 0.5], ..good.clone() }),
        ("std", ImageProcessing { rescale_factor: 0.0, ..good.clone() }),
    ];
    for (field, params) in cases {
        let made = patchify(&[synthetic(32, 32)], &params);
        assert_eq!(made, Err(PreprocessError::Parameter { field }));
    }
    let params = ImageProcessing { patch_size: u32::MAX, ..good };
    let error = fit(&synthetic(32, 32), &params);
    assert_eq!(error, Err(PreprocessError::Parameter { field: "merge_size" }));
}
