//! What a segment's footer says of its record batches, and the extents that follow from it.
//!
//! Shared by the builder, the sequencer's index and the journal's checkpoints.

use esker_types::{
    ByteRange, Offset, ProducerEpoch, ProducerId, SegmentId, SequencerEpoch, Timestamp,
    TopicPartition,
};

/// Who wrote a batch, and where in the producer's sequence it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record: 0 or more.
    pub base_sequence: i32,
}

/// A record batch with the offset it was given: what the builder takes beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedBatch {
    /// Where it goes.
    pub topic_partition: TopicPartition,
    /// Offset of its first record, as reserved.
    pub base_offset: Offset,
    /// Offsets it takes, at least 1.
    pub record_count: u32,
    /// Largest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// Set for idempotent producers.
    pub producer: Option<ProducerStamp>,
    /// Part of a transaction.
    pub transactional: bool,
}

/// One record batch of a segment, as its footer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSummary {
    /// Where it belongs.
    pub topic_partition: TopicPartition,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offsets it takes, at least 1.
    pub record_count: u32,
    /// Its bytes in the object.
    pub range: ByteRange,
    /// Largest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// Set for idempotent producers.
    pub producer: Option<ProducerStamp>,
    /// Part of a transaction.
    pub transactional: bool,
    /// The batch's own CRC-32C: binds the bytes to the topic.
    pub batch_crc: u32,
}

impl BatchSummary {
    /// One past its last offset.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        // A layout never holds a batch whose end is past the largest offset.
        self.base_offset
            .after(self.record_count)
            .unwrap_or(self.base_offset)
    }

    /// The same without the place in the object.
    #[must_use]
    pub fn placed(&self) -> PlacedBatch {
        PlacedBatch {
            topic_partition: self.topic_partition,
            base_offset: self.base_offset,
            record_count: self.record_count,
            max_timestamp: self.max_timestamp,
            producer: self.producer,
            transactional: self.transactional,
        }
    }
}

/// One partition's bytes in one segment: whole record batches, offsets ascending without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// One past the last record.
    pub end_offset: Offset,
    /// The bytes in the object.
    pub range: ByteRange,
    /// Largest timestamp of the records.
    pub max_timestamp: Timestamp,
}

/// What a segment holds. Well formed when decoded or made by [`SegmentFooter::lay_out`]: batches
/// back to back from byte 64, each partition in one run, offsets in a run without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFooter {
    /// The segment.
    pub segment: SegmentId,
    /// The sequencer that reserved the offsets.
    pub epoch: SequencerEpoch,
    /// Its batches, in the order of their bytes; at least one.
    pub batches: Vec<BatchSummary>,
}

impl SegmentFooter {
    /// One extent per partition, in the order of their bytes.
    #[must_use]
    pub fn extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        for batch in &self.batches {
            match extents.last_mut() {
                Some(extent) if extent.topic_partition == batch.topic_partition => {
                    extent.grow(batch);
                }
                _ => extents.push(Extent::of(batch)),
            }
        }
        extents
    }
}

impl Extent {
    fn of(batch: &BatchSummary) -> Self {
        Self {
            topic_partition: batch.topic_partition,
            base_offset: batch.base_offset,
            end_offset: batch.end_offset(),
            range: batch.range,
            max_timestamp: batch.max_timestamp,
        }
    }

    fn grow(&mut self, batch: &BatchSummary) {
        assert!(
            batch.base_offset == self.end_offset && batch.range.start() == self.range.end(),
            "CP2: batches of a partition follow one another in a segment"
        );
        self.end_offset = batch.end_offset();
        self.range = ByteRange::new(self.range.start(), batch.range.end()).unwrap_or(self.range);
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
    }
}
