//! The sessions of a judge: the vision tower and the slot engine, used by one caller at a time.

use std::time::Instant;

use ndarray::{Array2, ArrayView3, s};
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
    /// Features of pictures of one size.
    fn run(&mut self, pictures: &[Patches]) -> Result<Vec<Features>, Error> {
        let Some(first) = pictures.first() else { return Ok(Vec::new()) };
        let [_, rows, columns] = first.grid.map(|n| n as usize);
        let grid = grid_rows(&self.component, self.image.merge_size as usize, rows, columns);
        let values: Vec<f32> = pictures.iter().flat_map(|p| p.values.iter().copied()).collect();
        let shape = (pictures.len(), first.rows(), first.row_len());
        let patches = ArrayView3::from_shape(shape, &values)
            .map_err(|e| Error::Request(format!("pictures of one size do not stack: {e}")))?;
        let all = self.session.run(&VisionInput { patches, grid: &grid })?;
        let each = all.rows.nrows() / pictures.len();
        let part = |table: &Array2<f32>, i: usize| table.slice(s![i * each..(i + 1) * each, ..]).to_owned();
        Ok((0..pictures.len())
            .map(|i| Features {
                rows: part(&all.rows, i),
                deepstack: all.deepstack.iter().map(|table| part(table, i)).collect(),
            })
            .collect())
    }
}

/// Neighbouring pictures of one size, within [`PATCHES_PER_RUN`].
fn runs(pictures: &[Patches]) -> Vec<&[Patches]> {
    let mut runs = Vec::new();
    let mut rest = pictures;
    while let Some(first) = rest.first() {
        let most = (PATCHES_PER_RUN / first.rows().max(1)).max(1);
        let same = rest.iter().take(most).take_while(|p| p.grid == first.grid).count();
        let (run, after) = rest.split_at(same);
        runs.push(run);
        rest = after;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grids in, lengths of the runs out.
    fn check(grids: &[[u32; 3]], expected: &[usize]) {
        let pictures: Vec<Patches> = grids.iter().map(|&grid| Patches { grid, values: Vec::new() }).collect();
        let lengths: Vec<usize> = runs(&pictures).iter().map(|r| r.len()).collect();
        assert_eq!(lengths, expected);
    }

    #[test]
    fn neighbours_of_one_size_share_a_run() {
        check(&[[1, 4, 4], [1, 4, 4], [1, 4, 6], [1, 4, 4]], &[2, 1, 1]);
        check(&[], &[]);
    }

    #[test]
    fn a_run_is_bounded_and_never_empty() {
        check(&[[1, 128, 64]; 5], &[2, 2, 1]);
        check(&[[1, 256, 256]; 2], &[1, 1]);
    }
}
