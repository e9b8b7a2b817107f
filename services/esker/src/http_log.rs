//! The HTTP front's appends and reads, on the same ingest and fetch as Kafka's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use esker_env::Clock;
use esker_fetch::{Fetch, ReadError, ReadReply, ReadRequest};
use esker_http::limits::ADMIT_WAIT_MAX;
use esker_http::{
    AppendRecords, Appender, BatchHead, LogReader, NewRecord, PendingAppend, PendingBatch, Problem,
    ProblemKind, ReadEnd, ReadFrom, ReadOutcome, ReadQuery, ReadRecord, RecordIterator,
    RecordPlace, content_tag,
};
use esker_ingest::{AppendError, AppendErrorKind, AppendRequest, Ingest};
use esker_metadata_api::{OffsetQuery, ProduceRefusal, Topic};
use esker_record::{
    BatchBuilder, BatchHeader, BuildError, Compression, RECORD_BATCH_HEADER_BYTES, ReadLimits,
    ValidateError, read_records,
};
use esker_types::limits::RECORD_BATCH_BYTES_DEFAULT;
use esker_types::{Offset, PartitionIndex, ProducerEpoch, Timestamp, TopicPartition};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all, try_join};

/// Appends of the HTTP front.
#[derive(Debug)]
pub(crate) struct HttpAppender {
    pub(crate) ingest: Ingest,
    pub(crate) clock: Arc<dyn Clock>,
    /// Spreads records without a key: all of one request go to one partition, the next to another.
    pub(crate) turn: AtomicU32,
}

/// One partition's share of an append: where its records stood in the request.
#[derive(Debug, Default)]
struct Share {
    places: Vec<usize>,
    records: Vec<NewRecord>,
}

/// What the share became once it was queued, or why it was not.
type Queued = Result<esker_ingest::PendingAppend, Problem>;

fn build_problem(error: BuildError) -> Problem {
    Problem::new(ProblemKind::TooLarge, error.to_string())
}

/// What the client did that a refusal may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plain,
    WithKey,
}

fn append_problem(partition: PartitionIndex, manner: Manner, error: &AppendError) -> Problem {
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
        AppendError::Refused(ProduceRefusal::UnexpectedEnd { .. }) => ProblemKind::UnexpectedOffset,
        AppendError::Refused(ProduceRefusal::OutOfOrderSequence) if manner == Manner::WithKey => {
            ProblemKind::KeyReused
        }
        _ => kind,
    };
    let mut detail = format!("partition {}: {error}", partition.get());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        detail.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let mut problem = Problem::new(kind, detail);
    if let AppendError::Refused(ProduceRefusal::UnexpectedEnd { end }) = error {
        problem.end_offset = Some(end.get());
    }
    problem
}

impl HttpAppender {
    fn choose(topic: &Topic, turn: u32, record: &NewRecord) -> PartitionIndex {
        let count = topic.partition_count.get();
        let by_key = || esker_record::partition_for_key(record.key.as_ref()?, count);
        let by_turn = || PartitionIndex::new(turn % count).unwrap_or_default();
        record.partition.or_else(by_key).unwrap_or_else(by_turn)
    }

    fn shares(&self, request: &mut AppendRecords) -> BTreeMap<PartitionIndex, Share> {
        // With an idempotency key a repeat must go where the first went.
        let turn = match &request.key {
            Some(key) => key.turn(),
            None => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let mut shares: BTreeMap<PartitionIndex, Share> = BTreeMap::new();
        let records = std::mem::take(&mut request.records);
        for (place, record) in records.into_iter().enumerate() {
            let partition = Self::choose(&request.topic, turn, &record);
            let share = shares.entry(partition).or_default();
            share.places.push(place);
            share.records.push(record);
        }
        shares
    }

    /// The share as a record batch, and the time of each record.
    fn build(
        &self,
        request: &AppendRecords,
        records: Vec<NewRecord>,
    ) -> Result<(Bytes, Vec<Timestamp>), Problem> {
        let now = self.clock.wall();
        let mut builder = BatchBuilder::new(Compression::None);
        if let Some(key) = &request.key {
            let tag = content_tag(records.iter());
            builder = builder.producer(key.producer_id(), ProducerEpoch::default(), tag);
        }
        let mut times = Vec::with_capacity(records.len());
        for record in records {
            let headers = record.headers.into_iter();
            let timestamp = record.timestamp.unwrap_or(now);
            times.push(timestamp);
            let built = esker_record::NewRecord {
                timestamp,
                key: record.key,
                value: record.value,
                headers: headers
                    .map(|header| (Bytes::from(header.name), header.value))
                    .collect(),
            };
            builder.push(&built).map_err(build_problem)?;
        }
        Ok((builder.build().map_err(build_problem)?, times))
    }

    async fn queue(&self, manner: Manner, request: AppendRequest) -> Queued {
        let partition = request.topic_partition.partition;
        let admitting = self.ingest.admit(request);
        let admitted = esker_env::timeout(&*self.clock, ADMIT_WAIT_MAX, admitting).await;
        match admitted {
            Ok(admitted) => admitted.map_err(|error| append_problem(partition, manner, &error)),
            Err(_) => Err(Problem::new(
                ProblemKind::Overloaded,
                "there is no room for more appends; come back a little later",
            )),
        }
    }

    async fn append_all(&self, mut request: AppendRecords) -> Result<PendingAppend, Problem> {
        let manner = match request.key {
            Some(_) => Manner::WithKey,
            None => Manner::Plain,
        };
        let count = request.records.len();
        // All are built before any is queued: what cannot be built appends nothing.
        let mut built = Vec::new();
        for (partition, share) in self.shares(&mut request) {
            let (batch, times) = self.build(&request, share.records)?;
            built.push((partition, share.places, times, batch));
        }
        let mut queued = Vec::with_capacity(built.len());
        // Waited for once: where one share found no room in time, the others are not tried.
        let mut overloaded = None;
        for (partition, places, times, batch) in built {
            let append = AppendRequest {
                topic_partition: request.topic.at(partition),
                batch,
                expected_end: request.expected_end,
            };
            let pending = match &overloaded {
                Some(problem) => Err(Problem::clone(problem)),
                None => self.queue(manner, append).await,
            };
            if let Err(problem) = &pending
                && problem.kind == ProblemKind::Overloaded
            {
                overloaded.get_or_insert_with(|| problem.clone());
            }
            queued.push(outcome(partition, manner, places, times, pending));
        }
        Ok(async move {
            let missing = || Problem::new(ProblemKind::Unknown, "the record has no outcome");
            let mut outcomes: Vec<_> = (0..count).map(|_| Err(missing())).collect();
            for (place, outcome) in join_all(queued).await.into_iter().flatten() {
                if let Some(slot) = outcomes.get_mut(place) {
                    *slot = outcome;
                }
            }
            outcomes
        }
        .boxed())
    }
}

/// Waits for a share, and tells each of its records where it stands.
async fn outcome(
    partition: PartitionIndex,
    manner: Manner,
    places: Vec<usize>,
    times: Vec<Timestamp>,
    queued: Queued,
) -> Vec<(usize, Result<RecordPlace, Problem>)> {
    let appended = match queued {
        Ok(pending) => pending
            .outcome()
            .await
            .map_err(|error| append_problem(partition, manner, &error)),
        Err(problem) => Err(problem),
    };
    let records = places.into_iter().zip(times).zip(0_u32..);
    let record = |((place, time), later)| {
        let outcome = appended.clone().map(|appended| RecordPlace {
            partition,
            offset: appended.base_offset.after(later).unwrap_or_default(),
            timestamp: appended.log_append_time.unwrap_or(time),
        });
        (place, outcome)
    };
    records.map(record).collect()
}

impl Appender for HttpAppender {
    fn append(&self, records: AppendRecords) -> BoxFuture<'_, Result<PendingAppend, Problem>> {
        self.append_all(records).boxed()
    }

    fn append_batch(
        &self,
        topic_partition: TopicPartition,
        batch: Bytes,
    ) -> BoxFuture<'_, Result<PendingBatch, Problem>> {
        let partition = topic_partition.partition;
        async move {
            let header = BatchHeader::parse(&batch);
            let time = header.map_or(Timestamp::NONE, |header| header.max_timestamp());
            let append = AppendRequest {
                topic_partition,
                batch,
                expected_end: None,
            };
            let queued = self.queue(Manner::Plain, append).await?;
            let waiting = outcome(partition, Manner::Plain, vec![0], vec![time], Ok(queued));
            let missing = || Problem::new(ProblemKind::Unknown, "the batch has no outcome");
            let first = waiting.map(move |mut records| match records.pop() {
                Some((_, outcome)) => outcome,
                None => Err(missing()),
            });
            Ok(first.boxed())
        }
        .boxed()
    }

    fn batch_head(&self, bytes: &[u8]) -> Result<Option<BatchHead>, Problem> {
        if bytes.len() < RECORD_BATCH_HEADER_BYTES {
            return Ok(None);
        }
        let header = BatchHeader::parse(bytes);
        let header = header.map_err(|error| {
            let detail = format!("no record batch of magic 2 begins here: {error}");
            Problem::new(ProblemKind::BadRequest, detail)
        })?;
        Ok(Some(BatchHead {
            batch_bytes: header.batch_bytes(),
            record_count: header.record_count(),
        }))
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

    async fn begin(&self, at: TopicPartition, from: ReadFrom) -> Result<Begin, Problem> {
        let known = |offset, end| Begin { offset, end };
        match from {
            ReadFrom::Offset(offset) => Ok(known(offset, None)),
            ReadFrom::Earliest => {
                let (start, end) = self.both_ends(at).await?;
                Ok(known(start, Some(end)))
            }
            ReadFrom::Timestamp(timestamp) => {
                let found = self.offset(at, OffsetQuery::AtTimestamp(timestamp)).await?;
                match found {
                    Some(offset) => Ok(known(offset, None)),
                    None => {
                        let end = self.end_of(at, OffsetQuery::Latest).await?;
                        Ok(known(end, Some(end)))
                    }
                }
            }
            ReadFrom::Tail(count) => {
                let (start, end) = self.both_ends(at).await?;
                let back = end.get().saturating_sub(count).max(start.get());
                Ok(known(Offset::new(back).unwrap_or(end), Some(end)))
            }
        }
    }

    async fn end_of(&self, at: TopicPartition, query: OffsetQuery) -> Result<Offset, Problem> {
        Ok(self.offset(at, query).await?.unwrap_or_default())
    }

    /// Start and end: two questions that share what it takes to answer them.
    async fn both_ends(&self, at: TopicPartition) -> Result<(Offset, Offset), Problem> {
        let start = self.end_of(at, OffsetQuery::Earliest);
        try_join(start, self.end_of(at, OffsetQuery::Latest)).await
    }

    async fn read_from(&self, query: ReadQuery) -> Result<ReadOutcome, Problem> {
        let begin = self.begin(query.topic_partition, query.from).await?;
        let request = ReadRequest {
            topic_partition: query.topic_partition,
            offset: begin.offset,
            bytes_max: query.bytes_max,
            records_max: query.records_max,
            wait: query.wait,
        };
        let mut reply = self.fetch.read(request).await.map_err(read_problem)?;
        if query.end == ReadEnd::Current && !is_full(&request, &reply) {
            let behind = self.is_behind(&query, &begin, &reply).await;
            match behind {
                Ok(true) => reply = self.fetch.read(request).await.map_err(read_problem)?,
                Ok(false) => {}
                // Records that are known are served also while nobody can tell the end: such a
                // page says where to go on, and only an empty one would say that nothing is there.
                Err(problem) if reply.batches.is_empty() => return Err(problem),
                Err(problem) => tracing::debug!(?problem, "a page ends where this process knows"),
            }
        }
        Ok(ReadOutcome {
            begin: begin.offset,
            batches: reply.batches,
            next_offset: reply.next_offset,
            high_watermark: reply.high_watermark,
            log_start: reply.log_start,
        })
    }

    /// Whether the log reaches past the page; then this process has heard of it on return.
    async fn is_behind(
        &self,
        query: &ReadQuery,
        begin: &Begin,
        reply: &ReadReply,
    ) -> Result<bool, Problem> {
        let at = query.topic_partition;
        let end = match begin.end {
            Some(end) => end,
            None => self.end_of(at, OffsetQuery::Latest).await?,
        };
        let is_behind = reply.next_offset < end;
        if is_behind {
            self.see(at, end).await?;
        }
        Ok(is_behind)
    }

    /// Waits until this process has heard of the log up to `end`: the push follows within
    /// milliseconds, and a read there waits for it.
    async fn see(&self, topic_partition: TopicPartition, end: Offset) -> Result<(), Problem> {
        let at_end = ReadRequest {
            topic_partition,
            offset: end,
            bytes_max: 1,
            records_max: Some(1),
            wait: Duration::ZERO,
        };
        let seen = self.fetch.read(at_end).await;
        seen.map(drop).map_err(read_problem)
    }
}

/// Where a read begins, and the log's end when it was asked for on the way: current (R1).
#[derive(Clone, Copy, Debug)]
struct Begin {
    offset: Offset,
    end: Option<Offset>,
}

/// The page may have ended for its limits, in front of records that were there.
fn is_full(request: &ReadRequest, reply: &ReadReply) -> bool {
    let bytes: usize = reply.batches.iter().map(Bytes::len).sum();
    let headers = reply.batches.iter().map(|batch| BatchHeader::parse(batch));
    let records = headers.map(|header| header.map_or(0, |header| header.record_count()));
    let records: u64 = records.map(u64::from).sum();
    let with_one_more =
        u64::try_from(bytes).unwrap_or(u64::MAX) + u64::from(RECORD_BATCH_BYTES_DEFAULT);
    reply.next_offset < reply.high_watermark
        && (with_one_more > u64::from(request.bytes_max)
            || request
                .records_max
                .is_some_and(|most| records >= u64::from(most)))
}

fn unreadable(error: esker_record::RecordError) -> Problem {
    Problem::new(ProblemKind::Unreadable, error.to_string())
}

/// A record as it is read; `None` for one whose offset cannot be.
fn read_record(record: esker_record::Record) -> Option<ReadRecord> {
    Some(ReadRecord {
        offset: Offset::from_wire(record.offset)?,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: record.headers,
    })
}

impl LogReader for HttpReader {
    fn read(&self, query: ReadQuery) -> BoxFuture<'_, Result<ReadOutcome, Problem>> {
        self.read_from(query).boxed()
    }

    fn records(&self, batch: &Bytes) -> Result<RecordIterator, Problem> {
        let records = read_records(batch, &ReadLimits::default()).map_err(unreadable)?;
        if records.header().is_control() {
            return Ok(Box::new(std::iter::empty()));
        }
        let records = records.filter_map(|record| match record {
            Ok(record) => read_record(record).map(Ok),
            Err(error) => Some(Err(unreadable(error))),
        });
        Ok(Box::new(records))
    }

    fn locate(
        &self,
        topic_partition: TopicPartition,
        from: ReadFrom,
    ) -> BoxFuture<'_, Result<Offset, Problem>> {
        let begin = self.begin(topic_partition, from);
        begin.map(|begin| Ok(begin?.offset)).boxed()
    }

    fn bounds(
        &self,
        topic_partition: TopicPartition,
    ) -> BoxFuture<'_, Result<(Offset, Offset), Problem>> {
        self.both_ends(topic_partition).boxed()
    }
}

#[cfg(test)]
mod tests;
