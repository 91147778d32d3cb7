//! The features of a picture's tiles become the picture's tokens, as [`Tiling`] lists them; those of a video's frames
//! become the video's, as [`VideoShown::Pooled`](rewardrt_models::package::VideoShown) says.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2};
use rewardrt_models::package::Tiling;

/// Excess of features, by its root, up to which a joint map is left as it is.
const EXCESS: f64 = 1.1;

/// How the tower's features of several grids become the tokens of one picture or video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packing {
    /// Of the tiles of a picture.
    Tiles(TileMap),
    /// Of the frames of a video.
    Frames(Pooling),
}

impl Packing {
    /// Tokens of the picture or video.
    pub fn tokens(&self) -> usize {
        match self {
            Packing::Tiles(map) => map.tokens(),
            Packing::Frames(pooling) => pooling.tokens(),
        }
    }

    /// The tokens `[tokens, hidden]` from the features of its grids, each closed by the closing feature.
    pub(crate) fn pack(&self, features: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Packing::Tiles(map) => map.pack(features),
            Packing::Frames(pooling) => pooling.pack(features),
        }
    }
}

/// How the features of one video's frames are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    /// Features a side of a frame.
    side: usize,
    frames: usize,
}

impl Pooling {
    /// For `frames` frames of `side * side` features and a closing one.
    pub(super) fn new(side: usize, frames: usize) -> Pooling {
        Pooling { side, frames }
    }

    /// Tokens of the video: those of each frame, half as many a side, and the closing one behind them all.
    fn tokens(&self) -> usize {
        self.frames * self.side.div_ceil(2).pow(2) + 1
    }

    fn pack(&self, features: ArrayView2<'_, f32>) -> Array2<f32> {
        let (side, grid) = (self.side, self.side * self.side + 1);
        let mut out = Vec::with_capacity(self.tokens() * features.ncols());
        let taps = taps(side, side.div_ceil(2));
        for frame in 0..self.frames {
            let at =
                |row, column| features.index_axis_move(ndarray::Axis(0), frame * grid + row * side + column);
            taps.iter().for_each(|&row| push_row(&mut out, at, row, &taps));
        }
        out.extend(features.row(grid - 1));
        let width = features.ncols();
        Array2::from_shape_fn((self.tokens(), width), |(row, column)| out[row * width + column])
    }
}

/// How the features of one picture's tiles are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileMap {
    /// Features a side of a tile.
    side: usize,
    /// Tiles across the joint map.
    across: usize,
    /// Rows and columns of the joint map that show the picture; the others show padding.
    rows: Range<usize>,
    columns: Range<usize>,
    /// Rows and columns that those are resampled to, when they are too many.
    resampled: Option<(usize, usize)>,
}

impl TileMap {
    /// For a picture of `(height, width)` pixels, fitted into `size`, whose tiles give `side * side` features and a
    /// closing one. Formulas, and the order of float operations, are the reference implementation's.
    pub(super) fn new((height, width): (u32, u32), size: [u32; 2], side: usize, tiling: &Tiling) -> TileMap {
        let [down, across] = size.map(|pixels| (pixels / tiling.side.max(1)) as usize);
        let (map_rows, map_columns) = (side * down, side * across);
        let (height, width) = (f64::from(height), f64::from(width));
        let (mut rows, mut columns) = (0..map_rows, 0..map_columns);
        if width / height > map_columns as f64 / map_rows as f64 {
            rows = middle(map_rows, height * (map_columns as f64 / width));
        } else {
            columns = middle(map_columns, width * (map_rows as f64 / height));
        }
        let most = tiling.max_tiles as f64 * (side * side) as f64;
        let excess = ((rows.len() * columns.len()) as f64 / most).sqrt();
        let reduced = |n: usize| floor_divide(n as f64, excess) as usize;
        let resampled = (excess > EXCESS).then(|| (reduced(rows.len()), reduced(columns.len())));
        TileMap { side, across, rows, columns, resampled }
    }

    /// Rows and columns of features that follow those of the squeezed tile, without the closing ones.
    fn shape(&self) -> (usize, usize) {
        self.resampled.unwrap_or((self.rows.len(), self.columns.len()))
    }

    /// Tokens of the picture.
    fn tokens(&self) -> usize {
        let (rows, columns) = self.shape();
        self.side * self.side + rows * (columns + 1)
    }

    /// The picture's tokens `[tokens, hidden]` from the features of its tiles, `[tiles * (side * side + 1), hidden]`,
    /// those of the squeezed tile first, each tile's closed by the closing feature.
    fn pack(&self, features: ArrayView2<'_, f32>) -> Array2<f32> {
        let tile = self.side * self.side;
        let closing = features.row(tile);
        let mut out = Vec::with_capacity(self.tokens() * features.ncols());
        (0..tile).for_each(|row| out.extend(features.row(row)));
        let (rows, columns) = self.shape();
        let (down, across) = (taps(self.rows.len(), rows), taps(self.columns.len(), columns));
        let at = |row, column| self.at(features, row, column);
        for row in down {
            match self.resampled {
                None => across.iter().for_each(|&(column, ..)| out.extend(at(row.0, column))),
                Some(_) => push_row(&mut out, at, row, &across),
            }
            out.extend(closing);
        }
        let width = features.ncols();
        Array2::from_shape_fn((self.tokens(), width), |(row, column)| out[row * width + column])
    }

    /// The feature at a row and column of the part of the joint map that shows the picture.
    fn at<'a>(&self, features: ArrayView2<'a, f32>, row: usize, column: usize) -> ArrayView1<'a, f32> {
        let (row, column) = (self.rows.start + row, self.columns.start + column);
        let tile = 1 + row / self.side * self.across + column / self.side;
        let inside = row % self.side * self.side + column % self.side;
        features.index_axis_move(ndarray::Axis(0), tile * (self.side * self.side + 1) + inside)
    }
}

/// Two places and how far from the first to the second.
type Tap = (usize, usize, f32);

/// Appends the features of one row of a resampled map; `at` gives those of the map by row and column.
fn push_row<'a>(
    out: &mut Vec<f32>,
    at: impl Fn(usize, usize) -> ArrayView1<'a, f32>,
    (top, bottom, low): Tap,
    across: &[Tap],
) {
    let mix = |a: &f32, b: &f32, t: f32| (1.0 - t) * a + t * b;
    for &(left, right, part) in across {
        let upper = at(top, left).into_iter().zip(at(top, right));
        let lower = at(bottom, left).into_iter().zip(at(bottom, right));
        out.extend(upper.zip(lower).map(|(u, l)| mix(&mix(u.0, u.1, part), &mix(l.0, l.1, part), low)));
    }
}

/// The places of `count` that are left when as many are taken from both ends as make about `kept` of them.
fn middle(count: usize, kept: f64) -> Range<usize> {
    // The reference rounds to seven decimals before it cuts the fraction off.
    let nearest = kept.round();
    let kept = if (nearest - kept).abs() <= 5e-8 { nearest } else { kept.floor() } as usize;
    let padding = count.saturating_sub(kept) / 2;
    padding..count - padding
}

/// Python's floor division of positive floats: a quotient that only rounding made whole is not taken for whole.
fn floor_divide(a: f64, b: f64) -> f64 {
    let quotient = (a - a % b) / b;
    if quotient - quotient.floor() > 0.5 { quotient.floor() + 1.0 } else { quotient.floor() }
}

/// For each of `to` places the two of `from` that it lies between, and how far it is from the first: bilinear
/// resampling whose corners are not aligned, in the reference's 32-bit floats.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f32 / to as f32;
    let tap = |i: usize| {
        let at = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let low = (at as usize).min(from - 1);
        (low, (low + 1).min(from - 1), at - low as f32)
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
#[path = "packing_tests.rs"]
mod tests;
