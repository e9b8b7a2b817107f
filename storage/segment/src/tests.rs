//! Tests of whole segments, and what they are made of.

mod damage;
mod layout;
mod round_trip;

use bytes::Bytes;
use esker_record::{BatchBuilder, BatchHeader, Compression, NewRecord};
use esker_types::{
    ChainIndex, ClusterId, Offset, PartitionIndex, ProducerEpoch, ProducerId, SegmentId,
    SequencerEpoch, SessionId, Timestamp, TopicId, TopicPartition, WriteId,
};

use crate::{BuiltSegment, PlacedBatch, ProducerStamp, SegmentBuilder, SegmentHead};

pub(crate) fn head() -> SegmentHead {
    SegmentHead {
        cluster: ClusterId::from_bytes([2; 16]),
        segment: SegmentId {
            session: SessionId::from_bytes([3; 16]),
            index: ChainIndex::new(5),
        },
        epoch: SequencerEpoch::new(7),
        write_id: WriteId::from_bytes([1; 16]),
    }
}

pub(crate) fn partition(topic: u8, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([topic; 16]),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

pub(crate) fn producer(base_sequence: i32) -> ProducerStamp {
    ProducerStamp {
        producer_id: ProducerId::from_wire(4242).unwrap(),
        producer_epoch: ProducerEpoch::from_wire(1).unwrap(),
        base_sequence,
    }
}

/// A built batch of `count` one-byte values.
pub(crate) fn batch(count: i64, producer: Option<ProducerStamp>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some(stamp) = producer {
        let (id, epoch) = (stamp.producer_id, stamp.producer_epoch);
        builder = builder
            .producer(id, epoch, stamp.base_sequence)
            .transactional();
    }
    for delta in 0..count {
        let record = NewRecord {
            timestamp: Timestamp::from_millis(1000 + delta),
            value: Some(Bytes::from_static(b"v")),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

/// What the sequencer would answer for `batch`.
pub(crate) fn placed(topic_partition: TopicPartition, base: u64, batch: &[u8]) -> PlacedBatch {
    let header = BatchHeader::parse(batch).unwrap();
    let producer = header.producer();
    PlacedBatch {
        topic_partition,
        base_offset: Offset::new(base).unwrap(),
        record_count: header.record_count(),
        max_timestamp: header.max_timestamp(),
        producer: producer.map(
            |(producer_id, producer_epoch, base_sequence)| ProducerStamp {
                producer_id,
                producer_epoch,
                base_sequence,
            },
        ),
        transactional: header.is_transactional(),
    }
}

/// Two partitions: one batch of three records of an idempotent producer at 100 and one of one at
/// 103; a batch of two at 0.
pub(crate) fn small() -> BuiltSegment {
    let mut builder = SegmentBuilder::new(head());
    let (one, two, three) = (batch(3, Some(producer(9))), batch(1, None), batch(2, None));
    builder.push(placed(partition(0xaa, 1), 100, &one), &one);
    builder.push(placed(partition(0xaa, 1), 103, &two), &two);
    builder.push(placed(partition(0xbb, 0), 0, &three), &three);
    builder.finish()
}
