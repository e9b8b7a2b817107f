//! Rewrites a batch for topics that keep the time of the append instead of the records' own.

use esker_types::Timestamp;

use crate::header::{ATTRIBUTES_AT, CRC_AT, LOG_APPEND_TIME_BIT, MAX_TIMESTAMP_AT, overwrite};
use crate::{BatchError, BatchHeader};

/// Sets attribute bit 3 and the maximum timestamp, and computes the checksum again. The records
/// are not touched: readers take the batch's maximum timestamp for all of them. Gives the header
/// as it is now. The checksum before is not compared.
///
/// # Errors
/// [`BatchError`] when `batch` is not exactly one whole batch; it is as before then.
pub fn set_log_append_time(batch: &mut [u8], now: Timestamp) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    if usize::try_from(header.batch_bytes()) != Ok(batch.len()) {
        return Err(BatchError::Incomplete {
            batch_bytes: header.batch_bytes(),
            found_bytes: batch.len(),
        });
    }
    Ok(rewrite(header, batch, now))
}

/// The same for a batch that is known to be whole.
pub(crate) fn rewrite(header: BatchHeader, batch: &mut [u8], now: Timestamp) -> BatchHeader {
    assert_eq!(
        usize::try_from(header.batch_bytes()),
        Ok(batch.len()),
        "only whole batches are rewritten"
    );
    let attributes = header.attributes() | LOG_APPEND_TIME_BIT;
    overwrite(batch, ATTRIBUTES_AT, &attributes.to_be_bytes());
    overwrite(batch, MAX_TIMESTAMP_AT, &now.millis().to_be_bytes());
    let crc = esker_types::crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default());
    overwrite(batch, CRC_AT, &crc.to_be_bytes());
    let header = header.rewritten(attributes, now, crc);
    assert_eq!(
        BatchHeader::parse(batch),
        Ok(header),
        "bytes and header agree"
    );
    header
}
