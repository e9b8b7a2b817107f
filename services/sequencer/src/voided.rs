//! Remembers whose batches turned void, so that what comes behind them is told the true cause.
//!
//! Without it a batch behind a void one would be called out of order, which some clients take as
//! fatal, or, of a producer not seen before, be taken as its first (CP8). Bounded: the oldest go.

use std::collections::BTreeMap;

use esker_types::{Planted, planted};
use esker_types::{ProducerEpoch, ProducerId, TopicId, TopicPartition};

use crate::limits::VOID_MARKS_MAX;
use crate::producers::Sequence;

/// One producer, under one of its epochs, in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Writer {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) producer_id: ProducerId,
    pub(crate) producer_epoch: ProducerEpoch,
}

/// The sequences that turned void and were not offered again yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoidMark {
    pub(crate) first: Sequence,
    pub(crate) end: Sequence,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    mark: VoidMark,
    order: u64,
}

/// All marks.
#[derive(Clone, Debug, Default)]
pub(crate) struct VoidMarks {
    by_writer: BTreeMap<Writer, Entry>,
    by_order: BTreeMap<u64, Writer>,
    next_order: u64,
}

impl VoidMarks {
    pub(crate) fn get(&self, writer: Writer) -> Option<VoidMark> {
        if self.by_writer.is_empty() {
            return None;
        }
        self.by_writer.get(&writer).map(|entry| entry.mark)
    }

    /// A batch of these sequences turned void.
    pub(crate) fn add(&mut self, writer: Writer, turned: VoidMark) {
        if planted(Planted::VoidMarksForgotten) {
            return;
        }
        let mark = match self.forget(writer) {
            Some(known) => VoidMark {
                first: earlier(known.first, turned.first),
                end: later(known.end, turned.end),
            },
            None => turned,
        };
        let order = self.next_order;
        self.next_order = self.next_order.saturating_add(1);
        self.by_writer.insert(writer, Entry { mark, order });
        self.by_order.insert(order, writer);
        if self.by_order.len() > VOID_MARKS_MAX
            && let Some((_, oldest)) = self.by_order.pop_first()
        {
            self.by_writer.remove(&oldest);
        }
    }

    /// The writer's sequences up to `end` have a place again.
    pub(crate) fn placed(&mut self, writer: Writer, end: Sequence) {
        let Some(entry) = self.by_writer.get_mut(&writer) else {
            return;
        };
        if entry.mark.end.is_ahead_of(end) {
            entry.mark.first = end;
        } else {
            self.forget(writer);
        }
    }

    pub(crate) fn drop_topic(&mut self, topic: TopicId) {
        self.by_writer
            .retain(|writer, _| writer.topic_partition.topic != topic);
        let kept = &self.by_writer;
        self.by_order.retain(|_, writer| kept.contains_key(writer));
    }

    fn forget(&mut self, writer: Writer) -> Option<VoidMark> {
        let entry = self.by_writer.remove(&writer)?;
        self.by_order.remove(&entry.order);
        Some(entry.mark)
    }
}

fn earlier(one: Sequence, other: Sequence) -> Sequence {
    if one.is_ahead_of(other) { other } else { one }
}

fn later(one: Sequence, other: Sequence) -> Sequence {
    if other.is_ahead_of(one) { other } else { one }
}
