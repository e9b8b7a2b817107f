//! The one budget of memory: every cached, loading or still held byte has a permit of it.
//!
//! A permit lives as long as the bytes it pays for: in the cache, in a reply that a slow client has
//! not taken yet, or both. So the sum is bounded by construction (I23), not by watching it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may be alive at once.
#[derive(Debug)]
pub(crate) struct Memory {
    permits: Arc<Semaphore>,
    total_bytes: u64,
}

/// The right to hold so many bytes.
#[derive(Debug)]
pub(crate) struct Allowance {
    permit: OwnedSemaphorePermit,
}

/// Bytes with the allowance they live on; freed together.
struct Paid {
    bytes: Bytes,
    _allowance: Allowance,
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Memory {
    pub(crate) fn new(total_bytes: u64) -> Self {
        let most = u64::try_from(Semaphore::MAX_PERMITS).unwrap_or(u64::MAX);
        let total_bytes = total_bytes.min(most);
        let permits = usize::try_from(total_bytes).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            total_bytes,
        }
    }

    /// Waits until `bytes` are free. Cancel safe.
    pub(crate) async fn take(&self, bytes: u32) -> Option<Allowance> {
        let permit = Arc::clone(&self.permits).acquire_many_owned(bytes).await;
        // The semaphore is never closed.
        permit.ok().map(|permit| Allowance { permit })
    }

    /// `bytes` if they are free now.
    pub(crate) fn take_now(&self, bytes: u32) -> Option<Allowance> {
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(bytes);
        permit.ok().map(|permit| Allowance { permit })
    }

    /// Bytes in use: cached, loading or held.
    pub(crate) fn used_bytes(&self) -> u64 {
        let free = u64::try_from(self.permits.available_permits()).unwrap_or(u64::MAX);
        self.total_bytes.saturating_sub(free)
    }
}

impl Allowance {
    /// Binds the bytes to the allowance; what they do not need is given back.
    pub(crate) fn pay_for(mut self, bytes: Bytes) -> Bytes {
        let spare = self.permit.num_permits().checked_sub(bytes.len());
        assert!(spare.is_some(), "an allowance covers what it pays for");
        drop(spare.and_then(|spare| self.permit.split(spare)));
        Bytes::from_owner(Paid {
            bytes,
            _allowance: self,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_paid_for_until_their_last_slice_is_dropped() {
        let memory = Memory::new(10);
        let allowance = memory.take_now(8).unwrap();
        assert!(memory.take_now(3).is_none(), "one past what is left");

        let bytes = allowance.pay_for(Bytes::from_static(b"12345"));
        let slice = bytes.slice(1..2);
        assert_eq!(memory.used_bytes(), 5, "the spare three came back");
        drop(bytes);

        assert_eq!(memory.used_bytes(), 5);
        assert_eq!(slice, Bytes::from_static(b"2"));
        drop(slice);
        assert_eq!(memory.used_bytes(), 0);
    }
}
