use rewardrt_models::package::Resample;
use rewardrt_models::spec::position::Span;

use super::super::synthetic::synthetic;
use super::*;

/// Tiles of 30 pixels, of which 28 are seen as 4 x 4 patches of 7.
fn params(several: Several) -> ImageProcessing {
    let sizes = (1..=3).flat_map(|down| (1..=3).map(move |across| [30 * down, 30 * across])).collect();
    ImageProcessing {
        patch_size: 7,
        temporal_patch_size: 1,
        merge_size: 1,
        min_pixels: 900,
        max_pixels: 900,
        mean: [0.5; 3],
        std: [0.5; 3],
        rescale_factor: 1.0 / 255.0,
        resample: Resample::BicubicTorch,
        tiling: Some(Tiling { side: 30, sizes, max_tiles: 9, several }),
    }
}

/// Height and width of a picture to the size that it is fitted into, and its own size there.
fn check(picture: (u32, u32), expected: [u32; 2], inside: [u32; 2]) {
    let sizes = params(Several::Tiled).tiling.unwrap().sizes;
    let size = best_size(picture, &sizes).unwrap();
    assert_eq!((size, fitted(picture, size)), (expected, inside), "{picture:?}");
}

#[test]
fn a_picture_is_fitted_where_most_of_it_is_shown_on_the_least_area() {
    check((30, 30), [30, 30], [30, 30]);
    check((31, 31), [60, 60], [60, 60]);
    check((120, 200), [60, 90], [54, 90]);
    check((300, 64), [90, 30], [90, 20]);
    // Nothing of it is shown anywhere: the first of the least areas.
    check((1, 8000), [30, 30], [1, 30]);
}

#[test]
fn padding_is_black_and_its_odd_pixel_is_the_last() {
    let picture = Rgb8::new(1, 1, vec![7, 8, 9]).unwrap();
    let framed = padded(&picture, [2, 4], [0; 3]).unwrap();
    assert_eq!(
        framed.data(),
        [[0, 0, 0], [7, 8, 9], [0, 0, 0], [0, 0, 0], [0; 3], [0; 3], [0; 3], [0; 3]].concat()
    );
    let filled = square(&Rgb8::new(1, 2, vec![1; 6]).unwrap(), [0.5, 0.25, 1.0]).unwrap();
    assert_eq!(filled.data(), [[1, 1, 1], [127, 63, 255], [1, 1, 1], [127, 63, 255]].concat());
}

#[test]
fn a_tile_is_cut_where_its_pixels_stand() {
    let picture = synthetic(90, 60);
    let tile = crop(&picture, (30, 60), 28).unwrap();
    let pixel = |image: &Rgb8, row: usize, column: usize| {
        image.data()[(row * image.width() as usize + column) * 3..][..3].to_vec()
    };
    for (row, column) in [(0, 0), (27, 27), (3, 20)] {
        assert_eq!(pixel(&tile, row, column), pixel(&picture, 30 + row, 60 + column));
    }
}

#[test]
fn a_single_picture_is_one_squeezed_tile_and_those_of_its_size() {
    let picture = Rgb8::new(200, 120, vec![200; 200 * 120 * 3]).unwrap();
    let params = params(Several::Whole);
    let alone = super::super::prepare(&picture, &params, 1).unwrap();
    assert_eq!((alone.grid, alone.rows(), alone.row_len()), ([7, 4, 4], 7 * 16, 147));
    // 54 of 60 rows are the picture: of 8 x 12 features, (8 - 7) / 2 rows of padding are left where they are.
    assert_eq!(alone.span(&params), Span::Text(16 + 8 * 13));
    // The first row of the first tile is padding.
    assert_eq!(alone.values[16 * 147], -1.0);
    assert!(alone.values[..16 * 147].iter().all(|v| *v > 0.5));
}

#[test]
fn several_pictures_are_tiled_or_whole_as_the_package_says() {
    let picture = Rgb8::new(200, 120, vec![200; 200 * 120 * 3]).unwrap();
    let made = |several| {
        let params = params(several);
        let made = super::super::prepare(&picture, &params, 2).unwrap();
        (made.grid, made.span(&params))
    };
    assert_eq!(made(Several::Tiled), ([7, 4, 4], Span::Text(16 + 8 * 13)));
    assert_eq!(made(Several::Whole), ([1, 4, 4], Span::Text(17)));
}
