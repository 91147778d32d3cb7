//! Routes that ask nothing of the judge: probes, what is served, counters, the documents.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::document::Json;
use crate::app::App;
use crate::error::ApiError;
use crate::page;

/// The routes as OpenAPI 3.1.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

/// Whether the process answers.
pub(super) async fn livez() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Whether requests would be taken.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    app.not_ready().map_or_else(|| Ok(Json(json!({ "status": "ready" }))), Err)
}

/// The same in the words of trainers.
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    app.not_ready().map_or_else(|| Ok(Json(json!({ "status": "ok" }))), Err)
}

/// The model by all of its names.
pub(super) async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let created = app.began().as_secs();
    let one =
        |id: &String| json!({ "id": id, "object": "model", "created": created, "owned_by": "rewardrt" });
    Json(json!({ "object": "list", "data": app.names.iter().map(one).collect::<Vec<_>>() }))
}

/// What is served and how it runs.
pub(super) async fn info(State(app): State<Arc<App>>) -> Json<Value> {
    let judge = &app.judge;
    let placements: Vec<Value> = judge
        .placements()
        .iter()
        .map(|p| json!({ "component": p.component, "provider": p.provider.to_string(), "nodes": p.counts() }))
        .collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": judge.model(),
        "names": app.names,
        "pack": judge.pack().identity(),
        "task": judge.pack().task,
        "health": judge.health(),
        "stats": judge.stats(),
        "placements": placements,
        "load_ms": judge.load_ms(),
        "started": app.began().as_secs(),
        "limits": {
            "max_body_bytes": app.config.max_body_bytes,
            "max_media": app.config.max_media,
            "deadline_seconds": app.config.deadline_seconds,
            "tokens": app.config.tokens,
            "slots": app.config.slots,
            "queue": app.config.queue,
        },
    }))
}

/// The counters.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    typed("text/plain; version=0.0.4", crate::metrics::render(&app).into_bytes())
}

/// The routes.
pub(super) async fn openapi() -> Response {
    typed("application/json", OPENAPI.as_bytes().to_vec())
}

/// The page.
pub(super) async fn judging_page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, page::policy())];
    (policy, typed("text/html; charset=utf-8", page::document().into_bytes())).into_response()
}

fn typed(kind: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], body).into_response()
}
