//! What several tests of the internal API use: a scripted service, servers and clients of it.

#![expect(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod blocks;
pub(crate) mod running;
pub(crate) mod samples;
pub(crate) mod scripted;
