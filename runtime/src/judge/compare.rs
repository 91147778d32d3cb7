//! `compare`: two candidates, one order or both, a written answer or the verdict alone.

use std::time::Instant;

use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::{self, Combined, OrderVerdict, Status};

use super::Inner;
use super::pair::{Ask, Asked};
use super::question::Question;
use super::types::{Comparison, OrderResult, Timing, Usage, Verdict};
use crate::Error;
use crate::decode::Request;

/// Which candidate is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ab,
    Ba,
}

pub(super) fn run(inner: &Inner, comparison: &Comparison) -> Result<Verdict, Error> {
    let start = Instant::now();
    let options = &comparison.options;
    let question = Question {
        prompt: &comparison.prompt,
        shown: &comparison.shown,
        candidates: vec![&comparison.first, &comparison.second],
        answers: comparison.answers.iter().flatten().map(String::as_str).collect(),
        max_new_tokens: options.max_new_tokens,
    };
    let params = question.check(inner)?;
    let parts = (comparison.shown.len(), comparison.first.len());
    let orders: &[Order] = if options.both_orders { &[Order::Ab, Order::Ba] } else { &[Order::Ab] };
    let ask = |&order: &Order| {
        let (order_name, question) = match order {
            Order::Ab => ("ab", question.clone()),
            Order::Ba => ("ba", question.flipped()),
        };
        (order, Ask { inner, question, order: order_name, options })
    };
    let asks: Vec<(Order, Ask<'_>)> = orders.iter().map(ask).collect();
    asks.iter().try_for_each(|(_, ask)| ask.check())?;
    let patches = question.patches(options.pixels, params)?;
    let spans: Vec<Span> = patches.iter().map(|p| p.span(params)).collect();
    let asked: Vec<Asked> = asks
        .iter()
        .map(|(order, ask)| ask.encode(arranged(&spans, parts, *order)))
        .collect::<Result<_, _>>()?;
    let preprocess = start.elapsed().as_secs_f64() * 1e3;

    let mut engine = inner.engine()?;
    let seen = engine.see(&patches)?;
    let requests: Vec<Request> = asks
        .iter()
        .zip(&asked)
        .map(|((order, ask), asked)| ask.request(asked, &arranged(&seen.features, parts, *order)))
        .collect::<Result<_, Error>>()?;
    let done = engine.decoder.run_all(requests);
    drop(engine);

    let mut timing = Timing { load: inner.load_ms, preprocess, vision: seen.ms, ..Timing::default() };
    let mut results = Vec::with_capacity(asked.len());
    // The second order shows pictures that the first one saw.
    let reused = [seen.reused_tokens(&spans), spans.iter().map(Span::tokens).sum()];
    for (((_, ask), asked), (done, reused)) in asks.iter().zip(&asked).zip(done.into_iter().zip(reused)) {
        let order = ask.read(asked, &done?, reused)?.result;
        // Orders run together: the phase lasted as long as the longer of them.
        timing.prefill = timing.prefill.max(order.timing_ms.prefill);
        timing.decode = timing.decode.max(order.timing_ms.decode);
        results.push(order);
    }
    Ok(assemble(inner, comparison, results, timing))
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
