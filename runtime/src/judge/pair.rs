//! One ordered pair of candidates in one prompt: how it is asked, and what its answer says.

use std::sync::Arc;
use std::time::Duration;

use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::{self, CategoryWinner, Outcome, Status, Winner, judge};

use super::Inner;
use super::constrain::{self, constraint};
use super::drafter::drafts;
use super::ending::{finish, finish_reason, read_as, until};
use super::place::{self, Place};
use super::prefix::marked;
use super::prepare::{self, Wish};
use super::question::{Question, media};
use super::types::{CompareOptions, FinishReason, OrderResult, OrderTiming, Usage};
use super::vision::View;
use crate::Error;
use crate::decode::{Completion, Request};
use crate::session::Features;
use crate::text::{EncodedPrompt, Fork};

/// A pair to be asked about.
pub(super) struct Ask<'a> {
    /// What it is asked of.
    pub(super) inner: &'a Inner,
    /// The question, its candidates in the order in which they are shown.
    pub(super) question: Question<'a>,
    /// `ab`, or `ba` when it is the pair of another order.
    pub(super) order: &'static str,
    /// How it is asked.
    pub(super) options: &'a CompareOptions,
}

/// The prompt of a pair, and the ids of the two winners' first differing tokens; none where the winner follows from
/// scores.
pub(super) struct Asked {
    prompt: EncodedPrompt,
    /// What each run of vision tokens is in the prompt.
    spans: Vec<Span>,
    verdict_ids: Vec<u32>,
}

/// What an answer says.
pub(super) struct Answered {
    pub(super) result: OrderResult,
    /// The written winner of each category.
    pub(super) categories: Vec<CategoryWinner>,
}

impl Ask<'_> {
    /// Refuses what this pack cannot be asked by these options.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.options.verdict_only {
            self.inner.pack.skeleton(self.question.prompt)?;
        }
        constrain::check(self.inner, self.options)
    }

    /// The prompt, with these pictures in its order.
    pub(super) fn encode(&self, places: &[Place]) -> Result<Asked, Error> {
        let Ask { inner, question, options, .. } = self;
        let messages = [question.message(inner, places.len(), &question.answers)?];
        let segments = inner.encoder.segments(&messages, &inner.render_options())?;
        let (segments, spans) = (place::filled(segments, places), place::spans(places));
        let lengths: Vec<usize> = spans.iter().map(Span::tokens).collect();
        let Some(continuations) = inner.pack.answer.fork(question.prompt) else {
            let prompt = inner.encoder.encode(&segments, &lengths)?;
            return Ok(Asked { prompt, spans, verdict_ids: Vec::new() });
        };
        let [first, second] = continuations.each_ref().map(String::as_str);
        let Fork { prompt, tails } = inner.encoder.fork(&segments, &lengths, [first, second])?;
        let verdict_ids = vec![tails[0][0], tails[1][0]];
        let prompt = if options.verdict_only { prompt } else { inner.encoder.encode(&segments, &lengths)? };
        Ok(Asked { prompt, spans, verdict_ids })
    }

    /// The request to the decoder, with the prompt's pictures in its order. It is marked behind what stands beside the
    /// candidates, and behind the first one.
    pub(super) fn request(&self, asked: &Asked, views: &[View]) -> Result<Request, Error> {
        let (inner, options) = (self.inner, self.options);
        let most = options.max_new_tokens.unwrap_or(inner.pack.max_new_tokens as usize);
        let wish = Wish {
            sampling: inner.sampling(options.sampling),
            max_new_tokens: if options.verdict_only { 0 } else { most },
            stop: inner.package.manifest().tokens.eos.clone(),
            until: until(inner, options.ending),
            constraint: constraint(inner, options),
            drafts: Some(drafts(inner, self.question.prompt)),
            watch: asked.verdict_ids.clone(),
        };
        let features = Some(Arc::new(Features::join(views)?));
        let request = prepare::request(&asked.prompt, &asked.spans, features, wish);
        let shown = media(inner, self.question.shown);
        let first = self.question.candidates.first().map_or(0, |pictures| media(inner, pictures));
        Ok(marked(request, &asked.prompt, views, &[shown, shown + first]))
    }

    /// What the answer says. `reused` tokens of the prompt's pictures did not go through the tower for it.
    pub(super) fn read(&self, asked: &Asked, done: &Completion, reused: usize) -> Result<Answered, Error> {
        let usage = Usage {
            prompt_tokens: asked.prompt.ids.len(),
            new_tokens: done.new_ids.len(),
            vision_tokens: asked.prompt.vision_tokens(),
            vision_reused: reused,
            prefix_reused: done.reused,
            constrained: done.constrained,
            ..Usage::of(&done.drafted)
        };
        if self.options.verdict_only {
            return self.forced(done, usage);
        }
        self.inner.answers.put(&done.new_ids);
        let decoded = self.inner.encoder.tokenizer().decode(&done.new_ids, true);
        let read = read_as(self.inner, &decoded.text, done);
        let outcome = judge(&read, finish(done), &self.inner.pack.answer);
        let token = outcome.span.as_ref().and_then(|span| decoded.token_at(span.differing.start));
        let p_first = match token {
            // Another spelling than the skeleton's gives no probability rather than that of another token.
            Some(at) if asked.verdict_ids.contains(&done.new_ids[at]) => Some(weigh(&done.watched[at])?),
            _ => None,
        };
        let Outcome { status, winner, report, category_winners, scores, flags, problem, .. } = outcome;
        let result = OrderResult {
            order: self.order,
            winner,
            status,
            p_first: p_first.filter(|_| status.has_winner()),
            flags,
            problem,
            report,
            scores,
            text: decoded.text,
            finish_reason: finish_reason(done, self.options.ending),
            usage,
            timing_ms: phases(done),
        };
        Ok(Answered { result, categories: category_winners })
    }

    /// The verdict of a forced skeleton: the more probable of the two winners.
    fn forced(&self, done: &Completion, usage: Usage) -> Result<Answered, Error> {
        let p = weigh(done.watched.first().map_or(&[], Vec::as_slice))?;
        let skeleton = self.inner.pack.skeleton(self.question.prompt)?;
        let (winner, written) = if p > 0.5 {
            (Winner::First, Some(&skeleton.first))
        } else if p < 0.5 {
            (Winner::Second, Some(&skeleton.second))
        } else {
            (Winner::Tie, None)
        };
        let result = OrderResult {
            order: self.order,
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
        };
        Ok(Answered { result, categories: Vec::new() })
    }
}

/// The probability of the first winner against the second, from their log-probabilities.
fn weigh(watched: &[f32]) -> Result<f64, Error> {
    match watched {
        [first, second] => verdict::p_first(*first, *second).map_err(|_| Error::NotFinite),
        _ => Err(Error::NotFinite),
    }
}

fn phases(done: &Completion) -> OrderTiming {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    OrderTiming { prefill: ms(done.prefill), decode: ms(done.decode) }
}
