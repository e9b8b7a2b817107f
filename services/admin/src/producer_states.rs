//! DescribeProducers: who writes to a partition, as the sequencer remembers it.
//!
//! The last five committed batches of a producer are remembered, so its epoch, sequence and time
//! are known; there are no transactions, so none is open. Current (R1): what was acknowledged
//! before the question is in the answer.

use std::sync::atomic::{AtomicBool, Ordering};

use esker_kafka::messages::describe_producers_request::TopicRequest;
use esker_kafka::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use esker_kafka::messages::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerId as WireProducerId,
    TopicName as WireName,
};
use esker_metadata_api::{ActiveProducer, TopicTable};
use futures::StreamExt as _;

use crate::catalogue::View;
use crate::error::ProducersRefusal;
use crate::front::Front;
use crate::limits::{DESCRIBED_PRODUCERS_MAX, PARTITIONS_PARALLEL};
use crate::offset_commit::resolve;
use crate::reply;

/// "None", of timestamps, coordinator epochs and offsets.
const NONE: i64 = -1;
const NO_COORDINATOR_EPOCH: i32 = -1;

pub(crate) async fn answer(
    front: &Front,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics;
    let view = front.catalogue.view(|table| holds(table, &topics)).await;
    let view = &view;
    let asked = topics.iter().flat_map(|topic| {
        let indexes = topic.partition_indexes.iter();
        indexes.map(|index| (topic.name.clone(), *index))
    });
    let asked: Vec<(WireName, i32)> = asked.collect();
    let is_spent = AtomicBool::new(false);
    let is_spent = &is_spent;
    let one = |(name, index): (WireName, i32)| async move {
        // The leader is not asked for what the answer has no room for.
        let known = match is_spent.load(Ordering::Relaxed) {
            true => Err(ProducersRefusal::TooMany),
            false => known(front, view, &name, index).await,
        };
        (index, known)
    };
    let outcomes = futures::stream::iter(asked)
        .map(one)
        .buffered(PARTITIONS_PARALLEL);
    let mut left = DESCRIBED_PRODUCERS_MAX;
    let rows = outcomes.map(|(index, producers)| {
        let producers = match is_spent.load(Ordering::Relaxed) {
            true => Err(ProducersRefusal::TooMany),
            false => bounded(producers, &mut left),
        };
        if matches!(producers, Err(ProducersRefusal::TooMany)) {
            is_spent.store(true, Ordering::Relaxed);
        }
        row(index, producers)
    });
    let mut rows = rows.collect::<Vec<_>>().await.into_iter();
    let one = |topic: TopicRequest| {
        let partitions = rows.by_ref().take(topic.partition_indexes.len());
        TopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    };
    DescribeProducersResponse::default().with_topics(topics.into_iter().map(one).collect())
}

fn holds(table: &TopicTable, topics: &[TopicRequest]) -> bool {
    topics.iter().all(|topic| {
        let mut indexes = topic.partition_indexes.iter();
        indexes.all(|index| resolve(table, &topic.name, *index).is_some())
    })
}

async fn known(
    front: &Front,
    view: &View,
    name: &str,
    index: i32,
) -> Result<Vec<ActiveProducer>, ProducersRefusal> {
    let found = resolve(&view.table, name, index);
    let found = found.ok_or_else(|| {
        view.gap(
            ProducersRefusal::UnknownPartition,
            ProducersRefusal::NotConfirmed,
        )
    });
    let producers = front.catalogue.producers(found?).await;
    producers.map_err(ProducersRefusal::NotAnswered)
}

/// The first partitions whose producers fit one answer; those behind the first that does not are
/// refused.
fn bounded(
    producers: Result<Vec<ActiveProducer>, ProducersRefusal>,
    left: &mut usize,
) -> Result<Vec<ActiveProducer>, ProducersRefusal> {
    let producers = producers?;
    let after = left.checked_sub(producers.len());
    *left = after.ok_or(ProducersRefusal::TooMany)?;
    Ok(producers)
}

fn row(index: i32, producers: Result<Vec<ActiveProducer>, ProducersRefusal>) -> PartitionResponse {
    let row = PartitionResponse::default().with_partition_index(index);
    match producers {
        Ok(producers) => row
            .with_error_message(None)
            .with_active_producers(producers.iter().map(state).collect()),
        Err(refusal) => row
            .with_error_code(reply::producers(refusal).code())
            .with_error_message(Some(reply::words(&refusal))),
    }
}

fn state(producer: &ActiveProducer) -> ProducerState {
    let last = producer.last_timestamp;
    ProducerState::default()
        .with_producer_id(WireProducerId(producer.producer_id.to_wire()))
        .with_producer_epoch(i32::from(producer.producer_epoch.to_wire()))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(last.map_or(NONE, |last| last.millis()))
        .with_coordinator_epoch(NO_COORDINATOR_EPOCH)
        .with_current_txn_start_offset(NONE)
}
