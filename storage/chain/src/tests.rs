//! Scenarios of the chain's operations, and random interleavings checked against a model.

mod interleavings;
mod look;
mod outages;
mod seal;
mod upload;
mod walk;
pub(crate) mod world;
