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
mod tests {
    use esker_env::SystemClock;
    use futures::FutureExt as _;

    use super::*;
    use crate::frame::FrameError;
    use crate::limits::STANDSTILL_MIN;
    use crate::stragglers::Watched;

    fn budget(request_bytes_max: usize) -> ConnectionBudget {
        let config = ListenerConfig {
            request_bytes_max,
            ..ListenerConfig::default()
        };
        let clock = Arc::new(SystemClock::new());
        Budget::new(&config, clock, Arc::default()).for_connection(&config)
    }

    #[tokio::test]
    async fn bytes_beyond_the_budget_wait_for_bytes_given_back() {
        let budget = budget(100);
        let first = budget.frame(60, Lane::Produced).await;

        assert!(budget.frame(60, Lane::Produced).now_or_never().is_none());
        drop(first);

        assert!(budget.frame(60, Lane::Produced).now_or_never().is_some());
    }

    #[tokio::test]
    async fn heartbeats_are_read_while_produced_bytes_wait() {
        let budget = budget(100);
        let heartbeat = Api::Heartbeat.key();
        let small = |bytes| Lane::of(heartbeat, bytes);
        let _produced = budget.frame(100, Lane::of(Api::Produce.key(), 100)).await;

        let beside = budget.frame(100, small(100)).now_or_never();
        let large = small(SMALL_FRAME_BYTES_MAX + 1);
        let rest = budget.frame(SMALL_FRAMES_BYTES_MAX, Lane::Small);
        let past = rest.now_or_never();

        assert!(beside.is_some() && past.is_none());
        assert_eq!(small(SMALL_FRAME_BYTES_MAX), Lane::Small);
        assert_eq!(large, Lane::Produced);
    }

    #[tokio::test]
    async fn a_request_above_a_whole_budget_takes_all_of_it() {
        let budget = budget(100);

        let large = budget.frame(1000, Lane::Produced).await;

        assert!(budget.frame(1, Lane::Produced).now_or_never().is_none());
        assert_eq!(large.metrics.request_bytes_in_flight(), 1000);
        drop(large);
        assert!(budget.frame(1, Lane::Produced).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_has_a_transfer_ended_that_stands_still() {
        let budget = budget(100);
        let held = budget.frame(100, Lane::Produced).await;
        let mut watched = Watched::new(Some(budget.stragglers()), Holds::Requests, 100);
        let straggler = async {
            let cut = watched.step(std::future::pending()).await;
            drop(held);
            cut
        };

        let clock = SystemClock::new();
        let begun = clock.now();
        let (cut, _) = tokio::join!(straggler, budget.frame(1, Lane::Produced));

        assert!(matches!(cut, Err(FrameError::Straggler)));
        let waited = clock.now().since(begun);
        assert!(waited >= STANDSTILL_MIN && waited <= STANDSTILL_MIN + RELIEF_INTERVAL);
    }

    #[tokio::test]
    async fn answers_as_large_as_the_last_ones_wait_and_small_ones_never() {
        let config = ListenerConfig {
            reply_bytes_max: 10 * ANSWER_BYTES_SMALL,
            ..ListenerConfig::default()
        };
        let clock = Arc::new(SystemClock::new());
        let shared = Budget::new(&config, clock, Arc::default());
        let budget = shared.for_connection(&config);
        let sizes = budget.answer_sizes();
        sizes.made(Api::Metadata, 10 * ANSWER_BYTES_SMALL);
        sizes.made(Api::ListGroups, ANSWER_BYTES_SMALL);
        let (mut first, mut second) = (
            budget.frame(1, Lane::Produced).await,
            budget.frame(1, Lane::Produced).await,
        );

        budget.answer(&mut first, Api::Metadata).await;
        let large = budget.answer(&mut second, Api::Metadata).now_or_never();
        let small = budget.answer(&mut second, Api::ListGroups).now_or_never();
        drop(first);
        let after = budget.answer(&mut second, Api::Metadata).now_or_never();

        assert!(large.is_none() && small.is_some() && after.is_some());
    }

    #[tokio::test]
    async fn a_reply_that_is_made_holds_its_own_bytes_and_nothing_of_the_request() {
        let config = ListenerConfig {
            request_bytes_max: 100,
            decoded_bytes_max: SMALL_FRAME_BYTES_MAX + 1,
            reply_bytes_max: 10 * ANSWER_BYTES_SMALL,
            ..ListenerConfig::default()
        };
        let clock = Arc::new(SystemClock::new());
        let budget = Budget::new(&config, clock, Arc::default()).for_connection(&config);
        let large = SMALL_FRAME_BYTES_MAX + 1;
        budget
            .answer_sizes()
            .made(Api::Metadata, 10 * ANSWER_BYTES_SMALL);
        let mut permit = budget.frame(100, Lane::Produced).await;
        budget.decoded(&mut permit, Api::Metadata, large).await;
        budget.answer(&mut permit, Api::Metadata).await;
        assert_eq!(permit.holds(Api::Metadata), Holds::Answers);

        permit.reply_made(Api::Metadata, 2 * ANSWER_BYTES_SMALL);

        let mut next = budget.frame(100, Lane::Produced).now_or_never().unwrap();
        let decoded = budget.decoded(&mut next, Api::Metadata, large);
        assert!(decoded.now_or_never().is_some());
        let answers = &budget.shared.answers;
        let rest = usize::try_from(answers.capacity).unwrap() - 2 * ANSWER_BYTES_SMALL;
        assert!(answers.take(rest + 1).now_or_never().is_none());
        assert!(answers.take(rest).now_or_never().is_some());
        permit.reply_made(Api::Metadata, ANSWER_BYTES_SMALL);
        assert_eq!(permit.holds(Api::Metadata), Holds::Replies);
    }

    #[tokio::test]
    async fn small_requests_are_decoded_while_large_ones_and_produce_wait() {
        let budget = budget(100);
        let all = ListenerConfig::default().decoded_bytes_max;
        let mut permit = budget.frame(1, Lane::Produced).await;
        budget.decoded(&mut permit, Api::Metadata, all).await;
        let mut next = budget.frame(1, Lane::Small).await;

        let heartbeat = budget.decoded(&mut next, Api::Heartbeat, 1).now_or_never();
        let produce = budget.decoded(&mut next, Api::Produce, 1).now_or_never();

        assert!(heartbeat.is_some() && produce.is_none());
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
