//! Topics over HTTP: create, list, describe, delete.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
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

use crate::body::parse_json;
use crate::parts::HttpParts;
use crate::problem::{Problem, ProblemKind};

type Answer<T> = Result<T, Problem>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTopic {
    name: String,
    #[serde(default = "one")]
    partitions: u32,
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Serialize)]
struct TopicRow {
    name: String,
    id: String,
    partitions: u32,
    configs: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    partition: u32,
    log_start: u64,
    high_watermark: u64,
}

#[derive(Debug, Serialize)]
struct TopicList {
    topics: Vec<TopicRow>,
}

#[derive(Debug, Serialize)]
struct DescribedTopic {
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

fn valid_name(name: &str) -> Answer<TopicName> {
    TopicName::new(name)
        .map_err(|error| Problem::new(ProblemKind::BadRequest, format!("{error}: {name:?}")))
}

fn valid_configs(given: BTreeMap<String, String>) -> Answer<BTreeMap<String, String>> {
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

pub(crate) async fn create(State(parts): State<HttpParts>, body: Bytes) -> Answer<Response> {
    let wanted: NewTopic = parse_json(&body)?;
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
    let created = parts.admin.create_topic(request).await;
    let topic = created.map_err(create_problem)?.topic;
    let mut response = (StatusCode::CREATED, Json(TopicRow::of(&topic))).into_response();
    let location = HeaderValue::from_str(&format!("/api/v1/topics/{}", topic.name));
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn create_problem(error: CreateTopicError) -> Problem {
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

pub(crate) async fn list(State(parts): State<HttpParts>) -> Answer<Response> {
    let topics = parts.admin.topics_current().await.map_err(unavailable)?;
    let topics = topics.iter().map(|topic| TopicRow::of(topic)).collect();
    Ok(Json(TopicList { topics }).into_response())
}

pub(crate) async fn describe(
    State(parts): State<HttpParts>,
    Path(name): Path<String>,
) -> Answer<Response> {
    let topic = find(&parts, &name).await?;
    let mut partition_offsets = Vec::new();
    for partition in (0..topic.partition_count.get()).filter_map(PartitionIndex::new) {
        let (log_start, high_watermark) = parts.reader.bounds(topic.at(partition)).await?;
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

pub(crate) async fn delete(
    State(parts): State<HttpParts>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    let topic = TopicRef::Name(valid_name(&name)?);
    match parts.admin.delete_topic(topic).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteTopicError::Unknown) => Err(Problem::new(
            ProblemKind::UnknownTopic,
            format!("there is no topic {name:?}"),
        )),
        Err(DeleteTopicError::Metadata(error)) => Err(unavailable(error)),
    }
}
