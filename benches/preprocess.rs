//! From decoded pixels to patches, for a picture of 1024x1024: what every request pays before the vision tower.

// Criterion's macros make items without documentation.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rewardrt::media::{MediaError, Rgb8};
use rewardrt::preprocess::{fit, patchify, prepare};
use rewardrt_models::package::{ImageProcessing, Resample};

const SIDE: u32 = 1024;

/// Ramps and noise; the resizer's time does not depend on the pixels.
fn picture() -> Result<Rgb8, MediaError> {
    let bytes = (0..SIDE * SIDE * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    Rgb8::new(SIDE, SIDE, bytes.collect())
}

/// `max_pixels` decides whether the picture keeps its size.
fn params(max_pixels: u64, resample: Resample) -> ImageProcessing {
    ImageProcessing {
        patch_size: 16,
        temporal_patch_size: 2,
        merge_size: 2,
        min_pixels: 65_536,
        max_pixels,
        mean: [0.5; 3],
        std: [0.5; 3],
        rescale_factor: 1.0 / 255.0,
        resample,
        tiling: None,
    }
}

fn preprocess(criterion: &mut Criterion) {
    let Ok(image) = picture() else { return };
    let whole = params(16_777_216, Resample::BicubicTorch);
    let mut group = criterion.benchmark_group("preprocess_1024x1024");
    for (name, resample) in [("torch", Resample::BicubicTorch), ("pillow", Resample::BicubicPillow)] {
        let reduced = params(720 * 720, resample);
        group
            .bench_function(format!("resize_to_704_{name}"), |b| b.iter(|| fit(black_box(&image), &reduced)));
    }
    let frames = [image.clone()];
    group.bench_function("patchify", |b| b.iter(|| patchify(black_box(&frames), &whole)));
    let reduced = params(720 * 720, Resample::BicubicTorch);
    group.bench_function("resize_and_patchify", |b| b.iter(|| prepare(black_box(&image), &reduced, 1)));
    group.finish();
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
