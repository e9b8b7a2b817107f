//! Stored bytes of commands and of snapshots of the durable state. docs/formats/metadata-log.md.
//!
//! The journal checks sums; here every value is bounded and ordered, so that hostile bytes are an
//! error and memory follows the bytes that are there.

mod command;
mod snapshot;

use esker_segment::FooterError;
use esker_types::{
    ByteReader, ChainIndex, Offset, PartitionIndex, SegmentId, SessionId, ShortBytes, TopicId,
    TopicPartition,
};

/// The version that this build writes, and the newest that it reads.
const VERSION: u8 = 1;

/// Bytes that are no command or snapshot this build can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end early.
    #[error("log state bytes are cut")]
    Short(#[source] ShortBytes),
    /// Longer than any command.
    #[error("log command has {bytes} bytes")]
    Long {
        /// How many.
        bytes: usize,
    },
    /// Written by a newer Esker: upgrade before reading.
    #[error("log state bytes have version {version}, this build reads up to {VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// No command or record of this kind.
    #[error("log state bytes have unknown kind {code}")]
    Kind {
        /// The code found.
        code: u8,
    },
    /// More bytes than the command needs.
    #[error("log command is followed by {left_bytes} unknown bytes")]
    Trailing {
        /// How many.
        left_bytes: usize,
    },
    /// A footer in a checkpoint.
    #[error("segment footer in a checkpoint cannot be used")]
    Footer(#[source] FooterError),
    /// A partition, offset, producer, byte range or count outside its bounds.
    #[error("log state bytes hold an impossible {what}")]
    Value {
        /// What it is.
        what: &'static str,
    },
    /// Records of a snapshot do not ascend, overlap or come twice.
    #[error("snapshot records of {what} are out of order")]
    Order {
        /// Of what.
        what: &'static str,
    },
}

impl From<ShortBytes> for CodecError {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

fn put_segment(bytes: &mut Vec<u8>, segment: SegmentId) {
    bytes.extend_from_slice(&segment.session.bytes());
    bytes.extend_from_slice(&segment.index.get().to_be_bytes());
}

fn get_segment(reader: &mut ByteReader<'_>) -> Result<SegmentId, CodecError> {
    Ok(SegmentId {
        session: SessionId::from_bytes(reader.array()?),
        index: ChainIndex::new(reader.u64()?),
    })
}

fn put_topic_partition(bytes: &mut Vec<u8>, at: TopicPartition) {
    bytes.extend_from_slice(&at.topic.bytes());
    bytes.extend_from_slice(&at.partition.get().to_be_bytes());
}

fn get_topic_partition(reader: &mut ByteReader<'_>) -> Result<TopicPartition, CodecError> {
    let topic = TopicId::from_bytes(reader.array()?);
    let partition = PartitionIndex::new(reader.u32()?);
    let partition = partition.ok_or(CodecError::Value { what: "partition" })?;
    Ok(TopicPartition { topic, partition })
}

fn get_offset(reader: &mut ByteReader<'_>) -> Result<Offset, CodecError> {
    Offset::new(reader.u64()?).ok_or(CodecError::Value { what: "offset" })
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&count.to_be_bytes());
}

#[cfg(test)]
mod tests;
