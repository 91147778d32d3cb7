//! Pictures that are cut into tiles, as [`Tiling`] describes it.

use rewardrt_models::package::{ImageProcessing, Several, Tiling};

use super::PreprocessError;
use super::geometry::{GeometryError, MAX_RESIZED_PIXELS};
use super::packing::{Packing, TileMap};
use super::patches::{Patches, patchify};
use super::resize::resize_bicubic;
use crate::media::Rgb8;

/// Channels of a pixel.
const CHANNELS: usize = 3;

/// The tiles of one picture, the squeezed one first, as grids of patches. `alone` says that no other picture stands in
/// the prompt.
pub(super) fn prepare(
    image: &Rgb8,
    params: &ImageProcessing,
    tiling: &Tiling,
    alone: bool,
) -> Result<Patches, PreprocessError> {
    let refuse = |field| PreprocessError::Parameter { field };
    let side = tiling.side.checked_div(params.patch_size).ok_or(refuse("patch_size"))?;
    // Pixels behind the last whole patch are cut off.
    let seen = side * params.patch_size;
    let squeeze = |image: &Rgb8| resize_bicubic(image, tiling.side, tiling.side, params.resample);
    if !alone && tiling.several == Several::Whole {
        let whole = squeeze(&square(image, params.mean)?)?;
        return patchify(&[crop(&whole, (0, 0), seen)?], params);
    }
    let size = best_size((image.height(), image.width()), &tiling.sizes).ok_or(refuse("tiling"))?;
    let [height, width] = fitted((image.height(), image.width()), size);
    let fitted = padded(&resize_bicubic(image, width, height, params.resample)?, size, [0; CHANNELS])?;
    let mut frames = vec![crop(&squeeze(image)?, (0, 0), seen)?];
    for top in (0..size[0]).step_by(tiling.side as usize) {
        for left in (0..size[1]).step_by(tiling.side as usize) {
            frames.push(crop(&fitted, (top, left), seen)?);
        }
    }
    let map = TileMap::new((image.height(), image.width()), size, side as usize, tiling);
    Ok(Patches { packing: Some(Packing::Tiles(map)), ..patchify(&frames, params)? })
}

/// The size that shows most of the picture's own pixels, and of those the one with the least area besides; the first
/// of equals. Formulas and rounding are the reference implementation's. All sizes are height and width, pixels.
fn best_size((height, width): (u32, u32), sizes: &[[u32; 2]]) -> Option<[u32; 2]> {
    let mut best: Option<([u32; 2], u64, u64)> = None;
    for &size in sizes {
        let scale = scale(f64::from(width), size[1]).min(scale(f64::from(height), size[0]));
        let scaled = |side: u32| (f64::from(side) * scale) as u64;
        let shown = (scaled(width) * scaled(height)).min(u64::from(width) * u64::from(height));
        let wasted = u64::from(size[0]) * u64::from(size[1]) - shown;
        if best.is_none_or(|(_, most, least)| shown > most || shown == most && wasted < least) {
            best = Some((size, shown, wasted));
        }
    }
    best.map(|(size, ..)| size)
}

fn scale(side: f64, target: u32) -> f64 {
    f64::from(target) / side
}

/// Height and width of a picture that fills `size` with its aspect kept.
fn fitted((height, width): (u32, u32), size: [u32; 2]) -> [u32; 2] {
    let (across, down) = (scale(f64::from(width), size[1]), scale(f64::from(height), size[0]));
    let scaled = |side: u32, scale: f64, most: u32| ((f64::from(side) * scale).ceil() as u32).min(most);
    if across < down {
        [scaled(height, across, size[0]), size[1]]
    } else {
        [size[0], scaled(width, down, size[1])]
    }
}

/// The picture in the middle of a square of its longer side, filled up with the mean colour.
fn square(image: &Rgb8, mean: [f32; CHANNELS]) -> Result<Rgb8, GeometryError> {
    let side = image.height().max(image.width());
    padded(image, [side; 2], mean.map(|m| (f64::from(m) * 255.0) as u8))
}

/// The picture in the middle of a larger one; an odd pixel of padding goes to the right and the bottom.
fn padded(image: &Rgb8, size: [u32; 2], colour: [u8; CHANNELS]) -> Result<Rgb8, GeometryError> {
    let [height, width] = size;
    if u64::from(height) * u64::from(width) > MAX_RESIZED_PIXELS {
        return Err(GeometryError::TooLarge { height: u64::from(height), width: u64::from(width) });
    }
    let mut data = colour.repeat(height as usize * width as usize);
    let top = ((height - image.height()) / 2) as usize;
    let left = ((width - image.width()) / 2) as usize * CHANNELS;
    let (stride, row) = (width as usize * CHANNELS, image.width() as usize * CHANNELS);
    for (pixels, line) in image.data().chunks_exact(row).zip(data.chunks_exact_mut(stride).skip(top)) {
        line[left..left + row].copy_from_slice(pixels);
    }
    Rgb8::new(width, height, data).map_err(|_| GeometryError::Empty { height, width })
}

/// A square of `side` pixels whose first pixel is at `(top, left)`.
pub(super) fn crop(image: &Rgb8, (top, left): (u32, u32), side: u32) -> Result<Rgb8, GeometryError> {
    let (stride, row) = (image.width() as usize * CHANNELS, side as usize * CHANNELS);
    let left = left as usize * CHANNELS;
    let lines = image.data().chunks_exact(stride).skip(top as usize).take(side as usize);
    let data = lines.flat_map(|line| &line[left..left + row]).copied().collect();
    Rgb8::new(side, side, data).map_err(|_| GeometryError::Empty { height: side, width: side })
}

#[cfg(test)]
#[path = "tiles_tests.rs"]
mod tests;
