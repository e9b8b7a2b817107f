//! How much readers that catch up may hold of the cache's memory while they read, all together.
//!
//! A read holds every block that it has until the last one has come. Many that each have a part and
//! wait for the rest would wait for each other until they time out; so each takes the right to all
//! of its blocks before it asks for the first, and takes less when others want some too.

use std::sync::Arc;

use esker_cache::limits::BLOCK_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::COLD_SHARE_BLOCKS;

/// The right to blocks, of all cold reads of the process.
#[derive(Clone, Debug)]
pub(crate) struct ColdReads {
    free: Arc<Semaphore>,
    capacity: u32,
}

/// Blocks that one read may have in hand.
#[derive(Debug)]
pub(crate) struct ColdGrant {
    pub(crate) blocks: u32,
    _held: Option<OwnedSemaphorePermit>,
}

impl ColdReads {
    /// Of `bytes` in all, one block at least.
    pub(crate) fn new(bytes: u32) -> Self {
        let capacity = (bytes / BLOCK_BYTES).max(1);
        let permits = usize::try_from(capacity).unwrap_or(1);
        Self {
            free: Arc::new(Semaphore::new(permits)),
            capacity,
        }
    }

    /// All that is wanted if it is free, else a share in turn. Cancel safe.
    pub(crate) async fn grant(&self, wanted: u32) -> ColdGrant {
        let wanted = wanted.min(self.capacity);
        if wanted == 0 {
            return ColdGrant {
                blocks: 0,
                _held: None,
            };
        }
        if let Ok(held) = Arc::clone(&self.free).try_acquire_many_owned(wanted) {
            return ColdGrant {
                blocks: wanted,
                _held: Some(held),
            };
        }
        let share = wanted.min(COLD_SHARE_BLOCKS);
        let held = Arc::clone(&self.free).acquire_many_owned(share).await;
        ColdGrant {
            blocks: share,
            // The semaphore is never closed.
            _held: held.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_is_alone_gets_all_and_who_comes_later_a_share_in_turn() {
        let reads = ColdReads::new(10 * BLOCK_BYTES);
        let alone = reads.grant(10).await;

        let mut second = Box::pin(reads.grant(10));
        let mut third = Box::pin(reads.grant(1));
        let early = ((&mut second).now_or_never(), (&mut third).now_or_never());
        drop(alone);

        assert!(early.0.is_none() && early.1.is_none());
        assert_eq!(second.await.blocks, COLD_SHARE_BLOCKS);
        assert_eq!(third.await.blocks, 1);
    }

    #[tokio::test]
    async fn nobody_gets_more_than_there_is_and_nothing_waits_for_nothing() {
        let reads = ColdReads::new(0);
        let all = reads.grant(u32::MAX).await;

        assert_eq!(all.blocks, 1, "one block at least");
        assert_eq!(reads.grant(0).now_or_never().unwrap().blocks, 0);
    }

    #[tokio::test]
    async fn a_share_is_no_more_than_its_limit_even_one_past_it() {
        let reads = ColdReads::new(8 * COLD_SHARE_BLOCKS * BLOCK_BYTES);
        let most = reads.grant(7 * COLD_SHARE_BLOCKS + 1).await;

        let share = reads.grant(COLD_SHARE_BLOCKS).now_or_never();
        assert!(share.is_none(), "one block is missing");
        drop(most);
        assert_eq!(
            reads.grant(COLD_SHARE_BLOCKS + 1).await.blocks,
            COLD_SHARE_BLOCKS + 1
        );
    }
}
