//! Blocks by way of the other processes, before the bucket is asked: the cache's [`BlockPeers`].
//!
//! A block's owner in this zone loads it for all others there; who wrote an object may have it yet.
//! Nothing rests on either: no answer in time, or none, and the bucket is asked. A process that did
//! not answer rests a while, then one question tries it again. What this process gives to others is
//! in `desk.rs`. Source: docs/adr/0004.

mod desk;
mod metrics;
mod rests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_cache::{BlockId, BlockPeers, Heat, PeerQuestion};
use esker_env::{Env, timeout};
use esker_metadata_api::Endpoint;
use esker_types::SessionId;
use futures::future::{BoxFuture, FutureExt as _};

use crate::limits::{OWNER_WAIT, WRITER_WAIT};

pub use desk::{BlockDesk, PeerAnswer};
pub use metrics::{AskedStats, FleetStats};

use metrics::{Counters, Whom};
use rests::Rests;

/// Knows who has blocks.
pub trait BlockPlaces: Debug + Send + Sync + 'static {
    /// Where the process of this zone is reached that owns the block; `None`: it is this one, or
    /// there is none.
    fn owner(&self, block: BlockId) -> Option<Endpoint>;

    /// Where the process is reached that writes the session; `None`: it is this one, or not known.
    fn writer(&self, session: SessionId) -> Option<Endpoint>;
}

/// How other processes are asked.
pub trait BlockTransport: Debug + Send + Sync + 'static {
    /// Asks the process at `at` for a block. An answer after `limit` is not waited for.
    fn ask<'a>(
        &'a self,
        at: &'a Endpoint,
        block: BlockId,
        question: PeerQuestion,
        limit: Duration,
    ) -> BoxFuture<'a, Result<PeerAnswer, NoPeerAnswer>>;
}

/// Why a process has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPeerAnswer {
    /// It has too much to do, or is about to end.
    Busy,
    /// It is not reached, was silent, or talks nonsense.
    Lost,
}

/// The other processes, as the cache asks them.
#[derive(Debug)]
pub struct Fleet {
    places: Arc<dyn BlockPlaces>,
    transport: Arc<dyn BlockTransport>,
    rests: Rests,
    env: Env,
    counters: Arc<Counters>,
}

impl Fleet {
    /// Asks nobody before the cache does.
    #[must_use]
    pub fn new(
        places: Arc<dyn BlockPlaces>,
        transport: Arc<dyn BlockTransport>,
        env: Env,
    ) -> Arc<Self> {
        Arc::new(Self {
            places,
            transport,
            rests: Rests::default(),
            env,
            counters: Arc::default(),
        })
    }

    /// Counters of this moment.
    #[must_use]
    pub fn stats(&self) -> FleetStats {
        self.counters.snapshot()
    }

    async fn ask(
        &self,
        (whom, at): (Whom, Endpoint),
        block: BlockId,
        question: PeerQuestion,
        limit: Duration,
    ) -> Option<Bytes> {
        let clock = self.env.clock.as_ref();
        if !self.rests.may_ask(clock.now(), &at, limit) {
            self.counters.rested(whom);
            return None;
        }
        let asking = self.transport.ask(&at, block, question, limit);
        let answer = timeout(clock, limit, asking).await;
        let answer = answer.unwrap_or(Err(NoPeerAnswer::Lost));
        self.counters.asked(whom, &answer);
        match answer {
            Err(NoPeerAnswer::Lost) => {
                self.rests.was_lost(clock.now(), at, &self.env.rng);
                None
            }
            Ok(PeerAnswer::Block(bytes)) => {
                self.rests.answered(&at);
                Some(bytes)
            }
            Ok(PeerAnswer::NotHere | PeerAnswer::Failed) | Err(NoPeerAnswer::Busy) => {
                self.rests.answered(&at);
                None
            }
        }
    }
}

impl BlockPeers for Fleet {
    fn owner_is_elsewhere(&self, block: BlockId) -> bool {
        self.places.owner(block).is_some()
    }

    fn of_owner(&self, block: BlockId, heat: Heat) -> BoxFuture<'_, Option<Bytes>> {
        // The table may have changed: then it is loaded here.
        match self.places.owner(block) {
            Some(at) => {
                let question = PeerQuestion::Load(heat);
                self.ask((Whom::Owner, at), block, question, OWNER_WAIT)
                    .boxed()
            }
            None => std::future::ready(None).boxed(),
        }
    }

    fn of_writer(&self, block: BlockId) -> BoxFuture<'_, Option<Bytes>> {
        match self.places.writer(block.segment.session) {
            Some(at) => {
                let question = PeerQuestion::Cached;
                self.ask((Whom::Writer, at), block, question, WRITER_WAIT)
                    .boxed()
            }
            None => std::future::ready(None).boxed(),
        }
    }
}

#[cfg(test)]
mod tests;
