//! Who owns a roll: an id that is never used again, and an address that the journal does not read.

use esker_env::Rng;
use esker_types::SequencerEpoch;

/// One start of one process, or one try of it to lead: never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId([u8; 16]);

impl OwnerId {
    /// A new id.
    #[must_use]
    pub fn draw(rng: &Rng) -> Self {
        Self(rng.write_id().bytes())
    }

    /// Wraps 16 stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl std::fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Display for OwnerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Who this process is when it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalIdentity {
    /// Its id; a fresh one for each [`crate::Journal::open`].
    pub owner: OwnerId,
    /// Where others reach it. Opaque to the journal; at most
    /// [`ADDRESS_BYTES_MAX`](crate::limits::ADDRESS_BYTES_MAX) bytes.
    pub address: String,
}

/// The owner of a roll, as the journal names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderInfo {
    /// Its id.
    pub owner: OwnerId,
    /// Where it said it can be reached.
    pub address: String,
    /// The epoch it leads under.
    pub epoch: SequencerEpoch,
}
