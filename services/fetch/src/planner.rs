//! Stage 2 of a fetch, second half: which bytes of which objects to read for a response.
//!
//! Pure. Where batches end inside an extent is not known here, so the bytes are an estimate; what a
//! response may hold is decided batch by batch when it is assembled. Ranges of one object that are
//! neighbours are read as one.

use std::ops::Range;

use esker_cache::Heat;
use esker_cache::limits::READ_BYTES_MAX;
use esker_metadata_api::IndexExtent;
use esker_types::{ByteRange, Offset, SegmentId};

use crate::limits::MERGE_GAP_BYTES;
use crate::locate::{Located, ReadIntent};

/// Bytes to read of one extent, from its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) extent: IndexExtent,
    pub(crate) range: ByteRange,
}

/// What to read for one intent; nothing when the budget does not reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartPlan {
    pub(crate) spans: Vec<Span>,
}

/// One read of an object, for one or more spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectReadPlan {
    pub(crate) segment: SegmentId,
    pub(crate) range: ByteRange,
    pub(crate) heat: Heat,
    /// Intent and span, with the span's place within the read.
    pub(crate) targets: Vec<(SpanAt, Range<u64>)>,
}

/// Names one span of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SpanAt {
    pub(crate) part: usize,
    pub(crate) span: usize,
}

/// What to read for a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadPlan {
    /// One per intent, in the order of the intents.
    pub(crate) parts: Vec<PartPlan>,
    /// Bytes that a response could hold now, each partition up to its own limit.
    pub(crate) available_bytes: u64,
}

/// The order in which partitions get their share: the request's, beginning at `first`.
pub(crate) fn order(count: usize, first: usize) -> impl Iterator<Item = usize> {
    let first = if first < count { first } else { 0 };
    (first..count).chain(0..first)
}

/// About how many bytes of an extent lie in front of `offset`.
fn bytes_before(extent: &IndexExtent, offset: Offset) -> u64 {
    let before = offset.distance_from(extent.base_offset).unwrap_or(0);
    let all = extent.end_offset.distance_from(extent.base_offset);
    let all = all.unwrap_or(1).max(1);
    let bytes = u128::from(extent.range.byte_count()) * u128::from(before.min(all));
    u64::try_from(bytes / u128::from(all)).unwrap_or(0)
}

/// Bytes from `offset` on, about.
fn available(extents: &[IndexExtent], offset: Offset) -> u64 {
    let bytes = |extent: &IndexExtent| {
        let all = extent.range.byte_count();
        all - bytes_before(extent, offset).min(all)
    };
    extents
        .iter()
        .fold(0, |sum: u64, extent| sum.saturating_add(bytes(extent)))
}

/// Spans with about `share` bytes from `offset` on, at least one, and how many bytes that is.
fn spans_for(extents: &[IndexExtent], offset: Offset, share: u64) -> (Vec<Span>, u64) {
    let mut spans = Vec::new();
    let mut planned = 0;
    for extent in extents {
        if planned >= share && !spans.is_empty() {
            break;
        }
        let skipped = bytes_before(extent, offset);
        let wanted = skipped.saturating_add(share - planned.min(share)).max(1);
        let bytes = wanted.min(extent.range.byte_count());
        let start = extent.range.start();
        let Some(range) = ByteRange::new(start, start.saturating_add(bytes)) else {
            break;
        };
        planned += bytes - skipped.min(bytes);
        spans.push(Span {
            extent: *extent,
            range,
        });
    }
    (spans, planned)
}

/// Plans a response of about `bytes_max` bytes. The first partition with batches in `order` is
/// planned even when its first batch may be larger than all limits.
pub(crate) fn plan(
    intents: &[ReadIntent],
    located: &[Located],
    bytes_max: u32,
    first: usize,
) -> ReadPlan {
    let mut plan = ReadPlan {
        parts: vec![PartPlan::default(); intents.len()],
        available_bytes: 0,
    };
    let mut left = u64::from(bytes_max);
    let mut is_first = true;
    for place in order(intents.len(), first) {
        let (Some(intent), Some(Located::Ready(stretch))) =
            (intents.get(place), located.get(place))
        else {
            continue;
        };
        let share = left.min(u64::from(intent.bytes_max));
        let there = available(&stretch.extents, intent.offset);
        let counted = there.min(u64::from(intent.bytes_max));
        plan.available_bytes = plan.available_bytes.saturating_add(counted);
        if share == 0 && !is_first {
            continue;
        }
        is_first = false;
        let (spans, planned) = spans_for(&stretch.extents, intent.offset, share);
        left -= planned.min(left);
        if let Some(part) = plan.parts.get_mut(place) {
            part.spans = spans;
        }
    }
    plan
}

impl ReadPlan {
    /// The reads that serve all spans; neighbours in an object become one.
    pub(crate) fn reads(&self, heat_of: impl Fn(usize) -> Heat) -> Vec<ObjectReadPlan> {
        let mut all: Vec<(SegmentId, ByteRange, SpanAt)> = Vec::new();
        for (part, plan) in self.parts.iter().enumerate() {
            let spans = plan.spans.iter().enumerate();
            all.extend(spans.map(|(span, at)| {
                let place = SpanAt { part, span };
                (at.extent.segment, at.range, place)
            }));
        }
        all.sort_unstable();
        let mut reads: Vec<ObjectReadPlan> = Vec::new();
        for (segment, range, at) in all {
            let heat = heat_of(at.part);
            let joined = reads
                .last_mut()
                .is_some_and(|read| read.join(segment, range, heat, at));
            if !joined {
                reads.push(ObjectReadPlan {
                    segment,
                    range,
                    heat,
                    targets: vec![(at, 0..range.byte_count())],
                });
            }
        }
        reads
    }
}

impl ObjectReadPlan {
    /// Takes in a range that begins at or behind this one's start, when it is close enough.
    fn join(&mut self, segment: SegmentId, range: ByteRange, heat: Heat, at: SpanAt) -> bool {
        let reach = self.range.end().saturating_add(MERGE_GAP_BYTES);
        let end = self.range.end().max(range.end());
        let joined = ByteRange::new(self.range.start(), end);
        let Some(joined) = joined.filter(|joined| joined.byte_count() <= READ_BYTES_MAX) else {
            return false;
        };
        if segment != self.segment || range.start() > reach {
            return false;
        }
        let from = range.start() - self.range.start();
        self.range = joined;
        self.heat = self.heat.min(heat);
        self.targets.push((at, from..from + range.byte_count()));
        true
    }
}

#[cfg(test)]
mod tests;
