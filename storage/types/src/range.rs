//! Byte ranges of an object.

/// A half-open, non-empty range of bytes `[start, end)` of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// `None` when empty or reversed.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// `len` bytes from `start`; `None` when empty or past 2^64.
    #[must_use]
    pub fn at(start: u64, len: u32) -> Option<Self> {
        start
            .checked_add(u64::from(len))
            .and_then(|end| Self::new(start, end))
    }

    /// First byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// One past the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end
    }

    /// Number of bytes, at least 1.
    #[must_use]
    pub fn byte_count(self) -> u64 {
        self.end - self.start
    }

    /// True when `other` lies inside.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_reversed_range_cannot_be_made() {
        assert_eq!(ByteRange::new(3, 3), None);
        assert_eq!(ByteRange::new(4, 3), None);
        assert_eq!(ByteRange::at(u64::MAX, 1), None);
        assert_eq!(ByteRange::at(2, 3).unwrap().byte_count(), 3);
    }
}
