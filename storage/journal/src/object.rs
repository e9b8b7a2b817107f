//! The bytes of the journal's objects: a 64-byte header, a version, then the fields of the kind.
//!
//! Decoders take foreign bytes: they never panic, allocate no more than a small multiple of what is
//! there, and refuse other clusters, other versions and bytes left over. Source:
//! docs/formats/journal.md.

mod entry;
mod opening;
mod snapshot;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use esker_types::{
    ByteReader, ClusterId, HeaderError, OBJECT_HEADER_BYTES, ObjectHeader, ObjectKind, ShortBytes,
    WriteId,
};

pub(crate) use entry::{COMMAND_LENGTH_BYTES, Entry};
pub(crate) use opening::{Head, Seal};
pub(crate) use snapshot::{PartRow, SnapshotDone, SnapshotPart};

/// Version of every body that this build writes, and the only one it reads.
const BODY_VERSION: u8 = 1;

/// Why bytes are not an object of this journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first 64 bytes are no header this build can read.
    #[error("object header cannot be read")]
    Header(#[source] HeaderError),
    /// Another cluster wrote it: an old copy was put back in the wrong place (J11).
    #[error("object belongs to cluster {found}, not to {expected}")]
    OtherCluster {
        /// Who wrote it.
        found: ClusterId,
        /// Whose journal this is.
        expected: ClusterId,
    },
    /// An object of another kind than can stand here.
    #[error("object of kind {found:?} cannot stand here")]
    Kind {
        /// What it is.
        found: ObjectKind,
    },
    /// The length is not what the header says.
    #[error("object has {object_bytes} bytes, its header says {header_bytes}")]
    Length {
        /// The length of the object.
        object_bytes: u64,
        /// The length by its header, header included.
        header_bytes: u64,
    },
    /// The bytes behind the header fail their checksum.
    #[error("object body fails its checksum")]
    Checksum,
    /// A newer Esker wrote it: upgrade before reading.
    #[error("object body has version {version}, this build reads {BODY_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The body ends before its fields do.
    #[error("object body is too short")]
    Short(#[source] ShortBytes),
    /// A field holds what it cannot hold.
    #[error("object body has no valid {field}")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// Bytes behind the last field.
    #[error("object body has {count} bytes too many")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The object says that it stands elsewhere.
    #[error("object was written for another place")]
    Misplaced,
}

impl From<ShortBytes> for DecodeError {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

/// Any object of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JournalObject {
    Head(Head),
    Entry(Entry),
    Seal(Seal),
    Part(SnapshotPart),
    Done(SnapshotDone),
}

/// A decoded object and the write that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) write_id: WriteId,
    pub(crate) object: JournalObject,
}

/// Says what an object below `journal/` or `snapshots/` is, if it is whole and of `cluster`. For
/// audits of a bucket.
///
/// # Errors
/// [`DecodeError`]: it is not.
pub fn check_object(cluster: ClusterId, bytes: &Bytes) -> Result<ObjectKind, DecodeError> {
    decode(cluster, bytes).map(|decoded| match decoded.object {
        JournalObject::Head(_) => ObjectKind::JournalHead,
        JournalObject::Entry(_) => ObjectKind::JournalEntry,
        JournalObject::Seal(_) => ObjectKind::JournalSeal,
        JournalObject::Part(_) => ObjectKind::SnapshotPart,
        JournalObject::Done(_) => ObjectKind::SnapshotDone,
    })
}

pub(crate) fn decode(cluster: ClusterId, bytes: &Bytes) -> Result<Decoded, DecodeError> {
    let header = ObjectHeader::decode(bytes).map_err(DecodeError::Header)?;
    let body = checked_body(&header, cluster, bytes)?;
    let mut reader = ByteReader::new(&body);
    let version = reader.u8()?;
    if version != BODY_VERSION {
        return Err(DecodeError::Version { version });
    }
    let object = match header.kind {
        ObjectKind::JournalHead => JournalObject::Head(Head::decode(&mut reader)?),
        ObjectKind::JournalEntry => JournalObject::Entry(Entry::decode(&mut reader, &body)?),
        ObjectKind::JournalSeal => JournalObject::Seal(Seal::decode(&mut reader)?),
        ObjectKind::SnapshotPart => JournalObject::Part(SnapshotPart::decode(&mut reader, &body)?),
        ObjectKind::SnapshotDone => JournalObject::Done(SnapshotDone::decode(&mut reader)?),
        ObjectKind::Segment | ObjectKind::SessionSeal | ObjectKind::Probe => {
            return Err(DecodeError::Kind { found: header.kind });
        }
    };
    match reader.remaining() {
        0 => Ok(Decoded {
            write_id: header.write_id,
            object,
        }),
        count => Err(DecodeError::Trailing { count }),
    }
}

fn checked_body(
    header: &ObjectHeader,
    expected: ClusterId,
    bytes: &Bytes,
) -> Result<Bytes, DecodeError> {
    if header.cluster != expected {
        let found = header.cluster;
        return Err(DecodeError::OtherCluster { found, expected });
    }
    let body = bytes.slice(OBJECT_HEADER_BYTES.min(bytes.len())..);
    if byte_count(&body) != header.body_bytes {
        return Err(DecodeError::Length {
            object_bytes: byte_count(bytes),
            header_bytes: header.body_bytes.saturating_add(HEADER_BYTES),
        });
    }
    if esker_types::crc32c(&body) != header.body_crc {
        return Err(DecodeError::Checksum);
    }
    Ok(body)
}

const HEADER_BYTES: u64 = 64;
const _: () = assert!(OBJECT_HEADER_BYTES == 64);

pub(crate) fn byte_count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Builds an object: room for the header, the version, then what the caller puts.
#[derive(Debug)]
struct ObjectWriter {
    bytes: Vec<u8>,
}

impl ObjectWriter {
    /// `body_bytes` is a guess, to allocate once.
    fn new(body_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(OBJECT_HEADER_BYTES.saturating_add(body_bytes));
        bytes.resize(OBJECT_HEADER_BYTES, 0);
        bytes.push(BODY_VERSION);
        Self { bytes }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A length or count that the caller has bounded.
    fn put_count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("counts and lengths are bounded by limits.rs");
        self.put(&count.to_be_bytes());
    }

    fn finish(mut self, kind: ObjectKind, cluster: ClusterId, write_id: WriteId) -> Bytes {
        let (front, body) = self.bytes.split_at_mut(OBJECT_HEADER_BYTES);
        let header = ObjectHeader {
            kind,
            cluster,
            write_id,
            body_bytes: byte_count(body),
            body_crc: esker_types::crc32c(body),
        };
        front.copy_from_slice(&header.encode());
        Bytes::from(self.bytes)
    }
}

impl DecodeError {
    /// The bytes rotted or were never ours, in contrast to bytes of another build or cluster.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Header(HeaderError::Version { .. })
            | Self::Version { .. }
            | Self::OtherCluster { .. } => false,
            Self::Header(_)
            | Self::Kind { .. }
            | Self::Length { .. }
            | Self::Checksum
            | Self::Short(_)
            | Self::Field { .. }
            | Self::Trailing { .. }
            | Self::Misplaced => true,
        }
    }
}
