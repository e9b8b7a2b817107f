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
pub(crate) struct Extents(Vec<IndexExtent>);

impl Extents {
    pub(crate) fn all(&self) -> &[IndexExtent] {
        &self.0
    }

    /// Those that hold an offset at or above `offset`.
    pub(crate) fn from(&self, offset: Offset) -> &[IndexExtent] {
        let at = self.0.partition_point(|extent| extent.end_offset <= offset);
        self.0.get(at..).unwrap_or_default()
    }

    /// The last one that begins below `ceiling`.
    pub(crate) fn last_below(&self, ceiling: Offset) -> Option<&IndexExtent> {
        let at = self.above(ceiling);
        at.checked_sub(1).and_then(|last| self.0.get(last))
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
        self.0.insert(self.above(extent.base_offset), extent);
        Ok(())
    }

    /// Drops those that end at or below `log_start`.
    pub(crate) fn drop_below(&mut self, log_start: Offset) {
        let count = self.0.len() - self.from(log_start).len();
        self.0.drain(..count);
    }

    /// Place of the first one that begins at or above `offset`.
    fn above(&self, offset: Offset) -> usize {
        self.0.partition_point(|extent| extent.base_offset < offset)
    }
}
