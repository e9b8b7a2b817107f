//! The checkpointed extents of one partition: ascending, disjoint (CP2), found by bisection.
//!
//! A sorted vector: nearly every extent is added at or close to the end. A segment holds one run of
//! batches per partition, so its extents are merged already.

use esker_metadata_api::IndexExtent;
use esker_types::Offset;

/// Two extents claim the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overlap;

/// Ascending, disjoint extents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extents {
    rows: Vec<IndexExtent>,
    /// Bytes of all rows together.
    bytes: u64,
}

impl Extents {
    pub(crate) fn all(&self) -> &[IndexExtent] {
        &self.rows
    }

    /// Bytes of all together.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Those that hold an offset at or above `offset`.
    pub(crate) fn from(&self, offset: Offset) -> &[IndexExtent] {
        let at = self
            .rows
            .partition_point(|extent| extent.end_offset <= offset);
        self.rows.get(at..).unwrap_or_default()
    }

    /// The last one that begins below `ceiling`.
    pub(crate) fn last_below(&self, ceiling: Offset) -> Option<&IndexExtent> {
        let at = self.above(ceiling);
        at.checked_sub(1).and_then(|last| self.rows.get(last))
    }

    /// Whether `extent` claims an offset that is taken.
    pub(crate) fn overlaps(&self, extent: &IndexExtent) -> bool {
        self.last_below(extent.end_offset)
            .is_some_and(|last| last.end_offset > extent.base_offset)
    }

    /// Adds one.
    pub(crate) fn insert(&mut self, extent: IndexExtent) -> Result<(), Overlap> {
        assert!(
            extent.base_offset < extent.end_offset,
            "CP2: an extent holds an offset"
        );
        if self.overlaps(&extent) {
            return Err(Overlap);
        }
        self.bytes += extent.range.byte_count();
        self.rows.insert(self.above(extent.base_offset), extent);
        Ok(())
    }

    /// Drops those that end at or below `log_start`.
    pub(crate) fn drop_below(&mut self, log_start: Offset) {
        let count = self.rows.len() - self.from(log_start).len();
        for gone in self.rows.drain(..count) {
            self.bytes -= gone.range.byte_count();
        }
    }

    /// Place of the first one that begins at or above `offset`.
    fn above(&self, offset: Offset) -> usize {
        self.rows
            .partition_point(|extent| extent.base_offset < offset)
    }
}
