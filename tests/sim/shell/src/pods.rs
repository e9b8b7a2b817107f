//! Pods: the product's own parts, wired as `services/esker` wires them, that can be killed at any
//! await point, stopped and resumed, drained, and started again.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use esker_cache::{CacheConfig, PlainCache, SegmentCache};
use esker_chain::Chain;
use esker_env::{Env, Shutdown, ShutdownTrigger, Suspension, TaskGroup};
use esker_fetch::{Fetch, FetchParts};
use esker_ingest::{Ingest, IngestError, IngestParts};
use esker_journal::LeaderInfo;
use esker_metadata::{
    LeaderProbe, MetadataFailure, MetadataParts, MetadataService, MetadataStatus, MetadataTask,
};
use esker_object::{Bucket, DurableBucket};
use esker_types::ClusterId;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::clock::{SimClock, sleep};
use crate::net::Call;
use crate::options::Roles;
use crate::remote::Remote;
use crate::store::PodBucket;
use crate::world::{Place, World};

/// The cluster of every run.
pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

/// Where a pod lives, if it does.
#[derive(Debug)]
pub(crate) struct PodSlot {
    pub(crate) index: usize,
    pub(crate) roles: Roles,
    life: Mutex<Option<Incarnation>>,
    begun: AtomicU64,
    /// Others take it for dead although it lives.
    pub(crate) suspected: AtomicUsize,
}

/// One process of a pod.
#[derive(Debug)]
pub(crate) struct Incarnation {
    pub(crate) number: u64,
    pub(crate) metadata: Option<MetadataService>,
    pub(crate) ingest: Option<Ingest>,
    pub(crate) fetch: Option<Fetch>,
    pub(crate) remote: Arc<Remote>,
    pub(crate) suspension: Suspension,
    stop: ShutdownTrigger,
    tasks: TaskGroup,
    /// Requests that have not reached the store are lost with the process that sends them.
    alive: Arc<AtomicBool>,
    /// Why the process ended by itself; the director clears it away.
    pub(crate) ended: bool,
}

impl Incarnation {
    pub(crate) fn spawn(&mut self, task: BoxFuture<'static, ()>) {
        if self.tasks.count() > 200 {
            // A task that panicked has been told by the panic hook.
            let _ = self.tasks.reap();
        }
        self.tasks.spawn(self.suspension.run(task));
    }

    pub(crate) fn request_stop(&self) {
        self.stop.request();
    }
}

impl PodSlot {
    pub(crate) fn new(index: usize, roles: Roles) -> Self {
        Self {
            index,
            roles,
            life: Mutex::new(None),
            begun: AtomicU64::new(0),
            suspected: AtomicUsize::new(0),
        }
    }

    pub(crate) fn life(&self) -> MutexGuard<'_, Option<Incarnation>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.life().is_some()
    }

    pub(crate) fn is_leading(&self) -> bool {
        let life = self.life();
        let service = life.as_ref().and_then(|life| life.metadata.as_ref());
        service.is_some_and(|service| service.status().is_leading())
    }

    pub(crate) fn life_number(&self) -> Option<u64> {
        self.life().as_ref().map(|life| life.number)
    }

    /// All its tasks are dropped where they stand, and its memory with them.
    pub(crate) fn kill(&self) {
        let life = self.life().take();
        if let Some(life) = &life {
            life.alive.store(false, Ordering::Relaxed);
        }
        // Dropping runs other code, so the lock goes first.
        drop(life);
    }
}

/// Asks over the network, as `/livez` does.
#[derive(Debug)]
struct Probe {
    world: Arc<World>,
    pod: usize,
}

impl LeaderProbe for Probe {
    fn is_alive<'a>(&'a self, leader: &'a LeaderInfo) -> BoxFuture<'a, bool> {
        async move {
            let Some(to) = leader.address.parse::<usize>().ok() else {
                return false;
            };
            let suspected = self.world.pods.get(to);
            if suspected.is_some_and(|slot| slot.suspected.load(Ordering::Relaxed) > 0) {
                return false;
            }
            let call = Call {
                from: Place::Pod(self.pod),
                to,
                what: "livez",
                is_idempotent: true,
            };
            let owner = leader.owner;
            let asked = self.world.call(
                call,
                Box::new(move |life| {
                    let service = life.metadata.clone()?;
                    Some(async move { service.status().owner() == Some(owner) }.boxed())
                }),
            );
            let limit = Duration::from_secs(2);
            let asked = futures::future::select(Box::pin(asked), sleep(limit));
            matches!(asked.await, futures::future::Either::Left((Ok(true), _)))
        }
        .boxed()
    }
}

struct Process {
    metadata: Option<MetadataTask>,
    ingest: Option<esker_ingest::IngestTask>,
    fetch: Option<esker_fetch::FetchTask>,
    edges: Shutdown,
}

/// Why a process ended.
#[derive(Debug)]
enum End {
    Stopped,
    Metadata(MetadataFailure),
    Ingest(IngestError),
}

impl Process {
    /// As `serve` does: the edges stop first, then the metadata service.
    async fn run(self) -> End {
        let (stop_metadata, metadata_stop) = Shutdown::new();
        let (ingest, fetch, metadata) = (self.ingest, self.fetch, self.metadata);
        let edges = async move {
            let ingest = async {
                match ingest {
                    Some(task) => task.run().await,
                    None => Ok(()),
                }
            };
            let fetch = async {
                if let Some(task) = fetch {
                    task.run().await;
                }
            };
            // Neither ends before it is asked to, but by a failure.
            let (ingest, ()) = futures::join!(ingest, fetch);
            ingest
        };
        let stop = self.edges;
        let mut edges = Box::pin(async move {
            let outcome = edges.await;
            if outcome.is_ok() {
                stop.requested().await;
            }
            outcome
        });
        let metadata = async move {
            match metadata {
                Some(task) => task.run(metadata_stop).await,
                None => {
                    metadata_stop.requested().await;
                    Ok(())
                }
            }
        };
        let has_metadata = futures::future::select(Box::pin(metadata), &mut edges).await;
        match has_metadata {
            futures::future::Either::Left((Err(failure), _)) => End::Metadata(failure),
            futures::future::Either::Left((Ok(()), _)) => End::Stopped,
            futures::future::Either::Right((Err(failure), _)) => End::Ingest(failure),
            futures::future::Either::Right((Ok(()), metadata)) => {
                stop_metadata.request();
                let limit = Duration::from_secs(20);
                match futures::future::select(metadata, sleep(limit)).await {
                    futures::future::Either::Left((Err(failure), _)) => End::Metadata(failure),
                    _ => End::Stopped,
                }
            }
        }
    }
}

impl World {
    /// Starts pod `index`, which must not live.
    pub(crate) fn start(self: &Arc<Self>, index: usize) {
        let Some(slot) = self.pods.get(index) else {
            return;
        };
        assert!(!slot.is_alive(), "a pod that lives is not started");
        let number = slot.begun.fetch_add(1, Ordering::Relaxed);
        let rng = self.root.stream(&format!("pod {index} life {number}"));
        let clock = SimClock::new(
            self.begun,
            i64::try_from(rng.below(120_000)).unwrap_or(0) - 60_000,
            u32::try_from(rng.below(4) * 5_000).unwrap_or(0),
        );
        let env = Env {
            clock: Arc::new(clock),
            rng,
        };
        let (mut incarnation, process) = self.build(slot, number, env);
        let world = Arc::clone(self);
        let root = async move {
            let end = process.run().await;
            world.ended(index, number, &end);
        };
        let following = Arc::clone(&incarnation.remote);
        incarnation.spawn(root.boxed());
        incarnation.spawn(async move { following.keep_topics().await }.boxed());
        self.event(format_args!("pod {index} starts, life {number}"));
        *slot.life() = Some(incarnation);
    }

    fn build(self: &Arc<Self>, slot: &PodSlot, number: u64, env: Env) -> (Incarnation, Process) {
        let options = &self.options;
        let alive = Arc::new(AtomicBool::new(true));
        let store = PodBucket {
            alive: Arc::clone(&alive),
            world: Arc::clone(self),
            pod: slot.index,
            rng: env.rng.stream("store"),
        };
        let bucket: Arc<dyn Bucket> = Arc::new(DurableBucket::new(
            Arc::new(store),
            options.durable,
            env.clone(),
        ));
        let (stop, edges) = Shutdown::new();
        let remote = Arc::new(Remote::new(Arc::clone(self), slot.index, &env.rng));
        let cache: Arc<dyn SegmentCache> = Arc::new(PlainCache::new(
            Arc::clone(&bucket),
            CLUSTER,
            env.clone(),
            CacheConfig::within(esker_cache::limits::TOTAL_BYTES_MIN),
        ));
        let metadata = self.metadata(slot, &bucket, &env);
        let ingest = slot.roles.ingest.then(|| {
            let parts = IngestParts {
                sequencer: remote.clone(),
                admin: remote.clone(),
                chain: Chain::new(Arc::clone(&bucket), env.clone(), CLUSTER),
                cache: Arc::clone(&cache),
                env: env.clone(),
            };
            Ingest::start(options.ingest, parts, edges.clone())
        });
        let fetch = slot.roles.fetch.then(|| {
            let parts = FetchParts {
                log_index: remote.clone(),
                admin: remote.clone(),
                cache,
                placement: None,
                env: env.clone(),
            };
            Fetch::start(options.fetch, parts, edges.clone())
        });
        let (metadata, metadata_task) = metadata.unzip();
        let (ingest, ingest_task) = ingest.unzip();
        let (fetch, fetch_task) = fetch.unzip();
        let process = Process {
            metadata: metadata_task,
            ingest: ingest_task,
            fetch: fetch_task,
            edges,
        };
        let incarnation = Incarnation {
            number,
            metadata,
            ingest,
            fetch,
            remote,
            suspension: Suspension::new(),
            stop,
            tasks: TaskGroup::new("pod"),
            alive,
            ended: false,
        };
        (incarnation, process)
    }

    fn metadata(
        self: &Arc<Self>,
        slot: &PodSlot,
        bucket: &Arc<dyn Bucket>,
        env: &Env,
    ) -> Option<(MetadataService, MetadataTask)> {
        let parts = MetadataParts {
            bucket: Arc::clone(bucket),
            env: env.clone(),
            cluster: CLUSTER,
            address: slot.index.to_string(),
            probe: Arc::new(Probe {
                world: Arc::clone(self),
                pod: slot.index,
            }),
        };
        slot.roles.metadata.then(|| {
            let (service, _, task) = MetadataService::start(self.options.metadata, parts);
            (service, task)
        })
    }

    /// Stops a pod for `length`; `false` when it does not live or is stopped already.
    pub(crate) fn stop(self: &Arc<Self>, index: usize, length: Duration) -> bool {
        let Some(slot) = self.pods.get(index) else {
            return false;
        };
        let was_leading = slot.is_leading();
        let (number, suspension) = match slot.life().as_ref() {
            Some(life) if !life.suspension.is_paused() => (life.number, life.suspension.clone()),
            Some(_) | None => return false,
        };
        suspension.pause();
        self.event(format_args!("stop pod {index} for {length:?}"));
        let world = Arc::clone(self);
        self.spawn(async move {
            sleep(length).await;
            let slot = world.pods.get(index);
            let lives = slot.is_some_and(|slot| slot.life_number() == Some(number));
            let others = world.leaders().into_iter().any(|leader| leader != index);
            if lives && was_leading && others {
                world.count_fault("zombie leader goes on");
            }
            world.event(format_args!("pod {index} goes on"));
            suspension.resume();
        });
        true
    }

    /// A stopped pod goes on before its time.
    pub(crate) fn go_on(&self, index: usize) {
        let life = self.pods.get(index).map(|slot| slot.life());
        let suspension = life.as_ref().and_then(|life| life.as_ref());
        if let Some(suspension) = suspension.map(|life| &life.suspension) {
            self.event(format_args!("pod {index} goes on"));
            suspension.resume();
        }
    }

    fn ended(&self, index: usize, number: u64, end: &End) {
        self.event(format_args!("pod {index} life {number} ends: {end:?}"));
        match end {
            End::Ingest(error) => self.violation(format!("ingest of pod {index}: {error:?}")),
            End::Metadata(MetadataFailure::Deposed { .. }) => self.count_fault("leader deposed"),
            End::Metadata(failure) if is_passing(failure) => {
                self.count_fault("metadata service gave up for now");
            }
            End::Metadata(failure) => {
                self.violation(format!("metadata of pod {index}: {failure:?}"));
            }
            End::Stopped => {}
        }
        let slot = self.pods.get(index);
        if let Some(life) = slot.and_then(|slot| slot.life().as_mut().map(|life| life.number))
            && life == number
            && let Some(slot) = slot
            && let Some(life) = slot.life().as_mut()
        {
            life.ended = true;
        }
        self.exits.notify_one();
    }

    /// The pod whose metadata service says that it leads, if exactly one lives and says so.
    pub(crate) fn leaders(&self) -> Vec<usize> {
        let leading = self.pods.iter().filter(|slot| slot.is_leading());
        leading.map(|slot| slot.index).collect()
    }

    pub(crate) fn status_of(&self, index: usize) -> Option<MetadataStatus> {
        let life = self.pods.get(index)?.life();
        let service = life.as_ref()?.metadata.as_ref()?;
        Some(service.status())
    }
}

/// The store did not let it through: any other reason is a finding.
fn is_passing(failure: &MetadataFailure) -> bool {
    let mut innermost: Option<&dyn std::error::Error> = Some(failure);
    while let Some(error) = innermost {
        if error.is::<esker_object::StoreError>() {
            return true;
        }
        innermost = error.source();
    }
    false
}
