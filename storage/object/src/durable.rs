//! Makes a single-attempt back end dependable: deadline, retry, hedging, "who is there", metering.
//!
//! Everything above uses a store through this. Invariants: an `Exists` answer never stems from our
//! own earlier attempt; `Refused` only if no attempt can have been executed; each request to the
//! back end is counted; dropping a future aborts its requests (their outcome is unknown).

mod budget;
mod put;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_env::{Backoff, Env, RetryPolicy, timeout};
use esker_types::MonotonicTime;
use futures::future::{BoxFuture, FutureExt as _};

use crate::limits::{LIST_COUNT_MAX, LIST_PAGE_COUNT_MAX};
use crate::memory::resolve_range;
use crate::meter::FinishedRequest;
use crate::{
    Bucket, ListedObject, ObjectKey, ObjectRead, Operation, PutOutcome, ReadRange, RequestMeter,
    RequestOutcome, StoreError, StoreErrorKind, StorePulse,
};

use budget::{LatencyWindows, ShareBudget};

/// How hard to try. Times are on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableConfig {
    /// One request, its body not counted. S3's own slow answers stay below a few seconds.
    pub attempt_timeout: Duration,
    /// More time for a request per MiB of body, for slow links.
    pub attempt_timeout_per_mib: Duration,
    /// One operation with all its requests and waits.
    pub operation_timeout: Duration,
    /// Waits between the requests of one operation, and how many there are at most.
    pub retry: RetryPolicy,
    /// Requests sent again, as a share of all operations (I28): 20 % keeps an outage from becoming
    /// a storm.
    pub retry_share_percent: u32,
    /// Requests that may be sent again although the share is used up; grows back by one a second.
    pub retry_floor: u32,
    /// Hedged puts, as a share of all puts.
    pub hedge_share_percent: u32,
    /// No put is hedged earlier than this, however fast the store is.
    pub hedge_delay_min: Duration,
    /// Puts of a size class to have seen before one is hedged.
    pub hedge_samples_min: usize,
}

impl Default for DurableConfig {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(10),
            attempt_timeout_per_mib: Duration::from_secs(1),
            operation_timeout: Duration::from_secs(30),
            retry: RetryPolicy {
                delay_first: Duration::from_millis(50),
                delay_max: Duration::from_secs(2),
                tries_max: 8,
            },
            retry_share_percent: 20,
            retry_floor: 10,
            hedge_share_percent: 5,
            hedge_delay_min: Duration::from_millis(50),
            hedge_samples_min: 20,
        }
    }
}

/// A dependable bucket around a single-attempt back end.
#[derive(Debug)]
pub struct DurableBucket {
    inner: Arc<dyn Bucket>,
    config: DurableConfig,
    env: Env,
    meter: Arc<RequestMeter>,
    pulse: Arc<StorePulse>,
    retries: ShareBudget,
    hedges: ShareBudget,
    latencies: LatencyWindows,
}

/// Where one operation stands between its requests.
#[derive(Debug)]
struct Progress {
    backoff: Backoff,
    deadline: MonotonicTime,
}

/// A request under way; counted when it ends, however it ends.
struct InFlight<'a> {
    bucket: &'a DurableBucket,
    operation: Operation,
    key: &'a ObjectKey,
    start: MonotonicTime,
    bytes: u64,
    outcome: RequestOutcome,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let now = self.bucket.env.clock.now();
        self.bucket.meter.record(FinishedRequest {
            operation: self.operation,
            class: self.key.class(),
            outcome: self.outcome,
            bytes: self.bytes,
            elapsed: now.since(self.start),
        });
        let pulse = &self.bucket.pulse;
        pulse.record(self.operation, self.key, self.outcome, now);
    }
}

fn outcome_of(error: &StoreError) -> RequestOutcome {
    match error.kind {
        StoreErrorKind::Retry => RequestOutcome::Failed,
        StoreErrorKind::Throttled => RequestOutcome::Throttled,
        StoreErrorKind::Exhausted => RequestOutcome::TimedOut,
        StoreErrorKind::Denied
        | StoreErrorKind::NoBucket
        | StoreErrorKind::Full
        | StoreErrorKind::Unsupported => RequestOutcome::Refused,
    }
}

fn is_passing(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Retry | StoreErrorKind::Throttled)
}

fn byte_count(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// An answer with fewer or more bytes than the range holds was cut on its way.
fn check_length(
    key: &ObjectKey,
    range: ReadRange,
    read: Option<ObjectRead>,
) -> Result<Option<ObjectRead>, StoreError> {
    if let Some(read) = &read {
        let (start, end) = resolve_range(range, read.object_bytes);
        if byte_count(&read.bytes) != end - start {
            return Err(
                StoreError::new("get", key, StoreErrorKind::Retry).caused_by(CutRead {
                    wanted_bytes: end - start,
                    read_bytes: byte_count(&read.bytes),
                }),
            );
        }
    }
    Ok(read)
}

/// A read returned another number of bytes than its range holds.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("read {read_bytes} bytes instead of {wanted_bytes}")]
struct CutRead {
    wanted_bytes: u64,
    read_bytes: u64,
}

impl DurableBucket {
    /// Wraps `inner`, whose own retries must be off.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>, config: DurableConfig, env: Env) -> Self {
        assert!(
            config.retry.tries_max >= 1,
            "an operation is tried at least once"
        );
        Self {
            inner,
            config,
            meter: Arc::new(RequestMeter::new()),
            pulse: Arc::default(),
            retries: ShareBudget::new(config.retry_share_percent, config.retry_floor),
            hedges: ShareBudget::new(config.hedge_share_percent, 0),
            latencies: LatencyWindows::new(),
            env,
        }
    }

    /// Counts of all requests sent to the back end.
    #[must_use]
    pub fn meter(&self) -> &Arc<RequestMeter> {
        &self.meter
    }

    /// Whether the requests that a process lives by get through.
    #[must_use]
    pub fn pulse(&self) -> &Arc<StorePulse> {
        &self.pulse
    }

    fn begin(&self) -> Progress {
        self.retries.earn();
        Progress {
            backoff: self.config.retry.begin(),
            deadline: self.env.clock.now().after(self.config.operation_timeout),
        }
    }

    fn in_flight<'a>(&'a self, operation: Operation, key: &'a ObjectKey) -> InFlight<'a> {
        InFlight {
            bucket: self,
            operation,
            key,
            start: self.env.clock.now(),
            bytes: 0,
            outcome: RequestOutcome::Dropped,
        }
    }

    /// Waits for the next try; `false` when tries or time are used up.
    async fn wait_to_retry(&self, progress: &mut Progress, operation: Operation) -> bool {
        let Some(delay) = progress.backoff.next_delay(&self.env.rng) else {
            return false;
        };
        self.env.clock.sleep(delay).await;
        self.wait_for_token(progress, delay, operation).await
    }

    async fn wait_for_token(
        &self,
        progress: &Progress,
        delay: Duration,
        operation: Operation,
    ) -> bool {
        loop {
            let now = self.env.clock.now();
            if now >= progress.deadline {
                return false;
            }
            if self.retries.take(now) {
                self.meter.record_retry(operation);
                return true;
            }
            // No token: the share of retries is used up. The floor grows back once a second.
            self.env
                .clock
                .sleep(delay.max(Duration::from_millis(50)))
                .await;
        }
    }

    /// One request with a deadline, counted.
    async fn request<T>(
        &self,
        operation: Operation,
        key: &ObjectKey,
        answer: BoxFuture<'_, Result<T, StoreError>>,
        weigh: impl Fn(&T) -> (RequestOutcome, u64),
    ) -> Result<T, StoreError> {
        let mut in_flight = self.in_flight(operation, key);
        let limit = self.config.attempt_timeout;
        match timeout(self.env.clock.as_ref(), limit, answer).await {
            Ok(Ok(value)) => {
                (in_flight.outcome, in_flight.bytes) = weigh(&value);
                Ok(value)
            }
            Ok(Err(error)) => {
                in_flight.outcome = outcome_of(&error);
                Err(error)
            }
            Err(elapsed) => {
                in_flight.outcome = RequestOutcome::TimedOut;
                let error = StoreError::new(operation.label(), key, StoreErrorKind::Retry);
                Err(error.caused_by(elapsed))
            }
        }
    }

    /// Sends a request that may be repeated freely until it is answered.
    async fn retrying<'a, T>(
        &'a self,
        operation: Operation,
        key: &'a ObjectKey,
        send: impl Fn() -> BoxFuture<'a, Result<T, StoreError>> + Send,
        weigh: impl Fn(&T) -> (RequestOutcome, u64) + Send + Sync,
    ) -> Result<T, StoreError> {
        let mut progress = self.begin();
        loop {
            let error = match self.request(operation, key, send(), &weigh).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !is_passing(error.kind) {
                return Err(error);
            }
            tracing::debug!(operation = operation.label(), %key, error = ?error, "request failed");
            if !self.wait_to_retry(&mut progress, operation).await {
                let exhausted = StoreError::new(error.operation, key, StoreErrorKind::Exhausted);
                return Err(exhausted.caused_by(error));
            }
        }
    }

    async fn list(
        &self,
        prefix: &ObjectKey,
        after: Option<&ObjectKey>,
        count_max: usize,
    ) -> Result<Vec<ListedObject>, StoreError> {
        let count_max = count_max.min(LIST_COUNT_MAX);
        let mut rows: Vec<ListedObject> = Vec::new();
        while rows.len() < count_max {
            let wanted = (count_max - rows.len()).min(LIST_PAGE_COUNT_MAX);
            let after = rows
                .last()
                .map(|row| row.key.clone())
                .or_else(|| after.cloned());
            let page = self
                .retrying(
                    Operation::List,
                    prefix,
                    || {
                        let after = after.clone();
                        async move { self.inner.list_after(prefix, after.as_ref(), wanted).await }
                            .boxed()
                    },
                    |_| (RequestOutcome::Ok, 0),
                )
                .await?;
            let is_last = page.len() < wanted;
            rows.extend(page);
            if is_last {
                break;
            }
        }
        Ok(rows)
    }
}

fn weigh_read(read: &Option<ObjectRead>) -> (RequestOutcome, u64) {
    match read {
        Some(read) => (RequestOutcome::Ok, byte_count(&read.bytes)),
        None => (RequestOutcome::Missing, 0),
    }
}

fn weigh_head(length: &Option<u64>) -> (RequestOutcome, u64) {
    match length {
        Some(_) => (RequestOutcome::Ok, 0),
        None => (RequestOutcome::Missing, 0),
    }
}

impl Bucket for DurableBucket {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        self.put(key, body).boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        let send = move || {
            async move { check_length(key, range, self.inner.get(key, range).await?) }.boxed()
        };
        self.retrying(Operation::Get, key, send, weigh_read).boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.retrying(Operation::Head, key, || self.inner.head(key), weigh_head)
            .boxed()
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        self.list(prefix, after, count_max).boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        let send = || self.inner.delete(key);
        self.retrying(Operation::Delete, key, send, |()| (RequestOutcome::Ok, 0))
            .boxed()
    }
}
