//! Which record goes into which batch, and when a batch may go: pure, no clock, no I/O.
//!
//! Order: a lane (one partition) sends in order, and its first batch alone: a broker that knows
//! nothing of a producer takes any first sequence. Then up to `PARTITION_WINDOW_BATCHES` batches
//! between the oldest unacknowledged and the youngest sent, so that repetitions are recognised.

mod lane;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use esker_env::Rng;
use esker_record::{BuildError, Compression, NewRecord, partition_for_key};
use esker_types::{MonotonicTime, ProducerEpoch, ProducerId};

use crate::cli::limits::{PRODUCE_BUFFER_BYTES_MAX, PRODUCE_REQUEST_BYTES_MAX};
use lane::Lane;

/// Who produces, for the broker to recognise repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatcherConfig {
    pub(super) compression: Compression,
    /// Bytes of a batch before compression. A larger record is a batch of its own.
    pub(super) batch_bytes: usize,
    pub(super) linger: Duration,
    /// `None` is not idempotent: then one batch a partition is in flight.
    pub(super) producer: Option<Producer>,
}

/// A batch on its way.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) partition: i32,
    /// Its place among the batches of its partition.
    pub(super) ordinal: u64,
    pub(super) record_count: u32,
    pub(super) bytes: Bytes,
    pub(super) closed_at: MonotonicTime,
    /// Not sent again before then.
    pub(super) not_before: MonotonicTime,
    /// Sent only when every earlier batch has been acknowledged.
    pub(super) waits_for_earlier: bool,
    /// Sent last while an earlier batch was not acknowledged: it may have overtaken that one.
    pub(super) may_overtake: bool,
}

/// Batches for one request: one of each partition, all of one leader.
#[derive(Clone, Debug)]
pub(super) struct Shipment {
    pub(super) leader: i32,
    pub(super) batches: Vec<Batch>,
}

/// Chooses partitions as Kafka's Java client does.
#[derive(Debug)]
struct Partitioner {
    fixed: Option<i32>,
    partition_count: u32,
    sticky: i32,
    rng: Rng,
}

impl Partitioner {
    /// A key decides by its hash; records without one stick to a partition for a batch.
    fn choose(&self, key: Option<&Bytes>) -> i32 {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let keyed = key.and_then(|key| partition_for_key(key, self.partition_count));
        keyed.map_or(self.sticky, |partition| partition.to_wire())
    }

    /// A batch is closed: records without a key go elsewhere from now on.
    fn turn(&mut self, closed: i32) {
        let count = u64::from(self.partition_count);
        if closed != self.sticky || count < 2 {
            return;
        }
        // Any of the others, each as likely.
        let sticky = u64::try_from(self.sticky).unwrap_or(0);
        let step = 1 + self.rng.below(count - 1);
        self.sticky = i32::try_from((sticky + step) % count).unwrap_or(0);
    }
}

/// All lanes.
#[derive(Debug)]
pub(super) struct Batcher {
    config: BatcherConfig,
    partitioner: Partitioner,
    lanes: BTreeMap<i32, Lane>,
    /// Bytes of batches that are ready or in flight.
    closed_bytes: usize,
    /// The partition that was served last.
    served: i32,
}

impl Batcher {
    pub(super) fn new(
        config: BatcherConfig,
        fixed: Option<i32>,
        partition_count: u32,
        rng: &Rng,
    ) -> Self {
        let rng = rng.stream("sticky-partition");
        let first = rng.below(u64::from(partition_count.max(1)));
        Self {
            config,
            partitioner: Partitioner {
                fixed,
                partition_count,
                sticky: i32::try_from(first).unwrap_or(0),
                rng,
            },
            lanes: BTreeMap::new(),
            closed_bytes: 0,
            served: -1,
        }
    }

    /// Adds a record; closes the batch that it fills.
    pub(super) fn append(
        &mut self,
        record: &NewRecord,
        now: MonotonicTime,
    ) -> Result<(), BuildError> {
        let mut partition = self.partitioner.choose(record.key.as_ref());
        let lane = self.lanes.entry(partition).or_default();
        if !lane.has_room(record, self.config.batch_bytes) {
            self.close(partition, now)?;
            partition = self.partitioner.choose(record.key.as_ref());
        }
        let lane = self.lanes.entry(partition).or_default();
        if !lane.has_room(record, self.config.batch_bytes) {
            // The next sticky partition was half full already.
            self.close(partition, now)?;
        }
        let lane = self.lanes.entry(partition).or_default();
        lane.push(record, &self.config, now)?;
        if lane.is_full(self.config.batch_bytes) {
            self.close(partition, now)?;
        }
        Ok(())
    }

    fn close(&mut self, partition: i32, now: MonotonicTime) -> Result<(), BuildError> {
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return Ok(());
        };
        let batch_bytes = lane.close(partition, self.config.producer, now)?;
        self.closed_bytes = self.closed_bytes.saturating_add(batch_bytes);
        if batch_bytes > 0 {
            self.partitioner.turn(partition);
        }
        Ok(())
    }

    /// Closes what has waited long enough; all of it at the end of the input.
    pub(super) fn flush_due(&mut self, now: MonotonicTime, all: bool) -> Result<(), BuildError> {
        let linger = self.config.linger;
        let due = self.lanes.iter().filter(|(_, lane)| {
            let waited = lane.opened_at().map(|opened| now.since(opened));
            waited.is_some_and(|waited| all || waited >= linger)
        });
        let due: Vec<i32> = due.map(|(partition, _)| *partition).collect();
        for partition in due {
            self.close(partition, now)?;
        }
        Ok(())
    }

    /// Bytes that are not acknowledged yet.
    pub(super) fn is_full(&self) -> bool {
        let open = self.lanes.values().map(Lane::open_bytes);
        let open = open.fold(0, usize::saturating_add);
        open.saturating_add(self.closed_bytes) >= PRODUCE_BUFFER_BYTES_MAX
    }

    /// Whether everything has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.values().all(Lane::is_empty)
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.config.producer.is_some()
    }

    /// Since when the oldest batch that is not in flight waits.
    pub(super) fn oldest_closed_at(&self) -> Option<MonotonicTime> {
        self.lanes.values().filter_map(Lane::closed_at).min()
    }

    /// When, after now, something is due that no acknowledgement brings: a linger's end, a retry.
    pub(super) fn next_due(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        let dues = self.lanes.values().flat_map(|lane| {
            let linger = lane
                .opened_at()
                .map(|opened| opened.after(self.config.linger));
            [linger, lane.retry_at()]
        });
        dues.flatten().filter(|due| *due > now).min()
    }

    /// Whether a batch could go if its partition had a leader.
    pub(super) fn lacks_leader(
        &self,
        now: MonotonicTime,
        leader_of: impl Fn(i32) -> Option<i32>,
    ) -> bool {
        let is_idempotent = self.config.producer.is_some();
        let mut lanes = self.lanes.iter();
        lanes.any(|(partition, lane)| {
            lane.may_send(now, is_idempotent) && leader_of(*partition).is_none()
        })
    }

    /// The batches for one request, by turns among the partitions.
    pub(super) fn ship(
        &mut self,
        now: MonotonicTime,
        leader_of: impl Fn(i32) -> Option<i32>,
    ) -> Option<Shipment> {
        let is_idempotent = self.config.producer.is_some();
        let later = self.lanes.range(self.served.saturating_add(1)..);
        let order = later.chain(self.lanes.range(..=self.served));
        let sendable = order.filter(|(_, lane)| lane.may_send(now, is_idempotent));
        let sendable: Vec<i32> = sendable.map(|(partition, _)| *partition).collect();
        let mut shipment: Option<Shipment> = None;
        let mut shipped_bytes = 0;
        for partition in sendable {
            let Some(leader) = leader_of(partition) else {
                continue;
            };
            let Some(lane) = self.lanes.get_mut(&partition) else {
                continue;
            };
            let is_other = shipment
                .as_ref()
                .is_some_and(|begun| begun.leader != leader);
            let room = PRODUCE_REQUEST_BYTES_MAX.saturating_sub(shipped_bytes);
            if is_other || (shipment.is_some() && lane.next_bytes() > room) {
                continue;
            }
            if let Some(batch) = lane.send() {
                shipped_bytes = shipped_bytes.saturating_add(batch.bytes.len());
                self.served = partition;
                let empty = || Shipment {
                    leader,
                    batches: Vec::new(),
                };
                shipment.get_or_insert_with(empty).batches.push(batch);
            }
        }
        shipment
    }

    /// The broker has the batch.
    pub(super) fn acknowledged(&mut self, batch: &Batch) {
        self.closed_bytes = self.closed_bytes.saturating_sub(batch.bytes.len());
        if let Some(lane) = self.lanes.get_mut(&batch.partition) {
            lane.acknowledged(batch.ordinal);
        }
    }

    /// The batch is to be sent again.
    pub(super) fn returned(&mut self, batch: Batch) {
        if let Some(lane) = self.lanes.get_mut(&batch.partition) {
            lane.returned(batch);
        }
    }
}

#[cfg(test)]
mod tests;
