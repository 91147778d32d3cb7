//! The real runtime on the fixture package.

use ndarray::{Array2, s};
use rewardrt_models::package::Activations;
use rewardrt_models::spec::position::Rotary;

use ort::memory::AllocationDevice;

use super::fixture::{HIDDEN, VOCABULARY, library, matrix, package, rectangular, rule};
use super::kv::Place;
use super::*;

const SLOTS: usize = 3;
const TOKENS: usize = 40;

fn open(tokens: usize) -> OrtDecoder {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    OrtDecoder::open(&library(), &package, &options(), (SLOTS, tokens)).unwrap()
}

fn options() -> SessionOptions {
    SessionOptions { threads: std::num::NonZeroUsize::MIN, spin: false, ..SessionOptions::default() }
}

/// A decoder whose graph takes no ragged rows.
fn open_rectangular() -> OrtDecoder {
    let dir = tempfile::tempdir().unwrap();
    let package = rectangular(dir.path());
    OrtDecoder::open(&library(), &package, &options(), (SLOTS, TOKENS)).unwrap()
}

/// A decoder whose cache the runtime allocates and copies, as it does on a card, here in the processor's memory.
fn open_on_device() -> OrtDecoder {
    let (dir, library, options) = (tempfile::tempdir().unwrap(), library(), options());
    let package = package(dir.path());
    let place =
        |provider| Ok(Place::Device(AllocationDevice::CPU, open::copier(&library, &options, provider)?));
    OrtDecoder::open_in(place, &library, &package, (&options, (SLOTS, TOKENS))).unwrap()
}

/// One run: for each row its past and its new tokens; logits of every new token are returned, row by row.
fn run(decoder: &mut OrtDecoder, first: usize, rows: &[(usize, &[i64])]) -> Array2<f32> {
    let columns = rows.iter().map(|(_, new)| new.len()).max().unwrap();
    let rotary = Rotary::new(&rule());
    let mut step = StepInput {
        first_slot: first,
        columns,
        ids: Vec::new(),
        feature_rows: Vec::new(),
        features: (0..2 * HIDDEN).map(|i| 0.1 * i as f32).collect(),
        deepstack: vec![(0..2 * HIDDEN).map(|i| -0.05 * i as f32).collect()],
        cos: Vec::new(),
        sin: Vec::new(),
        seqlens_k: rows.iter().map(|(past, new)| (past + new.len()).max(1) as i32 - 1).collect(),
        query_seqlens: rows.iter().map(|(_, new)| new.len() as i32).collect(),
        logit_rows: Vec::new(),
    };
    for (r, (past, new)) in rows.iter().enumerate() {
        for column in 0..columns {
            let id = new.get(column).copied();
            step.ids.push(id.unwrap_or(0));
            // Two ids of the vocabulary stand for picture tokens.
            step.feature_rows.push(id.filter(|&id| id < 2).unwrap_or(-1));
            rotary.push([(past + column) as i64; 3], &mut step.cos, &mut step.sin);
            step.logit_rows.extend(id.map(|_| (r * columns + column) as i64));
        }
    }
    decoder.run(&step).unwrap()
}

fn prompt(seed: i64, n: usize) -> Vec<i64> {
    (0..n as i64).map(|i| (seed * 31 + i * i * 7 + i) % VOCABULARY as i64).collect()
}

fn assert_close(got: &Array2<f32>, expected: ndarray::ArrayView2<'_, f32>) {
    assert_eq!(got.dim(), expected.dim());
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 2e-5, "logits differ by {worst}");
}

#[test]
fn ragged_rows_over_neighbouring_slots_equal_each_sequence_alone() {
    let prompts = [prompt(1, 17), prompt(2, 9), prompt(3, 12)];
    let alone: Vec<_> = prompts.iter().map(|p| run(&mut open(TOKENS), 0, &[(0, p)])).collect();
    let mut decoder = open(TOKENS);
    let chunk = |i: usize, from: usize, to: usize| &prompts[i][from..to];
    // Three lengths at once, then one each with one idle row, then a sub-range of slots.
    let first = run(&mut decoder, 0, &[(0, chunk(0, 0, 10)), (0, chunk(1, 0, 3)), (0, chunk(2, 0, 7))]);
    assert_close(&first.slice(s![..10, ..]).to_owned(), alone[0].slice(s![..10, ..]));
    assert_close(&first.slice(s![10..13, ..]).to_owned(), alone[1].slice(s![..3, ..]));
    assert_close(&first.slice(s![13.., ..]).to_owned(), alone[2].slice(s![..7, ..]));
    let second = run(&mut decoder, 0, &[(10, chunk(0, 10, 11)), (3, &[]), (7, chunk(2, 7, 8))]);
    assert_close(&second.slice(s![..1, ..]).to_owned(), alone[0].slice(s![10..11, ..]));
    assert_close(&second.slice(s![1.., ..]).to_owned(), alone[2].slice(s![7..8, ..]));
    let third = run(&mut decoder, 1, &[(3, chunk(1, 3, 9)), (8, chunk(2, 8, 12))]);
    assert_close(&third.slice(s![..6, ..]).to_owned(), alone[1].slice(s![3.., ..]));
    assert_close(&third.slice(s![6.., ..]).to_owned(), alone[2].slice(s![8.., ..]));
    let fourth = run(&mut decoder, 0, &[(11, chunk(0, 11, 17))]);
    assert_close(&fourth, alone[0].slice(s![11.., ..]));
}

/// Ragged runs with idle rows between others and at their ends, then a copied prefix that goes on.
fn rows_of_all_kinds(decoder: &mut OrtDecoder) -> Vec<Array2<f32>> {
    let (a, b, c) = (prompt(1, 17), prompt(2, 9), prompt(3, 12));
    let mut all = vec![run(decoder, 0, &[(0, &a[..10]), (0, &b[..3]), (0, &c[..7])])];
    all.push(run(decoder, 0, &[(10, &a[10..11]), (3, &[]), (7, &c[7..8])]));
    all.push(run(decoder, 0, &[(11, &[]), (3, &b[3..4]), (8, &c[8..10])]));
    all.push(run(decoder, 1, &[(4, &b[4..9]), (10, &[])]));
    all.push(run(decoder, 0, &[(11, &a[11..12]), (9, &b[..1]), (10, &c[10..11])]));
    decoder.copy_prefix(0, 1, 8).unwrap();
    all.push(run(decoder, 1, &[(8, &a[8..17])]));
    all
}

#[test]
fn a_graph_without_ragged_rows_gives_the_same_logits() {
    let expected = rows_of_all_kinds(&mut open(TOKENS));
    for (got, expected) in rows_of_all_kinds(&mut open_rectangular()).iter().zip(&expected) {
        assert_close(got, expected.view());
    }
}

#[test]
fn a_cache_of_a_device_is_zeroed_read_and_copied_as_one_of_the_host() {
    let expected = rows_of_all_kinds(&mut open(TOKENS));
    let mut decoder = open_on_device();
    assert!((0..2).all(|block| decoder.runner().block(block).iter().all(|&v| v == 0.0)));
    assert_eq!(rows_of_all_kinds(&mut decoder), expected);
}

#[test]
fn only_the_rows_of_new_tokens_are_written_and_they_are_written_in_place() {
    let mut decoder = open(TOKENS);
    decoder.runner().fill(0.25);
    run(&mut decoder, 1, &[(0, &prompt(1, 5)), (4, &[])]);
    for block in 0..2 {
        let cache = decoder.runner().block(block);
        assert!(cache.slice(s![0, .., .., ..]).iter().all(|&v| v == 0.25), "slot 0 is outside the run");
        assert!(cache.slice(s![2, .., .., ..]).iter().all(|&v| v == 0.25), "slot 2 is idle");
        assert!(cache.slice(s![1, .., ..5, ..]).iter().all(|&v| v != 0.25), "slot 1 holds the new tokens");
        assert!(cache.slice(s![1, .., 5.., ..]).iter().all(|&v| v == 0.25), "slot 1 behind the new tokens");
    }
}

#[test]
fn what_stands_behind_a_sequence_in_its_slot_is_never_read() {
    let (clean, text) = (run(&mut open(TOKENS), 0, &[(0, &prompt(4, 11))]), prompt(4, 11));
    let mut decoder = open(TOKENS);
    decoder.runner().fill(f32::NAN);
    let both = run(&mut decoder, 0, &[(0, &text[..6]), (0, &text[..2])]);
    assert_close(&both.slice(s![..6, ..]).to_owned(), clean.slice(s![..6, ..]));
    assert_close(&run(&mut decoder, 0, &[(6, &text[6..7]), (2, &[])]), clean.slice(s![6..7, ..]));
    assert_close(&run(&mut decoder, 0, &[(7, &text[7..])]), clean.slice(s![7.., ..]));
}

#[test]
fn a_sequence_may_end_at_the_last_row_and_not_one_further() {
    let mut decoder = open(TOKENS);
    let text = prompt(5, TOKENS);
    let alone = run(&mut open(TOKENS), 2, &[(0, &text)]);
    run(&mut decoder, 2, &[(0, &text[..TOKENS - 1])]);
    assert_close(
        &run(&mut decoder, 2, &[(TOKENS - 1, &text[TOKENS - 1..])]),
        alone.slice(s![TOKENS - 1.., ..]),
    );
}

#[test]
fn a_copied_prefix_continues_as_the_original() {
    let mut decoder = open(TOKENS);
    let text = prompt(6, 14);
    let alone = run(&mut decoder, 0, &[(0, &text)]);
    decoder.copy_prefix(0, 2, 9).unwrap();
    assert_close(&run(&mut decoder, 2, &[(9, &text[9..])]), alone.slice(s![9.., ..]));
    assert!(decoder.copy_prefix(0, SLOTS, 1).is_err());
    assert!(decoder.copy_prefix(0, 1, TOKENS + 1).is_err());
}

/// Rotates the two halves of every head of eight, row by row.
fn turn(x: &mut Array2<f32>) {
    let rotary = Rotary::new(&rule());
    for (place, mut row) in x.rows_mut().into_iter().enumerate() {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        rotary.push([place as i64; 3], &mut cos, &mut sin);
        for head in 0..row.len() / 8 {
            for i in 0..4 {
                let (a, b) = (row[8 * head + i], row[8 * head + 4 + i]);
                row[8 * head + i] = a * cos[i] - b * sin[i];
                row[8 * head + 4 + i] = b * cos[i] + a * sin[i];
            }
        }
    }
}

/// The fixture's network written out: `softmax(q k / sqrt(8)) v` over what came before, in two query heads.
fn reference(text: &[i64]) -> Array2<f32> {
    let embedding = matrix("embedding");
    let feature = |row: i64, i: usize| (0.1 - 0.05) * (row as usize * HIDDEN + i) as f32;
    let x = Array2::from_shape_fn((text.len(), HIDDEN), |(t, i)| {
        if text[t] < 2 { feature(text[t], i) } else { embedding[[text[t] as usize, i]] }
    });
    let (mut q, mut k, v) = (x.dot(&matrix("wq")), x.dot(&matrix("wk")), x.dot(&matrix("wv")));
    turn(&mut q);
    turn(&mut k);
    let mut y = x;
    for t in 0..text.len() {
        for head in 0..2 {
            let query = q.slice(s![t, 8 * head..8 * head + 8]);
            let weights: Vec<f32> = (0..=t).map(|u| (query.dot(&k.row(u)) / 8_f32.sqrt()).exp()).collect();
            let sum: f32 = weights.iter().sum();
            for i in 0..8 {
                y[[t, 8 * head + i]] += (0..=t).map(|u| weights[u] / sum * v[[u, i]]).sum::<f32>();
            }
        }
    }
    y.dot(&matrix("head"))
}

#[test]
fn logits_are_those_of_the_formula_with_and_without_features() {
    for seed in 0..4 {
        let text = prompt(seed, 13);
        assert_close(&run(&mut open(TOKENS), 0, &[(0, &text)]), reference(&text).view());
    }
    assert!(prompt(0, 13).iter().any(|&id| id < 2), "some tokens are pictures");
}

#[test]
fn a_step_out_of_shape_or_range_is_refused_before_it_runs() {
    let decoder = open(TOKENS);
    let g = decoder.geometry().clone();
    let good = StepInput {
        first_slot: 0,
        columns: 1,
        ids: vec![1],
        feature_rows: vec![-1],
        features: vec![0.0; HIDDEN],
        deepstack: vec![vec![0.0; HIDDEN]],
        cos: vec![1.0; g.rotary_width],
        sin: vec![0.0; g.rotary_width],
        seqlens_k: vec![0],
        query_seqlens: vec![1],
        logit_rows: vec![0],
    };
    good.check(&g).unwrap();
    let check = |edit: &dyn Fn(&mut StepInput), field: &str| {
        let mut step = good.clone();
        edit(&mut step);
        assert_eq!(step.check(&g), Err(SessionError::Input(format!("{field} is out of shape or range"))));
    };
    check(&|s| s.first_slot = SLOTS, "rows");
    check(&|s| s.columns = 0, "columns");
    check(&|s| s.ids = vec![VOCABULARY as i64], "ids");
    check(&|s| s.ids = vec![-1], "ids");
    check(&|s| s.feature_rows = vec![1], "feature_rows");
    check(&|s| s.feature_rows = vec![-2], "feature_rows");
    check(&|s| s.features.clear(), "features");
    check(&|s| s.deepstack.clear(), "deepstack");
    check(&|s| s.cos.clear(), "cos");
    check(&|s| s.seqlens_k = vec![TOKENS as i32], "seqlens_k");
    check(&|s| s.seqlens_k = vec![-1], "seqlens_k");
    check(&|s| s.query_seqlens = vec![2], "query_seqlens");
    check(&|s| s.logit_rows = vec![1], "logit_rows");
    check(&|s| s.logit_rows.clear(), "logit_rows");
}

fn providers(list: &str) -> Result<OrtDecoder, SessionError> {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let options = SessionOptions { providers: list.parse().unwrap(), ..SessionOptions::default() };
    OrtDecoder::open(&library(), &package, &options, (1, 8))
}

#[test]
fn a_provider_that_is_not_there_is_refused_by_name_with_its_library() {
    for (list, name) in [("cuda", "cuda"), ("tensorrt", "tensorrt"), ("tensorrt,cuda", "cuda")] {
        let error = providers(list).err().expect("there is no such provider here").to_string();
        let library = format!("libonnxruntime_providers_{name}.so");
        assert!(error.contains(&format!("provider {name} cannot be used")), "{error}");
        assert!(error.contains(&library) && error.contains("--provider cpu"), "{error}");
    }
}

#[test]
fn falling_back_goes_along_the_list_and_is_told() {
    let placement = providers("cuda,cpu").unwrap().placement().clone();
    assert_eq!((placement.component, placement.provider), ("decoder", Provider::Cpu));
    let nodes = placement.counts().get("CPUExecutionProvider").copied().unwrap_or(0);
    assert!(nodes >= 10, "{placement:?}");
}

#[test]
fn floats_that_the_package_has_no_graph_in_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let options = SessionOptions { activations: Some(Activations::F16), ..options() };
    let error = OrtDecoder::open(&library(), &package, &options, (1, 8)).err().unwrap().to_string();
    assert!(error.contains("no decoder graph") && error.contains("--precision fp16"), "{error}");
}

#[test]
fn telemetry_is_off_once_a_library_is_loaded() {
    library();
    assert_eq!(std::env::var("ORT_DISABLE_TELEMETRY").as_deref(), Ok("1"));
}

#[test]
fn features_of_several_pictures_join_in_order() {
    let part = |v: f32, n: usize| Features {
        rows: Array2::from_elem((n, 2), v),
        deepstack: vec![Array2::from_elem((n, 2), -v)],
    };
    let joined = Features::join(&[part(1.0, 1), part(2.0, 2)]).unwrap();
    assert_eq!(joined.rows.column(0).to_vec(), [1.0, 2.0, 2.0]);
    assert_eq!(joined.deepstack[0].column(1).to_vec(), [-1.0, -2.0, -2.0]);
    assert!(Features::join(&[] as &[Features]).is_err());
    assert!(Features::join(&[part(1.0, 1), Features { deepstack: vec![], ..part(1.0, 1) }]).is_err());
}
