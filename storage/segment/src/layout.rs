//! The one rule book of how batches lie in a segment: the builder asserts by it, the decoder
//! refuses by it.
//!
//! Back to back from byte 64; grouped by partition, each partition once; offsets of a partition
//! ascending without gaps (CP2); counts and bytes within their limits.

use std::collections::BTreeSet;

use esker_record::RECORD_BATCH_HEADER_BYTES;
use esker_record::limits::RECORDS_PER_BATCH_MAX;
use esker_types::limits::{BATCHES_PER_SEGMENT_MAX, RECORD_BATCH_BYTES_MAX, SEGMENT_BYTES_MAX};
use esker_types::{
    ByteRange, OBJECT_HEADER_BYTES, Offset, SegmentId, SequencerEpoch, TopicPartition,
};

use crate::{BatchSummary, PlacedBatch, SegmentFooter};

/// Where the first batch lies: [`OBJECT_HEADER_BYTES`] in the type of lengths.
pub(crate) const HEADER_BYTES: u32 = 64;
const _: () = assert!(OBJECT_HEADER_BYTES == 64);

/// Batches that cannot make one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No batch at all: such a segment is not written.
    #[error("segment has no record batch")]
    Empty,
    /// More than [`BATCHES_PER_SEGMENT_MAX`].
    #[error("segment has {count} record batches, at most {BATCHES_PER_SEGMENT_MAX} are allowed")]
    BatchCount {
        /// How many.
        count: u32,
    },
    /// Smaller than a header or past [`RECORD_BATCH_BYTES_MAX`].
    #[error("record batch of {batch_bytes} bytes in a segment")]
    BatchBytes {
        /// How many.
        batch_bytes: u32,
    },
    /// All batches together are past [`SEGMENT_BYTES_MAX`].
    #[error("record batches of {batches_bytes} bytes in one segment")]
    SegmentBytes {
        /// How many.
        batches_bytes: u64,
    },
    /// None, or more than a batch may hold.
    #[error("record batch of {record_count} records in a segment")]
    RecordCount {
        /// How many.
        record_count: u32,
    },
    /// The batch does not begin where the one before it in the partition ends.
    #[error("record batch at offset {found} where {expected} comes next")]
    OffsetGap {
        /// End of the batch before.
        expected: Offset,
        /// Base offset of this one.
        found: Offset,
    },
    /// The offsets go past the largest one.
    #[error("record batch at offset {base_offset} ends past the largest offset")]
    OffsetsExhausted {
        /// Its base offset.
        base_offset: Offset,
    },
    /// The partition comes again behind another one.
    #[error("partition has its record batches in two places of a segment")]
    Scattered {
        /// The partition.
        topic_partition: TopicPartition,
    },
    /// A negative sequence.
    #[error("record batch of an idempotent producer has base sequence {base_sequence}")]
    BaseSequence {
        /// The sequence.
        base_sequence: i32,
    },
}

/// Places batches one after another.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    batches: Vec<BatchSummary>,
    batches_bytes: u32,
    seen: BTreeSet<TopicPartition>,
}

impl Layout {
    pub(crate) fn with_capacity(batches: usize) -> Self {
        Self {
            batches: Vec::with_capacity(batches),
            ..Self::default()
        }
    }

    /// The partition of the run that is open.
    pub(crate) fn last_partition(&self) -> Option<TopicPartition> {
        self.batches.last().map(|last| last.topic_partition)
    }

    /// End offset of the run that `topic_partition` is in; `None` when another or no run is open.
    fn run_end(&self, topic_partition: TopicPartition) -> Option<Offset> {
        let last = self.batches.last()?;
        (last.topic_partition == topic_partition).then(|| last.end_offset())
    }

    pub(crate) fn place(
        &mut self,
        placed: &PlacedBatch,
        batch_bytes: u32,
        batch_crc: u32,
    ) -> Result<(), LayoutError> {
        let count = u32::try_from(self.batches.len()).unwrap_or(u32::MAX);
        if count >= BATCHES_PER_SEGMENT_MAX {
            let count = count.saturating_add(1);
            return Err(LayoutError::BatchCount { count });
        }
        let range = self.range_of(batch_bytes)?;
        check_batch(placed)?;
        match self.run_end(placed.topic_partition) {
            Some(expected) if expected != placed.base_offset => {
                let found = placed.base_offset;
                return Err(LayoutError::OffsetGap { expected, found });
            }
            Some(_) => {}
            None => {
                let topic_partition = placed.topic_partition;
                if !self.seen.insert(topic_partition) {
                    return Err(LayoutError::Scattered { topic_partition });
                }
            }
        }
        self.batches_bytes = self.batches_bytes.saturating_add(batch_bytes);
        self.batches.push(BatchSummary {
            topic_partition: placed.topic_partition,
            base_offset: placed.base_offset,
            record_count: placed.record_count,
            range,
            max_timestamp: placed.max_timestamp,
            producer: placed.producer,
            transactional: placed.transactional,
            batch_crc,
        });
        Ok(())
    }

    fn range_of(&self, batch_bytes: u32) -> Result<ByteRange, LayoutError> {
        let whole = usize::try_from(batch_bytes).unwrap_or(usize::MAX);
        if whole < RECORD_BATCH_HEADER_BYTES || batch_bytes > RECORD_BATCH_BYTES_MAX {
            return Err(LayoutError::BatchBytes { batch_bytes });
        }
        let batches_bytes = u64::from(self.batches_bytes) + u64::from(batch_bytes);
        if batches_bytes > u64::from(SEGMENT_BYTES_MAX) {
            return Err(LayoutError::SegmentBytes { batches_bytes });
        }
        let start = u64::from(HEADER_BYTES) + u64::from(self.batches_bytes);
        ByteRange::at(start, batch_bytes).ok_or(LayoutError::BatchBytes { batch_bytes })
    }

    pub(crate) fn finish(self) -> Result<Vec<BatchSummary>, LayoutError> {
        if self.batches.is_empty() {
            return Err(LayoutError::Empty);
        }
        Ok(self.batches)
    }
}

fn check_batch(placed: &PlacedBatch) -> Result<(), LayoutError> {
    let record_count = placed.record_count;
    if record_count == 0 || record_count > RECORDS_PER_BATCH_MAX {
        return Err(LayoutError::RecordCount { record_count });
    }
    let base_offset = placed.base_offset;
    if base_offset.after(record_count).is_none() {
        return Err(LayoutError::OffsetsExhausted { base_offset });
    }
    match placed.producer.map(|producer| producer.base_sequence) {
        Some(base_sequence) if base_sequence < 0 => {
            Err(LayoutError::BaseSequence { base_sequence })
        }
        _ => Ok(()),
    }
}

impl SegmentFooter {
    /// The footer of a segment that holds these batches in this order, each with its bytes and its
    /// CRC-32C. The builder does the same with real bytes; this is for tests and tools.
    ///
    /// # Errors
    /// [`LayoutError`]: the batches cannot make one segment.
    pub fn lay_out(
        segment: SegmentId,
        epoch: SequencerEpoch,
        batches: impl IntoIterator<Item = (PlacedBatch, u32, u32)>,
    ) -> Result<Self, LayoutError> {
        let mut layout = Layout::default();
        for (placed, batch_bytes, batch_crc) in batches {
            layout.place(&placed, batch_bytes, batch_crc)?;
        }
        let batches = layout.finish()?;
        Ok(Self {
            segment,
            epoch,
            batches,
        })
    }

    /// Compares a footer that someone put together by hand with the rules.
    pub(crate) fn check(&self) -> Result<(), LayoutError> {
        let batches = self.batches.iter().map(|batch| {
            let batch_bytes = u32::try_from(batch.range.byte_count()).unwrap_or(u32::MAX);
            (batch.placed(), batch_bytes, batch.batch_crc)
        });
        let again = Self::lay_out(self.segment, self.epoch, batches)?;
        assert!(
            again == *self,
            "batches of a footer lie back to back from the object header on"
        );
        Ok(())
    }
}
