//! `compare`: two candidates, one order or both, a written answer or the verdict alone.

use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::verdict::{self, Combined, OrderVerdict, Status};

use super::Inner;
use super::clip::{self, PlacedVideo};
use super::pair::{Ask, Asked};
use super::place::Place;
use super::question::{self, Question};
use super::rank::ms;
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
    /// Pictures beside the candidates, and of the first candidate.
    parts: (usize, usize),
    videos: Vec<PlacedVideo>,
    timing: Timing,
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
    let Ready { patches, places, asked, parts, videos, timing } = call.ready(ready).await?;
    let seen = inner.see(call, patches).await?;
    let requests: Vec<Request> = asks
        .iter()
        .zip(&asked)
        .map(|((order, ask), asked)| ask.request(asked, &arranged(&seen.views, parts, *order)))
        .collect::<Result<_, Error>>()?;
    let done = call.run(requests).await?;

    let mut timing = Timing { load: inner.load_ms, vision: seen.ms, ..timing };
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
    Ok(Verdict { videos, ..assemble(inner, comparison, results, timing) })
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

/// Decodes and prepares the pictures, and encodes the prompts.
fn ready(inner: &Inner, comparison: &Comparison) -> Result<Ready, Error> {
    let start = Instant::now();
    let given = [("shown", &comparison.shown), ("first", &comparison.first), ("second", &comparison.second)];
    let given = given.map(|(place, pictures)| (place, pictures.as_slice()));
    let pixels = comparison.options.pixels;
    let (mut all, video) = clip::expand(inner, &given, pixels)?;
    let videos = all.iter_mut().flat_map(|place| std::mem::take(&mut place.videos)).collect();
    let [shown, first, second] = [&all[0].pictures, &all[1].pictures, &all[2].pictures];
    let question = Question { shown, candidates: vec![first, second], ..asked_about(comparison) };
    question.check(inner)?;
    let resizing = Instant::now();
    let (patches, places) = question.seen(inner, pixels)?;
    let resize = ms(resizing);
    let parts = (question::media(inner, shown), question::media(inner, first));
    let asked = asks(inner, comparison)
        .iter()
        .map(|(order, ask)| ask.encode(&arranged(&places, parts, *order)))
        .collect::<Result<_, _>>()?;
    let timing = Timing { preprocess: ms(start), video, resize, ..Timing::default() };
    Ok(Ready { patches, places, asked, parts, videos, timing })
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
        constrain: comparison.options.constrain,
        videos: Vec::new(),
        orders,
        usage,
        timing_ms: timing,
        model: inner.model(),
    }
}
