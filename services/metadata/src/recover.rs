//! Take-over, steps 2 to 5 of the commit protocol: read and seal the chains of every session that
//! is not fully in the index, rebuild the sequencer, make the ends durable. Only then serve (CP11).
//!
//! Cost: one GET per segment behind the checkpoint, read ahead in parallel, one PUT per session.

use std::time::Duration;

use esker_chain::{Chain, WalkEnd, WalkError};
use esker_env::RetryPolicy;
use esker_journal::{JournalEvents, JournalTask, JournalWriter, Leadership, OwnerId};
use esker_sequencer::{RecoverError, Sequencer, SequencerConfig, SessionToWalk, WalkedSession};
use esker_types::{ChainIndex, Planted, SequencerEpoch, planted};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::leader::{Leader, LeaderEnd, LeaderParts};
use crate::limits::CHAIN_WORK_MAX;
use crate::state::DurableState;

/// A chain that cannot be read now is tried again for about two minutes, then the process ends.
const RETRY: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_millis(200),
    delay_max: Duration::from_secs(10),
    tries_max: 16,
};

/// Why a won take-over cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A session's chain cannot be read or sealed.
    #[error("chain of a session could not be read")]
    Walk(#[source] WalkError),
    /// The chains do not fit the journal: damage, a person must look.
    #[error("chains do not fit the journal")]
    Chains(#[source] RecoverError),
}

/// A won take-over without its journal task, which runs beside it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) state: DurableState,
    pub(crate) epoch: SequencerEpoch,
    pub(crate) owner: OwnerId,
    writer: JournalWriter,
    events: JournalEvents,
}

impl Taken {
    pub(crate) fn split(
        leadership: Leadership<DurableState>,
        owner: OwnerId,
    ) -> (JournalTask, Self) {
        let taken = Self {
            state: leadership.state,
            epoch: leadership.epoch,
            owner,
            writer: leadership.writer,
            events: leadership.events,
        };
        (leadership.task, taken)
    }
}

/// What recovery ended with.
pub(crate) enum Recovery {
    Serving {
        leader: Box<Leader>,
        events: JournalEvents,
    },
    Ended(LeaderEnd),
}

async fn walk(
    parts: &LeaderParts,
    chain: &Chain,
    to_walk: SessionToWalk,
) -> Result<WalkedSession, RecoveryError> {
    let until = to_walk.end.map_or(WalkEnd::Open, WalkEnd::At);
    let from = match planted(Planted::RecoveryFromZero) {
        true => ChainIndex::ZERO,
        false => to_walk.from,
    };
    let mut backoff = RETRY.begin();
    loop {
        let error = match chain.walk(to_walk.session, from, until).await {
            Ok(walked) => {
                return Ok(WalkedSession {
                    session: to_walk.session,
                    segments: walked.segments,
                    end: walked.end,
                });
            }
            Err(error) => error,
        };
        let retry = !error.is_damage();
        let delay = backoff.next_delay(&parts.env.rng).filter(|_| retry);
        let Some(delay) = delay else {
            return Err(RecoveryError::Walk(error));
        };
        tracing::warn!(session = %to_walk.session, %error, "walk of a chain failed, again");
        parts.env.clock.sleep(delay).await;
    }
}

/// Recovers and returns a leader that may serve. The journal's task must be running.
pub(crate) async fn recover(
    mut parts: LeaderParts,
    taken: Taken,
) -> Result<Recovery, RecoveryError> {
    let started = parts.env.clock.now();
    let Taken {
        state,
        epoch,
        writer,
        mut events,
        ..
    } = taken;
    let chain = parts.chain.clone().sealing_as(epoch);
    let to_walk = state.log.sessions_to_walk();
    let sessions = to_walk.len();
    let mut to_walk = to_walk;
    let skipped = match planted(Planted::SessionSkipped) {
        true => to_walk.pop(),
        false => None,
    };
    let walks = futures::stream::iter(to_walk);
    let walks = walks.map(|session| walk(&parts, &chain, session));
    let mut walked: Vec<WalkedSession> =
        walks.buffer_unordered(CHAIN_WORK_MAX).try_collect().await?;
    walked.extend(skipped.map(|skipped| WalkedSession {
        session: skipped.session,
        segments: Vec::new(),
        end: skipped.end.unwrap_or(skipped.from),
    }));
    let segments: usize = walked.iter().map(|session| session.segments.len()).sum();
    let catalogue = &state.catalogue;
    let exists = |topic_partition| catalogue.has(topic_partition);
    let config = SequencerConfig {
        stall_deadline: parts.config.stall_deadline,
        ..SequencerConfig::default()
    };
    let recovered = Sequencer::recover(epoch, config, &state.log, &exists, walked)
        .map_err(RecoveryError::Chains)?;
    parts.chain = chain;
    let (env, metrics) = (parts.env.clone(), parts.metrics.clone());
    let mut leader = Box::new(Leader::new(
        parts,
        epoch,
        state,
        recovered.sequencer,
        writer,
    ));
    leader.begin(recovered.commands);
    while !leader.is_serving() {
        if let Some(end) = leader.recovering_step(&mut events).await {
            return Ok(Recovery::Ended(end));
        }
    }
    let took = env.clock.now().since(started);
    metrics.recovered(took, segments);
    tracing::info!(
        epoch = %epoch,
        sessions,
        segments,
        millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "sessions read and sealed"
    );
    Ok(Recovery::Serving { leader, events })
}
