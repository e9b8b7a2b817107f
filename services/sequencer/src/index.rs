//! Answers to readers: the checkpointed extents, then those not yet checkpointed, as one log.
//!
//! Nothing at or above the high watermark is ever told (H2, CP7); what is told is true for ever
//! (R3). Cost: a bisection and the extents told; a timestamp question reads the partition's
//! extents.

use std::collections::BTreeMap;

use esker_metadata_api::{ActiveProducer, IndexExtent, IndexSlice, ListedOffset, OffsetQuery};
use esker_types::{Offset, ProducerId, Timestamp, TopicPartition};
use esker_types::{Planted, planted};

use crate::Sequencer;
use crate::producers::ProducerLog;
use crate::state::{LogState, PartitionLog};
use crate::watermark::Partition;

impl Sequencer {
    /// One past the last visible record of a partition.
    #[must_use]
    pub fn high_watermark(&self, state: &LogState, topic_partition: TopicPartition) -> Offset {
        match self.partitions.get(&topic_partition) {
            Some(partition) => partition.high_watermark(),
            None => Partition::new(state.partition(topic_partition)).high_watermark(),
        }
    }

    /// Extents from the one that holds `offset`, or follows it, at most `extents_max`. A partition
    /// of which nothing is known is empty: whether it exists is the catalogue's to say.
    #[must_use]
    pub fn look_up(
        &self,
        state: &LogState,
        topic_partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> IndexSlice {
        let extents = self.visible(state, topic_partition, offset);
        IndexSlice {
            log_start: state.log_start(topic_partition),
            high_watermark: self.high_watermark(state, topic_partition),
            extents: extents.take(extents_max).copied().collect(),
        }
    }

    /// Bytes of every partition's visible log, for those that have any. Cost: the partitions, and
    /// the extents that are not checkpointed.
    #[must_use]
    pub fn log_bytes(&self, state: &LogState) -> BTreeMap<TopicPartition, u64> {
        let durable = state.partitions.iter();
        let mut bytes: BTreeMap<_, _> = durable
            .map(|(at, log)| (*at, log.extents.bytes()))
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        for (at, partition) in &self.partitions {
            let tail = partition.tail_from(state.log_start(*at));
            let visible = tail.take_while(|one| one.base_offset < partition.high_watermark());
            let tail_bytes: u64 = visible.map(|one| one.range.byte_count()).sum();
            if tail_bytes > 0 {
                *bytes.entry(*at).or_default() += tail_bytes;
            }
        }
        bytes
    }

    /// The producers that a partition remembers, from its committed batches, by id. Idempotency
    /// keys are none. Cost: its producers, and a bisection for each.
    #[must_use]
    pub fn active_producers(
        &self,
        state: &LogState,
        topic_partition: TopicPartition,
    ) -> Vec<ActiveProducer> {
        let durable = state.partition(topic_partition);
        let durable = durable.into_iter().flat_map(|log| &log.producers);
        let mut logs: BTreeMap<ProducerId, &ProducerLog> =
            durable.map(|(id, log)| (*id, log)).collect();
        let views = self.partitions.get(&topic_partition);
        for (id, view) in views.into_iter().flat_map(|partition| &partition.producers) {
            // Its view has all its committed batches (D5).
            if let Some(log) = &view.committed {
                logs.insert(*id, log);
            }
        }
        let producers = logs.into_iter().filter(|(id, _)| !id.is_keyed());
        let one = |(producer_id, log): (ProducerId, &ProducerLog)| ActiveProducer {
            producer_id,
            producer_epoch: log.epoch(),
            last_sequence: log.last_sequence().to_wire(),
            last_timestamp: self.timestamp_at(state, topic_partition, log.last_offset()),
        };
        producers.map(one).collect()
    }

    /// The largest timestamp of the extent that holds `offset`.
    fn timestamp_at(
        &self,
        state: &LogState,
        topic_partition: TopicPartition,
        offset: Offset,
    ) -> Option<Timestamp> {
        let extent = self.visible(state, topic_partition, offset).next();
        let holding = extent.filter(|extent| extent.base_offset <= offset);
        holding.map(|extent| extent.max_timestamp)
    }

    /// Answers an offset question from what is visible now. For an answer that must be current,
    /// note a [`Self::barrier`], check the epoch and wait first (R1).
    #[must_use]
    pub fn list_offset(
        &self,
        state: &LogState,
        topic_partition: TopicPartition,
        query: OffsetQuery,
        from: Offset,
    ) -> ListedOffset {
        let visible = self.visible(state, topic_partition, from);
        let found = match query {
            OffsetQuery::Latest => {
                return ListedOffset::Known(self.high_watermark(state, topic_partition));
            }
            OffsetQuery::Earliest => {
                return ListedOffset::Known(state.log_start(topic_partition));
            }
            OffsetQuery::MaxTimestamp => newest(visible),
            OffsetQuery::AtTimestamp(wanted) => reaching(visible, wanted),
        };
        found.map_or(ListedOffset::Nothing, ListedOffset::Inside)
    }

    /// Visible extents that hold an offset at or above `offset`, ascending.
    fn visible<'a>(
        &'a self,
        state: &'a LogState,
        topic_partition: TopicPartition,
        offset: Offset,
    ) -> impl Iterator<Item = &'a IndexExtent> {
        let high_watermark = self.high_watermark(state, topic_partition);
        let from = offset.max(state.log_start(topic_partition));
        let durable = durable_from(state.partition(topic_partition), from);
        let tail = self.partitions.get(&topic_partition);
        let tail = tail.into_iter().flat_map(move |tail| tail.tail_from(from));
        merge(durable.iter(), tail).take_while(move |extent| {
            if planted(Planted::ToldPastHw) {
                return true;
            }
            let visible = extent.base_offset < high_watermark;
            assert!(
                !visible || extent.end_offset <= high_watermark,
                "CP7: the high watermark is the end of a committed batch"
            );
            visible
        })
    }
}

fn durable_from(log: Option<&PartitionLog>, from: Offset) -> &[IndexExtent] {
    log.map_or(&[], |log| log.extents.from(from))
}

/// Two ascending rows of disjoint extents as one.
fn merge<'a>(
    one: impl Iterator<Item = &'a IndexExtent>,
    other: impl Iterator<Item = &'a IndexExtent>,
) -> impl Iterator<Item = &'a IndexExtent> {
    let mut one = one.peekable();
    let mut other = other.peekable();
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(first), Some(second)) if first.base_offset < second.base_offset => one.next(),
        (Some(_), None) => one.next(),
        _ => other.next(),
    })
}

/// The extent with the largest timestamp; the first of them when there are several.
fn newest<'a>(visible: impl Iterator<Item = &'a IndexExtent>) -> Option<IndexExtent> {
    let mut newest: Option<&IndexExtent> = None;
    for extent in visible {
        if newest.is_none_or(|known| extent.max_timestamp > known.max_timestamp) {
            newest = Some(extent);
        }
    }
    newest.copied()
}

/// The first extent that has a record with at least this timestamp.
fn reaching<'a>(
    mut visible: impl Iterator<Item = &'a IndexExtent>,
    wanted: Timestamp,
) -> Option<IndexExtent> {
    visible
        .find(|extent| extent.max_timestamp >= wanted)
        .copied()
}
