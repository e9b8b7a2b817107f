//! A batch on its way: made by admission, gathered by the batcher, answered through its slot.

use std::sync::Arc;

use bytes::Bytes;
use esker_metadata_api::ReservationSummary;
use esker_types::{Offset, ProducerId, TopicPartition};

use crate::pool::PoolPermit;
use crate::slots::ReplySlot;

/// Batches that must keep their order: those of one producer in one partition, and those without
/// a producer id in one partition (I12, CP8). Conditional appends wait for undecided ones, so they
/// have lanes of their own: nobody else waits behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    topic_partition: TopicPartition,
    producer: Option<ProducerId>,
    expected_end: Option<Offset>,
}

/// One checked record batch, with all that is needed to offer it (again) to the sequencer.
#[derive(Debug)]
pub(crate) struct BatchBody {
    pub(crate) summary: ReservationSummary,
    pub(crate) bytes: Bytes,
    /// The connection that it came over, of which it is the next in order.
    pub(crate) connection: Option<u64>,
    /// How often the sequencer deferred it.
    pub(crate) deferrals: u32,
    /// Its share of the pool, given back with its request's last batch.
    pub(crate) _permit: Arc<PoolPermit>,
}

impl BatchBody {
    pub(crate) fn lane(&self) -> Lane {
        Lane {
            topic_partition: self.summary.topic_partition,
            producer: self.summary.producer.map(|span| span.producer_id),
            expected_end: self.summary.expected_end,
        }
    }

    pub(crate) fn batch_bytes(&self) -> u64 {
        u64::from(self.summary.batch_bytes)
    }
}

/// A batch that will get an answer, whatever happens.
#[derive(Debug)]
pub(crate) struct AdmittedBatch {
    pub(crate) body: BatchBody,
    pub(crate) slot: ReplySlot,
}

impl AdmittedBatch {
    pub(crate) fn lane(&self) -> Lane {
        self.body.lane()
    }
}
