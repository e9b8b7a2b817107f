//! Topics of a client: metadata, create, delete.

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::error::check;
use super::{Broker, Client, ClientError, Target};
use crate::limits::CLIENT_IDLE_SOCKETS_MAX;

/// Last version of DeleteTopics that names topics plainly.
const DELETE_BY_NAME_VERSION_MAX: i16 = 5;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number of partitions; `None` is the cluster's default.
    pub partitions: Option<i32>,
    /// Its replication factor; `None` is the cluster's default.
    pub replication_factor: Option<i16>,
    /// Its configs, by name.
    pub configs: &'a [(&'a str, &'a str)],
}

/// A topic that was created. Brokers before Kafka 2.4 leave the numbers at -1 and the id nil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub topic_id: Uuid,
    /// Its number of partitions.
    pub partitions: i32,
    /// Its replication factor.
    pub replication_factor: i16,
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Client {
    /// Asks for `topics` (`None` = all, empty = only the brokers), without creating any, and
    /// remembers brokers and leaders. Errors of single topics stand in the response.
    ///
    /// # Errors
    /// As [`Self::request_at_most`].
    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<MetadataResponse, ClientError> {
        let named =
            |name: &&str| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
        let topics = topics.map(|topics| topics.iter().map(named).collect());
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false);
        let mut outcome = self.request(Target::Any, &request).await;
        for _ in 0..CLIENT_IDLE_SOCKETS_MAX {
            // A kept connection may have died unnoticed; asking again has no other effect.
            if !matches!(outcome, Err(ClientError::Closed { .. })) {
                break;
            }
            outcome = self.request(Target::Any, &request).await;
        }
        let response = outcome?;
        check(ApiKey::Metadata, response.error_code, None)?;
        self.with_cluster(|cluster| cluster.learn(&response));
        Ok(response)
    }

    /// The brokers of the last Metadata response, by node id.
    #[must_use]
    pub fn brokers(&self) -> Vec<Broker> {
        self.with_cluster(|cluster| cluster.brokers())
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the cluster's refusal, or as [`Self::request_at_most`].
    pub async fn create_topic(&self, topic: &NewTopic<'_>) -> Result<CreatedTopic, ClientError> {
        let api = ApiKey::CreateTopics;
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        };
        let creatable = CreatableTopic::default()
            .with_name(TopicName(text(topic.name)))
            .with_num_partitions(topic.partitions.unwrap_or(-1))
            .with_replication_factor(topic.replication_factor.unwrap_or(-1))
            .with_configs(topic.configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable])
            .with_timeout_ms(30_000);
        let response = self
            .retrying(None, ClientError::is_surely_undone, || async {
                let controller = self.with_cluster(|cluster| cluster.controller());
                self.request(controller, &request).await
            })
            .await?;
        let created = response
            .topics
            .first()
            .ok_or(ClientError::Incomplete { api })?;
        check(api, created.error_code, created.error_message.as_ref())?;
        Ok(CreatedTopic {
            topic_id: created.topic_id,
            partitions: created.num_partitions,
            replication_factor: created.replication_factor,
        })
    }

    /// Deletes a topic by its name.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the cluster's refusal, or as [`Self::request_at_most`].
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let api = ApiKey::DeleteTopics;
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![TopicName(text(name))])
            .with_timeout_ms(30_000);
        let response = self
            .retrying(None, ClientError::is_surely_undone, || async {
                let controller = self.with_cluster(|cluster| cluster.controller());
                self.request_at_most(controller, &request, DELETE_BY_NAME_VERSION_MAX)
                    .await
            })
            .await?;
        let deleted = response
            .responses
            .first()
            .ok_or(ClientError::Incomplete { api })?;
        check(api, deleted.error_code, deleted.error_message.as_ref())?;
        self.with_cluster(|cluster| cluster.forget(name));
        Ok(())
    }

    /// Who leads the partition; asks the cluster when it is not known.
    pub(super) async fn leader(&self, topic: &str, partition: i32) -> Result<Target, ClientError> {
        if let Some(leader) = self.with_cluster(|cluster| cluster.leader(topic, partition)) {
            return Ok(leader);
        }
        let api = ApiKey::Metadata;
        let response = self.metadata(Some(&[topic])).await?;
        let found = response
            .topics
            .first()
            .ok_or(ClientError::Incomplete { api })?;
        check(api, found.error_code, None)?;
        let mut partitions = found.partitions.iter();
        let listed = partitions.find(|listed| listed.partition_index == partition);
        let unknown = crate::KafkaError::UnknownTopicOrPartition.code();
        check(
            api,
            listed.map_or(unknown, |listed| listed.error_code),
            None,
        )?;
        let leader = self.with_cluster(|cluster| cluster.leader(topic, partition));
        leader.ok_or(ClientError::Kafka {
            api,
            error: crate::KafkaError::LeaderNotAvailable,
            message: None,
        })
    }
}
