//! How much readers that catch up may hold of the cache's memory while they read, all together.
//!
//! A read holds every block that it has until the last one has come. Many that each have a part and
//! wait for the rest would wait for each other until they time out; so each takes the right to all
//! of its blocks before it asks for the first, and takes less when others want some too.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::COLD_SHARE_BYTES;

/// Bytes of one permit.
const UNIT: u64 = 1024;

/// The right to bytes of blocks, of all cold reads of the process.
#[derive(Clone, Debug)]
pub(crate) struct ColdReads {
    free: Arc<Semaphore>,
    units: u32,
}

/// What one read may have in hand.
#[derive(Debug)]
pub(crate) struct ColdGrant {
    pub(crate) bytes: u64,
    _held: Option<OwnedSemaphorePermit>,
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl ColdReads {
    /// Of `bytes` in all.
    pub(crate) fn new(bytes: u32) -> Self {
        let units = units(u64::from(bytes)).max(1);
        let permits = usize::try_from(units).unwrap_or(1);
        Self {
            free: Arc::new(Semaphore::new(permits)),
            units,
        }
    }

    /// All that is wanted if it is free, else a share in turn. Cancel safe.
    pub(crate) async fn grant(&self, wanted: u64) -> ColdGrant {
        let wanted = units(wanted).min(self.units);
        let granted = |units: u32, held| ColdGrant {
            bytes: u64::from(units) * UNIT,
            _held: held,
        };
        if wanted == 0 {
            return granted(0, None);
        }
        if let Ok(held) = Arc::clone(&self.free).try_acquire_many_owned(wanted) {
            return granted(wanted, Some(held));
        }
        let share = wanted.min(units(COLD_SHARE_BYTES));
        let held = Arc::clone(&self.free).acquire_many_owned(share).await;
        // The semaphore is never closed.
        granted(share, held.ok())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const ALL: u32 = 10 * 1024 * 1024;

    #[tokio::test]
    async fn who_is_alone_gets_all_and_who_comes_later_a_share_in_turn() {
        let reads = ColdReads::new(ALL);
        let alone = reads.grant(u64::from(ALL)).await;

        let mut second = Box::pin(reads.grant(u64::from(ALL)));
        let mut third = Box::pin(reads.grant(1));
        let early = ((&mut second).now_or_never(), (&mut third).now_or_never());
        drop(alone);

        assert!(early.0.is_none() && early.1.is_none());
        assert_eq!(second.await.bytes, COLD_SHARE_BYTES);
        assert_eq!(third.await.bytes, UNIT);
    }

    #[tokio::test]
    async fn nobody_gets_more_than_there_is_and_nothing_waits_for_nothing() {
        let reads = ColdReads::new(0);
        let all = reads.grant(u64::MAX).await;

        assert_eq!(all.bytes, UNIT);
        assert_eq!(reads.grant(0).now_or_never().unwrap().bytes, 0);
    }

    #[tokio::test]
    async fn a_share_is_no_more_than_its_limit_even_for_one_byte_past_it() {
        let reads = ColdReads::new(ALL);
        let most = reads.grant(u64::from(ALL) - 4 * 1024 * 1024).await;

        let share = reads.grant(COLD_SHARE_BYTES + 1).now_or_never().unwrap();

        assert_eq!(share.bytes, COLD_SHARE_BYTES, "all that was left");
        drop(most);
    }
}
