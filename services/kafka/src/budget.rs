//! Byte permits: how much memory requests may hold, over all connections and of one of them.
//!
//! Taken in one order only (pipeline slot, connection bytes, frame bytes, decoded bytes, answer
//! bytes), and whoever holds the last kind waits for none, so no circle of waiting can form. A
//! request larger than a whole budget takes all of it. When a budget is used up, sockets are simply
//! not read; who waits for it has transfers ended that stand still meanwhile.

use std::pin::pin;
use std::sync::Arc;

use esker_env::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer_sizes::AnswerSizes;
use crate::config::ListenerConfig;
use crate::limits::{
    ANSWER_BYTES_SMALL, PIPELINE_MAX, RELIEF_INTERVAL, SMALL_FRAME_BYTES_MAX,
    SMALL_FRAMES_BYTES_MAX,
};
use crate::metrics::Metrics;
use crate::stragglers::{Holds, Stragglers};
use crate::versions::Api;

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
        let wanted = self.wanted(bytes);
        let permits = Arc::clone(&self.permits);
        permits.acquire_many_owned(wanted).await.ok()
    }

    /// As [`Self::take`]; while it waits, transfers that hold such memory and stand still are
    /// ended one after the other.
    async fn take_relieved(
        &self,
        bytes: usize,
        stragglers: &Stragglers,
        holds: Holds,
    ) -> Option<OwnedSemaphorePermit> {
        let wanted = self.wanted(bytes);
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_many_owned(wanted) {
            return Some(permit);
        }
        let mut acquire = pin!(Arc::clone(&self.permits).acquire_many_owned(wanted));
        loop {
            tokio::select! {
                biased;
                permit = &mut acquire => return permit.ok(),
                () = stragglers.clock().sleep(RELIEF_INTERVAL) => stragglers.relieve(holds),
            }
        }
    }

    fn wanted(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity)
    }
}

/// From which budget a frame's bytes are taken. What is neither Produce nor large has one of its
/// own: heartbeats and fetches go on while produced bytes wait for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Produce, and whatever is large.
    Produced,
    /// The rest.
    Small,
}

impl Lane {
    /// What a frame of the lane holds while it is read.
    pub(crate) fn holds(self) -> Holds {
        match self {
            Self::Produced => Holds::Requests,
            Self::Small => Holds::SmallRequests,
        }
    }

    /// The lane of a frame, by its API key and bytes.
    pub(crate) fn of(key: i16, bytes: usize) -> Self {
        if key == Api::Produce.key() || bytes > SMALL_FRAME_BYTES_MAX {
            Self::Produced
        } else {
            Self::Small
        }
    }
}

/// Budgets of a listener, shared by its connections.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    frames: Bytes,
    small_frames: Bytes,
    decoded: Bytes,
    small_decoded: Bytes,
    answers: Bytes,
    answer_sizes: Arc<AnswerSizes>,
    stragglers: Arc<Stragglers>,
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
    connection: Option<OwnedSemaphorePermit>,
    frame: Option<OwnedSemaphorePermit>,
    decoded: Option<OwnedSemaphorePermit>,
    answer: Option<OwnedSemaphorePermit>,
    bytes: usize,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub(crate) fn new(
        config: &ListenerConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            frames: Bytes::new(config.request_bytes_max),
            small_frames: Bytes::new(SMALL_FRAMES_BYTES_MAX),
            decoded: Bytes::new(config.decoded_bytes_max),
            small_decoded: Bytes::new(SMALL_FRAMES_BYTES_MAX),
            answers: Bytes::new(config.reply_bytes_max),
            answer_sizes: Arc::default(),
            stragglers: Stragglers::new(clock, config.reply_bytes_max),
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

    /// Transfers of the listener that wait for their peers.
    pub(crate) fn stragglers(&self) -> &Arc<Stragglers> {
        &self.shared.stragglers
    }

    /// How large the answers of the listener are.
    pub(crate) fn answer_sizes(&self) -> &Arc<AnswerSizes> {
        &self.shared.answer_sizes
    }

    /// Waits until a frame of `bytes` may be read into memory. Cancel safe.
    pub(crate) async fn frame(&self, bytes: usize, lane: Lane) -> RequestPermit {
        let connection = self.bytes.take(bytes).await;
        let frames = match lane {
            Lane::Produced => &self.shared.frames,
            Lane::Small => &self.shared.small_frames,
        };
        let stragglers = &self.shared.stragglers;
        let frame = frames.take_relieved(bytes, stragglers, lane.holds());
        let frame = frame.await;
        let metrics = Arc::clone(&self.shared.metrics);
        metrics.request_bytes_taken(bytes);
        RequestPermit {
            connection,
            frame,
            decoded: None,
            answer: None,
            bytes,
            metrics,
        }
    }

    /// Waits until a request of `api` may be decoded, for which the guard estimated `bytes`.
    pub(crate) async fn decoded(&self, permit: &mut RequestPermit, api: Api, bytes: usize) {
        let decoded = match Lane::of(api.key(), bytes) {
            Lane::Produced => &self.shared.decoded,
            Lane::Small => &self.shared.small_decoded,
        };
        permit.decoded = decoded.take(bytes).await;
    }

    /// Waits until an answer to `api` may be made: as large as its last ones were, which is nothing
    /// for those that were small.
    pub(crate) async fn answer(&self, permit: &mut RequestPermit, api: Api) {
        let expected = self.shared.answer_sizes.expected(api);
        if expected > 0 {
            let answers = &self.shared.answers;
            let stragglers = &self.shared.stragglers;
            let answer = answers.take_relieved(expected, stragglers, Holds::Answers);
            permit.answer = answer.await;
        }
    }
}

impl RequestPermit {
    /// The reply of `bytes` is made, and the request gone: what is held from here on is the reply.
    /// Produce keeps its places: the requests behind it are on their way to the log already.
    pub(crate) fn reply_made(&mut self, api: Api, bytes: usize) {
        if api != Api::Produce {
            self.connection = None;
            self.frame = None;
            self.decoded = None;
        }
        if let Some(answer) = &mut self.answer {
            let surplus = answer.num_permits().saturating_sub(bytes);
            drop(answer.split(surplus));
        }
        if bytes <= ANSWER_BYTES_SMALL {
            self.answer = None;
        }
    }

    /// What its reply holds while it is written.
    pub(crate) fn holds(&self, api: Api) -> Holds {
        match (api, &self.answer) {
            (Api::Produce, _) => Holds::Requests,
            (_, Some(_)) => Holds::Answers,
            (_, None) => Holds::Replies,
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.metrics.request_bytes_given_back(self.bytes);
    }
}

#[cfg(test)]
mod tests;
