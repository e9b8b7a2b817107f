//! The batches of one partition: one open, some ready, some in flight, by ordinal.

use std::collections::{BTreeMap, BTreeSet};

use esker_record::{BatchBuilder, BuildError, NewRecord};
use esker_types::MonotonicTime;

use super::{Batch, BatcherConfig, Producer};
use crate::cli::limits::PARTITION_WINDOW_BATCHES;

/// Bytes that a record takes beside its key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// The same of a header.
const HEADER_OVERHEAD_BYTES: usize = 10;
/// Sequences are numbers below this, over and over.
const SEQUENCES: i64 = 1 << 31;

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Lane {
    open: Option<(BatchBuilder, MonotonicTime)>,
    ready: BTreeMap<u64, Batch>,
    in_flight: BTreeSet<u64>,
    next_ordinal: u64,
    next_sequence: i32,
    /// The broker has acknowledged a batch: it knows the producer.
    is_known: bool,
}

/// The sequence behind so many records.
fn sequence_after(sequence: i32, record_count: u32) -> i32 {
    let sum = i64::from(sequence) + i64::from(record_count);
    i32::try_from(sum.rem_euclid(SEQUENCES)).unwrap_or(0)
}

/// Bytes that a record may take in a batch.
fn bytes_of(record: &NewRecord) -> usize {
    let key = record.key.as_ref().map_or(0, |key| key.len());
    let value = record.value.as_ref().map_or(0, |value| value.len());
    let headers = record.headers.iter().map(|(name, value)| {
        let value = value.as_ref().map_or(0, |value| value.len());
        name.len()
            .saturating_add(value)
            .saturating_add(HEADER_OVERHEAD_BYTES)
    });
    let parts = headers.chain([key, value]);
    parts.fold(RECORD_OVERHEAD_BYTES, usize::saturating_add)
}

impl Lane {
    /// Whether the open batch can take the record; an empty one takes any.
    pub(super) fn has_room(&self, record: &NewRecord, batch_bytes: usize) -> bool {
        match &self.open {
            Some((builder, _)) => {
                builder.plain_bytes().saturating_add(bytes_of(record)) <= batch_bytes
            }
            None => true,
        }
    }

    pub(super) fn is_full(&self, batch_bytes: usize) -> bool {
        self.open_bytes().saturating_add(RECORD_OVERHEAD_BYTES) > batch_bytes
    }

    pub(super) fn push(
        &mut self,
        record: &NewRecord,
        config: &BatcherConfig,
        now: MonotonicTime,
    ) -> Result<(), BuildError> {
        let new = || (BatchBuilder::new(config.compression), now);
        let (builder, _) = self.open.get_or_insert_with(new);
        builder.push(record)
    }

    /// Makes the open batch ready; gives its bytes.
    pub(super) fn close(
        &mut self,
        partition: i32,
        producer: Option<Producer>,
        now: MonotonicTime,
    ) -> Result<usize, BuildError> {
        let Some((mut builder, _)) = self.open.take() else {
            return Ok(0);
        };
        let record_count = builder.record_count();
        if let Some(producer) = producer {
            builder = builder.producer(producer.id, producer.epoch, self.next_sequence);
            self.next_sequence = sequence_after(self.next_sequence, record_count);
        }
        let bytes = builder.build()?;
        let batch_bytes = bytes.len();
        let batch = Batch {
            partition,
            ordinal: self.next_ordinal,
            record_count,
            bytes,
            closed_at: now,
            not_before: now,
            waits_for_earlier: false,
            may_overtake: false,
        };
        self.ready.insert(self.next_ordinal, batch);
        self.next_ordinal = self.next_ordinal.saturating_add(1);
        Ok(batch_bytes)
    }

    pub(super) fn opened_at(&self) -> Option<MonotonicTime> {
        self.open.as_ref().map(|(_, opened)| *opened)
    }

    pub(super) fn open_bytes(&self) -> usize {
        let open = self.open.as_ref();
        open.map_or(0, |(builder, _)| builder.plain_bytes())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.ready.is_empty() && self.in_flight.is_empty()
    }

    /// When a batch that was returned may go again.
    pub(super) fn retry_at(&self) -> Option<MonotonicTime> {
        let (_, batch) = self.ready.first_key_value()?;
        (batch.not_before > batch.closed_at).then_some(batch.not_before)
    }

    /// When the next batch to send was closed.
    pub(super) fn closed_at(&self) -> Option<MonotonicTime> {
        let (_, batch) = self.ready.first_key_value()?;
        Some(batch.closed_at)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        let ready = self.ready.first_key_value().map(|(ordinal, _)| *ordinal);
        let in_flight = self.in_flight.first().copied();
        ready.into_iter().chain(in_flight).min()
    }

    pub(super) fn may_send(&self, now: MonotonicTime, is_idempotent: bool) -> bool {
        let Some((ordinal, batch)) = self.ready.first_key_value() else {
            return false;
        };
        if batch.not_before > now {
            return false;
        }
        let oldest = self.oldest().unwrap_or(*ordinal);
        match is_idempotent && self.is_known {
            true if batch.waits_for_earlier => oldest == *ordinal,
            true => ordinal.saturating_sub(oldest) < PARTITION_WINDOW_BATCHES,
            false => self.in_flight.is_empty(),
        }
    }

    /// Bytes of the batch that [`Self::send`] would give.
    pub(super) fn next_bytes(&self) -> usize {
        let next = self.ready.first_key_value();
        next.map_or(0, |(_, batch)| batch.bytes.len())
    }

    pub(super) fn send(&mut self) -> Option<Batch> {
        let (ordinal, mut batch) = self.ready.pop_first()?;
        batch.may_overtake = self
            .in_flight
            .first()
            .is_some_and(|oldest| *oldest < ordinal);
        self.in_flight.insert(ordinal);
        Some(batch)
    }

    pub(super) fn acknowledged(&mut self, ordinal: u64) {
        self.in_flight.remove(&ordinal);
        self.is_known = true;
    }

    pub(super) fn returned(&mut self, batch: Batch) {
        self.in_flight.remove(&batch.ordinal);
        self.ready.insert(batch.ordinal, batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_behind_the_largest_signed_number() {
        assert_eq!(sequence_after(0, 5), 5);
        assert_eq!(sequence_after(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 4), 2);
    }

    #[test]
    fn a_record_never_takes_more_bytes_than_are_reckoned() {
        let record = NewRecord {
            key: Some("key".into()),
            value: Some(vec![7; 1000].into()),
            headers: vec![("name".into(), Some("value".into())); 20],
            ..NewRecord::default()
        };
        let mut builder = BatchBuilder::new(esker_record::Compression::None);
        let before = builder.plain_bytes();

        builder.push(&record).unwrap();

        assert!(builder.plain_bytes() - before <= bytes_of(&record));
    }
}
