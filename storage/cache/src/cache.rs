//! The cache as others see it: one trait, a form on foyer and a plain one for simulation.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use esker_env::Env;
use esker_object::Bucket;
use esker_types::{ByteRange, ClusterId, SegmentId};
use futures::future::{BoxFuture, FutureExt as _};

use crate::engine::Engine;
use crate::foyer_store::FoyerStore;
use crate::plain_store::PlainStore;
use crate::{BlockId, BlockPeers, CacheConfig, CacheStats, ReadError};

/// Whose read it is; each kind has its own budget of loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heat {
    /// A reader at the log's end. Its blocks are kept longer.
    Hot,
    /// A reader that catches up.
    Cold,
}

/// What another process asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerQuestion {
    /// The block, if it is in memory.
    Cached,
    /// The block, which this process owns in the eyes of the other one: loaded if need be, on the
    /// budget of this heat, but never by way of another owner.
    Load(Heat),
}

/// Bytes of segments, from memory or from the bucket.
pub trait SegmentCache: Debug + Send + Sync + 'static {
    /// Takes in a whole object that this process wrote, so that its readers cost no request. Never
    /// waits; when memory is held by slow readers, or the object is above
    /// [`OBJECT_BYTES_MAX`](crate::limits::OBJECT_BYTES_MAX), it is left out and counted.
    fn insert(&self, segment: SegmentId, object: Bytes);

    /// Reads `range` of the object: slices that concatenate to exactly it, never short. They share
    /// the cache's memory; what they hold counts against its budget until they are dropped.
    ///
    /// Waits while others hold all memory, up to the configured limit. Who holds bytes of other
    /// reads meanwhile may be among those that it waits for: use [`SegmentCache::read_now`] then.
    ///
    /// # Errors
    /// - [`ReadError::Reaped`]: the object is gone; plan again from the index.
    /// - [`ReadError::Corrupt`]: [`SegmentCache::forget`] and read once more, then tell a person.
    /// - [`ReadError::Store`], [`ReadError::Overloaded`]: later again.
    /// - [`ReadError::TooLarge`]: above [`READ_BYTES_MAX`](crate::limits::READ_BYTES_MAX).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the loads to the others that wait for them.
    fn read(
        &self,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ReadError>>;

    /// The same without a wait for memory: [`ReadError::Overloaded`] as soon as others hold all of
    /// it. What was loaded until then stays in the cache, as far as there is room.
    ///
    /// # Errors
    /// As [`SegmentCache::read`].
    ///
    /// # Cancel safety
    /// As [`SegmentCache::read`].
    fn read_now(
        &self,
        segment: SegmentId,
        range: ByteRange,
        heat: Heat,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ReadError>>;

    /// Reads a whole block for another process; the object's last one may be short. `None`: it is
    /// not in memory, and was not to be loaded. Never waits for memory, as
    /// [`SegmentCache::read_now`].
    ///
    /// # Errors
    /// As [`SegmentCache::read`].
    ///
    /// # Cancel safety
    /// As [`SegmentCache::read`].
    fn read_for_peer(
        &self,
        block: BlockId,
        question: PeerQuestion,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>>;

    /// An estimate of the bytes that a read of `range` loads at this moment: whole blocks, the last
    /// one up to where the object may end. What is cached now may be gone when it is read.
    fn missing_bytes(&self, segment: SegmentId, range: ByteRange) -> u64;

    /// Forgets what is cached of `range`: the next read asks the bucket.
    fn forget(&self, segment: SegmentId, range: ByteRange);

    /// Counters and gauges of this moment.
    fn stats(&self) -> CacheStats;
}

/// The cache in production: foyer in memory, weighed in bytes.
#[derive(Clone, Debug)]
pub struct BlockCache {
    engine: Arc<Engine>,
}

/// The same without foyer: least recently used, in ordered maps; a run replays from its seed.
#[derive(Clone, Debug)]
pub struct PlainCache {
    engine: Arc<Engine>,
}

macro_rules! forms {
    ($($form:ident on $store:ident),*) => {$(
        impl $form {
            /// An empty cache in front of `bucket`, which does its own retries.
            ///
            /// Panics when [`CacheConfig::check`] fails: whoever composes the settings checks them.
            #[must_use]
            pub fn new(
                bucket: Arc<dyn Bucket>,
                cluster: ClusterId,
                env: Env,
                config: CacheConfig,
            ) -> Self {
                let store = Arc::new($store::new(config.cached_bytes));
                Self {
                    engine: Engine::new(store, None, bucket, (cluster, env, config)),
                }
            }

            /// The same, which asks `peers` before the bucket.
            ///
            /// Panics besides when `config` has no bytes for it: see
            /// [`CacheConfig::among_peers`].
            #[must_use]
            pub fn among(
                peers: Arc<dyn BlockPeers>,
                bucket: Arc<dyn Bucket>,
                cluster: ClusterId,
                env: Env,
                config: CacheConfig,
            ) -> Self {
                let store = Arc::new($store::new(config.cached_bytes));
                Self {
                    engine: Engine::new(store, Some(peers), bucket, (cluster, env, config)),
                }
            }
        }

        impl SegmentCache for $form {
            fn insert(&self, segment: SegmentId, object: Bytes) {
                self.engine.insert(segment, object);
            }

            fn read(
                &self,
                segment: SegmentId,
                range: ByteRange,
                heat: Heat,
            ) -> BoxFuture<'_, Result<Vec<Bytes>, ReadError>> {
                self.engine.read(segment, range, heat).boxed()
            }

            fn read_now(
                &self,
                segment: SegmentId,
                range: ByteRange,
                heat: Heat,
            ) -> BoxFuture<'_, Result<Vec<Bytes>, ReadError>> {
                self.engine.read_now(segment, range, heat).boxed()
            }

            fn read_for_peer(
                &self,
                block: BlockId,
                question: PeerQuestion,
            ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
                self.engine.read_for_peer(block, question).boxed()
            }

            fn missing_bytes(&self, segment: SegmentId, range: ByteRange) -> u64 {
                self.engine.missing_bytes(segment, range)
            }

            fn forget(&self, segment: SegmentId, range: ByteRange) {
                self.engine.forget(segment, range);
            }

            fn stats(&self) -> CacheStats {
                self.engine.stats()
            }
        }
    )*};
}

forms!(BlockCache on FoyerStore, PlainCache on PlainStore);
