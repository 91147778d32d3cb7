//! Around every request: its name, its token, its deadline, the faults of its handler, and what is told of it afterwards.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::app::App;
use crate::error::ApiError;
use crate::routes::{self, Route};

/// The header that names a request; a caller may bring one.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// The header that asks for less time than the server gives, in milliseconds.
pub(crate) const DEADLINE: &str = "x-deadline-ms";
/// Longest name of a request that is taken over.
const MAX_ID: usize = 64;

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What a request was let in with.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) id: Arc<str>,
    /// For turns between clients.
    pub(crate) client: u64,
    deadline: Instant,
}

impl Terms {
    /// Time until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The guard of all routes, and of what is none.
pub(crate) async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let route = routes::find(request.uri().path());
    let record = Record::new(app.clone(), request.headers(), route);
    let admitted = admit(&app, &mut request, &record, route);
    let response = match admitted {
        Err(refusal) => refusal.into_response(),
        Ok(()) => caught(next.run(request)).await.unwrap_or_else(|| {
            app.metrics.panicked();
            ApiError::internal("internal").into_response()
        }),
    };
    finish(response, record)
}

/// Lets a request in, or says why not.
fn admit(app: &App, request: &mut Request, record: &Record, route: Option<&Route>) -> Result<(), ApiError> {
    let is_open = route.is_some_and(|route| route.open);
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let client = if is_open { 0 } else { app.tokens.client(request.headers(), peer)? };
    if route.is_some_and(|route| route.work)
        && let Some(reason) = app.not_ready()
    {
        return Err(reason);
    }
    let most = Duration::from_secs(app.config.deadline_seconds as u64);
    let asked = deadline(request.headers())?.unwrap_or(most).min(most);
    let terms = Terms { id: record.id.clone(), client, deadline: record.start + asked };
    request.extensions_mut().insert(terms);
    Ok(())
}

fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(DEADLINE) else { return Ok(None) };
    let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok());
    let refuse = || ApiError::bad("give whole milliseconds").at(DEADLINE).closing();
    milliseconds.map(Duration::from_millis).ok_or_else(refuse).map(Some)
}

/// Waits for a future; none when it panicked.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Writes the document of a refusal, the headers that all answers have, and binds the record to the body's end.
fn finish(mut response: Response, mut record: Record) -> Response {
    let refusal = response.extensions_mut().remove::<ApiError>().or_else(|| unknown(response.status()));
    record.status = response.status();
    if let Some(refusal) = refusal {
        record.code = Some(refusal.code);
        let document = refusal.document(&record.id).to_string();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = refusal.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if refusal.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if refusal.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        *response.body_mut() = Body::from(document);
    }
    // The id holds nothing that a header may not.
    if let Ok(id) = HeaderValue::from_str(&record.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.map(|inner| {
        // An empty body may never be asked for.
        record.whole = inner.is_end_stream();
        Body::new(Recorded { inner, record })
    })
}

/// What the router answers by itself.
fn unknown(status: StatusCode) -> Option<ApiError> {
    match status {
        StatusCode::NOT_FOUND => Some(
            ApiError::new(status, "not_found", "there is nothing here; GET /openapi.json lists all routes")
                .closing(),
        ),
        StatusCode::METHOD_NOT_ALLOWED => Some(
            ApiError::new(status, "method_not_allowed", "this route has another method; see `allow`")
                .closing(),
        ),
        _ => None,
    }
}

/// What is known of a request; when it goes, it is counted and told of.
struct Record {
    app: Arc<App>,
    id: Arc<str>,
    route: &'static str,
    start: Instant,
    status: StatusCode,
    code: Option<&'static str>,
    bytes: u64,
    /// Whether the answer went out whole.
    whole: bool,
}

/// The status of a request whose client did not wait, as other servers log it.
const CLIENT_GONE: u16 = 499;

impl Record {
    fn new(app: Arc<App>, headers: &HeaderMap, route: Option<&'static Route>) -> Record {
        let brought = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_name(id));
        let id = brought.map_or_else(|| app.next_id(), str::to_owned).into();
        app.seats.send_modify(|seats| *seats += 1);
        let (start, route) = (Instant::now(), route.map_or("other", |route| route.path));
        Record { app, id, route, start, status: StatusCode::OK, code: None, bytes: 0, whole: false }
    }
}

fn is_name(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(plain)
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = if self.whole { self.status.as_u16() } else { CLIENT_GONE };
        let took = self.start.elapsed();
        self.app.metrics.answered(self.route, status, took);
        self.app.seats.send_modify(|seats| *seats -= 1);
        let (request_id, route, code) = (&*self.id, self.route, self.code.unwrap_or("-"));
        let (milliseconds, bytes) = (took.as_millis() as u64, self.bytes);
        if status >= 500 {
            tracing::warn!(request_id, route, status, code, milliseconds, bytes, "answered");
        } else {
            tracing::info!(request_id, route, status, code, milliseconds, bytes, "answered");
        }
    }
}

/// A body that knows whether it was sent whole.
struct Recorded {
    inner: Body,
    record: Record,
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.record.whole = self.inner.is_end_stream();
            }
            Poll::Ready(None) => self.record.whole = true,
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_of_a_handler_is_caught() {
        assert_eq!(caught(async { 7 }).await, Some(7));
        let fault = async {
            tokio::task::yield_now().await;
            panic!("a fault");
        };
        assert_eq!(caught::<()>(fault).await, None);
    }

    #[test]
    fn a_name_that_a_caller_brings_is_plain_and_short() {
        assert!(is_name("a-B_9.x") && is_name(&"x".repeat(64)));
        assert!(!is_name("") && !is_name(&"x".repeat(65)) && !is_name("a b") && !is_name("a\u{e9}"));
    }

    #[test]
    fn a_deadline_is_a_number_of_milliseconds() {
        let read = |value: &'static str| {
            deadline(&HeaderMap::from_iter([(
                DEADLINE.parse::<header::HeaderName>().unwrap(),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(read("1500"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(deadline(&HeaderMap::new()), Ok(None));
        for value in ["", "-1", "1.5", "soon", "99999999999999999999999"] {
            assert_eq!(read(value).unwrap_err().param.as_deref(), Some(DEADLINE), "{value}");
        }
    }
}
