//! Classic consumer groups, any protocol type, as a pure core: `step(moment, request) -> effects`.
//!
//! No clock, no I/O, no runtime; the metadata leader hosts it. [`GroupOffsets`] is what is durable
//! (a fold of [`GroupCommand`]s from the journal), [`GroupCoordinator`] what is in memory: members,
//! deadlines, waiting replies. Rules: I17, I18, P6; invariants, limits and cost: docs/groups.md.
//! A generation is durable before a member hears of it, an assignment and a commit before they are
//! answered. Refusals and reads are final (R1): the host lets them out after an epoch check that
//! began after the request came.

mod arrival;
mod codec;
mod command;
mod commit;
mod config;
mod describe;
mod effect;
mod forget;
mod generation;
mod group;
mod group_coordinator;
mod join;
pub mod limits;
mod member;
mod offsets;
mod rebalance;
mod snapshot;
mod subscription;
mod sync;
mod turn;

pub use codec::GroupCodecError;
pub use command::{GroupCommand, GroupSummary, SummaryMember};
pub use config::GroupConfig;
pub use effect::{GroupEffect, MemberSeed, Moment, Ticket};
pub use generation::Generation;
pub use group_coordinator::GroupCoordinator;
pub use offsets::GroupOffsets;
