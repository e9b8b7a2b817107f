//! Offsets: positions of records in a partition.

use crate::limits::OFFSET_MAX;

/// Position of a record in a partition, counted from 0 over the log's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// `None` past [`OFFSET_MAX`].
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        (value <= OFFSET_MAX).then_some(Self(value))
    }

    /// An offset as Kafka's wire has it; `None` when negative.
    #[must_use]
    pub fn from_wire(value: i64) -> Option<Self> {
        u64::try_from(value).ok().map(Self)
    }

    /// As Kafka's wire has it: never negative.
    #[must_use]
    pub fn to_wire(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The bare number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The offset `count` records later; `None` past [`OFFSET_MAX`].
    #[must_use]
    pub fn after(self, count: u32) -> Option<Self> {
        self.0.checked_add(u64::from(count)).and_then(Self::new)
    }

    /// Records between `earlier` and `self`; `None` when `earlier` is the later one.
    #[must_use]
    pub fn distance_from(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_stops_at_its_limit() {
        let last = Offset::new(OFFSET_MAX).unwrap();

        assert_eq!(last.after(0), Some(last));
        assert_eq!(last.after(1), None);
        assert_eq!(Offset::new(OFFSET_MAX + 1), None);
        assert_eq!(Offset::from_wire(-1), None);
        assert_eq!(last.to_wire(), i64::MAX);
    }
}
