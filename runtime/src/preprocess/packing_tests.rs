use ndarray::Array2;
use rewardrt_models::package::{Several, Tiling};

use super::*;

const SIDE: usize = 2;

fn packing(picture: (u32, u32), size: [u32; 2], max_tiles: u32) -> TileMap {
    let tiling = Tiling { side: 10, sizes: vec![size], max_tiles, several: Several::Tiled };
    TileMap::new(picture, size, SIDE, &tiling)
}

/// Features of one value: the squeezed tile's are 900, 901, .., the joint map's are its row times ten plus its column,
/// and the closing one is -1.
fn features(down: usize, across: usize) -> Array2<f32> {
    let mut all: Vec<f32> = (0..SIDE * SIDE).map(|i| 900.0 + i as f32).chain([-1.0]).collect();
    for (tile_row, tile_column) in (0..down).flat_map(|r| (0..across).map(move |c| (r, c))) {
        for (row, column) in (0..SIDE).flat_map(|r| (0..SIDE).map(move |c| (r, c))) {
            all.push(((tile_row * SIDE + row) * 10 + tile_column * SIDE + column) as f32);
        }
        all.push(-1.0);
    }
    let count = all.len();
    Array2::from_shape_vec((count, 1), all).unwrap()
}

/// Pixels of a picture and of what it is fitted into, and most tiles; then the tokens behind those of the squeezed tile.
fn check(picture: (u32, u32), size: [u32; 2], max_tiles: u32, expected: &[f32]) {
    let packing = packing(picture, size, max_tiles);
    let [down, across] = size.map(|side| side as usize / 10);
    let tokens = packing.pack(features(down, across).view());
    assert_eq!(tokens.dim(), (packing.tokens(), 1));
    let tokens: Vec<f32> = tokens.iter().copied().collect();
    assert_eq!(tokens[..4], [900.0, 901.0, 902.0, 903.0]);
    assert_eq!(tokens[4..], *expected);
}

#[test]
fn tiles_are_joined_by_rows_and_each_row_is_closed() {
    let rows = [0., 1., 2., 3., -1., 10., 11., 12., 13., -1.];
    check((10, 20), [10, 20], 9, &rows);
}

#[test]
fn rows_and_columns_of_padding_are_left_out() {
    check((10, 20), [20, 20], 9, &[10., 11., 12., 13., -1., 20., 21., 22., 23., -1.]);
    check((20, 10), [20, 20], 9, &[1., 2., -1., 11., 12., -1., 21., 22., -1., 31., 32., -1.]);
    // Three of four rows are the picture: less than a row on each side is padding.
    check((15, 20), [20, 20], 9, &{
        let row = |r: f32| [r * 10.0, r * 10.0 + 1.0, r * 10.0 + 2.0, r * 10.0 + 3.0, -1.0];
        [row(0.), row(1.), row(2.), row(3.)].concat()
    });
}

#[test]
fn a_map_of_too_many_features_is_resampled() {
    // Sixteen features where four are wanted: two rows and columns, each the mean of its quarter.
    check((20, 20), [20, 20], 1, &[5.5, 7.5, -1.0, 25.5, 27.5, -1.0]);
}

#[test]
fn a_map_of_a_fifth_too_many_features_is_left_as_it_is() {
    assert_eq!(packing((30, 40), [30, 40], 10).resampled, None);
    assert_eq!(packing((30, 40), [30, 40], 9).tokens(), 4 + 5 * (6 + 1));
}

#[test]
fn a_picture_narrower_than_a_feature_leaves_only_its_squeezed_tile() {
    assert_eq!(packing((1, 8000), [20, 90], 9).rows, 2..2);
    check((1, 8000), [20, 90], 9, &[]);
}

#[test]
fn a_whole_number_that_rounding_missed_is_whole() {
    assert_eq!(middle(54, 48.999_999_99), 2..52);
    assert_eq!(middle(54, 48.999_999), 3..51);
}

#[test]
fn floors_are_those_of_python() {
    // The quotient is 9.999999999999998, which plain division rounds to 10.
    assert_eq!(floor_divide(1.0, 0.1), 9.0);
    assert_eq!(floor_divide(6.0, 1.5), 4.0);
    assert_eq!(floor_divide(54.0, 1.25), 43.0);
}

/// Features of one value, the frame's number in hundreds, then row and column; then the tokens of the video.
fn check_frames(side: usize, frames: usize, expected: &[f32]) {
    let grid = |frame: usize| {
        let places = (0..side).flat_map(move |r| (0..side).map(move |c| (frame * 100 + r * 10 + c) as f32));
        places.chain([-1.0])
    };
    let all: Vec<f32> = (0..frames).flat_map(grid).collect();
    let packing = Packing::Frames(Pooling::new(side, frames));
    let tokens = packing.pack(Array2::from_shape_vec((all.len(), 1), all).unwrap().view());
    assert_eq!(tokens.dim(), (packing.tokens(), 1));
    let got: Vec<f32> = tokens.iter().copied().collect();
    assert!(
        got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4),
        "{got:?}"
    );
}

/// What torch's bilinear interpolation to half the sides, rounded up, gives.
#[test]
fn frames_are_halved_and_closed_once() {
    check_frames(4, 2, &[5.5, 7.5, 25.5, 27.5, 105.5, 107.5, 125.5, 127.5, -1.0]);
    check_frames(3, 1, &[2.75, 4.25, 17.75, 19.25, -1.0]);
    check_frames(1, 3, &[0.0, 100.0, 200.0, -1.0]);
}
