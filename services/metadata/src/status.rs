//! Where the metadata service of this process stands; readiness and errors follow it.

use esker_journal::OwnerId;
use esker_types::SequencerEpoch;

/// Where the service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataStatus {
    /// Reading the journal.
    Starting,
    /// Another process leads and lives; this one waits to take over.
    Standby {
        /// The leader's address, as its journal head names it.
        leader: String,
    },
    /// Taken over; reading and sealing the chains of the sessions before.
    Recovering {
        /// Our epoch.
        epoch: SequencerEpoch,
        /// This leadership's own id, as the journal names it.
        owner: OwnerId,
    },
    /// Answering.
    Leading {
        /// Our epoch.
        epoch: SequencerEpoch,
        /// This leadership's own id, as the journal names it.
        owner: OwnerId,
    },
    /// Another process took over; this one answers nothing more and must end.
    Deposed {
        /// The new leader's address, when its seal told it.
        by: String,
    },
    /// Ended: asked to, or by a failure.
    Stopped,
}

impl MetadataStatus {
    /// Whether calls are answered.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        matches!(self, Self::Leading { .. })
    }

    /// Our id in the journal, while this process leads or is about to.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerId> {
        match self {
            Self::Recovering { owner, .. } | Self::Leading { owner, .. } => Some(*owner),
            Self::Starting | Self::Standby { .. } | Self::Deposed { .. } | Self::Stopped => None,
        }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Deposed { .. } | Self::Stopped)
    }
}
