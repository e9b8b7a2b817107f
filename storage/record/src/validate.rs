//! What a produced batch must be before it is admitted: one whole batch, sound, allowed.
//!
//! Called by ingest for every batch, so the usual path reads 61 bytes and one checksum and looks
//! at no record. Source: Kafka's LogValidator.

use bytes::{Bytes, BytesMut};
use esker_types::Timestamp;

use crate::append_time::rewrite;
use crate::limits::{KEYLESS_RECORDS_TOLD_MAX, RECORD_BYTES_MIN};
use crate::recompress::{Recompression, recompress};
use crate::records::{ReadLimits, RecordError, Records};
use crate::{BatchError, BatchHeader, Compression, RECORD_BATCH_HEADER_BYTES};

/// What a topic and a request allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// Bytes of one batch, header included: the topic's `max.message.bytes`.
    pub batch_bytes_max: u32,
    /// The request is new enough for zstd (Produce 7).
    pub zstd_allowed: bool,
    /// No record may be later: now plus `message.timestamp.after.max.ms`. `None` on topics that
    /// stamp the append time themselves.
    pub timestamp_max: Option<Timestamp>,
    /// Reads every record inside. Costs a decompression; without it records are taken on the
    /// word of the header, and a reader must cope with what it finds.
    pub walk_records: bool,
    /// Every record must have a key, as on compacted topics. Walks the records.
    pub keys_required: bool,
}

impl Default for ProduceRules {
    /// A topic with Kafka's defaults and no clock: any timestamp, records not walked.
    fn default() -> Self {
        Self {
            batch_bytes_max: esker_types::limits::RECORD_BATCH_BYTES_DEFAULT,
            zstd_allowed: true,
            timestamp_max: None,
            walk_records: false,
            keys_required: false,
        }
    }
}

/// Why a produced batch is refused. None of them is worth a retry with the same bytes.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// Not a readable batch, cut, or damaged. `Checksum` and `Incomplete` are Kafka's
    /// CORRUPT_MESSAGE, the others INVALID_RECORD.
    #[error("produced bytes are no sound record batch")]
    Batch(#[source] BatchError),
    /// More bytes behind the batch: one batch per partition and request. INVALID_RECORD.
    #[error("record batch is followed by {left_bytes} more bytes")]
    Trailing {
        /// How many.
        left_bytes: usize,
    },
    /// MESSAGE_TOO_LARGE: the producer splits the batch.
    #[error("record batch has {batch_bytes} bytes, at most {batch_bytes_max} are allowed")]
    TooLarge {
        /// Bytes of the batch.
        batch_bytes: u32,
        /// Bytes allowed.
        batch_bytes_max: u32,
    },
    /// Count and offsets disagree, or the batch is empty. INVALID_RECORD.
    #[error("record batch of {record_count} records has last offset delta {last_offset_delta}")]
    Count {
        /// Records by the header.
        record_count: u32,
        /// Last offset delta by the header.
        last_offset_delta: i32,
    },
    /// More records than the bytes can hold. INVALID_RECORD.
    #[error("record batch of {batch_bytes} bytes claims {record_count} records")]
    TooManyRecords {
        /// Records by the header.
        record_count: u32,
        /// Bytes of the batch.
        batch_bytes: u32,
    },
    /// Producers count from 0. INVALID_RECORD.
    #[error("produced record batch has base offset {base_offset}")]
    BaseOffset {
        /// The offset found.
        base_offset: i64,
    },
    /// Clients do not write control batches. INVALID_RECORD.
    #[error("produced record batch is a control batch")]
    Control,
    /// UNSUPPORTED_COMPRESSION_TYPE: the request is older than zstd.
    #[error("record batch is compressed with zstd in a request too old for it")]
    Zstd,
    /// Producer id, epoch and sequence must all be there or the id be -1; a transactional batch
    /// needs them. INVALID_RECORD.
    #[error("record batch has producer {producer_id} epoch {producer_epoch} at {base_sequence}")]
    Producer {
        /// The id found.
        producer_id: i64,
        /// The epoch found.
        producer_epoch: i16,
        /// The sequence found.
        base_sequence: i32,
    },
    /// Only the log stamps the append time. INVALID_TIMESTAMP.
    #[error("produced record batch claims log append time")]
    AppendTime,
    /// INVALID_TIMESTAMP.
    #[error("record batch has a timestamp later than the topic allows")]
    TimestampTooLate {
        /// The timestamp found.
        timestamp: Timestamp,
        /// The latest allowed.
        timestamp_max: Timestamp,
    },
    /// INVALID_RECORD, with the numbers of the records in `record_errors`: librdkafka tells the
    /// application of each record which ones were at fault.
    #[error("{} records of the batch have no key", records.len())]
    KeyMissing {
        /// The records, from 0; the first [`KEYLESS_RECORDS_TOLD_MAX`] of them.
        records: Vec<u32>,
    },
    /// The records inside are not what the header says. INVALID_RECORD.
    #[error("records of the batch cannot be read")]
    Records(#[source] RecordError),
}

/// A batch that may be admitted. Only [`validate_produced`] makes one.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl ValidatedBatch {
    /// Its header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Its bytes, all of them.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same batch with the time of its append instead of its records' own: for topics with
    /// `message.timestamp.type=LogAppendTime`. Copies the bytes unless nobody else holds them.
    #[must_use]
    pub fn with_log_append_time(self, now: Timestamp) -> Self {
        let mut bytes = match self.bytes.try_into_mut() {
            Ok(owned) => owned,
            Err(shared) => BytesMut::from(shared.as_ref()),
        };
        let header = rewrite(self.header, &mut bytes, now);
        Self {
            header,
            bytes: bytes.freeze(),
        }
    }
}

impl ValidatedBatch {
    /// The same records, compressed as the topic wants them; at most `batch_bytes_max` then.
    ///
    /// # Errors
    /// [`ValidateError::Records`] when they cannot be read, [`ValidateError::TooLarge`].
    pub fn recompressed(
        self,
        wanted: Recompression,
        batch_bytes_max: u32,
    ) -> Result<Self, ValidateError> {
        if self.header.compression() == wanted.codec {
            return Ok(self);
        }
        let rewritten = recompress(self.header, &self.bytes, wanted);
        let (header, bytes) = rewritten.map_err(ValidateError::Records)?;
        let batch_bytes = header.batch_bytes();
        if batch_bytes > batch_bytes_max {
            return Err(ValidateError::TooLarge {
                batch_bytes,
                batch_bytes_max,
            });
        }
        Ok(Self { header, bytes })
    }
}

/// Checks that `bytes` are exactly one record batch that `rules` allow.
///
/// # Errors
/// [`ValidateError`]: each variant names Kafka's error code.
pub fn validate_produced(
    bytes: Bytes,
    rules: &ProduceRules,
) -> Result<ValidatedBatch, ValidateError> {
    let header = BatchHeader::parse(&bytes).map_err(ValidateError::Batch)?;
    check_size(&header, &bytes, rules)?;
    header.check(&bytes).map_err(ValidateError::Batch)?;
    check_header(&header, rules)?;
    if rules.walk_records || rules.keys_required {
        walk(&header, &bytes, rules)?;
    }
    Ok(ValidatedBatch { header, bytes })
}

fn check_size(
    header: &BatchHeader,
    bytes: &Bytes,
    rules: &ProduceRules,
) -> Result<(), ValidateError> {
    let batch_bytes = header.batch_bytes();
    let batch_bytes_max = rules.batch_bytes_max;
    if batch_bytes > batch_bytes_max {
        return Err(ValidateError::TooLarge {
            batch_bytes,
            batch_bytes_max,
        });
    }
    let whole = usize::try_from(batch_bytes).unwrap_or(usize::MAX);
    match bytes.len().checked_sub(whole) {
        None => Err(ValidateError::Batch(BatchError::Incomplete {
            batch_bytes,
            found_bytes: bytes.len(),
        })),
        Some(0) => Ok(()),
        Some(left_bytes) => Err(ValidateError::Trailing { left_bytes }),
    }
}

fn check_header(header: &BatchHeader, rules: &ProduceRules) -> Result<(), ValidateError> {
    if header.is_control() {
        return Err(ValidateError::Control);
    }
    check_count(header)?;
    let base_offset = header.base_offset();
    if base_offset != 0 {
        return Err(ValidateError::BaseOffset { base_offset });
    }
    if header.compression() == Compression::Zstd && !rules.zstd_allowed {
        return Err(ValidateError::Zstd);
    }
    let anonymous = header.producer_id() == -1 && !header.is_transactional();
    if !anonymous && header.producer().is_none() {
        return Err(ValidateError::Producer {
            producer_id: header.producer_id(),
            producer_epoch: header.producer_epoch(),
            base_sequence: header.base_sequence(),
        });
    }
    if header.is_log_append_time() {
        return Err(ValidateError::AppendTime);
    }
    check_timestamp(header.max_timestamp(), rules)
}

fn check_count(header: &BatchHeader) -> Result<(), ValidateError> {
    let record_count = header.record_count();
    let last_offset_delta = header.last_offset_delta();
    let spanned = i64::from(last_offset_delta) + 1;
    if record_count == 0 || spanned != i64::from(record_count) {
        return Err(ValidateError::Count {
            record_count,
            last_offset_delta,
        });
    }
    let batch_bytes = header.batch_bytes();
    let header_bytes = u32::try_from(RECORD_BATCH_HEADER_BYTES).unwrap_or(u32::MAX);
    let room = match header.compression() {
        Compression::None => u64::from(batch_bytes - header_bytes),
        _ => ReadLimits::default().cap(u64::from(batch_bytes - header_bytes)),
    };
    if u64::from(record_count) > room / u64::from(RECORD_BYTES_MIN) {
        return Err(ValidateError::TooManyRecords {
            record_count,
            batch_bytes,
        });
    }
    Ok(())
}

fn check_timestamp(timestamp: Timestamp, rules: &ProduceRules) -> Result<(), ValidateError> {
    match rules.timestamp_max {
        Some(timestamp_max) if timestamp > timestamp_max => Err(ValidateError::TimestampTooLate {
            timestamp,
            timestamp_max,
        }),
        _ => Ok(()),
    }
}

fn walk(header: &BatchHeader, bytes: &Bytes, rules: &ProduceRules) -> Result<(), ValidateError> {
    let records = Records::open(*header, bytes, &ReadLimits::default());
    let records = records.map_err(ValidateError::Records)?;
    let mut keyless = Vec::new();
    for (number, record) in (0_u32..).zip(records) {
        let record = record.map_err(ValidateError::Records)?;
        if record.offset != i64::from(number) {
            let delta = record.offset;
            return Err(ValidateError::Records(RecordError::OffsetDelta { delta }));
        }
        check_timestamp(record.timestamp, rules)?;
        let is_wrong = rules.keys_required && record.key.is_none();
        if is_wrong && keyless.len() < KEYLESS_RECORDS_TOLD_MAX {
            keyless.push(number);
        }
    }
    if keyless.is_empty() {
        return Ok(());
    }
    Err(ValidateError::KeyMissing { records: keyless })
}

#[cfg(test)]
mod tests;
