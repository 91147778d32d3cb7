//! Why a request is refused: a status, a stable code, words for the caller. Nothing of the inside is told: no path, no
//! address, no text of a decoder, and no text of the caller's own.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rewardrt::Error;
use rewardrt::decode::{DecodeError, Refusal};
use rewardrt::media::MediaError;
use rewardrt::media::video::VideoError;
use rewardrt::schedule::ScheduleError;
use serde_json::{Value, json};

/// A refusal. As a response it has no body: the guard, which knows the request's id, writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Where in the request, as a JSON pointer or the name of a header.
    pub(crate) param: Option<String>,
    /// Seconds after which to come back.
    pub(crate) retry_after: Option<u64>,
    /// Whether the connection ends with the answer: a body was not read, or the server is to end.
    pub(crate) close: bool,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), param: None, retry_after: None, close: false }
    }

    /// The request is not what it must be.
    pub(crate) fn bad(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// The request is well formed, and cannot be answered.
    pub(crate) fn unprocessable(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// A fault of this program or its machine. What it was stands in the log.
    pub(crate) fn internal(code: &'static str) -> ApiError {
        let message = "a fault of the server; the request's id finds it in the log";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, code, message)
    }

    pub(crate) fn at(self, param: impl Into<String>) -> ApiError {
        ApiError { param: Some(param.into()), ..self }
    }

    pub(crate) fn closing(self) -> ApiError {
        ApiError { close: true, ..self }
    }

    fn later(self, seconds: u64) -> ApiError {
        ApiError { retry_after: Some(seconds.max(1)), ..self }
    }

    /// The server has no room now.
    pub(crate) fn busy(message: impl Into<String>, retry_after: u64) -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", message).later(retry_after)
    }

    /// The server takes nothing now.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message).later(1).closing()
    }

    /// The document that callers get.
    pub(crate) fn document(&self, request_id: &str) -> Value {
        let (code, message, param) = (self.code, &self.message, &self.param);
        json!({ "error": { "code": code, "message": message, "param": param, "request_id": request_id } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let words = error.to_string();
        match error {
            Error::Schedule(why) => scheduled(why, words),
            Error::Media { source, .. } => pictured(&source, words),
            Error::Video { source, .. } => filmed(&source, words),
            Error::Preprocess { .. } => ApiError::unprocessable("picture_unfit", words),
            Error::Pack(_) => ApiError::unprocessable("text_unfit", words),
            Error::Encode(_) => ApiError::unprocessable("prompt_unfit", words),
            Error::Group(_) => ApiError::unprocessable("group_unfit", words),
            Error::Request(_) => ApiError::unprocessable("not_askable", words),
            Error::Decode(DecodeError::Refused(Refusal::TooLong { .. })) => {
                ApiError::unprocessable("too_many_tokens", words)
            }
            Error::Decode(DecodeError::Refused(_)) => ApiError::unprocessable("not_askable", words),
            Error::Decode(DecodeError::NonFinite { .. }) | Error::NotFinite => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "model_nonfinite", words)
            }
            // Their words may hold paths and what the system said.
            other => {
                tracing::error!(error = %other, "the engine failed");
                ApiError::internal("engine_failed")
            }
        }
    }
}

fn scheduled(why: ScheduleError, words: String) -> ApiError {
    match why {
        ScheduleError::Busy { retry_after, .. } => ApiError::busy(words, retry_after),
        ScheduleError::Expired => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", words),
        ScheduleError::Unready { reason } => {
            tracing::error!(reason, "a request could not be made ready");
            ApiError::internal("internal")
        }
        ScheduleError::Broken { .. } | ScheduleError::Closed | ScheduleError::Thread { .. } => {
            tracing::error!(reason = words, "the judge takes no more");
            ApiError::unavailable(
                "judge_stopped",
                "the judge has stopped after a fault; the server ends to start anew",
            )
        }
    }
}

fn pictured(source: &MediaError, words: String) -> ApiError {
    let status = match source.code() {
        "media_unsupported" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "media_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, source.code(), words)
}

fn filmed(source: &VideoError, words: String) -> ApiError {
    let status = match source.code() {
        "media_unsupported" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "media_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "frames_bad_choice" => StatusCode::UNPROCESSABLE_ENTITY,
        "video_not_built" => StatusCode::NOT_IMPLEMENTED,
        "video_decoder_missing" => return ApiError::internal("video_decoder_missing"),
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, source.code(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, status: u16, code: &str) {
        let got = ApiError::from(error);
        assert_eq!((got.status.as_u16(), got.code), (status, code), "{got:?}");
        let document = got.document("r").to_string();
        assert!(!document.contains("secret"), "{document}");
    }

    #[test]
    fn every_kind_of_error_has_a_status_and_a_code_and_tells_nothing_of_the_inside() {
        let name = || "first candidate, picture 1".to_owned();
        check(ScheduleError::Busy { calls: 3, retry_after: 7 }.into(), 429, "busy");
        check(ScheduleError::Expired.into(), 504, "deadline_exceeded");
        check(ScheduleError::Unready { reason: "secret".to_owned() }.into(), 500, "internal");
        check(ScheduleError::Broken { reason: "secret".into() }.into(), 503, "judge_stopped");
        check(
            Error::Media { name: name(), source: MediaError::Corrupt(rewardrt::media::Format::Png) },
            400,
            "media_corrupt",
        );
        check(Error::Video { name: name(), source: VideoError::UnsupportedFormat }, 415, "media_unsupported");
        check(Error::Video { name: name(), source: VideoError::Crashed }, 400, "video_decoder_crashed");
        check(Error::Request("it cannot be".to_owned()), 422, "not_askable");
        check(DecodeError::from(Refusal::TooLong { needed: 9, available: 8 }).into(), 422, "too_many_tokens");
        check(DecodeError::NonFinite { tokens: 4 }.into(), 500, "model_nonfinite");
        check(Error::NotFinite, 500, "model_nonfinite");
        let read = std::io::Error::from(std::io::ErrorKind::NotFound);
        check(Error::Read { path: "secret".into(), source: read }, 500, "engine_failed");
    }

    #[test]
    fn a_refusal_for_want_of_room_says_when_to_come_back() {
        let busy = ApiError::from(Error::from(ScheduleError::Busy { calls: 3, retry_after: 0 }));
        assert_eq!(busy.retry_after, Some(1));
    }
}
