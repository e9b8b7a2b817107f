//! Extents, and the parts in which an advance travels.

use esker_metadata_api::{IndexExtent, IndexSlice, ListedOffset, OffsetQuery, PartitionAdvance};
use esker_types::{ByteRange, Timestamp};

use super::ids::{offset, segment, topic_partition};
use super::{Malformed, present};
use crate::limits::{ADVANCE_EXTENTS_MAX, PART_BYTES};
use crate::proto::list_offset_request::Query;
use crate::proto::{self, Empty};

/// Extents of one part, at some 70 bytes each.
const PART_EXTENTS: usize = PART_BYTES / 70;

impl From<IndexExtent> for proto::Extent {
    fn from(value: IndexExtent) -> Self {
        Self {
            base_offset: value.base_offset.get(),
            end_offset: value.end_offset.get(),
            segment: Some(value.segment.into()),
            range_start: value.range.start(),
            range_end: value.range.end(),
            max_timestamp: value.max_timestamp.millis(),
        }
    }
}

pub(crate) fn extent(value: proto::Extent) -> Result<IndexExtent, Malformed> {
    let range = ByteRange::new(value.range_start, value.range_end);
    let base_offset = offset(value.base_offset, "base_offset")?;
    let end_offset = offset(value.end_offset, "end_offset")?;
    if end_offset <= base_offset {
        return Err(Malformed {
            field: "end_offset",
        });
    }
    Ok(IndexExtent {
        base_offset,
        end_offset,
        segment: segment(value.segment)?,
        range: present(range, "range")?,
        max_timestamp: Timestamp::from_millis(value.max_timestamp),
    })
}

fn extents(values: Vec<proto::Extent>) -> Result<Vec<IndexExtent>, Malformed> {
    values.into_iter().map(extent).collect()
}

/// The parts that tell an advance, at least one.
pub(crate) fn advance_parts(advance: &PartitionAdvance) -> Vec<proto::Advance> {
    let part = |extents: &[IndexExtent]| proto::Advance {
        topic_partition: Some(advance.topic_partition.into()),
        log_start: advance.log_start.get(),
        high_watermark: advance.high_watermark.get(),
        previous_high_watermark: advance.previous_high_watermark.get(),
        extents: extents.iter().map(|extent| (*extent).into()).collect(),
        more: true,
    };
    let mut parts: Vec<_> = advance.extents.chunks(PART_EXTENTS).map(part).collect();
    if parts.is_empty() {
        parts.push(part(&[]));
    }
    if let Some(last) = parts.last_mut() {
        last.more = false;
    }
    parts
}

impl TryFrom<proto::Advance> for PartitionAdvance {
    type Error = Malformed;

    fn try_from(value: proto::Advance) -> Result<Self, Malformed> {
        Ok(Self {
            topic_partition: topic_partition(value.topic_partition)?,
            log_start: offset(value.log_start, "log_start")?,
            high_watermark: offset(value.high_watermark, "high_watermark")?,
            extents: extents(value.extents)?,
            previous_high_watermark: offset(
                value.previous_high_watermark,
                "previous_high_watermark",
            )?,
        })
    }
}

/// `advance`, grown by its next part.
pub(crate) fn grown(
    advance: Option<PartitionAdvance>,
    part: PartitionAdvance,
) -> Result<PartitionAdvance, Malformed> {
    let Some(mut advance) = advance else {
        return Ok(part);
    };
    let is_same = advance.topic_partition == part.topic_partition
        && advance.log_start == part.log_start
        && advance.high_watermark == part.high_watermark
        && advance.previous_high_watermark == part.previous_high_watermark;
    if !is_same || advance.extents.len() + part.extents.len() > ADVANCE_EXTENTS_MAX {
        return Err(Malformed { field: "advance" });
    }
    advance.extents.extend(part.extents);
    Ok(advance)
}

impl From<IndexSlice> for proto::look_up_reply::Slice {
    fn from(value: IndexSlice) -> Self {
        Self {
            log_start: value.log_start.get(),
            high_watermark: value.high_watermark.get(),
            extents: value.extents.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::look_up_reply::Slice> for IndexSlice {
    type Error = Malformed;

    fn try_from(value: proto::look_up_reply::Slice) -> Result<Self, Malformed> {
        Ok(Self {
            log_start: offset(value.log_start, "log_start")?,
            high_watermark: offset(value.high_watermark, "high_watermark")?,
            extents: extents(value.extents)?,
        })
    }
}

impl From<OffsetQuery> for Query {
    fn from(value: OffsetQuery) -> Self {
        match value {
            OffsetQuery::Latest => Self::Latest(Empty {}),
            OffsetQuery::Earliest => Self::Earliest(Empty {}),
            OffsetQuery::MaxTimestamp => Self::MaxTimestamp(Empty {}),
            OffsetQuery::AtTimestamp(timestamp) => Self::AtTimestamp(timestamp.millis()),
        }
    }
}

impl From<Query> for OffsetQuery {
    fn from(value: Query) -> Self {
        match value {
            Query::Latest(Empty {}) => Self::Latest,
            Query::Earliest(Empty {}) => Self::Earliest,
            Query::MaxTimestamp(Empty {}) => Self::MaxTimestamp,
            Query::AtTimestamp(millis) => Self::AtTimestamp(Timestamp::from_millis(millis)),
        }
    }
}

impl From<ListedOffset> for proto::list_offset_reply::Outcome {
    fn from(value: ListedOffset) -> Self {
        match value {
            ListedOffset::Known(offset) => Self::Known(offset.get()),
            ListedOffset::Inside(extent) => Self::Inside(extent.into()),
            ListedOffset::Nothing => Self::Nothing(Empty {}),
        }
    }
}
