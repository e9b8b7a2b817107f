//! A bucket whose faults are scripted, for tests of everything above. Feature `test-util`.
//!
//! A rule picks requests by operation, key class, key text and count, and says what happens to
//! them; the first rule that matches acts. Fail before, fail after (done, reply lost), hang, hold
//! (done later, when the test says so), slow, conflict, false exists, missing, flip, truncate,
//! gate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use esker_env::Env;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use crate::{
    Bucket, KeyClass, ListedObject, ObjectKey, ObjectRead, Operation, PutOutcome, ReadRange,
    StoreError, StoreErrorKind,
};

/// A place where a request waits until the test lets it go on.
#[derive(Clone, Debug)]
pub struct Gate {
    arrived: Arc<watch::Sender<u64>>,
    open: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            arrived: Arc::new(watch::channel(0).0),
            open: Arc::new(watch::channel(false).0),
        }
    }

    /// Completes once `count` requests have come to the gate in all. Cancel safe.
    pub async fn arrived(&self, count: u64) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self
            .arrived
            .subscribe()
            .wait_for(|so_far| *so_far >= count)
            .await;
    }

    /// Lets everyone through, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Not executed, and the store says so (for puts: `Refused`).
    Refuse(StoreErrorKind),
    /// Not executed; the caller cannot know that (for puts: `Unknown`).
    FailBefore(StoreErrorKind),
    /// Executed, but the reply is lost (for puts: `Unknown`).
    FailAfter(StoreErrorKind),
    /// Neither executed nor answered.
    HangBefore,
    /// Executed, never answered.
    HangAfter,
    /// A put that is answered `Unknown` now and executed by [`FaultyBucket::release_held`].
    Hold,
    /// Waits, then executes.
    Slow(Duration),
    /// Executes, then waits before it answers.
    SlowAfter(Duration),
    /// S3's 409: not executed, `Unknown`.
    Conflict,
    /// A put meets somebody (412) although nothing may be there.
    FalseExists,
    /// Reads and heads find nothing.
    Missing,
    /// A bit of what a get returns is wrong.
    Flip,
    /// A get returns half of what it should.
    Truncate,
    /// Waits at the gate, then executes.
    GateBefore(Gate),
    /// Executes, then waits at the gate before it answers.
    GateAfter(Gate),
}

/// Which requests a fault strikes: all, until narrowed.
#[derive(Clone, Debug)]
pub struct FaultRule {
    operation: Option<Operation>,
    class: Option<KeyClass>,
    key_text: Option<String>,
    skip: u64,
    times: u64,
    fault: Fault,
}

impl FaultRule {
    /// Strikes every request with `fault`.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            operation: None,
            class: None,
            key_text: None,
            skip: 0,
            times: u64::MAX,
            fault,
        }
    }

    /// Only this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only this class of keys.
    #[must_use]
    pub fn class(mut self, class: KeyClass) -> Self {
        self.class = Some(class);
        self
    }

    /// Only keys that contain this text.
    #[must_use]
    pub fn key_containing(mut self, text: &str) -> Self {
        self.key_text = Some(text.to_owned());
        self
    }

    /// Not the first `count` that match.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// No more than `count` of those that match.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    fn matches(&self, operation: Operation, key: &ObjectKey) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation)
            && self.class.is_none_or(|wanted| wanted == key.class())
            && self
                .key_text
                .as_ref()
                .is_none_or(|text| key.as_str().contains(text.as_str()))
    }

    /// Counts a match; the fault when it strikes.
    fn strike(&mut self) -> Option<Fault> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.times == 0 {
            return None;
        }
        self.times -= 1;
        Some(self.fault.clone())
    }
}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<FaultRule>,
    held: Vec<(ObjectKey, Bytes)>,
    requests: Vec<(Operation, ObjectKey)>,
}

/// A bucket with scripted faults around another one. Clones share the script.
#[derive(Clone, Debug)]
pub struct FaultyBucket {
    inner: Arc<dyn Bucket>,
    env: Env,
    script: Arc<Mutex<Script>>,
    struck: Arc<AtomicU64>,
}

impl FaultyBucket {
    /// Without rules it only counts.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>, env: Env) -> Self {
        Self {
            inner,
            env,
            script: Arc::default(),
            struck: Arc::default(),
        }
    }

    /// Adds a rule behind those that are there; the first that matches acts.
    pub fn add(&self, rule: FaultRule) {
        self.lock().rules.push(rule);
    }

    /// Removes all rules: the store is well again.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<(Operation, ObjectKey)> {
        self.lock().requests.clone()
    }

    /// Requests of one operation and class so far.
    #[must_use]
    pub fn count(&self, operation: Operation, class: KeyClass) -> usize {
        let script = self.lock();
        let wanted =
            |seen: &&(Operation, ObjectKey)| seen.0 == operation && seen.1.class() == class;
        script.requests.iter().filter(wanted).count()
    }

    /// How often a fault struck: a test whose fault never struck proves nothing.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// Puts that were held and wait for their release.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// Executes the held puts now, in order of arrival, and says what became of each.
    pub async fn release_held(&self) -> Vec<PutOutcome> {
        let held = std::mem::take(&mut self.lock().held);
        let mut outcomes = Vec::new();
        for (key, body) in held {
            outcomes.push(self.inner.put_if_absent(&key, body).await);
        }
        outcomes
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, operation: Operation, key: &ObjectKey) -> Option<Fault> {
        let mut script = self.lock();
        script.requests.push((operation, key.clone()));
        let matching = script
            .rules
            .iter_mut()
            .filter(|rule| rule.matches(operation, key));
        let fault = matching.filter_map(FaultRule::strike).next();
        if fault.is_some() {
            self.struck.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> PutOutcome {
        let error = |kind| StoreError::new("put", key, kind);
        let fault = self.arrive(Operation::Put, key);
        match &fault {
            Some(Fault::Refuse(kind)) => return PutOutcome::Refused(error(*kind)),
            Some(Fault::FailBefore(kind)) => return PutOutcome::Unknown(error(*kind)),
            Some(Fault::Conflict) => return PutOutcome::Unknown(error(StoreErrorKind::Retry)),
            Some(Fault::FalseExists) => return PutOutcome::Exists,
            Some(Fault::Hold) => {
                self.lock().held.push((key.clone(), body));
                return PutOutcome::Unknown(error(StoreErrorKind::Retry));
            }
            _ => self.before(fault.as_ref()).await,
        }
        let outcome = self.inner.put_if_absent(key, body).await;
        self.after(fault.as_ref()).await;
        match fault {
            Some(Fault::FailAfter(kind)) => PutOutcome::Unknown(error(kind)),
            _ => outcome,
        }
    }

    async fn before(&self, fault: Option<&Fault>) {
        match fault {
            Some(Fault::HangBefore) => std::future::pending().await,
            Some(Fault::Slow(wait)) => self.env.clock.sleep(*wait).await,
            Some(Fault::GateBefore(gate)) => gate.pass().await,
            _ => {}
        }
    }

    async fn after(&self, fault: Option<&Fault>) {
        match fault {
            Some(Fault::HangAfter) => std::future::pending().await,
            Some(Fault::SlowAfter(wait)) => self.env.clock.sleep(*wait).await,
            Some(Fault::GateAfter(gate)) => gate.pass().await,
            _ => {}
        }
    }

    /// Any operation but put: executed between the waits, unless the fault answers for it.
    async fn other<T>(
        &self,
        operation: Operation,
        key: &ObjectKey,
        execute: BoxFuture<'_, Result<T, StoreError>>,
    ) -> (Option<Fault>, Result<T, StoreError>) {
        let error = |kind| Err(StoreError::new(operation.label(), key, kind));
        let fault = self.arrive(operation, key);
        match &fault {
            Some(Fault::Refuse(kind) | Fault::FailBefore(kind)) => {
                let answer = error(*kind);
                return (fault, answer);
            }
            Some(Fault::Conflict | Fault::Hold) => return (fault, error(StoreErrorKind::Retry)),
            _ => self.before(fault.as_ref()).await,
        }
        let answer = execute.await;
        self.after(fault.as_ref()).await;
        match fault {
            Some(Fault::FailAfter(kind)) => (fault, error(kind)),
            _ => (fault, answer),
        }
    }
}

fn damage(fault: Option<&Fault>, mut read: ObjectRead) -> Option<ObjectRead> {
    match fault {
        Some(Fault::Missing) => return None,
        Some(Fault::Flip) => {
            let mut bytes = read.bytes.to_vec();
            if let Some(byte) = bytes.first_mut() {
                *byte ^= 1;
            }
            read.bytes = Bytes::from(bytes);
        }
        Some(Fault::Truncate) => read.bytes = read.bytes.slice(..read.bytes.len() / 2),
        _ => {}
    }
    Some(read)
}

impl Bucket for FaultyBucket {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        self.put(key, body).boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        async move {
            let execute = self.inner.get(key, range);
            let (fault, answer) = self.other(Operation::Get, key, execute).await;
            Ok(answer?.and_then(|read| damage(fault.as_ref(), read)))
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        async move {
            let (fault, answer) = self.other(Operation::Head, key, self.inner.head(key)).await;
            Ok(answer?.filter(|_| !matches!(fault, Some(Fault::Missing))))
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
            let execute = self.inner.list_after(prefix, after, count_max);
            let (fault, answer) = self.other(Operation::List, prefix, execute).await;
            match fault {
                Some(Fault::Missing) => Ok(Vec::new()),
                _ => answer,
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.other(Operation::Delete, key, self.inner.delete(key))
                .await
                .1
        }
        .boxed()
    }
}
