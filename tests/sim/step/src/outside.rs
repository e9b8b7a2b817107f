//! What the product's futures wait for: the simulated store and simulated sleep.
//!
//! A future leaves an [`Ask`] here and waits on a channel; the world answers it at its time and
//! polls the task again. One thread: the locks are never contended.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use esker_env::Clock;
use esker_object::{
    Bucket, ListedObject, ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError,
};
use esker_types::{MonotonicTime, Timestamp};
use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;

use crate::node::{Nanos, Process};

/// A clock that runs at this rate runs as fast as the simulation's own.
pub(crate) const RATE_ONE: u64 = 1024;

/// What a future waits for.
#[derive(Debug)]
pub(crate) enum Ask {
    Put(ObjectKey, Bytes, oneshot::Sender<PutOutcome>),
    Get(
        ObjectKey,
        ReadRange,
        oneshot::Sender<Result<Option<ObjectRead>, StoreError>>,
    ),
    /// Until this moment of the simulation.
    Sleep(Nanos, oneshot::Sender<()>),
}

/// An ask and who made it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) process: Process,
    pub(crate) task: u64,
    pub(crate) ask: Ask,
}

#[derive(Debug, Default)]
struct Asks {
    task: u64,
    asked: Vec<Asked>,
}

/// Simulated time, and what futures have asked for since it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    now: AtomicU64,
    asks: Mutex<Asks>,
}

impl Outside {
    pub(crate) fn now(&self) -> Nanos {
        self.now.load(Relaxed)
    }

    pub(crate) fn set_now(&self, now: Nanos) {
        self.now.store(now, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on asks are of this task.
    pub(crate) fn begin_task(&self, task: u64) {
        self.lock().task = task;
    }

    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.lock().asked)
    }

    fn ask(&self, process: Process, ask: Ask) {
        let mut asks = self.lock();
        let task = asks.task;
        asks.asked.push(Asked { process, task, ask });
    }
}

/// The clock of one process: it may run fast or slow, and its wall clock may jump.
#[derive(Debug)]
pub(crate) struct SimClock {
    outside: Arc<Outside>,
    process: Process,
    started: Nanos,
    rate: u64,
    wall_millis: Arc<AtomicI64>,
}

impl SimClock {
    pub(crate) fn new(
        outside: Arc<Outside>,
        process: Process,
        rate: u64,
        wall_millis: Arc<AtomicI64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            started: outside.now(),
            outside,
            process,
            rate,
            wall_millis,
        })
    }

    /// The moment of the simulation at which this clock shows `local`, rounded up.
    pub(crate) fn at(&self, local: MonotonicTime) -> Nanos {
        let local = u64::try_from(local.since_start().as_nanos()).unwrap_or(u64::MAX / 4);
        let scaled = u128::from(local) * u128::from(RATE_ONE) / u128::from(self.rate);
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX / 4);
        self.started.saturating_add(scaled).saturating_add(1)
    }
}

impl Clock for SimClock {
    fn now(&self) -> MonotonicTime {
        let elapsed = self.outside.now() - self.started;
        let local = u128::from(elapsed) * u128::from(self.rate) / u128::from(RATE_ONE);
        MonotonicTime::from_start(Duration::from_nanos(
            u64::try_from(local).unwrap_or(u64::MAX),
        ))
    }

    fn wall(&self) -> Timestamp {
        let millis = i64::try_from(self.outside.now() / 1_000_000).unwrap_or(i64::MAX);
        Timestamp::from_millis(millis.saturating_add(self.wall_millis.load(Relaxed)))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (sender, receiver) = oneshot::channel();
        let until = self.at(self.now().after(duration));
        self.outside.ask(self.process, Ask::Sleep(until, sender));
        receiver.map(|_| ()).boxed()
    }
}

/// The store, as one process reaches it: single attempts, as a back end makes them.
#[derive(Debug)]
pub(crate) struct StoreClient {
    pub(crate) outside: Arc<Outside>,
    pub(crate) process: Process,
}

/// An answer that never comes, of a process that is gone.
async fn answered<T>(receiver: oneshot::Receiver<T>) -> T {
    match receiver.await {
        Ok(answer) => answer,
        Err(_) => std::future::pending().await,
    }
}

impl Bucket for StoreClient {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        let (sender, receiver) = oneshot::channel();
        self.outside
            .ask(self.process, Ask::Put(key.clone(), body, sender));
        answered(receiver).boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        let (sender, receiver) = oneshot::channel();
        self.outside
            .ask(self.process, Ask::Get(key.clone(), range, sender));
        answered(receiver).boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        let read = self.get(key, ReadRange::Suffix(1));
        read.map(|read| read.map(|read| read.map(|read| read.object_bytes)))
            .boxed()
    }

    fn list_after<'a>(
        &'a self,
        _prefix: &'a ObjectKey,
        _after: Option<&'a ObjectKey>,
        _count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        // Nothing of this world lists: chains are read place by place.
        futures::future::ready(Ok(Vec::new())).boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        // Nothing of this world deletes: seals and segments stay (G3).
        let kind = esker_object::StoreErrorKind::Denied;
        futures::future::ready(Err(StoreError::new("delete", key, kind))).boxed()
    }
}
