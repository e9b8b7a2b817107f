//! What goes in beside the request, and what comes out.

use esker_metadata_api::GroupReply;
use esker_types::{MonotonicTime, Timestamp};

use crate::GroupCommand;

/// Names one waiting caller. Never used twice in the life of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// Wraps a number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Sixteen random bytes from the host: the unique part of a new member's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSeed([u8; 16]);

impl MemberSeed {
    /// Wraps random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

/// The two times of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For deadlines.
    pub now: MonotonicTime,
    /// Carried in commands; decides only when offsets expire.
    pub wall: Timestamp,
}

/// What the host does after a step, in this order. Every ticket given to a step is answered by
/// exactly one effect of it or of a later one, unless it is cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEffect {
    /// Answer the caller.
    Reply(Ticket, GroupReply),
    /// Append to the journal. When durable: apply to [`crate::GroupOffsets`], hand it to
    /// [`crate::GroupCoordinator::command_applied`], then answer. When its outcome stays unknown
    /// the process is no longer the leader, and the answer is unknown.
    Append {
        /// To be durable, in the order of the effects.
        command: GroupCommand,
        /// Answered when this command is durable, not before.
        then: Option<(Ticket, GroupReply)>,
    },
}
