//! `compare`: two candidates, one order or both, a written report or the verdict alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rewardrt_models::package::ImageProcessing;
use rewardrt_models::prompt::pack::{MAX_NEW_TOKENS, Task};
use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::{self, Combined, OrderVerdict, Outcome, Status, Winner, judge};

use super::Inner;
use super::generate::finish_reason;
use super::prepare::{self, Wish};
use super::types::{
    ASKER, Comparison, FinishReason, Mode, OrderResult, OrderTiming, Picture, Timing, Usage, Verdict,
};
use crate::Error;
use crate::decode::{Completion, Finish, Request};
use crate::session::Features;
use crate::text::{EncodedPrompt, Fork, Message, Part, RenderOptions};

/// Which candidate is shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ab,
    Ba,
}

/// One order, ready to be run: its prompt, and the ids of the two winners' first differing tokens.
struct Asked {
    order: Order,
    prompt: EncodedPrompt,
    verdict_ids: [u32; 2],
}

pub(super) fn run(inner: &Inner, comparison: &Comparison) -> Result<Verdict, Error> {
    let start = Instant::now();
    let params = check(inner, comparison)?;
    let a = comparison.first.len();
    let pictures: Vec<&Picture> = comparison.first.iter().chain(&comparison.second).collect();
    let name = |i: usize| {
        let (candidate, at) = if i < a { ("first", i) } else { ("second", i - a) };
        format!("{candidate} candidate, picture {}", at + 1)
    };
    let patches = prepare::patches(&pictures, comparison.options.pixels, params, name)?;
    let spans: Vec<Span> = patches.iter().map(|p| p.span(params)).collect();
    let orders = if comparison.options.both_orders { vec![Order::Ab, Order::Ba] } else { vec![Order::Ab] };
    let asked: Vec<Asked> = orders
        .into_iter()
        .map(|order| ask(inner, comparison, order, &arranged(&spans, a, order)))
        .collect::<Result<_, _>>()?;
    let preprocess = elapsed(start);

    let mut engine = inner.engine()?;
    let (features, vision) = engine.see(&patches)?;
    let requests: Vec<Request> = asked
        .iter()
        .map(|asked| {
            let features = Features::join(&arranged(&features, a, asked.order))?;
            let spans = arranged(&spans, a, asked.order);
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

/// Refuses what this package and pack cannot be asked, before any picture is decoded.
fn check<'a>(inner: &'a Inner, comparison: &Comparison) -> Result<&'a ImageProcessing, Error> {
    let refuse = |text: String| Err(Error::Request(text));
    let (a, b) = (comparison.first.len(), comparison.second.len());
    match inner.pack.task {
        Task::ImagePair if (a, b) != (1, 1) => {
            return refuse(format!(
                "pack {} compares one picture with one, not {a} with {b}",
                inner.pack.name
            ));
        }
        Task::VideoPair if a == 0 || b == 0 => {
            return refuse(format!(
                "pack {} compares frames with frames; give at least one each",
                inner.pack.name
            ));
        }
        Task::ImagePair | Task::VideoPair => {}
    }
    let most = inner.pack.max_new_tokens.min(MAX_NEW_TOKENS) as usize;
    if comparison.options.max_new_tokens.is_some_and(|n| n == 0 || n > most) {
        return refuse(format!(
            "max_new_tokens is not within 1..={most}, the limit of pack {}",
            inner.pack.name
        ));
    }
    match &inner.package.manifest().image {
        Some(params) => Ok(params),
        None => refuse("the package has no vision tower and cannot compare pictures".to_owned()),
    }
}

/// The candidates' items in the order in which they are shown.
fn arranged<T: Clone>(items: &[T], first: usize, order: Order) -> Vec<T> {
    let (a, b) = items.split_at(first);
    match order {
        Order::Ab => [a, b].concat(),
        Order::Ba => [b, a].concat(),
    }
}

/// The prompt of one order.
fn ask(inner: &Inner, comparison: &Comparison, order: Order, pictures: &[Span]) -> Result<Asked, Error> {
    let text = inner.pack.user_text(&comparison.prompt)?.to_string();
    let mut parts: Vec<Part> = (0..pictures.len()).map(Part::Image).collect();
    parts.push(Part::Text(text));
    let messages = [Message::parts(ASKER, parts)];
    let skeleton = inner.pack.skeleton(&comparison.prompt)?;
    let head = skeleton.head();
    let forced = comparison.options.verdict_only;
    let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    let segments = inner.encoder.segments(&messages, &options)?;
    let lengths: Vec<usize> = pictures.iter().map(Span::tokens).collect();
    let continuations = [&skeleton.first, &skeleton.second].map(|winner| format!("{head}{winner}"));
    let [first, second] = continuations.each_ref().map(String::as_str);
    let Fork { prompt, tails } = inner.encoder.fork(&segments, &lengths, [first, second])?;
    let verdict_ids = [tails[0][0], tails[1][0]];
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
        watch: asked.verdict_ids.to_vec(),
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
    let finish = match done.finish {
        Finish::Stop => verdict::Finish::Stop,
        Finish::Length => verdict::Finish::Length,
    };
    let outcome = judge(&decoded.text, finish, &inner.pack.answer);
    let token = outcome.span.as_ref().and_then(|span| decoded.token_at(span.differing.start));
    let p_first = match token {
        // Another spelling than the skeleton's gives no probability rather than that of another token.
        Some(at) if asked.verdict_ids.contains(&done.new_ids[at]) => Some(weigh(&done.watched[at])?),
        _ => None,
    };
    let Outcome { status, winner, report, flags, problem, .. } = outcome;
    Ok(OrderResult {
        order,
        winner,
        status,
        p_first: p_first.filter(|_| status.has_winner()),
        flags,
        problem,
        report,
        text: decoded.text,
        finish_reason: finish_reason(done),
        usage,
        timing_ms: phases(done),
    })
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
