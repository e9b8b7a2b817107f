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
use esker_metadata_api::{
    CreateTopic, CreateTopicError, DeleteTopicError, MetadataError, Topic, TopicName, TopicRef,
};
use esker_types::PartitionIndex;
use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::{WholeBody, bad, parse_json};
use crate::configs::{Configs, changed};
use crate::front::Front;
use crate::parts::HttpParts;
use crate::path::PathTopic;
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

pub(crate) fn one() -> u32 {
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

pub(crate) fn no_topic(name: &str) -> Problem {
    let detail = format!("topic {name:?} does not exist");
    Problem::new(ProblemKind::UnknownTopic, detail)
}

/// The topic called `name`; that there is none is told only by who is current (R1).
pub(crate) async fn find(parts: &HttpParts, name: &str) -> Answer<Arc<Topic>> {
    if let Some(topic) = parts.admin.topics().named(name) {
        return Ok(Arc::clone(topic));
    }
    find_current(parts, name).await
}

/// The topic called `name`, as it is now.
pub(crate) async fn find_current(parts: &HttpParts, name: &str) -> Answer<Arc<Topic>> {
    let current = parts.admin.topics_current().await.map_err(unavailable)?;
    current.named(name).cloned().ok_or_else(|| no_topic(name))
}

pub(crate) fn valid_name(name: &str) -> Answer<TopicName> {
    TopicName::new(name).map_err(|error| bad(format!("{error}: {name:?}")))
}

/// As many as `given`, which the client calls `field`.
pub(crate) fn valid_count(field: &str, given: u32) -> Answer<NonZeroU32> {
    let count = NonZeroU32::new(given).filter(|count| count.get() <= PARTITIONS_PER_TOPIC_MAX);
    count.ok_or_else(|| bad(format!("{field} must be 1 to {PARTITIONS_PER_TOPIC_MAX}")))
}

/// Settings of a new topic.
pub(crate) fn valid_configs(given: Configs) -> Answer<Configs> {
    let given = given.into_iter();
    changed(
        Configs::new(),
        given.map(|(name, value)| (name, Some(value))),
    )
}

/// Makes a topic, or checks that it could be made.
pub(crate) async fn make(parts: &HttpParts, wanted: CreateTopic) -> Answer<Arc<Topic>> {
    let name = wanted.name.clone();
    let created = parts.admin.create_topic(wanted).await;
    let created = created.map_err(|error| create_problem(&name, error))?;
    Ok(created.topic)
}

fn create_problem(name: &TopicName, error: CreateTopicError) -> Problem {
    match error {
        CreateTopicError::Exists => Problem::new(
            ProblemKind::TopicExists,
            format!("topic \"{name}\" already exists"),
        ),
        CreateTopicError::Collides { with } => Problem::new(
            ProblemKind::TopicExists,
            format!(
                "topic \"{name}\" collides with existing topic \"{with}\": names that differ \
                     only in '.' and '_' cannot be told apart in metrics"
            ),
        ),
        CreateTopicError::TooManyPartitions | CreateTopicError::TooManyTopics => {
            Problem::new(ProblemKind::Refused, error.to_string())
        }
        CreateTopicError::Metadata(error) => unavailable(error),
    }
}

/// Deletes the topic called `name`.
pub(crate) async fn remove(parts: &HttpParts, name: &str) -> Answer<()> {
    let topic = TopicRef::Name(valid_name(name)?);
    match parts.admin.delete_topic(topic).await {
        Ok(_) => Ok(()),
        Err(DeleteTopicError::Unknown) => Err(no_topic(name)),
        Err(DeleteTopicError::Metadata(error)) => Err(unavailable(error)),
    }
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
    let request = CreateTopic {
        name: valid_name(&wanted.name)?,
        partition_count: valid_count("partitions", wanted.partitions)?,
        replication_factor: 1,
        configs: valid_configs(wanted.configs)?,
        validate_only: false,
    };
    let topic = make(&front.parts, request).await?;
    let mut response = (StatusCode::CREATED, Json(TopicRow::of(&topic))).into_response();
    let location = HeaderValue::from_str(&format!("/api/v1/topics/{}", topic.name));
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
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
    PathTopic(topic): PathTopic,
) -> Answer<Response> {
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
    remove(&front.parts, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
