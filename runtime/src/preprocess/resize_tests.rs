use proptest::prelude::*;

use super::super::synthetic::{fnv, synthetic};
use super::*;

/// `from` and `to` are width and height; the hash is of the reference's bytes.
fn check(from: (u32, u32), to: (u32, u32), filter: Resample, expected: &str) {
    let made = resize_bicubic(&synthetic(from.0, from.1), to.0, to.1, filter).unwrap();
    assert_eq!((made.width(), made.height()), to);
    assert_eq!(fnv(made.into_data()), expected, "{from:?} to {to:?} by {filter:?}");
}

#[test]
fn both_filters_give_the_bytes_of_their_reference() {
    for line in include_str!("goldens/resize.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| fields[i].parse().unwrap();
        let (from, to) = ((number(0), number(1)), (number(2), number(3)));
        check(from, to, Resample::BicubicTorch, fields[4]);
        check(from, to, Resample::BicubicPillow, fields[5]);
    }
}

#[test]
fn a_size_of_zero_is_refused() {
    let picture = synthetic(4, 4);
    for (width, height) in [(0, 4), (4, 0)] {
        let error = resize_bicubic(&picture, width, height, Resample::BicubicTorch);
        assert_eq!(error, Err(GeometryError::Empty { height, width }));
    }
}

#[test]
fn a_size_that_memory_cannot_hold_is_refused() {
    let error = resize_bicubic(&synthetic(4, 4), u32::MAX, u32::MAX, Resample::BicubicTorch);
    assert!(matches!(error, Err(GeometryError::TooLarge { .. })));
}

/// What the two passes compute, pixel by pixel and without lanes, blocks or padding: the definition.
fn plain(image: &Rgb8, to_w: u32, filter: Resample) -> Vec<u8> {
    let (width, to_w) = (image.width() as usize, to_w as usize);
    let kernel = Kernel::new(width, to_w);
    let (bits, weights): (u32, Vec<i32>) = match filter {
        Resample::BicubicTorch => {
            let table = kernel.narrow();
            (table.bits, table.weights.into_iter().map(i32::from).collect())
        }
        Resample::BicubicPillow => {
            let table = kernel.wide();
            (table.bits, table.weights)
        }
    };
    let kernel = Kernel::new(width, to_w);
    let mut out = Vec::new();
    for row in image.data().chunks(width * 3) {
        for i in 0..to_w {
            for c in 0..3 {
                let tap =
                    |j: usize| i32::from(row[(kernel.starts[i] + j) * 3 + c]) * weights[i * kernel.taps + j];
                let sum: i32 = (1 << (bits - 1)) + (0..kernel.taps).map(tap).sum::<i32>();
                out.push((sum >> bits).clamp(0, 255) as u8);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_filtered_in_groups_equal_rows_filtered_alone(width in 1u32..40, height in 1u32..40, to in 1u32..60) {
        prop_assume!(width != to);
        let picture = synthetic(width, height);
        for filter in [Resample::BicubicTorch, Resample::BicubicPillow] {
            let made = resize_bicubic(&picture, to, height, filter).unwrap();
            prop_assert_eq!(made.into_data(), plain(&picture, to, filter));
        }
    }

    #[test]
    fn a_plain_colour_stays_what_it_is(value: u8, width in 1u32..50, height in 1u32..50, to in 1u32..80) {
        let data = vec![value; (width * height * 3) as usize];
        let picture = Rgb8::new(width, height, data).unwrap();
        for filter in [Resample::BicubicTorch, Resample::BicubicPillow] {
            let made = resize_bicubic(&picture, to, to, filter).unwrap();
            prop_assert!(made.data().iter().all(|byte| byte.abs_diff(value) <= 1));
        }
    }
}
