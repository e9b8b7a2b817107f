//! Free ports on loopback.

use std::net::TcpListener;

use anyhow::Context as _;

/// A loopback port that was free a moment ago.
///
/// # Errors
/// No port is free.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("bind a free loopback port")?;
    Ok(listener.local_addr()?.port())
}
