//! Topics over HTTP: create, list, describe, delete.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use esker_metadata_api::configs::{check_together, topic_config};
use esker_metadata_api::{
    CreateTopic, CreateTopicError, DeleteTopicError, MetadataError, Topic, TopicName, TopicRef,
};
use esker_types::PartitionIndex;
use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::{WholeBody, parse_json};
use crate::front::Front;
use crate::parts::HttpParts;
use crate::problem::{Problem, ProblemKind};

type Answer<T> = Result<T, Problem>;

/// A topic to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTopic {
    #[schema(
        min_length = 1,
        max_length = 249,
        pattern = "^[a-zA-Z0-9_-][a-zA-Z0-9._-]*$"
    )]
    name: String,
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 10_000, default = 1)]
    partitions: u32,
    /// Kafka's topic settings, as text.
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicRow {
    name: String,
    id: String,
    partitions: u32,
    configs: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartitionRow {
    partition: u32,
    log_start: u64,
    high_watermark: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicList {
    topics: Vec<TopicRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DescribedTopic {
    #[serde(flatten)]
    topic: TopicRow,
    partition_offsets: Vec<PartitionRow>,
}

impl TopicRow {
    fn of(topic: &Topic) -> Self {
        Self {
            name: topic.name.to_string(),
            // As Kafka's tools print it.
            id: URL_SAFE_NO_PAD.encode(topic.id.bytes()),
            partitions: topic.partition_count.get(),
            configs: topic.configs.clone(),
        }
    }
}

pub(crate) fn unavailable(error: MetadataError) -> Problem {
    match error {
        MetadataError::Overloaded => Problem::new(
            ProblemKind::Overloaded,
            "the metadata service is overloaded",
        ),
        MetadataError::Recovering | MetadataError::Unavailable => {
            Problem::new(ProblemKind::Unavailable, "no metadata leader answers")
        }
        MetadataError::Unknown | MetadataError::Deposed => Problem::new(
            ProblemKind::Unknown,
            "the metadata leader went away; ask again to see what was done",
        ),
    }
}

/// The topic called `name`; that there is none is told only by who is current (R1).
pub(crate) async fn find(parts: &HttpParts, name: &str) -> Answer<Arc<Topic>> {
    if let Some(topic) = parts.admin.topics().named(name) {
        return Ok(Arc::clone(topic));
    }
    let current = parts.admin.topics_current().await.map_err(unavailable)?;
    current.named(name).cloned().ok_or_else(|| {
        let detail = format!("there is no topic {name:?}");
        Problem::new(ProblemKind::UnknownTopic, detail)
    })
}

pub(crate) fn valid_name(name: &str) -> Answer<TopicName> {
    TopicName::new(name)
        .map_err(|error| Problem::new(ProblemKind::BadRequest, format!("{error}: {name:?}")))
}

pub(crate) fn valid_configs(given: BTreeMap<String, String>) -> Answer<BTreeMap<String, String>> {
    let bad = |detail: String| Problem::new(ProblemKind::BadRequest, detail);
    let mut configs = BTreeMap::new();
    for (name, value) in given {
        let definition = topic_config(&name);
        let definition =
            definition.ok_or_else(|| bad(format!("topics have no setting {name:?}")))?;
        let value = definition.normalise(&value);
        let value = value.map_err(|error| bad(format!("{name}: {error}")))?;
        configs.insert(name, value);
    }
    check_together(&configs).map_err(|error| bad(error.to_string()))?;
    Ok(configs)
}

/// Creates a topic.
#[utoipa::path(
    post,
    path = "/topics",
    tag = "topics",
    request_body = NewTopic,
    responses((status = 201, description = "Created", body = TopicRow)),
)]
pub(crate) async fn create(State(front): State<Arc<Front>>, body: WholeBody) -> Answer<Response> {
    let wanted: NewTopic = parse_json(&body.bytes)?;
    let partitions = NonZeroU32::new(wanted.partitions);
    let partitions = partitions.filter(|count| count.get() <= PARTITIONS_PER_TOPIC_MAX);
    let partition_count = partitions.ok_or_else(|| {
        let detail = format!("partitions must be 1 to {PARTITIONS_PER_TOPIC_MAX}");
        Problem::new(ProblemKind::BadRequest, detail)
    })?;
    let request = CreateTopic {
        name: valid_name(&wanted.name)?,
        partition_count,
        replication_factor: 1,
        configs: valid_configs(wanted.configs)?,
        validate_only: false,
    };
    let created = front.parts.admin.create_topic(request).await;
    let topic = created.map_err(create_problem)?.topic;
    let mut response = (StatusCode::CREATED, Json(TopicRow::of(&topic))).into_response();
    let location = HeaderValue::from_str(&format!("/api/v1/topics/{}", topic.name));
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(crate) fn create_problem(error: CreateTopicError) -> Problem {
    match error {
        CreateTopicError::Exists => Problem::new(ProblemKind::TopicExists, "the name is taken"),
        CreateTopicError::Collides { with } => Problem::new(
            ProblemKind::TopicExists,
            format!("the name differs from {with} only in '.' and '_'"),
        ),
        CreateTopicError::TooManyPartitions | CreateTopicError::TooManyTopics => {
            Problem::new(ProblemKind::Refused, error.to_string())
        }
        CreateTopicError::Metadata(error) => unavailable(error),
    }
}

/// Lists topics.
#[utoipa::path(
    get,
    path = "/topics",
    tag = "topics",
    responses((status = 200, description = "All topics, by name", body = TopicList)),
)]
pub(crate) async fn list(State(front): State<Arc<Front>>) -> Answer<Response> {
    let topics = front
        .parts
        .admin
        .topics_current()
        .await
        .map_err(unavailable)?;
    let topics = topics.iter().map(|topic| TopicRow::of(topic)).collect();
    Ok(Json(TopicList { topics }).into_response())
}

/// Describes a topic, with where each partition begins and ends.
#[utoipa::path(
    get,
    path = "/topics/{name}",
    tag = "topics",
    params(("name" = String, Path, description = "Topic")),
    responses((status = 200, description = "The topic", body = DescribedTopic)),
)]
pub(crate) async fn describe(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
) -> Answer<Response> {
    let topic = find(&front.parts, &name).await?;
    let mut partition_offsets = Vec::new();
    for partition in (0..topic.partition_count.get()).filter_map(PartitionIndex::new) {
        let (log_start, high_watermark) = front.parts.reader.bounds(topic.at(partition)).await?;
        partition_offsets.push(PartitionRow {
            partition: partition.get(),
            log_start: log_start.get(),
            high_watermark: high_watermark.get(),
        });
    }
    let topic = TopicRow::of(&topic);
    Ok(Json(DescribedTopic {
        topic,
        partition_offsets,
    })
    .into_response())
}

/// Deletes a topic and its records.
#[utoipa::path(
    delete,
    path = "/topics/{name}",
    tag = "topics",
    params(("name" = String, Path, description = "Topic")),
    responses((status = 204, description = "Deleted")),
)]
pub(crate) async fn delete(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    let topic = TopicRef::Name(valid_name(&name)?);
    match front.parts.admin.delete_topic(topic).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteTopicError::Unknown) => Err(Problem::new(
            ProblemKind::UnknownTopic,
            format!("there is no topic {name:?}"),
        )),
        Err(DeleteTopicError::Metadata(error)) => Err(unavailable(error)),
    }
}
