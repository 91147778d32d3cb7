//! Pictures become the patches that a vision tower reads: [`geometry`] chooses the size, [`resize`] resamples,
//! [`patches`] normalises and lays out. Where the package cuts pictures into tiles, `tiles` does so, and [`packing`]
//! puts the tower's features together again. Every step gives the reference implementation's numbers, bit for bit.

pub mod geometry;
pub mod packing;
pub mod patches;
pub mod resize;
#[cfg(test)]
mod synthetic;
mod tiles;
mod video;

use rewardrt_models::package::ImageProcessing;

use crate::media::Rgb8;

pub use geometry::{GeometryError, smart_resize};
pub use packing::{Packing, Pooling, TileMap};
pub use patches::{PatchRule, Patches, patchify};
pub use resize::resize_bicubic;
pub use video::{fit_video, prepare_video};

/// Why a picture cannot be prepared for a model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// The picture's shape does not fit the model.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The package asks for preprocessing that means nothing.
    #[error("the package's image.{field} cannot be used; export the checkpoint again")]
    Parameter {
        /// Field of the manifest's image section.
        field: &'static str,
    },
    /// Sides that cannot be cut into whole cells of patches.
    #[error(
        "a picture of {width}x{height} cannot be cut into cells of {factor} pixels; resize it with `fit`"
    )]
    Grid {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Side of a cell, pixels.
        factor: usize,
    },
    /// Fewer frames than a temporal patch has, which the reference refuses where it bounds a whole video.
    #[error("the video shows {found} frame, and the model sees {needed} together; show more")]
    Short {
        /// Frames given.
        found: usize,
        /// Frames of a temporal patch.
        needed: u32,
    },
    /// Frames that do not make one video.
    #[error("frame {index} is {found:?}, the first is {expected:?}; send frames of one size, at least one")]
    Frames {
        /// Position of the frame that differs.
        index: usize,
        /// Its width and height, zero when there is no frame.
        found: (u32, u32),
        /// Width and height of the first frame.
        expected: (u32, u32),
    },
}

/// Resizes a picture to the size that the model wants it in, in one piece.
///
/// # Errors
/// [`PreprocessError::Geometry`] when no such size exists.
pub fn fit(image: &Rgb8, params: &ImageProcessing) -> Result<Rgb8, PreprocessError> {
    let factor = params
        .patch_size
        .checked_mul(params.merge_size)
        .ok_or(PreprocessError::Parameter { field: "merge_size" })?;
    let (height, width) =
        smart_resize(image.height(), image.width(), factor, params.min_pixels, params.max_pixels)?;
    Ok(resize_bicubic(image, width, height, params.resample)?)
}

/// One picture from decoded pixels to patches. `pictures` counts those of its prompt, itself included: where the
/// package cuts pictures into tiles, a picture among others may be treated otherwise than a single one.
///
/// # Errors
/// As [`fit`] and [`patchify`].
pub fn prepare(image: &Rgb8, params: &ImageProcessing, pictures: usize) -> Result<Patches, PreprocessError> {
    match &params.tiling {
        Some(tiling) => tiles::prepare(image, params, tiling, pictures == 1),
        None => patchify(&[fit(image, params)?], params),
    }
}
