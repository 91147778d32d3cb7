//! The measuring itself: a judge, inputs, and a clock.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rewardrt_models::verdict::Status;

use super::arrivals::{Rate, arrivals};
use super::document::{Answers, Phases, Throughput};
use super::inputs::Inputs;
use crate::Error;
use crate::judge::{Judge, Verdict};

/// Judgements that are made before any is measured: buffers grow and kernels choose their shapes in them.
pub const WARM_UP: usize = 2;

/// What became of one judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Since the beginning: when it was to be asked, and when it was. They differ when every client was busy.
    pub due: Duration,
    /// When it was asked.
    pub asked: Duration,
    /// When its verdict, or its error, was there.
    pub done: Duration,
    /// Its answer, or why there is none.
    pub answer: Result<Answer, String>,
}

/// What a judgement took, apart from waiting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// How far the verdict can be trusted.
    pub status: Status,
    /// Tokens of the prompt, pictures included.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub new_tokens: usize,
    /// Time of each phase.
    pub phases: Phases,
}

impl Answer {
    fn of(verdict: &Verdict) -> Answer {
        let (usage, t) = (&verdict.usage, &verdict.timing_ms);
        let phases =
            Phases { preprocess: t.preprocess, vision: t.vision, prefill: t.prefill, decode: t.decode };
        let (prompt_tokens, new_tokens) = (usage.prompt_tokens, usage.new_tokens);
        Answer { status: verdict.status, prompt_tokens, new_tokens, phases }
    }
}

impl Sample {
    /// Milliseconds from when it was to be asked until it was answered.
    pub fn latency_ms(&self) -> f64 {
        ms(self.done.saturating_sub(self.due))
    }

    /// Milliseconds until its first token was there: all but the decoding, which begins with it. None without a token.
    pub fn first_token_ms(&self) -> Option<f64> {
        let answer = self.answer.as_ref().ok().filter(|answer| answer.new_tokens > 0)?;
        Some(self.latency_ms() - answer.phases.decode)
    }

    /// Milliseconds for each token after the first. None with fewer than two.
    pub fn token_ms(&self) -> Option<f64> {
        let answer = self.answer.as_ref().ok().filter(|answer| answer.new_tokens > 1)?;
        Some(answer.phases.decode / (answer.new_tokens - 1) as f64)
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Makes [`WARM_UP`] judgements that are not measured.
///
/// # Errors
/// What keeps these inputs from being judged: measuring them would be as much in vain.
pub fn warm_up(judge: &Judge, inputs: &Inputs) -> Result<(), Error> {
    // Pictures of their own, from the end of the numbers: one that was seen before costs no vision.
    let numbers: Range<usize> = usize::MAX / 4..usize::MAX / 4 + WARM_UP;
    numbers.into_iter().try_for_each(|i| judge.compare(&inputs.comparison(i)?).map(|_| ()))
}

/// Judges the pairs of these numbers, each when the one before is done. `progress` is told how many are done, and of
/// how many. Give each measurement numbers of its own: a picture that was seen before costs no vision.
pub fn latency(
    judge: &Judge,
    inputs: &Inputs,
    numbers: Range<usize>,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Sample> {
    let (start, count) = (Instant::now(), numbers.len());
    let one = |(done, i)| {
        let sample = judged(judge, inputs, i, (start, None));
        progress(done + 1, count);
        sample
    };
    numbers.enumerate().map(one).collect()
}

/// One judgement, asked when it is due, or at once.
fn judged(judge: &Judge, inputs: &Inputs, i: usize, (start, due): (Instant, Option<Duration>)) -> Sample {
    // Making pictures is no part of judging them.
    let comparison = inputs.comparison(i);
    if let Some(due) = due {
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let asked = start.elapsed();
    let verdict = comparison.and_then(|comparison| judge.compare(&comparison));
    let done = start.elapsed();
    let answer = verdict.map(|verdict| Answer::of(&verdict)).map_err(|error| error.to_string());
    Sample { due: due.unwrap_or(asked), asked, done, answer }
}

/// Judgements that are offered at a rate, whether or not the earlier ones are done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offered {
    /// Arrivals a second.
    pub rate: Rate,
    /// Number of the first pair.
    pub first: usize,
    /// Arrivals.
    pub count: usize,
    /// Threads that ask. One that is busy cannot ask what arrives meanwhile: give as many as callers there would be.
    pub clients: usize,
    /// Seed of the instants.
    pub seed: u64,
}

/// Judges pairs that arrive at the instants of [`arrivals`], in their order. Latencies count from the arrival, so that
/// a judge that falls behind cannot hide it.
pub fn load(
    judge: &Judge,
    inputs: &Inputs,
    offered: Offered,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Sample> {
    let due = arrivals(offered.rate, offered.count, offered.seed);
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let (send, receive) = mpsc::channel();
    let mut samples = thread::scope(|scope| {
        for _ in 0..offered.clients.clamp(1, offered.count.max(1)) {
            let (send, due, next) = (send.clone(), &due, &next);
            scope.spawn(move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(at) = due.get(i) else { break };
                    // The receiver outlives all senders.
                    let _ = send.send(judged(judge, inputs, offered.first + i, (start, Some(*at))));
                }
            });
        }
        drop(send);
        let done = receive.into_iter().enumerate();
        done.map(|(at, sample)| {
            progress(at + 1, offered.count);
            sample
        })
        .collect::<Vec<Sample>>()
    });
    samples.sort_by_key(|sample| sample.due);
    samples
}

/// Ranks the pictures of these numbers by all pairs of them, on a judge with `slots` slots.
///
/// # Errors
/// What keeps the group from being ranked.
pub fn throughput(
    judge: &Judge,
    inputs: &Inputs,
    (slots, numbers): (usize, Range<usize>),
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Throughput, Error> {
    let items = numbers.len();
    let group = inputs.group(numbers)?;
    let start = Instant::now();
    let ranking = judge.rank_with(&group, |pair| progress(pair.done, pair.most))?;
    let seconds = start.elapsed().as_secs_f64();
    let mut answers = Answers::default();
    for pair in &ranking.pairs {
        answers.add(pair.answer.as_ref().map(|answer| answer.status));
    }
    let verdicts = answers.asked() - answers.failed;
    Ok(Throughput {
        slots,
        items,
        pairs: answers.asked(),
        answers,
        seconds,
        verdicts_per_second: verdicts as f64 / seconds,
        written_per_second: ranking.usage.new_tokens as f64 / seconds,
        prompt_per_second: ranking.usage.prompt_tokens as f64 / seconds,
        new_tokens: ranking.usage.new_tokens,
        prompt_tokens: ranking.usage.prompt_tokens,
    })
}
