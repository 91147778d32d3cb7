//! What a package's precision costs: its outputs beside those of the float weights, component by component.
//!
//! Both packages see the same built-in picture and the same token ids. The decoders are fed the float tower's
//! features, so that an error of the vision tower does not count twice. One graph is open at a time: a comparison
//! needs the memory of the larger package, not of both.

use std::num::NonZeroUsize;
use std::path::Path;

use rewardrt_models::package::{ImageProcessing, Manifest, VisionComponent};
use rewardrt_models::spec::position::{Positions, Rotary, Span, grid_rows};
use serde::Serialize;

use crate::Error;
use crate::load::Package;
use crate::media::Rgb8;
use crate::preprocess::{self, Patches};
use crate::session::{
    DecoderSession, Features, Library, OrtDecoder, OrtVision, SessionError, SessionOptions, StepInput,
    VisionInput, VisionSession, library,
};

/// Size of the built-in picture before it is fitted to the package's bounds, pixels.
const PICTURE: (u32, u32) = (128, 96);
/// Text tokens before the picture.
const BEFORE: usize = 8;
/// Text tokens after it; their logits are compared.
const AFTER: usize = 24;

/// The error of one component.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComponentError {
    /// `vision`, `vision.deepstack.{k}` or `decoder`.
    pub component: String,
    /// Largest difference between two values, in the component's own units.
    pub max_abs: f64,
    /// Root mean square of the differences over that of the float values. 0 is equality; 1 is what an output of
    /// zeros would have, and also what is said when the float values are all zero and the others are not.
    pub rel_rms: f64,
}

/// Runs two packages of the same checkpoint on the processor and gives the error of the second against the first:
/// the tower's features, its deepstack features, and the logits of a prompt with a picture. With the same package
/// twice it shows whether runs repeat. ONNX Runtime is the one that is loaded already, else it is found as
/// [`library::load`] says.
///
/// # Errors
/// Everything that keeps a package from being loaded or run; [`Error::NotFinite`] when a value is no number;
/// [`Error::Request`] when the packages are not of the same checkpoint.
pub fn compare(float: &Path, package: &Path, threads: NonZeroUsize) -> Result<Vec<ComponentError>, Error> {
    let library = library::load(None)?;
    let options = SessionOptions { threads, ..SessionOptions::default() };
    let (float, package) = (Package::open(float)?, Package::open(package)?);
    if float.manifest().source != package.manifest().source {
        return Err(Error::Request("the two packages were not made from the same checkpoint".to_owned()));
    }
    let bench = Bench { library, options, probe: Probe::new(float.manifest())? };
    let mut errors = Vec::new();
    let features = bench.features(&float)?;
    if let Some(expected) = &features {
        let got = bench.features(&package)?.ok_or_else(differ)?;
        errors.push(error("vision".to_owned(), expected.rows.iter(), got.rows.iter())?);
        for (k, (a, b)) in expected.deepstack.iter().zip(&got.deepstack).enumerate() {
            errors.push(error(format!("vision.deepstack.{k}"), a.iter(), b.iter())?);
        }
    }
    let expected = bench.logits(&float, features.as_ref())?;
    let got = bench.logits(&package, features.as_ref())?;
    errors.push(error("decoder".to_owned(), expected.iter(), got.iter())?);
    Ok(errors)
}

fn differ() -> Error {
    Error::Request(
        "the two packages do not have the same components; export both with this version".to_owned(),
    )
}

fn error<'a>(
    component: String,
    expected: impl ExactSizeIterator<Item = &'a f32>,
    got: impl ExactSizeIterator<Item = &'a f32>,
) -> Result<ComponentError, Error> {
    if expected.len() != got.len() {
        return Err(differ());
    }
    let (mut max_abs, mut difference, mut size) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (&a, &b) in expected.zip(got) {
        if !a.is_finite() || !b.is_finite() {
            return Err(Error::NotFinite);
        }
        let (a, d) = (f64::from(a), f64::from(b) - f64::from(a));
        max_abs = max_abs.max(d.abs());
        difference += d * d;
        size += a * a;
    }
    let rel_rms = match (difference > 0.0, size > 0.0) {
        (false, _) => 0.0,
        (true, false) => 1.0,
        (true, true) => (difference / size).sqrt(),
    };
    Ok(ComponentError { component, max_abs, rel_rms })
}

/// What the models are run on.
struct Probe {
    /// The picture's patches; none for a text-only model.
    patches: Option<Patches>,
    ids: Vec<i64>,
    /// Row of the features at each token, -1 for text.
    feature_rows: Vec<i64>,
    positions: Positions,
}

impl Probe {
    fn new(manifest: &Manifest) -> Result<Probe, Error> {
        let patches = manifest.image.as_ref().map(picture).transpose()?;
        let seen = patches.as_ref().zip(manifest.image.as_ref()).map(|(patches, image)| patches.span(image));
        let shown = seen.map_or(0, |span| span.tokens());
        // Any spread of ids will do; the multiplier is a prime far from every vocabulary's size.
        let text = |i: usize| (i * 7919 + 17) as i64 % i64::from(manifest.decoder.vocabulary);
        let image = i64::from(manifest.tokens.image.unwrap_or(0));
        let inside = |i: usize| (BEFORE..BEFORE + shown).contains(&i);
        let places = 0..BEFORE + shown + AFTER;
        let spans: Vec<Span> =
            [Some(Span::Text(BEFORE)), seen, Some(Span::Text(AFTER))].into_iter().flatten().collect();
        Ok(Probe {
            patches,
            ids: places.clone().map(|i| if inside(i) { image } else { text(i) }).collect(),
            feature_rows: places.map(|i| if inside(i) { (i - BEFORE) as i64 } else { -1 }).collect(),
            positions: Positions::of(&spans),
        })
    }
}

/// Smooth colours with a grid of edges: low and high frequencies in every patch.
fn picture(params: &ImageProcessing) -> Result<Patches, Error> {
    let name = || "the built-in picture".to_owned();
    let (width, height) = PICTURE;
    let pixel = |i: u32| {
        let (x, y) = (i % width, i / width);
        let edge = if (x / 5 + y / 7) % 2 == 0 { 0 } else { 90 };
        [x * 255 / width, y * 255 / height, (x + 2 * y) % 160 + edge].map(|v| v.min(255) as u8)
    };
    let data = (0..width * height).flat_map(pixel).collect();
    let rgb = Rgb8::new(width, height, data).map_err(|source| Error::Media { name: name(), source })?;
    preprocess::prepare(&rgb, params, 1).map_err(|source| Error::Preprocess { name: name(), source })
}

/// The runtime and the probe.
struct Bench {
    library: Library,
    options: SessionOptions,
    probe: Probe,
}

impl Bench {
    /// The tower's features of the picture; none without a tower.
    fn features(&self, package: &Package) -> Result<Option<Features>, Error> {
        let manifest = package.manifest();
        let (Some(vision), Some(image), Some(patches)) =
            (&manifest.vision, &manifest.image, &self.probe.patches)
        else {
            return Ok(None);
        };
        let Some(mut session) = OrtVision::open(&self.library, package, &self.options)? else {
            return Ok(None);
        };
        Ok(Some(run_vision(&mut session, patches, vision, image)?))
    }

    /// Logits of the tokens after the picture, one row after the other.
    fn logits(&self, package: &Package, features: Option<&Features>) -> Result<Vec<f32>, Error> {
        let tokens = self.probe.ids.len();
        let mut session = OrtDecoder::open(&self.library, package, &self.options, (1, tokens))?;
        let rotary = Rotary::new(&package.manifest().decoder.position);
        let columns = session.geometry().columns;
        let mut out = Vec::new();
        for start in (0..tokens).step_by(columns) {
            let end = (start + columns).min(tokens);
            let wanted = (tokens - AFTER).max(start).min(end - 1);
            let step = self.step(start..end, wanted, features, &rotary, session.geometry().hidden);
            let rows = session.run(&step)?;
            if end > tokens - AFTER {
                out.extend(rows.iter());
            }
        }
        Ok(out)
    }

    /// One run over a part of the ids, asking for the logits from token `wanted` on.
    fn step(
        &self,
        part: std::ops::Range<usize>,
        wanted: usize,
        features: Option<&Features>,
        rotary: &Rotary,
        hidden: usize,
    ) -> StepInput {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for &position in &self.probe.positions.tokens[part.clone()] {
            rotary.push(position, &mut cos, &mut sin);
        }
        let flat = |rows: &ndarray::Array2<f32>| rows.iter().copied().collect::<Vec<_>>();
        StepInput {
            first_slot: 0,
            columns: part.len(),
            ids: self.probe.ids[part.clone()].to_vec(),
            feature_rows: self.probe.feature_rows[part.clone()].to_vec(),
            features: features.map_or_else(|| vec![0.0; hidden], |f| flat(&f.rows)),
            deepstack: features.map_or_else(Vec::new, |f| f.deepstack.iter().map(flat).collect()),
            cos,
            sin,
            seqlens_k: vec![part.end as i32 - 1],
            query_seqlens: vec![part.len() as i32],
            logit_rows: (wanted..part.end).map(|i| (i - part.start) as i64).collect(),
        }
    }
}

fn run_vision(
    session: &mut OrtVision,
    patches: &Patches,
    vision: &VisionComponent,
    image: &ImageProcessing,
) -> Result<Features, Error> {
    let [_, rows, columns] = patches.grid.map(|n| n as usize);
    let grid = grid_rows(vision, image.merge_size as usize, rows, columns);
    let view = patches
        .grids()
        .map_err(|e| SessionError::Input(format!("the patches of the built-in picture: {e}")))?;
    let seen = session.run(&VisionInput { patches: view, grid: &grid })?;
    Ok(Features { rows: patches.tokens(seen.rows), ..seen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewardrt_models::package::Resample;

    fn check(expected: &[f32], got: &[f32], max_abs: f64, rel_rms: f64) {
        let found = error("c".to_owned(), expected.iter(), got.iter()).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(found.max_abs, max_abs) && close(found.rel_rms, rel_rms), "{found:?}");
    }

    #[test]
    fn errors_are_relative_to_the_float_values() {
        check(&[3.0, -4.0], &[3.0, -4.0], 0.0, 0.0);
        check(&[3.0, -4.0], &[3.0, -3.5], 0.5, 0.1);
        check(&[3.0, -4.0], &[0.0, 0.0], 4.0, 1.0);
        check(&[0.0, 0.0], &[0.0, 2.0], 2.0, 1.0);
        check(&[0.0], &[0.0], 0.0, 0.0);
    }

    #[test]
    fn what_is_no_number_or_of_another_length_is_no_error_figure() {
        let refused = |a: &[f32], b: &[f32]| error(String::new(), a.iter(), b.iter()).unwrap_err();
        assert!(matches!(refused(&[1.0], &[f32::NAN]), Error::NotFinite));
        assert!(matches!(refused(&[f32::INFINITY], &[1.0]), Error::NotFinite));
        assert!(matches!(refused(&[1.0], &[1.0, 2.0]), Error::Request(_)));
    }

    #[test]
    fn the_built_in_picture_is_fitted_to_the_packages_bounds() {
        let params = |min_pixels, max_pixels| ImageProcessing {
            patch_size: 16,
            temporal_patch_size: 2,
            merge_size: 2,
            min_pixels,
            max_pixels,
            mean: [0.5; 3],
            std: [0.5; 3],
            rescale_factor: 1.0 / 255.0,
            resample: Resample::BicubicTorch,
            tiling: None,
        };
        assert_eq!(picture(&params(4096, 1 << 20)).unwrap().grid, [1, 6, 8]);
        assert_eq!(picture(&params(256 * 192, 1 << 20)).unwrap().grid, [1, 12, 16]);
        let values = picture(&params(4096, 1 << 20)).unwrap().values;
        let (low, high) = values.iter().fold((0.0_f32, 0.0_f32), |(l, h), &v| (l.min(v), h.max(v)));
        assert!(low < -0.9 && high > 0.8, "{low}..{high}");
    }
}
