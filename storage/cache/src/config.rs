//! How much memory the cache may use, and for what.

use std::time::Duration;

use crate::limits::{BLOCK_BYTES, OBJECT_BYTES_MAX, TOTAL_BYTES_MIN};

const MIB: u64 = 1024 * 1024;
/// What written objects may hold at once before they are kept: one of the largest and a little.
const HELD_OBJECTS_BYTES: u64 = 16 * MIB;

/// Numbers of a cache. The whole of it never holds more than `cached_bytes + held_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes kept for the next reader.
    pub cached_bytes: u64,
    /// Bytes that are being loaded, or were evicted while a reader still sends them.
    pub held_bytes: u64,
    /// Bytes of loads in flight for readers at the log's end.
    pub hot_load_bytes: u32,
    /// Bytes of loads in flight for readers that catch up: apart, so that they never queue up in
    /// front of the others.
    pub cold_load_bytes: u32,
    /// Bytes of blocks that other processes are asked for, of each kind; 0 without others.
    pub ask_bytes: u32,
    /// How long a read that has nothing yet waits for others to let go of memory.
    pub memory_wait: Duration,
}

impl Default for CacheConfig {
    /// For a process with 1 GiB: a quarter of it.
    fn default() -> Self {
        Self::within(256 * MIB)
    }
}

/// Numbers that cannot work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheConfigError {
    /// Not even one block can be loaded.
    #[error("each load budget must hold one block of {BLOCK_BYTES} bytes")]
    LoadsBelowBlock,
    /// Loads in flight could use up what written objects need on their way in.
    #[error("held bytes must exceed all load budgets by {OBJECT_BYTES_MAX}")]
    HeldBelowLoads,
    /// Not even one block can be asked for.
    #[error("bytes asked of other processes must be none or one block of {BLOCK_BYTES} bytes")]
    AsksBelowBlock,
    /// A block would not fit what is kept.
    #[error("cached bytes must hold one block of {BLOCK_BYTES} bytes")]
    CachedBelowBlock,
}

impl CacheConfig {
    /// Divides `total_bytes`, at least [`TOTAL_BYTES_MIN`]: an eighth, but 32 MiB at most, for the
    /// loads in flight of each kind, as much again and room for written objects on their way in as
    /// held bytes, and the rest to be kept.
    #[must_use]
    pub fn within(total_bytes: u64) -> Self {
        let total_bytes = total_bytes.max(TOTAL_BYTES_MIN);
        let load_bytes = (total_bytes / 8).min(32 * MIB);
        let held_bytes = 2 * load_bytes + HELD_OBJECTS_BYTES;
        let load_bytes = u32::try_from(load_bytes).unwrap_or(u32::MAX);
        Self {
            cached_bytes: total_bytes - held_bytes,
            held_bytes,
            hot_load_bytes: load_bytes,
            cold_load_bytes: load_bytes,
            ask_bytes: 0,
            memory_wait: Duration::from_secs(5),
        }
    }

    /// The same total, with half a load budget of each kind for what other processes are asked
    /// for, taken from what is kept.
    #[must_use]
    pub fn among_peers(self) -> Self {
        let ask_bytes = (self.hot_load_bytes.min(self.cold_load_bytes) / 2).max(BLOCK_BYTES);
        let moved = 2 * u64::from(ask_bytes);
        Self {
            cached_bytes: self.cached_bytes.saturating_sub(moved),
            held_bytes: self.held_bytes.saturating_add(moved),
            ask_bytes,
            ..self
        }
    }

    /// Whether the numbers work together.
    ///
    /// # Errors
    /// [`CacheConfigError`]: which do not.
    pub fn check(&self) -> Result<(), CacheConfigError> {
        if self.hot_load_bytes.min(self.cold_load_bytes) < BLOCK_BYTES {
            return Err(CacheConfigError::LoadsBelowBlock);
        }
        if self.ask_bytes != 0 && self.ask_bytes < BLOCK_BYTES {
            return Err(CacheConfigError::AsksBelowBlock);
        }
        if self.cached_bytes < u64::from(BLOCK_BYTES) {
            return Err(CacheConfigError::CachedBelowBlock);
        }
        let loads = u64::from(self.hot_load_bytes)
            + u64::from(self.cold_load_bytes)
            + 2 * u64::from(self.ask_bytes);
        if self.held_bytes < loads.saturating_add(u64::from(OBJECT_BYTES_MAX)) {
            return Err(CacheConfigError::HeldBelowLoads);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_works_and_each_number_has_a_floor() {
        let good = CacheConfig::default();
        let loads = u64::from(good.hot_load_bytes) + u64::from(good.cold_load_bytes);
        let floor = loads + u64::from(OBJECT_BYTES_MAX);
        let held = |held_bytes| CacheConfig { held_bytes, ..good };
        let cold = |cold_load_bytes| CacheConfig {
            cold_load_bytes,
            ..good
        };
        let cached = |cached_bytes| CacheConfig {
            cached_bytes,
            ..good
        };

        assert_eq!(good.check(), Ok(()));
        assert_eq!(held(floor).check(), Ok(()));
        assert_eq!(
            held(floor - 1).check(),
            Err(CacheConfigError::HeldBelowLoads)
        );
        assert_eq!(cold(BLOCK_BYTES).check(), Ok(()));
        assert_eq!(
            cold(BLOCK_BYTES - 1).check(),
            Err(CacheConfigError::LoadsBelowBlock)
        );
        assert_eq!(
            cached(u64::from(BLOCK_BYTES) - 1).check(),
            Err(CacheConfigError::CachedBelowBlock)
        );
    }

    #[test]
    fn a_total_is_divided_without_a_rest_from_the_least_on() {
        for total in [TOTAL_BYTES_MIN, 100 * MIB, 256 * MIB, 8 * 1024 * MIB] {
            let config = CacheConfig::within(total);

            assert_eq!(config.check(), Ok(()), "{total}");
            assert_eq!(config.cached_bytes + config.held_bytes, total);
            let among = config.among_peers();
            assert_eq!(among.check(), Ok(()), "{total}");
            assert_eq!(among.cached_bytes + among.held_bytes, total);
        }
        let among = CacheConfig::default().among_peers();
        let asks = |ask_bytes| CacheConfig { ask_bytes, ..among }.check();
        assert_eq!(asks(BLOCK_BYTES), Ok(()));
        assert_eq!(asks(BLOCK_BYTES - 1), Err(CacheConfigError::AsksBelowBlock));
        assert_eq!(
            asks(among.ask_bytes + 3 * 1024 * 1024),
            Err(CacheConfigError::HeldBelowLoads)
        );
        let least = CacheConfig::within(TOTAL_BYTES_MIN);
        assert_eq!(CacheConfig::within(TOTAL_BYTES_MIN - 1), least);
    }
}
