//! Picture processing: tiles of the tower's picture size.

use serde_json::{Value, json};

use super::super::FamilyError;
use super::super::common::{MEAN, STD};
use super::super::config::Reader;
use super::vision::Tower;
use crate::package::{ImageProcessing, Resample, Several, Tiling};

/// Side of a tile, and most tiles a side, of the sizes that the reference has where a file names none.
const DEFAULT_SIZES: (u32, u32) = (384, 6);
/// Most tiles' worth of features where a file names none.
pub(super) const DEFAULT_TILES: u32 = 9;

/// `anyres_max_N`: N.
pub(super) fn max_tiles(r: &Reader, key: &str) -> Result<u32, FamilyError> {
    let value = r.get(key).ok_or_else(|| r.error(key, "is missing"))?;
    let most = value.as_str().and_then(|s| s.strip_prefix("anyres_max_")).and_then(|n| n.parse().ok());
    most.filter(|&n| n > 0).ok_or_else(|| r.error(key, "is not anyres_max_ and a number of tiles"))
}

/// Pairs of sizes, pixels, in the order of the file; `None` when it lists none.
pub(super) fn sizes(r: &Reader) -> Result<Option<Vec<[u32; 2]>>, FamilyError> {
    const KEY: &str = "image_grid_pinpoints";
    let Some(value) = r.get(KEY) else { return Ok(None) };
    let pair = |v: &Value| {
        let sides: Option<Vec<u32>> = v.as_array()?.iter().map(|n| n.as_u64()?.try_into().ok()).collect();
        <[u32; 2]>::try_from(sides?).ok()
    };
    let pairs: Option<Vec<[u32; 2]>> = value.as_array().and_then(|list| list.iter().map(pair).collect());
    pairs.filter(|p| !p.is_empty()).map(Some).ok_or_else(|| r.error(KEY, "is not a list of pairs of pixels"))
}

fn default_sizes() -> Vec<[u32; 2]> {
    let (side, most) = DEFAULT_SIZES;
    (1..=most).flat_map(|down| (1..=most).map(move |across| [side * down, side * across])).collect()
}

/// What both layouts say of pictures.
pub(super) struct Pictures {
    /// As [`max_tiles`].
    pub(super) max_tiles: u32,
    /// Heights and widths, as [`Tiling::sizes`].
    pub(super) sizes: Option<Vec<[u32; 2]>>,
}

/// Of the transformers layout: the processor's file, which must agree with the model's.
pub(super) fn transformers(
    value: Option<&Value>,
    tower: &Tower,
    model: Pictures,
) -> Result<ImageProcessing, FamilyError> {
    const FILE: &str = "preprocessor_config.json";
    let missing = || FamilyError::Field {
        field: FILE.to_owned(),
        reason: "is missing (or processor_config.json without image_processor): pixels cannot be prepared"
            .to_owned(),
    };
    let r = Reader::new(FILE, value.ok_or_else(missing)?)?;
    for key in ["do_convert_rgb", "do_normalize", "do_pad", "do_rescale", "do_resize"] {
        r.only(key, &[json!(true)])?;
    }
    r.only("do_center_crop", &[json!(false)])?;
    r.only("crop_size", &[])?;
    r.only("resample", &[json!(3)])?;
    let kinds = ["LlavaOnevisionImageProcessor", "LlavaOnevisionImageProcessorFast"].map(Value::from);
    r.only("image_processor_type", &kinds)?;
    if r.get("size").is_some() {
        let size = r.object("size")?;
        for key in ["height", "width"] {
            if size.size(key)? != tower.image {
                return Err(size.error(key, "differs from the vision tower's image_size"));
            }
        }
        size.finish()?;
    } else if tower.image != DEFAULT_SIZES.0 as usize {
        return Err(r.error("size", "is missing"));
    }
    let sizes = sizes(&r)?.unwrap_or_else(default_sizes);
    if model.sizes.unwrap_or_else(default_sizes) != sizes {
        return Err(r.error("image_grid_pinpoints", "differs from config.json"));
    }
    let mut image = processing(tower, (sizes, model.max_tiles), Several::Whole);
    image.mean = r.triple_or("image_mean", MEAN)?;
    image.std = r.triple_or("image_std", STD)?;
    image.rescale_factor = r.number_or("rescale_factor", image.rescale_factor)?;
    // Where the processor puts its tensors, how it groups them, and what its class is called, changes no pixel;
    // `default_to_square` reads a size given as one number, which this one is not.
    r.ignore(&["processor_class", "data_format", "device", "input_data_format", "return_tensors"]);
    r.ignore(&["default_to_square", "disable_grouping"]);
    r.finish()?;
    check_sizes(&image)?;
    Ok(image)
}

/// Of the original layout, whose processing is code: Pillow's filter, the tower's own mean and deviation of one half,
/// and tiles for every picture.
pub(super) fn original(tower: &Tower, model: Pictures) -> Result<ImageProcessing, FamilyError> {
    let mut image = processing(tower, (model.sizes.unwrap_or_default(), model.max_tiles), Several::Tiled);
    image.resample = Resample::BicubicPillow;
    check_sizes(&image)?;
    Ok(image)
}

fn processing(tower: &Tower, (sizes, max_tiles): (Vec<[u32; 2]>, u32), several: Several) -> ImageProcessing {
    let pixels = (tower.image * tower.image) as u64;
    ImageProcessing {
        patch_size: tower.patch as u32,
        temporal_patch_size: 1,
        merge_size: 1,
        min_pixels: pixels,
        max_pixels: pixels,
        mean: [0.5; 3],
        std: [0.5; 3],
        rescale_factor: 1.0 / 255.0,
        resample: Resample::BicubicTorch,
        tiling: Some(Tiling { side: tower.image as u32, sizes, max_tiles, several }),
    }
}

fn check_sizes(image: &ImageProcessing) -> Result<(), FamilyError> {
    let refuse = |reason: &str| FamilyError::Field {
        field: "image_grid_pinpoints".to_owned(),
        reason: reason.to_owned(),
    };
    let Some(tiling) = image.tiling.as_ref().filter(|tiling| !tiling.sizes.is_empty()) else {
        return Err(refuse("is missing"));
    };
    if tiling.sizes.iter().flatten().any(|side| *side == 0 || !side.is_multiple_of(tiling.side)) {
        return Err(refuse("holds a side that is no multiple of the vision tower's image_size"));
    }
    Ok(())
}
