//! The stored form of a footer. Bounded: memory follows the bytes that are there, nothing panics.
//!
//! Ranges, base offsets inside a run and the grouping are not stored but follow from lengths,
//! counts and order, so that overlaps and gaps cannot be written down. docs/formats/segment.md.

use esker_types::limits::BATCHES_PER_SEGMENT_MAX;
use esker_types::{
    ByteReader, ChainIndex, Offset, PartitionIndex, ProducerEpoch, ProducerId, SegmentId,
    SequencerEpoch, SessionId, ShortBytes, Timestamp, TopicId, TopicPartition,
};

use crate::layout::{Layout, LayoutError};
use crate::{BatchSummary, PlacedBatch, ProducerStamp, SegmentFooter};

/// The footer format that this build writes, and the newest that it reads.
pub(crate) const FOOTER_VERSION: u8 = 1;

/// Bytes of a footer without its batches: version, flags, segment, epoch, count.
pub(crate) const FOOTER_HEAD_BYTES: u32 = 38;
/// Bytes that a partition adds: topic, partition, base offset, count.
pub(crate) const RUN_BYTES: u32 = 32;
/// Bytes that a batch without a producer id adds.
pub(crate) const BATCH_BYTES_MIN: u32 = 21;
/// Bytes that a producer id adds to its batch.
pub(crate) const PRODUCER_BYTES: u32 = 14;

const TRANSACTIONAL_FLAG: u8 = 1;
const PRODUCER_FLAG: u8 = 2;

/// Bytes that are no footer this build can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// The bytes end before the footer does.
    #[error("segment footer is cut")]
    Short(#[source] ShortBytes),
    /// The last bytes of the object are not those of a segment.
    #[error("object does not end like a segment")]
    Magic,
    /// Written by a newer Esker: upgrade before reading.
    #[error("segment footer has version {version}, this build reads up to {FOOTER_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The checksum is wrong.
    #[error("segment footer fails its checksum")]
    Checksum,
    /// A footer length that the object cannot hold, or longer than any.
    #[error("segment footer has impossible length {footer_bytes}")]
    FooterBytes {
        /// The length found.
        footer_bytes: u32,
    },
    /// The object is not as long as its parts.
    #[error("segment has {found_bytes} bytes, its footer accounts for {expected_bytes}")]
    ObjectBytes {
        /// Header, batches, footer and trailer.
        expected_bytes: u64,
        /// Length of the object.
        found_bytes: u64,
    },
    /// More bytes than the footer needs.
    #[error("segment footer is followed by {left_bytes} unknown bytes")]
    Trailing {
        /// How many.
        left_bytes: usize,
    },
    /// A run of a partition without batches, or with more than are left.
    #[error("segment footer has a run of {count} record batches where {left} are left")]
    RunCount {
        /// Batches of the run.
        count: u32,
        /// Batches not yet read.
        left: u32,
    },
    /// A partition past the limit.
    #[error("segment footer has impossible partition {partition}")]
    Partition {
        /// The number found.
        partition: u32,
    },
    /// An offset past the largest.
    #[error("segment footer has impossible offset {offset}")]
    Offset {
        /// The number found.
        offset: u64,
    },
    /// Flag bits that this version does not have.
    #[error("segment footer has unknown flags {flags:#04x}")]
    Flags {
        /// The bits found.
        flags: u8,
    },
    /// A negative producer id or epoch.
    #[error("segment footer has impossible producer {producer_id} epoch {producer_epoch}")]
    Producer {
        /// The id found.
        producer_id: i64,
        /// The epoch found.
        producer_epoch: i16,
    },
    /// The batches cannot make a segment.
    #[error("segment footer breaks a rule of segments")]
    Layout(#[source] LayoutError),
}

impl From<ShortBytes> for FooterError {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

impl SegmentFooter {
    /// The stored form, without the trailer: what [`Self::decode`] reads. At most
    /// [`FOOTER_BYTES_MAX`](crate::limits::FOOTER_BYTES_MAX).
    ///
    /// # Panics
    /// When the footer breaks a [`LayoutError`] rule: only hands can make such a one.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert_eq!(self.check(), Ok(()), "CP2: only sound segments are stored");
        let mut bytes = Vec::with_capacity(self.encoded_bytes());
        bytes.push(FOOTER_VERSION);
        bytes.push(0);
        bytes.extend_from_slice(&self.segment.session.bytes());
        bytes.extend_from_slice(&self.segment.index.get().to_be_bytes());
        bytes.extend_from_slice(&self.epoch.get().to_be_bytes());
        put_count(&mut bytes, self.batches.len());
        for run in self.runs() {
            put_run(&mut bytes, run);
        }
        assert_eq!(
            bytes.len(),
            self.encoded_bytes(),
            "the length is known before"
        );
        bytes
    }

    fn runs(&self) -> impl Iterator<Item = &[BatchSummary]> {
        self.batches
            .chunk_by(|one, next| one.topic_partition == next.topic_partition)
    }

    fn encoded_bytes(&self) -> usize {
        let with_producer = self.batches.iter().filter(|batch| batch.producer.is_some());
        let parts = [
            (1, FOOTER_HEAD_BYTES),
            (self.runs().count(), RUN_BYTES),
            (self.batches.len(), BATCH_BYTES_MIN),
            (with_producer.count(), PRODUCER_BYTES),
        ];
        let bytes_of = |(count, each)| usize::try_from(each).unwrap_or(usize::MAX) * count;
        parts.map(bytes_of).iter().sum()
    }

    /// Reads what [`Self::encode`] wrote, all of `bytes`.
    ///
    /// # Errors
    /// [`FooterError`]: not a footer, or one from the future. Never `Magic`, `Checksum`,
    /// `FooterBytes` or `ObjectBytes`: those are about the whole object.
    pub fn decode(bytes: &[u8]) -> Result<Self, FooterError> {
        let mut reader = ByteReader::new(bytes);
        let version = reader.u8()?;
        if version != FOOTER_VERSION {
            return Err(FooterError::Version { version });
        }
        let flags = reader.u8()?;
        if flags != 0 {
            return Err(FooterError::Flags { flags });
        }
        let session = SessionId::from_bytes(reader.array()?);
        let index = ChainIndex::new(reader.u64()?);
        let epoch = SequencerEpoch::new(reader.u64()?);
        let batches = read_batches(&mut reader)?;
        let left_bytes = reader.remaining();
        if left_bytes > 0 {
            return Err(FooterError::Trailing { left_bytes });
        }
        Ok(Self {
            segment: SegmentId { session, index },
            epoch,
            batches,
        })
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&count.to_be_bytes());
}

fn put_run(bytes: &mut Vec<u8>, run: &[BatchSummary]) {
    let Some(first) = run.first() else {
        return;
    };
    bytes.extend_from_slice(&first.topic_partition.topic.bytes());
    bytes.extend_from_slice(&first.topic_partition.partition.get().to_be_bytes());
    bytes.extend_from_slice(&first.base_offset.get().to_be_bytes());
    put_count(bytes, run.len());
    for batch in run {
        put_batch(bytes, batch);
    }
}

fn put_batch(bytes: &mut Vec<u8>, batch: &BatchSummary) {
    let batch_bytes = u32::try_from(batch.range.byte_count()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&batch_bytes.to_be_bytes());
    bytes.extend_from_slice(&batch.record_count.to_be_bytes());
    bytes.extend_from_slice(&batch.max_timestamp.millis().to_be_bytes());
    bytes.extend_from_slice(&batch.batch_crc.to_be_bytes());
    let transactional = u8::from(batch.transactional) * TRANSACTIONAL_FLAG;
    let producer = u8::from(batch.producer.is_some()) * PRODUCER_FLAG;
    bytes.push(transactional | producer);
    if let Some(producer) = batch.producer {
        bytes.extend_from_slice(&producer.producer_id.to_wire().to_be_bytes());
        bytes.extend_from_slice(&producer.producer_epoch.to_wire().to_be_bytes());
        bytes.extend_from_slice(&producer.base_sequence.to_be_bytes());
    }
}

fn read_batches(reader: &mut ByteReader<'_>) -> Result<Vec<BatchSummary>, FooterError> {
    let smallest = usize::try_from(BATCH_BYTES_MIN).unwrap_or(usize::MAX);
    let count = reader.count_u32(smallest)?;
    let mut left = u32::try_from(count).unwrap_or(u32::MAX);
    if left > BATCHES_PER_SEGMENT_MAX {
        let count = left;
        return Err(FooterError::Layout(LayoutError::BatchCount { count }));
    }
    let mut layout = Layout::with_capacity(count);
    while left > 0 {
        let run = read_run_head(reader)?;
        if run.count == 0 || run.count > left {
            let count = run.count;
            return Err(FooterError::RunCount { count, left });
        }
        if layout.last_partition() == Some(run.topic_partition) {
            let topic_partition = run.topic_partition;
            return Err(FooterError::Layout(LayoutError::Scattered {
                topic_partition,
            }));
        }
        let mut base_offset = run.base_offset;
        for _ in 0..run.count {
            base_offset = read_batch(reader, &mut layout, run.topic_partition, base_offset)?;
        }
        left -= run.count;
    }
    layout.finish().map_err(FooterError::Layout)
}

struct RunHead {
    topic_partition: TopicPartition,
    base_offset: Offset,
    count: u32,
}

fn read_run_head(reader: &mut ByteReader<'_>) -> Result<RunHead, FooterError> {
    let topic = TopicId::from_bytes(reader.array()?);
    let partition = reader.u32()?;
    let offset = reader.u64()?;
    let count = reader.u32()?;
    let partition = PartitionIndex::new(partition).ok_or(FooterError::Partition { partition })?;
    Ok(RunHead {
        topic_partition: TopicPartition { topic, partition },
        base_offset: Offset::new(offset).ok_or(FooterError::Offset { offset })?,
        count,
    })
}

/// Reads one batch into the layout; gives the offset behind it.
fn read_batch(
    reader: &mut ByteReader<'_>,
    layout: &mut Layout,
    topic_partition: TopicPartition,
    base_offset: Offset,
) -> Result<Offset, FooterError> {
    let batch_bytes = reader.u32()?;
    let record_count = reader.u32()?;
    let max_timestamp = Timestamp::from_millis(reader.i64()?);
    let batch_crc = reader.u32()?;
    let flags = reader.u8()?;
    if flags & !(TRANSACTIONAL_FLAG | PRODUCER_FLAG) != 0 {
        return Err(FooterError::Flags { flags });
    }
    let producer = match flags & PRODUCER_FLAG {
        0 => None,
        _ => Some(read_producer(reader)?),
    };
    let placed = PlacedBatch {
        topic_partition,
        base_offset,
        record_count,
        max_timestamp,
        producer,
        transactional: flags & TRANSACTIONAL_FLAG != 0,
    };
    layout
        .place(&placed, batch_bytes, batch_crc)
        .map_err(FooterError::Layout)?;
    let exhausted = LayoutError::OffsetsExhausted { base_offset };
    base_offset
        .after(record_count)
        .ok_or(FooterError::Layout(exhausted))
}

fn read_producer(reader: &mut ByteReader<'_>) -> Result<ProducerStamp, FooterError> {
    let producer_id = reader.i64()?;
    let producer_epoch = reader.i16()?;
    let base_sequence = reader.i32()?;
    let impossible = FooterError::Producer {
        producer_id,
        producer_epoch,
    };
    Ok(ProducerStamp {
        producer_id: ProducerId::from_wire(producer_id).ok_or(impossible)?,
        producer_epoch: ProducerEpoch::from_wire(producer_epoch).ok_or(impossible)?,
        base_sequence,
    })
}

#[cfg(test)]
mod tests;
