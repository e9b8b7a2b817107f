//! A snapshot: parts, and the list of them that makes it whole.

use bytes::Bytes;
use esker_types::{ByteReader, ClusterId, ObjectKind, WriteId};

use super::{DecodeError, ObjectWriter, byte_count};
use crate::limits::{SNAPSHOT_PART_BYTES_MAX, SNAPSHOT_PARTS_MAX};
use crate::place::RollNumber;

/// Bytes of a row of the list.
const ROW_BYTES: usize = 8 + 4;
/// Version, roll, part.
const PART_FIXED_BYTES: usize = 1 + 8 + 4;

/// One part of the state at the start of a roll. Its write id is that of the whole snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotPart {
    pub(crate) roll: RollNumber,
    pub(crate) part: u32,
    pub(crate) bytes: Bytes,
}

/// Length and checksum of a part's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartRow {
    pub(crate) part_bytes: u64,
    pub(crate) part_crc: u32,
}

impl PartRow {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            part_bytes: byte_count(bytes),
            part_crc: esker_types::crc32c(bytes),
        }
    }
}

/// The list of the parts. Their keys follow from the roll, the write id (that of this object) and
/// the row's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotDone {
    pub(crate) roll: RollNumber,
    pub(crate) parts: Vec<PartRow>,
}

impl SnapshotPart {
    pub(crate) fn encode(&self, cluster: ClusterId, write_id: WriteId) -> Bytes {
        assert!(
            self.bytes.len() <= SNAPSHOT_PART_BYTES_MAX,
            "parts are checked when they are handed in"
        );
        let mut writer = ObjectWriter::new(PART_FIXED_BYTES + self.bytes.len());
        writer.put(&self.roll.get().to_be_bytes());
        writer.put(&self.part.to_be_bytes());
        writer.put(&self.bytes);
        writer.finish(ObjectKind::SnapshotPart, cluster, write_id)
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let roll = RollNumber::new(reader.u64()?);
        let part = reader.u32()?;
        let bytes = reader.take(reader.remaining())?;
        if bytes.len() > SNAPSHOT_PART_BYTES_MAX {
            return Err(DecodeError::Field { field: "length" });
        }
        let bytes = body.slice_ref(bytes);
        Ok(Self { roll, part, bytes })
    }
}

impl SnapshotDone {
    pub(crate) fn encode(&self, cluster: ClusterId, write_id: WriteId) -> Bytes {
        assert!(
            self.roll > RollNumber::FIRST && self.parts.len() <= SNAPSHOT_PARTS_MAX,
            "J10: there is no snapshot 0, and its parts are counted when handed in"
        );
        let mut writer = ObjectWriter::new(PART_FIXED_BYTES + self.parts.len() * ROW_BYTES);
        writer.put(&self.roll.get().to_be_bytes());
        writer.put_count(self.parts.len());
        for row in &self.parts {
            writer.put(&row.part_bytes.to_be_bytes());
            writer.put(&row.part_crc.to_be_bytes());
        }
        writer.finish(ObjectKind::SnapshotDone, cluster, write_id)
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let roll = RollNumber::new(reader.u64()?);
        let count = reader.count_u32(ROW_BYTES)?;
        if roll == RollNumber::FIRST {
            return Err(DecodeError::Field { field: "roll" });
        }
        if count > SNAPSHOT_PARTS_MAX {
            return Err(DecodeError::Field { field: "count" });
        }
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            parts.push(PartRow {
                part_bytes: reader.u64()?,
                part_crc: reader.u32()?,
            });
        }
        Ok(Self { roll, parts })
    }
}
