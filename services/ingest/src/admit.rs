//! Stage 1: a ProduceRequest (or an append of the HTTP front) becomes admitted batches.
//!
//! Called in arrival order per connection; waiting here, for the byte pool or the writer's queue,
//! stops the reading of that connection. Every batch that passes gets exactly one reply slot.
//! "Unknown topic" is told only after a current answer (R1). Cost per batch: one checksum.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_env::{Env, Shutdown, timeout};
use esker_kafka::messages::ProduceRequest;
use esker_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use esker_kafka::{Reply, RequestContext};
use esker_metadata_api::configs::{
    CompressionType, TimestampType, cleanup_policy, compression_type, max_message_bytes,
    timestamp_after_max, timestamp_before_max, timestamp_type,
};
use esker_metadata_api::{
    Admin, MetadataError, ProducerSpan, ReservationSummary, Topic, TopicTable,
};
use esker_record::{Compression, ProduceRules, Recompression, ValidatedBatch, validate_produced};
use esker_types::limits::RECORD_BATCH_BYTES_MAX;
use esker_types::{
    MonotonicTime, Offset, PartitionIndex, Planted, Timestamp, TopicPartition, planted,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::batch::{AdmittedBatch, BatchBody};
use crate::config::IngestConfig;
use crate::error::AppendError;
use crate::limits::{BATCH_OVERHEAD_BYTES, PRODUCE_TIMEOUT_MAX, PRODUCE_TIMEOUT_MIN};
use crate::metrics::Metrics;
use crate::pool::{BytePool, PoolPermit};
use crate::reply::{Pending, PendingReply};
use crate::slots::{Appended, ReplySlot, SlotTimes};
use crate::unplaced::{Aim, Unplaced};

/// First version of Produce whose consumers know zstd.
const ZSTD_FROM: i16 = 7;

/// One batch for one partition, from a front other than Kafka's.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// Where it goes.
    pub topic_partition: TopicPartition,
    /// Exactly one record batch, base offset 0.
    pub batch: Bytes,
    /// Append only when the partition's last committed record ends here and nothing is undecided.
    pub expected_end: Option<Offset>,
}

/// A batch of an [`AppendRequest`], queued for the writer.
#[derive(Debug)]
#[must_use = "the outcome is told nowhere else"]
pub struct PendingAppend(Pending);

impl PendingAppend {
    /// Waits until the batch is in the log, or surely or perhaps not.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::kind`] says what may be done. After
    /// [`AppendError::Undecided`] the batch may be in the log.
    ///
    /// # Cancel safety
    /// When dropped, the batch goes on being written.
    pub async fn outcome(self) -> Result<Appended, AppendError> {
        self.0.outcome().await
    }
}

/// The batches of one request, in its order; never empty.
#[derive(Debug)]
pub(crate) struct AdmittedRequest {
    pub(crate) batches: Vec<AdmittedBatch>,
}

/// Checks requests and hands them to the writer.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) admin: Arc<dyn Admin>,
    pub(crate) env: Env,
    pub(crate) config: IngestConfig,
    pub(crate) pool: BytePool,
    pub(crate) writer: mpsc::Sender<AdmittedRequest>,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) unplaced: Unplaced,
}

/// What all batches of one request have in common.
struct Common {
    connection: Option<u64>,
    received: MonotonicTime,
    deadline: MonotonicTime,
    wall: Timestamp,
    zstd_allowed: bool,
    permit: Arc<PoolPermit>,
}

/// What a topic asks of its batches, at one moment.
struct TopicRules {
    produce: ProduceRules,
    timestamp_min: Option<Timestamp>,
    stamps_append_time: bool,
    /// Set for topics that do not keep the producer's codec.
    recompression: Option<Recompression>,
}

impl Admission {
    /// Admits a Kafka request. The outer future is done when its batches are queued.
    pub(crate) async fn produce(
        &self,
        context: RequestContext,
        request: ProduceRequest,
    ) -> BoxFuture<'static, Reply> {
        let acks = request.acks;
        let reply = match self.refuse_whole(&request) {
            Some(error) => self.refuse_all(request, &error),
            None => self.admit(&context, request).await,
        };
        if acks == 0 {
            reply.silence().boxed()
        } else {
            reply.answer().boxed()
        }
    }

    /// Admits one batch: done when it is queued.
    pub(crate) async fn append(
        &self,
        request: AppendRequest,
    ) -> Result<PendingAppend, AppendError> {
        if self.shutdown.is_requested() {
            return Err(self.refused(AppendError::Stopping));
        }
        let received = self.env.clock.now();
        let at = request.topic_partition;
        let find = |topics: &TopicTable| {
            let topic = topics
                .with_id(at.topic)
                .filter(|topic| topic.has(at.partition));
            topic.cloned()
        };
        let found = match find(&self.admin.topics()) {
            Some(topic) => Ok(topic),
            None if planted(Planted::UnknownTopicUnconfirmed) => Err(AppendError::UnknownPartition),
            None => match self.current_topics(self.config.append_timeout).await {
                Ok(topics) => find(&topics).ok_or(AppendError::UnknownPartition),
                Err(error) => Err(AppendError::Unconfirmed(error)),
            },
        };
        let topic = found.map_err(|error| self.refused(error))?;
        let bytes = request.batch.len().saturating_add(BATCH_OVERHEAD_BYTES);
        let common = Common {
            connection: None,
            received,
            deadline: received.after(self.config.append_timeout),
            wall: self.env.clock.wall(),
            zstd_allowed: true,
            permit: self.pool.take(bytes).await,
        };
        let rules = TopicRules::of(&topic, &common);
        let mut batches = Vec::new();
        let pending = self.admit_batch(request.batch, at, &rules, &common, &mut batches);
        for batch in &mut batches {
            batch.body.summary.expected_end = request.expected_end;
        }
        self.hand_over(batches).await;
        match pending {
            Pending::Refused(error) => Err(error),
            pending @ Pending::Admitted(_) => Ok(PendingAppend(pending)),
        }
    }

    fn refused(&self, error: AppendError) -> AppendError {
        self.metrics.refused(&error);
        error
    }

    /// Why nothing of the request is admitted.
    fn refuse_whole(&self, request: &ProduceRequest) -> Option<AppendError> {
        let acks = request.acks;
        if !matches!(acks, -1..=1) {
            return Some(AppendError::Acks { acks });
        }
        if request.transactional_id.is_some() {
            return Some(AppendError::Transactional);
        }
        self.shutdown
            .is_requested()
            .then_some(AppendError::Stopping)
    }

    fn refuse_all(&self, request: ProduceRequest, error: &AppendError) -> PendingReply {
        let refuse = |partition: &PartitionProduceData| {
            (
                partition.index,
                Pending::Refused(self.refused(error.clone())),
            )
        };
        let topics = request.topic_data.into_iter();
        PendingReply {
            topics: topics
                .map(|topic| {
                    (
                        topic.name,
                        topic.partition_data.iter().map(refuse).collect(),
                    )
                })
                .collect(),
        }
    }

    async fn admit(&self, context: &RequestContext, request: ProduceRequest) -> PendingReply {
        let timeout = u64::try_from(request.timeout_ms).unwrap_or(0);
        let timeout =
            Duration::from_millis(timeout).clamp(PRODUCE_TIMEOUT_MIN, PRODUCE_TIMEOUT_MAX);
        let topics = self.topics_for(&request, timeout).await;
        let permit = self.pool.take(pool_bytes(&request)).await;
        let common = Common {
            connection: Some(context.connection_id),
            received: context.received,
            deadline: context.received.after(timeout),
            wall: self.env.clock.wall(),
            zstd_allowed: context.api_version >= ZSTD_FROM,
            permit,
        };
        let mut batches = Vec::new();
        let mut reply = PendingReply::default();
        for topic in request.topic_data {
            let known = topics.find(&topic);
            let rules = known
                .as_ref()
                .ok()
                .map(|known| TopicRules::of(known, &common));
            let mut rows = Vec::with_capacity(topic.partition_data.len());
            for partition in &topic.partition_data {
                let index = partition.index;
                let aim = Aim {
                    connection: context.connection_id,
                    topic: &topic,
                    partition: index,
                    batch: partition.records.as_deref().unwrap_or_default(),
                };
                let place = known.as_ref().map_err(AppendError::clone);
                let place = place.and_then(|known| topics.place(known, index));
                let place = self.in_order(place, aim, common.received);
                let pending = match (place, &rules) {
                    (Ok(place), Some(rules)) => {
                        let bytes = partition.records.clone().unwrap_or_default();
                        self.admit_batch(bytes, place, rules, &common, &mut batches)
                    }
                    (Ok(_), None) => Pending::Refused(self.refused(AppendError::UnknownPartition)),
                    (Err(error), _) => Pending::Refused(self.refused(error)),
                };
                rows.push((index, pending));
            }
            reply.topics.push((topic.name, rows));
        }
        self.hand_over(batches).await;
        reply
    }

    /// The place of a batch, unless one before it found none: see `unplaced.rs`.
    fn in_order(
        &self,
        place: Result<TopicPartition, AppendError>,
        aim: Aim<'_>,
        now: MonotonicTime,
    ) -> Result<TopicPartition, AppendError> {
        match &place {
            Ok(_) => match self.unplaced.refuses(aim, now) {
                Some(error) => Err(error),
                None => place,
            },
            Err(error) => {
                self.unplaced.note(aim, error, now);
                place
            }
        }
    }

    /// The topics to check the request against: as last heard if all of it is known there, else
    /// current ones.
    async fn topics_for(&self, request: &ProduceRequest, limit: Duration) -> KnownTopics {
        let heard = KnownTopics {
            table: self.admin.topics(),
            unconfirmed: None,
        };
        let is_known = |topic: &TopicProduceData| {
            heard.find(topic).is_ok_and(|known| {
                let mut partitions = topic.partition_data.iter();
                partitions.all(|partition| heard.place(&known, partition.index).is_ok())
            })
        };
        if request.topic_data.iter().all(is_known) {
            return heard;
        }
        match self.current_topics(limit).await {
            Ok(table) => KnownTopics {
                table,
                unconfirmed: None,
            },
            Err(error) => KnownTopics {
                unconfirmed: Some(error),
                ..heard
            },
        }
    }

    async fn current_topics(&self, limit: Duration) -> Result<Arc<TopicTable>, MetadataError> {
        let question = self.admin.topics_current();
        let answer = timeout(self.env.clock.as_ref(), limit, question).await;
        answer.unwrap_or(Err(MetadataError::Unknown))
    }

    /// Checks one partition's records; what passes is added to `batches`.
    fn admit_batch(
        &self,
        bytes: Bytes,
        topic_partition: TopicPartition,
        rules: &TopicRules,
        common: &Common,
        batches: &mut Vec<AdmittedBatch>,
    ) -> Pending {
        let received_bytes = bytes.len();
        let checked = match rules.check(bytes) {
            Ok(checked) => checked,
            Err(error) => return Pending::Refused(self.refused(error)),
        };
        // Recompression may have made it larger than what the request has paid for (I23).
        let grown = checked.bytes().len().saturating_sub(received_bytes);
        if grown > 0 && !common.permit.try_grow(grown) {
            return Pending::Refused(self.refused(AppendError::NotReserved));
        }
        let (checked, log_append_time) = if rules.stamps_append_time {
            (checked.with_log_append_time(common.wall), Some(common.wall))
        } else {
            (checked, None)
        };
        let times = SlotTimes {
            received: common.received,
            deadline: common.deadline,
            log_append_time,
        };
        let (slot, outcome) = ReplySlot::new(times, Arc::clone(&self.metrics));
        let body = BatchBody {
            summary: summary(topic_partition, &checked),
            bytes: checked.bytes().clone(),
            connection: common.connection,
            deferrals: 0,
            _permit: Arc::clone(&common.permit),
        };
        batches.push(AdmittedBatch { body, slot });
        Pending::Admitted(outcome)
    }

    /// Queues the batches for the writer, waiting while its queue is full.
    async fn hand_over(&self, batches: Vec<AdmittedBatch>) {
        if batches.is_empty() {
            return;
        }
        if let Err(mpsc::error::SendError(request)) =
            self.writer.send(AdmittedRequest { batches }).await
        {
            for mut batch in request.batches {
                batch.slot.fail(AppendError::Stopping);
            }
        }
    }
}

/// Topics at one moment, and what to say of those that are not among them.
struct KnownTopics {
    table: Arc<TopicTable>,
    unconfirmed: Option<MetadataError>,
}

impl KnownTopics {
    fn unknown(&self) -> AppendError {
        match self.unconfirmed {
            Some(error) => AppendError::Unconfirmed(error),
            None => AppendError::UnknownPartition,
        }
    }

    fn find(&self, topic: &TopicProduceData) -> Result<Arc<Topic>, AppendError> {
        let found = self.table.named(topic.name.as_str()).cloned();
        found.ok_or_else(|| self.unknown())
    }

    fn place(&self, topic: &Topic, index: i32) -> Result<TopicPartition, AppendError> {
        let partition = PartitionIndex::from_wire(index);
        let partition = partition.filter(|partition| topic.has(*partition));
        let partition = partition.ok_or_else(|| self.unknown())?;
        Ok(topic.at(partition))
    }
}

impl TopicRules {
    fn of(topic: &Topic, common: &Common) -> Self {
        let now = common.wall;
        let stamps_append_time = timestamp_type(topic) == TimestampType::LogAppendTime;
        let after = timestamp_after_max(topic).filter(|_| !stamps_append_time);
        let before = timestamp_before_max(topic).filter(|_| !stamps_append_time);
        Self {
            produce: ProduceRules {
                batch_bytes_max: max_message_bytes(topic).min(RECORD_BATCH_BYTES_MAX),
                zstd_allowed: common.zstd_allowed,
                timestamp_max: after.map(|after| moved(now, millis(after))),
                walk_records: false,
                keys_required: cleanup_policy(topic).compact,
            },
            timestamp_min: before.map(|before| moved(now, millis(before).saturating_neg())),
            stamps_append_time,
            recompression: recompression(topic),
        }
    }

    fn check(&self, bytes: Bytes) -> Result<ValidatedBatch, AppendError> {
        if bytes.is_empty() {
            return Err(AppendError::Empty);
        }
        let checked = validate_produced(bytes, &self.produce).map_err(AppendError::invalid)?;
        if checked.header().is_transactional() {
            return Err(AppendError::Transactional);
        }
        let timestamp = checked.header().max_timestamp();
        match self.timestamp_min {
            Some(min) if timestamp < min && timestamp != Timestamp::NONE => {
                return Err(AppendError::TimestampTooEarly { timestamp });
            }
            _ => {}
        }
        match self.recompression {
            Some(wanted) => checked
                .recompressed(wanted, self.produce.batch_bytes_max)
                .map_err(AppendError::invalid),
            None => Ok(checked),
        }
    }
}

fn recompression(topic: &Topic) -> Option<Recompression> {
    let wanted = |codec, level| Some(Recompression { codec, level });
    match compression_type(topic) {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => wanted(Compression::None, -1),
        CompressionType::Gzip(level) => wanted(Compression::Gzip, level),
        CompressionType::Snappy => wanted(Compression::Snappy, -1),
        CompressionType::Lz4 => wanted(Compression::Lz4, -1),
        CompressionType::Zstd(level) => wanted(Compression::Zstd, level),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn moved(at: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(at.millis().saturating_add(millis))
}

pub(crate) fn summary(
    topic_partition: TopicPartition,
    batch: &ValidatedBatch,
) -> ReservationSummary {
    let header = batch.header();
    let producer = header.producer();
    ReservationSummary {
        topic_partition,
        record_count: header.record_count(),
        batch_bytes: header.batch_bytes(),
        max_timestamp: header.max_timestamp(),
        producer: producer.map(
            |(producer_id, producer_epoch, base_sequence)| ProducerSpan {
                producer_id,
                producer_epoch,
                base_sequence,
            },
        ),
        transactional: header.is_transactional(),
        expected_end: None,
    }
}

/// What the request takes of the pool: its records, and their bookkeeping.
fn pool_bytes(request: &ProduceRequest) -> usize {
    let partitions = request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data);
    let bytes = partitions.map(|partition| {
        let records = partition.records.as_ref().map_or(0, Bytes::len);
        records.saturating_add(BATCH_OVERHEAD_BYTES)
    });
    bytes.fold(0, usize::saturating_add)
}
