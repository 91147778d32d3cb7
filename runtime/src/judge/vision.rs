//! The vision tower, and the features of pictures that it saw.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Instant;

use ndarray::Axis;
use rewardrt_models::package::{ImageProcessing, Manifest, VisionComponent};
use rewardrt_models::spec::position::grid_rows;

use super::cache::{self, Key, VisionCache};
use crate::Error;
use crate::preprocess::Patches;
use crate::session::{Features, VisionInput, VisionSession};

/// Most patches of one vision run: sixteen grids of 512x512. More in a run is not faster, only larger.
const PATCHES_PER_RUN: usize = 16 * 1024;

/// The tower, what it needs to know of the package, and what it keeps.
pub(super) struct Vision {
    session: Box<dyn VisionSession>,
    component: VisionComponent,
    image: ImageProcessing,
    cache: VisionCache,
}

/// A picture that was seen.
#[derive(Clone)]
pub(super) struct View {
    pub(super) features: Arc<Features>,
    /// Its content.
    pub(super) key: Key,
}

impl Borrow<Features> for View {
    fn borrow(&self) -> &Features {
        &self.features
    }
}

/// Pictures that were seen.
#[derive(Default)]
pub(super) struct Seen {
    /// Each picture, in order; none where the package has no tower.
    pub(super) views: Vec<View>,
    /// Whether each picture's features were there already.
    pub(super) reused: Vec<bool>,
    /// Milliseconds that it took.
    pub(super) ms: f64,
}

impl Seen {
    /// Tokens of the pictures that did not go through the tower.
    pub(super) fn reused_tokens(&self) -> usize {
        let seen = self.views.iter().zip(&self.reused);
        seen.filter(|(_, reused)| **reused).map(|(view, _)| view.features.rows.nrows()).sum()
    }

    /// The features of all pictures one after the other; absent when there are none.
    pub(super) fn join(&self) -> Result<Option<Arc<Features>>, Error> {
        if self.views.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Features::join(&self.views)?)))
    }
}

impl Vision {
    /// A tower that keeps features of at most `cache` bytes. None for a package without one.
    pub(super) fn new(
        manifest: &Manifest,
        session: Option<Box<dyn VisionSession>>,
        cache: usize,
    ) -> Option<Vision> {
        let ((session, component), image) =
            session.zip(manifest.vision.clone()).zip(manifest.image.clone())?;
        Some(Vision { session, component, image, cache: VisionCache::new(cache) })
    }

    /// The features of pictures, in order. Each content goes through the tower once, as long as the cache keeps it.
    pub(super) fn see_all(&mut self, pictures: &[Patches]) -> Result<Seen, Error> {
        let start = Instant::now();
        let (mut views, mut reused) = (Vec::new(), Vec::new());
        for picture in pictures {
            let (seen, known) = self.see(picture)?;
            views.push(seen);
            reused.push(known);
        }
        Ok(Seen { views, reused, ms: start.elapsed().as_secs_f64() * 1e3 })
    }

    /// A picture, and whether its features were there already.
    fn see(&mut self, picture: &Patches) -> Result<(View, bool), Error> {
        let key = cache::key(picture);
        if let Some(features) = self.cache.get(&key) {
            return Ok((View { features, key }, true));
        }
        let features = Arc::new(self.run(picture)?);
        self.cache.put(key, &features);
        Ok((View { features, key }, false))
    }

    /// Features of one picture, by as many runs as its grids take. No other picture is in them: a product of another
    /// shape may add up in another order, and then a picture's last bits would depend on what the cache knew.
    fn run(&mut self, picture: &Patches) -> Result<Features, Error> {
        let [_, rows, columns] = picture.grid.map(|n| n as usize);
        let grid = grid_rows(&self.component, self.image.merge_size as usize, rows, columns);
        let grids = picture
            .grids()
            .map_err(|e| Error::Request(format!("the patches of a picture are not its grids: {e}")))?;
        let mut parts = Vec::new();
        for patches in grids.axis_chunks_iter(Axis(0), (PATCHES_PER_RUN / (rows * columns).max(1)).max(1)) {
            parts.push(self.session.run(&VisionInput { patches, grid: &grid })?);
        }
        let Features { rows, deepstack } = Features::join(&parts)?;
        Ok(Features { rows: picture.tokens(rows), deepstack })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ndarray::Array2;
    use rewardrt_models::package::{Activations, Graph, Resample};

    use super::*;
    use crate::session::SessionError;

    /// Gives each grid the first value of its patches as its one feature, and counts the grids of every run.
    struct Echo(Arc<Mutex<Vec<usize>>>);

    impl VisionSession for Echo {
        fn run(&mut self, input: &VisionInput<'_>) -> Result<Features, SessionError> {
            let grids = input.patches.len_of(Axis(0));
            self.0.lock().unwrap().push(grids);
            let rows = Array2::from_shape_fn((grids, 1), |(grid, _)| input.patches[[grid, 0, 0]]);
            Ok(Features { rows, deepstack: Vec::new() })
        }
    }

    fn vision(session: Echo, cache: usize) -> Vision {
        let graph = Graph {
            file: String::new(),
            weights: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            activations: Activations::F32,
            onnxruntime: None,
        };
        let component = VisionComponent {
            graph,
            variants: Vec::new(),
            position_side: None,
            head_dim: 4,
            rotary_theta: None,
            window: None,
            deepstack: 0,
            hidden: 1,
        };
        let image = ImageProcessing {
            patch_size: 1,
            temporal_patch_size: 1,
            merge_size: 1,
            min_pixels: 1,
            max_pixels: 1,
            mean: [0.5; 3],
            std: [0.5; 3],
            rescale_factor: 1.0 / 255.0,
            resample: Resample::BicubicTorch,
            tiling: None,
        };
        Vision { session: Box::new(session), component, image, cache: VisionCache::new(cache) }
    }

    /// A picture of this many grids of one size, whose first values count from `first`.
    fn picture(first: usize, grids: usize, side: usize) -> Patches {
        Patches {
            grid: [grids as u32, side as u32, side as u32],
            values: (first..first + grids).flat_map(|grid| vec![grid as f32; side * side]).collect(),
            packing: None,
        }
    }

    /// Pictures (first value, grids, side) seen one after the other with a cache of this many bytes: the lengths of
    /// the runs, and which pictures were there already. What is seen must be the same whatever the cache.
    fn check(cache: usize, pictures: &[(usize, usize, usize)], runs: &[usize], reused: &[bool]) {
        let lengths = Arc::new(Mutex::new(Vec::new()));
        let mut vision = vision(Echo(lengths.clone()), cache);
        let mut known = Vec::new();
        for &(first, grids, side) in pictures {
            let (seen, there) = vision.see(&picture(first, grids, side)).unwrap();
            let expected: Vec<f32> = (first..first + grids).map(|grid| grid as f32).collect();
            assert_eq!(seen.features.rows.iter().copied().collect::<Vec<f32>>(), expected);
            known.push(there);
        }
        assert_eq!((&lengths.lock().unwrap()[..], &known[..]), (runs, reused));
    }

    #[test]
    fn a_picture_of_many_grids_takes_several_runs_and_keeps_their_order() {
        check(0, &[(0, 9, 64), (9, 2, 64)], &[4, 4, 1, 2], &[false; 2]);
    }

    #[test]
    fn a_run_is_bounded_and_never_empty() {
        check(0, &[(0, 5, 96), (0, 2, 256)], &[1; 7], &[false; 2]);
        check(0, &[(0, 20, 32)], &[16, 4], &[false]);
    }

    #[test]
    fn a_content_is_seen_once_and_a_size_is_part_of_it() {
        let pictures = [(1, 1, 4), (2, 1, 4), (1, 1, 4), (1, 1, 8), (2, 1, 4)];
        check(1024, &pictures, &[1; 3], &[false, false, true, false, true]);
        check(0, &pictures, &[1; 5], &[false; 5]);
        // Room for one picture of one value.
        check(4, &[(1, 1, 4), (1, 1, 4), (2, 1, 4), (1, 1, 4)], &[1; 3], &[false, true, false, false]);
    }

    #[test]
    fn a_run_that_fails_is_not_remembered() {
        struct Fails(usize);
        impl VisionSession for Fails {
            fn run(&mut self, _: &VisionInput<'_>) -> Result<Features, SessionError> {
                self.0 += 1;
                match self.0 {
                    1 => Err(SessionError::Input("once".into())),
                    _ => Ok(Features { rows: Array2::zeros((1, 1)), deepstack: Vec::new() }),
                }
            }
        }
        let mut vision = Vision { session: Box::new(Fails(0)), ..vision(Echo(Arc::default()), 1024) };
        let picture = picture(1, 1, 4);
        assert!(vision.see(&picture).is_err());
        assert!(!vision.see(&picture).unwrap().1);
        assert!(vision.see(&picture).unwrap().1);
    }
}
