//! DeleteRecords: the log of a partition begins later, durably before the answer.
//!
//! A topic that is only compacted loses none: whoever reads it from its beginning relies on that.

use esker_kafka::RequestContext;
use esker_kafka::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use esker_kafka::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use esker_kafka::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName as WireName};
use esker_metadata_api::configs::cleanup_policy;
use esker_metadata_api::{DeleteBefore, DeleteRecordsError, TopicTable};
use esker_types::{MonotonicTime, Offset};
use futures::StreamExt as _;

use crate::catalogue::View;
use crate::error::RecordsRefusal;
use crate::front::Front;
use crate::limits::PARTITIONS_PARALLEL;
use crate::offset_commit::resolve;
use crate::reply;

/// Stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// Low watermark of what failed.
const NONE: i64 = -1;

pub(crate) async fn answer(
    front: &Front,
    context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let deadline = front.deadline(context, request.timeout_ms);
    let topics = request.topics;
    let view = front.catalogue.view(|table| holds(table, &topics)).await;
    let view = &view;
    let asked: Vec<(WireName, DeleteRecordsPartition)> = topics
        .iter()
        .flat_map(|topic| {
            let rows = topic.partitions.iter();
            rows.map(move |row| (topic.name.clone(), row.clone()))
        })
        .collect();
    let one = |(name, partition): (WireName, DeleteRecordsPartition)| async move {
        delete(front, deadline, view, &name, &partition).await
    };
    let outcomes = futures::stream::iter(asked)
        .map(one)
        .buffered(PARTITIONS_PARALLEL);
    let outcomes: Vec<_> = outcomes.collect().await;
    response(&topics, outcomes)
}

fn holds(table: &TopicTable, topics: &[DeleteRecordsTopic]) -> bool {
    topics.iter().all(|topic| {
        let mut partitions = topic.partitions.iter();
        partitions.all(|one| resolve(table, &topic.name, one.partition_index).is_some())
    })
}

async fn delete(
    front: &Front,
    deadline: MonotonicTime,
    view: &View,
    name: &str,
    partition: &DeleteRecordsPartition,
) -> Result<Offset, RecordsRefusal> {
    let offset = partition.offset;
    let at = resolve(&view.table, name, partition.partition_index).ok_or_else(|| {
        view.gap(RecordsRefusal::UnknownPartition, |error| {
            RecordsRefusal::Refused(DeleteRecordsError::Metadata(error))
        })
    })?;
    let policy = view
        .table
        .with_id(at.topic)
        .map(|topic| cleanup_policy(topic));
    if policy.is_some_and(|policy| policy.compact && !policy.delete) {
        return Err(RecordsRefusal::Compacted);
    }
    let before = match (offset, Offset::from_wire(offset)) {
        (HIGH_WATERMARK, _) => DeleteBefore::HighWatermark,
        (_, Some(offset)) => DeleteBefore::Offset(offset),
        (_, None) => return Err(RecordsRefusal::NegativeOffset),
    };
    let deleted = front
        .catalogue
        .delete_records_by(deadline, at, before)
        .await;
    deleted.map_err(RecordsRefusal::Refused)
}

fn response(
    topics: &[DeleteRecordsTopic],
    outcomes: Vec<Result<Offset, RecordsRefusal>>,
) -> DeleteRecordsResponse {
    let mut outcomes = outcomes.into_iter();
    let one = |topic: &DeleteRecordsTopic| {
        let partitions = topic.partitions.iter().zip(outcomes.by_ref());
        let partitions = partitions.map(|(partition, outcome)| {
            let result = DeleteRecordsPartitionResult::default()
                .with_partition_index(partition.partition_index);
            match outcome {
                Ok(log_start) => result.with_low_watermark(log_start.to_wire()),
                Err(refusal) => result
                    .with_low_watermark(NONE)
                    .with_error_code(reply::records(refusal).code()),
            }
        });
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    };
    DeleteRecordsResponse::default().with_topics(topics.iter().map(one).collect())
}
