//! Resized pictures become rows of normalised patches in the order that the vision tower reads.

use ndarray::{Array2, ArrayView3, ShapeError};
use rewardrt_models::package::{ImageProcessing, VideoProcessing};
use rewardrt_models::spec::position::Span;

use super::PreprocessError;
use super::geometry::{GeometryError, MAX_RESIZED_PIXELS};
use super::packing::Packing;
use crate::media::Rgb8;

/// Channels of a pixel.
const CHANNELS: usize = 3;

/// The patches of one picture or of one video.
#[derive(Debug, Clone, PartialEq)]
pub struct Patches {
    /// Patches along time, height and width; of a picture that is cut into tiles, tiles in the place of time.
    pub grid: [u32; 3],
    /// Row-major `[t*h*w, 3*T*p*p]`, `T` frames and `p` pixels a patch. Rows: time, then cells of `merge_size`
    /// squared patches row by row, then the patches inside a cell. Columns: channel, frame, row, column.
    pub values: Vec<f32>,
    /// How the tower's features become tokens; absent when they are the tokens.
    pub packing: Option<Packing>,
}

impl Patches {
    /// `[t, h * w, 3*T*p*p]`: the grids that the tower sees, each alone.
    ///
    /// # Errors
    /// When `grid` does not belong to `values`.
    pub fn grids(&self) -> Result<ArrayView3<'_, f32>, ShapeError> {
        let [t, h, w] = self.grid.map(|n| n as usize);
        ArrayView3::from_shape((t, h * w, self.row_len()), &self.values)
    }

    /// What the picture is in its prompt.
    pub fn span(&self, params: &ImageProcessing) -> Span {
        let [t, h, w] = self.grid.map(|n| n as usize);
        let merge = params.merge_size.max(1) as usize;
        match (&self.packing, &params.tiling) {
            (Some(packing), _) => Span::Text(packing.tokens()),
            // The closing feature stands behind each grid.
            (None, Some(_)) => Span::Text(t * (h * w + 1)),
            (None, None) => Span::Grid(h / merge, w / merge),
        }
    }

    /// The picture's tokens `[tokens, hidden]` from the tower's features of its grids.
    pub fn tokens(&self, features: Array2<f32>) -> Array2<f32> {
        match &self.packing {
            Some(packing) => packing.pack(features.view()),
            None => features,
        }
    }

    /// Number of patches, the rows of `values`.
    pub fn rows(&self) -> usize {
        self.grid.iter().map(|&n| n as usize).product()
    }

    /// Number of values a patch, the columns of `values`.
    pub fn row_len(&self) -> usize {
        self.values.len() / self.rows().max(1)
    }
}

/// What cutting into patches needs to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchRule {
    patch_size: u32,
    temporal_patch_size: u32,
    merge_size: u32,
    mean: [f32; CHANNELS],
    std: [f32; CHANNELS],
    rescale_factor: f64,
}

/// The same six fields of either section of a manifest.
macro_rules! patch_rule_from {
    ($section:ty) => {
        impl From<&$section> for PatchRule {
            fn from(params: &$section) -> PatchRule {
                let (patch_size, merge_size) = (params.patch_size, params.merge_size);
                let temporal_patch_size = params.temporal_patch_size;
                let (mean, std, rescale_factor) = (params.mean, params.std, params.rescale_factor);
                PatchRule { patch_size, temporal_patch_size, merge_size, mean, std, rescale_factor }
            }
        }
    };
}
patch_rule_from!(ImageProcessing);
patch_rule_from!(VideoProcessing);

/// Cuts frames of one size into normalised patches. One picture is one frame; the last frame is repeated until
/// the temporal patches are full, as the reference does for pictures and videos alike.
///
/// # Errors
/// [`PreprocessError::Frames`] for no frame or frames of several sizes, [`PreprocessError::Grid`] for sides that
/// are no multiples of `patch_size * merge_size` ([`fit`](super::fit) makes them so),
/// [`PreprocessError::Geometry`] for too many pixels in all, [`PreprocessError::Parameter`] for parameters without meaning.
pub fn patchify(frames: &[Rgb8], rule: impl Into<PatchRule>) -> Result<Patches, PreprocessError> {
    let rule = rule.into();
    let layout = Layout::new(frames, &rule)?;
    let tables = normalisation(&rule)?;
    let mut values = Vec::with_capacity(layout.values());
    for group in 0..layout.times {
        layout.for_each_patch(|x, y| layout.push_patch(&mut values, frames, &tables, (group, x, y)));
    }
    let grid = [layout.times, layout.high, layout.wide].map(|n| n as u32);
    Ok(Patches { grid, values, packing: None })
}

/// Sizes of a patch and of the grid.
struct Layout {
    patch: usize,
    temporal: usize,
    merge: usize,
    /// Grid: patches along time, height, width.
    times: usize,
    high: usize,
    wide: usize,
}

impl Layout {
    fn new(frames: &[Rgb8], params: &PatchRule) -> Result<Layout, PreprocessError> {
        let size = |frame: &Rgb8| (frame.width(), frame.height());
        let Some(first) = frames.first().map(size) else {
            return Err(PreprocessError::Frames { index: 0, found: (0, 0), expected: (0, 0) });
        };
        if let Some((index, frame)) = frames.iter().enumerate().find(|(_, frame)| size(frame) != first) {
            return Err(PreprocessError::Frames { index, found: size(frame), expected: first });
        }
        let [patch, temporal, merge] = [
            ("patch_size", params.patch_size),
            ("temporal_patch_size", params.temporal_patch_size),
            ("merge_size", params.merge_size),
        ]
        .map(|(field, value)| if value == 0 { Err(field) } else { Ok(value as usize) });
        let refuse = |field| PreprocessError::Parameter { field };
        let (patch, temporal, merge) =
            (patch.map_err(refuse)?, temporal.map_err(refuse)?, merge.map_err(refuse)?);
        let (width, height) = (first.0 as usize, first.1 as usize);
        let factor = patch.checked_mul(merge).ok_or(refuse("merge_size"))?;
        let times = frames.len().div_ceil(temporal);
        if width % factor != 0 || height % factor != 0 {
            return Err(PreprocessError::Grid { width: first.0, height: first.1, factor });
        }
        let pixels = (width * height) as u128 * times as u128 * temporal as u128;
        if pixels > u128::from(MAX_RESIZED_PIXELS) {
            let (height, width) = (u64::from(first.1), u64::from(first.0));
            return Err(GeometryError::TooLarge { height, width }.into());
        }
        Ok(Layout { patch, temporal, merge, times, high: height / patch, wide: width / patch })
    }

    /// Values of all patches together.
    fn values(&self) -> usize {
        self.times * self.temporal * self.high * self.wide * self.patch * self.patch * CHANNELS
    }

    /// Calls with the pixel position of each patch, in the order of rows.
    fn for_each_patch(&self, mut call: impl FnMut(usize, usize)) {
        let cells = |count: usize| (0..count).step_by(self.merge);
        for (y, x) in cells(self.high).flat_map(|y| cells(self.wide).map(move |x| (y, x))) {
            for (dy, dx) in (0..self.merge).flat_map(|dy| (0..self.merge).map(move |dx| (dy, dx))) {
                call((x + dx) * self.patch, (y + dy) * self.patch);
            }
        }
    }

    /// Appends the patch of a temporal group whose first pixel is `(x, y)`.
    fn push_patch(
        &self,
        values: &mut Vec<f32>,
        frames: &[Rgb8],
        tables: &[[f32; 256]; CHANNELS],
        (group, x, y): (usize, usize, usize),
    ) {
        let stride = self.wide * self.patch * CHANNELS;
        for (channel, table) in tables.iter().enumerate() {
            for frame in group * self.temporal..(group + 1) * self.temporal {
                // A repeated frame equals the one just written.
                if frame >= frames.len() && frame > group * self.temporal {
                    let written = values.len() - self.patch * self.patch;
                    values.extend_from_within(written..);
                    continue;
                }
                let data = frames[frame].data();
                for row in y..y + self.patch {
                    let from = row * stride + x * CHANNELS;
                    let pixels = &data[from..from + self.patch * CHANNELS];
                    let pixels = pixels.as_chunks::<CHANNELS>().0;
                    values.extend(pixels.iter().map(|pixel| table[usize::from(pixel[channel])]));
                }
            }
        }
    }
}

/// The normalised value of each byte: `(byte - mean/rescale) / (std/rescale)` in 32-bit floats, rescaling and
/// normalisation fused and ordered as in the reference.
fn normalisation(params: &PatchRule) -> Result<[[f32; 256]; CHANNELS], PreprocessError> {
    let inverse = (1.0 / params.rescale_factor) as f32;
    let mut tables = [[0.0; 256]; CHANNELS];
    for (table, (mean, std)) in tables.iter_mut().zip(params.mean.iter().zip(params.std)) {
        let (mean, std) = (mean * inverse, std * inverse);
        for (byte, value) in table.iter_mut().enumerate() {
            *value = (byte as f32 - mean) / std;
        }
        if table.iter().any(|value| !value.is_finite()) {
            return Err(PreprocessError::Parameter { field: "std" });
        }
    }
    Ok(tables)
}

#[cfg(test)]
#[path = "patches_tests.rs"]
mod tests;
