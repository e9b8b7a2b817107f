//! Rewrites a batch with another codec, for topics that do not keep that of the producer.
//!
//! Every record is read first, under the caps of `limits.rs`; nothing but codec, length, checksum
//! and the compressed bytes changes. Memory: the records, decompressed, and the new batch.

use bytes::Bytes;

use crate::builder::compress;
use crate::header::{ATTRIBUTES_AT, CODEC_MASK, CRC_AT, LENGTH_AT, LENGTH_PREFIX_BYTES, overwrite};
use crate::inflate::inflate;
use crate::records::Records;
use crate::{BatchHeader, Compression, RECORD_BATCH_HEADER_BYTES, ReadLimits, RecordError};

/// What a topic wants its batches compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recompression {
    /// The codec.
    pub codec: Compression,
    /// How hard gzip (1 to 9) and zstd (up to [`crate::limits::ZSTD_LEVEL_MAX`], a higher one
    /// counts as that) try; any other number is the codec's own default.
    pub level: i32,
}

/// The batch with its records compressed in another way. Records that compress better than readers
/// may believe stay plain. `batch` is whole and its checksum was compared.
pub(crate) fn recompress(
    header: BatchHeader,
    batch: &Bytes,
    wanted: Recompression,
) -> Result<(BatchHeader, Bytes), RecordError> {
    let limits = ReadLimits::default();
    for record in Records::open(header, batch, &limits)? {
        record?;
    }
    let body = batch.slice(RECORD_BATCH_HEADER_BYTES..);
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let plain = inflate(header.compression(), body, limits.cap(body_bytes))?;
    let packed = compress(wanted, &plain);
    let cap = limits.cap(u64::try_from(packed.len()).unwrap_or(u64::MAX));
    let believable = u64::try_from(plain.len()).is_ok_and(|bytes| bytes <= cap);
    let (codec, body) = match believable {
        true => (wanted.codec, packed.as_slice()),
        false => (Compression::None, plain.as_ref()),
    };
    let mut bytes = Vec::with_capacity(RECORD_BATCH_HEADER_BYTES + body.len());
    let head = batch.get(..RECORD_BATCH_HEADER_BYTES);
    bytes.extend_from_slice(head.unwrap_or_default());
    bytes.extend_from_slice(body);
    let length = u32::try_from(bytes.len()).ok();
    let length = length.and_then(|bytes| i32::try_from(bytes - LENGTH_PREFIX_BYTES).ok());
    assert!(
        length.is_some(),
        "decompressed records are bounded far below 2^31"
    );
    let attributes = (header.attributes() & !CODEC_MASK) | i16::from(codec.code());
    overwrite(
        &mut bytes,
        LENGTH_AT,
        &length.unwrap_or_default().to_be_bytes(),
    );
    overwrite(&mut bytes, ATTRIBUTES_AT, &attributes.to_be_bytes());
    let crc = esker_types::crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default());
    overwrite(&mut bytes, CRC_AT, &crc.to_be_bytes());
    let header = BatchHeader::parse(&bytes).map_err(RecordError::Batch)?;
    header.check(&bytes).map_err(RecordError::Batch)?;
    Ok((header, Bytes::from(bytes)))
}

#[cfg(test)]
mod tests {
    use esker_types::{ProducerEpoch, ProducerId, Timestamp};

    use super::*;
    use crate::limits::{DECOMPRESSED_BYTES_FLOOR, ZSTD_LEVEL_MAX};
    use crate::{
        BatchBuilder, NewRecord, ProduceRules, Record, ValidateError, ValidatedBatch, read_records,
        validate_produced,
    };

    const CODECS: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    fn batch(codec: Compression) -> Bytes {
        let id = ProducerId::from_wire(7).unwrap();
        let epoch = ProducerEpoch::from_wire(2).unwrap();
        let mut builder = BatchBuilder::new(codec).producer(id, epoch, 40);
        for number in 0..50_i64 {
            let header = (Bytes::from_static(b"h"), None);
            let record = NewRecord {
                timestamp: Timestamp::from_millis(1000 - number),
                key: (number % 2 == 0).then(|| Bytes::from(format!("key-{number}"))),
                value: Some(Bytes::from("value ".repeat(20))),
                headers: vec![header.clone(), header],
            };
            builder.push(&record).unwrap();
        }
        builder.build().unwrap()
    }

    fn validated(bytes: Bytes) -> ValidatedBatch {
        validate_produced(bytes, &ProduceRules::default()).unwrap()
    }

    fn records(bytes: &Bytes) -> Vec<Record> {
        let records = read_records(bytes, &ReadLimits::default()).unwrap();
        records.map(Result::unwrap).collect()
    }

    #[test]
    fn every_codec_becomes_every_other_and_only_the_codec_changes() {
        for from in CODECS {
            for codec in CODECS {
                let before = validated(batch(from));
                let wanted = Recompression { codec, level: -1 };

                let after = before.clone().recompressed(wanted, u32::MAX).unwrap();

                let (old, new) = (before.header(), after.header());
                assert_eq!(new.compression(), codec);
                assert_eq!(records(after.bytes()), records(before.bytes()));
                assert_eq!(new.producer(), old.producer());
                assert_eq!(new.max_timestamp(), old.max_timestamp());
                assert_eq!(new.base_timestamp(), old.base_timestamp());
                assert_eq!(new.record_count(), old.record_count());
                assert_eq!(after.bytes() == before.bytes(), from == codec);
                validated(after.bytes().clone());
            }
        }
    }

    #[test]
    fn a_batch_that_becomes_too_large_is_refused() {
        let before = validated(batch(Compression::Zstd));
        let wanted = Recompression {
            codec: Compression::None,
            level: 0,
        };
        let plain = before.clone().recompressed(wanted, u32::MAX).unwrap();
        let batch_bytes = plain.header().batch_bytes();

        let fits = before.clone().recompressed(wanted, batch_bytes);
        let refused = before.recompressed(wanted, batch_bytes - 1);

        assert!(fits.is_ok());
        assert!(matches!(
            refused,
            Err(ValidateError::TooLarge { batch_bytes: found, .. }) if found == batch_bytes
        ));
    }

    #[test]
    fn records_that_cannot_be_read_are_not_rewritten() {
        let good = batch(Compression::Gzip);
        let mut bad = good.to_vec();
        let last = bad.len() - 1;
        bad[last] ^= 0xff;
        let crc = crc32c::crc32c(&bad[ATTRIBUTES_AT..]);
        overwrite(&mut bad, CRC_AT, &crc.to_be_bytes());
        let wanted = Recompression {
            codec: Compression::Zstd,
            level: 3,
        };

        let refused = validated(Bytes::from(bad)).recompressed(wanted, u32::MAX);

        assert!(matches!(refused, Err(ValidateError::Records(_))));
    }

    #[test]
    fn levels_past_what_is_sensible_count_as_the_highest_and_zeros_stay_believable() {
        let mut builder = BatchBuilder::new(Compression::None);
        let zeros = usize::try_from(DECOMPRESSED_BYTES_FLOOR).unwrap() * 3;
        let record = NewRecord {
            value: Some(Bytes::from(vec![0; zeros])),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
        let rules = ProduceRules {
            batch_bytes_max: u32::MAX,
            ..ProduceRules::default()
        };
        let plain = validate_produced(builder.build().unwrap(), &rules).unwrap();
        let wanted = |codec, level| Recompression { codec, level };

        let unbelievable = plain
            .clone()
            .recompressed(wanted(Compression::Zstd, 3), u32::MAX)
            .unwrap();
        let small = validated(batch(Compression::None));
        let top = small
            .clone()
            .recompressed(wanted(Compression::Zstd, ZSTD_LEVEL_MAX), u32::MAX)
            .unwrap();
        let past = small
            .clone()
            .recompressed(wanted(Compression::Zstd, ZSTD_LEVEL_MAX + 1), u32::MAX)
            .unwrap();
        let gzip = |level| {
            let wanted = wanted(Compression::Gzip, level);
            small.clone().recompressed(wanted, u32::MAX).unwrap()
        };

        assert_eq!(unbelievable.header().compression(), Compression::None);
        assert_eq!(records(unbelievable.bytes()), records(plain.bytes()));
        assert_eq!(top.bytes(), past.bytes());
        assert_eq!(gzip(-1).bytes(), gzip(6).bytes());
        assert!(gzip(9).bytes().len() <= gzip(1).bytes().len());
    }
}
