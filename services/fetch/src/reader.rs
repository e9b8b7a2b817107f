//! Stage 3 of a fetch: planned ranges through the cache, and what to do when bytes are wrong.
//!
//! A remedy is tried once each, in this order: bytes that are wrong are forgotten and read again
//! from the bucket; then the index is asked again where they are; then the partition fails, alone.

use std::sync::Arc;

use esker_cache::limits::BLOCK_BYTES;
use esker_cache::{Heat, ReadError as CacheError, ReadErrorKind, SegmentCache};
use esker_metadata_api::IndexExtent;
use esker_types::{ByteRange, SegmentId};
use futures::stream::{self, StreamExt as _};

use crate::assemble::BatchFault;
use crate::limits::READS_PARALLEL;
use crate::planner::{ObjectReadPlan, PartPlan, ReadPlan};
use crate::slices::Slices;

/// Pieces below this part of the blocks that they lie in are copied out of them.
const COPIED_BELOW: u64 = 8;

/// Why a part could not be assembled, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("bytes of segment {} cannot be had", extent.segment)]
    Cache {
        extent: IndexExtent,
        #[source]
        source: CacheError,
    },
    #[error("segment {} does not hold what the index says", extent.segment)]
    Fault {
        extent: IndexExtent,
        #[source]
        source: BatchFault,
    },
}

/// What may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Forget the bytes and read them again.
    ReadAgain,
    /// Ask the index again.
    LocateAgain,
    /// Nothing more.
    GiveUp,
}

impl Trouble {
    pub(crate) fn extent(&self) -> &IndexExtent {
        match self {
            Self::Cache { extent, .. } | Self::Fault { extent, .. } => extent,
        }
    }

    pub(crate) fn segment(&self) -> SegmentId {
        self.extent().segment
    }

    /// Others hold all memory.
    pub(crate) fn is_overload(&self) -> bool {
        match self {
            Self::Cache { source, .. } => matches!(source, CacheError::Overloaded { .. }),
            Self::Fault { .. } => false,
        }
    }

    pub(crate) fn kind(&self) -> ReadErrorKind {
        match self {
            Self::Cache { source, .. } => source.kind(),
            Self::Fault { .. } => ReadErrorKind::Corrupt,
        }
    }

    /// What to try next, when `tried` was the last remedy.
    pub(crate) fn remedy(&self, tried: Option<Remedy>) -> Remedy {
        match (self.kind(), tried) {
            (ReadErrorKind::Corrupt, None) => Remedy::ReadAgain,
            (ReadErrorKind::Refresh, None | Some(Remedy::ReadAgain))
            | (ReadErrorKind::Corrupt, Some(Remedy::ReadAgain)) => Remedy::LocateAgain,
            // The store was asked again and again below; the client will ask once more.
            (ReadErrorKind::Retry, _) | (_, Some(Remedy::LocateAgain | Remedy::GiveUp)) => {
                Remedy::GiveUp
            }
        }
    }
}

/// Bytes of one span, from the front of its extent.
pub(crate) type SpanBytes = Result<Slices, CacheError>;

/// What a request holds of the cache's memory besides the bytes that it asks for. Who holds some
/// does not wait for more: others may wait for what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hands {
    Empty,
    Full,
}

/// How one extent is read, or read on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOn {
    pub(crate) heat: Heat,
    pub(crate) hands: Hands,
}

#[derive(Clone, Debug)]
pub(crate) struct Reader {
    cache: Arc<dyn SegmentCache>,
}

impl Reader {
    pub(crate) fn new(cache: Arc<dyn SegmentCache>) -> Self {
        Self { cache }
    }

    /// About the bytes that the cold reads of a plan would have to load, and then holds together.
    pub(crate) fn cold_bytes(&self, plan: &ReadPlan, heat_of: impl Fn(usize) -> Heat) -> u64 {
        let reads = plan.reads(heat_of).into_iter();
        let cold = reads.filter(|read| read.heat == Heat::Cold);
        let missing = cold.map(|read| self.cache.missing_bytes(read.segment, read.range));
        missing.fold(0, u64::saturating_add)
    }

    /// All bytes of a plan: per intent, per span. Never waits for memory: every span is in hand
    /// until the last has come, and others may wait for it.
    pub(crate) async fn read(
        &self,
        plan: &ReadPlan,
        heat_of: impl Fn(usize) -> Heat,
    ) -> Vec<Vec<SpanBytes>> {
        let empty = |part: &PartPlan| part.spans.iter().map(|_| Ok(Slices::default())).collect();
        let mut parts: Vec<Vec<SpanBytes>> = plan.parts.iter().map(empty).collect();
        let reading = |read: ObjectReadPlan| async move {
            let slices = self
                .cache
                .read_now(read.segment, read.range, read.heat)
                .await;
            let wanted = read
                .targets
                .iter()
                .map(|(_, place)| place.end - place.start);
            let small = is_small(wanted.sum(), read.range);
            (read, slices.map(Slices::new), small)
        };
        let mut reads = stream::iter(plan.reads(heat_of))
            .map(reading)
            .buffer_unordered(READS_PARALLEL);
        while let Some((read, slices, is_small)) = reads.next().await {
            for (at, place) in read.targets {
                let spans = parts.get_mut(at.part);
                if let Some(slot) = spans.and_then(|spans| spans.get_mut(at.span)) {
                    let part = slices.clone().map(|slices| cut(&slices, &place));
                    *slot = if is_small {
                        part.map(|part| part.copied())
                    } else {
                        part
                    };
                }
            }
        }
        parts
    }

    /// `extent`'s bytes from `from` up to `to` (or its end), both counted from its front.
    pub(crate) async fn read_on(
        &self,
        extent: &IndexExtent,
        from: u64,
        to: u64,
        how: ReadOn,
    ) -> Result<Slices, CacheError> {
        let start = extent.range.start().saturating_add(from);
        let end = extent.range.start().saturating_add(to);
        let range = ByteRange::new(start, end.min(extent.range.end()));
        let Some(range) = range else {
            return Ok(Slices::default());
        };
        let slices = match how.hands {
            Hands::Empty => self.cache.read(extent.segment, range, how.heat).await,
            Hands::Full => self.cache.read_now(extent.segment, range, how.heat).await,
        };
        let slices = Slices::new(slices?);
        let wanted = range.byte_count();
        Ok(if is_small(wanted, range) {
            slices.copied()
        } else {
            slices
        })
    }

    /// The next read of the extent asks the bucket.
    pub(crate) fn forget(&self, extent: &IndexExtent) {
        self.cache.forget(extent.segment, extent.range);
    }
}

/// Whether `wanted` bytes, which lie in `range` of an object, are so little beside the blocks that
/// hold them that they are copied: until its client has them, an answer would keep all these blocks
/// in memory, and push out those that the next reader wants.
fn is_small(wanted: u64, range: ByteRange) -> bool {
    let block = u64::from(BLOCK_BYTES);
    let blocks = range.end().div_ceil(block) - range.start() / block;
    wanted.saturating_mul(COPIED_BELOW) <= blocks.saturating_mul(block)
}

fn cut(slices: &Slices, place: &std::ops::Range<u64>) -> Slices {
    let at = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
    Slices::new(slices.pieces(at(place.start), at(place.end)))
}

#[cfg(test)]
mod tests;
