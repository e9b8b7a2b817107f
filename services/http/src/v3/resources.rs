//! Clusters, topics, partitions and settings, in the shapes of Confluent's REST API.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use esker_metadata_api::{CreateTopic, Topic};
use esker_types::PartitionIndex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::error::V3Error;
use crate::body::{Object, WholeBody, parse_json};
use crate::configs::{self, ConfigRow};
use crate::front::Front;
use crate::path::{named, partition_of};
use crate::topics::{find, make, one, remove, unavailable, valid_configs, valid_count, valid_name};

type Answer = Result<Response, V3Error>;

/// A 16-bit signed number on Kafka's wire.
const REPLICAS_MAX: u16 = i16::MAX.unsigned_abs();

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
    #[schema(value_type = Vec<V3NewConfig>)]
    configs: Vec<Object<V3NewConfig>>,
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

fn one_copy() -> u16 {
    1
}

/// The cluster, and where this API is for the client.
#[derive(Debug)]
pub(crate) struct Here {
    pub(super) cluster: String,
    base: String,
}

/// The same, and the topic that the path names.
#[derive(Debug)]
pub(crate) struct V3Topic {
    pub(super) here: Here,
    pub(super) topic: Arc<Topic>,
}

#[derive(Debug, Deserialize)]
struct ClusterName {
    cluster_id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TopicName {
    topic_name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PartitionName {
    partition_id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConfigName {
    config_name: String,
}

/// The cluster that the path names must be ours.
impl FromRequestParts<Arc<Front>> for Here {
    type Rejection = V3Error;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, V3Error> {
        let ClusterName { cluster_id } = named(parts, front).await?;
        let here = Self::new(front, &parts.headers);
        if here.cluster != cluster_id {
            let message = format!("Cluster {cluster_id} cannot be found.");
            return Err(V3Error::new(StatusCode::NOT_FOUND, message));
        }
        Ok(here)
    }
}

impl FromRequestParts<Arc<Front>> for V3Topic {
    type Rejection = V3Error;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, V3Error> {
        let here = Here::from_request_parts(parts, front).await?;
        let TopicName { topic_name } = named(parts, front).await?;
        let topic = find(&front.parts, &topic_name).await?;
        Ok(Self { here, topic })
    }
}

impl Here {
    fn new(front: &Front, headers: &HeaderMap) -> Self {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        Self {
            // As Kafka's protocol tells it.
            cluster: URL_SAFE_NO_PAD.encode(front.parts.admin.cluster().bytes()),
            base: format!("http://{}/v3/clusters", host.unwrap_or("localhost")),
        }
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
pub(crate) async fn cluster(here: Here) -> Answer {
    json_answer(here.cluster())
}

/// Lists topics.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics", tag = "confluent v3",
    params(("cluster_id" = String, Path)),
    responses((status = 200, description = "Topics", body = V3List)))]
pub(crate) async fn topics(State(front): State<Arc<Front>>, here: Here) -> Answer {
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
    here: Here,
    body: WholeBody,
) -> Answer {
    let wanted: V3NewTopic = parse_json(&body.bytes)?;
    let mut given = BTreeMap::new();
    for Object(config) in wanted.configs {
        if given.insert(config.name.clone(), config.value).is_some() {
            let message = format!("config {:?} is given twice", config.name);
            return Err(V3Error::new(StatusCode::BAD_REQUEST, message));
        }
    }
    if !(1..=REPLICAS_MAX).contains(&wanted.replication_factor) {
        let message = format!("replication_factor must be 1 to {REPLICAS_MAX}");
        return Err(V3Error::new(StatusCode::BAD_REQUEST, message));
    }
    let request = CreateTopic {
        name: valid_name(&wanted.topic_name)?,
        partition_count: valid_count("partitions_count", wanted.partitions_count)?,
        replication_factor: wanted.replication_factor,
        configs: valid_configs(given)?,
        validate_only: wanted.validate_only,
    };
    let topic = make(&front.parts, request).await?;
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
pub(crate) async fn topic(V3Topic { here, topic }: V3Topic) -> Answer {
    json_answer(here.topic(&topic))
}

/// Deletes a topic.
#[utoipa::path(delete, path = "/clusters/{cluster_id}/topics/{topic_name}", tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete_topic(
    State(front): State<Arc<Front>>,
    _: Here,
    Path(TopicName { topic_name }): Path<TopicName>,
) -> Result<StatusCode, V3Error> {
    remove(&front.parts, &topic_name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the partitions of a topic.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/partitions",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    responses((status = 200, description = "Partitions", body = V3List)))]
pub(crate) async fn partitions(V3Topic { here, topic }: V3Topic) -> Answer {
    let all = (0..topic.partition_count.get()).filter_map(PartitionIndex::new);
    let data = all
        .map(|partition| here.partition(&topic, partition))
        .collect();
    let path = format!("/topics/{}/partitions", topic.name);
    json_answer(here.list("KafkaPartitionList", &path, data))
}

/// Describes a partition.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/partitions/{partition_id}",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path),
        ("partition_id" = u32, Path)),
    responses((status = 200, description = "The partition", body = V3Resource)))]
pub(crate) async fn partition(
    V3Topic { here, topic }: V3Topic,
    Path(PartitionName { partition_id }): Path<PartitionName>,
) -> Answer {
    let partition = partition_of(&topic, &partition_id)?;
    json_answer(here.partition(&topic, partition))
}

/// Lists the settings of a topic.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/configs",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path)),
    responses((status = 200, description = "Settings", body = V3List)))]
pub(crate) async fn configs(V3Topic { here, topic }: V3Topic) -> Answer {
    let data = configs::rows(&topic)
        .map(|row| here.config(&topic, &row))
        .collect();
    let path = format!("/topics/{}/configs", topic.name);
    json_answer(here.list("KafkaTopicConfigList", &path, data))
}

/// One setting of a topic.
#[utoipa::path(get, path = "/clusters/{cluster_id}/topics/{topic_name}/configs/{config_name}",
    tag = "confluent v3",
    params(("cluster_id" = String, Path), ("topic_name" = String, Path),
        ("config_name" = String, Path)),
    responses((status = 200, description = "The setting", body = V3Resource)))]
pub(crate) async fn config(
    V3Topic { here, topic }: V3Topic,
    Path(ConfigName { config_name }): Path<ConfigName>,
) -> Answer {
    let row = configs::rows(&topic).find(|row| row.name == config_name);
    let row = row.ok_or_else(|| {
        let message = format!("Config {config_name} cannot be found.");
        V3Error::new(StatusCode::NOT_FOUND, message)
    })?;
    json_answer(here.config(&topic, &row))
}
