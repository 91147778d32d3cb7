//! What the manifest says of pictures that are cut into tiles.

use serde::{Deserialize, Serialize};

use super::manifest::{ImageProcessing, ManifestError};
use super::validate::{refuse, within};

/// Most sizes that a picture may be fitted into; published checkpoints list 36.
const MAX_SIZES: usize = 1 << 10;
/// Longest side of such a size, pixels: seven times what published checkpoints list.
pub(super) const MAX_SIDE: u32 = 1 << 14;

/// A picture is shown squeezed into one square tile, and again, larger: fitted into one of several sizes, its aspect
/// kept and the rest black, and cut into tiles. The tower sees each tile alone, its patches in rows, and gives one
/// closing feature behind those of each tile. A picture's tokens are
///
/// ```text
/// the features of the squeezed tile
/// row by row of the joint map of the other tiles, without the rows and columns of padding: its features, the closing one
/// ```
/// They form no grid: their positions follow one another, as those of text do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiling {
    /// Side of a tile, pixels. Pixels behind the last whole patch are not seen.
    pub side: u32,
    /// Heights and widths that a picture may be fitted into, pixels, multiples of [`Tiling::side`]; of equally good
    /// ones the first is taken.
    pub sizes: Vec<[u32; 2]>,
    /// The joint map is resampled to about the features of this many tiles when it has over 1.21 times as many.
    pub max_tiles: u32,
    /// What becomes of the pictures of a prompt that holds several.
    pub several: Several,
}

/// What becomes of the pictures of a prompt that holds several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Several {
    /// Each is cut into tiles, as a single one is.
    Tiled,
    /// Each is one tile, its short side filled up with the mean colour; the closing feature stands behind it.
    Whole,
}

impl Tiling {
    pub(super) fn validate(&self, image: &ImageProcessing) -> Result<(), ManifestError> {
        within("image.temporal_patch_size", u64::from(image.temporal_patch_size), 1, 1)?;
        within("image.merge_size", u64::from(image.merge_size), 1, 1)?;
        within("image.tiling.side", u64::from(self.side), u64::from(image.patch_size), u64::from(MAX_SIDE))?;
        let tile = u64::from(self.side) * u64::from(self.side);
        within("image.min_pixels", image.min_pixels, tile, tile)?;
        within("image.max_pixels", image.max_pixels, tile, tile)?;
        within("image.tiling.max_tiles", u64::from(self.max_tiles), 1, 1 << 10)?;
        within("image.tiling.sizes", self.sizes.len() as u64, 1, MAX_SIZES as u64)?;
        let fits = |&side: &u32| side > 0 && side <= MAX_SIDE && side.is_multiple_of(self.side);
        match self.sizes.iter().flatten().find(|side| !fits(side)) {
            Some(side) => refuse(
                "image.tiling.sizes",
                format!("{side} is no multiple of {} up to {MAX_SIDE}", self.side),
            ),
            None => Ok(()),
        }
    }
}
