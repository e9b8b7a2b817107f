//! Entries in foyer's memory cache. Readers at the log's end are favoured over catch-up scans, but
//! only for as long as the end is there: what is no longer new is kept by its use, as all else.
//! Otherwise what was written last would hold most of the cache from those who catch up.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use esker_types::MonotonicTime;
use foyer::{Cache, CacheBuilder, CacheProperties, Hint, LruConfig};

use crate::Heat;
use crate::key::EntryKey;
use crate::limits::{HOT_ENTRIES_MAX, OBJECT_BYTES_MAX, SHARDS_MAX};
use crate::store::Store;

/// Share of each shard that scans cannot push out: what ingest wrote and what tails read.
const HOT_SHARE: f64 = 0.8;
/// How long such an entry is favoured: readers at the log's end are seldom that far behind.
const HOT_FOR: Duration = Duration::from_secs(5);
/// Entries that become ordinary with one put at most, so that none takes long.
const COOLED_PER_PUT: usize = 8;

#[derive(Debug)]
pub(crate) struct FoyerStore {
    cache: Cache<EntryKey, Bytes>,
    shard_bytes: u64,
    /// Favoured entries and since when, the oldest in front; some may be gone already.
    favoured: Mutex<VecDeque<(MonotonicTime, EntryKey)>>,
}

fn properties(hint: Hint) -> CacheProperties {
    CacheProperties::default().with_hint(hint)
}

/// Each shard evicts for itself, so it must hold several whole objects.
fn shard_count(capacity_bytes: u64) -> usize {
    let shards = capacity_bytes / (8 * u64::from(OBJECT_BYTES_MAX));
    usize::try_from(shards).map_or(SHARDS_MAX, |shards| shards.clamp(1, SHARDS_MAX))
}

impl FoyerStore {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let shards = shard_count(capacity_bytes);
        let capacity = usize::try_from(capacity_bytes).unwrap_or(usize::MAX);
        let cache = CacheBuilder::new(capacity)
            .with_name("esker_cache")
            .with_shards(shards)
            .with_eviction_config(LruConfig {
                high_priority_pool_ratio: HOT_SHARE,
            })
            .with_weighter(|_: &EntryKey, bytes: &Bytes| bytes.len())
            .build();
        let shard_bytes = u64::try_from(capacity / shards).unwrap_or(u64::MAX);
        Self {
            cache,
            shard_bytes,
            favoured: Mutex::default(),
        }
    }

    fn favoured(&self) -> MutexGuard<'_, VecDeque<(MonotonicTime, EntryKey)>> {
        self.favoured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the oldest favoured entries among the ordinary ones. The lock is held throughout: an
    /// entry that is removed meanwhile must not come back.
    fn cool(&self, now: MonotonicTime) {
        let mut favoured = self.favoured();
        for _ in 0..COOLED_PER_PUT {
            let is_old = |(since, _): &(MonotonicTime, EntryKey)| now.since(*since) >= HOT_FOR;
            let is_over = favoured.len() > HOT_ENTRIES_MAX;
            if !is_over && !favoured.front().is_some_and(is_old) {
                return;
            }
            let Some((_, key)) = favoured.pop_front() else {
                return;
            };
            if let Some(bytes) = self.get(&key) {
                let low = properties(Hint::Low);
                drop(self.cache.insert_with_properties(key, bytes, low));
            }
        }
    }
}

impl Store for FoyerStore {
    fn get(&self, key: &EntryKey) -> Option<Bytes> {
        // The entry's handle is let go at once: while it lives, foyer cannot evict the entry.
        self.cache.get(key).map(|entry| entry.value().clone())
    }

    fn put(&self, key: EntryKey, bytes: Bytes, heat: Heat, now: MonotonicTime) {
        let hint = match heat {
            Heat::Hot => Hint::Normal,
            Heat::Cold => Hint::Low,
        };
        let put = self
            .cache
            .insert_with_properties(key, bytes, properties(hint));
        drop(put);
        if heat == Heat::Hot {
            self.favoured().push_back((now, key));
        }
        self.cool(now);
    }

    fn remove(&self, key: &EntryKey) {
        let _cooling = self.favoured();
        drop(self.cache.remove(key));
    }

    fn bytes(&self) -> u64 {
        u64::try_from(self.cache.usage()).unwrap_or(u64::MAX)
    }

    fn entry_bytes_max(&self) -> u64 {
        self.shard_bytes
    }
}

#[cfg(test)]
mod tests {
    use esker_types::{ChainIndex, SegmentId, SessionId};

    use super::*;
    use crate::key::Part;

    #[test]
    fn shards_hold_several_objects_and_end_at_their_limit() {
        let object = u64::from(OBJECT_BYTES_MAX);
        let most = u64::try_from(SHARDS_MAX).unwrap();

        assert_eq!(shard_count(1), 1);
        assert_eq!(shard_count(16 * object), 2);
        assert_eq!(shard_count((most + 1) * 8 * object), SHARDS_MAX);
        assert_eq!(shard_count(u64::MAX), SHARDS_MAX);
    }

    fn key(session: u8, block: u64) -> EntryKey {
        EntryKey {
            segment: SegmentId {
                session: SessionId::from_bytes([session; 16]),
                index: ChainIndex::ZERO,
            },
            part: Part::Block(block),
        }
    }

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_scan_does_not_push_out_what_tails_read() {
        let store = FoyerStore::new(100_000);
        let thousand = Bytes::from(vec![0; 1000]);
        for block in 0..50 {
            store.put(key(1, block), thousand.clone(), Heat::Hot, at(0));
        }

        for block in 0..10_000 {
            store.put(key(2, block), thousand.clone(), Heat::Cold, at(4));
        }

        let kept = (0..50).filter(|block| store.get(&key(1, *block)).is_some());
        assert_eq!(kept.count(), 50);
        assert_eq!(store.bytes(), 100_000, "the rest is the scan's");
    }

    #[test]
    fn what_was_written_some_seconds_ago_is_pushed_out_like_all_else() {
        let store = FoyerStore::new(100_000);
        let thousand = Bytes::from(vec![0; 1000]);
        for block in 0..50 {
            store.put(key(1, block), thousand.clone(), Heat::Hot, at(0));
        }

        for block in 0..100 {
            store.put(key(2, block), thousand.clone(), Heat::Cold, at(5));
        }

        let kept = (0..100).filter(|block| store.get(&key(2, *block)).is_some());
        assert!(kept.count() > 90, "the scan has the cache");
    }

    #[test]
    fn one_favoured_entry_past_the_limit_makes_the_oldest_ordinary() {
        let store = FoyerStore::new(u64::MAX / 1024);
        for block in 0..=u64::try_from(HOT_ENTRIES_MAX).unwrap() {
            store.put(key(1, block), Bytes::from_static(b"x"), Heat::Hot, at(0));
        }

        assert_eq!(store.favoured().len(), HOT_ENTRIES_MAX);
        assert!(store.get(&key(1, 0)).is_some(), "ordinary, not gone");
    }

    #[test]
    fn what_was_removed_does_not_come_back_when_it_would_become_ordinary() {
        let store = FoyerStore::new(100_000);
        store.put(key(1, 0), Bytes::from_static(b"bad"), Heat::Hot, at(0));

        store.remove(&key(1, 0));
        store.put(key(1, 1), Bytes::from_static(b"good"), Heat::Cold, at(6));

        assert_eq!(store.get(&key(1, 0)), None);
    }

    #[test]
    fn an_entry_put_again_is_replaced_not_added() {
        let store = FoyerStore::new(100_000);

        store.put(key(1, 0), Bytes::from_static(b"old"), Heat::Hot, at(0));
        store.put(key(1, 0), Bytes::from_static(b"newer"), Heat::Cold, at(0));

        assert_eq!(store.get(&key(1, 0)), Some(Bytes::from_static(b"newer")));
        assert_eq!(store.bytes(), 5);
        store.remove(&key(1, 0));
        assert_eq!(store.get(&key(1, 0)), None);
    }
}
