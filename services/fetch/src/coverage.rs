//! A piece of one partition's index without holes in what is known.
//!
//! Every extent between `from` and `to` is here; between two of them lie gaps only. Extents are
//! true for ever (R3), so a coverage is never wrong, it only ends.

use std::collections::VecDeque;

use esker_metadata_api::{IndexExtent, IndexSlice};
use esker_types::Offset;

use crate::limits::PLANNED_EXTENTS_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    from: Offset,
    to: Offset,
    extents: VecDeque<IndexExtent>,
}

impl Coverage {
    /// Knows nothing, and begins at `offset`.
    pub(crate) fn at(offset: Offset) -> Self {
        Self {
            from: offset,
            to: offset,
            extents: VecDeque::new(),
        }
    }

    /// What a look-up at `asked` for up to `extents_max` extents has told.
    pub(crate) fn of_slice(asked: Offset, extents_max: usize, slice: &IndexSlice) -> Self {
        let first = slice.extents.first().map(|extent| extent.base_offset);
        // Asked above the end, it tells nothing of what lies between the end and the question.
        let first = first.unwrap_or(slice.high_watermark);
        let mut coverage = Self::at(first.min(asked));
        let is_all = slice.extents.len() < extents_max;
        coverage.extend(&slice.extents, None);
        if is_all {
            coverage.to = coverage.to.max(slice.high_watermark);
        }
        coverage
    }

    pub(crate) fn from(&self) -> Offset {
        self.from
    }

    pub(crate) fn to(&self) -> Offset {
        self.to
    }

    pub(crate) fn extents(&self) -> usize {
        self.extents.len()
    }

    pub(crate) fn holds(&self, offset: Offset) -> bool {
        self.from <= offset && offset < self.to
    }

    /// Takes in extents that reach above its end; the others are known already. `to` is how far
    /// they reach, gaps included.
    pub(crate) fn extend<'a>(
        &mut self,
        extents: impl IntoIterator<Item = &'a IndexExtent>,
        to: Option<Offset>,
    ) {
        for extent in extents {
            // One that overlaps the end comes in too: readers skip what they have, holes lose data.
            if extent.end_offset > self.to && extent.end_offset > extent.base_offset {
                self.extents.push_back(*extent);
                self.to = extent.end_offset;
            }
        }
        self.to = to.map_or(self.to, |to| to.max(self.to));
    }

    /// Joins what another coverage knows above this one's end, when no hole lies between them.
    pub(crate) fn join(&mut self, other: &Self) -> bool {
        let joins = other.from <= self.to && other.to > self.to;
        if joins {
            self.extend(&other.extents, Some(other.to));
        }
        joins
    }

    fn place_of(&self, offset: Offset) -> usize {
        self.extents
            .partition_point(|extent| extent.end_offset <= offset)
    }

    /// Extents from the one that holds `offset` (or the next above it) on, until they have
    /// `bytes_max` bytes.
    pub(crate) fn read(&self, offset: Offset, bytes_max: u64) -> Vec<IndexExtent> {
        let mut found = Vec::new();
        let mut bytes = 0_u64;
        let rest = self.extents.range(self.place_of(offset)..);
        for extent in rest.take(PLANNED_EXTENTS_MAX) {
            // Of the first one a part may lie below the offset, so it does not count.
            if bytes >= bytes_max && !found.is_empty() {
                break;
            }
            if extent.base_offset >= offset {
                bytes = bytes.saturating_add(extent.range.byte_count());
            }
            found.push(*extent);
        }
        found
    }

    /// Extents from the one that holds `offset` to the end.
    pub(crate) fn extents_behind(&self, offset: Offset) -> usize {
        self.extents.len() - self.place_of(offset)
    }

    /// Forgets all but the last `keep` extents.
    pub(crate) fn keep_last(&mut self, keep: usize) {
        while self.extents.len() > keep {
            if let Some(extent) = self.extents.pop_front() {
                self.from = self.from.max(extent.end_offset);
            }
        }
    }

    /// Forgets what lies wholly below the log's start.
    pub(crate) fn trim(&mut self, log_start: Offset) {
        if log_start <= self.from {
            return;
        }
        let below = self.place_of(log_start);
        self.keep_last(self.extents.len() - below);
    }
}

#[cfg(test)]
mod tests {
    use esker_types::{ByteRange, ChainIndex, SegmentId, SessionId, Timestamp};

    use super::*;

    fn offset(value: u64) -> Offset {
        Offset::new(value).unwrap()
    }

    fn extent(base: u64, end: u64) -> IndexExtent {
        IndexExtent {
            base_offset: offset(base),
            end_offset: offset(end),
            segment: SegmentId {
                session: SessionId::from_bytes([1; 16]),
                index: ChainIndex::new(base),
            },
            range: ByteRange::new(0, 10).unwrap(),
            max_timestamp: Timestamp::NONE,
        }
    }

    fn bases(extents: &[IndexExtent]) -> Vec<u64> {
        extents.iter().map(|at| at.base_offset.get()).collect()
    }

    #[test]
    fn an_offset_in_a_gap_finds_the_next_extent_above() {
        let mut coverage = Coverage::at(offset(5));
        coverage.extend(&[extent(5, 7), extent(10, 12)], Some(offset(15)));

        assert!(coverage.holds(offset(8)) && coverage.holds(offset(14)));
        assert!(!coverage.holds(offset(4)) && !coverage.holds(offset(15)));
        assert_eq!(bases(&coverage.read(offset(6), 100)), [5, 10]);
        assert_eq!(bases(&coverage.read(offset(8), 100)), [10]);
        assert_eq!(bases(&coverage.read(offset(5), 1)), [5]);
        assert_eq!(
            bases(&coverage.read(offset(6), 1)),
            [5, 10],
            "a part of the first may lie below the offset"
        );
        assert_eq!(coverage.extents_behind(offset(8)), 1);
    }

    #[test]
    fn a_slice_that_was_cut_ends_at_its_last_extent() {
        let slice = IndexSlice {
            log_start: Offset::ZERO,
            high_watermark: offset(100),
            extents: vec![extent(5, 7), extent(10, 12)],
        };

        let cut = Coverage::of_slice(offset(6), 2, &slice);
        let all = Coverage::of_slice(offset(3), 3, &slice);

        assert_eq!((cut.from(), cut.to()), (offset(5), offset(12)));
        assert_eq!((all.from(), all.to()), (offset(3), offset(100)));
        let nothing = IndexSlice {
            extents: Vec::new(),
            ..slice
        };
        let above = Coverage::of_slice(offset(107), 2, &nothing);
        assert_eq!((above.from(), above.to()), (offset(100), offset(100)));
    }

    #[test]
    fn coverages_join_only_when_no_hole_lies_between() {
        let mut left = Coverage::at(offset(0));
        left.extend(&[extent(0, 5)], None);
        let mut near = Coverage::at(offset(3));
        near.extend(&[extent(3, 5), extent(5, 9)], None);
        let mut far = Coverage::at(offset(20));
        far.extend(&[extent(20, 30)], None);

        assert!(left.join(&near));
        assert!(!left.join(&far) && !left.join(&near));

        assert_eq!(bases(&left.read(offset(0), 100)), [0, 5]);
        assert_eq!(left.to(), offset(9));
    }

    #[test]
    fn forgetting_the_front_moves_the_start() {
        let mut coverage = Coverage::at(offset(0));
        coverage.extend(&[extent(0, 5), extent(5, 9), extent(9, 12)], None);

        coverage.trim(offset(6));
        assert_eq!(coverage.from(), offset(5));
        coverage.keep_last(1);

        assert_eq!((coverage.from(), coverage.extents()), (offset(9), 1));
        assert!(!coverage.holds(offset(8)));
    }

    #[test]
    fn a_plan_holds_a_bounded_number_of_extents() {
        let mut coverage = Coverage::at(offset(0));
        let most = u64::try_from(PLANNED_EXTENTS_MAX).unwrap();
        for base in 0..=most {
            coverage.extend(&[extent(base, base + 1)], None);
        }

        let found = coverage.read(offset(0), u64::MAX);

        assert_eq!(found.len(), PLANNED_EXTENTS_MAX);
    }
}
