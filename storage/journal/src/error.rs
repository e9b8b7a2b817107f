//! Why an operation of the journal failed: one enum per operation.
//!
//! Unknown outcomes stay unknown: no error of a deposed or failed journal says that a command
//! failed.

use bytes::Bytes;
use esker_chain::SettleError;
use esker_object::{ObjectKey, StoreError, StoreErrorKind};

use crate::object::DecodeError;
use crate::place::RollNumber;
use crate::reader::ReadFailure;
use crate::state::CommandError;

/// A command was not taken; nothing was written and nothing will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Larger than [`COMMAND_BYTES_MAX`](crate::limits::COMMAND_BYTES_MAX).
    #[error("command of {command_bytes} bytes is too large for the journal")]
    TooLarge {
        /// Its length.
        command_bytes: usize,
    },
    /// The journal is deposed, failed or stopped.
    #[error("journal is closed")]
    Closed,
}

/// A command was not taken at once; nothing was written and nothing will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TryAppendError {
    /// The queue is full; the command is handed back.
    #[error("queue of the journal is full")]
    Full {
        /// The command.
        command: Bytes,
    },
    /// It can never be taken.
    #[error("command was not taken")]
    Refused(#[source] AppendError),
}

/// The journal cannot say that it is current: answer nothing that must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochCheckError {
    /// Another process has taken over.
    #[error("journal was taken over")]
    Deposed,
    /// The journal failed or stopped before the check was done.
    #[error("journal is closed")]
    Closed,
}

/// A snapshot was not taken; the journal goes on and asks for another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefused {
    /// No snapshot of this roll was asked for, or it was handed in already.
    #[error("no snapshot of roll {roll} is wanted")]
    NotWanted {
        /// The roll.
        roll: RollNumber,
    },
    /// More parts than [`SNAPSHOT_PARTS_MAX`](crate::limits::SNAPSHOT_PARTS_MAX).
    #[error("snapshot of {part_count} parts is too large")]
    TooManyParts {
        /// How many.
        part_count: usize,
    },
    /// A part larger than [`SNAPSHOT_PART_BYTES_MAX`](crate::limits::SNAPSHOT_PART_BYTES_MAX).
    #[error("snapshot part of {part_bytes} bytes is too large")]
    PartTooLarge {
        /// Its length.
        part_bytes: usize,
    },
    /// The journal is deposed, failed or stopped.
    #[error("journal is closed")]
    Closed,
}

/// Why the journal could not go on. What it had not called durable is *unknown*.
#[derive(Debug, thiserror::Error)]
pub enum JournalFailure {
    /// An object could not be created: the store refuses for a reason that a person must clear.
    #[error("object of the journal could not be created")]
    Settle(#[source] SettleError),
    /// The next place could not be read for an epoch check, for a reason that a person must clear.
    #[error("next place of the journal could not be read")]
    Look(#[source] ReplayError),
    /// Something stands at a place of ours that neither we nor a challenger can have written.
    #[error("place {key} of the journal is taken by a foreign object")]
    ForeignObject {
        /// The place.
        key: ObjectKey,
    },
    /// A task of the journal panicked.
    #[error("task of the journal panicked")]
    Task(#[source] esker_env::TaskFailure),
}

/// Why the journal could not be read to its end. Only [`ReplayError::Store`] may pass; all others
/// need a person: stop and alarm.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store failed for longer than it is waited for, or needs a person.
    #[error("journal could not be read")]
    Store(#[source] StoreError),
    /// An object is damaged, of a newer Esker, or of another cluster (J11).
    #[error("object {key} of the journal cannot be read")]
    Object {
        /// Its key.
        key: ObjectKey,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// Two objects say what cannot both be true: an entry behind the end of its roll, an epoch that
    /// falls, an owner whom the seal before does not name.
    #[error("object {key} contradicts what was read before it")]
    Contradiction {
        /// The later one.
        key: ObjectKey,
    },
    /// J5: entries were collected, yet no snapshot that replaces them is usable, and `roll` has not
    /// begun: a part of the journal is lost.
    #[error("journal is damaged: no snapshot below roll {roll} is usable")]
    Damaged {
        /// The first roll that has not begun.
        roll: RollNumber,
    },
    /// J10: the bucket holds objects of this cluster but no first head: a part of it is missing.
    #[error("bucket is incomplete: it holds objects, but not the journal's first head")]
    Incomplete,
    /// The state refuses what the journal holds.
    #[error("command of roll {roll} could not be applied")]
    Command {
        /// Where.
        roll: RollNumber,
        /// What the state said.
        #[source]
        source: CommandError,
    },
    /// The own address is longer than [`ADDRESS_BYTES_MAX`](crate::limits::ADDRESS_BYTES_MAX).
    #[error("own address of {address_bytes} bytes is too long")]
    Address {
        /// Its length.
        address_bytes: usize,
    },
}

impl ReplayError {
    /// Whether reading again may succeed without anybody's doing.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => is_passing(error.kind),
            Self::Object { .. }
            | Self::Contradiction { .. }
            | Self::Damaged { .. }
            | Self::Incomplete
            | Self::Command { .. }
            | Self::Address { .. } => false,
        }
    }
}

impl From<ReadFailure> for ReplayError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Store(source) => Self::Store(source),
            ReadFailure::Object { key, source } => Self::Object { key, source },
        }
    }
}

/// Whether the same request may succeed later without anybody's doing.
pub(crate) fn is_passing(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Retry | StoreErrorKind::Throttled | StoreErrorKind::Exhausted => true,
        StoreErrorKind::Denied
        | StoreErrorKind::NoBucket
        | StoreErrorKind::Full
        | StoreErrorKind::Unsupported => false,
    }
}

/// Why a take-over ended without anyone knowing who leads. Open the journal anew, or stop.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The journal could not be read.
    #[error("journal could not be replayed")]
    Replay(#[source] ReplayError),
    /// The seal or the head could not be created: the store needs a person.
    #[error("seal or head could not be created")]
    Settle(#[source] SettleError),
}
