//! The admin front through the real codec: requests are guarded and decoded as from a socket, and
//! answers are written and read back in the same version, so no field is set that a version lacks.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

mod absent;
mod alteration;
mod broker_alteration;
mod cluster;
mod configs;
mod creation;
mod deletion;
mod described_topics;
mod fake;
mod forgetting;
mod groups;
mod logs;
mod membership;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod partitions;
mod placement;
mod producer_states;
mod producers;
mod wire;
