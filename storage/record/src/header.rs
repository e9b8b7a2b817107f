//! The 61 bytes in front of every record batch (magic 2), read in place and bounded.
//!
//! Called by admission, segment builder, fetch and the readers of records. Parsing allocates
//! nothing and looks at no record. Source: Kafka's DefaultRecordBatch.

use esker_types::{
    ByteReader, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ShortBytes, Timestamp,
};

use crate::limits::RECORDS_PER_BATCH_MAX;

/// Bytes of the header of a record batch.
pub const RECORD_BATCH_HEADER_BYTES: usize = 61;
/// Bytes in front of what the length field counts: base offset and the field itself.
pub(crate) const LENGTH_PREFIX_BYTES: u32 = 12;
/// Where the checksummed bytes begin: at the attributes.
pub(crate) const ATTRIBUTES_AT: usize = 21;
/// Bytes of a record batch in front of those that its checksum covers.
pub const BATCH_CHECKED_FROM: usize = ATTRIBUTES_AT;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const LENGTH_AT: usize = 8;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
pub(crate) const MAGIC: i8 = 2;
const LEADER_EPOCH_AT: usize = 12;

pub(crate) const CODEC_MASK: i16 = 0b111;
pub(crate) const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub(crate) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(crate) const CONTROL_BIT: i16 = 1 << 5;

/// How the records of a batch are compressed. The numbers are Kafka's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Raw or in the framing of Java's xerial library.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// All codecs, for tables and tests.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// As the attributes of a batch have it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        let code = u8::try_from(attributes & CODEC_MASK).unwrap_or(u8::MAX);
        Self::ALL
            .into_iter()
            .find(|codec| codec.code() == code)
            .ok_or(BatchError::Codec { code })
    }

    /// Kafka's name of the codec, as in `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Bytes that are not a record batch this build can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header.
    #[error("bytes are too short for a record batch header")]
    Short(#[source] ShortBytes),
    /// The length field is smaller than a header, or negative.
    #[error("record batch has impossible length {length}")]
    Length {
        /// The length field.
        length: i32,
    },
    /// Message formats 0 and 1, or one from the future.
    #[error("record batch has magic {magic}, only {MAGIC} is supported")]
    Magic {
        /// The magic byte.
        magic: i8,
    },
    /// A codec that Kafka does not have.
    #[error("record batch has unknown codec {code}")]
    Codec {
        /// The codec's number.
        code: u8,
    },
    /// The last offset lies before the first.
    #[error("record batch has last offset delta {delta}")]
    LastOffsetDelta {
        /// The delta.
        delta: i32,
    },
    /// A negative record count or one past [`RECORDS_PER_BATCH_MAX`].
    #[error("record batch has impossible record count {count}")]
    RecordCount {
        /// The count.
        count: i32,
    },
    /// The length field says more bytes than there are.
    #[error("record batch of {batch_bytes} bytes is cut after {found_bytes}")]
    Incomplete {
        /// Bytes of the whole batch.
        batch_bytes: u32,
        /// Bytes there are.
        found_bytes: usize,
    },
    /// The CRC-32C is wrong.
    #[error("record batch fails its checksum")]
    Checksum,
}

impl From<ShortBytes> for BatchError {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

/// The header of one record batch: well formed, but not yet compared with the bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    base_offset: i64,
    batch_bytes: u32,
    leader_epoch: i32,
    crc: u32,
    attributes: i16,
    compression: Compression,
    last_offset_delta: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    record_count: u32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. The batch itself may be longer than `bytes`.
    ///
    /// # Errors
    /// [`BatchError`]: not a batch of magic 2 with believable numbers. Never
    /// [`BatchError::Incomplete`] or [`BatchError::Checksum`]: the bytes behind are not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let mut reader = ByteReader::new(bytes);
        // One test for all fields: which field is cut says nothing.
        reader.clone().take(RECORD_BATCH_HEADER_BYTES)?;
        let base_offset = reader.i64()?;
        let length = reader.i32()?;
        let leader_epoch = reader.i32()?;
        let magic = reader.i8()?;
        if magic != MAGIC {
            return Err(BatchError::Magic { magic });
        }
        let batch_bytes = batch_bytes(length)?;
        let crc = reader.u32()?;
        let attributes = reader.i16()?;
        let compression = Compression::from_attributes(attributes)?;
        let last_offset_delta = reader.i32()?;
        if last_offset_delta < 0 {
            let delta = last_offset_delta;
            return Err(BatchError::LastOffsetDelta { delta });
        }
        let base_timestamp = Timestamp::from_millis(reader.i64()?);
        let max_timestamp = Timestamp::from_millis(reader.i64()?);
        let producer_id = reader.i64()?;
        let producer_epoch = reader.i16()?;
        let base_sequence = reader.i32()?;
        let record_count = record_count(reader.i32()?)?;
        Ok(Self {
            base_offset,
            batch_bytes,
            leader_epoch,
            crc,
            attributes,
            compression,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count,
        })
    }

    /// Compares the checksum of the header with the whole batch's bytes, all of them or more.
    ///
    /// # Errors
    /// [`BatchError::Incomplete`] and [`BatchError::Checksum`].
    pub fn check(&self, bytes: &[u8]) -> Result<(), BatchError> {
        let incomplete = BatchError::Incomplete {
            batch_bytes: self.batch_bytes,
            found_bytes: bytes.len(),
        };
        let end = usize::try_from(self.batch_bytes).map_err(|_| incomplete)?;
        let checked = bytes.get(ATTRIBUTES_AT..end).ok_or(incomplete)?;
        if esker_types::crc32c(checked) != self.crc {
            return Err(BatchError::Checksum);
        }
        Ok(())
    }

    /// The header after a rewrite of these three fields.
    pub(crate) fn rewritten(self, attributes: i16, max_timestamp: Timestamp, crc: u32) -> Self {
        Self {
            attributes,
            max_timestamp,
            crc,
            ..self
        }
    }

    /// Offset of the first record: 0 from a producer, the log's once stamped.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes of the whole batch, header included; at least [`RECORD_BATCH_HEADER_BYTES`].
    #[must_use]
    pub fn batch_bytes(&self) -> u32 {
        self.batch_bytes
    }

    /// Leader epoch, as Kafka's wire has it.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// CRC-32C of everything from the attributes on.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The attribute bits.
    #[must_use]
    pub fn attributes(&self) -> i16 {
        self.attributes
    }

    /// The codec of the records.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// A control batch: transaction markers and the like, never written by clients.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// All records carry [`Self::max_timestamp`], the time of the append.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }

    /// Offset of the last record less the base offset; never negative.
    #[must_use]
    pub fn last_offset_delta(&self) -> i32 {
        self.last_offset_delta
    }

    /// The time that the records' timestamp deltas count from.
    #[must_use]
    pub fn base_timestamp(&self) -> Timestamp {
        self.base_timestamp
    }

    /// Largest timestamp of the records, by the producer's word.
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp
    }

    /// Producer id; -1 without one.
    #[must_use]
    pub fn producer_id(&self) -> i64 {
        self.producer_id
    }

    /// Producer epoch; -1 without a producer id.
    #[must_use]
    pub fn producer_epoch(&self) -> i16 {
        self.producer_epoch
    }

    /// Sequence of the first record; -1 without a producer id.
    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        self.base_sequence
    }

    /// Producer id, its epoch and the base sequence (0 or more); `None` unless all are there.
    #[must_use]
    pub fn producer(&self) -> Option<(ProducerId, ProducerEpoch, i32)> {
        let id = ProducerId::from_wire(self.producer_id)?;
        let epoch = ProducerEpoch::from_wire(self.producer_epoch)?;
        (self.base_sequence >= 0).then_some((id, epoch, self.base_sequence))
    }

    /// Records in the batch, at most [`RECORDS_PER_BATCH_MAX`].
    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.record_count
    }
}

fn batch_bytes(length: i32) -> Result<u32, BatchError> {
    let impossible = BatchError::Length { length };
    let length = u32::try_from(length).map_err(|_| impossible)?;
    let batch_bytes = length.checked_add(LENGTH_PREFIX_BYTES).ok_or(impossible)?;
    let whole = usize::try_from(batch_bytes).map_err(|_| impossible)?;
    (whole >= RECORD_BATCH_HEADER_BYTES)
        .then_some(batch_bytes)
        .ok_or(impossible)
}

fn record_count(count: i32) -> Result<u32, BatchError> {
    let known = u32::try_from(count).ok();
    known
        .filter(|known| *known <= RECORDS_PER_BATCH_MAX)
        .ok_or(BatchError::RecordCount { count })
}

/// Writes base offset and leader epoch into a batch, in place. Both lie outside its checksum, so
/// nothing else changes.
///
/// # Panics
/// When `batch` is shorter than a header: only checked batches are stamped.
pub fn stamp(batch: &mut [u8], base_offset: Offset, epoch: LeaderEpoch) {
    assert!(
        batch.len() >= RECORD_BATCH_HEADER_BYTES,
        "only whole record batches are stamped"
    );
    overwrite(batch, 0, &base_offset.to_wire().to_be_bytes());
    overwrite(batch, LEADER_EPOCH_AT, &epoch.to_wire().to_be_bytes());
}

/// Replaces the bytes from `at` on.
pub(crate) fn overwrite(batch: &mut [u8], at: usize, field: &[u8]) {
    let place = batch
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..field.len()));
    assert!(place.is_some(), "a field lies within its batch");
    if let Some(place) = place {
        place.copy_from_slice(field);
    }
}

#[cfg(test)]
mod tests;
