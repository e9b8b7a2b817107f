//! Builds record batches where Esker itself is the producer: HTTP append, command line, tests.
//!
//! The result is what [`validate_produced`](crate::validate_produced) admits and every Kafka
//! client reads: base offset 0, a correct checksum, deltas from the first record's timestamp.

use std::io::Write as _;

use bytes::Bytes;
use esker_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::header::{
    ATTRIBUTES_AT, CRC_AT, LENGTH_PREFIX_BYTES, MAGIC, TRANSACTIONAL_BIT, overwrite,
};
use crate::inflate::{lz4_compress, snappy_compress};
use crate::limits::{
    DECOMPRESSED_BYTES_MAX, HEADERS_PER_RECORD_MAX, RECORDS_PER_BATCH_MAX, ZSTD_LEVEL_MAX,
};
use crate::recompress::Recompression;
use crate::records::ReadLimits;
use crate::varint::put_varlong;
use crate::{BatchHeader, Compression, RECORD_BATCH_HEADER_BYTES};

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; without one it is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Records that cannot make one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No record: there is no empty batch.
    #[error("record batch without records")]
    Empty,
    /// More than [`RECORDS_PER_BATCH_MAX`].
    #[error("record batch is full of records")]
    RecordCount,
    /// More than [`HEADERS_PER_RECORD_MAX`].
    #[error("record has {count} headers")]
    HeaderCount {
        /// How many.
        count: usize,
    },
    /// All records together are past [`DECOMPRESSED_BYTES_MAX`].
    #[error("record batch is full of bytes")]
    TooLarge,
    /// The timestamp is too far from the first record's.
    #[error("record has a timestamp out of range")]
    Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Producer {
    id: ProducerId,
    epoch: ProducerEpoch,
    base_sequence: i32,
}

/// Gathers the records of one batch.
///
/// ```
/// use esker_record::{
///     BatchBuilder, Compression, NewRecord, ProduceRules, ReadLimits, read_records,
///     validate_produced,
/// };
/// use esker_types::Timestamp;
///
/// let mut builder = BatchBuilder::new(Compression::Lz4);
/// builder.push(&NewRecord {
///     timestamp: Timestamp::from_millis(1_700_000_000_000),
///     value: Some("first".into()),
///     ..NewRecord::default()
/// })?;
/// let batch = builder.build()?;
///
/// let admitted = validate_produced(batch, &ProduceRules::default())?;
/// assert_eq!(admitted.header().record_count(), 1);
/// for record in read_records(admitted.bytes(), &ReadLimits::default())? {
///     assert_eq!(record?.value.as_deref(), Some(b"first".as_slice()));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    producer: Option<Producer>,
    transactional: bool,
    records: Vec<u8>,
    record_count: u32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            producer: None,
            transactional: false,
            records: Vec::new(),
            record_count: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
        }
    }

    /// Makes it a batch of an idempotent producer.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.producer = Some(Producer {
            id,
            epoch,
            base_sequence,
        });
        self
    }

    /// Makes it part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.transactional = true;
        self
    }

    /// Records so far.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Bytes of the batch if it ended here and were not compressed.
    #[must_use]
    pub fn plain_bytes(&self) -> usize {
        RECORD_BATCH_HEADER_BYTES + self.records.len()
    }

    /// Appends a record.
    ///
    /// # Errors
    /// [`BuildError`]: the record does not fit; the batch is as before.
    pub fn push(&mut self, record: &NewRecord) -> Result<(), BuildError> {
        if self.record_count >= RECORDS_PER_BATCH_MAX {
            return Err(BuildError::RecordCount);
        }
        let count = record.headers.len();
        if u32::try_from(count).map_or(true, |count| count > HEADERS_PER_RECORD_MAX) {
            return Err(BuildError::HeaderCount { count });
        }
        let base_timestamp = match self.record_count {
            0 => record.timestamp,
            _ => self.base_timestamp,
        };
        let base = base_timestamp.millis();
        let delta = record.timestamp.millis().checked_sub(base);
        let delta = delta.ok_or(BuildError::Timestamp)?;
        self.check_room(record)?;
        let body = put_record(record, delta, self.record_count);
        let before = self.records.len();
        put_length(&mut self.records, body.len());
        self.records.extend_from_slice(&body);
        if !fits(self.records.len()) {
            self.records.truncate(before);
            return Err(BuildError::TooLarge);
        }
        self.max_timestamp = match self.record_count {
            0 => record.timestamp,
            _ => self.max_timestamp.max(record.timestamp),
        };
        self.base_timestamp = base_timestamp;
        self.record_count += 1;
        Ok(())
    }

    /// A record that is too large by its payload alone is refused before it is copied.
    fn check_room(&self, record: &NewRecord) -> Result<(), BuildError> {
        let length_of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let mut bytes = self.records.len();
        bytes = bytes.saturating_add(length_of(&record.key));
        bytes = bytes.saturating_add(length_of(&record.value));
        for (key, value) in &record.headers {
            bytes = bytes.saturating_add(key.len());
            bytes = bytes.saturating_add(length_of(value));
        }
        if !fits(bytes) {
            return Err(BuildError::TooLarge);
        }
        Ok(())
    }

    /// The whole batch. Records that compress better than readers may believe stay plain.
    ///
    /// # Errors
    /// [`BuildError::Empty`].
    pub fn build(self) -> Result<Bytes, BuildError> {
        if self.record_count == 0 {
            return Err(BuildError::Empty);
        }
        let own_level = Recompression {
            codec: self.compression,
            level: -1,
        };
        let packed = compress(own_level, &self.records);
        let cap = ReadLimits::default().cap(u64::try_from(packed.len()).unwrap_or(u64::MAX));
        let believable = u64::try_from(self.records.len()).is_ok_and(|bytes| bytes <= cap);
        match believable {
            true => Ok(self.frame(self.compression, &packed)),
            false => Ok(self.frame(Compression::None, &self.records)),
        }
    }

    fn frame(&self, compression: Compression, body: &[u8]) -> Bytes {
        let batch_bytes = RECORD_BATCH_HEADER_BYTES + body.len();
        let length = u32::try_from(batch_bytes).map(|bytes| bytes - LENGTH_PREFIX_BYTES);
        let length = length.ok().and_then(|length| i32::try_from(length).ok());
        let last_delta = i32::try_from(self.record_count - 1).ok();
        let mut attributes = i16::from(compression.code());
        if self.transactional {
            attributes |= TRANSACTIONAL_BIT;
        }
        let mut batch = Vec::with_capacity(batch_bytes);
        batch.extend_from_slice(&Offset::ZERO.to_wire().to_be_bytes());
        batch.extend_from_slice(&length.unwrap_or_default().to_be_bytes());
        batch.extend_from_slice(&LeaderEpoch::CONSTANT.to_wire().to_be_bytes());
        batch.extend_from_slice(&MAGIC.to_be_bytes());
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&attributes.to_be_bytes());
        batch.extend_from_slice(&last_delta.unwrap_or_default().to_be_bytes());
        batch.extend_from_slice(&self.base_timestamp.millis().to_be_bytes());
        batch.extend_from_slice(&self.max_timestamp.millis().to_be_bytes());
        let producer = self.producer;
        let id = producer.map_or(-1, |producer| producer.id.to_wire());
        let epoch = producer.map_or(-1, |producer| producer.epoch.to_wire());
        let sequence = producer.map_or(-1, |producer| producer.base_sequence);
        batch.extend_from_slice(&id.to_be_bytes());
        batch.extend_from_slice(&epoch.to_be_bytes());
        batch.extend_from_slice(&sequence.to_be_bytes());
        batch.extend_from_slice(&self.record_count.to_be_bytes());
        batch.extend_from_slice(body);
        let crc = esker_types::crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default());
        overwrite(&mut batch, CRC_AT, &crc.to_be_bytes());
        let header = BatchHeader::parse(&batch);
        let whole = header.and_then(|header| header.check(&batch).map(|()| header));
        assert!(
            whole.is_ok_and(|header| usize::try_from(header.batch_bytes()) == Ok(batch.len())),
            "a built batch is one whole batch"
        );
        Bytes::from(batch)
    }
}

fn fits(records_bytes: usize) -> bool {
    u64::try_from(records_bytes).is_ok_and(|bytes| bytes <= DECOMPRESSED_BYTES_MAX)
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    put_varlong(bytes, i64::try_from(length).unwrap_or(i64::MAX));
}

fn put_nullable(bytes: &mut Vec<u8>, value: Option<&Bytes>) {
    match value {
        None => put_varlong(bytes, -1),
        Some(value) => {
            put_length(bytes, value.len());
            bytes.extend_from_slice(value);
        }
    }
}

fn put_record(record: &NewRecord, timestamp_delta: i64, offset_delta: u32) -> Vec<u8> {
    let mut body = vec![0]; // attributes: none are in use
    put_varlong(&mut body, timestamp_delta);
    put_varlong(&mut body, i64::from(offset_delta));
    put_nullable(&mut body, record.key.as_ref());
    put_nullable(&mut body, record.value.as_ref());
    put_length(&mut body, record.headers.len());
    for (key, value) in &record.headers {
        put_nullable(&mut body, Some(key));
        put_nullable(&mut body, value.as_ref());
    }
    body
}

pub(crate) fn compress(wanted: Recompression, plain: &[u8]) -> Vec<u8> {
    match wanted.codec {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let level = u32::try_from(wanted.level).ok();
            let level = level.filter(|level| (1..=9).contains(level));
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            let packed = encoder.write_all(plain).and_then(|()| encoder.finish());
            assert!(packed.is_ok(), "memory takes every byte");
            packed.unwrap_or_default()
        }
        Compression::Snappy => snappy_compress(plain),
        Compression::Lz4 => lz4_compress(plain),
        Compression::Zstd => {
            let level = match wanted.level {
                -1 | 0 => zstd::DEFAULT_COMPRESSION_LEVEL,
                level => level.min(ZSTD_LEVEL_MAX),
            };
            let packed = zstd::stream::encode_all(plain, level);
            assert!(packed.is_ok(), "memory takes every byte");
            packed.unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests;
