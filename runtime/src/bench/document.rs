//! The document of a measurement: what `rewardrt bench --json` prints.

use rewardrt_models::prompt::pack::PackIdentity;
use rewardrt_models::verdict::Status;
use serde::Serialize;

use super::machine::Machine;
use super::measure::{Offered, Sample};
use super::percentiles::Percentiles;
use crate::judge::{Mode, ModelInfo};

/// What was measured, of what, and on what.
#[derive(Debug, Clone, Serialize)]
pub struct Benchmark {
    /// When it began, in UTC: `2026-11-24 15:04:05`.
    pub date: String,
    /// The model.
    pub model: ModelInfo,
    /// The pack that it was asked with.
    pub pack: PackIdentity,
    /// The programs.
    pub software: Software,
    /// The machine.
    pub machine: Machine,
    /// What was asked.
    pub asked: Asked,
    /// Milliseconds that verifying and loading the package took.
    pub load_ms: f64,
    /// Pairs one after the other.
    pub latency: Latency,
    /// A group, once for every number of slots.
    pub throughput: Vec<Throughput>,
    /// Pairs at a rate; null when no rate was given.
    pub load: Option<Load>,
    /// The most memory that the process held at a time, in bytes; null where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
}

/// The programs that were measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Software {
    /// Version of this program.
    pub rewardrt: String,
    /// Version of ONNX Runtime.
    pub onnxruntime: String,
    /// What the components run on, such as `decoder on cpu`.
    pub providers: Vec<String>,
    /// Threads of an operator.
    pub threads: usize,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The prompt.
    pub prompt: String,
    /// The pictures, in words.
    pub pictures: String,
    /// What was asked of the model.
    pub mode: Mode,
    /// Most tokens of an answer: as given, else the pack's.
    pub max_new_tokens: usize,
    /// Slots of the judge that latency and load were measured on.
    pub slots: usize,
    /// Judgements before the measurement.
    pub warm_up: usize,
    /// Seed of drawn pictures and of arrivals.
    pub seed: u64,
}

/// Judgements by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// With a verdict.
    pub verdicts: usize,
    /// Answers that the token limit cut.
    pub truncated: usize,
    /// Answers that cannot be read by their protocol.
    pub invalid: usize,
    /// Without an answer: it could not be asked, or the model failed. No figure of time has them.
    pub failed: usize,
}

impl Answers {
    /// Counts one more; none is one that failed.
    pub(super) fn add(&mut self, status: Option<Status>) {
        *match status {
            Some(Status::Ok | Status::Inconsistent) => &mut self.verdicts,
            Some(Status::Truncated) => &mut self.truncated,
            Some(Status::Invalid) => &mut self.invalid,
            None => &mut self.failed,
        } += 1;
    }

    /// All of them.
    pub fn asked(&self) -> usize {
        self.verdicts + self.truncated + self.invalid + self.failed
    }

    fn of(samples: &[Sample]) -> Answers {
        let mut answers = Answers::default();
        samples.iter().for_each(|s| answers.add(s.answer.as_ref().ok().map(|answer| answer.status)));
        answers
    }
}

/// Time of each phase, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Decoding and preprocessing pictures, and tokenising.
    pub preprocess: f64,
    /// Vision tower.
    pub vision: f64,
    /// Prompt.
    pub prefill: f64,
    /// Written tokens.
    pub decode: f64,
}

/// Pairs one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// What became of them.
    pub answers: Answers,
    /// Until the verdict was there.
    pub verdict_ms: Option<Percentiles>,
    /// Until the first token was there; null when nothing is written.
    pub first_token_ms: Option<Percentiles>,
    /// Of each token after the first, the mean of each judgement; null when nothing is written.
    pub token_ms: Option<Percentiles>,
    /// Mean time of each phase.
    pub phases_ms: Phases,
    /// Mean tokens of a prompt.
    pub prompt_tokens: f64,
    /// Mean tokens that were written.
    pub new_tokens: f64,
    /// Why the first one failed that did.
    pub error: Option<String>,
}

impl Latency {
    /// The figures of these judgements.
    pub fn of(samples: &[Sample]) -> Latency {
        let answers: Vec<_> = samples.iter().filter_map(|s| s.answer.as_ref().ok()).collect();
        let n = answers.len().max(1) as f64;
        let mean = |value: &dyn Fn(&Phases) -> f64| answers.iter().map(|a| value(&a.phases)).sum::<f64>() / n;
        Latency {
            answers: Answers::of(samples),
            verdict_ms: verdict_ms(samples),
            first_token_ms: Percentiles::of(samples.iter().filter_map(Sample::first_token_ms)),
            token_ms: Percentiles::of(samples.iter().filter_map(Sample::token_ms)),
            phases_ms: Phases {
                preprocess: mean(&|p| p.preprocess),
                vision: mean(&|p| p.vision),
                prefill: mean(&|p| p.prefill),
                decode: mean(&|p| p.decode),
            },
            prompt_tokens: answers.iter().map(|a| a.prompt_tokens as f64).sum::<f64>() / n,
            new_tokens: answers.iter().map(|a| a.new_tokens as f64).sum::<f64>() / n,
            error: error(samples),
        }
    }
}

fn verdict_ms(samples: &[Sample]) -> Option<Percentiles> {
    Percentiles::of(samples.iter().filter(|s| s.answer.is_ok()).map(Sample::latency_ms))
}

fn error(samples: &[Sample]) -> Option<String> {
    samples.iter().find_map(|s| s.answer.as_ref().err().cloned())
}

/// A group, ranked by all pairs of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Throughput {
    /// Sequences that decode together at most.
    pub slots: usize,
    /// Pictures of the group.
    pub items: usize,
    /// Pairs that were asked.
    pub pairs: usize,
    /// What became of them.
    pub answers: Answers,
    /// Wall time of the whole ranking, pictures included.
    pub seconds: f64,
    /// Pairs that were answered, a second.
    pub verdicts_per_second: f64,
    /// Tokens written a second.
    pub written_per_second: f64,
    /// Tokens of prompts a second, those that were reused included.
    pub prompt_per_second: f64,
    /// Tokens written.
    pub new_tokens: usize,
    /// Tokens of prompts, pictures included.
    pub prompt_tokens: usize,
}

/// Pairs that arrived at a rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Load {
    /// Arrivals a second that were offered, on average; the instants are a Poisson process of the seed.
    pub rate: f64,
    /// Threads that asked.
    pub clients: usize,
    /// What became of them.
    pub answers: Answers,
    /// From the first arrival to the last answer.
    pub seconds: f64,
    /// Pairs that were answered, a second.
    pub verdicts_per_second: f64,
    /// Tokens written a second.
    pub written_per_second: f64,
    /// From the arrival until the verdict was there.
    pub verdict_ms: Option<Percentiles>,
    /// From the arrival until the first token was there.
    pub first_token_ms: Option<Percentiles>,
    /// Mean latency of the last third of the arrivals over that of the first third: well above 1, and the judge did not
    /// keep up. Null with fewer than nine answers.
    pub latency_growth: Option<f64>,
    /// Most milliseconds that an arrival waited because every client was busy: what the judge was spared.
    pub client_wait_ms: f64,
    /// Why the first one failed that did.
    pub error: Option<String>,
}

impl Load {
    /// The figures of these judgements, which were offered so.
    pub fn of(offered: Offered, samples: &[Sample]) -> Load {
        let first = samples.iter().map(|s| s.due).min().unwrap_or_default();
        let last = samples.iter().map(|s| s.done).max().unwrap_or_default();
        let seconds = last.saturating_sub(first).as_secs_f64();
        let written: usize =
            samples.iter().filter_map(|s| s.answer.as_ref().ok()).map(|a| a.new_tokens).sum();
        let answers = Answers::of(samples);
        let a_second = |count: usize| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let waits = samples.iter().map(|s| s.asked.saturating_sub(s.due));
        Load {
            rate: offered.rate.per_second(),
            clients: offered.clients,
            answers,
            seconds,
            verdicts_per_second: a_second(answers.asked() - answers.failed),
            written_per_second: a_second(written),
            verdict_ms: verdict_ms(samples),
            first_token_ms: Percentiles::of(samples.iter().filter_map(Sample::first_token_ms)),
            latency_growth: growth(samples),
            client_wait_ms: waits.max().unwrap_or_default().as_secs_f64() * 1e3,
            error: error(samples),
        }
    }
}

/// The last third over the first; the samples are in the order of their arrival.
fn growth(samples: &[Sample]) -> Option<f64> {
    let times: Vec<f64> = samples.iter().filter(|s| s.answer.is_ok()).map(Sample::latency_ms).collect();
    let third = times.len() / 3;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / third as f64;
    (third >= 3).then(|| mean(&times[times.len() - third..]) / mean(&times[..third]))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::measure::Answer;

    /// A judgement that was due, asked and done at these milliseconds, its decoding time, and its tokens.
    pub(in crate::bench) fn sample([due, asked, done]: [u64; 3], decode: f64, new_tokens: usize) -> Sample {
        let phases = Phases { decode, prefill: 5.0, ..Phases::default() };
        let answer = Answer { status: Status::Ok, prompt_tokens: 100, new_tokens, phases };
        let [due, asked, done] = [due, asked, done].map(Duration::from_millis);
        Sample { due, asked, done, answer: Ok(answer) }
    }

    fn failed(due: u64) -> Sample {
        let answer = Err("no room".to_owned());
        Sample { answer, ..sample([due, due, due + 1], 0.0, 0) }
    }

    /// Means of the verdict, the first token and each token after it.
    fn check(samples: &[Sample], expected: [Option<f64>; 3]) {
        let got = Latency::of(samples);
        assert_eq!([got.verdict_ms, got.first_token_ms, got.token_ms].map(|p| p.map(|p| p.mean)), expected);
    }

    #[test]
    fn the_first_token_is_there_when_decoding_begins() {
        check(&[sample([0, 0, 100], 60.0, 4)], [Some(100.0), Some(40.0), Some(20.0)]);
        check(&[sample([0, 0, 100], 0.0, 1)], [Some(100.0), Some(100.0), None]);
        check(&[sample([0, 0, 100], 0.0, 0)], [Some(100.0), None, None]);
        check(&[], [None; 3]);
    }

    #[test]
    fn what_failed_is_counted_and_has_no_time() {
        let samples = [sample([0, 0, 100], 60.0, 4), failed(100)];
        check(&samples, [Some(100.0), Some(40.0), Some(20.0)]);
        let got = Latency::of(&samples);
        assert_eq!((got.answers.verdicts, got.answers.failed, got.answers.asked()), (1, 1, 2));
        assert_eq!((got.error.as_deref(), got.new_tokens), (Some("no room"), 4.0));
        assert_eq!(Latency::of(&[failed(0)]).verdict_ms, None);
    }

    #[test]
    fn under_load_time_counts_from_the_arrival() {
        let offered = Offered { rate: "2".parse().unwrap(), first: 0, count: 2, clients: 1, seed: 0 };
        let got =
            Load::of(offered, &[sample([500, 500, 1500], 600.0, 4), sample([1000, 1500, 2500], 600.0, 4)]);
        assert_eq!(got.verdict_ms.map(|p| (p.min, p.max)), Some((1000.0, 1500.0)));
        assert_eq!(got.first_token_ms.map(|p| (p.min, p.max)), Some((400.0, 900.0)));
        assert_eq!((got.client_wait_ms, got.seconds), (500.0, 2.0));
        assert_eq!((got.verdicts_per_second, got.written_per_second), (1.0, 4.0));
        assert_eq!((got.latency_growth, Load::of(offered, &[]).verdicts_per_second), (None, 0.0));
        let queue: Vec<_> = (0..9).map(|i| sample([i, i, 100 * (i + 1) + i], 1.0, 2)).collect();
        assert_eq!(Load::of(offered, &queue).latency_growth, Some(4.0));
    }
}
