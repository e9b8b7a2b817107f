//! The records inside a batch, one after another, with every length compared to what is left.
//!
//! Plain batches are sliced without a copy; compressed ones are decompressed as they are read, so
//! that memory holds one record and a window, whatever the batch expands to. Duplicate header keys
//! and their order survive.

use bytes::Bytes;
use esker_types::Timestamp;

use crate::inflate::{CodecError, Decoder, Inflated};
use crate::limits::{
    DECOMPRESSED_BYTES_FLOOR, DECOMPRESSED_BYTES_MAX, DECOMPRESSED_RATIO_MAX, HEADER_BYTES_MIN,
    HEADERS_PER_RECORD_MAX, RECORD_BYTES_MIN,
};
use crate::varint::{VARINT_BYTES_MAX, read_varint, read_varlong};
use crate::{BatchError, BatchHeader, RECORD_BATCH_HEADER_BYTES};

/// How much a reader of records is ready to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of all records of one batch, decompressed. Never more than the ratio of
    /// [`DECOMPRESSED_RATIO_MAX`] allows, whatever stands here.
    pub decompressed_bytes_max: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        }
    }
}

impl ReadLimits {
    /// Bytes that so many compressed bytes may become.
    #[must_use]
    pub fn cap(&self, compressed_bytes: u64) -> u64 {
        compressed_bytes
            .saturating_mul(DECOMPRESSED_RATIO_MAX)
            .max(DECOMPRESSED_BYTES_FLOOR)
            .min(self.decompressed_bytes_max)
    }
}

/// Why the records of a batch cannot be read (on).
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The batch itself.
    #[error("record batch cannot be read")]
    Batch(#[source] BatchError),
    /// The compressed bytes are not of their codec.
    #[error("records cannot be decompressed")]
    Codec(#[source] CodecError),
    /// They decompress to more than is allowed.
    #[error("records decompress to more than {bytes_max} bytes")]
    TooLarge {
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// More records than the bytes can hold.
    #[error("record batch claims {record_count} records in too few bytes")]
    RecordCount {
        /// Records by the header.
        record_count: u32,
    },
    /// The bytes end before the records do.
    #[error("record batch ends within record {record}")]
    Short {
        /// The record, from 0.
        record: u32,
    },
    /// Bytes are left behind the last record.
    #[error("record batch goes on behind its last record")]
    Trailing,
    /// A length or count that its record cannot hold, or a number that is none.
    #[error("record {record} of the batch is malformed")]
    Malformed {
        /// The record, from 0.
        record: u32,
    },
    /// More than [`HEADERS_PER_RECORD_MAX`].
    #[error("record {record} of the batch has {count} headers")]
    HeaderCount {
        /// The record, from 0.
        record: u32,
        /// Headers by its count.
        count: u32,
    },
    /// An offset that does not ascend or lies outside the batch.
    #[error("record batch has a record at offset delta {delta}")]
    OffsetDelta {
        /// The delta found.
        delta: i64,
    },
    /// Base and delta of an offset or a timestamp do not add up to one.
    #[error("record {record} of the batch has an offset or timestamp out of range")]
    OutOfRange {
        /// The record, from 0.
        record: u32,
    },
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset: absolute once the batch is stamped.
    pub offset: i64,
    /// Its timestamp; the append's on batches with log append time.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; without one it is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order, duplicates too. Keys are text by convention only.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Where the bytes of records come from.
#[derive(Debug)]
enum Source {
    Plain(Bytes),
    Inflated(Box<Inflated>),
}

/// The records of one batch, in order. Ends after the first error.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    source: Source,
    read: u32,
    next_delta: i64,
    ended: bool,
}

/// Reads the records of the batch at the front of `batch`, after comparing its checksum.
///
/// # Errors
/// [`RecordError`]: here of the batch as a whole, from the iterator of a record.
pub fn read_records(batch: &Bytes, limits: &ReadLimits) -> Result<Records, RecordError> {
    let header = BatchHeader::parse(batch).map_err(RecordError::Batch)?;
    header.check(batch).map_err(RecordError::Batch)?;
    Records::open(header, batch, limits)
}

impl Records {
    /// Reads on behind a header; the checksum is the caller's to compare.
    pub(crate) fn open(
        header: BatchHeader,
        batch: &Bytes,
        limits: &ReadLimits,
    ) -> Result<Self, RecordError> {
        let end = usize::try_from(header.batch_bytes()).unwrap_or(usize::MAX);
        if end < RECORD_BATCH_HEADER_BYTES || end > batch.len() {
            return Err(RecordError::Batch(BatchError::Incomplete {
                batch_bytes: header.batch_bytes(),
                found_bytes: batch.len(),
            }));
        }
        let body = batch.slice(RECORD_BATCH_HEADER_BYTES..end);
        let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let cap = limits.cap(body_bytes);
        let decoder = Decoder::open(header.compression(), body.clone());
        let (source, room) = match decoder.map_err(RecordError::Codec)? {
            None => (Source::Plain(body), body_bytes),
            Some(decoder) => (Source::Inflated(Box::new(Inflated::new(decoder, cap))), cap),
        };
        let record_count = header.record_count();
        if u64::from(record_count) > room / u64::from(RECORD_BYTES_MIN) {
            return Err(RecordError::RecordCount { record_count });
        }
        Ok(Self {
            header,
            source,
            read: 0,
            next_delta: 0,
            ended: false,
        })
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn read_next(&mut self) -> Result<Option<Record>, RecordError> {
        if self.read >= self.header.record_count() {
            return match self.source.at_end()? {
                true => Ok(None),
                false => Err(RecordError::Trailing),
            };
        }
        let body = self.source.take_record(self.read)?;
        let raw = RawRecord::parse(&body, self.read)?;
        let record = self.place(raw)?;
        self.read += 1;
        Ok(Some(record))
    }

    /// Turns deltas into an offset and a timestamp.
    fn place(&mut self, raw: RawRecord) -> Result<Record, RecordError> {
        let delta = i64::from(raw.offset_delta);
        if delta < self.next_delta || delta > i64::from(self.header.last_offset_delta()) {
            return Err(RecordError::OffsetDelta { delta });
        }
        self.next_delta = delta + 1;
        let out_of_range = || RecordError::OutOfRange { record: self.read };
        let offset = self.header.base_offset().checked_add(delta);
        let base = self.header.base_timestamp().millis();
        let timestamp = match self.header.is_log_append_time() {
            true => Some(self.header.max_timestamp()),
            false => base
                .checked_add(raw.timestamp_delta)
                .map(Timestamp::from_millis),
        };
        Ok(Record {
            offset: offset.ok_or_else(out_of_range)?,
            timestamp: timestamp.ok_or_else(out_of_range)?,
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read_next().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Source {
    /// The bytes of the next record, its length not included.
    fn take_record(&mut self, record: u32) -> Result<Bytes, RecordError> {
        let short = RecordError::Short { record };
        match self {
            Self::Plain(rest) => {
                let (prefix, length) = record_length(rest, record)?;
                let end = prefix.checked_add(length).filter(|end| *end <= rest.len());
                let taken = rest.split_to(end.ok_or(short)?);
                Ok(taken.slice(prefix..))
            }
            Self::Inflated(inflated) => {
                let (prefix, length) = record_length(inflated.peek(VARINT_BYTES_MAX)?, record)?;
                inflated.take(prefix, length)?.ok_or(short)
            }
        }
    }

    fn at_end(&mut self) -> Result<bool, RecordError> {
        match self {
            Self::Plain(rest) => Ok(rest.is_empty()),
            Self::Inflated(inflated) => Ok(inflated.peek(1)?.is_empty()),
        }
    }
}

/// Bytes of the length in front of a record, and the length.
fn record_length(bytes: &[u8], record: u32) -> Result<(usize, usize), RecordError> {
    if bytes.is_empty() {
        return Err(RecordError::Short { record });
    }
    let (length, prefix) = read_varint(bytes).map_err(|_| RecordError::Malformed { record })?;
    let length = usize::try_from(length).map_err(|_| RecordError::Malformed { record })?;
    Ok((prefix, length))
}

/// A record as it is stored: deltas instead of positions.
struct RawRecord {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(Bytes, Option<Bytes>)>,
}

impl RawRecord {
    fn parse(body: &Bytes, record: u32) -> Result<Self, RecordError> {
        let mut fields = Fields {
            body,
            at: 0,
            record,
        };
        fields.skip_attributes()?;
        let timestamp_delta = fields.varlong()?;
        let offset_delta = fields.varint()?;
        let key = fields.nullable()?;
        let value = fields.nullable()?;
        let headers = fields.headers()?;
        if fields.at != body.len() {
            return Err(fields.malformed());
        }
        Ok(Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        })
    }
}

/// A cursor over one record.
struct Fields<'a> {
    body: &'a Bytes,
    at: usize,
    record: u32,
}

impl Fields<'_> {
    fn malformed(&self) -> RecordError {
        RecordError::Malformed {
            record: self.record,
        }
    }

    fn rest(&self) -> &[u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    fn skip_attributes(&mut self) -> Result<(), RecordError> {
        if self.rest().is_empty() {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    fn varlong(&mut self) -> Result<i64, RecordError> {
        let (value, length) = read_varlong(self.rest()).map_err(|_| self.malformed())?;
        self.at += length;
        Ok(value)
    }

    fn varint(&mut self) -> Result<i32, RecordError> {
        let (value, length) = read_varint(self.rest()).map_err(|_| self.malformed())?;
        self.at += length;
        Ok(value)
    }

    /// Bytes behind their length; -1 is null.
    fn nullable(&mut self) -> Result<Option<Bytes>, RecordError> {
        match self.varint()? {
            -1 => Ok(None),
            length => self.slice(length).map(Some),
        }
    }

    fn slice(&mut self, length: i32) -> Result<Bytes, RecordError> {
        let length = usize::try_from(length).map_err(|_| self.malformed())?;
        let end = self.at.checked_add(length);
        let end = end.filter(|end| *end <= self.body.len());
        let end = end.ok_or_else(|| self.malformed())?;
        let slice = self.body.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    fn headers(&mut self) -> Result<Vec<(Bytes, Option<Bytes>)>, RecordError> {
        let count = u32::try_from(self.varint()?).map_err(|_| self.malformed())?;
        if count > HEADERS_PER_RECORD_MAX {
            let record = self.record;
            return Err(RecordError::HeaderCount { record, count });
        }
        let least = u64::from(count) * u64::from(HEADER_BYTES_MIN);
        if least > u64::try_from(self.rest().len()).unwrap_or(u64::MAX) {
            return Err(self.malformed());
        }
        let mut headers = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for _ in 0..count {
            let length = self.varint()?;
            let key = self.slice(length)?; // a header's key is never null
            let value = self.nullable()?;
            headers.push((key, value));
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests;
