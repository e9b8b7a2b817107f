//! Groups of a client: the coordinator, committed offsets of a simple consumer, lists.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    ApiKey, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::error::check;
use super::topics::text;
use super::{Client, ClientError, Target};

/// Last version of FindCoordinator that asks for one key.
const FIND_ONE_VERSION_MAX: i16 = 3;
/// Last version of OffsetFetch that asks for one group.
const FETCH_ONE_VERSION_MAX: i16 = 7;

/// An offset that a group shall go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetToCommit<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
}

/// An offset that a group goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic's name.
    pub topic: StrBytes,
    /// The partition.
    pub partition: i32,
    /// The next offset to read; `None` when nothing was committed.
    pub offset: Option<i64>,
}

/// Partitions by topic, each topic once, as brokers want it; both in the order of their names and
/// of the question.
fn by_topic<'a, P>(
    partitions: impl Iterator<Item = (&'a str, P)>,
) -> impl Iterator<Item = (TopicName, Vec<P>)> {
    let mut topics: BTreeMap<&str, Vec<P>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    let topics = topics.into_iter();
    topics.map(|(topic, partitions)| (TopicName(text(topic)), partitions))
}

impl Client {
    /// The broker that coordinates `group`.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] when the cluster names none, or as [`Self::request_at_most`].
    pub async fn find_coordinator(&self, group: &str) -> Result<Target, ClientError> {
        let request = FindCoordinatorRequest::default().with_key(text(group));
        self.retrying(None, ClientError::is_retriable, || async {
            let asked = self.request_at_most(Target::Any, &request, FIND_ONE_VERSION_MAX);
            let response = asked.await?;
            let message = response.error_message.as_ref();
            check(ApiKey::FindCoordinator, response.error_code, message)?;
            let node = response.node_id.0;
            self.with_cluster(|cluster| cluster.add(node, &response.host, response.port));
            Ok(Target::Node(node))
        })
        .await
    }

    /// Commits offsets of a group without members (a simple consumer).
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the first partition's refusal, or as [`Self::request_at_most`].
    pub async fn offset_commit(
        &self,
        group: &str,
        offsets: &[OffsetToCommit<'_>],
    ) -> Result<(), ClientError> {
        let partitions = offsets.iter().map(|offset| {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(offset.partition)
                .with_committed_offset(offset.offset)
                .with_committed_metadata(Some(StrBytes::new()));
            (offset.topic, partition)
        });
        let topics = by_topic(partitions).map(|(name, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(topics.collect());
        self.retrying(None, ClientError::is_retriable, || async {
            let coordinator = self.find_coordinator(group).await?;
            let response = self.request(coordinator, &request).await?;
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            for partition in partitions {
                check(ApiKey::OffsetCommit, partition.error_code, None)?;
            }
            Ok(())
        })
        .await
    }

    /// Committed offsets of a group: of the given partitions, or of all it has (`None`).
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the group's or first partition's error, or as
    /// [`Self::request_at_most`].
    pub async fn offset_fetch(
        &self,
        group: &str,
        partitions: Option<&[(&str, i32)]>,
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions.iter().copied());
            let topics = topics.map(|(name, partitions)| {
                OffsetFetchRequestTopic::default()
                    .with_name(name)
                    .with_partition_indexes(partitions)
            });
            topics.collect()
        });
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(topics);
        self.retrying(None, ClientError::is_retriable, || async {
            let api = ApiKey::OffsetFetch;
            let coordinator = self.find_coordinator(group).await?;
            let asked = self.request_at_most(coordinator, &request, FETCH_ONE_VERSION_MAX);
            let response = asked.await?;
            check(api, response.error_code, None)?;
            let mut committed = Vec::new();
            for topic in &response.topics {
                for partition in &topic.partitions {
                    check(api, partition.error_code, None)?;
                    committed.push(CommittedOffset {
                        topic: topic.name.0.clone(),
                        partition: partition.partition_index,
                        offset: Some(partition.committed_offset).filter(|offset| *offset >= 0),
                    });
                }
            }
            Ok(committed)
        })
        .await
    }

    /// Groups of all brokers, by name; each broker lists those that it coordinates.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with a broker's refusal, or as [`Self::request_at_most`].
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, ClientError> {
        self.metadata(Some(&[])).await?;
        let mut groups: Vec<ListedGroup> = Vec::new();
        for broker in self.brokers() {
            let request = ListGroupsRequest::default();
            let response = self.request(Target::Node(broker.node), &request).await?;
            check(ApiKey::ListGroups, response.error_code, None)?;
            groups.extend(response.groups);
        }
        groups.sort_by(|left, right| left.group_id.cmp(&right.group_id));
        groups.dedup_by(|left, right| left.group_id == right.group_id);
        Ok(groups)
    }

    /// One group with its members. A group that does not exist is described as `Dead` by older
    /// brokers and refused with `GROUP_ID_NOT_FOUND` by newer ones.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the group's error, or as [`Self::request_at_most`].
    pub async fn describe_group(&self, group: &str) -> Result<DescribedGroup, ClientError> {
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
        self.retrying(None, ClientError::is_retriable, || async {
            let api = ApiKey::DescribeGroups;
            let coordinator = self.find_coordinator(group).await?;
            let response = self.request(coordinator, &request).await?;
            let described = response.groups.into_iter().next();
            let described = described.ok_or(ClientError::Incomplete { api })?;
            check(api, described.error_code, described.error_message.as_ref())?;
            Ok(described)
        })
        .await
    }

    /// Deletes committed offsets of a group (OffsetDelete, since Kafka 2.4).
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] by an older broker; [`ClientError::Kafka`] with the group's or
    /// first partition's refusal, `GROUP_SUBSCRIBED_TO_TOPIC` while members read the topic; else
    /// as [`Self::request_at_most`].
    pub async fn offset_delete(
        &self,
        group: &str,
        partitions: &[(&str, i32)],
    ) -> Result<(), ClientError> {
        let api = ApiKey::OffsetDelete;
        let partitions = partitions.iter().map(|(topic, partition)| {
            let partition =
                OffsetDeleteRequestPartition::default().with_partition_index(*partition);
            (*topic, partition)
        });
        let topics = by_topic(partitions).map(|(name, partitions)| {
            OffsetDeleteRequestTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = OffsetDeleteRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(topics.collect());
        self.retrying(None, ClientError::is_retriable, || async {
            let coordinator = self.find_coordinator(group).await?;
            let response = self.request(coordinator, &request).await?;
            check(api, response.error_code, None)?;
            let mut deleted = response.topics.iter().flat_map(|topic| &topic.partitions);
            deleted.try_for_each(|partition| check(api, partition.error_code, None))
        })
        .await
    }

    /// Deletes a group without members, with everything it has committed (DeleteGroups, since
    /// Kafka 1.1).
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] by an older broker; [`ClientError::Kafka`] with the refusal,
    /// `NON_EMPTY_GROUP` while it has members; else as [`Self::request_at_most`].
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let api = ApiKey::DeleteGroups;
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]);
        self.retrying(None, ClientError::is_surely_undone, || async {
            let coordinator = self.find_coordinator(group).await?;
            let response = self.request(coordinator, &request).await?;
            let result = response.results.first();
            let result = result.ok_or(ClientError::Incomplete { api })?;
            check(api, result.error_code, None)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_named_once_with_all_of_its_partitions() {
        let partitions = [("b", 1), ("a", 0), ("b", 0), ("a", 2)];

        let topics: Vec<_> = by_topic(partitions.into_iter()).collect();

        let topic = |name: &str, partitions: Vec<i32>| (TopicName(text(name)), partitions);
        assert_eq!(topics, [topic("a", vec![0, 2]), topic("b", vec![1, 0])]);
    }
}
