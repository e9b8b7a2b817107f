//! A TCP balancer for tests in other languages: `esker-balancer LISTEN TARGET…`. Prints one line,
//! `listening at HOST:PORT`, and runs until it is killed.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use esker_e2e::Balancer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut addresses = Vec::new();
    for word in std::env::args().skip(1) {
        let address: SocketAddr = word
            .parse()
            .with_context(|| format!("no address: {word}"))?;
        addresses.push(address);
    }
    let (listen, targets) = addresses
        .split_first()
        .context("usage: esker-balancer LISTEN TARGET…")?;
    let balancer = Balancer::start(*listen, targets.to_vec()).await?;
    writeln!(std::io::stdout(), "listening at {}", balancer.address)?;
    std::future::pending().await
}
