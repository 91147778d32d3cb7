//! The sessions of a judge: the vision tower and the slot engine, used by one caller at a time.

use std::time::Instant;

use ndarray::{ArrayView3, Axis, concatenate, s};
use rewardrt_models::package::{ImageProcessing, Manifest, VisionComponent};
use rewardrt_models::spec::position::grid_rows;

use crate::Error;
use crate::decode;
use crate::preprocess::Patches;
use crate::session::{DecoderSession, Features, VisionInput, VisionSession};

/// Most patches of one vision run: sixteen pictures of 512x512. More in a run is not faster, only larger.
const PATCHES_PER_RUN: usize = 16 * 1024;

/// Sessions and what they need to know of the package.
pub(super) struct Engine {
    vision: Option<Vision>,
    /// The slot engine.
    pub(super) decoder: decode::Engine<Box<dyn DecoderSession>>,
}

struct Vision {
    session: Box<dyn VisionSession>,
    component: VisionComponent,
    image: ImageProcessing,
}

impl Engine {
    pub(super) fn new(
        manifest: &Manifest,
        decoder: Box<dyn DecoderSession>,
        session: Option<Box<dyn VisionSession>>,
    ) -> Engine {
        let vision = session.zip(manifest.vision.clone()).zip(manifest.image.clone());
        let vision = vision.map(|((session, component), image)| Vision { session, component, image });
        Engine { vision, decoder: decode::Engine::new(decoder, &manifest.decoder.position) }
    }

    /// The features of pictures, in order, and the milliseconds that they took.
    pub(super) fn see(&mut self, pictures: &[Patches]) -> Result<(Vec<Features>, f64), Error> {
        let start = Instant::now();
        let mut features = Vec::with_capacity(pictures.len());
        if let Some(vision) = self.vision.as_mut().filter(|_| !pictures.is_empty()) {
            for run in runs(pictures) {
                features.extend(vision.run(run)?);
            }
        }
        Ok((features, start.elapsed().as_secs_f64() * 1e3))
    }
}

impl Vision {
    /// Features of pictures whose grids have one size.
    fn run(&mut self, pictures: &[Patches]) -> Result<Vec<Features>, Error> {
        let Some(first) = pictures.first() else { return Ok(Vec::new()) };
        let [_, rows, columns] = first.grid.map(|n| n as usize);
        let grid = grid_rows(&self.component, self.image.merge_size as usize, rows, columns);
        let unstacked = |e| Error::Request(format!("pictures of one size do not stack: {e}"));
        let grids: Vec<ArrayView3<f32>> =
            pictures.iter().map(|p| p.grids().map_err(unstacked)).collect::<Result<_, _>>()?;
        let stacked = concatenate(Axis(0), &grids).map_err(unstacked)?;
        let mut parts = Vec::new();
        for patches in stacked.axis_chunks_iter(Axis(0), (PATCHES_PER_RUN / (rows * columns).max(1)).max(1)) {
            parts.push(self.session.run(&VisionInput { patches, grid: &grid })?);
        }
        let all = Features::join(&parts)?;
        let each = all.rows.nrows() / stacked.len_of(Axis(0)).max(1);
        let mut start = 0;
        let split = pictures.iter().map(|picture| {
            let part = s![start..start + each * picture.grid[0] as usize, ..];
            start += each * picture.grid[0] as usize;
            Features {
                rows: picture.tokens(all.rows.slice(part).to_owned()),
                deepstack: all.deepstack.iter().map(|table| table.slice(part).to_owned()).collect(),
            }
        });
        Ok(split.collect())
    }
}

/// Neighbouring pictures whose grids have one size, within [`PATCHES_PER_RUN`] or a single one.
fn runs(pictures: &[Patches]) -> Vec<&[Patches]> {
    let mut runs = Vec::new();
    let mut rest = pictures;
    while let Some(first) = rest.first() {
        let most = (PATCHES_PER_RUN / first.rows().max(1)).max(1);
        let same = rest.iter().take(most).take_while(|p| p.grid[1..] == first.grid[1..]).count();
        let (run, after) = rest.split_at(same);
        runs.push(run);
        rest = after;
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ndarray::Array2;
    use rewardrt_models::package::{Graph, Resample};

    use super::*;
    use crate::session::SessionError;

    /// Grids in, lengths of the runs out.
    fn check(grids: &[[u32; 3]], expected: &[usize]) {
        let pictures: Vec<Patches> =
            grids.iter().map(|&grid| Patches { grid, values: Vec::new(), packing: None }).collect();
        let lengths: Vec<usize> = runs(&pictures).iter().map(|r| r.len()).collect();
        assert_eq!(lengths, expected);
    }

    #[test]
    fn neighbours_of_one_size_share_a_run() {
        check(&[[1, 4, 4], [1, 4, 4], [1, 4, 6], [1, 4, 4]], &[2, 1, 1]);
        check(&[], &[]);
    }

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

    fn vision(session: Echo) -> Vision {
        let graph =
            Graph { file: String::new(), weights: Vec::new(), inputs: Vec::new(), outputs: Vec::new() };
        let component = VisionComponent {
            graph,
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
        Vision { session: Box::new(session), component, image }
    }

    #[test]
    fn a_picture_of_many_grids_takes_several_runs_and_keeps_their_order() {
        let side = 64;
        let patches = side * side;
        let picture = |first: usize, grids: usize| Patches {
            grid: [grids as u32, side as u32, side as u32],
            values: (first..first + grids).flat_map(|grid| vec![grid as f32; patches]).collect(),
            packing: None,
        };
        let runs = Arc::new(Mutex::new(Vec::new()));
        let seen = vision(Echo(runs.clone())).run(&[picture(0, 5), picture(5, 4)]).unwrap();
        assert_eq!(*runs.lock().unwrap(), [4, 4, 1]);
        let values = |features: &Features| features.rows.iter().copied().collect::<Vec<f32>>();
        assert_eq!(
            seen.iter().map(values).collect::<Vec<_>>(),
            [vec![0., 1., 2., 3., 4.], vec![5., 6., 7., 8.]]
        );
    }

    #[test]
    fn a_run_is_bounded_and_never_empty() {
        check(&[[1, 128, 64]; 5], &[2, 2, 1]);
        check(&[[1, 256, 256]; 2], &[1, 1]);
    }
}
