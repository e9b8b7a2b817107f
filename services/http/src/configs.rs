//! Settings of a topic: all that Kafka has, with what is in force.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use esker_metadata_api::Topic;
use esker_metadata_api::configs::{ConfigDefinition, TOPIC_CONFIGS};
use serde::Serialize;
use utoipa::ToSchema;

use crate::front::Front;
use crate::problem::Problem;
use crate::topics::find;

/// A setting and what is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigRow {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Not given for this topic.
    pub(crate) is_default: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigList {
    configs: Vec<ConfigRow>,
}

impl ConfigRow {
    pub(crate) fn of(topic: &Topic, definition: &'static ConfigDefinition) -> Self {
        let set = definition.set_by(topic);
        Self {
            name: definition.name,
            value: set.unwrap_or(definition.default).to_owned(),
            is_default: set.is_none(),
        }
    }
}

pub(crate) fn rows(topic: &Topic) -> impl Iterator<Item = ConfigRow> {
    TOPIC_CONFIGS
        .iter()
        .map(|definition| ConfigRow::of(topic, definition))
}

/// Settings of a topic.
#[utoipa::path(
    get,
    path = "/topics/{name}/configs",
    tag = "topics",
    params(("name" = String, Path, description = "Topic")),
    responses((status = 200, description = "All settings, by name", body = ConfigList)),
)]
pub(crate) async fn list(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let topic = find(&front.parts, &name).await?;
    let configs = rows(&topic).collect();
    Ok(Json(ConfigList { configs }).into_response())
}
