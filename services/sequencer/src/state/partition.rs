//! The durable side of one partition: its index, where it begins and ends, its producers.

use std::collections::BTreeMap;

use esker_metadata_api::IndexExtent;
use esker_segment::{BatchSummary, Extent, ProducerStamp};
use esker_types::{Offset, ProducerId, SegmentId};
use esker_types::{Planted, planted};

use crate::extents::Extents;
use crate::limits::{KEYS_PER_PARTITION_MAX, PRODUCERS_PER_PARTITION_MAX};
use crate::producers::{ProducerBatch, ProducerLog, Sequence};

/// What is checkpointed of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionLog {
    /// First offset still there.
    pub(crate) log_start: Offset,
    /// End of the last checkpointed batch, also when its extent is gone.
    pub(crate) end: Offset,
    pub(crate) extents: Extents,
    pub(crate) producers: BTreeMap<ProducerId, ProducerLog>,
}

impl PartitionLog {
    /// Next offset and high watermark of a partition of which nothing else is known.
    pub(crate) fn recovered_end(&self) -> Offset {
        if planted(Planted::EndForgotten) {
            return self.log_start;
        }
        self.end.max(self.log_start)
    }

    pub(crate) fn add_producer_batch(&mut self, stamp: ProducerStamp, batch: ProducerBatch) {
        self.producers
            .entry(stamp.producer_id)
            .and_modify(|log| log.insert(stamp.producer_epoch, batch))
            .or_insert_with(|| ProducerLog::of(stamp.producer_epoch, batch));
    }

    /// Forgets the producers whose newest batch is the oldest, down to the limit. Idempotency keys,
    /// one per append, have a limit of their own: many of them push no producer out.
    pub(crate) fn expire_producers(&mut self) {
        let keyed = ProducerId::from_key_hash([0; 8]);
        let keys = self.producers.range(keyed..).count();
        let producers = self.producers.len() - keys;
        let over_keys = keys.saturating_sub(KEYS_PER_PARTITION_MAX);
        let over_producers = producers.saturating_sub(PRODUCERS_PER_PARTITION_MAX);
        self.forget_oldest(over_keys, ProducerId::is_keyed);
        self.forget_oldest(over_producers, |id| !id.is_keyed());
    }

    fn forget_oldest(&mut self, count: usize, is_one: fn(ProducerId) -> bool) {
        if count == 0 {
            return;
        }
        let producers = self.producers.iter().filter(|(id, _)| is_one(**id));
        let mut by_age: Vec<(Offset, ProducerId)> = producers
            .map(|(id, log)| (log.last_offset(), *id))
            .collect();
        by_age.sort_unstable();
        for (_, id) in by_age.into_iter().take(count) {
            self.producers.remove(&id);
        }
    }

    /// Drops what lies fully below the log start offset.
    pub(crate) fn trim(&mut self) {
        self.extents.drop_below(self.log_start);
    }
}

/// An extent of a footer, with its object.
pub(crate) fn index_extent(segment: SegmentId, extent: &Extent) -> IndexExtent {
    IndexExtent {
        base_offset: extent.base_offset,
        end_offset: extent.end_offset,
        segment,
        range: extent.range,
        max_timestamp: extent.max_timestamp,
    }
}

/// A batch as its producer's log has it; `None` when it has no producer id.
pub(crate) fn producer_batch(batch: &BatchSummary) -> Option<(ProducerStamp, ProducerBatch)> {
    let stamp = batch.producer?;
    let known = ProducerBatch {
        base_sequence: Sequence::from_wire(stamp.base_sequence)?,
        record_count: batch.record_count,
        base_offset: batch.base_offset,
    };
    Some((stamp, known))
}
