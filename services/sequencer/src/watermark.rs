//! One partition in memory: next offset, what is undecided, what may be seen.
//!
//! H1: the high watermark is the end of the last committed batch below every undecided offset,
//! never a reserved end (CP7); it never falls (CP6). The next offset never falls either, so a void
//! range stays a gap as long as this sequencer lives.

use std::collections::BTreeMap;

use esker_metadata_api::{IndexExtent, PartitionAdvance};
use esker_types::{Offset, ProducerId, SegmentId, TopicPartition};
use esker_types::{Planted, planted};

use crate::overlay::ProducerView;
use crate::state::PartitionLog;

/// What was undecided in a partition when a question came (U of R1): offsets below `below`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) below: Offset,
}

impl Barrier {
    /// The partition that was asked about.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        self.topic_partition
    }
}

/// Offsets that are promised to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) segment: SegmentId,
    pub(crate) end_offset: Offset,
}

/// What memory adds to a partition's durable log.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    next: Offset,
    high_watermark: Offset,
    undecided: BTreeMap<Offset, Reserved>,
    /// Committed, not checkpointed.
    tail: BTreeMap<Offset, IndexExtent>,
    pub(crate) producers: BTreeMap<ProducerId, ProducerView>,
}

impl Partition {
    /// A partition of which all is durable and decided.
    pub(crate) fn new(log: Option<&PartitionLog>) -> Self {
        let end = log.map_or(Offset::ZERO, PartitionLog::recovered_end);
        Self {
            next: end,
            high_watermark: end,
            undecided: BTreeMap::new(),
            tail: BTreeMap::new(),
            producers: BTreeMap::new(),
        }
    }

    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    pub(crate) fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub(crate) fn first_undecided(&self) -> Option<Offset> {
        self.undecided.keys().next().copied()
    }

    /// The segment that holds the highest undecided offsets.
    pub(crate) fn last_undecided(&self) -> Option<SegmentId> {
        let last = self.undecided.last_key_value();
        last.map(|(_, reserved)| reserved.segment)
    }

    /// End of the last committed record, visible or not; a void range at the end does not count.
    pub(crate) fn committed_end(&self) -> Offset {
        let tail = self.tail.last_key_value();
        let tail = tail.map_or(Offset::ZERO, |(_, last)| last.end_offset);
        tail.max(self.high_watermark)
    }

    /// Promises the next `record_count` offsets; `None` when there are not that many.
    pub(crate) fn reserve(&mut self, segment: SegmentId, record_count: u32) -> Option<Offset> {
        let base_offset = self.next;
        let end_offset = base_offset.after(record_count)?;
        assert!(
            base_offset >= self.high_watermark,
            "CP3: offsets below a served high watermark are never given out"
        );
        self.next = end_offset;
        let last = self.undecided.last_entry();
        match last {
            Some(mut last)
                if last.get().segment == segment && last.get().end_offset == base_offset =>
            {
                last.get_mut().end_offset = end_offset;
            }
            _ => {
                let reserved = Reserved {
                    segment,
                    end_offset,
                };
                self.undecided.insert(base_offset, reserved);
            }
        }
        Some(base_offset)
    }

    /// The offsets of `extent` are committed.
    pub(crate) fn commit(&mut self, extent: IndexExtent) {
        self.decide(&extent);
        assert!(
            extent.base_offset >= self.high_watermark,
            "CP3: nothing becomes committed below a served high watermark"
        );
        self.tail.insert(extent.base_offset, extent);
    }

    /// The offsets of `extent` are void.
    pub(crate) fn void(&mut self, extent: &IndexExtent) {
        self.decide(extent);
    }

    fn decide(&mut self, extent: &IndexExtent) {
        let reserved = Reserved {
            segment: extent.segment,
            end_offset: extent.end_offset,
        };
        assert_eq!(
            self.undecided.remove(&extent.base_offset),
            Some(reserved),
            "CP18: a reserved range is decided once, whole"
        );
    }

    /// A committed extent found in a chain at a take-over; false when an offset of it is taken.
    pub(crate) fn recover(&mut self, log: Option<&PartitionLog>, extent: IndexExtent) -> bool {
        let below = self.tail.range(..extent.end_offset).next_back();
        let taken = below.is_some_and(|(_, last)| last.end_offset > extent.base_offset)
            || log.is_some_and(|log| log.extents.overlaps(&extent));
        if taken {
            return false;
        }
        self.next = self.next.max(extent.end_offset);
        if !planted(Planted::RecoveredNotShown) {
            self.high_watermark = self.next;
        }
        self.tail.insert(extent.base_offset, extent);
        true
    }

    /// Moves the high watermark as far as it may go; what became visible, if anything.
    pub(crate) fn advance(
        &mut self,
        topic_partition: TopicPartition,
        log: Option<&PartitionLog>,
    ) -> Option<PartitionAdvance> {
        let mut ceiling = self.first_undecided().unwrap_or(self.next);
        if planted(Planted::HwPastUndecided) {
            ceiling = self.next;
        }
        let previous_high_watermark = self.high_watermark;
        let mut reached = self.committed_below(log, ceiling)?.end_offset;
        if planted(Planted::HwIsLogEnd) {
            reached = self.next;
        }
        if reached <= previous_high_watermark {
            return None;
        }
        assert!(
            reached <= ceiling,
            "CP7: the high watermark never passes an undecided offset"
        );
        let extents = self.committed_from(log, previous_high_watermark, reached);
        assert_eq!(
            extents.last().map(|last| last.end_offset),
            Some(reached),
            "CP7: the high watermark is the end of a committed batch"
        );
        self.high_watermark = reached;
        Some(PartitionAdvance {
            topic_partition,
            log_start: log.map_or(Offset::ZERO, |log| log.log_start),
            high_watermark: reached,
            extents,
            previous_high_watermark,
        })
    }

    /// The last committed extent that begins below `ceiling`.
    fn committed_below(&self, log: Option<&PartitionLog>, ceiling: Offset) -> Option<IndexExtent> {
        let tail = self.tail.range(..ceiling).next_back();
        let durable = log.and_then(|log| log.extents.last_below(ceiling));
        let last = tail.map(|(_, extent)| extent).into_iter().chain(durable);
        last.max_by_key(|extent| extent.base_offset).copied()
    }

    /// Committed extents that begin in `from..until`, ascending.
    fn committed_from(
        &self,
        log: Option<&PartitionLog>,
        from: Offset,
        until: Offset,
    ) -> Vec<IndexExtent> {
        let durable = log.map_or(&[][..], |log| log.extents.from(from));
        let durable = durable
            .iter()
            .take_while(|extent| extent.base_offset < until);
        let mut extents: Vec<IndexExtent> = durable.copied().collect();
        extents.extend(self.tail.range(from..until).map(|(_, extent)| *extent));
        extents.sort_unstable_by_key(|extent| extent.base_offset);
        extents
    }

    /// Committed extents that are not checkpointed and hold an offset at or above `offset`.
    pub(crate) fn tail_from(&self, offset: Offset) -> impl Iterator<Item = &IndexExtent> {
        let holding = self.tail.range(..offset).next_back();
        let holding = holding.filter(|(_, extent)| extent.end_offset > offset);
        holding
            .into_iter()
            .chain(self.tail.range(offset..))
            .map(|(_, extent)| extent)
    }

    /// The extent that begins here is in the durable state.
    pub(crate) fn checkpointed(&mut self, base_offset: Offset) {
        self.tail.remove(&base_offset);
    }

    /// The log start offset moved: what ends at or below it is gone.
    pub(crate) fn trim(&mut self, log_start: Offset) {
        assert!(
            log_start <= self.high_watermark,
            "CP6: the log start offset never passes the high watermark"
        );
        self.tail.retain(|_, extent| extent.end_offset > log_start);
    }

    /// Forgets a producer of which the durable state holds all.
    pub(crate) fn settle_producer(&mut self, producer_id: ProducerId) {
        if self
            .producers
            .get(&producer_id)
            .is_some_and(ProducerView::is_idle)
        {
            self.producers.remove(&producer_id);
        }
    }
}
