//! The first 64 bytes of every object Esker writes (but `cluster.json`): what it is, whose, which
//! write.
//!
//! Two writes of one key are told apart by these bytes alone: "who is there" after a refused create
//! is one ranged read. Format page: docs/formats/object-header.md.

use crate::{ByteReader, ClusterId, ShortBytes, WriteId};

/// Bytes of the header.
pub const OBJECT_HEADER_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"ESKR";
const FORMAT_VERSION: u8 = 1;

/// What an object is. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Record batches of many partitions, with a footer.
    Segment,
    /// Ends a session's chain.
    SessionSeal,
    /// Place 0 of a journal roll, written by its owner.
    JournalHead,
    /// A group of metadata commands.
    JournalEntry,
    /// Ends a journal roll and names the owner of the next.
    JournalSeal,
    /// A part of a snapshot of the metadata state.
    SnapshotPart,
    /// Lists the parts of a whole snapshot.
    SnapshotDone,
    /// Written and deleted by the start-up probe.
    Probe,
}

const KINDS: [ObjectKind; 8] = [
    ObjectKind::Segment,
    ObjectKind::SessionSeal,
    ObjectKind::JournalHead,
    ObjectKind::JournalEntry,
    ObjectKind::JournalSeal,
    ObjectKind::SnapshotPart,
    ObjectKind::SnapshotDone,
    ObjectKind::Probe,
];

impl ObjectKind {
    fn code(self) -> u8 {
        KINDS
            .iter()
            .zip(1_u8..)
            .find(|(kind, _)| **kind == self)
            .map_or(0, |(_, code)| code)
    }

    fn from_code(code: u8) -> Option<Self> {
        KINDS
            .iter()
            .zip(1_u8..)
            .find(|(_, at)| *at == code)
            .map(|(kind, _)| *kind)
    }
}

/// The decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHeader {
    /// What the object is.
    pub kind: ObjectKind,
    /// The cluster that wrote it.
    pub cluster: ClusterId,
    /// The write that made it.
    pub write_id: WriteId,
    /// Bytes behind the header.
    pub body_bytes: u64,
    /// CRC-32C of the bytes behind the header.
    pub body_crc: u32,
}

/// Why bytes are not a header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer than 64 bytes.
    #[error("object is too short for a header")]
    Short(#[source] ShortBytes),
    /// The first four bytes are not ours.
    #[error("object was not written by Esker")]
    Magic,
    /// Written by a newer Esker: upgrade before reading.
    #[error("object has format version {version}, this build reads up to {FORMAT_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The header's own checksum is wrong.
    #[error("object header fails its checksum")]
    Checksum,
    /// Right version and checksum but no kind we know.
    #[error("object is of unknown kind {code}")]
    Kind {
        /// The code found.
        code: u8,
    },
}

impl From<ShortBytes> for HeaderError {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

impl ObjectHeader {
    /// The 64 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; OBJECT_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(OBJECT_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[FORMAT_VERSION, self.kind.code(), 0, 0]);
        bytes.extend_from_slice(&self.write_id.bytes());
        bytes.extend_from_slice(&self.cluster.bytes());
        bytes.extend_from_slice(&self.body_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.body_crc.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let checksum = crate::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        let mut header = [0; OBJECT_HEADER_BYTES];
        header.copy_from_slice(&bytes);
        header
    }

    /// Reads the first 64 bytes of an object.
    ///
    /// # Errors
    /// [`HeaderError`]: the bytes are not a header this build can read.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = ByteReader::new(bytes);
        let checked = reader.clone().take(OBJECT_HEADER_BYTES - 4)?;
        if reader.array()? != MAGIC {
            return Err(HeaderError::Magic);
        }
        let version = reader.u8()?;
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version { version });
        }
        let code = reader.u8()?;
        reader.take(2)?;
        let write_id = WriteId::from_bytes(reader.array()?);
        let cluster = ClusterId::from_bytes(reader.array()?);
        let body_bytes = reader.u64()?;
        let body_crc = reader.u32()?;
        reader.take(8)?;
        if reader.u32()? != crate::crc32c(checked) {
            return Err(HeaderError::Checksum);
        }
        let kind = ObjectKind::from_code(code).ok_or(HeaderError::Kind { code })?;
        Ok(Self {
            kind,
            cluster,
            write_id,
            body_bytes,
            body_crc,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ObjectHeader {
        ObjectHeader {
            kind: ObjectKind::SessionSeal,
            cluster: ClusterId::from_bytes([2; 16]),
            write_id: WriteId::from_bytes([1; 16]),
            body_bytes: 5,
            body_crc: 7,
        }
    }

    #[test]
    fn golden_bytes_of_a_header() {
        let golden = include_str!("../../../docs/formats/object-header.hex");

        let bytes: String = header()
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();

        assert_eq!(bytes, golden.split_whitespace().collect::<String>());
    }

    #[test]
    fn a_header_reads_back_and_each_flipped_bit_is_found() {
        let bytes = header().encode();

        assert_eq!(ObjectHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(ObjectHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        assert!(matches!(
            ObjectHeader::decode(&bytes[..63]),
            Err(HeaderError::Short(_))
        ));
    }

    #[test]
    fn a_format_from_the_future_is_named_as_such() {
        let mut bytes = header().encode();
        bytes[4] = 2;

        assert_eq!(
            ObjectHeader::decode(&bytes),
            Err(HeaderError::Version { version: 2 })
        );
    }

    #[test]
    fn a_changed_field_fails_the_checksum() {
        let mut bytes = header().encode();
        bytes[8] ^= 1;

        assert_eq!(ObjectHeader::decode(&bytes), Err(HeaderError::Checksum));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut bytes = header().encode();
        bytes[5] = 99;
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_be_bytes());

        assert_eq!(
            ObjectHeader::decode(&bytes),
            Err(HeaderError::Kind { code: 99 })
        );
    }
}
