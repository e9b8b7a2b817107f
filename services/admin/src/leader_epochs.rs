//! OffsetForLeaderEpoch: where the log ends, for clients that check whether they were cut off.
//!
//! The leader epoch is one constant, and nothing is ever cut off: every epoch ends where the log
//! does.
//! That end is current (R1) and covers every acknowledgement given before the question; an older
//! one would look like lost records, and clients would read again or skip. So would -1, which is
//! why an epoch above ours (offsets that came from another cluster carry such) ends there too.

use std::cmp::Ordering;

use esker_kafka::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use esker_kafka::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use esker_kafka::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName as WireName,
};
use esker_metadata_api::{LogIndexError, TopicTable};
use esker_types::LeaderEpoch;
use futures::StreamExt as _;

use crate::catalogue::View;
use crate::error::EpochRefusal;
use crate::front::Front;
use crate::limits::PARTITIONS_PARALLEL;
use crate::offset_commit::resolve;
use crate::reply;

/// "None", of epochs and offsets.
const NO_EPOCH: i32 = -1;
const NO_OFFSET: i64 = -1;

pub(crate) async fn answer(
    front: &Front,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics;
    let view = front.catalogue.view(|table| holds(table, &topics)).await;
    let view = &view;
    let asked: Vec<(WireName, OffsetForLeaderPartition)> = topics
        .iter()
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(move |one| (topic.topic.clone(), one.clone()))
        })
        .collect();
    let one = |(name, partition): (WireName, OffsetForLeaderPartition)| async move {
        end_of(front, view, &name, &partition).await
    };
    let rows = futures::stream::iter(asked)
        .map(one)
        .buffered(PARTITIONS_PARALLEL);
    let mut rows = rows.collect::<Vec<_>>().await.into_iter();
    let one = |topic: &OffsetForLeaderTopic| {
        let partitions = rows.by_ref().take(topic.partitions.len());
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    };
    OffsetForLeaderEpochResponse::default().with_topics(topics.iter().map(one).collect())
}

fn holds(table: &TopicTable, topics: &[OffsetForLeaderTopic]) -> bool {
    topics.iter().all(|topic| {
        let mut partitions = topic.partitions.iter();
        partitions.all(|one| resolve(table, &topic.topic, one.partition).is_some())
    })
}

async fn end_of(
    front: &Front,
    view: &View,
    name: &str,
    partition: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let row = EpochEndOffset::default()
        .with_partition(partition.partition)
        .with_leader_epoch(NO_EPOCH)
        .with_end_offset(NO_OFFSET);
    match known_end(front, view, name, partition).await {
        Ok(Some(end)) => row
            .with_leader_epoch(LeaderEpoch::CONSTANT.to_wire())
            .with_end_offset(end),
        Ok(None) => row,
        Err(refusal) => row.with_error_code(reply::leader_epoch(refusal).code()),
    }
}

/// `None` for a client that has no epoch to ask about.
async fn known_end(
    front: &Front,
    view: &View,
    name: &str,
    partition: &OffsetForLeaderPartition,
) -> Result<Option<i64>, EpochRefusal> {
    let at = resolve(&view.table, name, partition.partition).ok_or_else(|| {
        view.gap(EpochRefusal::UnknownPartition, |error| {
            EpochRefusal::NotAnswered(LogIndexError::Metadata(error))
        })
    })?;
    let ours = LeaderEpoch::CONSTANT.to_wire();
    if partition.current_leader_epoch != NO_EPOCH {
        match partition.current_leader_epoch.cmp(&ours) {
            Ordering::Less => return Err(EpochRefusal::OlderLeader),
            Ordering::Greater => return Err(EpochRefusal::NewerLeader),
            Ordering::Equal => {}
        }
    }
    if partition.leader_epoch < 0 {
        return Ok(None);
    }
    let end = front.catalogue.log_end(at).await;
    end.map(|end| Some(end.to_wire()))
        .map_err(EpochRefusal::NotAnswered)
}
