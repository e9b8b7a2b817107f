//! The words of the project as types: ids, offsets, epochs, positions, byte ranges, the object
//! header.
//!
//! Used by every crate, uses none. Newtypes with checked arithmetic, so that two numbers with
//! different meaning cannot change places. No I/O, no clock.

mod checksum;
mod date;
mod epoch;
mod header;
mod id;
pub mod limits;
mod offset;
mod planted;
mod range;
mod reader;
mod time;

pub use checksum::{crc32c, crc32c_append};
pub use date::Date;
pub use epoch::{LeaderEpoch, ProducerEpoch, SequencerEpoch};
pub use header::{HeaderError, OBJECT_HEADER_BYTES, ObjectHeader, ObjectKind};
pub use id::{
    ChainIndex, ClusterId, IdError, PartitionIndex, PodId, ProducerId, SegmentId, SessionId,
    TopicId, TopicPartition, WriteId,
};
pub use offset::Offset;
#[cfg(feature = "planted")]
pub use planted::plant;
pub use planted::{Hunter, Planted, planted};
pub use range::ByteRange;
pub use reader::{ByteReader, ShortBytes};
pub use time::{MonotonicTime, Timestamp};
