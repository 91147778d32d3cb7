//! The native routes: compare, rank and score, answered with the documents of the command line.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rewardrt::judge::{Finished, Ranking};
use rewardrt::{Group, Judge, Score, Verdict};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::document::Json;
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::guard::Terms;
use crate::live::Live;
use crate::wire::question::{self, Question, Ranked};

/// `POST /v1/compare`.
pub(super) async fn compare(
    State(app): State<Arc<App>>,
    Extension(terms): Extension<Terms>,
    request: Request,
) -> Result<Json<Verdict>, ApiError> {
    let (Question { ask, choice }, _held) = body::parse::<question::Compare>(&app, request).await?;
    let verdict = app.judge_of(&terms, &choice)?.compare_async(ask).await?;
    let t = &verdict.timing_ms;
    app.metrics.judged(verdict.status, [t.preprocess, t.vision, t.prefill, t.decode]);
    Ok(Json(verdict))
}

/// `POST /v1/score`.
pub(super) async fn score(
    State(app): State<Arc<App>>,
    Extension(terms): Extension<Terms>,
    request: Request,
) -> Result<Json<Score>, ApiError> {
    let (Question { ask, choice }, _held) = body::parse::<question::Score>(&app, request).await?;
    let score = app.judge_of(&terms, &choice)?.score_async(ask).await?;
    let t = &score.timing_ms;
    app.metrics.judged(score.status, [t.preprocess, t.vision, t.prefill, t.decode]);
    Ok(Json(score))
}

/// `POST /v1/rank`: the ranking, or with `stream` every pair as soon as it is judged and the ranking last.
pub(super) async fn rank(
    State(app): State<Arc<App>>,
    Extension(terms): Extension<Terms>,
    request: Request,
) -> Result<Response, ApiError> {
    let form = Form::wanted(request.headers());
    let (Question { ask: Ranked { group, stream }, choice }, held) =
        body::parse::<question::Rank>(&app, request).await?;
    let judge = app.judge_of(&terms, &choice)?;
    if !stream {
        let ranking = judge.rank_async(group, |_| {}).await?;
        counted(&app, &ranking);
        return Ok(Json(ranking).into_response());
    }
    let (tell, pieces) = unbounded_channel();
    let work = Box::pin(async move {
        let last = streamed(&app, &judge, group, form, tell).await;
        drop(held);
        last
    });
    let id = terms.id.clone();
    let live = Live::start(pieces, work, move |error| vec![form.piece(&error.document(&id))]).await?;
    let mut response = Response::new(Body::new(live));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    Ok(response)
}

/// The work behind a stream of pairs; its last piece is the ranking.
async fn streamed(
    app: &App,
    judge: &Judge,
    group: Group,
    form: Form,
    tell: UnboundedSender<Bytes>,
) -> Result<Vec<Bytes>, ApiError> {
    let work = judge.rank_async(group, move |finished: Finished<'_>| {
        let line = json!({ "pair": finished.pair, "done": finished.done, "most": finished.most });
        // A client that has gone is noticed by its connection.
        let _ = tell.send(form.piece(&line));
    });
    let ranking = work.await?;
    counted(app, &ranking);
    Ok(vec![form.piece(&json!({ "ranking": ranking }))])
}

/// Counts what became of every pair.
fn counted(app: &App, ranking: &Ranking) {
    for answer in ranking.pairs.iter().filter_map(|pair| pair.answer.as_ref()) {
        app.metrics.judged(answer.status, [0.0, 0.0, answer.timing_ms.prefill, answer.timing_ms.decode]);
    }
}

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A JSON document a line.
    Lines,
    /// Server-sent events.
    Events,
}

impl Form {
    /// Events where the caller accepts those, else lines.
    fn wanted(headers: &HeaderMap) -> Form {
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accepts.contains("text/event-stream") { Form::Events } else { Form::Lines }
    }

    fn content_type(self) -> &'static str {
        match self {
            Form::Lines => "application/x-ndjson",
            Form::Events => "text/event-stream",
        }
    }

    fn piece(self, document: &impl Serialize) -> Bytes {
        // Documents of numbers, texts and lists can be written always.
        let text = serde_json::to_string(document).unwrap_or_default();
        match self {
            Form::Lines => format!("{text}\n"),
            Form::Events => format!("data: {text}\n\n"),
        }
        .into()
    }
}
