//! Audits and rebuilds of buckets that real services wrote, whole and damaged.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

mod clean;
mod damaged;
mod limits;
mod rebuilt;
mod world;
