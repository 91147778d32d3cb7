//! A sequence's tokens do not depend on its neighbours, on who had its slot before, or on who fails beside it:
//! golden chats on the real runtime, in floats, in 4 bits, and with activations in 8 bits.

// The helpers below are test code too, which the lint cannot see; what was measured is printed for `--nocapture`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod drive;

use std::path::Path;

use drive::{Exported, Prompt, Sessions};
use ndarray::Array2;
use rewardrt::decode::{Completion, DecodeError, Engine, Event, Options, Request, Shapes};
use rewardrt::session::{DecoderSession, Geometry, OrtDecoder, SessionError, StepInput, library};
use rewardrt_models::package::Precision;
use rewardrt_tests::{Result, golden_cases, golden_models};

/// Tokens that every sequence writes.
const NEW: usize = 24;
/// Tokens of a slot.
const TOKENS: usize = 512;
/// What tipping inputs over to the next of 8 bits may do to a log-probability; 0.044 was the most that was seen.
const STEP: f32 = 0.2;
/// How engines run here: chunks of prompts are full, whatever the time.
const FIXED: Options = Options { shapes: Shapes::Fixed, reuse: true, speculate: true };
/// What another order of adding up may do to a log-probability or a logit of floats; 3e-5 was the most.
const LAST_BITS: f32 = 1e-3;
/// How many of a case's golden answer tokens its second sequence has read already.
const FURTHER: [usize; 4] = [3, 9, 17, 24];

/// A package, and eight prompts of different lengths for it: the golden chats, and each a part further on.
struct Bench {
    precision: Precision,
    package: Exported,
    prompts: Vec<Prompt>,
}

impl Bench {
    fn new(model: &Path, precision: Precision) -> Result<Bench> {
        let package = Exported::new(&model.join("checkpoint"), precision)?;
        let mut sessions = Sessions::open(&library::load(None)?, &package.path(), (1, TOKENS))?;
        let mut prompts = Vec::new();
        for (case, further) in golden_cases(model)?.iter().zip(FURTHER) {
            let prompt = Prompt::of(case, &sessions.manifest, &mut sessions.vision)?;
            let answer = case.i64("new_ids")?;
            prompts.extend([prompt.clone(), prompt.and(&answer[..further.min(answer.len())])]);
        }
        let mut lengths: Vec<usize> = prompts.iter().map(|p| p.ids.len()).collect();
        lengths.sort();
        lengths.dedup();
        assert_eq!(lengths.len(), 8, "eight prompts of different lengths");
        Ok(Bench { precision, package, prompts })
    }

    /// Largest difference between log-probabilities of runs of different shapes.
    fn limit(&self) -> f32 {
        if self.precision == Precision::Fp32 { LAST_BITS } else { STEP }
    }

    /// The sessions of the package with this many slots.
    fn open(&self, slots: usize) -> Result<Sessions> {
        Sessions::open(&library::load(None)?, &self.package.path(), (slots, TOKENS))
    }

    /// An engine whose chunks are full, so that what they round does not depend on how long runs took.
    fn engine(&self, slots: usize) -> Result<Engine<OrtDecoder>> {
        let sessions = self.open(slots)?;
        Ok(Engine::new(sessions.decoder, &sessions.manifest.decoder.position).with(FIXED))
    }

    /// What each prompt is answered in an engine of its own.
    fn alone(&self) -> Result<Vec<Completion>> {
        let answer = |p: &Prompt| Ok(self.engine(1)?.run_one(p.request(NEW))?);
        self.prompts.iter().map(answer).collect()
    }

    fn run(&self, slots: usize) -> Result<Vec<Completion>> {
        let requests = self.prompts.iter().map(|p| p.request(NEW)).collect();
        Ok(self.engine(slots)?.run_all(requests).into_iter().collect::<std::result::Result<_, _>>()?)
    }
}

/// Runs `check` on every golden model in both precisions.
fn for_each_bench(check: impl Fn(&Bench) -> Result<()>) -> Result<()> {
    for model in golden_models()? {
        for precision in [Precision::Fp32, Precision::Int4, Precision::W8a8] {
            let bench = Bench::new(&model, precision)?;
            check(&bench).map_err(|e| format!("{} {}: {e}", model.display(), precision.name()))?;
        }
    }
    Ok(())
}

/// What a prompt says in company is what it says alone, with nearly the same probabilities: another shape of a run
/// adds up in another order, in the last bits of a float.
///
/// With int4 weights the products round their inputs to 8 bits. A last bit can tip one over to the next step, so a
/// probability may differ by a rounding step of the inputs. A token may differ only where the one chosen in company
/// is that near to the best, and what comes after such a step is another text.
fn same(bench: &Bench, i: usize, got: &Completion, alone: &Completion) -> Result<()> {
    let parted = got.new_ids.iter().zip(&alone.new_ids).position(|(a, b)| a != b);
    let steps = parted.unwrap_or(NEW);
    if let Some(step) = parted {
        let watch = vec![got.new_ids[step]];
        let again = bench.engine(1)?.run_one(Request { watch, ..bench.prompts[i].request(NEW) })?;
        let margin = again.logprobs[step] - again.watched[step][0];
        println!("prompt {i} parts at step {step}, where the margin is {margin}");
        assert!(bench.precision != Precision::Fp32 && margin < STEP, "other tokens: margin {margin}");
    } else {
        assert_eq!((got.new_ids.len(), got.finish), (alone.new_ids.len(), alone.finish));
    }
    let pairs = got.logprobs.iter().zip(&alone.logprobs).take(steps);
    let (most, limit) = (pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max), bench.limit());
    if most < limit { Ok(()) } else { Err(format!("log-probabilities differ by {most}").into()) }
}

/// Tokens and probabilities, bit for bit.
fn bits(completion: &Completion) -> (Vec<u32>, Vec<u32>) {
    (completion.new_ids.clone(), completion.logprobs.iter().map(|p| p.to_bits()).collect())
}

#[test]
fn eight_ragged_sequences_say_what_each_says_alone() -> Result<()> {
    for_each_bench(|bench| {
        let alone = bench.alone()?;
        assert!(alone.iter().all(|done| done.new_ids.len() == NEW));
        let different = |i: usize| alone[i].new_ids != alone[(i + 1) % 8].new_ids;
        assert!((0..8).filter(|&i| different(i)).count() >= 4, "answers that are all alike show nothing");
        // All at once, and as slots come free.
        for slots in [8, 3] {
            for (i, got) in bench.run(slots)?.iter().enumerate() {
                same(bench, i, got, &alone[i]).map_err(|e| format!("{slots} slots, prompt {i}: {e}"))?;
            }
        }
        Ok(())
    })
}

#[test]
fn what_stood_in_a_slot_before_does_not_matter() -> Result<()> {
    for_each_bench(|bench| {
        let mut engine = bench.engine(1)?;
        let mut answer = |i: usize| engine.run_one(bench.prompts[i].request(NEW));
        let fresh = answer(0)?;
        // The longest, then the shortest: what the longer one left lies behind the shorter one's end.
        let longest = (0..8).max_by_key(|&i| bench.prompts[i].ids.len()).unwrap();
        answer(longest)?;
        assert_eq!(bits(&answer(0)?), bits(&fresh));
        Ok(())
    })
}

#[test]
fn a_sequence_that_is_cancelled_leaves_its_neighbours_and_its_slot_as_they_were() -> Result<()> {
    for_each_bench(|bench| {
        let alone = bench.alone()?;
        let mut engine = bench.engine(4)?;
        let mut waiting = vec![7, 6];
        let mut live = Vec::new();
        for i in 0..4 {
            live.push((engine.admit(bench.prompts[i].request(NEW))?, i));
        }
        let (mut made, mut done) = (0, 0);
        while !live.is_empty() {
            for (ticket, event) in engine.step() {
                let at =
                    live.iter().position(|(t, _)| *t == ticket).ok_or("an event of a cancelled sequence")?;
                match event {
                    Event::Token { .. } => made += 1,
                    Event::Done(completion) => {
                        let (_, i) = live.remove(at);
                        same(bench, i, &completion, &alone[i])?;
                        done += 1;
                    }
                    Event::Failed(error) => return Err(error.into()),
                }
            }
            // In the middle of the answers, twice, a neighbour goes and another comes.
            if made >= 20
                && let Some(next) = waiting.pop()
            {
                let (ticket, _) = live.remove(1);
                assert!(engine.cancel(ticket) && engine.free() > 0);
                live.push((engine.admit(bench.prompts[next].request(NEW))?, next));
                made = 0;
            }
        }
        assert_eq!((done, engine.free()), (4, 4));
        Ok(())
    })
}

#[test]
fn a_copied_prefix_is_as_good_as_one_that_was_read() -> Result<()> {
    for_each_bench(|bench| {
        let mut sessions = bench.open(3)?;
        let (manifest, decoder) = (&sessions.manifest, &mut sessions.decoder);
        for prompt in &bench.prompts[..4] {
            let n = prompt.ids.len();
            let whole = decoder.run(&prompt.step(manifest, 0, 0..n))?;
            for tokens in [1, n / 2, n - 1] {
                // What stood in the slot before is another chat.
                let other = bench.prompts.last().unwrap();
                decoder.run(&other.step(manifest, 2, 0..other.ids.len()))?;
                if manifest.decoder.recurrent.is_some() {
                    // A state is that of all tokens read, so only those can be copied.
                    assert!(matches!(decoder.copy_prefix(0, 2, tokens), Err(SessionError::State { .. })));
                    decoder.run(&prompt.step(manifest, 0, 0..tokens))?;
                }
                decoder.copy_prefix(0, 2, tokens)?;
                let copied = decoder.run(&prompt.step(manifest, 2, tokens..n))?;
                let read = decoder.run(&prompt.step(manifest, 0, tokens..n))?;
                assert_eq!(copied, read, "{tokens} of {n} tokens copied");
                let most = (&read - &whole).iter().fold(0.0_f32, |m, d| m.max(d.abs()));
                let fits = most < LAST_BITS || bench.precision != Precision::Fp32;
                assert!(fits, "read in two parts, after {tokens} of {n}: logits differ by {most}");
            }
        }
        Ok(())
    })
}

/// A real decoder whose logits of one slot turn bad once.
struct Poisoned {
    inner: OrtDecoder,
    slot: usize,
    /// Decode runs until then.
    after: usize,
    value: f32,
}

impl DecoderSession for Poisoned {
    fn geometry(&self) -> &Geometry {
        self.inner.geometry()
    }

    fn run(&mut self, step: &StepInput) -> std::result::Result<Array2<f32>, SessionError> {
        let mut logits = self.inner.run(step)?;
        let row =
            step.logit_rows.iter().position(|&r| step.first_slot + r as usize / step.columns == self.slot);
        if let (Some(row), true) = (row, step.columns == 1) {
            if self.after == 0 {
                logits[[row, 5]] = self.value;
            }
            self.after = self.after.wrapping_sub(1);
        }
        Ok(logits)
    }

    fn copy_prefix(
        &mut self,
        from: usize,
        to: usize,
        tokens: usize,
    ) -> std::result::Result<(), SessionError> {
        self.inner.copy_prefix(from, to, tokens)
    }
}

#[test]
fn logits_that_are_no_numbers_fail_their_request_and_leave_its_neighbours_bit_for_bit() -> Result<()> {
    for_each_bench(|bench| {
        let run = |value: f32| -> Result<Vec<std::result::Result<Completion, DecodeError>>> {
            let sessions = bench.open(3)?;
            let rule = sessions.manifest.decoder.position.clone();
            let decoder = Poisoned { inner: sessions.decoder, slot: 1, after: 4, value };
            let mut engine = Engine::new(decoder, &rule).with(FIXED);
            let results = engine.run_all(bench.prompts[..3].iter().map(|p| p.request(NEW)).collect());
            assert_eq!(engine.free(), 3);
            Ok(results)
        };
        // A number that is never the best: nothing fails.
        let calm = run(-1e4)?;
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let got = run(value)?;
            for i in [0, 2] {
                assert_eq!(
                    bits(got[i].as_ref().unwrap()),
                    bits(calm[i].as_ref().unwrap()),
                    "{value} beside {i}"
                );
            }
            // One token after the prompt, then one in each of the four good decode runs.
            let tokens = bench.prompts[1].ids.len() + 5;
            assert_eq!(got[1], Err(DecodeError::NonFinite { tokens }), "{value}");
            assert!(calm[1].is_ok());
        }
        Ok(())
    })
}
