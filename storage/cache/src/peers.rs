//! What a load asks of other processes before it asks the bucket.
//!
//! The implementation knows who they are (the fleet of `esker-fetch`); the engine knows when to
//! ask, pays for what comes, and goes to the bucket when nothing does. Bytes of a peer are as good
//! as the bucket's: whoever knows their checksum verifies them, and what is forgotten comes from
//! the bucket.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use esker_types::SegmentId;
use futures::future::BoxFuture;

use crate::Heat;
use crate::key::EntryKey;
use crate::limits::DISTRUSTED_BLOCKS_MAX;

/// One block of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The object.
    pub segment: SegmentId,
    /// Number of the block, of [`BLOCK_BYTES`](crate::limits::BLOCK_BYTES) each.
    pub block: u64,
}

/// Other processes that may have a block in memory. Every answer comes within a bounded time.
pub trait BlockPeers: Debug + Send + Sync + 'static {
    /// Whether another process of this zone is the one that loads the block for all.
    fn owner_is_elsewhere(&self, block: BlockId) -> bool;

    /// The block from its owner, which loads it if need be, with its own budget for `heat`. `None`,
    /// whatever the reason: the bucket is asked. Cancel safe.
    fn of_owner(&self, block: BlockId, heat: Heat) -> BoxFuture<'_, Option<Bytes>>;

    /// The block from the process that wrote the object, if it still has it in memory. `None`: the
    /// bucket is asked. Cancel safe.
    fn of_writer(&self, block: BlockId) -> BoxFuture<'_, Option<Bytes>>;
}

/// Blocks whose bytes were found wrong: the next load of each asks the bucket only. Past the limit
/// the oldest is forgotten: its reader tells again.
#[derive(Debug, Default)]
pub(crate) struct Distrusted {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    blocks: BTreeSet<EntryKey>,
    oldest_first: VecDeque<EntryKey>,
}

impl Distrusted {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, key: EntryKey) {
        let mut known = self.lock();
        if known.blocks.insert(key) {
            known.oldest_first.push_back(key);
        }
        // Those that were trusted again are still in the queue; they leave it in their turn.
        while known.oldest_first.len() > DISTRUSTED_BLOCKS_MAX {
            if let Some(oldest) = known.oldest_first.pop_front() {
                known.blocks.remove(&oldest);
            }
        }
    }

    pub(crate) fn has(&self, key: &EntryKey) -> bool {
        self.lock().blocks.contains(key)
    }

    /// It came from the bucket.
    pub(crate) fn remove(&self, key: &EntryKey) {
        self.lock().blocks.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use esker_types::{ChainIndex, SessionId};

    use super::*;
    use crate::key::Part;

    fn key(block: u64) -> EntryKey {
        EntryKey {
            segment: SegmentId {
                session: SessionId::from_bytes([1; 16]),
                index: ChainIndex::ZERO,
            },
            part: Part::Block(block),
        }
    }

    #[test]
    fn one_block_past_the_limit_makes_the_oldest_trusted_again() {
        let distrusted = Distrusted::default();
        let most = u64::try_from(DISTRUSTED_BLOCKS_MAX).unwrap();

        for block in 0..=most {
            distrusted.add(key(block));
        }
        distrusted.remove(&key(2));

        let has = |block| distrusted.has(&key(block));
        assert_eq!([0, 1, 2, most].map(has), [false, true, false, true]);
    }
}
