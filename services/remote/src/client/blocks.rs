//! The client for blocks: one connection to each process that is asked, made when it is first.
//!
//! A question without an answer is never asked again here: whoever asked has the bucket. Bounds:
//! questions in flight, processes connected, bytes of an answer, the time that the asker gives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use esker_env::{Env, Shutdown, TaskGroup, timeout};
use esker_types::ClusterId;
use tokio::sync::{Semaphore, mpsc};

use super::connection::{CallNote, NoAnswer};
use super::peer::{Address, Dialler, Peer, PeerTask};
use crate::blocks::{BlockAnswer, BlockQuestion};
use crate::config::{RemoteConfig, is_address};
use crate::limits::{BLOCK_ANSWER_BYTES_MAX, BLOCK_PEERS_MAX, BLOCKS_ASKED_MAX};
use crate::metrics::{ClientMetrics, add_one};
use crate::proto::{self, refusal::Reason};
use crate::protocol::READ_BLOCK;
use crate::tls::ClientTls;

/// Settings of a client for blocks.
#[derive(Clone, Debug)]
pub struct BlocksConfig {
    /// The cluster; processes of another are not spoken to.
    pub cluster: ClusterId,
    /// Certificates; `None` for plain text.
    pub tls: Option<ClientTls>,
    /// Questions in flight, see [`BLOCKS_ASKED_MAX`].
    pub asks_max: usize,
    /// Processes connected, see [`BLOCK_PEERS_MAX`].
    pub peers_max: usize,
}

impl BlocksConfig {
    /// Defaults for `cluster`.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            tls: None,
            asks_max: BLOCKS_ASKED_MAX,
            peers_max: BLOCK_PEERS_MAX,
        }
    }
}

/// Why a process has not given a block. It may be had elsewhere, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It is not reached, or rests after a dial that failed. Nothing was sent.
    #[error("no connection to the other process")]
    NotConnected,
    /// It has as many questions in hand as it takes, or is about to end; or this process asks as
    /// many as it may.
    #[error("other process takes no further question now")]
    Busy,
    /// No answer in time.
    #[error("other process did not answer in time")]
    TimedOut,
    /// The connection ended, or an answer too long began to come.
    #[error("answer of the other process was lost")]
    Lost,
    /// It does not know blocks, or those of our size; or its answer makes no sense.
    #[error("other process speaks of other blocks")]
    Nonsense,
}

/// Handle of the blocks in other processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RemoteBlocks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    env: Env,
    dialler: Arc<Dialler>,
    known: Mutex<Known>,
    joining: mpsc::Sender<PeerTask>,
    asks: Semaphore,
    peers_max: usize,
    metrics: Arc<ClientMetrics>,
}

/// Who is connected, and when each was asked last, counted in questions.
#[derive(Debug, Default)]
struct Known {
    peers: BTreeMap<Address, (u64, Peer)>,
    asks: u64,
}

/// What must run for the handle to get anywhere.
#[derive(Debug)]
pub struct RemoteBlocksTask {
    joining: mpsc::Receiver<PeerTask>,
}

impl RemoteBlocks {
    /// A handle and its task; nothing is dialled before somebody asks.
    #[must_use]
    pub fn start(config: BlocksConfig, env: Env) -> (Self, RemoteBlocksTask) {
        let metrics: Arc<ClientMetrics> = Arc::default();
        let dialler = Dialler {
            config: RemoteConfig {
                tls: config.tls,
                message_bytes_max: BLOCK_ANSWER_BYTES_MAX,
                // Node ids choose defaults of topics, of which nothing is asked here.
                ..RemoteConfig::new(Vec::new(), config.cluster, 0)
            },
            env: env.clone(),
            metrics: Arc::clone(&metrics),
        };
        let (sender, joining) = mpsc::channel(config.peers_max.max(1));
        let inner = Inner {
            env,
            dialler: Arc::new(dialler),
            known: Mutex::default(),
            joining: sender,
            asks: Semaphore::new(config.asks_max),
            peers_max: config.peers_max,
            metrics,
        };
        let blocks = Self {
            inner: Arc::new(inner),
        };
        (blocks, RemoteBlocksTask { joining })
    }

    /// Asks the process at `address`, `host:port`, for a block.
    ///
    /// # Errors
    /// [`BlockError`]: why there is no answer within `limit`.
    ///
    /// # Cancel safety
    /// Dropped, the other process drops what it does for it.
    pub async fn read(
        &self,
        address: &str,
        question: BlockQuestion,
        limit: Duration,
    ) -> Result<BlockAnswer, BlockError> {
        let inner = &self.inner;
        let _permit = inner.asks.try_acquire().map_err(|_| BlockError::Busy)?;
        let peer = inner.peer(address).ok_or(BlockError::NotConnected)?;
        add_one(&inner.metrics.calls);
        let asking = inner.ask(&peer, question, limit);
        let answer = timeout(inner.env.clock.as_ref(), limit, asking).await;
        answer.unwrap_or(Err(BlockError::TimedOut))
    }

    /// Processes that are connected, or were asked lately.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.inner.lock().peers.len()
    }

    /// Its figures.
    #[must_use]
    pub fn metrics(&self) -> Arc<ClientMetrics> {
        Arc::clone(&self.inner.metrics)
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process at `address`. Past the limit whoever was asked longest ago is let go.
    fn peer(&self, address: &str) -> Option<Peer> {
        if !is_address(address) {
            return None;
        }
        let mut known = self.lock();
        known.asks += 1;
        let now = known.asks;
        if let Some((asked, peer)) = known.peers.get_mut(address) {
            *asked = now;
            return Some(peer.clone());
        }
        let (peer, task) = Peer::new(Arc::from(address), Arc::clone(&self.dialler));
        self.joining.try_send(task).ok()?;
        let key = Arc::clone(&peer.address);
        known.peers.insert(key, (now, peer.clone()));
        while known.peers.len() > self.peers_max {
            let oldest = known.peers.iter().min_by_key(|(_, (asked, _))| *asked);
            let Some(oldest) = oldest.map(|(address, _)| Arc::clone(address)) else {
                break;
            };
            known.peers.remove(&oldest);
        }
        Some(peer)
    }

    async fn ask(
        &self,
        peer: &Peer,
        question: BlockQuestion,
        limit: Duration,
    ) -> Result<BlockAnswer, BlockError> {
        let note = CallNote::new(READ_BLOCK, limit);
        // Once more when the connection had ended and not a byte left.
        for _ in 0..2 {
            let connection = peer.connection(&self.env).await;
            let connection = connection.map_err(|_| BlockError::NotConnected)?;
            let asked = proto::BlockRequest::from(question);
            let reply: Result<proto::BlockReply, _> = connection.unary(&note, asked).await;
            match reply {
                Ok(reply) => {
                    let answer = BlockAnswer::try_from(reply);
                    return answer.map_err(|_| BlockError::Nonsense);
                }
                Err(NoAnswer::NotSent) => {}
                Err(NoAnswer::Refused(reason)) => return Err(refused(&reason)),
                Err(NoAnswer::Lost(_)) => return Err(BlockError::Lost),
            }
        }
        Err(BlockError::NotConnected)
    }
}

fn refused(reason: &Reason) -> BlockError {
    match reason {
        Reason::Overloaded(_) | Reason::Stopping(_) => BlockError::Busy,
        Reason::TooLarge(_)
        | Reason::Protocols(_)
        | Reason::OtherCluster(_)
        | Reason::Malformed(_) => BlockError::Nonsense,
    }
}

impl RemoteBlocksTask {
    /// Runs until the stop is requested; then connections are closed, and questions are lost.
    pub async fn run(self, shutdown: Shutdown) {
        super::run_peers(self.joining, TaskGroup::new("clients for blocks"), shutdown).await;
    }
}
