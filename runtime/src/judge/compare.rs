//! `compare`: two candidates, one order or both, a written answer or the verdict alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::{self, Combined, OrderVerdict, Outcome, Status, Winner, judge};

use super::Inner;
use super::generate::finish_reason;
use super::prepare::{self, Wish};
use super::question::Question;
use super::types::{Comparison, FinishReason, Mode, OrderResult, OrderTiming, Timing, Usage, Verdict};
use crate::Error;
use crate::decode::{Completion, Finish, Request};
use crate::session::Features;
use crate::text::{EncodedPrompt, Fork};

/// Which candidate is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ab,
    Ba,
}

/// One order, ready to be run: its prompt, and the ids of the two winners' first differing tokens; none where the
/// winner follows from scores.
struct Asked {
    order: Order,
    prompt: EncodedPrompt,
    verdict_ids: Vec<u32>,
}

pub(super) fn run(inner: &Inner, comparison: &Comparison) -> Result<Verdict, Error> {
    let start = Instant::now();
    let question = Question {
        prompt: &comparison.prompt,
        shown: &comparison.shown,
        candidates: vec![&comparison.first, &comparison.second],
        answers: comparison.answers.iter().flatten().map(String::as_str).collect(),
        max_new_tokens: comparison.options.max_new_tokens,
    };
    let params = question.check(inner)?;
    if comparison.options.verdict_only {
        inner.pack.skeleton(&comparison.prompt)?;
    }
    let parts = (comparison.shown.len(), comparison.first.len());
    let patches = question.patches(comparison.options.pixels, params)?;
    let spans: Vec<Span> = patches.iter().map(|p| p.span(params)).collect();
    let orders = if comparison.options.both_orders { vec![Order::Ab, Order::Ba] } else { vec![Order::Ab] };
    let asked: Vec<Asked> = orders
        .into_iter()
        .map(|order| ask(inner, comparison, &question, order, &arranged(&spans, parts, order)))
        .collect::<Result<_, _>>()?;
    let preprocess = elapsed(start);

    let mut engine = inner.engine()?;
    let (features, vision) = engine.see(&patches)?;
    let requests: Vec<Request> = asked
        .iter()
        .map(|asked| {
            let features = Features::join(&arranged(&features, parts, asked.order))?;
            let spans = arranged(&spans, parts, asked.order);
            Ok(prepare::request(
                &asked.prompt,
                &spans,
                Some(Arc::new(features)),
                wish(inner, comparison, asked),
            ))
        })
        .collect::<Result<_, Error>>()?;
    let done = engine.decoder.run_all(requests);
    drop(engine);

    let mut timing = Timing { load: inner.load_ms, preprocess, vision, ..Timing::default() };
    let mut results = Vec::with_capacity(asked.len());
    for (asked, done) in asked.iter().zip(done) {
        let done = done?;
        // Orders run together: the phase lasted as long as the longer of them.
        let order = read(inner, comparison, asked, &done)?;
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

/// The prompt of one order.
fn ask(
    inner: &Inner,
    comparison: &Comparison,
    question: &Question<'_>,
    order: Order,
    pictures: &[Span],
) -> Result<Asked, Error> {
    let mut answers = question.answers.clone();
    if order == Order::Ba {
        answers.reverse();
    }
    let messages = [question.message(inner, pictures.len(), &answers)?];
    let options = inner.render_options();
    let segments = inner.encoder.segments(&messages, &options)?;
    let lengths: Vec<usize> = pictures.iter().map(Span::tokens).collect();
    let Some(continuations) = inner.pack.answer.fork(&comparison.prompt) else {
        let prompt = inner.encoder.encode(&segments, &lengths)?;
        return Ok(Asked { order, prompt, verdict_ids: Vec::new() });
    };
    let [first, second] = continuations.each_ref().map(String::as_str);
    let Fork { prompt, tails } = inner.encoder.fork(&segments, &lengths, [first, second])?;
    let verdict_ids = vec![tails[0][0], tails[1][0]];
    let forced = comparison.options.verdict_only;
    let prompt = if forced { prompt } else { inner.encoder.encode(&segments, &lengths)? };
    Ok(Asked { order, prompt, verdict_ids })
}

fn wish(inner: &Inner, comparison: &Comparison, asked: &Asked) -> Wish {
    let options = &comparison.options;
    let most = options.max_new_tokens.unwrap_or(inner.pack.max_new_tokens as usize);
    Wish {
        sampling: inner.sampling(options.sampling),
        max_new_tokens: if options.verdict_only { 0 } else { most },
        stop: inner.package.manifest().tokens.eos.clone(),
        watch: asked.verdict_ids.clone(),
    }
}

/// What one order's answer says.
fn read(
    inner: &Inner,
    comparison: &Comparison,
    asked: &Asked,
    done: &Completion,
) -> Result<OrderResult, Error> {
    let usage = Usage {
        prompt_tokens: asked.prompt.ids.len(),
        new_tokens: done.new_ids.len(),
        vision_tokens: asked.prompt.vision_tokens(),
    };
    let order = match asked.order {
        Order::Ab => "ab",
        Order::Ba => "ba",
    };
    if comparison.options.verdict_only {
        return forced(inner, comparison, done, order, usage);
    }
    let decoded = inner.encoder.tokenizer().decode(&done.new_ids, true);
    let outcome = judge(&decoded.text, finish(done), &inner.pack.answer);
    let token = outcome.span.as_ref().and_then(|span| decoded.token_at(span.differing.start));
    let p_first = match token {
        // Another spelling than the skeleton's gives no probability rather than that of another token.
        Some(at) if asked.verdict_ids.contains(&done.new_ids[at]) => Some(weigh(&done.watched[at])?),
        _ => None,
    };
    let Outcome { status, winner, report, scores, flags, problem, .. } = outcome;
    Ok(OrderResult {
        order,
        winner,
        status,
        p_first: p_first.filter(|_| status.has_winner()),
        flags,
        problem,
        report,
        scores,
        text: decoded.text,
        finish_reason: finish_reason(done),
        usage,
        timing_ms: phases(done),
    })
}

/// Why the answer ended, as parsers take it.
pub(super) fn finish(done: &Completion) -> verdict::Finish {
    match done.finish {
        Finish::Stop => verdict::Finish::Stop,
        Finish::Length => verdict::Finish::Length,
    }
}

/// The verdict of a forced skeleton: the more probable of the two winners.
fn forced(
    inner: &Inner,
    comparison: &Comparison,
    done: &Completion,
    order: &'static str,
    usage: Usage,
) -> Result<OrderResult, Error> {
    let p = weigh(done.watched.first().map_or(&[], Vec::as_slice))?;
    let skeleton = inner.pack.skeleton(&comparison.prompt)?;
    let (winner, written) = if p > 0.5 {
        (Winner::First, Some(&skeleton.first))
    } else if p < 0.5 {
        (Winner::Second, Some(&skeleton.second))
    } else {
        (Winner::Tie, None)
    };
    Ok(OrderResult {
        order,
        winner: Some(winner),
        status: Status::Ok,
        p_first: Some(p),
        flags: Vec::new(),
        problem: None,
        report: None,
        scores: Vec::new(),
        text: skeleton.head() + written.map_or("", String::as_str),
        finish_reason: FinishReason::Forced,
        usage,
        timing_ms: phases(done),
    })
}

/// The probability of the first winner against the second, from their log-probabilities.
fn weigh(watched: &[f32]) -> Result<f64, Error> {
    match watched {
        [first, second] => verdict::p_first(*first, *second).map_err(|_| Error::NotFinite),
        _ => Err(Error::NotFinite),
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
    let usage = orders.iter().fold(Usage::default(), |sum, o| Usage {
        prompt_tokens: sum.prompt_tokens + o.usage.prompt_tokens,
        new_tokens: sum.new_tokens + o.usage.new_tokens,
        vision_tokens: sum.vision_tokens + o.usage.vision_tokens,
    });
    let first = orders.first();
    Verdict {
        winner,
        status,
        p_first,
        position_consistent,
        report: first.and_then(|o| o.report.clone()),
        scores: first.map(|o| o.scores.clone()).unwrap_or_default(),
        text: first.map(|o| o.text.clone()).unwrap_or_default(),
        mode: if comparison.options.verdict_only { Mode::VerdictOnly } else { Mode::Report },
        pack: inner.pack.identity(),
        pixels: comparison.options.pixels,
        sampling: inner.sampling(comparison.options.sampling),
        orders,
        usage,
        timing_ms: timing,
        model: inner.model(),
    }
}

fn phases(done: &Completion) -> OrderTiming {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    OrderTiming { prefill: ms(done.prefill), decode: ms(done.decode) }
}

fn elapsed(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
