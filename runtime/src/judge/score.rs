//! `score`: one candidate, its named scores.

use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::{self, ScoreOutcome};

use super::generate::finish_reason;
use super::item::{Item, Score};
use super::prepare::{self, Wish};
use super::question::Question;
use super::types::{Timing, Usage};
use super::{Inner, compare};
use crate::Error;
use crate::session::Features;

pub(super) fn run(inner: &Inner, item: &Item) -> Result<Score, Error> {
    let start = Instant::now();
    let question = Question {
        prompt: &item.prompt,
        shown: &item.shown,
        candidates: vec![&item.candidate],
        answers: item.answer.as_deref().into_iter().collect(),
        max_new_tokens: item.options.max_new_tokens,
    };
    let params = question.check(inner)?;
    let patches = question.patches(item.options.pixels, params)?;
    let spans: Vec<Span> = patches.iter().map(|p| p.span(params)).collect();
    let lengths: Vec<usize> = spans.iter().map(Span::tokens).collect();
    let message = question.message(inner, spans.len(), &question.answers)?;
    let options = inner.render_options();
    let segments = inner.encoder.segments(&[message], &options)?;
    let prompt = inner.encoder.encode(&segments, &lengths)?;
    let wish = Wish {
        sampling: inner.sampling(item.options.sampling),
        max_new_tokens: item.options.max_new_tokens.unwrap_or(inner.pack.max_new_tokens as usize),
        stop: inner.package.manifest().tokens.eos.clone(),
        watch: Vec::new(),
    };
    let preprocess = start.elapsed().as_secs_f64() * 1e3;

    let mut engine = inner.engine()?;
    let (features, vision) = engine.see(&patches)?;
    let features = Some(Arc::new(Features::join(&features)?));
    let done = engine.decoder.run_one(prepare::request(&prompt, &spans, features, wish))?;
    drop(engine);

    let text = inner.encoder.tokenizer().decode(&done.new_ids, true).text;
    let outcome = verdict::score(&text, compare::finish(&done), &inner.pack.answer);
    let ScoreOutcome { status, scores, problem } = outcome;
    Ok(Score {
        status,
        scores,
        problem,
        text: Some(text),
        finish_reason: Some(finish_reason(&done)),
        pack: Some(inner.pack.identity()),
        pixels: item.options.pixels,
        sampling: Some(inner.sampling(item.options.sampling)),
        usage: Usage {
            prompt_tokens: prompt.ids.len(),
            new_tokens: done.new_ids.len(),
            vision_tokens: prompt.vision_tokens(),
        },
        timing_ms: Timing {
            load: inner.load_ms,
            preprocess,
            vision,
            prefill: done.prefill.as_secs_f64() * 1e3,
            decode: done.decode.as_secs_f64() * 1e3,
        },
        model: inner.model(),
    })
}
