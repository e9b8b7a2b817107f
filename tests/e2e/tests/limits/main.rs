//! Limits of issue size, each reached and gone past against a real process: connections, files,
//! lists of thousands of topics, clients that never read or hardly send, catching up beside load.
//!
//! Whoever keeps within the limits is served all the while, and memory stays bounded.

mod catch_up;
mod connections;
mod files;
mod limit_table;
mod others;
mod slow;
mod topics;
mod unread;
