//! What a benchmark's record says of itself, and sums by which none is lost or doubled unseen.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use esker_types::MonotonicTime;

/// Bytes of a stamp in front of a value.
pub(super) const STAMP_BYTES: usize = 28;

/// Which record it is, and when it was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) run_id: u64,
    pub(super) producer: u32,
    pub(super) number: u64,
    /// On this process's clock.
    pub(super) moment: MonotonicTime,
}

impl Stamp {
    pub(super) fn put(&self, value: &mut BytesMut) {
        let micros = self.moment.since_start().as_micros();
        value.put_u64(self.run_id);
        value.put_u32(self.producer);
        value.put_u64(self.number);
        value.put_u64(u64::try_from(micros).unwrap_or(u64::MAX));
    }

    /// The stamp of a value, if it has one.
    pub(super) fn read(mut value: &[u8]) -> Option<Self> {
        let value = &mut value;
        Some(Self {
            run_id: value.try_get_u64().ok()?,
            producer: value.try_get_u32().ok()?,
            number: value.try_get_u64().ok()?,
            moment: MonotonicTime::from_start(Duration::from_micros(value.try_get_u64().ok()?)),
        })
    }
}

/// A number of records, and a sum over which ones they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) records: u64,
    sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, stamp: &Stamp) {
        self.records = self.records.saturating_add(1);
        let own = mixed(stamp.number ^ mixed(u64::from(stamp.producer)));
        self.sum = self.sum.wrapping_add(own);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// Spreads a number's bits (splitmix64), so that sums of different records differ.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64) -> Stamp {
        Stamp {
            run_id: 3,
            producer: 1,
            number,
            moment: MonotonicTime::from_start(Duration::from_micros(123_456)),
        }
    }

    #[test]
    fn a_stamp_reads_back_and_other_values_have_none() {
        let mut value = BytesMut::new();
        stamp(9).put(&mut value);

        assert_eq!(value.len(), STAMP_BYTES);
        assert_eq!(Stamp::read(&value), Some(stamp(9)));
        assert_eq!(Stamp::read(b"too short"), None);
    }

    #[test]
    fn tallies_agree_in_any_order_and_only_on_the_same_records() {
        let of = |numbers: &[u64]| {
            let mut tally = Tally::default();
            numbers.iter().for_each(|number| tally.add(&stamp(*number)));
            tally
        };

        assert_eq!(of(&[1, 2, 3]), of(&[3, 1, 2]));
        assert_ne!(of(&[1, 2, 3]), of(&[1, 2, 2]));
        assert_ne!(of(&[1, 2, 3]), of(&[1, 2]));
    }
}
