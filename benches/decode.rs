//! One decode step of a small package, through the slot engine: plan, run, choose. The demo checkpoint is exported
//! for it, so the time is that of the machinery, the graph and the host around it, and not of reading weights.

// Criterion's macros make items without documentation.
#![allow(missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rewardrt::decode::{Engine, Request};
use rewardrt::load::Package;
use rewardrt::session::{OrtDecoder, SessionOptions, library};
use rewardrt_benches::demo_checkpoint;
use rewardrt_export::{Options, export};
use rewardrt_models::package::Precision;

/// Tokens that a sequence holds before the first step that is timed.
const PROMPT: usize = 192;
/// Steps that are timed before the sequences begin anew.
const STEPS: usize = 64;

fn engine(package: &Path, slots: usize) -> Engine<OrtDecoder> {
    let library = library::load(None).expect("ONNX Runtime: set ORT_DYLIB_PATH, as `make bench` does");
    let package = Package::open(package).expect("a package");
    let tokens = PROMPT + STEPS + 1;
    let decoder = OrtDecoder::open(&library, &package, &SessionOptions::default(), (slots, tokens));
    Engine::new(decoder.expect("a session"), &package.manifest().decoder.position)
}

fn request(row: usize) -> Request {
    let ids = (0..PROMPT).map(|i| ((i * 31 + row * 7) % 500) as u32).collect();
    Request::text(ids, STEPS + 1, Vec::new())
}

/// Time of `count` steps that make a token for every slot. Prompts are read outside of it.
fn steps(engine: &mut Engine<OrtDecoder>, slots: usize, count: u64) -> Duration {
    let (mut time, mut left) = (Duration::ZERO, count);
    while left > 0 {
        let tickets: Vec<_> =
            (0..slots).map(|row| engine.admit(request(row)).expect("a free slot")).collect();
        // The last prompt's run makes the first token of it; then every slot decodes.
        let mut first = 0;
        while first < slots {
            first += engine.step().len();
        }
        for _ in 0..left.min(STEPS as u64 - 1) {
            let start = Instant::now();
            let events = engine.step();
            time += start.elapsed();
            assert_eq!(events.len(), slots, "a step that is no decode step");
            left -= 1;
        }
        for ticket in tickets {
            engine.cancel(ticket);
        }
    }
    time
}

fn decode(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("decode_step");
    for precision in [Precision::Fp32, Precision::Int4] {
        let (checkpoint, out) = (demo_checkpoint(), folder.path().join(precision.name()));
        let options =
            Options { checkpoint, out: out.clone(), precision, name: None, pack: None, force: false };
        export(&options, &mut |_| {}).expect("a package");
        for slots in [1, 4] {
            let mut engine = engine(&out, slots);
            group.throughput(Throughput::Elements(slots as u64));
            let id = BenchmarkId::new(precision.name(), format!("batch_{slots}"));
            group.bench_function(id, |b| b.iter_custom(|count| steps(&mut engine, slots, count)));
        }
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
