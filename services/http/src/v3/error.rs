//! Errors as Confluent's REST API tells them.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemKind};

/// Kafka has no such topic or partition.
const UNKNOWN_TOPIC_OR_PARTITION: u32 = 40403;
const TOPIC_EXISTS: u32 = 40002;
/// A Kafka error after which the same request may succeed.
const RETRIABLE: u32 = 50003;
const KAFKA_ERROR: u32 = 50002;

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = V3Error)]
pub(crate) struct V3Error {
    /// An HTTP status, or one with two more digits.
    pub(crate) error_code: u32,
    pub(crate) message: String,
    #[serde(skip)]
    pub(crate) retry: bool,
}

impl V3Error {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            error_code: u32::from(status.as_u16()),
            message: message.into(),
            retry: false,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        let code = match self.error_code {
            short @ ..=999 => short,
            long => long / 100,
        };
        u16::try_from(code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Problem> for V3Error {
    fn from(problem: Problem) -> Self {
        let error_code = match problem.kind {
            ProblemKind::UnknownTopic => UNKNOWN_TOPIC_OR_PARTITION,
            ProblemKind::TopicExists => TOPIC_EXISTS,
            ProblemKind::Unavailable | ProblemKind::Unknown => RETRIABLE,
            ProblemKind::Unreadable => KAFKA_ERROR,
            ProblemKind::Refused => 422,
            kind => u32::from(kind.status().as_u16()),
        };
        Self {
            error_code,
            retry: problem.kind.retry_after().is_some(),
            message: problem.detail,
        }
    }
}

impl IntoResponse for V3Error {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(&self)).into_response();
        if self.retry {
            let seconds = axum::http::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
