//! Randomness from one root seed, in named streams: a new draw in one stream shifts no other.

use std::sync::{Arc, Mutex, PoisonError};

use esker_types::{ClusterId, PodId, SessionId, TopicId, WriteId};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng, TryRng as _};

/// A stream of random numbers; clones share the stream.
#[derive(Clone)]
pub struct Rng {
    seed: u64,
    stream: Arc<Mutex<StdRng>>,
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rng").finish_non_exhaustive()
    }
}

impl Rng {
    /// The root stream of `seed`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            seed,
            stream: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    /// A root stream that cannot be foretold.
    #[must_use]
    pub fn from_os() -> Self {
        let mut seed = [0; 32];
        let filled = rand::rngs::SysRng.try_fill_bytes(&mut seed).is_ok();
        assert!(
            filled,
            "the operating system must supply randomness: ids rest on it"
        );
        let mut root = StdRng::from_seed(seed);
        let derived = root.next_u64();
        Self {
            seed: derived,
            stream: Arc::new(Mutex::new(root)),
        }
    }

    /// The stream called `name` under the same root: independent of draws elsewhere.
    #[must_use]
    pub fn stream(&self, name: &str) -> Self {
        // FNV-1a: stable over builds, which the standard hasher is not.
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self::from_seed(hash)
    }

    fn draw<T>(&self, from: impl FnOnce(&mut StdRng) -> T) -> T {
        from(&mut self.stream.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Any 64-bit number.
    #[must_use]
    pub fn u64(&self) -> u64 {
        self.draw(rand::Rng::next_u64)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.draw(|stream| stream.random_range(0..bound))
        }
    }

    /// A number in `[0, 1)`.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.draw(|stream| stream.random())
    }

    fn id(&self) -> [u8; 16] {
        loop {
            let bytes: [u8; 16] = self.draw(|stream| stream.random());
            if bytes != [0; 16] {
                return bytes;
            }
        }
    }

    /// A new topic id: shaped as a version-4 UUID, since Kafka's tools show it as one.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        let mut bytes = self.id();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        TopicId::from_bytes(bytes)
    }

    /// A new session id.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        SessionId::from_bytes(self.id())
    }

    /// A new pod id.
    #[must_use]
    pub fn pod_id(&self) -> PodId {
        PodId::from_bytes(self.id())
    }

    /// A new write id.
    #[must_use]
    pub fn write_id(&self) -> WriteId {
        WriteId::from_bytes(self.id())
    }

    /// A new cluster id.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId::from_bytes(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_streams_do_not_shift_each_other() {
        let (left, right) = (Rng::from_seed(7), Rng::from_seed(7));
        let _ = right.stream("network").u64();

        assert_eq!(left.u64(), right.u64());
        assert_eq!(left.stream("store").u64(), right.stream("store").u64());
        assert_ne!(left.stream("store").u64(), left.stream("clock").u64());
        assert_ne!(Rng::from_os().u64(), Rng::from_os().u64());
    }

    #[test]
    fn a_bounded_draw_stays_below_its_bound() {
        let rng = Rng::from_seed(1);

        assert!((0..1000).all(|_| rng.below(3) < 3));
        assert_eq!(rng.below(0), 0);
    }
}
