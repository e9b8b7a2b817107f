//! A bucket in memory: for tests, simulations and `--store memory:`.
//!
//! Clones share the objects. Every operation is atomic and takes effect at its first poll, so a
//! run is as deterministic as its callers.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};

use crate::limits::LIST_PAGE_COUNT_MAX;
use crate::{
    Bucket, ListedObject, ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError, StoreErrorKind,
};

/// Objects in memory; clones share them.
#[derive(Clone, Debug)]
pub struct MemoryBucket {
    shared: Arc<Mutex<Objects>>,
}

#[derive(Debug)]
struct Objects {
    by_key: BTreeMap<ObjectKey, Bytes>,
    stored_bytes: u64,
    capacity_bytes: u64,
}

impl Default for MemoryBucket {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBucket {
    /// An empty bucket without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(u64::MAX)
    }

    /// An empty bucket that is full at `capacity_bytes` of object bytes.
    #[must_use]
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Objects {
                by_key: BTreeMap::new(),
                stored_bytes: 0,
                capacity_bytes,
            })),
        }
    }

    /// Bytes of all objects.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.lock().stored_bytes
    }

    /// All keys in order.
    #[must_use]
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.lock().by_key.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // Nothing below can panic between two writes, so a poisoned lock still guards whole state.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_now(&self, key: &ObjectKey, body: Bytes) -> PutOutcome {
        let mut objects = self.lock();
        if objects.by_key.contains_key(key) {
            return PutOutcome::Exists;
        }
        let stored = objects.stored_bytes.saturating_add(byte_count(&body));
        if stored > objects.capacity_bytes {
            return PutOutcome::Refused(StoreError::new("put", key, StoreErrorKind::Full));
        }
        objects.stored_bytes = stored;
        let before = objects.by_key.insert(key.clone(), body);
        assert!(before.is_none(), "I6: a key is written once");
        PutOutcome::Created
    }

    fn list_now(
        &self,
        prefix: &ObjectKey,
        after: Option<&ObjectKey>,
        count_max: usize,
    ) -> Vec<ListedObject> {
        let start = match after {
            Some(after) if after > prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.lock()
            .by_key
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(prefix.as_str()))
            .take(count_max.min(LIST_PAGE_COUNT_MAX))
            .map(|(key, body)| ListedObject {
                key: key.clone(),
                object_bytes: byte_count(body),
            })
            .collect()
    }

    fn delete_now(&self, key: &ObjectKey) {
        let mut objects = self.lock();
        if let Some(body) = objects.by_key.remove(key) {
            objects.stored_bytes -= byte_count(&body);
        }
    }
}

fn byte_count(body: &Bytes) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

/// The part of a whole object that `range` asks for, as `[start, end)` within its length.
pub(crate) fn resolve_range(range: ReadRange, object_bytes: u64) -> (u64, u64) {
    let (start, end) = match range {
        ReadRange::Full => (0, object_bytes),
        ReadRange::Bounded(range) => (range.start(), range.end()),
        ReadRange::Suffix(count) => (object_bytes.saturating_sub(count), object_bytes),
    };
    let end = end.min(object_bytes);
    (start.min(end), end)
}

fn read_part(body: &Bytes, range: ReadRange) -> ObjectRead {
    let object_bytes = byte_count(body);
    let (start, end) = resolve_range(range, object_bytes);
    let start = usize::try_from(start).unwrap_or(body.len());
    let end = usize::try_from(end).unwrap_or(body.len());
    ObjectRead {
        bytes: body.slice(start..end),
        object_bytes,
    }
}

impl Bucket for MemoryBucket {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        async move { self.put_now(key, body) }.boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        async move {
            Ok(self
                .lock()
                .by_key
                .get(key)
                .map(|body| read_part(body, range)))
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        async move { Ok(self.lock().by_key.get(key).map(byte_count)) }.boxed()
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        async move { Ok(self.list_now(prefix, after, count_max)) }.boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.delete_now(key);
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_memory_bucket_keeps_the_contract() {
        crate::conformance(&MemoryBucket::new()).await;
    }

    #[tokio::test]
    async fn a_full_memory_bucket_refuses_and_keeps_nothing() {
        let bucket = MemoryBucket::with_capacity(3);
        let key = ObjectKey::cluster();

        let outcome = bucket
            .put_if_absent(&key, Bytes::from_static(b"four"))
            .await;

        assert!(
            matches!(outcome, PutOutcome::Refused(error) if error.kind == StoreErrorKind::Full)
        );
        assert_eq!(bucket.head(&key).await.unwrap(), None);
    }
}
