//! What every process has, whatever it runs: a life, a clock, futures of the product.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use esker_chain::{Chain, UploadError, Uploaded};
use esker_env::{Env, Rng, Shutdown};
use esker_object::{Bucket, DurableBucket, DurableConfig};
use esker_sequencer::{Probe, WalkedSession};
use esker_types::{ChainIndex, ClusterId, SegmentId, SessionId};

use crate::message::{FetchFailure, Fetched};
use crate::node::Process;
use crate::outside::{Outside, SimClock, StoreClient};
use crate::queue::Event;

/// What a future came to.
#[derive(Debug)]
pub(crate) enum Done {
    Uploaded(SegmentId, Result<Uploaded, UploadError>),
    Probed(SegmentId, Probe),
    Sealed(SessionId, ChainIndex),
    SealFailed(SessionId),
    /// A place holds what no chain can hold.
    Damaged(String),
    Walked(WalkedSession),
    Read(u64, Result<Fetched, FetchFailure>),
}

/// A future of the product, and whether anybody still waits for it.
pub(crate) struct Task {
    pub(crate) future: Pin<Box<dyn Future<Output = Done>>>,
    pub(crate) over: Option<Shutdown>,
}

/// One place of the network and the life that is there now.
pub(crate) struct Host {
    pub(crate) process: Process,
    pub(crate) is_alive: bool,
    pub(crate) is_paused: bool,
    /// What came while it was paused.
    pub(crate) stalled: VecDeque<Event>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) env: Env,
    pub(crate) bucket: Arc<DurableBucket>,
    pub(crate) wall_millis: Arc<AtomicI64>,
}

impl Host {
    /// A new life.
    pub(crate) fn new(outside: &Arc<Outside>, process: Process, rate: u64, root: &Rng) -> Self {
        let wall_millis = Arc::new(AtomicI64::new(1_700_000_000_000));
        let clock = SimClock::new(Arc::clone(outside), process, rate, Arc::clone(&wall_millis));
        let name = format!("process {} {}", process.node.index(), process.life);
        let shared: Arc<dyn esker_env::Clock> = clock.clone();
        let env = Env {
            clock: shared,
            rng: root.stream(&name),
        };
        let client = StoreClient {
            outside: Arc::clone(outside),
            process,
        };
        let bucket = DurableBucket::new(Arc::new(client), DurableConfig::default(), env.clone());
        Self {
            process,
            is_alive: true,
            is_paused: false,
            stalled: VecDeque::new(),
            tasks: BTreeMap::new(),
            clock,
            env,
            bucket: Arc::new(bucket),
            wall_millis,
        }
    }

    pub(crate) fn chain(&self, cluster: ClusterId) -> Chain {
        let bucket: Arc<dyn Bucket> = self.bucket.clone();
        Chain::new(bucket, self.env.clone(), cluster)
    }
}
