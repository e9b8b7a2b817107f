//! Errors as RFC 9457 problem documents: what happened, and what to do about it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

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
    /// A conditional append that expected another end of the log.
    UnexpectedOffset,
    /// The idempotency key was used for another append.
    KeyReused,
    /// The body is of a type that the path does not take.
    UnsupportedMedia,
    /// The request did not come within its time.
    Timeout,
    /// Members are at work in the group, and only they may move its offsets.
    GroupActive,
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
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request"),
            Self::UnknownTopic => (StatusCode::NOT_FOUND, "unknown-topic"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Self::TopicExists => (StatusCode::CONFLICT, "topic-exists"),
            Self::OffsetOutOfRange => (StatusCode::RANGE_NOT_SATISFIABLE, "offset-out-of-range"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Self::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            Self::UnexpectedOffset => (StatusCode::PRECONDITION_FAILED, "unexpected-offset"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
            Self::UnsupportedMedia => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type")
            }
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout"),
            Self::GroupActive => (StatusCode::CONFLICT, "group-active"),
            Self::Overloaded => (StatusCode::TOO_MANY_REQUESTS, "overloaded"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Unknown => (StatusCode::GATEWAY_TIMEOUT, "outcome-unknown"),
            Self::Unreadable => (StatusCode::BAD_GATEWAY, "unreadable"),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Request cannot be understood",
            Self::UnknownTopic => "Topic or partition does not exist",
            Self::NotFound => "No such path",
            Self::MethodNotAllowed => "Path does not take this method",
            Self::TopicExists => "Topic already exists",
            Self::OffsetOutOfRange => "Offset lies outside the log",
            Self::TooLarge => "Too large",
            Self::Refused => "Records are refused",
            Self::UnexpectedOffset => "Log ends at another offset",
            Self::KeyReused => "Idempotency key was used for another append",
            Self::UnsupportedMedia => "Body is of a type that is not taken here",
            Self::Timeout => "Request did not come in time",
            Self::GroupActive => "Group has members at work",
            Self::Overloaded => "Too many requests at once",
            Self::Unavailable => "Cannot be served now, nothing was done",
            Self::Unknown => "Outcome is unknown",
            Self::Unreadable => "Stored records cannot be read",
        }
    }

    /// Seconds after which the same request may succeed.
    pub(crate) fn retry_after(self) -> Option<HeaderValue> {
        match self {
            Self::Overloaded | Self::Unavailable | Self::Unknown => {
                Some(HeaderValue::from_static("1"))
            }
            _ => None,
        }
    }

    /// Its HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.parts().0
    }
}

/// One problem, told to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// This case of it, for people.
    pub detail: String,
    /// The line of a streamed body that is at fault, from 1; of a JSON stream the document.
    pub line: Option<u64>,
    /// Where the log ends, of an append that expected another end.
    pub end_offset: Option<u64>,
}

/// A problem as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// Names the kind; never changes its meaning.
    #[schema(example = "/problems/unknown-topic")]
    r#type: String,
    title: &'static str,
    status: u16,
    /// This case of it, for people.
    detail: String,
    /// The line of a streamed body that is at fault, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    line: Option<u64>,
    /// Where the log ends, of a conditional append that expected another end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    end_offset: Option<u64>,
}

impl Problem {
    /// A problem.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            line: None,
            end_offset: None,
        }
    }

    /// Of two problems of one request the one to tell: the first, but that what may have been done
    /// is never told as not done.
    #[must_use]
    pub(crate) fn graver(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if self.kind != ProblemKind::Unknown => before,
            Some(before) if before.kind == ProblemKind::Unknown => before,
            Some(_) | None => self,
        }
    }

    /// The same, at a line.
    #[must_use]
    pub(crate) fn at_line(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }

    pub(crate) fn document(&self) -> Document {
        let (status, name) = self.kind.parts();
        Document {
            r#type: format!("/problems/{name}"),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            line: self.line,
            end_offset: self.end_offset,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.document())).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_never_told_as_not_done() {
        let unknown = Problem::new(ProblemKind::Unknown, "unknown");
        let refused = Problem::new(ProblemKind::Refused, "refused");
        let overloaded = Problem::new(ProblemKind::Overloaded, "overloaded");

        assert_eq!(unknown.clone().graver(Some(refused.clone())), unknown);
        assert_eq!(refused.clone().graver(Some(unknown.clone())), unknown);
        assert_eq!(overloaded.graver(Some(refused.clone())), refused);
        assert_eq!(refused.clone().graver(None), refused);
    }
}
