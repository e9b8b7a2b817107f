//! One load per key in flight, shared by all who want it.
//!
//! Nobody owns a load: whoever waits drives it, and a waiter that is dropped leaves it to the
//! others. When the last one goes, the load ends. Results are not kept here, failures nowhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, Shared, WeakShared};

use crate::ReadError;
use crate::key::EntryKey;

type Loading = BoxFuture<'static, Result<Bytes, ReadError>>;

/// On which way a load comes to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// This process loads the block itself.
    Here,
    /// The block's owner is asked first. Apart from the others: were an owner's own load to join
    /// one that waits for another owner, two processes that disagree would wait for each other.
    Owner,
}

/// What is in flight once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightKey {
    pub(crate) entry: EntryKey,
    pub(crate) way: Way,
}

/// The loads in flight, by key.
#[derive(Default)]
pub(crate) struct Flights {
    loads: Mutex<Loads>,
}

#[derive(Default)]
struct Loads {
    by_key: BTreeMap<FlightKey, (u64, WeakShared<Loading>)>,
    begun: u64,
}

/// How a caller comes to its bytes.
pub(crate) enum Joined {
    /// They arrived meanwhile.
    Ready(Bytes),
    /// A load that is in flight already.
    Other(Shared<Loading>),
    /// A load of its own.
    Own(Shared<Loading>),
}

/// Takes its load off the list when it ends, however it ends.
struct Landing {
    flights: Arc<Flights>,
    key: FlightKey,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut loads = self.flights.lock();
        if loads.by_key.get(&self.key).map(|(number, _)| *number) == Some(self.number) {
            loads.by_key.remove(&self.key);
        }
    }
}

impl std::fmt::Debug for Flights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flights")
            .field("count", &self.count())
            .finish()
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads in flight.
    pub(crate) fn count(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Joins the load of `key`, or begins `load`. `arrived` is asked once more when there is none:
    /// a load that has just ended put its bytes there before it left the list.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: FlightKey,
        arrived: impl FnOnce() -> Option<Bytes>,
        load: impl FnOnce() -> Loading,
    ) -> Joined {
        let mut loads = self.lock();
        let flying = loads.by_key.get(&key).and_then(|(_, load)| load.upgrade());
        if let Some(flying) = flying {
            return Joined::Other(flying);
        }
        if let Some(bytes) = arrived() {
            return Joined::Ready(bytes);
        }
        loads.begun += 1;
        let landing = Landing {
            flights: Arc::clone(self),
            key,
            number: loads.begun,
        };
        let load = load();
        let load = async move {
            let outcome = load.await;
            drop(landing);
            outcome
        };
        let shared = load.boxed().shared();
        if let Some(weak) = shared.downgrade() {
            let number = loads.begun;
            loads.by_key.insert(key, (number, weak));
        }
        Joined::Own(shared)
    }
}
