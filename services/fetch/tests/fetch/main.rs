//! The fetch role through its public interface, on real segments and a scripted index.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

mod lag;
mod offsets;
mod paced;
mod peers;
mod protocol;
mod random;
mod serve;
mod world;
