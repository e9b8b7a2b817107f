//! Errors as RFC 9457 problem documents: what happened, and what to do about it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Kinds of problem; the name is the last part of its type URI and never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The request cannot be understood.
    BadRequest,
    /// No such topic or partition.
    UnknownTopic,
    /// No such path.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The topic exists already, or one whose name differs only in `.` and `_`.
    TopicExists,
    /// The offset lies outside the log.
    OffsetOutOfRange,
    /// The body, or a record in it, is larger than allowed.
    TooLarge,
    /// The log refuses the records for good.
    Refused,
    /// Too much at once: come back a little later.
    Overloaded,
    /// Cannot be served now; nothing was done.
    Unavailable,
    /// Whether it was done is unknown.
    Unknown,
    /// Stored bytes cannot be read.
    Unreadable,
}

impl ProblemKind {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "Request cannot be understood",
            ),
            Self::UnknownTopic => (
                StatusCode::NOT_FOUND,
                "unknown-topic",
                "No such topic or partition",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "No such path"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Path does not take this method",
            ),
            Self::TopicExists => (StatusCode::CONFLICT, "topic-exists", "Topic exists"),
            Self::OffsetOutOfRange => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "offset-out-of-range",
                "Offset lies outside the log",
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large"),
            Self::Refused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "refused",
                "Records are refused",
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too many requests at once",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Cannot be served now, nothing was done",
            ),
            Self::Unknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "outcome-unknown",
                "Outcome is unknown",
            ),
            Self::Unreadable => (
                StatusCode::BAD_GATEWAY,
                "unreadable",
                "Stored records cannot be read",
            ),
        }
    }

    fn retry_after(self) -> Option<HeaderValue> {
        match self {
            Self::Overloaded | Self::Unavailable | Self::Unknown => {
                Some(HeaderValue::from_static("1"))
            }
            _ => None,
        }
    }
}

/// One problem, told to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// This case of it, for people.
    pub detail: String,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// A problem.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.kind.parts();
        let document = Document {
            r#type: format!("/problems/{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
        };
        let mut response = (status, Json(document)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
