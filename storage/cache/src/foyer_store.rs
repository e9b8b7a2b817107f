//! Entries in foyer's memory cache. Readers at the log's end are favoured over catch-up scans.

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, CacheProperties, Hint, LruConfig};

use crate::Heat;
use crate::key::EntryKey;
use crate::limits::{OBJECT_BYTES_MAX, SHARDS_MAX};
use crate::store::Store;

/// Share of each shard that scans cannot push out: what ingest wrote and what tails read.
const HOT_SHARE: f64 = 0.8;

#[derive(Debug)]
pub(crate) struct FoyerStore {
    cache: Cache<EntryKey, Bytes>,
    shard_bytes: u64,
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
        Self { cache, shard_bytes }
    }
}

impl Store for FoyerStore {
    fn get(&self, key: &EntryKey) -> Option<Bytes> {
        // The entry's handle is let go at once: while it lives, foyer cannot evict the entry.
        self.cache.get(key).map(|entry| entry.value().clone())
    }

    fn put(&self, key: EntryKey, bytes: Bytes, heat: Heat) {
        let hint = match heat {
            Heat::Hot => Hint::Normal,
            Heat::Cold => Hint::Low,
        };
        let properties = CacheProperties::default().with_hint(hint);
        drop(self.cache.insert_with_properties(key, bytes, properties));
    }

    fn remove(&self, key: &EntryKey) {
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

    #[test]
    fn a_scan_does_not_push_out_what_tails_read() {
        let store = FoyerStore::new(100_000);
        let thousand = Bytes::from(vec![0; 1000]);
        for block in 0..50 {
            store.put(key(1, block), thousand.clone(), Heat::Hot);
        }

        for block in 0..10_000 {
            store.put(key(2, block), thousand.clone(), Heat::Cold);
        }

        let kept = (0..50).filter(|block| store.get(&key(1, *block)).is_some());
        assert_eq!(kept.count(), 50);
        assert_eq!(store.bytes(), 100_000, "the rest is the scan's");
    }

    #[test]
    fn an_entry_put_again_is_replaced_not_added() {
        let store = FoyerStore::new(100_000);

        store.put(key(1, 0), Bytes::from_static(b"old"), Heat::Hot);
        store.put(key(1, 0), Bytes::from_static(b"newer"), Heat::Cold);

        assert_eq!(store.get(&key(1, 0)), Some(Bytes::from_static(b"newer")));
        assert_eq!(store.bytes(), 5);
        store.remove(&key(1, 0));
        assert_eq!(store.get(&key(1, 0)), None);
    }
}
