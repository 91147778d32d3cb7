//! Positions: three streams for tokens, two axes for patches, and the rows that the graphs gather or rotate by.
//!
//! All angles are computed in 32-bit floats, in the order of the reference implementation
//! (`inv_freq = 1 / theta^(2i/d)`, `angle = position * inv_freq`), so that cosines agree to the last bits.

use super::window::{Windows, windows};
use crate::package::{PositionRule, SectionLayout, VisionComponent};

/// What stands at a place of the prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Span {
    /// `n` text tokens.
    Text(usize),
    /// A grid of merged tokens: rows, columns.
    Grid(usize, usize),
    /// Grids of one size, one a temporal patch.
    Video {
        /// Temporal patches.
        times: usize,
        /// Rows of merged tokens.
        rows: usize,
        /// Columns of merged tokens.
        columns: usize,
        /// Temporal positions from one grid to the next, see [`video_step`].
        step: f32,
    },
}

impl Span {
    /// Tokens that it stands for.
    pub fn tokens(&self) -> usize {
        match *self {
            Span::Text(n) => n,
            Span::Grid(rows, columns) => rows * columns,
            Span::Video { times, rows, columns, .. } => times * rows * columns,
        }
    }
}

/// Temporal positions from one temporal patch of a video to the next, which lies `seconds` later: one, or as many
/// as the rule counts in that time. Fractions are kept; a position is cut down to a whole number.
pub fn video_step(rule: &PositionRule, seconds: f64) -> f32 {
    rule.tokens_per_second.map_or(1.0, |rate| rate as f32 * seconds as f32)
}

/// The three position streams of one sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    /// `[temporal, height, width]` of every token.
    pub tokens: Vec<[i64; 3]>,
    /// Position of the next text token in all streams.
    pub next: i64,
}

impl Positions {
    /// Positions of a prompt: text advances by one a token in all streams; a grid holds the temporal stream,
    /// spreads rows and columns over the others, and advances by its longer side. (The rule of M-RoPE.) A video
    /// advances as one grid does, however long it is: text behind it may share temporal positions with it. What is
    /// generated starts after every position of the prompt.
    pub fn of(spans: &[Span]) -> Positions {
        let mut out = Positions::default();
        for span in spans {
            match *span {
                Span::Text(n) => out.push_text(n),
                Span::Grid(rows, columns) => out.push_video(1, (rows, columns), 0.0),
                Span::Video { times, rows, columns, step } => out.push_video(times, (rows, columns), step),
            }
        }
        out.next = out.tokens.iter().flatten().max().map_or(0, |last| last + 1);
        out
    }

    fn push_text(&mut self, n: usize) {
        for _ in 0..n {
            self.tokens.push([self.next; 3]);
            self.next += 1;
        }
    }

    fn push_video(&mut self, times: usize, (rows, columns): (usize, usize), step: f32) {
        for time in 0..times {
            let time = self.next + (time as f32 * step) as i64;
            for row in 0..rows as i64 {
                for column in 0..columns as i64 {
                    self.tokens.push([time, self.next + row, self.next + column]);
                }
            }
        }
        self.next += rows.max(columns) as i64;
    }
}

/// Inverse frequencies of a rotary embedding over `dim` values: `dim / 2` of them.
pub fn inverse_frequencies(theta: f64, dim: usize) -> Vec<f32> {
    (0..dim).step_by(2).map(|i| 1.0 / (theta as f32).powf(i as f32 / dim as f32)).collect()
}

/// Which position stream each value of the half head follows.
pub fn streams(rule: &PositionRule) -> Vec<usize> {
    let half = (rule.rotary_dim / 2) as usize;
    let [temporal, height, width] = rule.sections.map(|s| s as usize);
    (0..half)
        .map(|i| match rule.layout {
            SectionLayout::Chunked => usize::from(i >= temporal) + usize::from(i >= temporal + height),
            SectionLayout::Interleaved => match i % 3 {
                1 if i < 3 * height => 1,
                2 if i < 3 * width => 2,
                _ => 0,
            },
        })
        .collect()
}

/// Cosine and sine rows of token positions, prepared once for a rule.
#[derive(Debug, Clone)]
pub struct Rotary {
    frequencies: Vec<f32>,
    streams: Vec<usize>,
}

impl Rotary {
    /// Prepares the rows of a rule.
    pub fn new(rule: &PositionRule) -> Rotary {
        Rotary {
            frequencies: inverse_frequencies(rule.theta, rule.rotary_dim as usize),
            streams: streams(rule),
        }
    }

    /// Values a row.
    pub fn width(&self) -> usize {
        self.frequencies.len()
    }

    /// Appends the row of one token to both tables.
    pub fn push(&self, position: [i64; 3], cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        for (frequency, &stream) in self.frequencies.iter().zip(&self.streams) {
            let angle = position[stream] as f32 * frequency;
            cos.push(angle.cos());
            sin.push(angle.sin());
        }
    }
}

/// What the vision graph needs to know of one grid of `p` patches: what its manifest entry asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GridRows {
    /// Places in the learned table.
    pub table: Option<TableRows>,
    /// Rotary angles.
    pub angles: Option<AngleRows>,
    /// Attention windows.
    pub windows: Option<Windows>,
}

/// Rows of the learned position table for each patch.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRows {
    /// `[p, 4]` rows of the table.
    pub index: Vec<i64>,
    /// `[p, 4]` bilinear weights.
    pub weight: Vec<f32>,
}

/// Cosines and sines for each patch.
#[derive(Debug, Clone, PartialEq)]
pub struct AngleRows {
    /// `[p, head_dim / 2]`.
    pub cos: Vec<f32>,
    /// `[p, head_dim / 2]`.
    pub sin: Vec<f32>,
}

/// What the tower wants to know of a grid of `rows` x `columns` patches, in the order of the flattened patches
/// (blocks of `merge` x `merge`).
pub fn grid_rows(vision: &VisionComponent, merge: usize, rows: usize, columns: usize) -> GridRows {
    let places = || block_order(rows, columns, merge);
    GridRows {
        table: vision.position_side.map(|side| table_rows(places(), (rows, columns), side as usize)),
        angles: vision.rotary_theta.map(|theta| angle_rows(places(), vision.head_dim as usize, theta)),
        windows: vision.window.map(|side| windows(rows / merge, columns / merge, merge, side as usize)),
    }
}

/// The table of `side` x `side` is resampled to the grid with its corners aligned.
fn table_rows(
    places: impl Iterator<Item = (usize, usize)>,
    (rows, columns): (usize, usize),
    side: usize,
) -> TableRows {
    let (row_taps, column_taps) = (taps(rows, side), taps(columns, side));
    let mut out = TableRows { index: Vec::new(), weight: Vec::new() };
    for (row, column) in places {
        for (r, rw) in row_taps[row] {
            for (c, cw) in column_taps[column] {
                out.index.push((r * side + c) as i64);
                out.weight.push(rw * cw);
            }
        }
    }
    out
}

/// The angles are axial: the first half of the frequencies follows the row, the second the column.
fn angle_rows(places: impl Iterator<Item = (usize, usize)>, head_dim: usize, theta: f64) -> AngleRows {
    let frequencies = inverse_frequencies(theta, head_dim / 2);
    let mut out = AngleRows { cos: Vec::new(), sin: Vec::new() };
    for (row, column) in places {
        for place in [row, column] {
            for frequency in &frequencies {
                let angle = place as f32 * frequency;
                out.cos.push(angle.cos());
                out.sin.push(angle.sin());
            }
        }
    }
    out
}

/// Row and column of every patch, in blocks of `merge` x `merge`.
pub fn block_order(rows: usize, columns: usize, merge: usize) -> impl Iterator<Item = (usize, usize)> {
    let (block_rows, block_columns) = (rows / merge, columns / merge);
    (0..block_rows).flat_map(move |br| {
        (0..block_columns).flat_map(move |bc| {
            (0..merge * merge).map(move |i| (br * merge + i / merge, bc * merge + i % merge))
        })
    })
}

/// The two table places and weights of each of `n` places, corners aligned.
fn taps(n: usize, side: usize) -> Vec<[(usize, f32); 2]> {
    let last = n.saturating_sub(1).max(1) as f32;
    (0..n)
        .map(|i| {
            let at = i as f32 * (side - 1) as f32 / last;
            let low = (at as usize).min(side - 1);
            let part = at - low as f32;
            [(low, 1.0 - part), ((low + 1).min(side - 1), part)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spans: &[Span], expected: &[[i64; 3]], next: i64) {
        let got = Positions::of(spans);
        assert_eq!(got.tokens, expected);
        assert_eq!(got.next, next);
    }

    #[test]
    fn text_advances_all_streams() {
        check(&[Span::Text(2)], &[[0; 3], [1; 3]], 2);
    }

    #[test]
    fn a_grid_advances_by_its_longer_side() {
        check(
            &[Span::Text(1), Span::Grid(1, 3), Span::Text(1)],
            &[[0; 3], [1, 1, 1], [1, 1, 2], [1, 1, 3], [4; 3]],
            5,
        );
    }

    #[test]
    fn interleaved_sections_alternate_until_each_is_spent() {
        let rule = PositionRule {
            theta: 5e6,
            rotary_dim: 16,
            sections: [4, 2, 2],
            layout: SectionLayout::Interleaved,
            tokens_per_second: None,
        };
        assert_eq!(streams(&rule), [0, 1, 2, 0, 1, 2, 0, 0]);
        assert_eq!(
            streams(&PositionRule { layout: SectionLayout::Chunked, ..rule }),
            [0, 0, 0, 0, 1, 1, 2, 2]
        );
    }

    #[test]
    fn patches_come_in_merge_blocks() {
        let order: Vec<_> = block_order(2, 4, 2).collect();
        assert_eq!(order, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]);
    }

    /// Temporal positions of the reference implementation for six temporal patches, two a second of video, and 0.4
    /// seconds apart: 0.8 positions a step are cut down to 0, 0, 1, 2, 3, 4.
    #[test]
    fn a_video_counts_time_and_advances_by_its_longer_side() {
        let rule = |tokens_per_second| PositionRule {
            theta: 1e6,
            rotary_dim: 16,
            sections: [4, 2, 2],
            layout: SectionLayout::Chunked,
            tokens_per_second,
        };
        let temporal = |rate, seconds| {
            let step = video_step(&rule(rate), seconds);
            let video = Span::Video { times: 6, rows: 1, columns: 2, step };
            let got = Positions::of(&[Span::Text(3), video, Span::Text(1)]);
            assert!(got.tokens[3..15].chunks(2).all(|t| t[0] == [t[0][0], 3, 3] && t[1] == [t[0][0], 3, 4]));
            assert_eq!(got.tokens[15], [5; 3]);
            assert_eq!(got.next, got.tokens.iter().flatten().max().unwrap() + 1);
            got.tokens[3..15].iter().step_by(2).map(|t| t[0] - 3).collect::<Vec<_>>()
        };
        assert_eq!(temporal(Some(2.0), 0.4), [0, 0, 1, 2, 3, 4]);
        assert_eq!(temporal(Some(2.0), 1.0), [0, 2, 4, 6, 8, 10]);
        assert_eq!(temporal(None, 0.4), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn table_weights_sum_to_one_and_reach_both_corners() {
        let rows = table_rows(block_order(4, 6, 2), (4, 6), 8);
        for weights in rows.weight.chunks(4) {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(rows.index[0], 0);
        assert_eq!(rows.index.iter().max(), Some(&63));
        assert_eq!(angle_rows(block_order(4, 6, 2), 12, 1e4).cos.len(), 24 * 6);
    }
}
