//! Byte permits: how much memory requests may hold, over all connections and of one of them.
//!
//! Taken in one order only (pipeline slot, connection bytes, frame bytes, decoded bytes), and
//! whoever holds the last kind waits for none, so no circle of waiting can form. A request larger
//! than a whole budget takes all of it. When a budget is used up, sockets are simply not read.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::ListenerConfig;
use crate::limits::PIPELINE_MAX;
use crate::metrics::Metrics;

/// One budget in bytes.
#[derive(Clone, Debug)]
struct Bytes {
    permits: Arc<Semaphore>,
    capacity: u32,
}

impl Bytes {
    fn new(bytes_max: usize) -> Self {
        let capacity = u32::try_from(bytes_max).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(capacity).unwrap_or(usize::MAX);
        Self {
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            capacity,
        }
    }

    /// Waits in order of arrival. `None` only if the budget were closed, which nobody does.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity);
        Arc::clone(&self.permits)
            .acquire_many_owned(wanted)
            .await
            .ok()
    }
}

/// Budgets of a listener, shared by its connections.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    frames: Bytes,
    decoded: Bytes,
    metrics: Arc<Metrics>,
}

/// Budgets of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionBudget {
    shared: Budget,
    bytes: Bytes,
    pipeline: Arc<Semaphore>,
}

/// A place in the connection's pipeline; Produce takes one, every other request takes them all.
#[derive(Debug)]
pub(crate) struct Slot {
    held: Option<OwnedSemaphorePermit>,
}

/// What one request holds until its reply is written.
#[derive(Debug)]
pub(crate) struct RequestPermit {
    _connection: Option<OwnedSemaphorePermit>,
    _frame: Option<OwnedSemaphorePermit>,
    decoded: Option<OwnedSemaphorePermit>,
    bytes: usize,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub(crate) fn new(config: &ListenerConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            frames: Bytes::new(config.request_bytes_max),
            decoded: Bytes::new(config.decoded_bytes_max),
            metrics,
        }
    }

    pub(crate) fn for_connection(&self, config: &ListenerConfig) -> ConnectionBudget {
        let pipeline = usize::try_from(PIPELINE_MAX).unwrap_or(1);
        ConnectionBudget {
            shared: self.clone(),
            bytes: Bytes::new(config.connection_bytes_max),
            pipeline: Arc::new(Semaphore::new(pipeline)),
        }
    }
}

impl ConnectionBudget {
    /// Waits until one more request may be read. Cancel safe.
    pub(crate) async fn slot(&self) -> Slot {
        let pipeline = Arc::clone(&self.pipeline);
        Slot {
            held: pipeline.acquire_owned().await.ok(),
        }
    }

    /// Waits until `slot`'s request is the only one in flight on the connection.
    pub(crate) async fn alone(&self, slot: &mut Slot) {
        let others = PIPELINE_MAX.saturating_sub(1);
        let pipeline = Arc::clone(&self.pipeline);
        let rest = pipeline.acquire_many_owned(others).await.ok();
        if let (Some(held), Some(rest)) = (&mut slot.held, rest) {
            held.merge(rest);
        }
    }

    /// Waits until a frame of `bytes` may be read into memory. Cancel safe.
    pub(crate) async fn frame(&self, bytes: usize) -> RequestPermit {
        let connection = self.bytes.take(bytes).await;
        let frame = self.shared.frames.take(bytes).await;
        let metrics = Arc::clone(&self.shared.metrics);
        metrics.request_bytes_taken(bytes);
        RequestPermit {
            _connection: connection,
            _frame: frame,
            decoded: None,
            bytes,
            metrics,
        }
    }

    /// Waits until the request may be decoded, for which the guard estimated `bytes`.
    pub(crate) async fn decoded(&self, permit: &mut RequestPermit, bytes: usize) {
        permit.decoded = self.shared.decoded.take(bytes).await;
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.metrics.request_bytes_given_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn budget(request_bytes_max: usize) -> ConnectionBudget {
        let config = ListenerConfig {
            request_bytes_max,
            ..ListenerConfig::default()
        };
        Budget::new(&config, Arc::default()).for_connection(&config)
    }

    #[tokio::test]
    async fn bytes_beyond_the_budget_wait_for_bytes_given_back() {
        let budget = budget(100);
        let first = budget.frame(60).await;

        assert!(budget.frame(60).now_or_never().is_none());
        drop(first);

        assert!(budget.frame(60).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_request_above_a_whole_budget_takes_all_of_it() {
        let budget = budget(100);

        let large = budget.frame(1000).await;

        assert!(budget.frame(1).now_or_never().is_none());
        assert_eq!(large.metrics.request_bytes_in_flight(), 1000);
        drop(large);
        assert!(budget.frame(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_pipeline_takes_its_limit_and_not_one_more() {
        let budget = budget(100);
        let mut slots = Vec::new();
        for _ in 0..PIPELINE_MAX {
            slots.push(budget.slot().await);
        }

        assert!(budget.slot().now_or_never().is_none());
        let mut last = slots.pop().unwrap();
        assert!(budget.alone(&mut last).now_or_never().is_none());
        slots.clear();

        assert!(budget.alone(&mut last).now_or_never().is_some());
        assert!(
            budget.slot().now_or_never().is_none(),
            "nothing is read past it"
        );
    }
}
