//! What is cached under which key, and which blocks a range touches.

use esker_types::{ByteRange, SegmentId};

use crate::limits::BLOCK_BYTES;

/// Key of an entry: an object and a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey {
    pub(crate) segment: SegmentId,
    pub(crate) part: Part,
}

/// Which part of an object an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The aligned block with this number; the object's last one may be short.
    Block(u64),
}

/// One block of an object, and what is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRead {
    /// Number of the block.
    pub(crate) block: u64,
    /// Wanted bytes, counted from the block's start.
    pub(crate) wanted: ByteRange,
}

/// Where block `block` lies in its object; `None` past 2^64.
pub(crate) fn block_range(block: u64) -> Option<ByteRange> {
    let start = block.checked_mul(u64::from(BLOCK_BYTES))?;
    ByteRange::at(start, BLOCK_BYTES)
}

/// The blocks that `range` touches, in order.
pub(crate) fn blocks_of(range: ByteRange) -> impl Iterator<Item = BlockRead> {
    let bytes = u64::from(BLOCK_BYTES);
    let first = range.start() / bytes;
    let last = (range.end() - 1) / bytes;
    (first..=last).filter_map(move |block| {
        let start = block * bytes;
        let from = range.start().max(start) - start;
        let to = range.end().min(start.saturating_add(bytes)) - start;
        ByteRange::new(from, to).map(|wanted| BlockRead { block, wanted })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(start: u64, end: u64) -> Vec<(u64, u64, u64)> {
        blocks_of(ByteRange::new(start, end).unwrap())
            .map(|read| (read.block, read.wanted.start(), read.wanted.end()))
            .collect()
    }

    #[test]
    fn a_range_is_split_at_block_borders() {
        let block = u64::from(BLOCK_BYTES);

        assert_eq!(split(5, 9), [(0, 5, 9)]);
        assert_eq!(split(0, block), [(0, 0, block)]);
        assert_eq!(
            split(block - 1, block + 1),
            [(0, block - 1, block), (1, 0, 1)]
        );
        assert_eq!(
            split(block, 3 * block + 2),
            [(1, 0, block), (2, 0, block), (3, 0, 2)]
        );
    }

    #[test]
    fn a_block_past_the_end_of_numbers_has_no_range() {
        let first = block_range(0).unwrap();

        assert_eq!((first.start(), first.end()), (0, u64::from(BLOCK_BYTES)));
        assert_eq!(block_range(u64::MAX), None);
    }
}
