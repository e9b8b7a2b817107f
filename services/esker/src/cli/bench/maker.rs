//! Records at their moments, gathered into batches: pure but for the values' random bytes.
//!
//! What is due and not wanted yet is not made: a record's moment is known without it. So at most
//! as many batches are ready as may be in flight, and one is open.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use esker_env::Rng;
use esker_record::{BatchBuilder, BuildError, Compression, NewRecord};
use esker_types::{MonotonicTime, Timestamp};

use super::stamp::{STAMP_BYTES, Stamp, Tally};
use super::{BenchCommand, Window};

/// Bytes that a record takes in a batch beside its value, at most.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// Random bytes that values are cut from, beside one value's length.
const NOISE_BYTES: usize = 256 * 1024;

/// What one producer offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) number: u32,
    pub(super) producers: u32,
    /// Of all producers; `None` is as much as the cluster takes.
    pub(super) rate: Option<u64>,
    pub(super) in_flight: usize,
    pub(super) record_bytes: usize,
    pub(super) batch_bytes: usize,
    pub(super) linger: Duration,
    pub(super) compression: Compression,
}

impl Load {
    pub(super) fn of(command: &BenchCommand, number: u32) -> Self {
        let whole = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            number,
            producers: command.producers,
            rate: (!command.pace.max).then_some(command.pace.rate),
            in_flight: whole(command.in_flight),
            record_bytes: whole(command.record_bytes),
            batch_bytes: whole(command.batch_bytes),
            linger: Duration::from_millis(u64::from(command.linger_ms)),
            compression: command.compression.compression(),
        }
    }

    /// When this producer's record with that number is due, after the start. Producers take turns.
    fn due(&self, rate: u64, number: u64) -> Duration {
        let turn = u128::from(number) * u128::from(self.producers) + u128::from(self.number);
        let nanos = turn * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A batch to send.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) partition: i32,
    pub(super) bytes: Bytes,
    /// When each record was to be sent.
    pub(super) moments: Vec<MonotonicTime>,
    pub(super) tally: Tally,
}

/// A batch that still takes records.
#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    opened_at: MonotonicTime,
    moments: Vec<MonotonicTime>,
    tally: Tally,
}

/// Makes one producer's batches.
#[derive(Debug)]
pub(super) struct Maker {
    load: Load,
    window: Window,
    run_id: u64,
    partitions: Vec<i32>,
    noise: Bytes,
    next_number: u64,
    turn: usize,
    open: Option<Open>,
    ready: VecDeque<Ready>,
}

impl Maker {
    pub(super) fn new(
        load: Load,
        window: Window,
        run_id: u64,
        partitions: &[i32],
        rng: &Rng,
    ) -> Self {
        let noise_bytes = NOISE_BYTES.saturating_add(load.record_bytes);
        let mut noise = BytesMut::with_capacity(noise_bytes);
        let rng = rng.stream("bench-values");
        while noise.len() < noise_bytes {
            noise.put_u64(rng.u64());
        }
        Self {
            turn: usize::try_from(load.number).unwrap_or(0),
            load,
            window,
            run_id,
            partitions: partitions.to_vec(),
            noise: noise.freeze(),
            next_number: 0,
            open: None,
            ready: VecDeque::new(),
        }
    }

    fn moment(&self, now: MonotonicTime) -> MonotonicTime {
        match self.load.rate {
            Some(rate) => self
                .window
                .start
                .after(self.load.due(rate, self.next_number)),
            None => now,
        }
    }

    /// Makes what is due, as long as it is wanted.
    pub(super) fn make(&mut self, now: MonotonicTime, wall: Timestamp) -> Result<(), BuildError> {
        while self.ready.len() < self.load.in_flight {
            let moment = self.moment(now);
            if moment > now || moment >= self.window.end {
                break;
            }
            self.push(moment, now, wall)?;
        }
        let linger = self.load.linger;
        let is_due = |open: &Open| now.since(open.opened_at) >= linger;
        if self.open.as_ref().is_some_and(is_due) || self.moment(now) >= self.window.end {
            self.close()?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        moment: MonotonicTime,
        now: MonotonicTime,
        timestamp: Timestamp,
    ) -> Result<(), BuildError> {
        let stamp = Stamp {
            run_id: self.run_id,
            producer: self.load.number,
            number: self.next_number,
            moment,
        };
        let record = NewRecord {
            timestamp,
            value: Some(self.value(&stamp)),
            ..NewRecord::default()
        };
        let compression = self.load.compression;
        let open = self.open.get_or_insert_with(|| Open {
            builder: BatchBuilder::new(compression),
            opened_at: now,
            moments: Vec::new(),
            tally: Tally::default(),
        });
        open.builder.push(&record)?;
        open.moments.push(moment);
        open.tally.add(&stamp);
        self.next_number = self.next_number.saturating_add(1);
        let next = self.load.record_bytes.saturating_add(RECORD_OVERHEAD_BYTES);
        let filled = open.builder.plain_bytes().saturating_add(next);
        if filled > self.load.batch_bytes {
            self.close()?;
        }
        Ok(())
    }

    /// The stamp, then bytes that no other record near has.
    fn value(&self, stamp: &Stamp) -> Bytes {
        let length = self.load.record_bytes.saturating_sub(STAMP_BYTES);
        let places = u64::try_from(self.noise.len().saturating_sub(length)).unwrap_or(1);
        let at = usize::try_from(stamp.number.wrapping_mul(977) % places.max(1)).unwrap_or(0);
        let mut value = BytesMut::with_capacity(self.load.record_bytes);
        stamp.put(&mut value);
        value.extend_from_slice(self.noise.get(at..at.saturating_add(length)).unwrap_or(&[]));
        value.freeze()
    }

    fn close(&mut self) -> Result<(), BuildError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let count = self.partitions.len().max(1);
        let partition = self.partitions.get(self.turn % count).copied();
        self.turn = self.turn.wrapping_add(1);
        self.ready.push_back(Ready {
            partition: partition.unwrap_or(0),
            bytes: open.builder.build()?,
            moments: open.moments,
            tally: open.tally,
        });
        Ok(())
    }

    /// The next batch to send.
    pub(super) fn next(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    /// Whether everything that was to be offered has been handed out.
    pub(super) fn is_over(&self, now: MonotonicTime) -> bool {
        self.moment(now) >= self.window.end && self.open.is_none() && self.ready.is_empty()
    }

    /// When there is something to do, if it is not an answer that it waits for.
    pub(super) fn wake_at(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        if self.ready.len() >= self.load.in_flight {
            return None;
        }
        let linger_over = self.open.as_ref();
        let linger_over = linger_over.map(|open| open.opened_at.after(self.load.linger));
        let moment = Some(self.moment(now)).filter(|moment| *moment < self.window.end);
        linger_over.into_iter().chain(moment).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_millis(millis))
    }

    fn maker(rate: Option<u64>) -> Maker {
        let load = Load {
            number: 1,
            producers: 2,
            rate,
            in_flight: 2,
            record_bytes: 100,
            batch_bytes: 1000,
            linger: Duration::from_millis(5),
            compression: Compression::None,
        };
        let window = Window {
            start: at(1000),
            measured_from: at(1000),
            end: at(2000),
        };
        Maker::new(load, window, 7, &[0, 1], &Rng::from_seed(1))
    }

    fn drain(maker: &mut Maker) -> Vec<Ready> {
        std::iter::from_fn(|| maker.next()).collect()
    }

    #[test]
    fn records_have_their_moments_however_late_they_are_made() {
        let mut maker = maker(Some(100));
        let wall = Timestamp::from_millis(0);

        maker.make(at(1005), wall).unwrap();
        assert!(maker.next().is_none(), "nothing is due before its moment");
        // The second producer's moments lie between those of the first: 10, 30, 50 … ms.
        maker.make(at(1055), wall).unwrap();
        maker.make(at(1060), wall).unwrap();
        let late = drain(&mut maker);

        assert_eq!(late.len(), 1);
        assert_eq!(late[0].moments, [at(1010), at(1030), at(1050)]);
        assert_eq!(late[0].partition, 1);
    }

    #[test]
    fn no_more_is_made_than_may_be_in_flight() {
        let mut maker = maker(None);
        let wall = Timestamp::from_millis(0);

        maker.make(at(1000), wall).unwrap();
        let first = drain(&mut maker);
        maker.make(at(1001), wall).unwrap();
        let second = drain(&mut maker);

        assert_eq!(first.len(), 2, "as many as may be in flight, not one more");
        assert_eq!(second.len(), 2);
        assert!(first.iter().all(|ready| ready.bytes.len() <= 1000));
        assert_ne!(first[0].partition, first[1].partition);
    }

    #[test]
    fn everything_that_was_due_is_handed_out_before_it_is_over() {
        let mut maker = maker(Some(100));
        let mut made = 0;

        for millis in (1000..2100).step_by(10) {
            maker.make(at(millis), Timestamp::from_millis(0)).unwrap();
            made += drain(&mut maker)
                .iter()
                .map(|ready| ready.moments.len())
                .sum::<usize>();
        }

        assert_eq!(
            made, 50,
            "half of 100 a second: the other producer has the rest"
        );
        assert!(maker.is_over(at(2100)));
    }
}
