//! Ports for servers that die and come back while clients keep trying.

use std::net::TcpListener;
use std::ops::Range;

use anyhow::bail;
use esker_env::Rng;

/// Below the range from which systems choose ports of outgoing connections: nobody takes one of
/// these while its server is down, and no client is connected to itself.
const PORTS: Range<u16> = 15_000..30_000;
const TRIES_MAX: usize = 100;

/// A loopback port that is free and stays so between a server's death and its return.
///
/// # Errors
/// None is free.
pub fn lasting_port() -> anyhow::Result<u16> {
    let rng = Rng::from_os();
    for _ in 0..TRIES_MAX {
        let width = u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(rng.below(width))?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of {PORTS:?} is free")
}
