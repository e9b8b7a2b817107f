//! The role's handle and task: what `wire.rs` puts together and the fronts call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_cache::SegmentCache;
use esker_env::{Env, Shutdown};
use esker_kafka::messages::{FetchRequest, ListOffsetsRequest};
use esker_kafka::{Reply, RequestContext, Response};
use esker_metadata_api::{Admin, LogIndex, OffsetQuery};
use esker_record::{BatchHeader, RECORD_BATCH_HEADER_BYTES};
use esker_types::TopicPartition;
use futures::future::{BoxFuture, FutureExt as _};

use crate::admit::{AdmittedFetch, admit};

use crate::ahead::{ReadAhead, ReadAheadTask};
use crate::cold::ColdReads;
use crate::fairness::Fairness;
use crate::follower::Follower;
use crate::limits::{RESPONSE_BYTES_MAX, WAIT_MAX};
use crate::locate::{Locator, ReadIntent};
use crate::metrics::Counters;
use crate::pace::{ColdPace, PaceTask};
use crate::pipeline::{Job, Pipeline};
use crate::reader::Reader;
use crate::redirect::{ReadPlacement, Redirects};
use crate::slices::Slices;
use crate::view::{View, ViewLimits};
use crate::waiter::Waiter;
use crate::{FetchConfig, FetchStats, FoundOffset, ReadError, ReadReply, ReadRequest, reply};

/// What the role is made of.
#[derive(Clone, Debug)]
pub struct FetchParts {
    /// Where bytes of offsets are.
    pub log_index: Arc<dyn LogIndex>,
    /// Topics.
    pub admin: Arc<dyn Admin>,
    /// Bytes of segments; ingest of the same process inserts what it writes.
    pub cache: Arc<dyn SegmentCache>,
    /// Who serves which partition to readers; without it this process serves all.
    pub placement: Option<Arc<dyn ReadPlacement>>,
    /// Clock and randomness.
    pub env: Env,
}

/// Serves fetches. Clones share the view.
#[derive(Clone, Debug)]
pub struct Fetch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: FetchConfig,
    admin: Arc<dyn Admin>,
    env: Env,
    pipeline: Pipeline,
    fairness: Fairness,
    redirects: Redirects,
    view: Arc<View>,
    counters: Arc<Counters>,
}

/// The role's background work: following the index, reading ahead, and how fast old records go.
/// Fetches are answered without it, but only by asking for everything.
#[derive(Debug)]
#[must_use = "without it no reader is woken"]
pub struct FetchTask {
    follower: Follower,
    ahead: ReadAheadTask,
    pace: PaceTask,
}

impl FetchTask {
    /// Runs until the stop is requested.
    pub async fn run(self) {
        futures::join!(self.follower.run(), self.ahead.run(), self.pace.run());
    }
}

impl Fetch {
    /// The handle, and the task to run beside it. When `shutdown` is requested, waiting fetches are
    /// answered at once with what there is.
    pub fn start(config: FetchConfig, parts: FetchParts, shutdown: Shutdown) -> (Self, FetchTask) {
        let config = FetchConfig {
            response_bytes_max: config.response_bytes_max.min(RESPONSE_BYTES_MAX),
            ..config
        };
        let view = View::new(ViewLimits::new(config.index_extents_max));
        let counters = Arc::new(Counters::default());
        let (ahead, ahead_task) = ReadAhead::new(
            Arc::clone(&parts.cache),
            Arc::clone(&counters),
            shutdown.clone(),
        );
        let (pace, pace_task) = ColdPace::new(Arc::clone(&parts.env.clock), shutdown.clone());
        let pipeline = Pipeline {
            locator: Locator {
                view: Arc::clone(&view),
                log_index: Arc::clone(&parts.log_index),
                env: parts.env.clone(),
                config,
                counters: Arc::clone(&counters),
            },
            reader: Reader::new(parts.cache),
            cold: ColdReads::new(config.cold_read_bytes),
            pace,
            ahead,
            waiter: Waiter {
                view: Arc::clone(&view),
                env: parts.env.clone(),
                shutdown: shutdown.clone(),
                counters: Arc::clone(&counters),
            },
            counters: Arc::clone(&counters),
        };
        let follower = Follower {
            log_index: parts.log_index,
            view: Arc::clone(&view),
            env: parts.env.clone(),
            config,
            counters: Arc::clone(&counters),
            shutdown,
        };
        let shared = Arc::new(Shared {
            config,
            admin: parts.admin,
            env: parts.env,
            pipeline,
            fairness: Fairness::default(),
            redirects: Redirects::new(parts.placement),
            view,
            counters,
        });
        let task = FetchTask {
            follower,
            ahead: ahead_task,
            pace: pace_task,
        };
        (Self { shared }, task)
    }

    /// Answers a Fetch, versions 4 to 18.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the wait; nothing is left behind.
    #[must_use]
    pub fn fetch(
        &self,
        context: RequestContext,
        request: FetchRequest,
    ) -> BoxFuture<'static, Reply> {
        let shared = Arc::clone(&self.shared);
        async move { Reply::Fetch(shared.fetch(&context, &request).await) }.boxed()
    }

    /// Answers a ListOffsets, versions 1 to 11.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the questions; nothing is left behind.
    #[must_use]
    pub fn list_offsets(
        &self,
        context: RequestContext,
        request: ListOffsetsRequest,
    ) -> BoxFuture<'static, Reply> {
        let shared = Arc::clone(&self.shared);
        async move {
            let (admin, version) = (&*shared.admin, context.api_version);
            let response = shared.pipeline.list_offsets(admin, version, &request);
            Reply::Message(Response::ListOffsets(response.await))
        }
        .boxed()
    }

    /// Reads one partition, for HTTP. Waits for one batch, at most `request.wait`.
    ///
    /// # Errors
    /// [`ReadError`]: why the partition cannot be read; all but `UnknownPartition` and `OutOfRange`
    /// may pass.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the wait; nothing is left behind.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadReply, ReadError> {
        self.shared.read(request).await
    }

    /// Finds an offset, for HTTP; `None` when no record fits.
    ///
    /// # Errors
    /// [`ReadError`]: why it cannot be told.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the question; nothing is left behind.
    pub async fn find_offset(
        &self,
        topic_partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<Option<FoundOffset>, ReadError> {
        let pipeline = &self.shared.pipeline;
        let finding = pipeline.find_offset(topic_partition, query);
        let limit = self.shared.config.query_timeout;
        esker_env::timeout(&*self.shared.env.clock, limit, finding)
            .await
            .unwrap_or(Err(ReadError::TimedOut))
    }

    /// Counters and gauges of this moment.
    #[must_use]
    pub fn stats(&self) -> FetchStats {
        let size = self.shared.view.size();
        let gauge = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        FetchStats {
            view_partitions: gauge(size.partitions),
            view_extents: gauge(size.extents),
            watches: gauge(size.watches),
            cold_pace: self.shared.pipeline.pace.gauge(),
            ..self.shared.counters.snapshot()
        }
    }
}

impl Shared {
    async fn fetch(
        &self,
        context: &RequestContext,
        request: &FetchRequest,
    ) -> esker_kafka::FetchReply {
        let mut admitted = match admit(&*self.admin, &self.config, context, request).await {
            Ok(admitted) => admitted,
            Err(refusal) => return reply::refused_fetch(refusal),
        };
        self.choose_first(context.connection_id, &mut admitted);
        self.send_away(context, request, &mut admitted);
        let served = self.pipeline.serve(&admitted.job).await;
        let starved = served
            .starved
            .and_then(|place| admitted.job.intents.get(place));
        let starved = starved.map(|intent| intent.topic_partition);
        self.fairness.remember(context.connection_id, starved);
        reply::fetch_reply(admitted, served)
    }

    /// Readers whose partitions another process serves are told so.
    fn send_away(
        &self,
        context: &RequestContext,
        request: &FetchRequest,
        admitted: &mut AdmittedFetch,
    ) {
        if !self.redirects.may_send(context) {
            return;
        }
        let (now, id) = (self.env.clock.now(), context.connection_id);
        let elsewhere = |intent: &ReadIntent| {
            self.redirects
                .elsewhere(now, id, intent.topic_partition, &request.rack_id)
        };
        let intents = admitted.job.intents.iter().enumerate();
        admitted.job.elsewhere = intents
            .filter_map(|(place, intent)| Some((place, elsewhere(intent)?)))
            .collect();
    }

    fn choose_first(&self, connection_id: u64, admitted: &mut AdmittedFetch) {
        let Some(starved) = self.fairness.first(connection_id) else {
            return;
        };
        let mut intents = admitted.job.intents.iter();
        let place = intents.position(|intent| intent.topic_partition == starved);
        admitted.job.first = place.unwrap_or(0);
    }

    async fn read(&self, request: ReadRequest) -> Result<ReadReply, ReadError> {
        let bytes_max = request.bytes_max.min(self.config.response_bytes_max);
        let wait: Duration = request.wait.min(WAIT_MAX);
        let job = Job {
            intents: vec![ReadIntent {
                topic_partition: request.topic_partition,
                offset: request.offset,
                bytes_max,
            }],
            bytes_max,
            bytes_min: 1,
            records_max: request.records_max,
            deadline: self.env.clock.now().after(wait),
            first: 0,
            elsewhere: BTreeMap::new(),
        };
        let served = self.pipeline.serve(&job).await;
        let part = served.parts.into_iter().next();
        let part = part.unwrap_or(Err(ReadError::NotVisible))?;
        Ok(ReadReply {
            batches: whole_batches(part.records),
            high_watermark: part.marks.high_watermark,
            log_start: part.marks.log_start,
            next_offset: part.next_offset,
        })
    }
}

/// Slices that hold whole batches, as one slice per batch. One that straddles two is copied.
fn whole_batches(records: Vec<Bytes>) -> Vec<Bytes> {
    let slices = Slices::new(records);
    let mut batches = Vec::new();
    let mut position = 0;
    while let Some(header) = slices.array::<RECORD_BATCH_HEADER_BYTES>(position) {
        let header = BatchHeader::parse(&header);
        let length = header
            .ok()
            .and_then(|header| usize::try_from(header.batch_bytes()).ok());
        let end = length.and_then(|length| position.checked_add(length));
        let batch = end.and_then(|end| slices.contiguous(position, end));
        assert!(batch.is_some(), "assembled records are whole batches");
        let Some(batch) = batch else {
            break;
        };
        position += batch.len();
        batches.push(batch);
    }
    batches
}
