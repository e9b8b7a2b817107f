//! The simulated bucket: strongly consistent, shared by all pods, with every fault of the matrix.
//!
//! A request is a task of the world, not of the pod: a pod that is killed or stopped, or that has
//! given a request up, does not undo what is under way. Lists are hints and may be stale.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use esker_env::Rng;
use esker_object::{
    Bucket, KeyClass, ListedObject, ObjectKey, ObjectRead, Operation, PutOutcome, ReadRange,
    StoreError, StoreErrorKind,
};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::oneshot;

use crate::clock::sleep;
use crate::store_faults::StoreFault;
use crate::world::{Place, World};

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    created: Duration,
}

/// What the bucket holds.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    live: BTreeMap<ObjectKey, Object>,
    gone: BTreeMap<ObjectKey, (u64, Duration)>,
    pub(crate) puts: u64,
}

fn byte_count(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Objects {
    /// `false` when somebody is there.
    fn create(&mut self, key: &ObjectKey, body: &Bytes, now: Duration) -> bool {
        self.puts += 1;
        if self.live.contains_key(key) {
            return false;
        }
        let object = Object {
            bytes: body.clone(),
            created: now,
        };
        self.live.insert(key.clone(), object);
        true
    }

    fn read(&self, key: &ObjectKey, range: ReadRange) -> Option<ObjectRead> {
        let object = self.live.get(key)?;
        let length = object.bytes.len();
        let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(length);
        let (start, end) = match range {
            ReadRange::Full => (0, length),
            ReadRange::Bounded(range) => (bound(range.start()), bound(range.end())),
            ReadRange::Suffix(count) => (length.saturating_sub(bound(count)), length),
        };
        Some(ObjectRead {
            bytes: object.bytes.slice(start..end.max(start)),
            object_bytes: byte_count(&object.bytes),
        })
    }

    pub(crate) fn delete(&mut self, key: &ObjectKey, now: Duration) {
        if let Some(object) = self.live.remove(key) {
            self.gone
                .insert(key.clone(), (byte_count(&object.bytes), now));
        }
    }

    fn was_collected(&self, key: &ObjectKey) -> bool {
        self.gone.contains_key(key) && !self.live.contains_key(key)
    }

    /// As it was at `moment`.
    fn list(
        &self,
        prefix: &ObjectKey,
        after: Option<&ObjectKey>,
        count_max: usize,
        moment: Duration,
    ) -> Vec<ListedObject> {
        let live = self.live.iter();
        let live = live.filter(|(_, object)| object.created <= moment);
        let live = live.map(|(key, object)| (key, byte_count(&object.bytes)));
        let gone = self.gone.iter();
        let gone = gone.filter(|(_, (_, deleted))| *deleted > moment);
        let gone = gone.map(|(key, (length, _))| (key, *length));
        let all: BTreeMap<&ObjectKey, u64> = gone.chain(live).collect();
        let wanted = |key: &ObjectKey| {
            key.as_str().starts_with(prefix.as_str()) && after.is_none_or(|after| key > after)
        };
        all.into_iter()
            .filter(|(key, _)| wanted(key))
            .take(count_max)
            .map(|(key, object_bytes)| ListedObject {
                key: key.clone(),
                object_bytes,
            })
            .collect()
    }
}

/// The bucket as one pod reaches it.
#[derive(Clone, Debug)]
pub(crate) struct PodBucket {
    pub(crate) world: Arc<World>,
    pub(crate) pod: usize,
    pub(crate) rng: Rng,
    pub(crate) alive: Arc<AtomicBool>,
}

/// A request with what will happen to it.
struct Fate {
    operation: Operation,
    key: ObjectKey,
    fault: Option<StoreFault>,
    there: Duration,
    back: Duration,
    /// What HOLD, DUP and SLOW wait.
    long: Duration,
    /// A put waits until its place was collected, at most so long; then its pod goes on.
    until_collected: Option<Duration>,
}

impl Fate {
    fn error(&self, kind: StoreErrorKind) -> StoreError {
        StoreError::new(self.operation.label(), &self.key, kind)
    }
}

impl PodBucket {
    fn fate(&self, operation: Operation, key: &ObjectKey) -> Fate {
        let world = &self.world;
        let options = &world.options;
        let whole = match operation {
            Operation::Put => options.put_time,
            _ => options.get_time,
        };
        let mut whole = whole.mul_f64(0.6 + 0.8 * self.rng.unit());
        if self.rng.below(50) == 0 {
            whole = whole.mul_f64(2.0 + 8.0 * self.rng.unit());
        }
        let long = Duration::from_millis(200 + self.rng.below(800) * self.rng.below(60));
        let mut fault = world.store_fault(&self.rng, (self.pod, operation, key));
        let here = Place::Pod(self.pod);
        if world.is_cut(here, Place::Store) {
            fault = Some(StoreFault::BeforeHang);
        } else if fault.is_none() && world.is_cut(Place::Store, here) {
            fault = Some(StoreFault::AfterHang);
        }
        if let Some(fault) = fault {
            world.count_fault(fault.name());
        }
        Fate {
            operation,
            key: key.clone(),
            fault,
            there: whole / 2,
            back: whole / 2,
            long,
            until_collected: None,
        }
    }

    /// Runs `request` in the world; pends for ever when it is never answered.
    fn send<T: Send + 'static>(
        &self,
        request: impl Future<Output = Option<T>> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (reply, answer) = oneshot::channel();
        self.world.spawn(async move {
            if let Some(answer) = request.await {
                // Whoever asked may have given up.
                let _ = reply.send(answer);
            }
        });
        async move {
            match answer.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn told(&self, fate: &Fate, what: &str) {
        let (pod, fault) = (self.pod, fate.fault.map_or("", StoreFault::name));
        let (operation, key) = (fate.operation.label(), &fate.key);
        self.world
            .event(format_args!("{operation} {key} by {pod}: {what} {fault}"));
    }

    fn create(&self, fate: &Fate, body: &Bytes) -> PutOutcome {
        let now = self.world.elapsed();
        let created = self.world.objects().create(&fate.key, body, now);
        self.told(fate, if created { "created" } else { "exists" });
        match created {
            true => PutOutcome::Created,
            false => PutOutcome::Exists,
        }
    }

    async fn put(self, fate: Fate, body: Bytes) -> Option<PutOutcome> {
        use StoreFault as F;
        sleep(fate.there).await;
        if !self.alive.load(Ordering::Relaxed) && self.rng.below(4) > 0 {
            self.world.count_fault("put lost with its process");
            return None;
        }
        if let Some(limit) = fate.until_collected {
            self.wait_collected(&fate.key, limit).await;
            let created = self.create(&fate, &body);
            self.world.go_on(self.pod);
            return Some(created);
        }
        let unknown = || Some(PutOutcome::Unknown(fate.error(StoreErrorKind::Retry)));
        let refused = |kind| Some(PutOutcome::Refused(fate.error(kind)));
        let answer = match fate.fault {
            None | Some(F::Flip | F::StaleList) => Some(self.create(&fate, &body)),
            Some(F::BeforeCode | F::Conflict) => unknown(),
            Some(F::BeforeRefused | F::Cut) => refused(StoreErrorKind::Retry),
            Some(F::Throttle) => refused(StoreErrorKind::Throttled),
            Some(F::BeforeHang) => None,
            Some(F::AfterCode | F::ConflictDone) => {
                let _done = self.create(&fate, &body);
                unknown()
            }
            Some(F::AfterHang) => {
                let _done = self.create(&fate, &body);
                None
            }
            Some(F::Slow) => {
                sleep(fate.long / 4).await;
                Some(self.create(&fate, &body))
            }
            Some(F::Twice) => {
                let first = self.create(&fate, &body);
                self.later(fate.long, &fate, body);
                Some(first)
            }
            Some(F::Hold) => {
                self.later(fate.long * 3, &fate, body);
                match self.rng.below(2) {
                    0 => None,
                    _ => unknown(),
                }
            }
        };
        if answer
            .as_ref()
            .is_none_or(|answer| !matches!(answer, PutOutcome::Created))
        {
            self.told(&fate, "answered");
        }
        sleep(fate.back).await;
        answer
    }

    /// Until `key` is free because what stood there was collected.
    async fn wait_collected(&self, key: &ObjectKey, limit: Duration) {
        let end = self.world.elapsed() + limit;
        while self.world.elapsed() < end {
            if self.world.objects().was_collected(key) {
                self.world
                    .count_fault("challenger's seal held until its place is collected");
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The put is executed (again) after `delay`, whatever has become of its sender.
    fn later(&self, delay: Duration, fate: &Fate, body: Bytes) {
        let (bucket, key) = (self.clone(), fate.key.clone());
        let late = Fate {
            operation: Operation::Put,
            key,
            fault: fate.fault,
            there: delay,
            back: Duration::ZERO,
            long: delay,
            until_collected: None,
        };
        self.world.spawn(async move {
            sleep(late.there).await;
            let _nobody_hears = bucket.create(&late, &body);
        });
    }

    /// A read: the error that its fault means, or the time it takes.
    async fn arrive<T>(&self, fate: &Fate) -> Result<(), Option<Result<T, StoreError>>> {
        use StoreFault as F;
        sleep(fate.there).await;
        let kind = match fate.fault {
            Some(F::BeforeCode | F::BeforeRefused) => StoreErrorKind::Retry,
            Some(F::Throttle) => StoreErrorKind::Throttled,
            Some(F::BeforeHang) => {
                self.told(fate, "hangs");
                return Err(None);
            }
            Some(F::Slow) => {
                sleep(fate.long / 4).await;
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.told(fate, "fails");
        sleep(fate.back).await;
        Err(Some(Err(fate.error(kind))))
    }

    /// What comes back of what was done.
    async fn depart<T>(&self, fate: &Fate, done: T) -> Option<Result<T, StoreError>> {
        use StoreFault as F;
        sleep(fate.back).await;
        match fate.fault {
            Some(F::AfterCode) => Some(Err(fate.error(StoreErrorKind::Retry))),
            Some(F::AfterHang | F::Hold) => None,
            _ => Some(Ok(done)),
        }
    }

    fn spoil(&self, fate: &Fate, read: Option<ObjectRead>) -> Option<ObjectRead> {
        let mut read = read?;
        match fate.fault {
            Some(StoreFault::Cut) => read.bytes.truncate(read.bytes.len() / 2),
            Some(StoreFault::Flip) if !read.bytes.is_empty() => {
                let mut bytes = read.bytes.to_vec();
                let at = self.rng.below(byte_count(&read.bytes));
                if let Some(byte) = bytes.get_mut(usize::try_from(at).unwrap_or(0)) {
                    *byte ^= 1 << self.rng.below(8);
                }
                read.bytes = Bytes::from(bytes);
            }
            _ => {}
        }
        Some(read)
    }

    async fn read(
        self,
        fate: Fate,
        range: ReadRange,
    ) -> Option<Result<Option<ObjectRead>, StoreError>> {
        if let Err(failed) = self.arrive(&fate).await {
            return failed;
        }
        let found = self.world.objects().read(&fate.key, range);
        self.told(&fate, if found.is_some() { "found" } else { "missing" });
        let found = self.spoil(&fate, found);
        self.depart(&fate, found).await
    }

    async fn remove(self, fate: Fate) -> Option<Result<(), StoreError>> {
        if let Err(failed) = self.arrive(&fate).await {
            return failed;
        }
        if matches!(fate.fault, Some(StoreFault::Hold | StoreFault::Twice)) {
            let (bucket, key, delay) = (self.clone(), fate.key.clone(), fate.long);
            self.world.spawn(async move {
                sleep(delay).await;
                let now = bucket.world.elapsed();
                bucket.world.objects().delete(&key, now);
            });
        }
        if fate.fault != Some(StoreFault::Hold) {
            let now = self.world.elapsed();
            self.world.objects().delete(&fate.key, now);
        }
        self.told(&fate, "deleted");
        self.depart(&fate, ()).await
    }

    async fn list(
        self,
        fate: Fate,
        after: Option<ObjectKey>,
        count_max: usize,
    ) -> Option<Result<Vec<ListedObject>, StoreError>> {
        if let Err(failed) = self.arrive(&fate).await {
            return failed;
        }
        let now = self.world.elapsed();
        let moment = match fate.fault {
            Some(StoreFault::StaleList) => now.saturating_sub(fate.long),
            _ => now,
        };
        let rows = self
            .world
            .objects()
            .list(&fate.key, after.as_ref(), count_max, moment);
        self.told(&fate, "listed");
        self.depart(&fate, rows).await
    }
}

impl Bucket for PodBucket {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        async move {
            let mut fate = self.fate(Operation::Put, key);
            if let Some(trap) = self.world.take_trap(self.pod, key)
                && self.world.stop(self.pod, trap.length)
            {
                let class = key.class();
                self.world.count_fault(match class {
                    KeyClass::Journal => "process stopped with a journal put on its way",
                    _ => "process stopped with a segment on its way",
                });
                fate.there = trap.length.mul_f64(0.7);
                if trap.until_collected {
                    fate.there = Duration::ZERO;
                    fate.until_collected = Some(trap.length);
                }
            }
            self.send(self.clone().put(fate, body)).await
        }
        .boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        async move {
            let fate = self.fate(Operation::Get, key);
            self.send(self.clone().read(fate, range)).await
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        async move {
            let fate = self.fate(Operation::Head, key);
            let read = self
                .send(self.clone().read(fate, ReadRange::Suffix(0)))
                .await?;
            Ok(read.map(|read| read.object_bytes))
        }
        .boxed()
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        async move {
            let fate = self.fate(Operation::List, prefix);
            let listed = self.clone().list(fate, after.cloned(), count_max);
            self.send(listed).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let fate = self.fate(Operation::Delete, key);
            self.send(self.clone().remove(fate)).await
        }
        .boxed()
    }
}
