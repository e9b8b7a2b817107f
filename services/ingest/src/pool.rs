//! The byte pool of the produce path: what is admitted and not yet answered fits it (I23).
//!
//! Taken in admission, before a batch is queued; given back when the last batch of the request is
//! dropped. Waiting here stops the reading of the connection: that is the back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// Bytes that admitted batches may hold.
#[derive(Clone, Debug)]
pub(crate) struct BytePool {
    permits: Arc<Semaphore>,
    capacity: u32,
    metrics: Arc<Metrics>,
}

/// A request's share of the pool.
#[derive(Debug)]
pub(crate) struct PoolPermit {
    _held: Option<OwnedSemaphorePermit>,
    permits: Arc<Semaphore>,
    /// Taken besides, for what grew.
    grown: AtomicU32,
    bytes: u64,
    metrics: Arc<Metrics>,
}

impl BytePool {
    pub(crate) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let capacity = u32::try_from(bytes_max).unwrap_or(u32::MAX).clamp(1, most);
        metrics.buffer_limit(u64::from(capacity));
        Self {
            permits: Arc::new(Semaphore::new(usize::try_from(capacity).unwrap_or(1))),
            capacity,
            metrics,
        }
    }

    /// Waits, in order of arrival, until `bytes` fit. A request above the whole pool takes all of
    /// it. Cancel safe.
    pub(crate) async fn take(&self, bytes: usize) -> Arc<PoolPermit> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity);
        let permits = Arc::clone(&self.permits);
        let held = match Arc::clone(&permits).try_acquire_many_owned(wanted) {
            Ok(held) => Some(held),
            Err(_) => {
                self.metrics.admission_waited();
                // An error would mean that the pool is closed, which nobody does.
                permits.acquire_many_owned(wanted).await.ok()
            }
        };
        let permits = Arc::clone(&self.permits);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.metrics.buffer_taken(bytes);
        Arc::new(PoolPermit {
            _held: held,
            permits,
            grown: AtomicU32::new(0),
            bytes,
            metrics: Arc::clone(&self.metrics),
        })
    }
}

impl PoolPermit {
    /// Takes `bytes` more, if they are free now: to wait while holding some could last for ever.
    pub(crate) fn try_grow(&self, bytes: usize) -> bool {
        let Ok(wanted) = u32::try_from(bytes) else {
            return false;
        };
        let Ok(more) = self.permits.try_acquire_many(wanted) else {
            return false;
        };
        more.forget();
        self.grown.fetch_add(wanted, Relaxed);
        self.metrics.buffer_taken(u64::from(wanted));
        true
    }
}

impl Drop for PoolPermit {
    fn drop(&mut self) {
        let grown = self.grown.load(Relaxed);
        self.permits
            .add_permits(usize::try_from(grown).unwrap_or(0));
        self.metrics
            .buffer_given_back(self.bytes.saturating_add(u64::from(grown)));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_permit_grows_only_by_what_is_free_and_gives_all_of_it_back() {
        let pool = BytePool::new(100, Arc::default());
        let permit = pool.take(60).await;

        assert!(!permit.try_grow(41));
        assert!(permit.try_grow(40));
        assert!(pool.take(1).now_or_never().is_none());

        drop(permit);
        assert!(pool.take(100).now_or_never().is_some());
    }

    use super::*;

    #[tokio::test]
    async fn one_byte_past_the_pool_waits_until_bytes_are_given_back() {
        let metrics = Arc::new(Metrics::default());
        let pool = BytePool::new(100, Arc::clone(&metrics));
        let most = pool.take(60).await;
        let rest = pool.take(40).await;

        let mut past = Box::pin(pool.take(1));
        let waits = past.as_mut().now_or_never().is_none();
        drop(rest);
        let taken = past.await;

        assert!(waits);
        assert_eq!(metrics.buffer_bytes(), 61);
        drop((most, taken));
        assert_eq!(metrics.buffer_bytes(), 0, "I23: back at zero when idle");
    }

    #[tokio::test]
    async fn a_request_above_the_whole_pool_takes_all_of_it() {
        let pool = BytePool::new(100, Arc::default());

        let large = pool.take(1000).await;

        assert!(pool.take(1).now_or_never().is_none());
        drop(large);
        assert!(pool.take(1).now_or_never().is_some());
    }
}
