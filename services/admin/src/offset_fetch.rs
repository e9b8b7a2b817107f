//! OffsetFetch: committed offsets of one group (to version 7) or several (from 8 on).
//!
//! "-1, nothing committed" makes a consumer start by its reset policy, so it is told only when the
//! name surely stands for the topic that was asked about (R1, CP12): a hit proves that by itself, a
//! miss is held against a current table. Nothing is ever pending, since there are no transactions:
//! `require_stable` holds of itself.

use std::collections::BTreeMap;

use esker_kafka::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use esker_kafka::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use esker_kafka::messages::{
    GroupId, OffsetFetchRequest, OffsetFetchResponse, StrBytes, TopicName as WireName,
};
use esker_metadata_api::{CommittedOffset, FetchOffsets, GroupReply, GroupRequest, TopicTable};
use esker_types::TopicPartition;
use futures::StreamExt as _;

use crate::catalogue::{Source, View};
use crate::error::GroupRefusal;
use crate::front::Front;
use crate::limits::OFFSET_GROUPS_PARALLEL;
use crate::membership::{text, wrong_answer};
use crate::offset_commit::resolve;
use crate::reply;

/// First version that asks for several groups.
const MANY_GROUPS_FROM: i16 = 8;
/// First version with an error of the whole answer; below it each partition carries it.
const GROUP_ERROR_FROM: i16 = 2;

/// Partitions of one topic, by name.
#[derive(Clone, Debug)]
struct Asked {
    topic: StrBytes,
    partitions: Vec<i32>,
}

/// What is stored for them.
#[derive(Debug)]
struct Answered {
    topic: StrBytes,
    partitions: Vec<(i32, Option<CommittedOffset>)>,
}

type Stored = BTreeMap<TopicPartition, CommittedOffset>;

pub(crate) async fn answer(
    front: &Front,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if version >= MANY_GROUPS_FROM {
        let groups = futures::stream::iter(request.groups).map(|group| one_of_many(front, group));
        let groups = groups.buffered(OFFSET_GROUPS_PARALLEL).collect().await;
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let one = |topic: OffsetFetchRequestTopic| Asked {
        topic: topic.name.0,
        partitions: topic.partition_indexes,
    };
    let asked: Option<Vec<Asked>> = request
        .topics
        .map(|topics| topics.into_iter().map(one).collect());
    match fetch(front, &request.group_id, asked.clone()).await {
        Ok(answered) => {
            let topics = answered
                .into_iter()
                .map(|topic| single(topic, reply::SUCCESS))
                .collect();
            OffsetFetchResponse::default().with_topics(topics)
        }
        Err(refusal) => {
            let code = reply::group(&refusal).code();
            let response = OffsetFetchResponse::default().with_error_code(code);
            if version >= GROUP_ERROR_FROM {
                return response;
            }
            let nothing = asked.unwrap_or_default().into_iter().map(Asked::unanswered);
            response.with_topics(nothing.map(|topic| single(topic, code)).collect())
        }
    }
}

async fn one_of_many(front: &Front, group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let one = |topic: OffsetFetchRequestTopics| Asked {
        topic: topic.name.0,
        partitions: topic.partition_indexes,
    };
    let asked = group
        .topics
        .map(|topics| topics.into_iter().map(one).collect());
    let fetched = fetch(front, &group.group_id, asked).await;
    let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
    match fetched {
        Ok(answered) => response.with_topics(answered.into_iter().map(many).collect()),
        Err(refusal) => response.with_error_code(reply::group(&refusal).code()),
    }
}

/// What the group has stored of `asked`, in that order; of everything when it is `None`.
async fn fetch(
    front: &Front,
    group: &GroupId,
    asked: Option<Vec<Asked>>,
) -> Result<Vec<Answered>, GroupRefusal> {
    match asked {
        Some(asked) => fetch_asked(front, group, asked).await,
        None => fetch_all(front, group).await,
    }
}

async fn fetch_asked(
    front: &Front,
    group: &GroupId,
    asked: Vec<Asked>,
) -> Result<Vec<Answered>, GroupRefusal> {
    let holds = |table: &TopicTable| asked.iter().all(|topic| topic.is_in(table));
    let view = front.catalogue.view(holds).await;
    if let Source::Unconfirmed(error) = view.source {
        return Err(GroupRefusal::NotAnswered(error));
    }
    let wanted = wanted(&view.table, &asked);
    let stored = stored(front, group, Some(wanted.clone())).await?;
    let is_complete = wanted
        .iter()
        .all(|partition| stored.contains_key(partition));
    if view.source == Source::Current || is_complete {
        return Ok(answered(&view.table, asked, &stored));
    }
    let current = front
        .catalogue
        .current()
        .await
        .map_err(GroupRefusal::NotAnswered)?;
    let now_wanted = self::wanted(&current, &asked);
    if now_wanted == wanted {
        return Ok(answered(&current, asked, &stored));
    }
    // A name stands for another incarnation than the cached table said.
    let stored = self::stored(front, group, Some(now_wanted)).await?;
    Ok(answered(&current, asked, &stored))
}

/// Topics that are gone are left out.
async fn fetch_all(front: &Front, group: &GroupId) -> Result<Vec<Answered>, GroupRefusal> {
    let stored = stored(front, group, None).await?;
    let holds = |table: &TopicTable| {
        stored
            .keys()
            .all(|partition| table.with_id(partition.topic).is_some())
    };
    let View { table, source } = front.catalogue.view(holds).await;
    if let Source::Unconfirmed(error) = source {
        return Err(GroupRefusal::NotAnswered(error));
    }
    let mut topics: BTreeMap<&str, Vec<(i32, Option<CommittedOffset>)>> = BTreeMap::new();
    for (partition, offset) in &stored {
        if let Some(topic) = table.with_id(partition.topic) {
            let partitions = topics.entry(topic.name.as_str()).or_default();
            partitions.push((partition.partition.to_wire(), Some(offset.clone())));
        }
    }
    let one = |(topic, partitions)| Answered {
        topic: text(topic),
        partitions,
    };
    Ok(topics.into_iter().map(one).collect())
}

/// What the coordinator has stored, current (R1).
async fn stored(
    front: &Front,
    group: &GroupId,
    partitions: Option<Vec<TopicPartition>>,
) -> Result<Stored, GroupRefusal> {
    let group = group.to_string();
    let call = GroupRequest::Fetch(FetchOffsets { group, partitions });
    match front.catalogue.group(call).await {
        Ok(GroupReply::Offsets(Ok(offsets))) => Ok(offsets.into_iter().collect()),
        Ok(GroupReply::Offsets(Err(error))) => Err(GroupRefusal::Refused(error)),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    }
}

/// The partitions asked for that exist.
fn wanted(table: &TopicTable, asked: &[Asked]) -> Vec<TopicPartition> {
    let of = |topic: &Asked| -> Vec<TopicPartition> {
        let found = topic
            .partitions
            .iter()
            .map(|index| resolve(table, &topic.topic, *index));
        found.flatten().collect()
    };
    asked.iter().flat_map(of).collect()
}

fn answered(table: &TopicTable, asked: Vec<Asked>, stored: &Stored) -> Vec<Answered> {
    let offset = |topic: &str, index: i32| {
        let partition = resolve(table, topic, index)?;
        stored.get(&partition).cloned()
    };
    let one = |asked: Asked| Answered {
        partitions: asked
            .partitions
            .iter()
            .map(|index| (*index, offset(&asked.topic, *index)))
            .collect(),
        topic: asked.topic,
    };
    asked.into_iter().map(one).collect()
}

impl Asked {
    fn is_in(&self, table: &TopicTable) -> bool {
        self.partitions
            .iter()
            .all(|index| resolve(table, &self.topic, *index).is_some())
    }

    /// All its partitions, with nothing known of them.
    fn unanswered(self) -> Answered {
        Answered {
            topic: self.topic,
            partitions: self
                .partitions
                .into_iter()
                .map(|index| (index, None))
                .collect(),
        }
    }
}

/// What is written of an offset: -1, -1 and an empty text where nothing is stored.
fn written(offset: Option<CommittedOffset>) -> (i64, i32, Option<StrBytes>) {
    match offset {
        Some(stored) => {
            let metadata = Some(StrBytes::from_string(stored.metadata));
            (stored.offset, stored.leader_epoch, metadata)
        }
        None => (-1, -1, Some(StrBytes::default())),
    }
}

fn single(topic: Answered, code: i16) -> OffsetFetchResponseTopic {
    let one = |(index, offset)| {
        let (offset, leader_epoch, metadata) = written(offset);
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(leader_epoch)
            .with_metadata(metadata)
            .with_error_code(code)
    };
    OffsetFetchResponseTopic::default()
        .with_name(WireName(topic.topic))
        .with_partitions(topic.partitions.into_iter().map(one).collect())
}

fn many(topic: Answered) -> OffsetFetchResponseTopics {
    let one = |(index, offset)| {
        let (offset, leader_epoch, metadata) = written(offset);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(leader_epoch)
            .with_metadata(metadata)
    };
    OffsetFetchResponseTopics::default()
        .with_name(WireName(topic.topic))
        .with_partitions(topic.partitions.into_iter().map(one).collect())
}
