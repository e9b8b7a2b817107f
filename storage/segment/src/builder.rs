//! Makes the bytes of one segment: the only copy of a batch on the produce path.
//!
//! Called by ingest when a reservation is in. The bytes never change again: every retry and hedge
//! of the upload sends them as they are. Source: docs/formats/segment.md, W5.

use bytes::Bytes;
use esker_record::{BATCH_CHECKED_FROM, BatchHeader, stamp};
use esker_types::{
    ClusterId, LeaderEpoch, OBJECT_HEADER_BYTES, ObjectHeader, ObjectKind, SegmentId,
    SequencerEpoch, WriteId,
};

use crate::crc::JoinedCrc;
use crate::layout::Layout;
use crate::limits::SEGMENT_OBJECT_BYTES_MAX;
use crate::tail::put_tail;
use crate::{PlacedBatch, ProducerStamp, SegmentFooter};

/// Bytes taken at once for an object whose length is not foretold.
const FIRST_CAPACITY_BYTES: usize = 64 * 1024;

/// What is known of a segment before its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The cluster that writes it.
    pub cluster: ClusterId,
    /// The segment.
    pub segment: SegmentId,
    /// The sequencer that reserved the offsets.
    pub epoch: SequencerEpoch,
    /// This write.
    pub write_id: WriteId,
}

/// A finished segment.
#[derive(Clone, Debug)]
pub struct BuiltSegment {
    /// The whole object, ready to be put.
    pub object: Bytes,
    /// What its footer says.
    pub footer: SegmentFooter,
}

/// Gathers the batches of one segment, in their final order.
///
/// ```
/// use esker_record::{BatchBuilder, Compression, NewRecord};
/// use esker_segment::{PlacedBatch, SegmentBuilder, SegmentHead, TailRead, read_tail};
/// use esker_types::{
///     ChainIndex, ClusterId, Offset, PartitionIndex, SegmentId, SequencerEpoch, SessionId,
///     Timestamp, TopicId, TopicPartition, WriteId,
/// };
///
/// let mut batch = BatchBuilder::new(Compression::None);
/// batch.push(&NewRecord::default())?;
/// let batch = batch.build()?;
///
/// let session = SessionId::from_bytes([3; 16]);
/// let mut builder = SegmentBuilder::new(SegmentHead {
///     cluster: ClusterId::from_bytes([2; 16]),
///     segment: SegmentId { session, index: ChainIndex::ZERO },
///     epoch: SequencerEpoch::FIRST,
///     write_id: WriteId::from_bytes([1; 16]),
/// });
/// let topic_partition = TopicPartition {
///     topic: TopicId::from_bytes([7; 16]),
///     partition: PartitionIndex::default(),
/// };
/// let placed = PlacedBatch {
///     topic_partition,
///     base_offset: Offset::ZERO,
///     record_count: 1,
///     max_timestamp: Timestamp::from_millis(0),
///     producer: None,
///     transactional: false,
/// };
/// builder.push(placed, &batch);
/// let built = builder.finish();
///
/// let object_bytes = u64::try_from(built.object.len())?;
/// let read = read_tail(object_bytes, &built.object)?;
/// assert_eq!(read, TailRead::Footer(built.footer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SegmentBuilder {
    head: SegmentHead,
    object: Vec<u8>,
    layout: Layout,
    /// Of the object behind its header.
    body_crc: JoinedCrc,
}

impl SegmentBuilder {
    /// An empty segment.
    #[must_use]
    pub fn new(head: SegmentHead) -> Self {
        Self::with_capacity(head, FIRST_CAPACITY_BYTES)
    }

    /// An empty segment with memory for an object of so many bytes.
    #[must_use]
    pub fn with_capacity(head: SegmentHead, object_bytes: usize) -> Self {
        let most = usize::try_from(SEGMENT_OBJECT_BYTES_MAX).unwrap_or(usize::MAX);
        let mut object = Vec::with_capacity(object_bytes.clamp(OBJECT_HEADER_BYTES, most));
        object.resize(OBJECT_HEADER_BYTES, 0);
        Self {
            head,
            object,
            layout: Layout::default(),
            body_crc: JoinedCrc::new(),
        }
    }

    /// Appends one whole record batch, stamped with its base offset and the constant leader epoch.
    /// Its own checksum is believed: admission has compared it, and who reads the segment will.
    /// Batches of a partition come together, in the order of their offsets.
    ///
    /// # Panics
    /// When `batch` is not what `placed` says, or breaks a rule of
    /// [`LayoutError`](crate::LayoutError): admission and sequencer have seen to both.
    pub fn push(&mut self, placed: PlacedBatch, batch: &[u8]) {
        let header = BatchHeader::parse(batch);
        assert!(header.is_ok(), "only admitted batches reach a segment");
        let Ok(header) = header else {
            return;
        };
        assert_eq!(
            usize::try_from(header.batch_bytes()),
            Ok(batch.len()),
            "exactly one whole batch is placed at a time"
        );
        assert!(
            agrees(&placed, &header),
            "CP2: a batch is placed under its own summary"
        );
        let laid = self
            .layout
            .place(&placed, header.batch_bytes(), header.crc());
        assert_eq!(laid, Ok(()), "CP2: batches of a segment keep its layout");
        let start = self.object.len();
        self.object.extend_from_slice(batch);
        if let Some(copy) = self.object.get_mut(start..) {
            stamp(copy, placed.base_offset, LeaderEpoch::CONSTANT);
            let (unchecked, checked) = copy.split_at(BATCH_CHECKED_FROM.min(copy.len()));
            let checked_bytes = u32::try_from(checked.len()).unwrap_or(u32::MAX);
            self.body_crc.bytes(unchecked);
            self.body_crc.summed(header.crc(), checked_bytes);
        }
    }

    /// Ends the segment.
    ///
    /// # Panics
    /// When no batch was pushed: such a segment is not written (W3).
    #[must_use]
    pub fn finish(self) -> BuiltSegment {
        let batches = self.layout.finish();
        assert!(batches.is_ok(), "W3: a segment without batches is not made");
        let footer = SegmentFooter {
            segment: self.head.segment,
            epoch: self.head.epoch,
            batches: batches.unwrap_or_default(),
        };
        let mut object = self.object;
        let batches_end = object.len();
        put_tail(&mut object, &footer);
        let mut body_crc = self.body_crc;
        body_crc.bytes(object.get(batches_end..).unwrap_or_default());
        let header = self.head.object_header(&object, body_crc.finish());
        if let Some(front) = object.get_mut(..OBJECT_HEADER_BYTES) {
            front.copy_from_slice(&header.encode());
        }
        BuiltSegment {
            object: Bytes::from(object),
            footer,
        }
    }
}

impl SegmentHead {
    fn object_header(&self, object: &[u8], body_crc: u32) -> ObjectHeader {
        let body = object.get(OBJECT_HEADER_BYTES..).unwrap_or_default();
        ObjectHeader {
            kind: ObjectKind::Segment,
            cluster: self.cluster,
            write_id: self.write_id,
            body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            body_crc,
        }
    }
}

/// Whether a batch's own header says the same as its summary.
pub(crate) fn agrees(placed: &PlacedBatch, header: &BatchHeader) -> bool {
    let producer =
        header.producer().map(
            |(producer_id, producer_epoch, base_sequence)| ProducerStamp {
                producer_id,
                producer_epoch,
                base_sequence,
            },
        );
    placed.record_count == header.record_count()
        && placed.max_timestamp == header.max_timestamp()
        && placed.producer == producer
        && placed.transactional == header.is_transactional()
}
