//! What this process knows of every partition's index, fed by the sequencer's push.
//!
//! Never wrong, may lag (R3). The high watermark and log start kept here never fall (CP6), whoever
//! tells them. Bounded: extents per partition and in all; what was forgotten is looked up again. A
//! partition is *fresh* when it was looked up since the feed began; only then does its end count as
//! the log's end.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker_metadata_api::limits::PARTITIONS_MAX;
use esker_metadata_api::{IndexExtent, IndexSlice, PartitionAdvance, TopicTable};
use esker_types::{MonotonicTime, Offset, Planted, TopicPartition, planted};
use tokio::sync::Notify;

use crate::coverage::Coverage;
use crate::limits::{HOT_EXTENTS, PARTITION_EXTENTS_MAX, WATCHES_MAX};

/// Where a partition's log begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
}

impl Marks {
    /// The higher of each: neither ever falls.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            log_start: self.log_start.max(other.log_start),
            high_watermark: self.high_watermark.max(other.high_watermark),
        }
    }
}

/// Extents to read from, ascending; the first holds the offset or lies next above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) marks: Marks,
    pub(crate) extents: Vec<IndexExtent>,
    /// Close to the log's end.
    pub(crate) hot: bool,
    /// When the feed told last that the log grew.
    pub(crate) grew: Option<MonotonicTime>,
}

/// What the view knows about an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Extents(Stretch),
    AtEnd(Marks),
    BelowStart(Marks),
    AboveEnd(Marks),
    /// Look it up.
    Unknown,
}

/// What was asked in a look-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) offset: Offset,
    pub(crate) extents_max: usize,
    /// Of the feed, before the question was sent.
    pub(crate) generation: u64,
}

/// How much the view may keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViewLimits {
    pub(crate) extents_max: usize,
    pub(crate) partition_extents_max: usize,
    pub(crate) partitions_max: usize,
    pub(crate) watches_max: usize,
}

impl ViewLimits {
    pub(crate) fn new(extents_max: usize) -> Self {
        Self {
            extents_max,
            partition_extents_max: PARTITION_EXTENTS_MAX,
            partitions_max: PARTITIONS_MAX,
            watches_max: WATCHES_MAX,
        }
    }
}

/// Gauges of the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewSize {
    pub(crate) partitions: usize,
    pub(crate) extents: usize,
    pub(crate) watches: usize,
}

#[derive(Debug)]
pub(crate) struct View {
    limits: ViewLimits,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    partitions: BTreeMap<TopicPartition, Partition>,
    watchers: BTreeMap<TopicPartition, BTreeMap<u64, Arc<Notify>>>,
    /// Counts feeds; 0 before the first.
    generation: u64,
    topics_version: u64,
    extents: usize,
    watches: usize,
    watches_begun: u64,
    /// Where the last search for extents to forget ended.
    swept: Option<TopicPartition>,
}

#[derive(Debug)]
struct Partition {
    marks: Marks,
    /// Up to the high watermark, as far as the push has told.
    tail: Coverage,
    /// What the last reader that catches up has looked up.
    cold: Option<Coverage>,
    /// The feed under which it was looked up last.
    fresh_in: u64,
    /// When the feed told last of a higher high watermark.
    grew: Option<MonotonicTime>,
}

impl Partition {
    fn new(marks: Marks, tail: Coverage) -> Self {
        Self {
            marks,
            tail,
            cold: None,
            fresh_in: 0,
            grew: None,
        }
    }

    fn extents(&self) -> usize {
        self.tail.extents() + self.cold.as_ref().map_or(0, Coverage::extents)
    }

    /// True when they rose.
    fn raise(&mut self, marks: Marks) -> bool {
        let before = self.marks;
        self.marks = match planted(Planted::FetchTrustsAnyHw) {
            true => marks,
            false => before.max(marks),
        };
        self.tail.trim(self.marks.log_start);
        self.marks != before
    }

    fn find(&self, offset: Offset, bytes_max: u64, generation: u64) -> Found {
        if offset < self.marks.log_start {
            return Found::BelowStart(self.marks);
        }
        let coverages = [Some(&self.tail), self.cold.as_ref()];
        for coverage in coverages.into_iter().flatten() {
            let extents = match coverage.holds(offset) {
                true => coverage.read(offset, bytes_max),
                false => Vec::new(),
            };
            if !extents.is_empty() {
                return Found::Extents(Stretch {
                    marks: self.marks,
                    extents,
                    hot: self.is_hot(offset),
                    grew: self.grew,
                });
            }
        }
        if self.fresh_in != generation {
            return Found::Unknown;
        }
        match offset.cmp(&self.marks.high_watermark) {
            std::cmp::Ordering::Less => Found::Unknown,
            std::cmp::Ordering::Equal => Found::AtEnd(self.marks),
            std::cmp::Ordering::Greater => Found::AboveEnd(self.marks),
        }
    }

    fn is_hot(&self, offset: Offset) -> bool {
        self.tail.holds(offset) && self.tail.extents_behind(offset) <= HOT_EXTENTS
    }

    /// Takes in a look-up: as the tail, behind it, or aside.
    fn learn(&mut self, slice: Coverage) {
        if slice.from() <= self.tail.from() && slice.to() >= self.tail.to() {
            self.tail = slice;
        } else if slice.to() <= self.tail.to() {
            if slice.extents() > 0 && !self.tail.holds(slice.from()) {
                self.cold = Some(slice);
            }
        } else if !self.tail.join(&slice) {
            self.tail = slice;
        }
    }
}

impl Known {
    fn wake(&self, topic_partition: TopicPartition) {
        let watchers = self.watchers.get(&topic_partition);
        for watcher in watchers.into_iter().flat_map(BTreeMap::values) {
            watcher.notify_one();
        }
    }

    /// Changes one partition, made by `new` when it is not there yet; wakes its readers when its
    /// marks rose. Nothing happens when it is new and there are too many.
    fn change<T>(
        &mut self,
        limits: &ViewLimits,
        topic_partition: TopicPartition,
        new: impl FnOnce() -> Partition,
        change: impl FnOnce(&mut Partition) -> (bool, T),
    ) -> Option<T> {
        let is_full = self.partitions.len() >= limits.partitions_max;
        let before = self
            .partitions
            .get(&topic_partition)
            .map(Partition::extents);
        if is_full && before.is_none() {
            return None;
        }
        let before = before.unwrap_or(0);
        let partition = self.partitions.entry(topic_partition).or_insert_with(new);
        let (rose, outcome) = change(partition);
        partition.tail.keep_last(limits.partition_extents_max);
        self.extents = self.extents + partition.extents() - before;
        if rose {
            self.wake(topic_partition);
        }
        self.sweep(limits.extents_max);
        Some(outcome)
    }

    /// Forgets the older half of one partition after the other until the total is within bounds.
    fn sweep(&mut self, extents_max: usize) {
        let mut fruitless = 0;
        while self.extents > extents_max && fruitless <= self.partitions.len() {
            let after = self.swept.take().map_or(Bound::Unbounded, Bound::Excluded);
            let mut behind = self.partitions.range_mut((after, Bound::Unbounded));
            let Some((topic_partition, partition)) = behind.next() else {
                fruitless += 1; // Round again, from the first.
                continue;
            };
            self.swept = Some(*topic_partition);
            let before = partition.extents();
            partition.cold = None;
            partition.tail.keep_last(partition.tail.extents() / 2);
            let forgotten = before - partition.extents();
            self.extents -= forgotten;
            fruitless = if forgotten == 0 { fruitless + 1 } else { 0 };
        }
        assert!(
            self.extents <= extents_max,
            "extents are counted right, so forgetting all of them is enough"
        );
    }

    fn unwatch(&mut self, topic_partition: TopicPartition, number: u64) {
        let Some(watchers) = self.watchers.get_mut(&topic_partition) else {
            return;
        };
        if watchers.remove(&number).is_some() {
            self.watches -= 1;
        }
        if watchers.is_empty() {
            self.watchers.remove(&topic_partition);
        }
    }
}

/// Wakes its holder when one of its partitions grows. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    view: Arc<View>,
    number: u64,
    partitions: Vec<TopicPartition>,
    notify: Arc<Notify>,
}

impl Watch {
    /// Completes when a partition has grown since it was seen, or the feed began anew. Cancel safe.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut known = self.view.lock();
        for topic_partition in self.partitions.drain(..) {
            known.unwatch(topic_partition, self.number);
        }
    }
}

/// A partition and the high watermark at which its reader stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) high_watermark: Offset,
}

impl View {
    pub(crate) fn new(limits: ViewLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            known: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the feed that is followed now.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// A new feed has begun, or updates were lost: what is known stays true, but every end must be
    /// looked up again.
    pub(crate) fn begin_generation(&self) {
        let mut known = self.lock();
        known.generation += 1;
        for watcher in known.watchers.values().flat_map(BTreeMap::values) {
            watcher.notify_one();
        }
    }

    pub(crate) fn find(
        &self,
        topic_partition: TopicPartition,
        offset: Offset,
        bytes_max: u64,
    ) -> Found {
        let known = self.lock();
        let partition = known.partitions.get(&topic_partition);
        partition.map_or(Found::Unknown, |partition| {
            partition.find(offset, bytes_max, known.generation)
        })
    }

    /// Marks of a partition, as far as they are known.
    pub(crate) fn marks(&self, topic_partition: TopicPartition) -> Option<Marks> {
        let known = self.lock();
        let partition = known.partitions.get(&topic_partition)?;
        Some(partition.marks)
    }

    /// Takes in an update of the feed that came `now`.
    pub(crate) fn advance(&self, advance: &PartitionAdvance, now: MonotonicTime) {
        let marks = Marks {
            log_start: advance.log_start,
            high_watermark: advance.high_watermark,
        };
        let from = advance.previous_high_watermark;
        let new = || Partition::new(Marks::default(), Coverage::at(from));
        let change = |partition: &mut Partition| {
            if from > partition.tail.to() && !planted(Planted::FeedGapIgnored) {
                // Something was missed in between: what is older stays readable until replaced.
                let older = std::mem::replace(&mut partition.tail, Coverage::at(from));
                partition.cold = partition.cold.take().or(Some(older));
            }
            let to = Some(advance.high_watermark);
            partition.tail.extend(&advance.extents, to);
            let rose = partition.raise(marks);
            if advance.high_watermark > from {
                // Also if a look-up was quicker, and not if the log's start alone rose.
                partition.grew = Some(now);
            }
            (rose, ())
        };
        let mut known = self.lock();
        let generation = known.generation;
        let change = |partition: &mut Partition| {
            // All that comes later will be pushed as well.
            partition.fresh_in = generation;
            change(partition)
        };
        known.change(&self.limits, advance.topic_partition, new, change);
    }

    /// Takes in the answer to a look-up and says what it means for the offset asked for.
    pub(crate) fn learn(&self, asked: Asked, bytes_max: u64, slice: &IndexSlice) -> Found {
        let told = Marks {
            log_start: slice.log_start,
            high_watermark: slice.high_watermark,
        };
        let coverage = Coverage::of_slice(asked.offset, asked.extents_max, slice);
        // Answered from the slice itself: what was stored may be forgotten again at once.
        let mut answer = Partition::new(told, coverage.clone());
        answer.fresh_in = asked.generation;
        let new = || Partition::new(told, coverage.clone());
        let change = |partition: &mut Partition| {
            partition.learn(coverage.clone());
            let rose = partition.raise(told);
            partition.fresh_in = partition.fresh_in.max(asked.generation);
            let place = (partition.is_hot(asked.offset), partition.grew);
            (rose, (partition.marks, place))
        };
        let mut known = self.lock();
        let changed = known.change(&self.limits, asked.topic_partition, new, change);
        let (marks, (hot, grew)) = changed.unwrap_or((told, (false, None)));
        answer.raise(marks);
        match answer.find(asked.offset, bytes_max, known.generation) {
            Found::Extents(stretch) => Found::Extents(Stretch {
                hot,
                grew,
                ..stretch
            }),
            other => other,
        }
    }

    /// An object that the index led to is gone: forgets where the partition's bytes are.
    pub(crate) fn distrust(&self, topic_partition: TopicPartition) {
        let mut known = self.lock();
        let Some(partition) = known.partitions.get_mut(&topic_partition) else {
            return;
        };
        let before = partition.extents();
        partition.cold = None;
        partition.tail.keep_last(0);
        known.extents -= before;
    }

    /// The partition does not exist (any more).
    pub(crate) fn forget(&self, topic_partition: TopicPartition) {
        let mut known = self.lock();
        if let Some(partition) = known.partitions.remove(&topic_partition) {
            known.extents -= partition.extents();
        }
        known.wake(topic_partition);
    }

    /// Forgets the partitions of deleted topics and wakes their readers.
    pub(crate) fn retain_topics(&self, topics: &TopicTable) {
        let mut known = self.lock();
        if topics.version < known.topics_version {
            return; // An older table, from a leader that is deposed.
        }
        known.topics_version = topics.version;
        let is_gone = |at: &&TopicPartition| topics.with_id(at.topic).is_none();
        let gone: Vec<_> = known.partitions.keys().filter(is_gone).copied().collect();
        for topic_partition in gone {
            if let Some(partition) = known.partitions.remove(&topic_partition) {
                known.extents -= partition.extents();
            }
            known.wake(topic_partition);
        }
    }

    /// Watches partitions. Wakes at once when one of them has grown since it was seen, or the feed
    /// began anew since `generation`. `None` past the limit: nobody will wake the caller.
    pub(crate) fn watch(self: &Arc<Self>, seen: &[Seen], generation: u64) -> Option<Watch> {
        let notify = Arc::new(Notify::new());
        let mut known = self.lock();
        if known.watches + seen.len() > self.limits.watches_max {
            return None;
        }
        known.watches_begun += 1;
        let number = known.watches_begun;
        let mut partitions = Vec::with_capacity(seen.len());
        let mut is_stale = known.generation != generation;
        for at in seen {
            let watchers = known.watchers.entry(at.topic_partition).or_default();
            if watchers.insert(number, Arc::clone(&notify)).is_none() {
                known.watches += 1;
                partitions.push(at.topic_partition);
            }
            let partition = known.partitions.get(&at.topic_partition);
            is_stale |= partition.is_some_and(|now| now.marks.high_watermark > at.high_watermark);
        }
        drop(known);
        if is_stale {
            notify.notify_one();
        }
        Some(Watch {
            view: Arc::clone(self),
            number,
            partitions,
            notify,
        })
    }

    pub(crate) fn size(&self) -> ViewSize {
        let known = self.lock();
        ViewSize {
            partitions: known.partitions.len(),
            extents: known.extents,
            watches: known.watches,
        }
    }
}

#[cfg(test)]
mod tests;
