//! Where the bytes of an offset are and whole batches out of them, stepped by a driver.
//!
//! For simulations: the view and the assembler of the fetch path without tasks and runtime. Who
//! drives it asks the index and reads the bytes, in the order of `locate.rs`.

use std::sync::Arc;

use bytes::Bytes;
use esker_metadata_api::{IndexExtent, IndexSlice, PartitionAdvance};
use esker_types::{MonotonicTime, Offset, TopicPartition};

use crate::assemble::{Assembler, Limit, Progress};
use crate::limits::LOOKUP_EXTENTS;
use crate::slices::Slices;
use crate::view::{Asked, Found, Marks, View, ViewLimits};

/// What is known of an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// These extents hold it, or what comes next above it.
    Extents {
        /// Where the log is known to begin and end.
        ends: Ends,
        /// Ascending.
        extents: Vec<IndexExtent>,
    },
    /// The log ends there, as far as is known.
    AtEnd(Ends),
    /// The log begins above it.
    BelowStart(Ends),
    /// The known end lies below it: the sequencer must be asked before anything is refused.
    AboveEnd(Ends),
    /// The index must be asked.
    Unknown,
}

/// Where a partition begins and ends, as far as is known. Neither ever falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// First offset still there.
    pub log_start: Offset,
    /// One past the last visible record.
    pub high_watermark: Offset,
}

impl From<Marks> for Ends {
    fn from(marks: Marks) -> Self {
        Self {
            log_start: marks.log_start,
            high_watermark: marks.high_watermark,
        }
    }
}

impl From<Found> for Place {
    fn from(found: Found) -> Self {
        match found {
            Found::Extents(stretch) => Self::Extents {
                ends: stretch.marks.into(),
                extents: stretch.extents,
            },
            Found::AtEnd(marks) => Self::AtEnd(marks.into()),
            Found::BelowStart(marks) => Self::BelowStart(marks.into()),
            Found::AboveEnd(marks) => Self::AboveEnd(marks.into()),
            Found::Unknown => Self::Unknown,
        }
    }
}

/// A question for the index, noted before it is sent.
#[derive(Clone, Copy, Debug)]
pub struct LookUp(Asked);

impl LookUp {
    /// The partition.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        self.0.topic_partition
    }

    /// The offset.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.0.offset
    }

    /// How many extents to ask for.
    #[must_use]
    pub fn extents_max(&self) -> usize {
        self.0.extents_max
    }
}

/// Bytes that are not what the index says: nothing of them may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes of an extent are not what the index says")]
pub struct DamagedExtent;

/// The fetch path of one process, stepped by a driver.
#[derive(Debug)]
pub struct FetchCore {
    view: Arc<View>,
}

impl FetchCore {
    /// Knows nothing; keeps at most `extents_max` extents.
    #[must_use]
    pub fn new(extents_max: usize) -> Self {
        Self {
            view: View::new(ViewLimits::new(extents_max)),
        }
    }

    /// A feed begins, or updates were lost: every end must be looked up again.
    pub fn begin_feed(&self) {
        self.view.begin_generation();
    }

    /// Takes in an update of the feed.
    pub fn advance(&self, advance: &PartitionAdvance) {
        // No readers are paced here: when it came does not matter.
        self.view.advance(advance, MonotonicTime::default());
    }

    /// What is known of an offset.
    #[must_use]
    pub fn find(&self, topic_partition: TopicPartition, offset: Offset, bytes_max: u64) -> Place {
        self.view.find(topic_partition, offset, bytes_max).into()
    }

    /// Where the partition begins and ends, as far as is known.
    #[must_use]
    pub fn ends(&self, topic_partition: TopicPartition) -> Option<Ends> {
        self.view.marks(topic_partition).map(Ends::from)
    }

    /// The question that answers [`Place::Unknown`].
    #[must_use]
    pub fn look_up(&self, topic_partition: TopicPartition, offset: Offset) -> LookUp {
        LookUp(Asked {
            topic_partition,
            offset,
            extents_max: LOOKUP_EXTENTS,
            generation: self.view.generation(),
        })
    }

    /// Takes in the answer, and says what it means for the offset asked for.
    pub fn learn(&self, asked: LookUp, bytes_max: u64, slice: &IndexSlice) -> Place {
        self.view.learn(asked.0, bytes_max, slice).into()
    }

    /// Whole batches out of the bytes of `extent`, from the one that holds `offset`.
    ///
    /// # Errors
    /// [`DamagedExtent`]: read the bytes again.
    pub fn assemble(
        extent: &IndexExtent,
        bytes: Bytes,
        offset: Offset,
    ) -> Result<Vec<Bytes>, DamagedExtent> {
        let limit = Limit {
            bytes: u64::MAX / 2,
            records: None,
            first_whole: true,
        };
        let mut assembler = Assembler::new(offset, limit);
        assembler.begin(extent);
        match assembler.take(&Slices::new([bytes])) {
            Ok(Progress::Through) => Ok(assembler.finish().records),
            Ok(Progress::Full | Progress::Needs(_)) | Err(_) => Err(DamagedExtent),
        }
    }
}

#[cfg(test)]
mod tests {
    use esker_types::{ByteRange, ChainIndex, PartitionIndex, SegmentId, SessionId};
    use esker_types::{Timestamp, TopicId};

    use super::*;

    #[test]
    fn bytes_that_are_no_batches_are_damage() {
        let extent = IndexExtent {
            base_offset: Offset::ZERO,
            end_offset: Offset::new(1).unwrap(),
            segment: SegmentId {
                session: SessionId::from_bytes([1; 16]),
                index: ChainIndex::ZERO,
            },
            range: ByteRange::new(0, 80).unwrap(),
            max_timestamp: Timestamp::from_millis(0),
        };

        let assembled = FetchCore::assemble(&extent, vec![0; 80].into(), Offset::ZERO);

        assert_eq!(assembled, Err(DamagedExtent));
    }

    #[test]
    fn an_end_is_known_once_it_was_looked_up_under_the_feed() {
        let topic_partition = TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        };
        let core = FetchCore::new(100);
        core.begin_feed();
        let slice = IndexSlice {
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            extents: Vec::new(),
        };

        let before = core.find(topic_partition, Offset::ZERO, 1);
        let learned = core.learn(core.look_up(topic_partition, Offset::ZERO), 1, &slice);
        let ends = core.ends(topic_partition).unwrap();

        assert_eq!(before, Place::Unknown);
        assert_eq!(learned, Place::AtEnd(ends));
    }
}
