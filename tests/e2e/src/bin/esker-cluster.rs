//! A cluster on loopback against MinIO, for people and for tests in other languages: 2 metadata,
//! 3 ingest and 2 fetch processes. Prints one line, `bootstrap HOST:PORT`, when all are ready, and
//! runs until it is asked to stop. Logs lie where it says on stderr.
//!
//! `esker-cluster [--single] [ARGUMENT OF ESKER SERVE …]`: further arguments go to every process.
//! With `--single` clients meet one broker, a balancer over the ingest and fetch processes.

use anyhow::Context as _;
use esker_e2e::{ClusterShape, StoreKind, TestCluster, TestStore};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (single, more): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|word| word == "--single");
    let store = TestStore::start(StoreKind::Minio).await?;
    let shape = ClusterShape::USUAL;
    let cluster = match single.is_empty() {
        true => TestCluster::start_with(&store, shape, &more).await?,
        false => TestCluster::start_single(&store, shape, &more).await?,
    };
    let bootstrap = cluster.bootstrap().context("a bootstrap address")?;
    tell(
        &format!("logs below {}", store.path().display()),
        &bootstrap.to_string(),
    )?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(cluster);
    Ok(())
}

fn tell(logs: &str, bootstrap: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{logs}")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "bootstrap {bootstrap}")?;
    out.flush()
}
