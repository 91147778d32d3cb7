//! `POST /v1/chat/completions`: a chat continued, whole or as it is written.

mod writer;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rewardrt::judge::FinishReason;
use rewardrt::media::PixelRule;
use rewardrt::text::Tokenizer;
use rewardrt::{Generate, Generation};
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::document::Json;
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::guard::Terms;
use crate::live::Live;
use crate::wire::chat::{Complete, Completion};
use writer::{Writing, cut};

/// What every document of one answer has in common.
#[derive(Clone)]
struct Answer {
    id: String,
    model: String,
    created: u64,
    stop: Vec<String>,
    logprobs: bool,
    include_usage: bool,
    tokenizer: Arc<Tokenizer>,
}

/// The route.
pub(super) async fn complete(
    State(app): State<Arc<App>>,
    Extension(terms): Extension<Terms>,
    request: Request,
) -> Result<Response, ApiError> {
    let (asked, held) = body::parse::<Complete>(&app, request).await?;
    asked.model.as_deref().map_or(Ok(()), |model| app.check_model(model))?;
    let Completion { model, chat, sampling, max_new_tokens, stop, stream, include_usage, logprobs } = asked;
    let judge = app.judge(&terms);
    let answer = Answer {
        id: format!("chatcmpl-{}", terms.id),
        model: model.unwrap_or_else(|| judge.model().name),
        created: app.began().as_secs() + app.started.elapsed().unwrap_or_default().as_secs(),
        stop,
        logprobs,
        include_usage,
        tokenizer: judge.tokenizer().clone(),
    };
    let max_new_tokens = max_new_tokens.unwrap_or(app.config.chat_tokens);
    let ask = Generate { chat, sampling, max_new_tokens, pixels: PixelRule::Reference };
    let (tell, pieces) = unbounded_channel();
    // The log-probabilities of a piece are known when the answer is: with them it is sent in one.
    let tell = (stream && !logprobs).then(|| {
        let answer = answer.clone();
        let chunk = move |text: &str| {
            // A client that has gone is noticed by its connection.
            let _ = tell.send(answer.chunk(&json!({ "content": text }), None, None));
        };
        Box::new(chunk) as Box<dyn Fn(&str) + Send + Sync>
    });
    let writing = Writing::new(answer.tokenizer.clone(), answer.stop.clone(), tell);
    let (until, sent) = (writing.until(), writing.sent());
    drop(writing);
    let work = judge.generate_until(ask, until);
    if !stream {
        return Ok(Json(answer.whole(&work.await?)).into_response());
    }
    let last = answer.clone();
    let work = Box::pin(async move {
        let generation = work.await?;
        drop(held);
        Ok(last.end(&generation, sent.get()))
    });
    let id = terms.id.clone();
    let failed = move |error: &ApiError| vec![event(&error.document(&id))];
    let mut response = Response::new(Body::new(Live::start(pieces, work, failed).await?));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

impl Answer {
    /// The whole answer.
    fn whole(&self, done: &Generation) -> Value {
        let text = cut(&done.text, &self.stop);
        let choice = json!({
            "index": 0,
            "message": { "role": "assistant", "content": text },
            "logprobs": self.tokens(done, text.len()),
            "finish_reason": reason(done),
        });
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": usage(done),
        })
    }

    /// One piece of it.
    fn chunk(&self, delta: &Value, logprobs: Option<Value>, reason: Option<&str>) -> Bytes {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason });
        event(&json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        }))
    }

    /// The last pieces: what was not sent, the reason, the usage, the end.
    fn end(&self, done: &Generation, sent: usize) -> Vec<Bytes> {
        let text = cut(&done.text, &self.stop);
        let mut pieces = Vec::new();
        let rest = text.get(sent..).unwrap_or_default();
        if !rest.is_empty() || self.logprobs {
            pieces.push(self.chunk(&json!({ "content": rest }), self.tokens(done, text.len()), None));
        }
        pieces.push(self.chunk(&json!({}), None, Some(reason(done))));
        if self.include_usage {
            pieces.push(event(&json!({
                "id": self.id,
                "object": "chat.completion.chunk",
                "created": self.created,
                "model": self.model,
                "choices": [],
                "usage": usage(done),
            })));
        }
        pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
        pieces
    }

    /// The tokens of the first `bytes` bytes of an answer, where they were asked for.
    fn tokens(&self, done: &Generation, bytes: usize) -> Option<Value> {
        if !self.logprobs {
            return None;
        }
        let (mut at, mut content) = (0, Vec::new());
        for (id, logprob) in done.new_ids.iter().zip(&done.logprobs) {
            let spelled = self.tokenizer.visible_bytes(*id);
            if at >= bytes || spelled.is_empty() {
                continue;
            }
            at += spelled.len();
            let token = String::from_utf8_lossy(spelled);
            content.push(json!({ "token": token, "logprob": logprob, "bytes": spelled, "top_logprobs": [] }));
        }
        Some(json!({ "content": content, "refusal": null }))
    }
}

fn event(document: &Value) -> Bytes {
    format!("data: {document}\n\n").into()
}

fn usage(done: &Generation) -> Value {
    let (prompt, new) = (done.usage.prompt_tokens, done.usage.new_tokens);
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": new,
        "total_tokens": prompt + new,
        "prompt_tokens_details": { "cached_tokens": done.usage.prefix_reused },
    })
}

/// Why it ended, in OpenAI's words.
fn reason(done: &Generation) -> &'static str {
    match done.finish_reason {
        FinishReason::Length => "length",
        FinishReason::Stop | FinishReason::Complete | FinishReason::Decided | FinishReason::Forced => "stop",
    }
}
