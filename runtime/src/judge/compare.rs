//! `compare`: two candidates, one order or both, a written answer or the verdict alone.

use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::verdict::{self, Combined, OrderVerdict, Status};

use super::Inner;
use super::pair::{Ask, Asked};
use super::place::Place;
use super::question::{self, Question};
use super::types::{Comparison, OrderResult, Timing, Usage, Verdict};
use crate::Error;
use crate::decode::Request;
use crate::preprocess::Patches;
use crate::schedule::Call;

/// Which candidate is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ab,
    Ba,
}

/// What is made of a comparison before the tower sees it.
struct Ready {
    patches: Vec<Patches>,
    places: Vec<Place>,
    /// The prompts, one an order.
    asked: Vec<Asked>,
    ms: f64,
}

pub(super) async fn run(
    inner: &Arc<Inner>,
    call: &mut Call,
    comparison: &Arc<Comparison>,
) -> Result<Verdict, Error> {
    let asks = asks(inner, comparison);
    asked_about(comparison).check(inner)?;
    asks.iter().try_for_each(|(_, ask)| ask.check())?;
    call.turn().await?;
    let work = (inner.clone(), comparison.clone());
    let ready = call.post(&inner.preparers, move |()| ready(&work.0, &work.1));
    let Ready { patches, places, asked, ms } = call.ready(ready).await?;
    let seen = inner.see(call, patches).await?;
    let parts = parts(inner, comparison);
    let requests: Vec<Request> = asks
        .iter()
        .zip(&asked)
        .map(|((order, ask), asked)| ask.request(asked, &arranged(&seen.features, parts, *order)))
        .collect::<Result<_, Error>>()?;
    let done = call.run(requests).await?;

    let mut timing = Timing { load: inner.load_ms, preprocess: ms, vision: seen.ms, ..Timing::default() };
    let mut results = Vec::with_capacity(asked.len());
    // The second order shows pictures that the first one saw.
    let reused = [seen.reused_tokens(), places.iter().map(Place::tokens).sum()];
    for (((_, ask), asked), (done, reused)) in asks.iter().zip(&asked).zip(done.into_iter().zip(reused)) {
        let order = ask.read(asked, &done?, reused)?.result;
        // Orders run together: the phase lasted as long as the longer of them.
        timing.prefill = timing.prefill.max(order.timing_ms.prefill);
        timing.decode = timing.decode.max(order.timing_ms.decode);
        results.push(order);
    }
    Ok(assemble(inner, comparison, results, timing))
}

fn asked_about(comparison: &Comparison) -> Question<'_> {
    Question {
        prompt: &comparison.prompt,
        shown: &comparison.shown,
        candidates: vec![&comparison.first, &comparison.second],
        answers: comparison.answers.iter().flatten().map(String::as_str).collect(),
        max_new_tokens: comparison.options.max_new_tokens,
    }
}

/// The orders in which a comparison is asked.
fn asks<'a>(inner: &'a Inner, comparison: &'a Comparison) -> Vec<(Order, Ask<'a>)> {
    let options = &comparison.options;
    let orders: &[Order] = if options.both_orders { &[Order::Ab, Order::Ba] } else { &[Order::Ab] };
    let ask = |&order: &Order| {
        let (order_name, question) = match order {
            Order::Ab => ("ab", asked_about(comparison)),
            Order::Ba => ("ba", asked_about(comparison).flipped()),
        };
        (order, Ask { inner, question, order: order_name, options })
    };
    orders.iter().map(ask).collect()
}

/// Pictures or videos beside the candidates, and of the first candidate.
fn parts(inner: &Inner, comparison: &Comparison) -> (usize, usize) {
    (question::media(inner, &comparison.shown), question::media(inner, &comparison.first))
}

/// Decodes and prepares the pictures, and encodes the prompts.
fn ready(inner: &Inner, comparison: &Comparison) -> Result<Ready, Error> {
    let start = Instant::now();
    let question = asked_about(comparison);
    question.check(inner)?;
    let (patches, places) = question.seen(inner, comparison.options.pixels)?;
    let parts = parts(inner, comparison);
    let asked = asks(inner, comparison)
        .iter()
        .map(|(order, ask)| ask.encode(&arranged(&places, parts, *order)))
        .collect::<Result<_, _>>()?;
    Ok(Ready { patches, places, asked, ms: start.elapsed().as_secs_f64() * 1e3 })
}

/// The items in the order in which they are shown: what stands beside the candidates first, always. `parts` are
/// the numbers of those, and of the first candidate's.
fn arranged<T: Clone>(items: &[T], parts: (usize, usize), order: Order) -> Vec<T> {
    let (shown, candidates) = items.split_at(parts.0);
    let (a, b) = candidates.split_at(parts.1);
    match order {
        Order::Ab => [shown, a, b].concat(),
        Order::Ba => [shown, b, a].concat(),
    }
}

fn assemble(inner: &Inner, comparison: &Comparison, orders: Vec<OrderResult>, timing: Timing) -> Verdict {
    let of = |o: &OrderResult| OrderVerdict { status: o.status, winner: o.winner, p_first: o.p_first };
    let Combined { status, winner, p_first, position_consistent } = match orders.as_slice() {
        [ab, ba] => verdict::combine(of(ab), of(ba)),
        one => {
            let one = one.first().map(of);
            Combined {
                status: one.as_ref().map_or(Status::Invalid, |o| o.status),
                winner: one.as_ref().and_then(|o| o.winner),
                p_first: one.and_then(|o| o.p_first),
                position_consistent: None,
            }
        }
    };
    let usage: Usage = orders.iter().map(|order| order.usage).sum();
    let first = orders.first();
    Verdict {
        winner,
        status,
        p_first,
        position_consistent,
        report: first.and_then(|o| o.report.clone()),
        scores: first.map(|o| o.scores.clone()).unwrap_or_default(),
        text: first.map(|o| o.text.clone()).unwrap_or_default(),
        mode: comparison.options.mode(),
        pack: inner.pack.identity(),
        pixels: comparison.options.pixels,
        sampling: inner.sampling(comparison.options.sampling),
        orders,
        usage,
        timing_ms: timing,
        model: inner.model(),
    }
}
