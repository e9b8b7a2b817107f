//! Walks concatenated record batches by their headers: what a fetch or a segment's extent holds.

use std::ops::Range;

use crate::{BatchError, BatchHeader};

/// Gives each batch's header and its place in the bytes. Ends after the first error.
#[derive(Clone, Debug)]
pub struct BatchSplitter<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Splits bytes that hold whole record batches back to back. Checksums are not compared.
#[must_use]
pub fn split_batches(bytes: &[u8]) -> BatchSplitter<'_> {
    BatchSplitter { bytes, at: 0 }
}

impl BatchSplitter<'_> {
    fn split(&self) -> Result<(BatchHeader, Range<usize>), BatchError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let header = BatchHeader::parse(rest)?;
        let batch_bytes = header.batch_bytes();
        let whole = usize::try_from(batch_bytes).unwrap_or(usize::MAX);
        if whole > rest.len() {
            let found_bytes = rest.len();
            return Err(BatchError::Incomplete {
                batch_bytes,
                found_bytes,
            });
        }
        Ok((header, self.at..self.at + whole))
    }
}

impl Iterator for BatchSplitter<'_> {
    type Item = Result<(BatchHeader, Range<usize>), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let split = self.split();
        self.at = match &split {
            Ok((_, range)) => range.end,
            Err(_) => self.bytes.len(),
        };
        Some(split)
    }
}
