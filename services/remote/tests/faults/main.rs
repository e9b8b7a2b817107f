//! What is known of calls when servers and connections fail, and how clients find back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod blocks;
mod calls;
mod limits;
mod proxy;
mod routes;
mod slow;
#[path = "../stage/mod.rs"]
mod stage;
mod versions;
