//! One suite for whoever answers the five traits: in this process, and over the internal API.
//!
//! `exact` asks a scripted service: every question arrives as it was put, every answer and every
//! kind of error comes back as it was given. `service` asks the real metadata service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

mod exact;
mod feeds;
mod groups;
mod pods;
mod service;
#[path = "../stage/mod.rs"]
mod stage;
mod subject;
mod world;
