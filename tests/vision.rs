//! The vision towers of all golden models: pictures of one size share a run and do not see each other, and rows that
//! do not belong to the grid are refused before anything runs.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

mod drive;

use drive::{Exported, Sessions};
use ndarray::{Array3, Axis, concatenate, s};
use rewardrt::session::{SessionError, VisionInput, VisionSession, library};
use rewardrt_models::package::Precision;
use rewardrt_models::spec::position::{GridRows, grid_rows};
use rewardrt_tests::{Result, golden_cases, golden_models};

/// Runs `check` on the tower of every golden model with each grid of the pictures of one chat: patches
/// `[1, p, values]`, and its position rows.
fn for_each_picture(check: impl Fn(&mut Sessions, &Array3<f32>, &GridRows)) -> Result<()> {
    let library = library::load(None)?;
    for model in golden_models()? {
        let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
        let mut sessions = Sessions::open(&library, &package.path(), (1, 512))?;
        let (vision, image) = (sessions.manifest.vision.clone(), sessions.manifest.image.clone());
        let (vision, merge) = (vision.unwrap(), image.unwrap().merge_size as usize);
        let case = golden_cases(&model)?.into_iter().find(|case| case.name == "system_multi");
        for picture in drive::pictures(&case.ok_or("no such chat")?, &sessions.manifest)? {
            let [_, rows, columns] = picture.grid.map(|n| n as usize);
            for patches in picture.grids()?.axis_chunks_iter(Axis(0), 1) {
                check(&mut sessions, &patches.to_owned(), &grid_rows(&vision, merge, rows, columns));
            }
        }
    }
    Ok(())
}

#[test]
fn pictures_that_share_a_run_do_not_see_each_other() -> Result<()> {
    for_each_picture(|sessions, patches, grid| {
        let mut see = |patches: &Array3<f32>| {
            sessions.vision.run(&VisionInput { patches: patches.view(), grid }).unwrap().rows
        };
        let others = [patches.mapv(|x| 0.5 - x), patches.slice(s![.., ..;-1, ..]).to_owned()];
        let all = [patches, &others[0], &others[1]];
        let together = see(&concatenate(Axis(0), &all.map(|p| p.view())).unwrap());
        let each = together.nrows() / all.len();
        for (i, patches) in all.iter().enumerate() {
            let difference = &together.slice(s![i * each..(i + 1) * each, ..]) - &see(patches);
            let most = difference.iter().fold(0.0_f32, |most, d| most.max(d.abs()));
            assert!(most < 1e-4, "picture {i} of the run differs by {most} from itself alone");
        }
        assert!(see(&others[0]) != see(patches), "pictures that look alike show nothing");
    })
}

#[test]
fn rows_of_another_grid_are_refused() -> Result<()> {
    for_each_picture(|sessions, patches, grid| {
        let mut refuse = |grid: &GridRows| {
            let error = sessions.vision.run(&VisionInput { patches: patches.view(), grid }).unwrap_err();
            assert!(matches!(error, SessionError::Input(_)), "{error}");
        };
        if *grid == GridRows::default() {
            // A tower that takes no rows knows one grid only.
            let patches = patches.slice(s![.., 1.., ..]);
            let error = sessions.vision.run(&VisionInput { patches, grid }).unwrap_err();
            assert!(matches!(error, SessionError::Input(_)), "{error}");
            return;
        }
        refuse(&GridRows::default());
        let mut short = grid.clone();
        short.angles.as_mut().unwrap().sin.pop();
        refuse(&short);
        if grid.windows.is_some() {
            refuse(&GridRows { windows: None, ..grid.clone() });
            let mut short = grid.clone();
            short.windows.as_mut().unwrap().places.pop();
            refuse(&short);
        }
    })
}
