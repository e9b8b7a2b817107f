//! What the journal keeps durable: a state machine that commands change, seen from outside.
//!
//! J6: commands are deterministic and carry everything they need (time, generated ids).

use bytes::Bytes;

/// Why bytes of the journal mean nothing to the state: stop, a newer Esker wrote them or they
/// rotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A version of a command or snapshot part that this build does not know.
    #[error("command has version {version}, which this build does not know")]
    UnknownVersion {
        /// The version found.
        version: u32,
    },
    /// The bytes are no command or part of this state.
    #[error("command cannot be decoded")]
    Malformed,
}

/// A deterministic state machine: equal commands in equal order give equal states, everywhere.
pub trait JournalState: Sized + Send + 'static {
    /// What a command answers to who asked for it.
    type Outcome;

    /// The state before the first command of a cluster.
    fn empty() -> Self;

    /// Changes the state by one durable command. A command that the state refuses (a name that is
    /// taken) is an outcome, not an error.
    ///
    /// # Errors
    /// [`CommandError`]: the bytes are no command of this build; the state must not be used
    /// further.
    fn apply(&mut self, command: &Bytes) -> Result<Self::Outcome, CommandError>;

    /// The whole state, in parts of at most
    /// [`SNAPSHOT_PART_BYTES_MAX`](crate::limits::SNAPSHOT_PART_BYTES_MAX) bytes.
    fn snapshot(&self) -> Vec<Bytes>;

    /// Reads what [`Self::snapshot`] wrote, the same parts in the same order.
    ///
    /// # Errors
    /// [`CommandError`]: the parts are no snapshot of this build.
    fn restore(parts: &[Bytes]) -> Result<Self, CommandError>;
}
