//! The produce path, in order. Read this page first.
//!
//! 1 `admit.rs`, in the task of the connection: waits for the byte pool, then for the queue, which
//!   holds `REQUESTS_QUEUED_MAX` requests. All else is one task, `writer.rs`:
//! 2, 3 batch and seal, `batcher.rs`: bounded by the pool.
//! 4 reserve, `reserver.rs`: one question outstanding per session.
//! 5 upload, `calls.rs`: `uploads_max` segments in flight, `ANSWERS_QUEUED_MAX` answers queued.
//! 6 acknowledge, `slots.rs`; in the task of the connection `reply.rs` makes Kafka's answer of it.
//! And `notifier.rs` tells the sequencer: the newest report only, awaited by nobody.

use std::sync::Arc;

use esker_cache::SegmentCache;
use esker_chain::Chain;
use esker_env::{Env, Shutdown, TaskGroup};
use esker_kafka::messages::ProduceRequest;
use esker_kafka::{Reply, RequestContext};
use esker_metadata_api::{Admin, Sequencer};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::admit::{Admission, AdmittedRequest, AppendRequest, PendingAppend};
use crate::calls::{Calls, Peers};
use crate::config::IngestConfig;
use crate::error::{AppendError, IngestError};
use crate::limits::REQUESTS_QUEUED_MAX;
use crate::metrics::Metrics;
use crate::notifier::{Notice, Notifier};
use crate::outgoing::Live;
use crate::pool::BytePool;
use crate::slots::Appended;
use crate::unplaced::Unplaced;
use crate::writer::Writer;

/// What ingest is put together from.
#[derive(Clone, Debug)]
pub struct IngestParts {
    /// Where offsets come from.
    pub sequencer: Arc<dyn Sequencer>,
    /// Where topics are known.
    pub admin: Arc<dyn Admin>,
    /// Where segments go.
    pub chain: Chain,
    /// Where written bytes are kept for readers.
    pub cache: Arc<dyn SegmentCache>,
    /// Clock and randomness.
    pub env: Env,
}

/// The produce path, for the fronts. Clones share it.
#[derive(Clone, Debug)]
pub struct Ingest {
    admission: Arc<Admission>,
}

/// The work behind an [`Ingest`]; nothing is written unless it runs.
#[derive(Debug)]
pub struct IngestTask {
    writer: Writer,
    notifier: Notifier,
    inbox: mpsc::Receiver<AdmittedRequest>,
    shutdown: Shutdown,
}

impl Ingest {
    /// A produce path and the task that must run for it. Nothing is written before the first batch.
    ///
    /// Panics when [`IngestConfig::check`] fails: whoever composes the settings checks them.
    #[must_use]
    pub fn start(
        config: IngestConfig,
        parts: IngestParts,
        shutdown: Shutdown,
    ) -> (Self, IngestTask) {
        assert_eq!(
            config.check(),
            Ok(()),
            "settings are checked before the start"
        );
        let metrics = Arc::new(Metrics::default());
        let (sender, inbox) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let admission = Admission {
            admin: parts.admin,
            env: parts.env.clone(),
            config,
            pool: BytePool::new(config.produce_bytes_max, Arc::clone(&metrics)),
            writer: sender,
            shutdown: shutdown.clone(),
            metrics: Arc::clone(&metrics),
            unplaced: Unplaced::default(),
        };
        let (notice, notifier) = Notice::new(
            Arc::clone(&parts.sequencer),
            parts.env.clone(),
            config.reserve_timeout,
        );
        let peers = Peers {
            sequencer: parts.sequencer,
            chain: parts.chain,
            cache: parts.cache,
            env: parts.env.clone(),
            metrics: Arc::clone(&metrics),
        };
        let calls = Live {
            calls: Calls::new(peers, &config),
            notice,
        };
        let task = IngestTask {
            writer: Writer::new(config, parts.env, metrics, calls),
            notifier,
            inbox,
            shutdown,
        };
        let admission = Arc::new(admission);
        (Self { admission }, task)
    }

    /// Serves a Produce request. The outer future is to be awaited in the order in which a
    /// connection's requests arrived: it admits, and holds the connection back when the byte pool
    /// is full. The inner one is the reply; it always comes, by the request's own timeout.
    ///
    /// # Cancel safety
    /// Dropping the outer future before it is done admits nothing; what was admitted goes on being
    /// written when the inner one is dropped.
    pub fn produce(
        &self,
        context: RequestContext,
        request: ProduceRequest,
    ) -> BoxFuture<'_, BoxFuture<'static, Reply>> {
        self.admission.produce(context, request).boxed()
    }

    /// Appends one record batch and waits until it is in the log.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::kind`] says what may be done. After
    /// [`AppendError::Undecided`] the batch may be in the log.
    ///
    /// # Cancel safety
    /// When dropped, the batch may be appended or not.
    pub async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        self.admission.append(request).await?.outcome().await
    }

    /// Admits one record batch, for fronts with several in flight: those admitted one after the
    /// other into one partition keep their order. Waits while the byte pool is full.
    ///
    /// # Errors
    /// [`AppendError`]: it was not admitted, nothing is written.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nothing is admitted.
    pub async fn admit(&self, request: AppendRequest) -> Result<PendingAppend, AppendError> {
        self.admission.append(request).await
    }

    /// Counters and gauges.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.admission.metrics)
    }
}

impl IngestTask {
    /// Runs until the stop is requested and everything admitted is answered: stop accepting, drain,
    /// seal, reserve, upload, acknowledge, end the session.
    ///
    /// # Errors
    /// [`IngestError`]: what acknowledgements rest on does not hold. Exit the process; whoever
    /// still waits is told "unknown".
    pub async fn run(self) -> Result<(), IngestError> {
        let mut notifying = TaskGroup::new("ingest notifier");
        notifying.spawn(self.notifier.run());
        let outcome = Box::pin(self.writer.run(self.inbox, self.shutdown)).await;
        // What the sequencer has not heard by now it learns from the session's end.
        notifying.abort_all();
        outcome.and(notifying.join_all().await.map_err(IngestError::Task))
    }
}
