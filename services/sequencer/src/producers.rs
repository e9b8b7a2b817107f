//! What is remembered of one idempotent producer in one partition, from its committed batches.
//!
//! D5: a function of the *set* of these batches, whatever the order in which they are told: the
//! highest epoch, and of that epoch the number of records and the last five batches by offset.

use esker_types::{Offset, ProducerEpoch};
use esker_types::{Planted, planted};

use crate::limits::BATCHES_REMEMBERED;

/// A place in a producer's sequence: 0 to 2^31 - 1, then 0 again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence(u32);

const SEQUENCES: u32 = 1 << 31;
/// Sequences less than half the circle away are ahead, the others behind.
const SEQUENCES_AHEAD: u32 = SEQUENCES / 2;

impl Sequence {
    pub(crate) const ZERO: Self = Self(0);

    /// `None` when negative.
    pub(crate) fn from_wire(value: i32) -> Option<Self> {
        u32::try_from(value).ok().map(Self)
    }

    pub(crate) fn to_wire(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }

    /// The sequence `count` records later.
    pub(crate) fn after(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count) % SEQUENCES)
    }

    /// Steps from `earlier` up to `self`.
    pub(crate) fn steps_from(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0) % SEQUENCES
    }

    /// Whether it comes later than `other`.
    pub(crate) fn is_ahead_of(self, other: Self) -> bool {
        self != other && self.steps_from(other) < SEQUENCES_AHEAD
    }
}

/// One batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerBatch {
    pub(crate) base_sequence: Sequence,
    pub(crate) record_count: u32,
    pub(crate) base_offset: Offset,
}

impl ProducerBatch {
    pub(crate) fn end_sequence(&self) -> Sequence {
        self.base_sequence.after(self.record_count)
    }

    /// Whether `other` is the same batch, sent again.
    pub(crate) fn is_replayed_by(&self, base_sequence: Sequence, record_count: u32) -> bool {
        self.base_sequence == base_sequence && self.record_count == record_count
    }
}

/// The committed batches of one producer in one partition, as far as they are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerLog {
    epoch: ProducerEpoch,
    /// Records of all committed batches of the epoch, remembered or not.
    epoch_records: u64,
    /// At least one, ascending by offset.
    last: Vec<ProducerBatch>,
}

impl ProducerLog {
    /// The log of a producer with one batch.
    pub(crate) fn of(epoch: ProducerEpoch, batch: ProducerBatch) -> Self {
        Self {
            epoch,
            epoch_records: u64::from(batch.record_count),
            last: vec![batch],
        }
    }

    /// As stored; `None` when no log has this form.
    pub(crate) fn from_parts(
        epoch: ProducerEpoch,
        epoch_records: u64,
        last: Vec<ProducerBatch>,
    ) -> Option<Self> {
        let log = Self {
            epoch,
            epoch_records,
            last,
        };
        let ascending = log
            .last
            .windows(2)
            .all(|pair| matches!(pair, [one, next] if one.base_offset < next.base_offset));
        let sound = ascending
            && !log.last.is_empty()
            && log.last.len() <= BATCHES_REMEMBERED
            && log.last.iter().all(|batch| batch.record_count > 0)
            && log.remembered_records() <= epoch_records;
        sound.then_some(log)
    }

    /// Adds a committed batch. The order of calls does not matter (D5); a remembered batch may come
    /// again and changes nothing.
    pub(crate) fn insert(&mut self, epoch: ProducerEpoch, batch: ProducerBatch) {
        if epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            *self = Self::of(epoch, batch);
            return;
        }
        let at = self
            .last
            .partition_point(|known| known.base_offset < batch.base_offset);
        let at = if planted(Planted::StateByArrival) {
            self.last.len()
        } else {
            at
        };
        if self.last.get(at) == Some(&batch) {
            return;
        }
        self.epoch_records = self
            .epoch_records
            .saturating_add(u64::from(batch.record_count));
        self.last.insert(at, batch);
        if self.last.len() > BATCHES_REMEMBERED {
            self.last.remove(0);
        }
    }

    pub(crate) fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    pub(crate) fn epoch_records(&self) -> u64 {
        self.epoch_records
    }

    pub(crate) fn last(&self) -> &[ProducerBatch] {
        &self.last
    }

    /// Offset of its newest batch: the producers with the lowest are forgotten first.
    pub(crate) fn last_offset(&self) -> Offset {
        self.last
            .last()
            .map_or(Offset::ZERO, |batch| batch.base_offset)
    }

    /// The sequence of its last record.
    pub(crate) fn last_sequence(&self) -> Sequence {
        let next = self.next_sequence();
        Sequence(next.0.wrapping_sub(1) % SEQUENCES)
    }

    /// The sequence that comes next in its epoch.
    pub(crate) fn next_sequence(&self) -> Sequence {
        self.last
            .last()
            .map_or(Sequence::ZERO, ProducerBatch::end_sequence)
    }

    /// The remembered batch that this one repeats (CP9).
    pub(crate) fn find(&self, base_sequence: Sequence, record_count: u32) -> Option<Offset> {
        self.last
            .iter()
            .find(|known| known.is_replayed_by(base_sequence, record_count))
            .map(|known| match planted(Planted::DuplicateOfNewest) {
                true => self.last_offset(),
                false => known.base_offset,
            })
    }

    /// Whether these sequences were surely committed before the remembered batches: the committed
    /// sequences of an epoch are contiguous (CP8), so it is enough to count records.
    pub(crate) fn forgot(&self, base_sequence: Sequence, record_count: u32) -> bool {
        let Some(oldest) = self.last.first() else {
            return false;
        };
        let steps = oldest.base_sequence.steps_from(base_sequence);
        let forgotten = self
            .epoch_records
            .saturating_sub(self.remembered_records())
            .min(u64::from(SEQUENCES_AHEAD));
        record_count <= steps && u64::from(steps) <= forgotten
    }

    fn remembered_records(&self) -> u64 {
        self.last
            .iter()
            .map(|batch| u64::from(batch.record_count))
            .sum()
    }
}

#[cfg(test)]
mod tests;
