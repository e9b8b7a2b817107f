//! What this process gives to others: its cached blocks, and those that they say it owns.
//!
//! A question is served as it is put, whatever this process knows of owners: so nothing is asked on
//! and on. Blocks on their way to others have a share of the cache's memory; questions for cached
//! bytes load nothing and wait for nothing, so that no two processes wait for each other.

use std::sync::Arc;

use bytes::Bytes;
use esker_cache::limits::BLOCK_BYTES;
use esker_cache::{BlockId, PeerQuestion, SegmentCache};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Fleet;
use super::metrics::Counters;

/// The answer of a process that took a question up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAnswer {
    /// All of the block; the object's last one may be short.
    Block(Bytes),
    /// It is not in memory, and was not to be loaded.
    NotHere,
    /// It could not be loaded.
    Failed,
}

/// Answers other processes.
#[derive(Clone, Debug)]
pub struct BlockDesk {
    cache: Arc<dyn SegmentCache>,
    loading: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// A loaded block on its way to another process.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BlockDesk {
    /// Of `cache`; at most `loading_bytes` of blocks are loaded for others, or on their way to
    /// them, at once: one block at least.
    #[must_use]
    pub fn new(cache: Arc<dyn SegmentCache>, loading_bytes: u64, fleet: &Fleet) -> Self {
        let blocks = (loading_bytes / u64::from(BLOCK_BYTES)).max(1);
        let blocks = usize::try_from(blocks).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            cache,
            loading: Arc::new(Semaphore::new(blocks)),
            counters: Arc::clone(&fleet.counters),
        }
    }

    /// Answers. Questions that may load wait in turn; who asks bounds how many there are.
    ///
    /// # Cancel safety
    /// Dropped, a load is left to others that wait for it.
    pub async fn answer(&self, block: BlockId, question: PeerQuestion) -> PeerAnswer {
        let permit = match question {
            PeerQuestion::Cached => None,
            // The semaphore is never closed.
            PeerQuestion::Load(_) => Arc::clone(&self.loading).acquire_owned().await.ok(),
        };
        let read = self.cache.read_for_peer(block, question).await;
        let answer = match (read, permit) {
            (Ok(Some(bytes)), None) => PeerAnswer::Block(bytes),
            (Ok(Some(bytes)), Some(permit)) => PeerAnswer::Block(Bytes::from_owner(Held {
                bytes,
                _permit: permit,
            })),
            (Ok(None), _) => PeerAnswer::NotHere,
            (Err(error), _) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(
                    error,
                    ?block,
                    "a block for another process cannot be loaded"
                );
                PeerAnswer::Failed
            }
        };
        self.counters.served(&answer);
        answer
    }
}
