//! Probes and seals of session chains, some at a time: the sequencer's requests to the bucket.

use std::collections::VecDeque;

use esker_chain::{Chain, LookError, PlaceHolder, SealError};
use esker_sequencer::Probe;
use esker_types::{ChainIndex, Planted, SegmentId, SessionId, planted};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::limits::CHAIN_WORK_MAX;

/// What is to be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainTask {
    Probe(SegmentId),
    Seal(SegmentId),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum ChainDone {
    Probed(SegmentId, Probe),
    /// A seal is there now.
    Sealed(SessionId, ChainIndex),
    SealFailed(SessionId),
    /// The place holds what no chain can hold: stop and alarm.
    Damaged,
}

/// Tasks under way and waiting. The sequencer asks for one place per session at a time, and repeats
/// itself with backoff, so the queue is bounded by its sessions.
pub(super) struct ChainWork {
    chain: Chain,
    running: FuturesUnordered<BoxFuture<'static, ChainDone>>,
    waiting: VecDeque<ChainTask>,
}

impl ChainWork {
    pub(super) fn new(chain: Chain) -> Self {
        Self {
            chain,
            running: FuturesUnordered::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, task: ChainTask) {
        if !self.waiting.contains(&task) {
            self.waiting.push_back(task);
        }
    }

    /// Starts what there is room for.
    pub(super) fn start_waiting(&mut self) {
        while self.running.len() < CHAIN_WORK_MAX
            && let Some(task) = self.waiting.pop_front()
        {
            let chain = self.chain.clone();
            self.running.push(Box::pin(async move {
                match task {
                    ChainTask::Probe(segment) => probe(&chain, segment).await,
                    ChainTask::Seal(segment) => seal(&chain, segment).await,
                }
            }));
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// The next result; `None` when nothing runs. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<ChainDone> {
        self.running.next().await
    }
}

async fn probe(chain: &Chain, segment: SegmentId) -> ChainDone {
    match chain.look(segment).await {
        Ok(PlaceHolder::Missing) => ChainDone::Probed(segment, Probe::Missing),
        Ok(PlaceHolder::Segment(_)) => ChainDone::Probed(segment, Probe::Segment),
        Ok(PlaceHolder::Seal) => ChainDone::Probed(segment, Probe::Seal),
        Err(LookError::Store { source, .. }) => {
            tracing::warn!(%segment, error = %source, "probe of a segment failed");
            ChainDone::Probed(segment, Probe::Unknown)
        }
        Err(LookError::Foreign { source, .. }) => {
            tracing::error!(%segment, error = %source, "a chain holds a foreign object");
            ChainDone::Damaged
        }
    }
}

async fn seal(chain: &Chain, segment: SegmentId) -> ChainDone {
    if planted(Planted::MissingIsVoid)
        && matches!(chain.look(segment).await, Ok(PlaceHolder::Missing))
    {
        return ChainDone::Sealed(segment.session, segment.index);
    }
    match chain.seal(segment).await {
        Ok(PlaceHolder::Seal) => ChainDone::Sealed(segment.session, segment.index),
        Ok(PlaceHolder::Segment(_)) => ChainDone::Probed(segment, Probe::Segment),
        // A seal that was put is never missing; look again later.
        Ok(PlaceHolder::Missing) => ChainDone::SealFailed(segment.session),
        Err(SealError::Refused { source, .. } | SealError::Indeterminate { source, .. }) => {
            tracing::warn!(%segment, error = %source, "session could not be sealed");
            ChainDone::SealFailed(segment.session)
        }
        Err(SealError::Foreign { source, .. }) => {
            tracing::error!(%segment, error = %source, "a chain holds a foreign object");
            ChainDone::Damaged
        }
    }
}
