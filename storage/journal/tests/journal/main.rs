//! The journal from outside: what it costs, and what it survives.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

mod requests;
mod simulation;
mod world;
