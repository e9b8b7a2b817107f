//! Offsets by timestamp: the index names the extent, its records are read to find the offset.
//!
//! Exact, also inside compressed batches. A header may promise a timestamp that none of its records
//! has; then the search goes on behind that extent, a bounded number of times.

use bytes::Bytes;
use esker_cache::Heat;
use esker_metadata_api::{IndexExtent, ListedOffset, OffsetQuery};
use esker_record::{ReadLimits, Record, RecordError, read_records};
use esker_types::{Offset, Timestamp, TopicPartition};

use crate::assemble::{BatchAt, BatchFault, Step, Walk};
use crate::error::ReadError;
use crate::limits::QUERY_EXTENTS_MAX;
use crate::pipeline::{Pipeline, unreadable};
use crate::read::FoundOffset;
use crate::reader::{Hands, ReadOn, Remedy, Trouble};
use crate::slices::Slices;

/// Which record of an extent is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The first at or after this time.
    From(Timestamp),
    /// The first with the largest time.
    Largest,
}

impl Pipeline {
    /// Where a question about offsets leads; `None` when no record fits.
    pub(crate) async fn find_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<Option<FoundOffset>, ReadError> {
        let wanted = match query {
            OffsetQuery::AtTimestamp(at) => Some(Wanted::From(at)),
            OffsetQuery::MaxTimestamp => Some(Wanted::Largest),
            OffsetQuery::Latest | OffsetQuery::Earliest => None,
        };
        let mut from = match wanted {
            Some(_) => self.log_start(topic_partition).await?,
            None => Offset::ZERO,
        };
        let mut tried = None;
        for _ in 0..QUERY_EXTENTS_MAX {
            let log_index = &self.locator.log_index;
            let question = log_index.list_offset(topic_partition, query, from);
            let extent = match self.locator.in_time(question).await? {
                ListedOffset::Known(offset) => {
                    let timestamp = Timestamp::NONE;
                    return Ok(Some(FoundOffset { offset, timestamp }));
                }
                ListedOffset::Nothing => return Ok(None),
                ListedOffset::Inside(extent) => extent,
            };
            // The ends of the log are not inside of an extent.
            let wanted = wanted.ok_or(ReadError::NotVisible)?;
            match self.search(&extent, wanted, from).await {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) if extent.end_offset > from => from = extent.end_offset,
                Ok(None) => return Err(ReadError::NotVisible),
                Err(trouble) => {
                    let remedy = trouble.remedy(tried);
                    self.counters.remedied(remedy);
                    match remedy {
                        Remedy::ReadAgain => self.reader.forget(trouble.extent()),
                        Remedy::LocateAgain => self.locator.view.distrust(topic_partition),
                        Remedy::GiveUp => return Err(unreadable(&trouble)),
                    }
                    tried = Some(remedy);
                }
            }
        }
        Err(ReadError::NotVisible)
    }

    /// The log may begin in the middle of a batch: what lies before is deleted, and not found.
    async fn log_start(&self, topic_partition: TopicPartition) -> Result<Offset, ReadError> {
        let log_index = &self.locator.log_index;
        let question = log_index.look_up(topic_partition, Offset::ZERO, 0);
        let slice = self.locator.in_time(question).await?;
        Ok(slice.log_start)
    }

    async fn search(
        &self,
        extent: &IndexExtent,
        wanted: Wanted,
        from: Offset,
    ) -> Result<Option<FoundOffset>, Trouble> {
        let all = extent.range.byte_count();
        let how = ReadOn {
            heat: Heat::Cold,
            hands: Hands::Empty,
        };
        let bytes = self.reader.read_on(extent, 0, all, how).await;
        let bytes = bytes.map_err(|source| Trouble::Cache {
            extent: *extent,
            source,
        })?;
        search_extent(extent, &bytes, wanted, from).map_err(|source| Trouble::Fault {
            extent: *extent,
            source,
        })
    }
}

/// The batches of an extent, all of whose bytes are there.
fn batches(extent: &IndexExtent, bytes: &Slices) -> Result<Vec<BatchAt>, BatchFault> {
    let mut walk = Walk::new(extent);
    let mut batches = Vec::new();
    loop {
        match walk.peek(bytes)? {
            Step::Batch(batch) => {
                walk.pass(&batch);
                batches.push(batch);
            }
            Step::Needs(_) => return Err(BatchFault::Bytes { batch_bytes: 0 }),
            Step::End => return Ok(batches),
        }
    }
}

fn search_extent(
    extent: &IndexExtent,
    bytes: &Slices,
    wanted: Wanted,
    from: Offset,
) -> Result<Option<FoundOffset>, BatchFault> {
    let mut batches = batches(extent, bytes)?;
    batches.retain(|batch| batch.end_offset > from);
    match wanted {
        Wanted::From(at) => batches.retain(|batch| batch.header.max_timestamp() >= at),
        Wanted::Largest => {
            let largest = batches
                .iter()
                .map(|batch| batch.header.max_timestamp())
                .max();
            batches.retain(|batch| Some(batch.header.max_timestamp()) == largest);
        }
    }
    for batch in &batches {
        batch.check_crc(bytes)?;
        let Some(whole) = bytes.contiguous(batch.start, batch.end) else {
            return Err(BatchFault::Bytes {
                batch_bytes: batch.header.batch_bytes(),
            });
        };
        let found = search_batch(&whole, wanted, from);
        // A producer's records may be unreadable although the batch is as it was sent. Its first
        // offset is then the best answer: no record that fits lies before it.
        let found = found.unwrap_or_else(|_| {
            Offset::from_wire(batch.header.base_offset()).map(|base| FoundOffset {
                offset: base.max(from),
                timestamp: batch.header.max_timestamp(),
            })
        });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn search_batch(
    batch: &Bytes,
    wanted: Wanted,
    from: Offset,
) -> Result<Option<FoundOffset>, RecordError> {
    let mut best: Option<FoundOffset> = None;
    for record in read_records(batch, &ReadLimits::default())? {
        let Some(found) = found_at(&record?, from) else {
            continue;
        };
        match wanted {
            Wanted::From(at) if found.timestamp >= at => return Ok(Some(found)),
            Wanted::Largest if best.is_none_or(|best| found.timestamp > best.timestamp) => {
                best = Some(found);
            }
            Wanted::From(_) | Wanted::Largest => {}
        }
    }
    Ok(best)
}

fn found_at(record: &Record, from: Offset) -> Option<FoundOffset> {
    let offset = Offset::from_wire(record.offset).filter(|offset| *offset >= from)?;
    Some(FoundOffset {
        offset,
        timestamp: record.timestamp,
    })
}
