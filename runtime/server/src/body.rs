//! Bodies: read under limits of size, time and of all of them together, then parsed.

mod form;
mod json;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::app::App;
use crate::config::Config;
use crate::error::ApiError;
use crate::wire::{Gallery, Wire};

/// Bodies from here on are parsed on threads that may block: a MiB of base64 takes about a millisecond.
const LARGE: usize = 64 << 10;
/// Bytes a second that a body must come with.
const SLOWEST: usize = 1 << 10;

/// How many bytes all bodies together hold.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    used: AtomicUsize,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Held {
    /// Takes more, if all together stay within the limit.
    fn more(&mut self, bytes: usize, limit: usize) -> Result<(), ApiError> {
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        if self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
            let message = "the bodies of other requests fill the memory that there is for them";
            return Err(ApiError::busy(message, 1).closing());
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How a body is written.
enum Kind {
    Json,
    /// With its boundary.
    Form(String),
}

/// A body that was read whole.
struct Whole {
    kind: Kind,
    bytes: Vec<u8>,
    held: Held,
}

/// Reads and parses a body. What is held of the budget is given back by the caller, who keeps the pictures.
pub(crate) async fn parse<W: Wire>(app: &App, request: Request) -> Result<(W::Asked, Held), ApiError> {
    let Whole { kind, bytes, held } = read(app, request).await?;
    let (large, most) = (bytes.len() >= LARGE, app.config.max_media);
    let asked = match kind {
        Kind::Json => {
            let work = move || json::parse::<W>(&bytes)?.asked(&mut Gallery::new(Vec::new(), most));
            if large { off(work).await } else { work() }
        }
        Kind::Form(boundary) => {
            let (value, parts) = form::parse(&bytes, &boundary, most).await?;
            drop(bytes);
            let work = move || json::of_value::<W>(value)?.asked(&mut Gallery::new(parts, most));
            if large { off(work).await } else { work() }
        }
    };
    Ok((asked?, held))
}

/// Runs work on a thread that may block; its panic is the caller's.
async fn off<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}

async fn read(app: &App, request: Request) -> Result<Whole, ApiError> {
    let kind = kind(request.headers())?;
    let mut held = Held { budget: app.bodies.clone(), bytes: 0 };
    let bytes = collect(&app.config, request.into_body(), &mut held).await?;
    Ok(Whole { kind, bytes, held })
}

fn kind(headers: &HeaderMap) -> Result<Kind, ApiError> {
    let refuse = |message: &str, at: &str| {
        Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body_unsupported", message).at(at).closing())
    };
    if headers.contains_key(header::CONTENT_ENCODING) {
        return refuse("send the body as it is, without a content encoding", "content-encoding");
    }
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = said.split(';').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case("application/json") {
        return Ok(Kind::Json);
    }
    if name.eq_ignore_ascii_case("multipart/form-data")
        && let Ok(boundary) = multer::parse_boundary(said)
    {
        return Ok(Kind::Form(boundary));
    }
    refuse("send application/json, or multipart/form-data with its boundary", "content-type")
}

/// All bytes of a body, within the limits.
async fn collect(config: &Config, mut body: Body, held: &mut Held) -> Result<Vec<u8>, ApiError> {
    let most = config.max_body_bytes;
    let declared = http_body::Body::size_hint(&body).lower() as usize;
    if declared > most {
        return Err(too_large(most));
    }
    let seconds = |n: usize| Duration::from_secs(n as u64);
    let (start, stall) = (Instant::now(), seconds(config.stall_seconds));
    let (mut window, mut came) = (start, 0);
    // What was declared is not believed: bytes are held as they come.
    let mut bytes = Vec::with_capacity(declared.min(LARGE));
    loop {
        let left = seconds(config.body_seconds).saturating_sub(start.elapsed());
        let wait = left.min(stall.saturating_sub(window.elapsed()));
        let frame = match timeout(wait, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(ApiError::bad("the body broke off").closing()),
            Err(_) => return Err(too_slow()),
        };
        // Trailers say nothing that is asked for.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        held.more(data.len(), config.max_bodies_bytes)?;
        bytes.extend_from_slice(&data);
        came += data.len();
        if came >= SLOWEST * config.stall_seconds {
            (window, came) = (Instant::now(), 0);
        }
    }
    Ok(bytes)
}

fn too_large(most: usize) -> ApiError {
    let message = format!("the body has more than {most} bytes; send smaller pictures, or fewer");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).closing()
}

fn too_slow() -> ApiError {
    let message = "the body came too slowly; send it at once";
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message).closing()
}
