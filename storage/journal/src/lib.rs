//! The metadata journal: rolls of write-once places with one owner each, snapshots, take-over by
//! seal.
//!
//! Called by the metadata shell: open a [`Follower`], take over, append; a command counts once its
//! [`JournalEvent::Durable`] comes. Uses a dependable bucket and `esker_chain::create_settled`.
//! Requests: append 1 PUT a group; roll 2 PUTs, and a snapshot (parts + 1 PUTs) when due; take-over
//! 2 PUTs; epoch check 1 GET, none under load; a look of a standby 2 GETs; idle leader none.
//! Rules J1 to J11, limits, cost: docs/journal.md. Bytes: docs/formats/journal.md.

mod audit;
mod background;
mod checks;
mod collect;
mod config;
#[cfg(any(test, feature = "test-util"))]
mod conformance;
mod error;
mod events;
#[cfg(test)]
mod fixtures;
mod follower;
mod identity;
pub mod limits;
mod metrics;
mod object;
mod pipeline;
mod place;
mod queue;
mod reader;
mod replace;
mod replay;
mod schedule;
mod snapshot;
mod state;
mod take_over;
mod task;
mod writer;

pub use audit::{JournalNote, NamedSeal, SnapshotRow, read_note, roll_of_list, roll_of_part};
pub use config::JournalConfig;
#[cfg(any(test, feature = "test-util"))]
pub use conformance::{ReplayDivergence, replay_conformance};
pub use error::{
    AppendError, EpochCheckError, JournalFailure, ReplayError, SnapshotRefused, TakeOverError,
    TryAppendError,
};
pub use events::{JournalEvent, JournalEvents};
pub use follower::{Follower, Journal, JournalParts, JournalReached};
pub use identity::{JournalIdentity, LeaderInfo, OwnerId};
pub use metrics::JournalStats;
pub use object::{DecodeError, check_object};
pub use place::RollNumber;
pub use replace::{Fence, OldJournal, ReplaceError, fence};
pub use state::{CommandError, JournalState};
pub use take_over::{Leadership, TakeOver};
pub use task::JournalTask;
pub use writer::{AppendTicket, JournalWriter};
