//! Stage 4 of a fetch: whole batches out of an extent's bytes, from the one that holds the offset.
//!
//! Pure. Walks the 61-byte headers, checks that each batch lies where the index says and that its
//! CRC-32C is right (I22), and gives back shared slices; bodies are never copied. What the CRC does
//! not cover, base offset and leader epoch, is known: batches follow one another without a gap.

use bytes::Bytes;
use esker_metadata_api::IndexExtent;
use esker_record::{BatchError, BatchHeader, RECORD_BATCH_HEADER_BYTES};
use esker_types::{LeaderEpoch, Offset, Planted, planted};

use crate::slices::Slices;

/// The checksum covers everything behind itself: from the attributes on.
const CHECKED_FROM: usize = 21;

/// An extent whose bytes are not what the index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchFault {
    #[error("record batch cannot be read")]
    Batch(#[source] BatchError),
    #[error("record batch holds offsets {base_offset} to {end_offset}, outside of its place")]
    Offsets { base_offset: i64, end_offset: i64 },
    #[error("record batch has leader epoch {found}, which none has")]
    LeaderEpoch { found: i32 },
    #[error("record batch of {batch_bytes} bytes reaches past its extent")]
    Bytes { batch_bytes: u32 },
    #[error("extent ends at offset {found}, the index says {expected}")]
    End { expected: Offset, found: Offset },
}

/// How much one partition may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) bytes: u64,
    pub(crate) records: Option<u64>,
    /// The first batch is taken whatever its size.
    pub(crate) first_whole: bool,
}

/// What came of an extent's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of the extent was walked.
    Through,
    /// The limit is reached.
    Full,
    /// So many bytes of the extent, counted from its front, are needed to go on.
    Needs(u64),
}

/// One batch of an extent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchAt {
    pub(crate) header: BatchHeader,
    /// Where it begins in the extent.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// One past its last offset.
    pub(crate) end_offset: Offset,
}

/// Walks the batches of one extent, front to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    extent: IndexExtent,
    position: usize,
    /// The base offset that the next batch must have.
    next: Offset,
}

/// One step of a [`Walk`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Batch(BatchAt),
    /// Bytes of the extent up to here are needed.
    Needs(usize),
    End,
}

fn count(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Walk {
    pub(crate) fn new(extent: &IndexExtent) -> Self {
        Self {
            extent: *extent,
            position: 0,
            next: extent.base_offset,
        }
    }

    fn extent_bytes(&self) -> usize {
        count(self.extent.range.byte_count())
    }

    /// The batch at the walk's place. Only its header needs to be among `bytes`.
    pub(crate) fn peek(&self, bytes: &Slices) -> Result<Step, BatchFault> {
        let left = self.extent_bytes() - self.position;
        if left == 0 {
            let (expected, found) = (self.extent.end_offset, self.next);
            return match expected == found {
                true => Ok(Step::End),
                false => Err(BatchFault::End { expected, found }),
            };
        }
        let header = bytes.array::<RECORD_BATCH_HEADER_BYTES>(self.position);
        let Some(header) = header else {
            let end = self.position + RECORD_BATCH_HEADER_BYTES.min(left);
            return match end <= bytes.len() {
                // All of the extent is there and ends inside a header.
                true => Err(BatchFault::Bytes { batch_bytes: 0 }),
                false => Ok(Step::Needs(end)),
            };
        };
        let header = BatchHeader::parse(&header).map_err(BatchFault::Batch)?;
        self.check_place(header, left).map(Step::Batch)
    }

    fn check_place(&self, header: BatchHeader, left: usize) -> Result<BatchAt, BatchFault> {
        let batch_bytes = header.batch_bytes();
        let length = usize::try_from(batch_bytes).ok();
        let length = length.filter(|length| *length <= left);
        let length = length.ok_or(BatchFault::Bytes { batch_bytes })?;
        let base_offset = header.base_offset();
        let records = i64::from(header.last_offset_delta()) + 1;
        let end_offset = base_offset.saturating_add(records);
        let base = Offset::from_wire(base_offset).filter(|base| *base == self.next);
        let end = Offset::from_wire(end_offset).filter(|end| *end <= self.extent.end_offset);
        let (Some(_), Some(end_offset)) = (base, end) else {
            return Err(BatchFault::Offsets {
                base_offset,
                end_offset,
            });
        };
        let found = header.leader_epoch();
        if found != LeaderEpoch::CONSTANT.to_wire() {
            return Err(BatchFault::LeaderEpoch { found });
        }
        Ok(BatchAt {
            header,
            start: self.position,
            end: self.position + length,
            end_offset,
        })
    }

    /// Goes behind `batch`.
    pub(crate) fn pass(&mut self, batch: &BatchAt) {
        self.position = batch.end;
        self.next = batch.end_offset;
    }
}

impl BatchAt {
    pub(crate) fn check_crc(&self, bytes: &Slices) -> Result<(), BatchFault> {
        let found = bytes.crc(self.start + CHECKED_FROM, self.end);
        match found == self.header.crc() || planted(Planted::CrcUnchecked) {
            true => Ok(()),
            false => Err(BatchFault::Batch(BatchError::Checksum)),
        }
    }
}

/// Gathers the batches of one partition for one response.
#[derive(Debug)]
pub(crate) struct Assembler {
    limit: Limit,
    wanted: Offset,
    walk: Option<Walk>,
    records: Vec<Bytes>,
    bytes: u64,
    record_count: u64,
    is_full: bool,
}

/// What one partition contributes to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    /// Whole batches; their concatenation, in slices.
    pub(crate) records: Vec<Bytes>,
    pub(crate) bytes: u64,
    /// One past the last record taken, or the offset asked for.
    pub(crate) next_offset: Offset,
}

impl Assembler {
    pub(crate) fn new(offset: Offset, limit: Limit) -> Self {
        Self {
            limit,
            wanted: offset,
            walk: None,
            records: Vec::new(),
            bytes: 0,
            record_count: 0,
            is_full: false,
        }
    }

    pub(crate) fn has_any(&self) -> bool {
        self.bytes > 0
    }

    pub(crate) fn finish(self) -> Assembled {
        Assembled {
            records: self.records,
            bytes: self.bytes,
            next_offset: self.wanted,
        }
    }

    /// Begins the next extent. What was taken stays.
    pub(crate) fn begin(&mut self, extent: &IndexExtent) {
        self.walk = Some(Walk::new(extent));
    }

    /// Takes what it may of the extent begun last; `bytes` are the extent's, from its front.
    pub(crate) fn take(&mut self, bytes: &Slices) -> Result<Progress, BatchFault> {
        let Some(mut walk) = self.walk.take() else {
            return Ok(Progress::Through);
        };
        let mut run: Option<(usize, usize)> = None;
        let progress = loop {
            let batch = match walk.peek(bytes) {
                Ok(Step::Batch(batch)) => batch,
                Ok(Step::Needs(end)) => break Ok(self.needs(end)),
                Ok(Step::End) => break Ok(Progress::Through),
                Err(fault) => break Err(fault),
            };
            if batch.end_offset <= self.wanted {
                walk.pass(&batch);
                continue;
            }
            if !self.admits(&batch) {
                self.is_full = true;
                break Ok(Progress::Full);
            }
            if batch.end > bytes.len() {
                break Ok(self.needs(batch.end));
            }
            if let Err(fault) = batch.check_crc(bytes) {
                break Err(fault);
            }
            run = Some((run.map_or(batch.start, |(start, _)| start), batch.end));
            self.count(&batch);
            walk.pass(&batch);
        };
        if let Some((start, end)) = run {
            self.records.extend(bytes.pieces(start, end));
        }
        self.walk = Some(walk);
        progress
    }

    fn count(&mut self, batch: &BatchAt) {
        let below = self
            .wanted
            .to_wire()
            .saturating_sub(batch.header.base_offset());
        let below = u64::try_from(below).unwrap_or(0);
        let records = u64::from(batch.header.record_count());
        self.record_count += records.saturating_sub(below);
        self.bytes += u64::from(batch.header.batch_bytes());
        self.wanted = batch.end_offset;
    }

    fn admits(&self, batch: &BatchAt) -> bool {
        if self.is_full
            || self
                .limit
                .records
                .is_some_and(|most| self.record_count >= most)
        {
            return false;
        }
        let with_it = self.bytes + u64::from(batch.header.batch_bytes());
        with_it <= self.limit.bytes || (self.limit.first_whole && !self.has_any())
    }

    /// More bytes, and while at it as many as the limit still allows.
    fn needs(&self, end: usize) -> Progress {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        let allowed = self.limit.bytes.saturating_sub(self.bytes);
        Progress::Needs(end.saturating_add(allowed))
    }
}

#[cfg(test)]
mod tests;
