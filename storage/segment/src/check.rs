//! Checks a whole segment, byte by byte: for tests, simulation and the doctor, not for hot paths.

use esker_record::{BatchError, BatchHeader};
use esker_types::{HeaderError, OBJECT_HEADER_BYTES, ObjectHeader, ObjectKind};

use crate::builder::agrees;
use crate::{BatchSummary, FooterError, SegmentFooter, TailRead, read_tail};

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The first 64 bytes.
    #[error("segment has no readable object header")]
    Header(#[source] HeaderError),
    /// An object of ours, but no segment.
    #[error("object is a {kind:?}, not a segment")]
    Kind {
        /// What it is.
        kind: ObjectKind,
    },
    /// Cut, or longer than when it was written.
    #[error("segment has {found_bytes} bytes behind its header, {expected_bytes} were written")]
    BodyBytes {
        /// By its header.
        expected_bytes: u64,
        /// Bytes there are.
        found_bytes: u64,
    },
    /// The checksum over everything behind the header.
    #[error("segment body fails its checksum")]
    BodyChecksum,
    /// The footer.
    #[error("segment footer cannot be used")]
    Footer(#[source] FooterError),
    /// A record batch is not one.
    #[error("record batch {number} of the segment is damaged")]
    Batch {
        /// Its place among the batches, from 0.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: BatchError,
    },
    /// A record batch is sound but not the one that the footer names.
    #[error("record batch {number} of the segment is not what the footer says")]
    Mismatch {
        /// Its place among the batches, from 0.
        number: usize,
    },
}

/// Checks every byte of a segment: object header, body checksum, footer, and each record batch
/// against its own checksum and against the footer.
///
/// # Errors
/// [`SegmentError`]: the first thing that is wrong.
pub fn check_segment(object: &[u8]) -> Result<(ObjectHeader, SegmentFooter), SegmentError> {
    let header = ObjectHeader::decode(object).map_err(SegmentError::Header)?;
    if header.kind != ObjectKind::Segment {
        return Err(SegmentError::Kind { kind: header.kind });
    }
    let body = object.get(OBJECT_HEADER_BYTES..).unwrap_or_default();
    let found_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if header.body_bytes != found_bytes {
        return Err(SegmentError::BodyBytes {
            expected_bytes: header.body_bytes,
            found_bytes,
        });
    }
    if esker_types::crc32c(body) != header.body_crc {
        return Err(SegmentError::BodyChecksum);
    }
    let footer = whole_footer(object)?;
    for (number, summary) in footer.batches.iter().enumerate() {
        check_batch(object, number, summary)?;
    }
    Ok((header, footer))
}

fn whole_footer(object: &[u8]) -> Result<SegmentFooter, SegmentError> {
    let object_bytes = u64::try_from(object.len()).unwrap_or(u64::MAX);
    match read_tail(object_bytes, object).map_err(SegmentError::Footer)? {
        TailRead::Footer(footer) => Ok(footer),
        // The whole object is there, so more is never asked for.
        TailRead::NeedMore { tail_bytes } => Err(SegmentError::Footer(FooterError::ObjectBytes {
            expected_bytes: tail_bytes,
            found_bytes: object_bytes,
        })),
    }
}

fn check_batch(object: &[u8], number: usize, summary: &BatchSummary) -> Result<(), SegmentError> {
    let mismatch = SegmentError::Mismatch { number };
    let damaged = |source| SegmentError::Batch { number, source };
    let start = usize::try_from(summary.range.start()).map_err(|_| mismatch)?;
    let end = usize::try_from(summary.range.end()).map_err(|_| mismatch)?;
    let batch = object.get(start..end).ok_or(mismatch)?;
    let header = BatchHeader::parse(batch).map_err(damaged)?;
    if u64::from(header.batch_bytes()) != summary.range.byte_count() {
        return Err(mismatch);
    }
    header.check(batch).map_err(damaged)?;
    let same = agrees(&summary.placed(), &header)
        && header.crc() == summary.batch_crc
        && header.base_offset() == summary.base_offset.to_wire();
    if !same {
        return Err(mismatch);
    }
    Ok(())
}
