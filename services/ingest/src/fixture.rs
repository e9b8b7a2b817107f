//! Batches for the tests of this crate's pure parts.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_metadata_api::{ProducerSpan, ReservationSummary};
use esker_record::{BatchBuilder, Compression, NewRecord};
use esker_types::{
    ChainIndex, MonotonicTime, PartitionIndex, ProducerEpoch, ProducerId, SegmentId, SessionId,
    Timestamp, TopicId, TopicPartition,
};
use futures::FutureExt as _;
use tokio::sync::oneshot;

use crate::batch::{AdmittedBatch, BatchBody};
use crate::metrics::Metrics;
use crate::pool::BytePool;
use crate::slots::{Outcome, ReplySlot, SlotTimes};

pub(crate) const SESSION: SessionId = SessionId::from_bytes([9; 16]);

pub(crate) fn at(seconds: u64) -> MonotonicTime {
    MonotonicTime::from_start(Duration::from_secs(seconds))
}

pub(crate) fn segment(index: u64) -> SegmentId {
    SegmentId {
        session: SESSION,
        index: ChainIndex::new(index),
    }
}

pub(crate) fn partition(index: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([7; 16]),
        partition: PartitionIndex::new(index).unwrap(),
    }
}

/// What a test wants of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) partition: u32,
    pub(crate) producer: Option<i64>,
    /// Base sequence, or a number of the test's own: the timestamp of the one record.
    pub(crate) number: i32,
    /// In seconds.
    pub(crate) deadline: u64,
    pub(crate) connection: Option<u64>,
}

pub(crate) fn wanted(number: i32) -> Wanted {
    Wanted {
        partition: 0,
        producer: None,
        number,
        deadline: 1000,
        connection: Some(1),
    }
}

pub(crate) fn sequenced(number: i32) -> Wanted {
    Wanted {
        producer: Some(5),
        ..wanted(number)
    }
}

/// A real batch of one record, and where its answer arrives.
pub(crate) fn batch(wanted: Wanted) -> (AdmittedBatch, oneshot::Receiver<Outcome>) {
    let timestamp = Timestamp::from_millis(i64::from(wanted.number));
    let mut builder = BatchBuilder::new(Compression::None);
    let span = wanted.producer.map(|id| ProducerSpan {
        producer_id: ProducerId::from_wire(id).unwrap(),
        producer_epoch: ProducerEpoch::default(),
        base_sequence: wanted.number,
    });
    if let Some(span) = span {
        builder = builder.producer(span.producer_id, span.producer_epoch, span.base_sequence);
    }
    let record = NewRecord {
        timestamp,
        value: Some(Bytes::from_static(b"value")),
        ..NewRecord::default()
    };
    builder.push(&record).unwrap();
    let bytes = builder.build().unwrap();
    let times = SlotTimes {
        received: at(0),
        deadline: at(wanted.deadline),
        log_append_time: None,
    };
    let (slot, outcome) = ReplySlot::new(times, Arc::new(Metrics::default()));
    let body = BatchBody {
        summary: ReservationSummary {
            topic_partition: partition(wanted.partition),
            record_count: NonZeroU32::MIN.get(),
            batch_bytes: u32::try_from(bytes.len()).unwrap(),
            max_timestamp: timestamp,
            producer: span,
            transactional: false,
            expected_end: None,
        },
        bytes,
        connection: wanted.connection,
        deferrals: 0,
        _permit: BytePool::new(1, Arc::default())
            .take(1)
            .now_or_never()
            .unwrap(),
    };
    (AdmittedBatch { body, slot }, outcome)
}

/// Several batches whose answers nobody reads.
pub(crate) fn batches(wanted: impl IntoIterator<Item = Wanted>) -> Vec<AdmittedBatch> {
    wanted.into_iter().map(|wanted| batch(wanted).0).collect()
}

/// Which batches these are, by the test's own numbers.
pub(crate) fn numbers<'a>(batches: impl IntoIterator<Item = &'a AdmittedBatch>) -> Vec<i64> {
    let timestamp = |batch: &AdmittedBatch| batch.body.summary.max_timestamp.millis();
    batches.into_iter().map(timestamp).collect()
}
