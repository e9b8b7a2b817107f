//! Clusters, topics, partitions and settings, in the shapes of Confluent's REST API.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use esker_metadata_api::{CreateTopic, DeleteTopicError, Topic, TopicRef};
use esker_types::PartitionIndex;
use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::error::V3Error;
use crate::body::{WholeBody, parse_json};
use crate::configs::{self, ConfigRow};
use crate::front::Front;
use crate::problem::{Problem, ProblemKind};
use crate::topics::{create_problem, find, unavailable, valid_configs, valid_name};

type Answer = Result<Response, V3Error>;

/// A topic to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct V3NewTopic {
    #[schema(
        min_length = 1,
        max_length = 249,
        pattern = "^[a-zA-Z0-9_-][a-zA-Z0-9._-]*$"
    )]
    topic_name: String,
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 10_000, default = 1)]
    partitions_count: u32,
    /// Accepted and shown: the bucket replicates.
    #[serde(default = "one_copy")]
    #[schema(minimum = 1, maximum = 32767, default = 1)]
    replication_factor: u16,
    #[serde(default)]
    configs: Vec<V3NewConfig>,
    #[serde(default)]
    validate_only: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct V3NewConfig {
    name: String,
    value: String,
}

/// What a resource is called; its other members are those of its kind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct V3Resource {
    kind: String,
    metadata: V3Metadata,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct V3Metadata {
    #[serde(rename = "self")]
    link: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct V3List {
    kind: String,
    metadata: V3Metadata,
    data: Vec<V3Resource>,
}

fn one() -> u32 {
    1
}

fn one_copy() -> u16 {
    1
}

/// The cluster, and where this API is for the client.
struct Here {
    cluster: String,
    base: String,
}

impl Here {
    fn new(front: &Front, headers: &HeaderMap) -> Self {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        Self {
            cluster: cluster_id(front),
            base: format!("http://{}/v3/clusters", host.unwrap_or("localhost")),
        }
    }

    /// The same, if `cluster` is ours.
    fn of(front: &Front, headers: &HeaderMap, cluster: &str) -> Result<Self, V3Error> {
        let here = Self::new(front, headers);
        if here.cluster != cluster {
            return Err(no_cluster(cluster));
        }
        Ok(here)
    }

    fn link(&self, path: &str) -> String {
        format!("{}/{}{path}", self.base, self.cluster)
    }

    fn related(&self, path: &str) -> Value {
        json!({ "related": self.link(path) })
    }

    fn metadata(&self, path: &str, resource: &str) -> Value {
        let cluster = &self.cluster;
        json!({ "self": self.link(path),
            "resource_name": format!("crn:///kafka={cluster}{resource}") })
    }

    fn list(&self, kind: &str, path: &str, data: Vec<Value>) -> Value {
        let link = if path.is_empty() {
            self.base.clone()
        } else {
            self.link(path)
        };
        json!({ "kind": kind, "metadata": { "self": link, "next": null }, "data": data })
    }

    fn cluster(&self) -> Value {
        json!({
            "kind": "KafkaCluster",
            "metadata": self.metadata("", ""),
            "cluster_id": self.cluster,
            "controller": null,
            "acls": self.related("/acls"),
            "brokers": self.related("/brokers"),
            "broker_configs": self.related("/broker-configs"),
            "consumer_groups": self.related("/consumer-groups"),
            "topics": self.related("/topics"),
            "partition_reassignments": self.related("/topics/-/partitions/-/reassignment"),
        })
    }

    fn topic(&self, topic: &Topic) -> Value {
        let name = &topic.name;
        let path = format!("/topics/{name}");
        json!({
            "kind": "KafkaTopic",
            "metadata": self.metadata(&path, &format!("/topic={name}")),
            "cluster_id": self.cluster,
            "topic_name": name.as_str(),
            "is_internal": false,
            "replication_factor": topic.replication_factor,
            "partitions_count": topic.partition_count,
            "partitions": self.related(&format!("{path}/partitions")),
            "configs": self.related(&format!("{path}/configs")),
            "partition_reassignments": self.related(&format!("{path}/partitions/-/reassignment")),
        })
    }

    fn partition(&self, topic: &Topic, partition: PartitionIndex) -> Value {
        let (name, index) = (&topic.name, partition.get());
        let path = format!("/topics/{name}/partitions/{index}");
        json!({
            "kind": "KafkaPartition",
            "metadata": self.metadata(&path, &format!("/topic={name}/partition={index}")),
            "cluster_id": self.cluster,
            "topic_name": name.as_str(),
            "partition_id": index,
            "leader": null,
            "replicas": self.related(&format!("{path}/replicas")),
            "reassignment": self.related(&format!("{path}/reassignment")),
        })
    }

    fn config(&self, topic: &Topic, row: &ConfigRow) -> Value {
        let (name, config) = (&topic.name, row.name);
        let path = format!("/topics/{name}/configs/{config}");
        let source = match row.is_default {
            true => "DEFAULT_CONFIG",
            false => "DYNAMIC_TOPIC_CONFIG",
        };
        json!({
            "kind": "KafkaTopicConfig",
            "metadata": self.metadata(&path, &format!("/topic={name}/config={config}")),
            "cluster_id": self.cluster,
            "topic_name": name.as_str(),
            "name": config,
            "value": row.value,
            "is_default": row.is_default,
            "is_read_only": false,
            "is_sensitive": false,
            "source": source,
            "synonyms": [{ "name": config, "value": row.value, "source": source }],
        })
    }
}

/// As Kafka's protocol tells it.
pub(super) fn cluster_id(front: &Front) -> String {
    URL_SAFE_NO_PAD.encode(front.parts.admin.cluster().bytes())
}

pub(super) fn no_cluster(cluster: &str) -> V3Error {
    V3Error::new(
        StatusCode::NOT_FOUND,
        format!("Cluster {cluster} cannot be found."),
    )
}

fn json_answer(value: Value) -> Answer {
    Ok(Json(value).into_response())
}

/// Lists clusters: this one.
#[utoipa::path(get, path = "/clusters", tag = "confluent v3",
    responses((status = 200, description = "Clusters", body = V3List)))]
pub(crate) async fn clusters(State(front): State<Arc<Front>>, headers: HeaderMap) -> Answer {
    let here = Here::new(&front, &headers);
    json_answer(here.list("KafkaClusterList", "", vec![here.cluster()]))
}

/// Describes a cluster.
#[utoipa::path(get, path = "/clusters/{cluster_id}", tag = "confluent v3",
    params(("cluster_id" = String, Path)),
    responses((status = 200, description = "The cluster", body = V3Resource)))]
pub(crate) async fn cluster(
    State(front): State<Arc<Front>>,
    Path(cluster): Path<String>,
    headers: HeaderMap,
) -> Answer {
    json_answer(Here::of(&front, &headers, &cluster)?.cluster())
}

/// Lists topics.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics", tag = "confluent v3",
    params(("cluster_id" = String, Path)),
    responses((status = 200, description = "Topics", body = V3List)))]
pub(crate) async fn topics(
    State(front): State<Arc<Front>>,
    Path(cluster): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let here = Here::of(&front, &headers, &cluster)?;
    let topics = front
        .parts
        .admin
        .topics_current()
        .await
        .map_err(unavailable)?;
    let data = topics.iter().map(|topic| here.topic(topic)).collect();
    json_answer(here.list("KafkaTopicList", "/topics", data))
}

/// Creates a topic.
#[utoipa::path(post, path = "/clusters/{cluster_id}/topics", tag = "confluent v3",
    params(("cluster_id" = String, Path)),
    request_body = V3NewTopic,
    responses(
        (status = 201, description = "Created", body = V3Resource),
        (status = 200, description = "It would be (validate_only)", body = V3Resource),
    ))]
pub(crate) async fn create_topic(
    State(front): State<Arc<Front>>,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    body: WholeBody,
) -> Answer {
    let here = Here::of(&front, &headers, &cluster)?;
    let wanted: V3NewTopic = parse_json(&body.bytes)?;
    let partitions = NonZeroU32::new(wanted.partitions_count);
    let partitions = partitions.filter(|count| count.get() <= PARTITIONS_PER_TOPIC_MAX);
    let partition_count = partitions.ok_or_else(|| {
        let message = format!("partitions_count must be 1 to {PARTITIONS_PER_TOPIC_MAX}");
        V3Error::new(StatusCode::BAD_REQUEST, message)
    })?;
    let mut given = BTreeMap::new();
    for config in wanted.configs {
        if given.insert(config.name.clone(), config.value).is_some() {
            let message = format!("config {:?} is given twice", config.name);
            return Err(V3Error::new(StatusCode::BAD_REQUEST, message));
        }
    }
    if wanted.replication_factor == 0 {
        let message = "replication_factor must be at least 1";
        return Err(V3Error::new(StatusCode::BAD_REQUEST, message));
    }
    let request = CreateTopic {
        name: valid_name(&wanted.topic_name)?,
        partition_count,
        replication_factor: wanted.replication_factor,
        configs: valid_configs(given)?,
        validate_only: wanted.validate_only,
    };
    let created = front.parts.admin.create_topic(request).await;
    let topic = created.map_err(create_problem)?.topic;
    let status = match wanted.validate_only {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    Ok((status, Json(here.topic(&topic))).into_response())
}

/// Describes a topic.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}", tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    responses((status = 200, description = "The topic", body = V3Resource)))]
pub(crate) async fn topic(
    State(front): State<Arc<Front>>,
    Path((cluster, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let here = Here::of(&front, &headers, &cluster)?;
    json_answer(here.topic(&*find(&front.parts, &name).await?))
}

/// Deletes a topic.
#[utoipa::path(delete, path = "/clusters/{cluster_id}/topics/{topic_name}", tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete_topic(
    State(front): State<Arc<Front>>,
    Path((cluster, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    Here::of(&front, &headers, &cluster)?;
    let topic = TopicRef::Name(valid_name(&name)?);
    match front.parts.admin.delete_topic(topic).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(DeleteTopicError::Unknown) => Err(no_topic(&name).into()),
        Err(DeleteTopicError::Metadata(error)) => Err(unavailable(error).into()),
    }
}

fn no_topic(name: &str) -> Problem {
    Problem::new(
        ProblemKind::UnknownTopic,
        format!("there is no topic {name:?}"),
    )
}

/// Lists the partitions of a topic.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/partitions",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    responses((status = 200, description = "Partitions", body = V3List)))]
pub(crate) async fn partitions(
    State(front): State<Arc<Front>>,
    Path((cluster, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let here = Here::of(&front, &headers, &cluster)?;
    let topic = find(&front.parts, &name).await?;
    let all = (0..topic.partition_count.get()).filter_map(PartitionIndex::new);
    let data = all
        .map(|partition| here.partition(&topic, partition))
        .collect();
    let path = format!("/topics/{name}/partitions");
    json_answer(here.list("KafkaPartitionList", &path, data))
}

/// Describes a partition.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/partitions/{partition_id}",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path),
        ("partition_id" = u32, Path)),
    responses((status = 200, description = "The partition", body = V3Resource)))]
pub(crate) async fn partition(
    State(front): State<Arc<Front>>,
    Path((cluster, name, index)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let here = Here::of(&front, &headers, &cluster)?;
    let topic = find(&front.parts, &name).await?;
    let partition = crate::append::partition_of(&topic, &index)?;
    json_answer(here.partition(&topic, partition))
}

/// Lists the settings of a topic.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/configs",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    responses((status = 200, description = "Settings", body = V3List)))]
pub(crate) async fn configs(
    State(front): State<Arc<Front>>,
    Path((cluster, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let here = Here::of(&front, &headers, &cluster)?;
    let topic = find(&front.parts, &name).await?;
    let data = configs::rows(&topic)
        .map(|row| here.config(&topic, &row))
        .collect();
    let path = format!("/topics/{name}/configs");
    json_answer(here.list("KafkaTopicConfigList", &path, data))
}

/// One setting of a topic.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/configs/{config_name}",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path),
        ("config_name" = String, Path)),
    responses((status = 200, description = "The setting", body = V3Resource)))]
pub(crate) async fn config(
    State(front): State<Arc<Front>>,
    Path((cluster, name, config)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let here = Here::of(&front, &headers, &cluster)?;
    let topic = find(&front.parts, &name).await?;
    let row = configs::rows(&topic).find(|row| row.name == config);
    let row = row.ok_or_else(|| {
        let message = format!("Config {config} cannot be found.");
        V3Error::new(StatusCode::NOT_FOUND, message)
    })?;
    json_answer(here.config(&topic, &row))
}
