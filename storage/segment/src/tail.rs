//! The end of a segment: footer and trailer, found from the last bytes without reading the rest.
//!
//! One suffix read serves nearly always; a longer footer says how much more to ask for.

use esker_types::ByteReader;

use crate::layout::HEADER_BYTES;
use crate::limits::{FOOTER_BYTES_MAX, FOOTER_TAIL_BYTES};
use crate::{FooterError, SegmentFooter};

/// Bytes behind the footer: its length, its checksum, a magic number.
pub(crate) const TRAILER_BYTES: u32 = 12;

const MAGIC: [u8; 4] = *b"ESKF";

/// What the last bytes of a segment told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a footer may need a second read"]
pub enum TailRead {
    /// The whole footer, checked.
    Footer(SegmentFooter),
    /// It is longer than what was read: read so many last bytes.
    NeedMore {
        /// Length of the suffix that holds it, never more than the object has.
        tail_bytes: u64,
    },
}

/// Reads the footer of a segment of `object_bytes` bytes from `tail`, its last bytes. Ask for
/// [`FOOTER_TAIL_BYTES`] first.
///
/// # Errors
/// [`FooterError`]: the object is damaged, cut, no segment, or from the future.
pub fn read_tail(object_bytes: u64, tail: &[u8]) -> Result<TailRead, FooterError> {
    let tail_bytes = u64::try_from(tail.len()).unwrap_or(u64::MAX);
    let smallest = u64::from(HEADER_BYTES + TRAILER_BYTES);
    if tail_bytes > object_bytes || object_bytes < smallest {
        return Err(FooterError::ObjectBytes {
            expected_bytes: tail_bytes.max(smallest),
            found_bytes: object_bytes,
        });
    }
    if tail_bytes < u64::from(TRAILER_BYTES) {
        let tail_bytes = FOOTER_TAIL_BYTES.min(object_bytes);
        return Ok(TailRead::NeedMore { tail_bytes });
    }
    let trailer = Trailer::read(tail)?;
    let footer_bytes = trailer.footer_bytes;
    let behind_batches = u64::from(footer_bytes) + u64::from(TRAILER_BYTES);
    let room = object_bytes - u64::from(HEADER_BYTES);
    if footer_bytes > FOOTER_BYTES_MAX || behind_batches > room {
        return Err(FooterError::FooterBytes { footer_bytes });
    }
    let Some(footer) = trailer.footer_of(tail) else {
        let tail_bytes = behind_batches;
        return Ok(TailRead::NeedMore { tail_bytes });
    };
    if checksum(footer, footer_bytes) != trailer.footer_crc {
        return Err(FooterError::Checksum);
    }
    let footer = SegmentFooter::decode(footer)?;
    let batches_end = footer.batches.last().map_or(0, |last| last.range.end());
    let expected_bytes = batches_end + behind_batches;
    if expected_bytes != object_bytes {
        return Err(FooterError::ObjectBytes {
            expected_bytes,
            found_bytes: object_bytes,
        });
    }
    Ok(TailRead::Footer(footer))
}

struct Trailer {
    footer_bytes: u32,
    footer_crc: u32,
}

impl Trailer {
    /// Reads the last bytes of `tail`.
    fn read(tail: &[u8]) -> Result<Self, FooterError> {
        let mut reader = ByteReader::new(tail);
        reader.take(tail.len().saturating_sub(trailer_len()))?;
        let footer_bytes = reader.u32()?;
        let footer_crc = reader.u32()?;
        if reader.array()? != MAGIC {
            return Err(FooterError::Magic);
        }
        Ok(Self {
            footer_bytes,
            footer_crc,
        })
    }

    /// The footer's bytes, when `tail` has them all.
    fn footer_of<'a>(&self, tail: &'a [u8]) -> Option<&'a [u8]> {
        let end = tail.len().checked_sub(trailer_len())?;
        let start = end.checked_sub(usize::try_from(self.footer_bytes).ok()?)?;
        tail.get(start..end)
    }
}

fn trailer_len() -> usize {
    usize::try_from(TRAILER_BYTES).unwrap_or(usize::MAX)
}

/// Covers the length too: a footer is never read with another one's bounds.
fn checksum(footer: &[u8], footer_bytes: u32) -> u32 {
    esker_types::crc32c_append(esker_types::crc32c(footer), &footer_bytes.to_be_bytes())
}

/// Appends the stored form of `footer` and the trailer to an object.
pub(crate) fn put_tail(object: &mut Vec<u8>, footer: &SegmentFooter) {
    let footer = footer.encode();
    let footer_bytes = u32::try_from(footer.len()).unwrap_or(u32::MAX);
    assert!(footer_bytes <= FOOTER_BYTES_MAX, "a footer is bounded");
    object.extend_from_slice(&footer);
    object.extend_from_slice(&footer_bytes.to_be_bytes());
    object.extend_from_slice(&checksum(&footer, footer_bytes).to_be_bytes());
    object.extend_from_slice(&MAGIC);
}
