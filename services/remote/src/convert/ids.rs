//! Ids and positions.

use bytes::Bytes;
use esker_types::{
    ChainIndex, ClusterId, Offset, PartitionIndex, ProducerEpoch, ProducerId, SegmentId, SessionId,
    TopicId, TopicPartition,
};

use super::{Malformed, present};
use crate::proto;

pub(crate) fn bytes16(id: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&id)
}

/// The 16 bytes of an id; any other length is nothing.
pub(crate) fn id16(bytes: &[u8], field: &'static str) -> Result<[u8; 16], Malformed> {
    bytes.try_into().map_err(|_| Malformed { field })
}

pub(crate) fn session(bytes: &[u8]) -> Result<SessionId, Malformed> {
    id16(bytes, "session").map(SessionId::from_bytes)
}

pub(crate) fn cluster(bytes: &[u8]) -> Result<ClusterId, Malformed> {
    id16(bytes, "cluster").map(ClusterId::from_bytes)
}

pub(crate) fn topic_id(bytes: &[u8]) -> Result<TopicId, Malformed> {
    id16(bytes, "topic").map(TopicId::from_bytes)
}

pub(crate) fn offset(value: u64, field: &'static str) -> Result<Offset, Malformed> {
    Offset::new(value).ok_or(Malformed { field })
}

pub(crate) fn producer_id(value: i64) -> Result<ProducerId, Malformed> {
    ProducerId::from_wire(value).ok_or(Malformed {
        field: "producer_id",
    })
}

pub(crate) fn producer_epoch(value: i32) -> Result<ProducerEpoch, Malformed> {
    let value = i16::try_from(value).ok();
    value.and_then(ProducerEpoch::from_wire).ok_or(Malformed {
        field: "producer_epoch",
    })
}

impl From<TopicPartition> for proto::TopicPartition {
    fn from(value: TopicPartition) -> Self {
        Self {
            topic: bytes16(value.topic.bytes()),
            partition: value.partition.get(),
        }
    }
}

pub(crate) fn topic_partition(
    value: Option<proto::TopicPartition>,
) -> Result<TopicPartition, Malformed> {
    let value = present(value, "topic_partition")?;
    let partition = PartitionIndex::new(value.partition);
    Ok(TopicPartition {
        topic: topic_id(&value.topic)?,
        partition: present(partition, "partition")?,
    })
}

impl From<SegmentId> for proto::SegmentId {
    fn from(value: SegmentId) -> Self {
        Self {
            session: bytes16(value.session.bytes()),
            index: value.index.get(),
        }
    }
}

pub(crate) fn segment(value: Option<proto::SegmentId>) -> Result<SegmentId, Malformed> {
    let value = present(value, "segment")?;
    Ok(SegmentId {
        session: session(&value.session)?,
        index: ChainIndex::new(value.index),
    })
}
