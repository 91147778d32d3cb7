//! `score`: one candidate, its named scores.

use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::verdict::{self, Protocol, ScoreOutcome, Status};

use super::clip::{self, PlacedVideo};
use super::drafter::drafts;
use super::ending::{finish, finish_reason, read_as, until};
use super::item::{Item, Score};
use super::place::{self, Place};
use super::prefix::marked;
use super::prepare::{self, Wish};
use super::question::{Question, media};
use super::rank::ms;
use super::types::{Timing, Usage};
use super::{Inner, head};
use crate::Error;
use crate::preprocess::Patches;
use crate::schedule::Call;
use crate::text::{EncodedPrompt, RenderOptions};

/// What is made of an item before the tower sees it.
struct Ready {
    patches: Vec<Patches>,
    places: Vec<Place>,
    prompt: EncodedPrompt,
    videos: Vec<PlacedVideo>,
    timing: Timing,
}

pub(super) async fn run(inner: &Arc<Inner>, call: &mut Call, item: &Arc<Item>) -> Result<Score, Error> {
    let rule = inner.package.manifest().scores.as_ref();
    if rule.is_some() {
        head::check_options(&item.options)?;
    }
    question(item).check(inner)?;
    call.turn().await?;
    let work = (inner.clone(), item.clone());
    let ready = call.post(&inner.preparers, move |()| ready(&work.0, &work.1));
    let Ready { patches, places, prompt, videos, timing } = call.ready(ready).await?;
    let seen = inner.see(call, patches).await?;
    let wish = Wish {
        sampling: inner.sampling(item.options.sampling),
        max_new_tokens: item.options.max_new_tokens.unwrap_or(inner.pack.max_new_tokens as usize),
        stop: inner.package.manifest().tokens.eos.clone(),
        until: until(inner, item.options.ending),
        constraint: None,
        drafts: Some(drafts(inner, &item.prompt)),
        watch: Vec::new(),
    };
    let request = prepare::request(&prompt, &place::spans(&places), seen.join()?, wish);
    let request = match rule {
        Some(rule) => head::request(rule, request)?,
        None => request,
    };
    let shown = media(inner, &item.shown);
    let request = marked(request, &prompt, &seen.views, &[shown, shown + media(inner, &item.candidate)]);
    let done = call.run_one(request).await?;

    let (text, outcome) = match rule {
        Some(rule) => {
            let scores = head::scores(rule, &done)?;
            (None, ScoreOutcome { status: Status::Ok, scores, problem: None })
        }
        None => {
            inner.answers.put(&done.new_ids);
            let text = inner.encoder.tokenizer().decode(&done.new_ids, true).text;
            let outcome = verdict::score(&read_as(inner, &text, &done), finish(&done), &inner.pack.answer);
            (Some(text), outcome)
        }
    };
    let ScoreOutcome { status, scores, problem } = outcome;
    Ok(Score {
        status,
        scores,
        problem,
        finish_reason: text.is_some().then(|| finish_reason(&done, item.options.ending)),
        sampling: text.is_some().then(|| inner.sampling(item.options.sampling)),
        text,
        pack: Some(inner.pack.identity()),
        pixels: item.options.pixels,
        videos,
        usage: Usage {
            prompt_tokens: prompt.ids.len(),
            new_tokens: done.new_ids.len(),
            vision_tokens: prompt.vision_tokens(),
            vision_reused: seen.reused_tokens(),
            prefix_reused: done.reused,
            ..Usage::of(&done.drafted)
        },
        timing_ms: Timing {
            load: inner.load_ms,
            vision: seen.ms,
            prefill: done.prefill.as_secs_f64() * 1e3,
            decode: done.decode.as_secs_f64() * 1e3,
            ..timing
        },
        model: inner.model(),
    })
}

fn question(item: &Item) -> Question<'_> {
    Question {
        prompt: &item.prompt,
        shown: &item.shown,
        candidates: vec![&item.candidate],
        answers: item.answer.as_deref().into_iter().collect(),
        max_new_tokens: item.options.max_new_tokens,
    }
}

/// Decodes and prepares the pictures, and encodes the prompt.
fn ready(inner: &Inner, item: &Item) -> Result<Ready, Error> {
    let start = Instant::now();
    let pixels = item.options.pixels;
    let given = [("shown", item.shown.as_slice()), ("first", item.candidate.as_slice())];
    let (mut all, video) = clip::expand(inner, &given, pixels)?;
    let videos = all.iter_mut().flat_map(|place| std::mem::take(&mut place.videos)).collect();
    let (shown, candidate) = (&all[0].pictures, &all[1].pictures);
    let question = Question { shown, candidates: vec![candidate], ..question(item) };
    question.check(inner)?;
    let resizing = Instant::now();
    let (patches, places) = question.seen(inner, pixels)?;
    let resize = ms(resizing);
    let message = question.message(inner, places.len(), &question.answers)?;
    let add_generation_prompt = match &inner.pack.answer {
        Protocol::Head(kind) => kind.generation_prompt,
        _ => true,
    };
    let options = RenderOptions { add_generation_prompt, ..inner.render_options() };
    let segments = inner.encoder.segments(&[message], &options)?;
    let prompt = place::encode(inner, segments, &places)?;
    let timing = Timing { preprocess: ms(start), video, resize, ..Timing::default() };
    Ok(Ready { patches, places, prompt, videos, timing })
}
