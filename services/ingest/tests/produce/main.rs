//! The produce path as a whole, on a scripted bucket and sequencer, in virtual time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

mod admission;
mod bounds;
mod chaos;
mod core;
mod exactly_once;
mod flow;
mod lost;
mod outage;
mod producers;
mod sequencer;
mod world;
