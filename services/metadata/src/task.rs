//! The life of the metadata service in one process: follow, take over, recover, lead, end.
//!
//! A process leads at most once: deposed, failed or stopped, it ends, and a new start follows anew.
//! When a standby takes over is liveness only: any number may challenge, safety is the journal's.

use std::sync::Arc;
use std::time::Duration;

use esker_chain::Chain;
use esker_env::{Backoff, Env, RetryPolicy, Shutdown, TaskGroup};
use esker_journal::limits::DENIED_MAX;
use esker_journal::{
    Follower, Journal, JournalFailure, JournalIdentity, JournalParts, LeaderInfo, Leadership,
    OwnerId, ReplayError, TakeOver, TakeOverError,
};
use esker_metadata_api::TopicTable;
use esker_metadata_api::limits::FEED_UPDATES_MAX;
use esker_object::{Bucket, Patience};
use esker_types::{ClusterId, MonotonicTime};
use futures::future::BoxFuture;
use tokio::sync::{broadcast, mpsc, watch};

use crate::config::MetadataConfig;
use crate::leader::{LeaderEnd, LeaderParts};
use crate::limits::REQUESTS_WAITING_MAX;
use crate::metrics::MetadataMetrics;
use crate::recover::{Recovery, RecoveryError, Taken, recover};
use crate::request::Request;
use crate::service::MetadataService;
use crate::standby::{LeaderWatch, Neighbour, deposed_pause};
use crate::state::DurableState;
use crate::status::MetadataStatus;

/// A journal that cannot be read now is tried again for some minutes before the process gives up.
const RETRY: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_millis(100),
    delay_max: Duration::from_secs(5),
    tries_max: 40,
};

/// Asks the process that the journal names as leader whether it lives.
pub trait LeaderProbe: std::fmt::Debug + Send + Sync + 'static {
    /// Whether `leader` answers at its address, under its own id. A wrong answer costs a needless
    /// take-over or a later one, never a record.
    fn is_alive<'a>(&'a self, leader: &'a LeaderInfo) -> BoxFuture<'a, bool>;
}

/// What the service works with.
#[derive(Clone, Debug)]
pub struct MetadataParts {
    /// The dependable bucket.
    pub bucket: Arc<dyn Bucket>,
    /// Time and randomness.
    pub env: Env,
    /// Whose metadata.
    pub cluster: ClusterId,
    /// Where this process can be asked whether it lives; stands in the journal when it leads.
    pub address: String,
    /// How other leaders are asked.
    pub probe: Arc<dyn LeaderProbe>,
}

/// Why the service ended although it was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum MetadataFailure {
    /// Another process took over. Start again to become its standby.
    #[error("another process took over as metadata leader ({by})")]
    Deposed {
        /// Its address, if its seal told it.
        by: String,
        /// How long to wait before a new start: two that cannot hear each other would otherwise
        /// depose one another at once, again and again.
        pause: Duration,
    },
    /// The journal cannot be read.
    #[error("metadata journal could not be read")]
    Replay(#[source] ReplayError),
    /// Nobody knows who leads.
    #[error("take-over of the metadata journal failed")]
    TakeOver(#[source] TakeOverError),
    /// The journal cannot go on.
    #[error("metadata journal cannot go on")]
    Journal(#[source] JournalFailure),
    /// The chains cannot be read, or do not fit.
    #[error("recovery failed")]
    Recovery(#[source] RecoveryError),
    /// What is durable contradicts itself: a person must look; nothing was answered from it.
    #[error("metadata state and bucket contradict each other")]
    Damaged,
}

/// Runs the service.
#[derive(Debug)]
pub struct MetadataTask {
    parts: MetadataParts,
    config: MetadataConfig,
    metrics: Arc<MetadataMetrics>,
    requests: mpsc::Receiver<Request>,
    topics: watch::Sender<Arc<TopicTable>>,
    status: watch::Sender<MetadataStatus>,
}

impl MetadataService {
    /// The service's handle, its figures, and the task that must run for either to mean anything.
    #[must_use]
    pub fn start(
        config: MetadataConfig,
        parts: MetadataParts,
    ) -> (Self, Arc<MetadataMetrics>, MetadataTask) {
        let (sender, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (topics, topics_seen) = watch::channel(Arc::default());
        let (status, status_seen) = watch::channel(MetadataStatus::Starting);
        let metrics = Arc::new(MetadataMetrics::default());
        let service = Self::new(parts.cluster, sender, topics_seen, status_seen);
        let task = MetadataTask {
            parts,
            config,
            metrics: Arc::clone(&metrics),
            requests,
            topics,
            status,
        };
        (service, metrics, task)
    }
}

impl MetadataTask {
    /// Runs until asked to stop, or until the process can no longer lead. After a request to stop
    /// everything decided is checkpointed first.
    ///
    /// # Errors
    /// [`MetadataFailure`]: the process must end; each says whether a new start helps.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), MetadataFailure> {
        let status = self.status.clone();
        let metrics = Arc::clone(&self.metrics);
        let outcome = self.lead_once(shutdown).await;
        metrics.epoch.store(0, std::sync::atomic::Ordering::Relaxed);
        status.send_replace(match &outcome {
            Err(MetadataFailure::Deposed { by, .. }) => MetadataStatus::Deposed { by: by.clone() },
            Ok(()) | Err(_) => MetadataStatus::Stopped,
        });
        outcome
    }

    async fn lead_once(self, shutdown: Shutdown) -> Result<(), MetadataFailure> {
        let owner = OwnerId::draw(&self.parts.env.rng);
        let leadership = tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(()),
            leadership = self.become_leader(owner) => leadership?,
        };
        let (stop_journal, journal_shutdown) = Shutdown::new();
        let mut journal = TaskGroup::new("journal");
        let (task, taken) = Taken::split(leadership, owner);
        journal.spawn(task.run(journal_shutdown));
        let outcome = self.serve(taken, shutdown).await;
        stop_journal.request();
        if let Err(error) = journal.join_all().await {
            tracing::error!(%error, "journal task panicked");
        }
        outcome
    }

    /// Follows whoever leads until nobody does, then takes over.
    async fn become_leader(
        &self,
        owner: OwnerId,
    ) -> Result<Leadership<DurableState>, MetadataFailure> {
        let mut follower = self.open(owner).await?;
        let clock = &self.parts.env.clock;
        let mut watch = LeaderWatch::new(follower.reached());
        let mut caught_up = clock.now();
        loop {
            let looked = clock.now();
            if self.waits_for_leader(&follower, &mut watch).await {
                self.wait_for_next_look(looked, &watch).await;
                let age = clock.now().since(caught_up);
                // Whoever does not answer may have been replaced, or write all the same.
                if watch.is_missing() || age >= self.config.standby_catch_up_interval {
                    self.catch_up(&mut follower).await?;
                    caught_up = clock.now();
                    if watch.read(follower.reached()) {
                        self.stand_by_for(&follower);
                    }
                }
                continue;
            }
            match follower.take_over().await {
                Ok(TakeOver::Won(leadership)) => return Ok(leadership),
                Ok(TakeOver::Lost(again)) => {
                    follower = again;
                    watch.heard();
                    self.stand_by_for(&follower);
                }
                Err(error) => return Err(MetadataFailure::TakeOver(error)),
            }
        }
    }

    /// Looks at whoever leads; `false` when there is nobody to wait for any longer.
    async fn waits_for_leader(
        &self,
        follower: &Follower<DurableState>,
        watch: &mut LeaderWatch,
    ) -> bool {
        let Some(leader) = follower.leader() else {
            return false;
        };
        if self.parts.probe.is_alive(leader).await {
            watch.heard();
            self.stand_by(leader);
        } else {
            watch.missed();
        }
        let neighbour = match leader.address == self.parts.address {
            true => Neighbour::OwnAddress,
            false => Neighbour::Another,
        };
        !watch.gives_up(&self.config, neighbour)
    }

    /// The time that a look took counts: a silent leader is not missed later than one that is gone.
    async fn wait_for_next_look(&self, looked: MonotonicTime, watch: &LeaderWatch) {
        let clock = &self.parts.env.clock;
        let jitter = self.parts.env.rng.unit() / 2.0 + 0.75;
        let interval = watch.interval(&self.config).mul_f64(jitter);
        let left = interval.saturating_sub(clock.now().since(looked));
        clock.sleep(left).await;
    }

    fn stand_by_for(&self, follower: &Follower<DurableState>) {
        if let Some(leader) = follower.leader() {
            self.stand_by(leader);
        }
    }

    fn stand_by(&self, leader: &LeaderInfo) {
        let standby = MetadataStatus::Standby {
            leader: leader.address.clone(),
        };
        if self.status.send_replace(standby.clone()) != standby {
            tracing::info!(leader = %leader.address, epoch = %leader.epoch, "standing by");
        }
    }

    async fn open(&self, owner: OwnerId) -> Result<Follower<DurableState>, MetadataFailure> {
        let mut tries = Tries::begin();
        loop {
            let parts = JournalParts {
                bucket: Arc::clone(&self.parts.bucket),
                env: self.parts.env.clone(),
                cluster: self.parts.cluster,
            };
            let identity = JournalIdentity {
                owner,
                address: self.parts.address.clone(),
            };
            let error = match Journal::open(parts, identity, self.config.journal).await {
                Ok(follower) => return Ok(follower),
                Err(error) => error,
            };
            self.wait_to_retry(error, &mut tries).await?;
        }
    }

    async fn catch_up(&self, follower: &mut Follower<DurableState>) -> Result<(), MetadataFailure> {
        let mut tries = Tries::begin();
        while let Err(error) = follower.catch_up().await {
            self.wait_to_retry(error, &mut tries).await?;
        }
        Ok(())
    }

    async fn wait_to_retry(
        &self,
        error: ReplayError,
        tries: &mut Tries,
    ) -> Result<(), MetadataFailure> {
        let now = self.parts.env.clock.now();
        let is_borne = matches!(
            &error,
            ReplayError::Store(source) if tries.patience.bears(source.kind, now)
        );
        let delay = tries.backoff.next_delay(&self.parts.env.rng);
        let Some(delay) = delay.filter(|_| is_borne) else {
            return Err(MetadataFailure::Replay(error));
        };
        tracing::warn!(%error, "journal could not be read, again");
        self.parts.env.clock.sleep(delay).await;
        Ok(())
    }

    async fn serve(self, taken: Taken, shutdown: Shutdown) -> Result<(), MetadataFailure> {
        let (epoch, owner) = (taken.epoch, taken.owner);
        let (env, won) = (self.parts.env.clone(), self.parts.env.clock.now());
        self.status
            .send_replace(MetadataStatus::Recovering { epoch, owner });
        let (feed, _) = broadcast::channel(FEED_UPDATES_MAX);
        let leader_parts = LeaderParts {
            env: self.parts.env.clone(),
            cluster: self.parts.cluster,
            config: self.config,
            chain: Chain::new(
                Arc::clone(&self.parts.bucket),
                self.parts.env.clone(),
                self.parts.cluster,
            ),
            metrics: Arc::clone(&self.metrics),
            feed,
            topics: self.topics.clone(),
        };
        let recovery = tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(()),
            recovery = recover(leader_parts, taken) => recovery,
        };
        let (leader, events) = match recovery.map_err(MetadataFailure::Recovery)? {
            Recovery::Serving { leader, events } => (leader, events),
            Recovery::Ended(end) => return outcome_of(end, &env, won),
        };
        let number = epoch.get();
        self.metrics
            .epoch
            .store(number, std::sync::atomic::Ordering::Relaxed);
        self.status
            .send_replace(MetadataStatus::Leading { epoch, owner });
        tracing::info!(%epoch, "metadata service leads");
        let end = leader.run(self.requests, events, shutdown).await;
        outcome_of(end, &env, won)
    }
}

/// The tries of one reading of the journal.
#[derive(Debug)]
struct Tries {
    backoff: Backoff,
    patience: Patience,
}

impl Tries {
    fn begin() -> Self {
        Self {
            backoff: RETRY.begin(),
            patience: Patience::new(DENIED_MAX),
        }
    }
}

/// What the end of a leadership won at `won` means for the process.
fn outcome_of(end: LeaderEnd, env: &Env, won: MonotonicTime) -> Result<(), MetadataFailure> {
    match end {
        LeaderEnd::Stopped => Ok(()),
        LeaderEnd::Deposed { by } => Err(MetadataFailure::Deposed {
            by: by.map_or_else(|| "address not known".to_owned(), |by| by.address),
            pause: deposed_pause(env.clock.now().since(won), &env.rng),
        }),
        LeaderEnd::Journal(reason) => Err(MetadataFailure::Journal(reason)),
        LeaderEnd::Damaged => Err(MetadataFailure::Damaged),
    }
}
