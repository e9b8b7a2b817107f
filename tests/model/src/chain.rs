//! The commit protocol as storage/chain, services/sequencer and services/metadata build it.
//!
//! `state` holds a world, `steps` what can happen in it, `sequencer` and `epochs` what a sequencer
//! makes of it, `rules` what must hold always, `mutation` the bugs that must be found.

mod epochs;
mod mutation;
mod rules;
mod scenario;
mod sequencer;
mod state;
mod steps;

pub use mutation::{ABSENT, Mutation};
pub use scenario::{ChainModel, LARGE, SMALL, Scenario};
pub use state::State;
pub use steps::Step;
