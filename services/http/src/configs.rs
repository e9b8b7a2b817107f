//! Settings of a topic: all that Kafka has, with what is in force; and changes of them.
//!
//! A change is worked out on current settings and made only if they are still those, else worked
//! out again: two clients at once cannot undo each other's. Values are checked by Kafka's rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use esker_metadata_api::configs::{ConfigDefinition, TOPIC_CONFIGS, check_together, topic_config};
use esker_metadata_api::{AlterTopic, AlterTopicError, Topic, TopicChange};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::{WholeBody, bad, parse_json};
use crate::front::Front;
use crate::limits::CONFIG_CHANGE_TRIES_MAX;
use crate::path::PathTopic;
use crate::problem::{Problem, ProblemKind};
use crate::topics::{find_current, no_topic, unavailable, valid_configs};

/// Settings by name.
pub(crate) type Configs = BTreeMap<String, String>;

/// A setting and what is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigRow {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Not given for this topic: the brokers' default for all topics, or the built-in one.
    pub(crate) is_default: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigList {
    configs: Vec<ConfigRow>,
}

/// Settings to be changed; the others stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigChanges {
    /// As text; `null` is the default again.
    configs: BTreeMap<String, Option<String>>,
    /// Check only, and tell what would be in force.
    #[serde(default)]
    dry_run: bool,
}

/// All settings that are not to be the default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConfigs {
    /// As text.
    configs: BTreeMap<String, String>,
    /// Check only, and tell what would be in force.
    #[serde(default)]
    dry_run: bool,
}

impl ConfigRow {
    fn new(configs: &Configs, defaults: &Configs, definition: &'static ConfigDefinition) -> Self {
        let name = definition.name;
        let set = configs.get(name);
        let value = set.or_else(|| defaults.get(name)).map(String::as_str);
        Self {
            name,
            value: value.unwrap_or(definition.default).to_owned(),
            is_default: set.is_none(),
        }
    }
}

/// All settings as they are in force.
pub(crate) fn rows(topic: &Topic) -> impl Iterator<Item = ConfigRow> {
    rows_of(&topic.configs, &topic.defaults)
}

fn rows_of(configs: &Configs, defaults: &Configs) -> impl Iterator<Item = ConfigRow> {
    TOPIC_CONFIGS
        .iter()
        .map(|definition| ConfigRow::new(configs, defaults, definition))
}

fn list_of(configs: &Configs, defaults: &Configs) -> Response {
    let configs = rows_of(configs, defaults).collect();
    Json(ConfigList { configs }).into_response()
}

/// Settings with changes made to them; `None` is the default again.
pub(crate) fn changed(
    mut configs: Configs,
    changes: impl IntoIterator<Item = (String, Option<String>)>,
) -> Result<Configs, Problem> {
    for (name, value) in changes {
        let definition = topic_config(&name);
        let definition =
            definition.ok_or_else(|| bad(format!("topics have no setting {name:?}")))?;
        match value {
            Some(value) => {
                let value = definition.normalise(&value);
                let value = value.map_err(|error| bad(format!("{name}: {error}")))?;
                configs.insert(name, value);
            }
            None => drop(configs.remove(&name)),
        }
    }
    check_together(&configs).map_err(|error| bad(error.to_string()))?;
    Ok(configs)
}

/// Settings of a topic.
#[utoipa::path(
    get,
    path = "/topics/{name}/configs",
    tag = "topics",
    params(("name" = String, Path, description = "Topic")),
    responses((status = 200, description = "All settings, by name", body = ConfigList)),
)]
pub(crate) async fn list(PathTopic(topic): PathTopic) -> Response {
    list_of(&topic.configs, &topic.defaults)
}

/// Changes settings of a topic: those that are given, all of them or none.
#[utoipa::path(
    patch,
    path = "/topics/{name}/configs",
    tag = "topics",
    params(("name" = String, Path, description = "Topic")),
    request_body = ConfigChanges,
    responses((status = 200, description = "All settings, as they are then", body = ConfigList)),
)]
pub(crate) async fn change(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
    body: WholeBody,
) -> Result<Response, Problem> {
    let wanted: ConfigChanges = parse_json(&body.bytes)?;
    let change = |present: &Configs| changed(present.clone(), wanted.configs.clone());
    alter(&front, &name, wanted.dry_run, change).await
}

/// Replaces the settings of a topic: those that are not given are the default again.
#[utoipa::path(
    put,
    path = "/topics/{name}/configs",
    tag = "topics",
    params(("name" = String, Path, description = "Topic")),
    request_body = NewConfigs,
    responses((status = 200, description = "All settings, as they are then", body = ConfigList)),
)]
pub(crate) async fn replace(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
    body: WholeBody,
) -> Result<Response, Problem> {
    let wanted: NewConfigs = parse_json(&body.bytes)?;
    let new = valid_configs(wanted.configs)?;
    alter(&front, &name, wanted.dry_run, |_| Ok(new.clone())).await
}

async fn alter(
    front: &Front,
    name: &str,
    validate_only: bool,
    change: impl Fn(&Configs) -> Result<Configs, Problem>,
) -> Result<Response, Problem> {
    for _ in 0..CONFIG_CHANGE_TRIES_MAX {
        let topic = find_current(&front.parts, name).await?;
        let configs = change(&topic.configs)?;
        if configs == topic.configs {
            return Ok(list_of(&configs, &topic.defaults));
        }
        let request = AlterTopic {
            topic: topic.id,
            change: TopicChange::Configs {
                expected: topic.configs.clone(),
                configs: configs.clone(),
            },
            validate_only,
        };
        match front.parts.topic_admin.alter_topic(request).await {
            Ok(_) => return Ok(list_of(&configs, &topic.defaults)),
            Err(AlterTopicError::Changed) => {}
            Err(AlterTopicError::Unknown) => return Err(no_topic(name)),
            Err(AlterTopicError::Metadata(error)) => return Err(unavailable(error)),
            Err(error @ (AlterTopicError::NotMore { .. } | AlterTopicError::TooManyPartitions)) => {
                return Err(Problem::new(ProblemKind::Refused, error.to_string()));
            }
        }
    }
    let detail = "others change the settings of the topic all the time; nothing was changed";
    Err(Problem::new(ProblemKind::Overloaded, detail))
}
