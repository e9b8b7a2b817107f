//! The journal as storage/journal builds it: rolls, seals, heads, replay, snapshots, collection.
//!
//! `state` holds bucket and processes, `steps` what can happen, `rules` what must hold always,
//! `mutation` the bugs that must be found.

mod mutation;
mod rules;
mod scenario;
mod state;
mod steps;

pub use mutation::{ABSENT, Mutation};
pub use scenario::{JournalModel, LARGE, SMALL, Scenario};
pub use state::State;
pub use steps::Step;
