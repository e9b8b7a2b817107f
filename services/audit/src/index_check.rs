//! Compares segments with the index, and the index with itself. Pure.
//!
//! Fed with the segments of a bucket in the order of their ids. Holds an entry for each segment
//! that the index refers to, and the extents that are not checkpointed.

use std::collections::BTreeMap;

use esker_metadata::ReplayedState;
use esker_metadata_api::IndexExtent;
use esker_segment::{BatchSummary, Extent, ProducerStamp, SegmentFooter};
use esker_sequencer::PartitionView;
use esker_types::{Offset, SegmentId, TopicPartition};

use crate::finding::FindingKind;
use crate::limits::VOID_RANGES_MAX;
use crate::report::AuditFigures;

/// What is wrong with a segment, or with the index.
pub(crate) type Wrong = (FindingKind, String);

/// An extent that is in no index yet.
#[derive(Clone, Copy, Debug)]
struct TailExtent {
    end: Offset,
    segment: SegmentId,
}

type Ranges<T> = BTreeMap<(TopicPartition, Offset), T>;

/// The index, and what was compared with it.
#[derive(Debug)]
pub(crate) struct IndexCheck<'a> {
    state: &'a ReplayedState,
    /// Segments that the index refers to, and how many extents of each.
    referenced: Vec<(SegmentId, u32)>,
    cursor: usize,
    /// Referenced segments that were passed by.
    pub(crate) passed: Vec<SegmentId>,
    remembered: u64,
    recognised: u64,
    /// Whether every committed segment was read, so that unrecognised batches mean something.
    pub(crate) is_whole: bool,
    tail: Ranges<TailExtent>,
    void: Ranges<Offset>,
    tail_segments: u64,
}

/// Segments that the index refers to, ascending, with the number of their extents.
pub(crate) fn referenced(state: &ReplayedState) -> Vec<(SegmentId, u32)> {
    let partitions = state.log().partitions();
    let mut all: Vec<SegmentId> = partitions
        .flat_map(|(_, view)| view.extents())
        .map(|extent| extent.segment)
        .collect();
    all.sort_unstable();
    let mut counted: Vec<(SegmentId, u32)> = Vec::new();
    for segment in all {
        match counted.last_mut() {
            Some((last, count)) if *last == segment => *count = count.saturating_add(1),
            _ => counted.push((segment, 1)),
        }
    }
    counted
}

impl<'a> IndexCheck<'a> {
    pub(crate) fn new(state: &'a ReplayedState) -> Self {
        let producers = |view: PartitionView<'a>| {
            let start = view.log_start();
            let batches = view
                .producers()
                .flat_map(|(_, producer)| producer.batches());
            batches.filter(|batch| batch.base_offset >= start).count()
        };
        let remembered: usize = state
            .log()
            .partitions()
            .map(|(_, view)| producers(view))
            .sum();
        Self {
            state,
            referenced: referenced(state),
            cursor: 0,
            passed: Vec::new(),
            remembered: u64::try_from(remembered).unwrap_or(u64::MAX),
            recognised: 0,
            is_whole: true,
            tail: BTreeMap::new(),
            void: BTreeMap::new(),
            tail_segments: 0,
        }
    }

    /// An object stands at this place: how many extents the index refers to it with. Referenced
    /// segments with lower ids were not listed.
    pub(crate) fn reach(&mut self, segment: SegmentId) -> u32 {
        while let Some((next, count)) = self.referenced.get(self.cursor) {
            if *next > segment {
                return 0;
            }
            self.cursor += 1;
            if *next == segment {
                return *count;
            }
            self.passed.push(*next);
        }
        0
    }

    /// Nothing more is listed.
    pub(crate) fn reach_end(&mut self) {
        let rest = self.referenced.get(self.cursor..).unwrap_or_default();
        self.passed.extend(rest.iter().map(|(segment, _)| *segment));
        self.cursor = self.referenced.len();
    }

    /// A committed segment: its extents and its producers must be known. `references` is what
    /// [`Self::reach`] said.
    pub(crate) fn committed(&mut self, footer: &SegmentFooter, references: u32) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut found: u32 = 0;
        for extent in footer.extents() {
            let Some(view) = self.view_of(&extent) else {
                continue;
            };
            match view.and_then(|view| view.extent_at(extent.base_offset)) {
                None => wrong.push(not_indexed(&extent)),
                Some(known) if known == expected(footer.segment, &extent) => found += 1,
                Some(known) => wrong.push(mismatch(&extent, &known)),
            }
        }
        if wrong.is_empty() && found != references {
            let what = format!("the index has {references} extents of it, its footer {found}");
            wrong.push((FindingKind::SegmentMismatch, what));
        }
        for batch in &footer.batches {
            wrong.extend(self.check_producer(batch));
        }
        wrong
    }

    /// The partition of an extent that must be indexed; the outer `None` when it need not be, since
    /// the topic is deleted or the extent lies below the log start.
    fn view_of(&self, extent: &Extent) -> Option<Option<PartitionView<'a>>> {
        let at = extent.topic_partition;
        if !self.state.has(at) {
            return None;
        }
        let view = self.state.log().view(at);
        let start = view.map_or(Offset::ZERO, PartitionView::log_start);
        (extent.end_offset > start).then_some(view)
    }

    fn check_producer(&mut self, batch: &BatchSummary) -> Option<Wrong> {
        let stamp = batch.producer?;
        let view = self.state.log().view(batch.topic_partition)?;
        let wrong = |what: &str| {
            let (id, at) = (stamp.producer_id.to_wire(), batch.base_offset);
            let what = format!("{what}: producer {id}, offset {at}");
            Some((FindingKind::ProducerState, what))
        };
        let Some(producer) = view.producer(stamp.producer_id) else {
            let forgotten = !view.remembers_all();
            return if forgotten {
                None
            } else {
                wrong("a producer is not remembered")
            };
        };
        if producer.epoch() > stamp.producer_epoch {
            return None;
        }
        if producer.epoch() < stamp.producer_epoch {
            return wrong("a producer's epoch is remembered too low");
        }
        let mut batches = producer.batches();
        let first = producer.batches().next().map(|first| first.base_offset);
        if first.is_none_or(|first| batch.base_offset < first) {
            return None;
        }
        let known = batches.find(|known| known.base_offset == batch.base_offset);
        match known {
            Some(known) if is_same(&known, &stamp, batch.record_count) => {
                let counts = batch.base_offset >= view.log_start();
                self.recognised += u64::from(counts);
                None
            }
            Some(_) => wrong("a batch is remembered under another sequence"),
            None => wrong("a batch is not remembered"),
        }
    }

    /// A segment behind the checkpoint: its offsets must be free.
    pub(crate) fn tail(&mut self, footer: &SegmentFooter) -> Vec<Wrong> {
        self.tail_segments += 1;
        let mut wrong = Vec::new();
        for extent in footer.extents() {
            let Some(view) = self.view_of(&extent) else {
                continue;
            };
            let at = extent.topic_partition;
            let indexed = view.and_then(|view| last_below(view, extent.end_offset));
            let mut below = self.tail.range((at, Offset::ZERO)..(at, extent.end_offset));
            let taken_by = below.next_back().map(|(_, tail)| (tail.end, tail.segment));
            let mut taken_by = taken_by.into_iter().chain(indexed);
            let overlap = taken_by.rfind(|(end, _)| *end > extent.base_offset);
            if let Some((_, other)) = overlap {
                let offset = extent.base_offset;
                let what = format!("offset {offset} is claimed by segment {other} too");
                wrong.push((FindingKind::IndexContradiction, what));
            }
            let tail = TailExtent {
                end: extent.end_offset,
                segment: footer.segment,
            };
            self.tail.insert((at, extent.base_offset), tail);
        }
        wrong
    }

    /// A segment that is no part of the log: it explains gaps.
    pub(crate) fn void(&mut self, footer: &SegmentFooter) {
        for extent in footer.extents() {
            if self.void.len() < VOID_RANGES_MAX {
                let at = (extent.topic_partition, extent.base_offset);
                self.void.insert(at, extent.end_offset);
            }
        }
    }

    /// Checks each partition from its log start to its end, and the producers as a whole.
    pub(crate) fn finish(&self, figures: &mut AuditFigures) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        figures.tail_segments = self.tail_segments;
        for (at, view) in self.state.log().partitions() {
            figures.partitions += 1;
            figures.extents += u64::try_from(view.extents().len()).unwrap_or(u64::MAX);
            if !self.state.has(at) {
                let what = format!(
                    "the index has partition {}/{}, which no topic has",
                    at.topic,
                    at.partition.get()
                );
                wrong.push((FindingKind::IndexContradiction, what));
            }
            let last = view.extents().last().map(|last| last.end_offset);
            let is_emptied = last.is_none() && view.log_start() >= view.end();
            if last != Some(view.end()) && !is_emptied {
                let (topic, partition, end) = (at.topic, at.partition.get(), view.end());
                let what = format!(
                    "partition {topic}/{partition} ends at {end}, its last extent elsewhere"
                );
                wrong.push((FindingKind::IndexContradiction, what));
            }
            self.measure(at, view, figures);
        }
        let unknown = self.remembered.saturating_sub(self.recognised);
        if unknown > 0 && self.is_whole {
            let what = format!("{unknown} batches are remembered that no segment holds");
            wrong.push((FindingKind::ProducerState, what));
        }
        wrong
    }

    /// Counts offsets and gaps of one partition. No gap is damage by itself: a void reservation
    /// leaves one. That no committed segment lies in one is what [`Self::committed`] shows.
    fn measure(&self, at: TopicPartition, view: PartitionView<'a>, figures: &mut AuditFigures) {
        let mut next = view.log_start();
        let tail = self.tail.range((at, next)..);
        let tail = tail.take_while(|((of, _), _)| *of == at);
        let tail = tail.map(|((_, base), tail)| (*base, tail.end));
        let indexed = view.extents().iter();
        let mut ranges: Vec<(Offset, Offset)> = indexed
            .map(|extent| (extent.base_offset, extent.end_offset))
            .chain(tail)
            .collect();
        ranges.sort_unstable();
        for (base, end) in ranges {
            if let Some(gap) = base.distance_from(next).filter(|gap| *gap > 0) {
                figures.void_ranges += 1;
                figures.void_offsets += gap;
                figures.void_offsets_seen += self.explained(at, next, base);
            }
            next = next.max(end);
        }
        let offsets = next.distance_from(view.log_start()).unwrap_or(0);
        figures.offsets += offsets;
    }

    /// Offsets of a gap that void segments were to have, as far as they begin in it or just below.
    fn explained(&self, at: TopicPartition, from: Offset, to: Offset) -> u64 {
        let before = self.void.range((at, Offset::ZERO)..(at, from)).next_back();
        let inside = self.void.range((at, from)..(at, to));
        let mut explained = 0;
        let mut next = from;
        for ((_, base), end) in before.into_iter().chain(inside) {
            let (base, end) = ((*base).max(next), (*end).min(to));
            explained += end.distance_from(base).unwrap_or(0);
            next = next.max(end);
        }
        explained
    }
}

fn is_same(
    known: &esker_sequencer::RememberedBatch,
    stamp: &ProducerStamp,
    record_count: u32,
) -> bool {
    known.base_sequence == stamp.base_sequence && known.record_count == record_count
}

fn last_below(view: PartitionView<'_>, ceiling: Offset) -> Option<(Offset, SegmentId)> {
    let extents = view.extents();
    let at = extents.partition_point(|extent| extent.base_offset < ceiling);
    let last = at.checked_sub(1).and_then(|last| extents.get(last))?;
    Some((last.end_offset, last.segment))
}

fn expected(segment: SegmentId, extent: &Extent) -> IndexExtent {
    IndexExtent {
        base_offset: extent.base_offset,
        end_offset: extent.end_offset,
        segment,
        range: extent.range,
        max_timestamp: extent.max_timestamp,
    }
}

fn place_of(extent: &Extent) -> String {
    let at = extent.topic_partition;
    let (base, end) = (extent.base_offset, extent.end_offset);
    format!("{}/{} {base}..{end}", at.topic, at.partition.get())
}

fn not_indexed(extent: &Extent) -> Wrong {
    let what = format!("the index has no extent for {}", place_of(extent));
    (FindingKind::SegmentNotIndexed, what)
}

fn mismatch(extent: &Extent, known: &IndexExtent) -> Wrong {
    let other = known.segment;
    let what = format!(
        "the index has another extent at {}, of segment {other}",
        place_of(extent)
    );
    (FindingKind::SegmentMismatch, what)
}

#[cfg(test)]
mod tests {
    use esker_segment::PlacedBatch;
    use esker_types::{ChainIndex, PartitionIndex, SequencerEpoch, SessionId, Timestamp, TopicId};

    use super::*;

    fn void(base_offset: u64) -> SegmentFooter {
        let segment = SegmentId {
            session: SessionId::from_bytes([1; 16]),
            index: ChainIndex::ZERO,
        };
        let batch = PlacedBatch {
            topic_partition: TopicPartition {
                topic: TopicId::from_bytes([2; 16]),
                partition: PartitionIndex::default(),
            },
            base_offset: Offset::new(base_offset).unwrap(),
            record_count: 1,
            max_timestamp: Timestamp::from_millis(0),
            producer: None,
            transactional: false,
        };
        SegmentFooter::lay_out(segment, SequencerEpoch::FIRST, [(batch, 100, 0)]).unwrap()
    }

    #[test]
    fn one_void_range_more_than_the_limit_is_not_kept() {
        let state = ReplayedState::default();
        let mut check = IndexCheck::new(&state);

        for base_offset in 0..=u64::try_from(VOID_RANGES_MAX).unwrap() {
            check.void(&void(base_offset));
        }

        assert_eq!(check.void.len(), VOID_RANGES_MAX);
        assert_eq!(check.reach(void(0).segment), 0);
    }
}
