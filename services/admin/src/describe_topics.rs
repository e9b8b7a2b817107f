//! DescribeTopicPartitions: topics by name, a bounded number of partitions at a time.
//!
//! The next answer begins where the cursor of this one points. An empty list of topics asks for
//! all; then topics that are gone meanwhile are left out instead of refused.

use std::collections::BTreeSet;

use esker_kafka::messages::describe_topic_partitions_request::{
    Cursor as AskedCursor, DescribeTopicPartitionsRequest,
};
use esker_kafka::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use esker_kafka::messages::{StrBytes, TopicName as WireName};
use esker_metadata_api::{Topic, TopicName, TopicTable};
use esker_types::{LeaderEpoch, PartitionIndex};
use uuid::Uuid;

use crate::catalogue::View;
use crate::error::TopicRefusal;
use crate::front::Front;
use crate::limits::DESCRIBED_PARTITIONS_MAX;
use crate::operations::Wanted;
use crate::placement;
use crate::reply;

/// Where an answer begins.
struct Start {
    topic: StrBytes,
    partition: u32,
}

pub(crate) async fn answer(
    front: &Front,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let names: BTreeSet<StrBytes> = request
        .topics
        .iter()
        .map(|topic| topic.name.0.clone())
        .collect();
    let Some(start) = start(request.cursor, &names) else {
        let refuse = |name| refused(name, &TopicRefusal::InvalidCursor);
        return DescribeTopicPartitionsResponse::default()
            .with_topics(names.into_iter().map(refuse).collect());
    };
    let holds = |table: &TopicTable| names.iter().all(|name| is_settled(table, name));
    let view = front.catalogue.view(holds).await;
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page {
        front,
        left: limit.clamp(1, DESCRIBED_PARTITIONS_MAX),
        response: DescribeTopicPartitionsResponse::default().with_next_cursor(None),
    };
    if names.is_empty() {
        page.add_all(&view.table, &start);
    } else {
        page.add_named(&view, names, &start);
    }
    page.response
}

/// `None` when the cursor points nowhere.
fn start(cursor: Option<AskedCursor>, names: &BTreeSet<StrBytes>) -> Option<Start> {
    let Some(cursor) = cursor else {
        let topic = StrBytes::default();
        return Some(Start {
            topic,
            partition: 0,
        });
    };
    let partition = u32::try_from(cursor.partition_index).ok()?;
    let topic = cursor.topic_name.0;
    let asked = names.is_empty() || names.contains(&topic);
    asked.then_some(Start { topic, partition })
}

/// Whether no other table can change what is said of it.
fn is_settled(table: &TopicTable, name: &str) -> bool {
    table.named(name).is_some() || TopicName::new(name).is_err()
}

/// Whether there is room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Left,
    Full,
}

struct Page<'a> {
    front: &'a Front,
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    fn add_all(&mut self, table: &TopicTable, start: &Start) {
        for topic in table.iter() {
            let is_before = topic.name.as_str() < start.topic.as_str();
            if !is_before && self.add(topic, start) == Room::Full {
                return;
            }
        }
    }

    fn add_named(&mut self, view: &View, names: BTreeSet<StrBytes>, start: &Start) {
        for name in names.into_iter().filter(|name| *name >= start.topic) {
            let added = match view.table.named(&name) {
                Some(topic) => self.add(topic, start),
                None => {
                    let refusal = match TopicName::new(&name) {
                        Err(error) => TopicRefusal::InvalidName(error),
                        Ok(_) => view.gap(TopicRefusal::UnknownName, TopicRefusal::NotAnswered),
                    };
                    self.response.topics.push(refused(name, &refusal));
                    Room::Left
                }
            };
            if added == Room::Full {
                return;
            }
        }
    }

    /// Adds what fits of a topic; when something does not, the cursor points at it.
    fn add(&mut self, topic: &Topic, start: &Start) -> Room {
        let is_first = topic.name.as_str() == start.topic.as_str();
        let from = if is_first { start.partition } else { 0 };
        let indexes = (from..topic.partition_count.get()).filter_map(PartitionIndex::new);
        let mut partitions = Vec::new();
        for partition in indexes {
            if self.left == 0 {
                let cursor = Cursor::default()
                    .with_topic_name(wire_name(topic))
                    .with_partition_index(partition.to_wire());
                self.response.next_cursor = Some(cursor);
                break;
            }
            self.left -= 1;
            partitions.push(described(self.front, topic, partition));
        }
        let room = match self.response.next_cursor {
            Some(_) => Room::Full,
            None => Room::Left,
        };
        // A topic of which nothing fitted comes whole with the next answer.
        if room == Room::Left || !partitions.is_empty() {
            self.response.topics.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_name(Some(wire_name(topic)))
                    .with_topic_id(Uuid::from_bytes(topic.id.bytes()))
                    .with_partitions(partitions)
                    .with_topic_authorized_operations(Wanted::Yes.topic()),
            );
        }
        room
    }
}

fn wire_name(topic: &Topic) -> WireName {
    WireName(StrBytes::from_string(topic.name.to_string()))
}

fn described(
    front: &Front,
    topic: &Topic,
    partition: PartitionIndex,
) -> DescribeTopicPartitionsResponsePartition {
    let replicas = front
        .brokers
        .replicas(topic.id, partition, topic.replication_factor);
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(partition.to_wire())
        .with_leader_id(
            replicas
                .first()
                .copied()
                .unwrap_or(placement::id(front.brokers.here())),
        )
        .with_leader_epoch(LeaderEpoch::CONSTANT.to_wire())
        .with_isr_nodes(replicas.clone())
        .with_replica_nodes(replicas)
        // Kafka's admin client reads both lists without looking for null.
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}

fn refused(name: StrBytes, refusal: &TopicRefusal) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(reply::topic(refusal).code())
        .with_name(Some(WireName(name)))
        .with_topic_authorized_operations(Wanted::No.topic())
}
