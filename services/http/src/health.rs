//! What operators and their probes ask: alive, ready, metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::front::Front;

#[derive(Debug, Serialize)]
struct Alive {
    status: &'static str,
    /// This leadership's id; a standby compares it with the journal's.
    owner: Option<String>,
}

#[derive(Debug, Serialize)]
struct Ready {
    status: &'static str,
    reason: Option<String>,
}

/// Never depends on the store: a restart would not mend it.
pub(crate) async fn livez(State(front): State<Arc<Front>>) -> Response {
    Json(Alive {
        status: "alive",
        owner: front.parts.health.owner(),
    })
    .into_response()
}

pub(crate) async fn readyz(State(front): State<Arc<Front>>) -> Response {
    match front.parts.health.not_ready() {
        None => Json(Ready {
            status: "ready",
            reason: None,
        })
        .into_response(),
        reason => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(Ready {
                status: "not ready",
                reason,
            }),
        )
            .into_response(),
    }
}

pub(crate) async fn metrics(State(front): State<Arc<Front>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], front.parts.health.metrics()).into_response()
}
