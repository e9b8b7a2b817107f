//! The HTTP front's appends and reads, on the same ingest and fetch as Kafka's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use esker_env::Clock;
use esker_fetch::{Fetch, ReadError, ReadRequest};
use esker_http::{
    Appender, LogReader, NewRecord, Problem, ProblemKind, ReadFrom, ReadOutcome, ReadQuery,
    ReadRecord, RecordPlace,
};
use esker_ingest::{AppendError, AppendErrorKind, AppendRequest, Ingest};
use esker_metadata_api::{OffsetQuery, Topic};
use esker_record::{
    BatchBuilder, BuildError, Compression, ReadLimits, ValidateError, read_records,
};
use esker_types::{Offset, PartitionIndex, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Appends of the HTTP front.
#[derive(Debug)]
pub(crate) struct HttpAppender {
    pub(crate) ingest: Ingest,
    pub(crate) clock: Arc<dyn Clock>,
    /// Spreads records without a key: all of one request go to one partition, the next to another.
    pub(crate) turn: AtomicU32,
}

/// One partition's share of an append: where its records stood in the request, and their batch.
struct Share {
    places: Vec<usize>,
    builder: BatchBuilder,
}

fn build_problem(error: BuildError) -> Problem {
    Problem::new(ProblemKind::TooLarge, error.to_string())
}

fn append_problem(partition: PartitionIndex, error: &AppendError) -> Problem {
    let kind = match error.kind() {
        AppendErrorKind::Retry | AppendErrorKind::Refresh | AppendErrorKind::Closed => {
            ProblemKind::Unavailable
        }
        AppendErrorKind::Indeterminate => ProblemKind::Unknown,
        AppendErrorKind::Fenced | AppendErrorKind::Invalid | AppendErrorKind::Corrupt => {
            ProblemKind::Refused
        }
    };
    let kind = match error {
        AppendError::UnknownPartition => ProblemKind::UnknownTopic,
        AppendError::Invalid(cause) if matches!(**cause, ValidateError::TooLarge { .. }) => {
            ProblemKind::TooLarge
        }
        _ => kind,
    };
    let mut detail = format!("partition {}: {error}", partition.get());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        detail.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Problem::new(kind, detail)
}

impl HttpAppender {
    fn choose(&self, topic: &Topic, turn: u32, record: &NewRecord) -> PartitionIndex {
        let count = topic.partition_count.get();
        let by_key = || esker_record::partition_for_key(record.key.as_ref()?, count);
        let by_turn = || PartitionIndex::new(turn % count).unwrap_or_default();
        record.partition.or_else(by_key).unwrap_or_else(by_turn)
    }

    fn shares(
        &self,
        topic: &Topic,
        records: Vec<NewRecord>,
    ) -> Result<BTreeMap<PartitionIndex, Share>, Problem> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.wall();
        let mut shares: BTreeMap<PartitionIndex, Share> = BTreeMap::new();
        for (place, record) in records.into_iter().enumerate() {
            let partition = self.choose(topic, turn, &record);
            let share = shares.entry(partition).or_insert_with(|| Share {
                places: Vec::new(),
                builder: BatchBuilder::new(Compression::None),
            });
            let headers = record.headers.into_iter();
            let built = esker_record::NewRecord {
                timestamp: record.timestamp.unwrap_or(now),
                key: record.key,
                value: record.value,
                headers: headers
                    .map(|header| (Bytes::from(header.name), header.value))
                    .collect(),
            };
            share.builder.push(&built).map_err(build_problem)?;
            share.places.push(place);
        }
        Ok(shares)
    }

    async fn append_all(
        &self,
        topic: Arc<Topic>,
        records: Vec<NewRecord>,
    ) -> Result<Vec<RecordPlace>, Problem> {
        let count = records.len();
        let shares = self.shares(&topic, records)?;
        let mut appends = Vec::with_capacity(shares.len());
        for (partition, share) in shares {
            let batch = share.builder.build().map_err(build_problem)?;
            let topic_partition = topic.at(partition);
            let request = AppendRequest {
                topic_partition,
                batch,
            };
            let append = self.ingest.append(request);
            appends.push(append.map(move |appended| (partition, share.places, appended)));
        }
        let mut places = vec![None; count];
        for (partition, at, appended) in futures::future::join_all(appends).await {
            let appended = appended.map_err(|error| append_problem(partition, &error))?;
            for (place, later) in at.into_iter().zip(0_u32..) {
                let offset = appended.base_offset.after(later).unwrap_or_default();
                if let Some(slot) = places.get_mut(place) {
                    *slot = Some(RecordPlace { partition, offset });
                }
            }
        }
        Ok(places.into_iter().flatten().collect())
    }
}

impl Appender for HttpAppender {
    fn append(
        &self,
        topic: Arc<Topic>,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'_, Result<Vec<RecordPlace>, Problem>> {
        self.append_all(topic, records).boxed()
    }
}

/// Reads of the HTTP front.
#[derive(Debug)]
pub(crate) struct HttpReader {
    pub(crate) fetch: Fetch,
}

fn read_problem(error: ReadError) -> Problem {
    let kind = match error {
        ReadError::UnknownPartition => ProblemKind::UnknownTopic,
        ReadError::OutOfRange { .. } => ProblemKind::OffsetOutOfRange,
        ReadError::NotVisible
        | ReadError::NotDecided
        | ReadError::TimedOut
        | ReadError::Metadata(_) => ProblemKind::Unavailable,
        ReadError::Unreadable { .. } => ProblemKind::Unreadable,
    };
    Problem::new(kind, error.to_string())
}

impl HttpReader {
    async fn offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<Option<Offset>, Problem> {
        let found = self.fetch.find_offset(topic_partition, query).await;
        Ok(found.map_err(read_problem)?.map(|found| found.offset))
    }

    async fn begin(&self, query: &ReadQuery) -> Result<Offset, Problem> {
        let at = query.topic_partition;
        match query.from {
            ReadFrom::Offset(offset) => Ok(offset),
            ReadFrom::Earliest => self.end_of(at, OffsetQuery::Earliest).await,
            ReadFrom::Timestamp(timestamp) => {
                let found = self.offset(at, OffsetQuery::AtTimestamp(timestamp)).await?;
                match found {
                    Some(offset) => Ok(offset),
                    None => self.end_of(at, OffsetQuery::Latest).await,
                }
            }
            ReadFrom::Tail(count) => {
                let (start, end) = self.both_ends(at).await?;
                let back = end.get().saturating_sub(count).max(start.get());
                Ok(Offset::new(back).unwrap_or(end))
            }
        }
    }

    async fn end_of(&self, at: TopicPartition, query: OffsetQuery) -> Result<Offset, Problem> {
        Ok(self.offset(at, query).await?.unwrap_or_default())
    }

    async fn both_ends(&self, at: TopicPartition) -> Result<(Offset, Offset), Problem> {
        let start = self.end_of(at, OffsetQuery::Earliest).await?;
        Ok((start, self.end_of(at, OffsetQuery::Latest).await?))
    }

    async fn read_from(&self, query: ReadQuery) -> Result<ReadOutcome, Problem> {
        let begin = self.begin(&query).await?;
        let request = ReadRequest {
            topic_partition: query.topic_partition,
            offset: begin,
            bytes_max: query.bytes_max,
            records_max: Some(query.records_max),
            wait: query.wait,
        };
        let reply = self.fetch.read(request).await.map_err(read_problem)?;
        let records_max = usize::try_from(query.records_max).unwrap_or(usize::MAX);
        let mut outcome = ReadOutcome {
            records: Vec::new(),
            next_offset: reply.next_offset,
            high_watermark: reply.high_watermark,
            log_start: reply.log_start,
        };
        for batch in &reply.batches {
            if !read_batch(batch, begin, records_max, &mut outcome)? {
                break;
            }
        }
        Ok(outcome)
    }
}

/// Adds the batch's records; false when there are enough.
fn read_batch(
    batch: &Bytes,
    begin: Offset,
    records_max: usize,
    outcome: &mut ReadOutcome,
) -> Result<bool, Problem> {
    let unreadable =
        |error: esker_record::RecordError| Problem::new(ProblemKind::Unreadable, error.to_string());
    let records = read_records(batch, &ReadLimits::default()).map_err(unreadable)?;
    if records.header().is_control() {
        return Ok(true);
    }
    for record in records {
        let record = record.map_err(unreadable)?;
        let Some(offset) = Offset::from_wire(record.offset).filter(|offset| *offset >= begin)
        else {
            continue;
        };
        if outcome.records.len() >= records_max {
            outcome.next_offset = offset;
            return Ok(false);
        }
        outcome.records.push(ReadRecord {
            offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
    }
    Ok(true)
}

impl LogReader for HttpReader {
    fn read(&self, query: ReadQuery) -> BoxFuture<'_, Result<ReadOutcome, Problem>> {
        self.read_from(query).boxed()
    }

    fn bounds(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<(Offset, Offset), Problem>> {
        self.both_ends(topic_partition).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_too_large_is_told_as_such() {
        let cause = ValidateError::TooLarge {
            batch_bytes: 9,
            batch_bytes_max: 8,
        };
        let large = AppendError::Invalid(Arc::new(cause));

        let problem = append_problem(PartitionIndex::default(), &large);
        let other = append_problem(PartitionIndex::default(), &AppendError::Transactional);

        assert_eq!(problem.kind, ProblemKind::TooLarge);
        assert!(problem.detail.contains("at most 8"), "{}", problem.detail);
        assert_eq!(other.kind, ProblemKind::Refused);
    }
}
