//! States that are overwritten by every run do not leak: between chunks, neighbours, runs that failed, and sequences
//! that had the slot before. On the golden models that keep such states; those that only cache keys and values have
//! `batch.rs`.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

mod drive;

use std::fs;
use std::ops::Range;
use std::path::Path;

use drive::{Exported, Prompt, Sessions};
use ndarray::{Array2, s};
use prost::Message;
use rewardrt::decode::{DecodeError, Engine};
use rewardrt::load::Package;
use rewardrt::session::{DecoderSession, OrtDecoder, SessionError, StepInput, library};
use rewardrt_models::package::onnx::{DataType, ModelProto, NodeProto, TensorProto};
use rewardrt_models::package::{MANIFEST_FILE, Manifest, Precision, Recurrent, hex};
use rewardrt_tests::{Result, golden_cases, golden_models};
use sha2::{Digest, Sha256};

const SLOTS: usize = 3;
const TOKENS: usize = 512;
/// What another order of adding up may do to a logit.
const LAST_BITS: f32 = 1e-3;

/// A package with recurrent states, and its golden chats.
struct Bench {
    package: Exported,
    manifest: Manifest,
    prompts: Vec<Prompt>,
}

impl Bench {
    fn open(&self) -> Result<OrtDecoder> {
        Ok(Sessions::open(&library::load(None)?, &self.package.path(), (SLOTS, TOKENS))?.decoder)
    }

    /// One run over neighbouring slots: the part of a prompt that each row reads, empty for an idle row. The logits
    /// are those of the last token of each row that is not idle.
    fn run(&self, decoder: &mut OrtDecoder, first: usize, rows: &[(&Prompt, Range<usize>)]) -> Array2<f32> {
        decoder.run(&self.step(first, rows)).unwrap()
    }

    fn step(&self, first: usize, rows: &[(&Prompt, Range<usize>)]) -> StepInput {
        let parts: Vec<StepInput> =
            rows.iter().map(|(prompt, part)| prompt.step(&self.manifest, first, part.clone())).collect();
        let columns = parts.iter().map(|p| p.columns).max().unwrap();
        let decoder = &self.manifest.decoder;
        let (hidden, width) = (decoder.hidden as usize, decoder.position.rotary_dim as usize / 2);
        let mut step = StepInput {
            first_slot: first,
            columns,
            ids: Vec::new(),
            feature_rows: Vec::new(),
            features: Vec::new(),
            deepstack: Vec::new(),
            cos: Vec::new(),
            sin: Vec::new(),
            seqlens_k: Vec::new(),
            query_seqlens: Vec::new(),
            logit_rows: Vec::new(),
        };
        for (row, (part, (_, range))) in parts.iter().zip(rows).enumerate() {
            let (end, table) = ((row + 1) * columns, step.features.len() / hidden);
            let moved = |&r: &i64| if r < 0 { r } else { r + table as i64 };
            step.ids.extend(&part.ids);
            step.ids.resize(end, 7);
            step.feature_rows.extend(part.feature_rows.iter().map(moved));
            // Padding is a picture of no numbers: whatever is not kept out of a state shows.
            step.features.extend(part.features.iter().chain(&vec![f32::NAN; hidden]));
            step.feature_rows.resize(end, (step.features.len() / hidden) as i64 - 1);
            step.cos.extend(&part.cos);
            step.cos.resize(end * width, 1.0);
            step.sin.extend(&part.sin);
            step.sin.resize(end * width, 0.5);
            step.seqlens_k.push(range.end.max(1) as i32 - 1);
            step.query_seqlens.push(range.len() as i32);
            step.logit_rows.extend((!range.is_empty()).then(|| (row * columns + range.len() - 1) as i64));
        }
        step
    }

    /// The logits after the whole prompt, read at once in a decoder of its own.
    fn alone(&self, prompt: &Prompt) -> Result<Array2<f32>> {
        Ok(self.run(&mut self.open()?, 0, &[(prompt, 0..prompt.ids.len())]))
    }
}

/// Runs `check` on every golden model with recurrent states; it is an error when there is none.
fn for_each_bench(check: impl Fn(&Bench) -> Result<()>) -> Result<()> {
    let mut seen = 0;
    for model in golden_models()? {
        let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
        let mut sessions = Sessions::open(&library::load(None)?, &package.path(), (1, TOKENS))?;
        if sessions.manifest.decoder.recurrent.is_none() {
            continue;
        }
        let cases = golden_cases(&model)?;
        let prompt = |case| Prompt::of(case, &sessions.manifest, &mut sessions.vision);
        let prompts = cases.iter().map(prompt).collect::<Result<_>>()?;
        let bench = Bench { package, manifest: sessions.manifest, prompts };
        check(&bench).map_err(|e| format!("{}: {e}", model.display()))?;
        seen += 1;
    }
    if seen > 0 { Ok(()) } else { Err("no golden model has recurrent states".into()) }
}

#[track_caller]
fn assert_close(got: &Array2<f32>, expected: &Array2<f32>) {
    let most = got.iter().zip(expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    // Every value is looked at: a maximum passes over what is no number.
    assert!(got.iter().all(|v| v.is_finite()) && most < LAST_BITS, "logits differ by {most}");
}

fn bits(logits: &Array2<f32>) -> Vec<u32> {
    logits.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_prompt_read_in_chunks_of_any_size_is_the_prompt() -> Result<()> {
    for_each_bench(|bench| {
        for prompt in &bench.prompts {
            let (n, alone) = (prompt.ids.len(), bench.alone(prompt)?);
            // Chunks shorter than the window of the convolution, and longer.
            for chunk in [1, 2, 3, 16] {
                let mut decoder = bench.open()?;
                let starts = (0..n).step_by(chunk);
                let read = starts.map(|at| bench.run(&mut decoder, 1, &[(prompt, at..n.min(at + chunk))]));
                assert_close(&read.last().unwrap(), &alone);
            }
        }
        Ok(())
    })
}

#[test]
fn sequences_in_runs_of_changing_neighbours_and_lengths_are_those_alone() -> Result<()> {
    for_each_bench(|bench| {
        let prompts = &bench.prompts[..SLOTS];
        let (mut decoder, mut read) = (bench.open()?, [0; SLOTS]);
        let mut last: Vec<Option<Array2<f32>>> = vec![None; SLOTS];
        // A linear congruential generator draws which neighbours run and how much each of them reads.
        let mut state = 7_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        while (0..SLOTS).any(|i| read[i] < prompts[i].ids.len()) {
            let first = draw(SLOTS);
            let rows: Vec<(&Prompt, Range<usize>)> = (first..first + 1 + draw(SLOTS - first))
                .map(|i| (&prompts[i], read[i]..prompts[i].ids.len().min(read[i] + draw(9))))
                .collect();
            if rows.iter().all(|(_, part)| part.is_empty()) {
                continue;
            }
            let logits = bench.run(&mut decoder, first, &rows);
            let mut wanted = logits.rows().into_iter();
            for (i, (_, part)) in rows.iter().enumerate().filter(|(_, (_, part))| !part.is_empty()) {
                read[first + i] = part.end;
                last[first + i] = wanted.next().map(|row| row.to_owned().insert_axis(ndarray::Axis(0)));
            }
        }
        for (prompt, last) in prompts.iter().zip(&last) {
            assert_close(last.as_ref().unwrap(), &bench.alone(prompt)?);
        }
        Ok(())
    })
}

#[test]
fn an_idle_row_keeps_its_state_bit_for_bit() -> Result<()> {
    for_each_bench(|bench| {
        let [idle, busy] = [&bench.prompts[2], &bench.prompts[1]];
        let n = idle.ids.len();
        let end = |disturb: &dyn Fn(&mut OrtDecoder)| -> Result<Vec<u32>> {
            let mut decoder = bench.open()?;
            bench.run(&mut decoder, 1, &[(idle, 0..n - 1)]);
            disturb(&mut decoder);
            Ok(bits(&bench.run(&mut decoder, 1, &[(idle, n - 1..n)])))
        };
        let undisturbed = end(&|_| ())?;
        // An odd number of runs and an even one: the two buffers of a state change places in each.
        for runs in [1, 4] {
            let disturbed = end(&|decoder| {
                for at in 0..runs {
                    let part = 5 * at..5 * at + 5;
                    bench.run(decoder, 0, &[(busy, part.clone()), (idle, n - 1..n - 1), (busy, part)]);
                }
            })?;
            assert_eq!(disturbed, undisturbed, "after {runs} runs of its neighbours");
        }
        Ok(())
    })
}

/// Leaves in a slot the state of a sequence that saw a picture of no numbers.
fn poison(bench: &Bench, decoder: &mut OrtDecoder, slot: usize) {
    let prompt = &bench.prompts[0];
    let mut step = prompt.step(&bench.manifest, slot, 0..prompt.ids.len());
    step.features.fill(f32::NAN);
    step.feature_rows.fill(0);
    let logits = decoder.run(&step).unwrap();
    assert!(logits.iter().all(|v| v.is_nan()), "the slot is not poisoned");
}

#[test]
fn a_sequence_that_starts_does_not_see_what_its_slot_holds_not_even_if_it_is_no_number() -> Result<()> {
    for_each_bench(|bench| {
        let [first, second] = [&bench.prompts[0], &bench.prompts[1]];
        let parts = || [(first, 0..20), (second, 0..9)];
        let expected = bench.run(&mut bench.open()?, 0, &parts());
        let mut decoder = bench.open()?;
        for slot in 0..SLOTS {
            poison(bench, &mut decoder, slot);
        }
        assert_eq!(bits(&bench.run(&mut decoder, 0, &parts())), bits(&expected));
        // A poisoned slot that idles beside them stays alone with it.
        let rows = [(first, 20..21), (second, 9..12), (first, 1..1)];
        let beside = bench.run(&mut decoder, 0, &rows);
        assert!(beside.iter().all(|v| v.is_finite()));
        let n = second.ids.len();
        assert_close(&bench.run(&mut decoder, 1, &[(second, 12..n)]), &bench.alone(second)?);
        Ok(())
    })
}

#[test]
fn a_state_is_copied_at_its_end_and_cannot_go_back() -> Result<()> {
    for_each_bench(|bench| {
        let prompt = &bench.prompts[0];
        let n = prompt.ids.len();
        let mut decoder = bench.open()?;
        bench.run(&mut decoder, 0, &[(prompt, 0..n - 2)]);
        let back = SessionError::State { slot: 0, held: n - 2, asked: n - 3 };
        assert_eq!(decoder.copy_prefix(0, 2, n - 3), Err(back.clone()));
        assert_eq!(decoder.run(&bench.step(0, &[(prompt, n - 3..n)])), Err(back));
        assert!(
            decoder.run(&bench.step(1, &[(prompt, 1..n)])).is_err(),
            "slot 1 holds nothing to go on from"
        );
        // A neighbour that is refused keeps the others from being run, and changes nothing for them.
        assert!(decoder.run(&bench.step(0, &[(prompt, n - 2..n - 1), (prompt, 1..2)])).is_err());
        poison(bench, &mut decoder, 2);
        decoder.copy_prefix(0, 2, n - 2)?;
        let [copy, original] = [2, 0].map(|slot| bench.run(&mut decoder, slot, &[(prompt, n - 2..n)]));
        assert_eq!(bits(&copy), bits(&original));
        assert_close(&copy, &bench.alone(prompt)?);
        // Nothing is a prefix too, and what follows starts anew.
        decoder.copy_prefix(0, 2, 0)?;
        assert!(decoder.run(&bench.step(2, &[(prompt, n - 1..n)])).is_err());
        assert_close(&bench.run(&mut decoder, 2, &[(prompt, 0..n)]), &bench.alone(prompt)?);
        Ok(())
    })
}

/// A copy of the package whose decoder fails on the last token of the vocabulary, after it has written every state:
/// a lookup in a table that is one row too short waits for the last of them.
fn trapped(bench: &Bench) -> Bench {
    let package = bench.package.copy().unwrap();
    let node = |op: &str, input: &[&str], output: &str| NodeProto {
        name: format!("/{output}"),
        op_type: op.to_owned(),
        input: input.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let path = package.path().join("decoder.onnx");
    let mut model = ModelProto::decode(fs::read(&path).unwrap().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let rows = bench.manifest.decoder.vocabulary as usize - 1;
    graph.initializer.push(TensorProto {
        dims: vec![rows as i64],
        data_type: DataType::Float as i32,
        name: "trap.table".to_owned(),
        raw_data: Some(vec![0; 4 * rows]),
        ..TensorProto::default()
    });
    let last = format!("present_state.{}", bench.manifest.decoder.recurrent.unwrap().layers - 1);
    graph.node.extend([
        node("Size", &[&last], "trap.size"),
        node("Sub", &["trap.size", "trap.size"], "trap.zero"),
        node("Add", &["input_ids", "trap.zero"], "trap.ids"),
        node("Gather", &["trap.table", "trap.ids"], "trap.looked_up"),
        node("ReduceSum", &["trap.looked_up"], "trap.sum"),
    ]);
    let end = graph.node.iter().position(|n| n.output == ["logits"]).unwrap();
    let mut end = graph.node.remove(end);
    end.op_type = "Add".to_owned();
    end.input.push("trap.sum".to_owned());
    graph.node.push(end);
    relist(
        &package.path(),
        "decoder.onnx",
        &model.encode_to_vec(),
        &["Size", "Sub", "ReduceSum", "Add", "Gather"],
    );
    Bench { package, manifest: bench.manifest.clone(), prompts: bench.prompts.clone() }
}

/// Replaces a file of a package, and lists its bytes and the operators that it uses more.
fn relist(package: &Path, name: &str, bytes: &[u8], operators: &[&str]) {
    let path = package.join(MANIFEST_FILE);
    let mut manifest = Manifest::parse(&fs::read(&path).unwrap()).unwrap();
    fs::write(package.join(name), bytes).unwrap();
    let entry = manifest.files.iter_mut().find(|f| f.path == name).unwrap();
    (entry.size, entry.sha256) = (bytes.len() as u64, hex(&Sha256::digest(bytes)));
    manifest.requires.operators.extend(operators.iter().map(|o| format!("ai.onnx::{o}")));
    fs::write(path, manifest.print().unwrap()).unwrap();
}

/// Sizes in the manifest that the graph contradicts: states would be given memory of the wrong size.
#[test]
fn sizes_of_states_that_the_graph_contradicts_are_refused_by_the_field() -> Result<()> {
    for_each_bench(|bench| {
        type Sizes = [fn(&mut Recurrent) -> &mut u32; 6];
        let sizes: Sizes = [
            |r| &mut r.layers,
            |r| &mut r.heads,
            |r| &mut r.key_dim,
            |r| &mut r.value_dim,
            |r| &mut r.window,
            |r| &mut r.channels,
        ];
        let names = ["layers", "heads", "key_dim", "value_dim", "window", "channels"];
        for (name, size) in names.iter().zip(sizes) {
            let package = bench.package.copy()?;
            let mut manifest = bench.manifest.clone();
            *size(manifest.decoder.recurrent.as_mut().unwrap()) += 1;
            fs::write(package.path().join(MANIFEST_FILE), manifest.print()?)?;
            let error = Package::open(&package.path()).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(&format!("decoder.recurrent.{name}")), "{name} is refused by {error:?}");
        }
        let package = bench.package.copy()?;
        let mut manifest = bench.manifest.clone();
        manifest.decoder.recurrent = None;
        fs::write(package.path().join(MANIFEST_FILE), manifest.print()?)?;
        assert!(Package::open(&package.path()).is_err(), "states that nobody keeps");
        Ok(())
    })
}

#[test]
fn a_run_that_failed_may_be_tried_again() -> Result<()> {
    for_each_bench(|bench| {
        let (bench, fatal) = (trapped(bench), i64::from(bench.manifest.decoder.vocabulary) - 1);
        let [first, second] = [&bench.prompts[0], &bench.prompts[2]];
        let bad = second.clone().and(&[fatal]);
        let (n, m) = (first.ids.len(), second.ids.len());
        let rows = || [(first, 0..n - 1), (second, 0..m - 1)];
        let ends = |decoder: &mut OrtDecoder| {
            let both = bench.run(decoder, 0, &[(first, n - 1..n), (second, m - 1..m)]);
            (bits(&both.slice(s![..1, ..]).to_owned()), bits(&both.slice(s![1.., ..]).to_owned()))
        };
        let mut calm = bench.open()?;
        bench.run(&mut calm, 0, &rows());
        let expected = ends(&mut calm);

        let mut decoder = bench.open()?;
        bench.run(&mut decoder, 0, &rows());
        for _ in 0..3 {
            let failed = decoder.run(&bench.step(0, &[(first, n - 1..n), (&bad, m - 1..m + 1)]));
            assert!(matches!(failed, Err(SessionError::Runtime { .. })), "{failed:?}");
        }
        assert_eq!(ends(&mut decoder), expected);
        // A start that failed is a start.
        let failed = decoder.run(&bench.step(2, &[(&bad, 0..m + 1)]));
        assert!(failed.is_err());
        assert_close(&bench.run(&mut decoder, 2, &[(second, 0..m)]), &bench.alone(second)?);
        Ok(())
    })
}

#[test]
fn a_sequence_that_cannot_be_run_fails_beside_neighbours_that_say_what_they_say_alone() -> Result<()> {
    for_each_bench(|bench| {
        let (bench, fatal) = (trapped(bench), i64::from(bench.manifest.decoder.vocabulary) - 1);
        let engine = || {
            Ok::<_, Box<dyn std::error::Error>>(Engine::new(bench.open()?, &bench.manifest.decoder.position))
        };
        let bad = bench.prompts[1].clone().and(&[fatal]);
        let prompts = [&bench.prompts[0], &bad, &bench.prompts[3]];
        let done = engine()?.run_all(prompts.iter().map(|p| p.request(12)).collect());
        assert!(matches!(done[1], Err(DecodeError::Session(SessionError::Runtime { .. }))), "{:?}", done[1]);
        for i in [0, 2] {
            let alone = engine()?.run_one(prompts[i].request(12))?;
            assert_eq!(done[i].as_ref().unwrap().new_ids, alone.new_ids);
        }
        Ok(())
    })
}
