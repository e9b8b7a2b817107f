//! The group coordinator as its host sees it: requests, ticks and durable commands in, answers out.

#![cfg(test)] // so that clippy knows the helpers as tests
mod commits;
mod forgetting;
mod joining;
mod leaving;
mod limits;
mod random;
mod static_members;
mod syncing;
mod take_over;
mod world;
