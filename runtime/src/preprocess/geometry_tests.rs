use proptest::prelude::*;

use super::*;

/// Bounds of the checkpoints that the picture of the message belongs to.
const BOUNDS: (u32, u64, u64) = (32, 65_536, 16_777_216);

fn check(shape: (u32, u32), bounds: (u32, u64, u64), expected: Result<(u32, u32), &str>) {
    let made = smart_resize(shape.0, shape.1, bounds.0, bounds.1, bounds.2);
    let made = made.map_err(|error| error.to_string());
    assert_eq!(made, expected.map_err(str::to_owned), "{shape:?} in {bounds:?}");
}

#[test]
fn sizes_equal_the_reference_on_300_shapes() {
    for line in include_str!("goldens/smart_resize.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| fields[i].parse::<u64>().unwrap();
        let (height, width, factor) = (number(0) as u32, number(1) as u32, number(2) as u32);
        let made = smart_resize(height, width, factor, number(3), number(4));
        match fields[5] {
            "refused" => assert!(matches!(made, Err(GeometryError::Aspect { .. })), "{line}"),
            _ => assert_eq!(made, Ok((number(5) as u32, number(6) as u32)), "{line}"),
        }
    }
}

#[test]
fn a_half_rounds_to_the_even_multiple() {
    // 720 / 32 = 22.5 and 752 / 32 = 23.5.
    check((720, 752), BOUNDS, Ok((704, 768)));
}

#[test]
fn a_single_pixel_grows_to_the_minimum() {
    check((1, 1), BOUNDS, Ok((256, 256)));
}

#[test]
fn a_picture_that_is_too_narrow_names_the_least_side() {
    let message = "the picture is 401x2; with a longer side of 401 pixels the shorter one needs at least 3 \
                   (sides may differ by a factor of 200); crop or pad it";
    check((2, 401), BOUNDS, Err(message));
    check((2, 400), BOUNDS, Ok((32, 3648)));
}

#[test]
fn zero_sides_and_impossible_bounds_are_refused() {
    check((0, 5), BOUNDS, Err("the picture is 5x0; a side needs at least 1 pixel"));
    let bounds = "pictures of 9 to 4 pixels in steps of 32 are none; check the package";
    check((5, 5), (32, 9, 4), Err(bounds));
    let steps = "pictures of 4 to 9 pixels in steps of 0 are none; check the package";
    check((5, 5), (0, 4, 9), Err(steps));
}

proptest! {
    #[test]
    fn sizes_are_multiples_within_reach_or_a_named_error(
        height: u32, width: u32, factor in 0u32..5000, min_pixels: u64, max_pixels: u64,
    ) {
        if let Ok((h, w)) = smart_resize(height, width, factor, min_pixels, max_pixels) {
            prop_assert!(h > 0 && w > 0 && h % factor == 0 && w % factor == 0);
            prop_assert!(u64::from(h) * u64::from(w) <= MAX_RESIZED_PIXELS);
        }
    }

    #[test]
    fn ordinary_pictures_stay_within_the_bounds(height in 64u32..4096, width in 64u32..4096) {
        let (h, w) = smart_resize(height, width, BOUNDS.0, BOUNDS.1, BOUNDS.2).unwrap();
        let pixels = u64::from(h) * u64::from(w);
        prop_assert!((BOUNDS.1..=BOUNDS.2).contains(&pixels), "{h}x{w}");
    }
}
