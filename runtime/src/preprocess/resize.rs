//! Bicubic resampling with antialiasing, in the integers of the implementation that it reproduces.
//!
//! Two passes over bytes, first along rows, then along columns, with the picture rounded to bytes between them. A
//! weight is the cubic kernel (a = -0.5) stretched by the reduction, normalised in doubles, then rounded to an
//! integer. The two implementations differ only in that rounding: Pillow before version 13 takes 22 fractional
//! bits, torchvision the most that keep every weight of a pass within 16 bits.

use rewardrt_models::package::Resample;

use super::geometry::{GeometryError, MAX_RESIZED_PIXELS};
use crate::media::Rgb8;

/// Channels of a pixel.
const CHANNELS: usize = 3;
/// Reach of the cubic kernel, in source pixels of an enlargement.
const REACH: f64 = 2.0;
/// Fractional bits of Pillow's weights.
const PILLOW_BITS: u32 = 22;
/// Rows that the pass along rows works on at a time; their bytes stand side by side, one vector lane each.
const LANES: usize = 16;
/// Bytes of a row that the pass along columns keeps in registers at a time.
const BLOCK: usize = 32;

/// Resamples to `width` x `height` pixels. A side that keeps its size is not filtered.
///
/// # Errors
/// [`GeometryError::Empty`] for a zero side, [`GeometryError::TooLarge`] for a result, or a picture between the
/// two passes, of more than 2^28 pixels.
pub fn resize_bicubic(
    image: &Rgb8,
    width: u32,
    height: u32,
    filter: Resample,
) -> Result<Rgb8, GeometryError> {
    if width == 0 || height == 0 {
        return Err(GeometryError::Empty { height, width });
    }
    let tallest = u64::from(height.max(image.height()));
    if u64::from(width) * tallest > MAX_RESIZED_PIXELS {
        return Err(GeometryError::TooLarge { height: tallest, width: u64::from(width) });
    }
    let (from_w, from_h) = (image.width() as usize, image.height() as usize);
    let (to_w, to_h) = (width as usize, height as usize);
    let rows = if to_w == from_w {
        None
    } else {
        let kernel = Kernel::new(from_w, to_w);
        Some(match filter {
            Resample::BicubicTorch => along_rows(image.data(), from_w, &kernel.narrow()),
            Resample::BicubicPillow => along_rows(image.data(), from_w, &kernel.wide()),
        })
    };
    let source = rows.as_deref().unwrap_or(image.data());
    let data = if to_h == from_h {
        source.to_vec()
    } else {
        let kernel = Kernel::new(from_h, to_h);
        match filter {
            Resample::BicubicTorch => along_columns(source, to_w * CHANNELS, &kernel.narrow()),
            Resample::BicubicPillow => along_columns(source, to_w * CHANNELS, &kernel.wide()),
        }
    };
    Rgb8::new(width, height, data).map_err(|_| GeometryError::Empty { height, width })
}

/// Normalised weights of one pass in doubles.
struct Kernel {
    /// First source position of each output.
    starts: Vec<usize>,
    /// Weights an output, the same number for all; windows that are shorter are filled with zeros.
    taps: usize,
    /// `taps` weights an output.
    weights: Vec<f64>,
}

/// Weights of one pass as integers.
struct Table<W> {
    starts: Vec<usize>,
    taps: usize,
    weights: Vec<W>,
    /// Fractional bits.
    bits: u32,
}

impl Kernel {
    fn new(from: usize, to: usize) -> Kernel {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = REACH * stretch;
        let inverse = 1.0 / stretch;
        let taps = (support.ceil() as usize * 2 + 1).min(from);
        let mut starts = Vec::with_capacity(to);
        let mut weights = Vec::with_capacity(to * taps);
        for i in 0..to {
            let center = (i as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let values = (first..end).map(|x| cubic((x as f64 - center + 0.5) * inverse));
            let sum: f64 = values.clone().sum();
            let norm = if sum == 0.0 { 1.0 } else { 1.0 / sum };
            // Near the far edge the window moves back so that all its taps are pixels; zeros fill the front.
            let start = first.min(from - taps);
            weights.resize(i * taps + (first - start), 0.0);
            weights.extend(values.map(|value| value * norm));
            weights.resize((i + 1) * taps, 0.0);
            starts.push(start);
        }
        Kernel { starts, taps, weights }
    }

    /// torchvision's rounding: as many fractional bits as leave the largest weight within 16 bits.
    fn narrow(self) -> Table<i16> {
        let largest = self.weights.iter().copied().fold(0.0, f64::max);
        let overflows = |bits: u32| 0.5 + largest * f64::from(1u32 << (bits + 1)) >= f64::from(1 << 15);
        let bits = (0..PILLOW_BITS).find(|&bits| overflows(bits)).unwrap_or(PILLOW_BITS);
        self.table(bits, |weight| weight as i16)
    }

    /// Pillow's rounding.
    fn wide(self) -> Table<i32> {
        self.table(PILLOW_BITS, |weight| weight as i32)
    }

    fn table<W>(self, bits: u32, to_integer: impl Fn(f64) -> W) -> Table<W> {
        let one = f64::from(1u32 << bits);
        let round = |weight: f64| to_integer(weight * one + if weight < 0.0 { -0.5 } else { 0.5 });
        let weights = self.weights.into_iter().map(round).collect();
        Table { starts: self.starts, taps: self.taps, weights, bits }
    }
}

impl<W: Copy> Table<W> {
    /// First source position and weights of each output.
    fn outputs(&self) -> impl Iterator<Item = (usize, &[W])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.taps))
    }

    /// Half a unit of the fraction, where every sum starts.
    fn half(&self) -> i32 {
        1 << (self.bits - 1)
    }

    fn to_byte(&self, sum: i32) -> u8 {
        (sum >> self.bits).clamp(0, 255) as u8
    }
}

/// The cubic convolution kernel with a = -0.5, in the order of operations that both implementations use.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The same pixel of [`LANES`] rows: by channel, then by row.
type Turned = [[u8; LANES]; CHANNELS];

/// Filters along rows. Groups of rows are turned so that the same byte of all of them stands side by side: then a
/// weight meets a whole vector, whatever the channels of a pixel are.
fn along_rows<W: Copy + Into<i32>>(data: &[u8], width: usize, table: &Table<W>) -> Vec<u8> {
    let stride = width * CHANNELS;
    let out_stride = table.starts.len() * CHANNELS;
    let mut out = vec![0; data.len() / stride * out_stride];
    let mut turned = vec![Turned::default(); width];
    let mut filtered = vec![Turned::default(); table.starts.len()];
    let groups = data.chunks(stride * LANES).zip(out.chunks_mut(out_stride * LANES));
    for (rows, out_rows) in groups {
        turn(rows, stride, &mut turned);
        filter_turned(&turned, table, &mut filtered);
        turn_back(&filtered, out_rows, out_stride);
    }
    out
}

/// Lanes without a row keep what they held; nobody reads them.
fn turn(rows: &[u8], stride: usize, turned: &mut [Turned]) {
    for (lane, row) in rows.chunks_exact(stride).enumerate() {
        for (cell, pixel) in turned.iter_mut().zip(row.as_chunks::<CHANNELS>().0) {
            for (lanes, byte) in cell.iter_mut().zip(pixel) {
                lanes[lane] = *byte;
            }
        }
    }
}

fn turn_back(turned: &[Turned], rows: &mut [u8], stride: usize) {
    for (lane, row) in rows.chunks_exact_mut(stride).enumerate() {
        for (pixel, cell) in row.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(turned) {
            *pixel = [cell[0][lane], cell[1][lane], cell[2][lane]];
        }
    }
}

/// One channel at a time, so that its sums stay in registers.
fn filter_turned<W: Copy + Into<i32>>(source: &[Turned], table: &Table<W>, out: &mut [Turned]) {
    for (cell, (start, weights)) in out.iter_mut().zip(table.outputs()) {
        let window = &source[start..start + table.taps];
        for (channel, bytes) in cell.iter_mut().enumerate() {
            let mut sums = [table.half(); LANES];
            for (pixel, weight) in window.iter().zip(weights) {
                accumulate(&mut sums, &pixel[channel], *weight);
            }
            *bytes = sums.map(|sum| table.to_byte(sum));
        }
    }
}

/// Filters along columns: every byte of a row has the same weights, so a row is cut into blocks of registers.
fn along_columns<W: Copy + Into<i32>>(data: &[u8], stride: usize, table: &Table<W>) -> Vec<u8> {
    let mut out = Vec::with_capacity(table.starts.len() * stride);
    for (start, weights) in table.outputs() {
        let window = &data[start * stride..(start + table.taps) * stride];
        let mut at = 0;
        while at < stride {
            let length = BLOCK.min(stride - at);
            let mut sums = [table.half(); BLOCK];
            for (row, weight) in window.chunks_exact(stride).zip(weights) {
                match row[at..].first_chunk::<BLOCK>() {
                    Some(block) => accumulate(&mut sums, block, *weight),
                    None => accumulate(&mut sums[..length], &row[at..], *weight),
                }
            }
            out.extend(sums[..length].iter().map(|sum| table.to_byte(*sum)));
            at += length;
        }
    }
    out
}

#[inline(always)]
fn accumulate<W: Copy + Into<i32>>(sums: &mut [i32], bytes: &[u8], weight: W) {
    let weight: i32 = weight.into();
    for (sum, byte) in sums.iter_mut().zip(bytes) {
        *sum += i32::from(*byte) * weight;
    }
}

#[cfg(test)]
#[path = "resize_tests.rs"]
mod tests;
