//! How much readers that catch up may hold of the cache's memory while they read, all together.
//!
//! A read holds every block that it has until the last one has come. Many that each have a part and
//! wait for the rest would wait for each other until they time out; so each takes the right to all
//! of its blocks before it asks for the first, and takes less when others want some too.
//!
//! Who waits is served oldest records first: readers of one log so keep together, and one load
//! serves all. Whoever is ahead loads, and waits for those behind, who find it loaded. One turn of
//! [`COLD_TURNS`](crate::limits::COLD_TURNS) is who waited longest's: ages are clients' words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker_types::Timestamp;
use tokio::sync::oneshot;

use crate::limits::{COLD_SHARE_BYTES, COLD_TURNS};

/// The right to bytes of blocks, of all cold reads of the process.
#[derive(Clone, Debug)]
pub(crate) struct ColdReads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes: u64,
    queue: Mutex<Queue>,
}

/// What is free, and who waits. While somebody waits, nothing is given to who comes later.
#[derive(Debug)]
struct Queue {
    free: u64,
    next: u64,
    turns: u64,
    by_arrival: BTreeMap<u64, Waiting>,
    by_age: BTreeSet<(Timestamp, u64)>,
}

#[derive(Debug)]
struct Waiting {
    at: Timestamp,
    bytes: u64,
    told: oneshot::Sender<ColdGrant>,
}

/// What one read may have in hand.
#[derive(Debug)]
pub(crate) struct ColdGrant {
    pub(crate) bytes: u64,
    /// To give it back to.
    shared: Option<Arc<Shared>>,
}

impl Drop for ColdGrant {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.give_back(self.bytes);
        }
    }
}

impl Queue {
    /// Whose turn it is.
    fn first(&self) -> Option<u64> {
        if (self.turns + 1).is_multiple_of(COLD_TURNS) {
            return self.by_arrival.keys().next().copied();
        }
        self.by_age.first().map(|(_, number)| *number)
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.by_arrival.remove(&number)?;
        self.by_age.remove(&(waiting.at, number));
        Some(waiting)
    }

    /// Takes out whoever can be served now.
    fn served(&mut self) -> Vec<Waiting> {
        let mut served = Vec::new();
        while let Some(number) = self.first() {
            let wants = self.by_arrival.get(&number).map_or(0, |next| next.bytes);
            if wants > self.free {
                break;
            }
            self.free -= wants;
            self.turns += 1;
            served.extend(self.take(number));
        }
        served
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(self: &Arc<Self>, bytes: u64) {
        let served = {
            let mut queue = self.lock();
            queue.free += bytes;
            queue.served()
        };
        for waiting in served {
            let grant = self.grant(waiting.bytes);
            // Who is gone gives it back by dropping it.
            let _ = waiting.told.send(grant);
        }
    }

    fn grant(self: &Arc<Self>, bytes: u64) -> ColdGrant {
        ColdGrant {
            bytes,
            shared: Some(Arc::clone(self)),
        }
    }
}

/// A place in the queue, given up when its owner is dropped.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.shared.lock().take(self.number);
        if left.is_some() {
            // It may have been all that held up those behind it.
            self.shared.give_back(0);
        }
    }
}

impl ColdReads {
    /// Of `bytes` in all.
    pub(crate) fn new(bytes: u32) -> Self {
        let bytes = u64::from(bytes).max(1);
        let queue = Queue {
            free: bytes,
            next: 0,
            turns: 0,
            by_arrival: BTreeMap::new(),
            by_age: BTreeSet::new(),
        };
        let shared = Shared {
            bytes,
            queue: Mutex::new(queue),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// All that is wanted if it is free and nobody waits, else a share in turn. `at`: how old the
    /// records are. Cancel safe.
    pub(crate) async fn grant(&self, wanted: u64, at: Timestamp) -> ColdGrant {
        let shared = &self.shared;
        let wanted = wanted.min(shared.bytes);
        if wanted == 0 {
            return ColdGrant {
                bytes: 0,
                shared: None,
            };
        }
        let bytes = wanted.min(COLD_SHARE_BYTES);
        let (told, granted) = oneshot::channel();
        let place = {
            let mut queue = shared.lock();
            if queue.by_arrival.is_empty() && queue.free >= wanted {
                queue.free -= wanted;
                drop(queue);
                return shared.grant(wanted);
            }
            let number = queue.next;
            queue.next += 1;
            let waiting = Waiting { at, bytes, told };
            queue.by_arrival.insert(number, waiting);
            queue.by_age.insert((at, number));
            Place { shared, number }
        };
        // A share may be free where all was not.
        shared.give_back(0);
        let granted = granted.await;
        drop(place);
        // Who is told is never forgotten; without a share the read is planned for one byte.
        granted.unwrap_or(ColdGrant {
            bytes: 1,
            shared: None,
        })
    }
}

#[cfg(test)]
mod tests;
