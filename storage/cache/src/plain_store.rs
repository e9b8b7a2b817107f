//! Entries in ordered maps, least recently used first out. For simulation: no foyer, no hashing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use esker_types::{MonotonicTime, Planted, SessionId, planted};

use crate::Heat;
use crate::key::EntryKey;
use crate::store::Store;

#[derive(Debug)]
pub(crate) struct PlainStore {
    capacity_bytes: u64,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: BTreeMap<EntryKey, (u64, Bytes)>,
    by_use: BTreeMap<u64, EntryKey>,
    uses: u64,
    bytes: u64,
}

impl Entries {
    fn take(&mut self, key: &EntryKey) -> Option<Bytes> {
        let (used, bytes) = self.by_key.remove(key)?;
        self.by_use.remove(&used);
        self.bytes -= weight(&bytes);
        Some(bytes)
    }

    fn put(&mut self, key: EntryKey, bytes: Bytes) {
        self.uses += 1;
        self.bytes += weight(&bytes);
        self.by_use.insert(self.uses, key);
        self.by_key.insert(key, (self.uses, bytes));
    }
}

fn weight(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The key itself, but for a planted bug.
fn kept_under(mut key: EntryKey) -> EntryKey {
    if planted(Planted::CacheKeyWithoutSession) {
        key.segment.session = SessionId::from_bytes([1; 16]);
    }
    key
}

impl PlainStore {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        Self {
            capacity_bytes,
            entries: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for PlainStore {
    fn get(&self, key: &EntryKey) -> Option<Bytes> {
        let key = &kept_under(*key);
        let mut entries = self.lock();
        let bytes = entries.take(key)?;
        entries.put(*key, bytes.clone());
        Some(bytes)
    }

    fn put(&self, key: EntryKey, bytes: Bytes, _heat: Heat, _now: MonotonicTime) {
        let key = kept_under(key);
        assert!(weight(&bytes) <= self.capacity_bytes, "one entry fits");
        let mut entries = self.lock();
        let mut evicted = Vec::from_iter(entries.take(&key));
        entries.put(key, bytes);
        while entries.bytes > self.capacity_bytes {
            let Some((_, oldest)) = entries.by_use.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            evicted.extend(entries.take(&oldest));
        }
        // Freeing memory runs other code (permits are given back), so the lock goes first.
        drop(entries);
        drop(evicted);
    }

    fn remove(&self, key: &EntryKey) {
        let removed = self.lock().take(key);
        drop(removed);
    }

    fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn entry_bytes_max(&self) -> u64 {
        self.capacity_bytes
    }
}
