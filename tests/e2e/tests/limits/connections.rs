//! Ten thousand connections to one process, from ten addresses: at the limits and past them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::metric;
use esker_e2e::{StoreKind, TestStore, Wire, proved, raise_open_files, resident_now};
use esker_env::Env;
use esker_kafka::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::others::{Others, answers, is_answered};

/// Opened and asked at the same time.
const PARALLEL: usize = 64;
/// A connection that has been asked something and now rests.
const CONNECTION_BYTES_MAX: u64 = 32 * 1024;
/// Room for what else grows meanwhile.
const SLACK_BYTES: u64 = 64 * 1024 * 1024;

fn address(number: usize) -> anyhow::Result<[u8; 4]> {
    Ok([127, 0, 0, u8::try_from(number + 2)?])
}

/// `count` connections from one address, each of which was answered.
async fn open(kafka: SocketAddr, source: [u8; 4], count: usize) -> anyhow::Result<Vec<Wire>> {
    let one = |_| async move {
        let mut wire = Wire::connect_from(kafka, source, None).await?;
        answers(&mut wire).await?;
        anyhow::Ok(wire)
    };
    let wires = futures::stream::iter(0..count).map(one);
    wires.buffer_unordered(PARALLEL).try_collect().await
}

/// Waits until the process has noticed that connections are gone.
async fn open_at_most(http: SocketAddr, count: f64) -> anyhow::Result<()> {
    let clock = Env::system().clock;
    for _ in 0..200 {
        if metric(http, "esker_kafka_connections_open").await? <= count {
            return Ok(());
        }
        clock.sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("connections stay open")
}

#[tokio::test]
async fn ten_thousand_connections_are_served_and_one_more_is_closed() -> anyhow::Result<()> {
    let files = raise_open_files()?;
    let wanted = u64::try_from(CONNECTIONS_MAX + 600)?;
    ensure!(
        files >= wanted,
        "needs {wanted} open files, {files} are allowed (ulimit -Hn)"
    );
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut others = Others::start(esker.kafka).await?;
    let quiet = others.serve_for(Duration::from_secs(1)).await?;
    let before = resident_now(esker.id())?;
    let clock = Env::system().clock;
    let begun = clock.now();

    // One address at its limit, and one past it.
    let mut wires = open(esker.kafka, address(0)?, CONNECTIONS_PER_ADDRESS_MAX).await?;
    let mut beyond = Wire::connect_from(esker.kafka, address(0)?, None).await?;
    let beyond_address = is_answered(&mut beyond).await?;
    // The process at its limit: the others have a few connections of their own.
    let mut number = 1;
    loop {
        let open_now = metric(esker.http, "esker_kafka_connections_open").await?;
        let left = f64::from(u32::try_from(CONNECTIONS_MAX)?) - open_now;
        let left = (0..=CONNECTIONS_MAX)
            .find(|count| f64::from(u32::try_from(*count).unwrap_or(u32::MAX)) >= left);
        let left = left.context("more connections than allowed")?;
        if left == 0 {
            break;
        }
        let count = left.min(CONNECTIONS_PER_ADDRESS_MAX);
        wires.extend(open(esker.kafka, address(number)?, count).await?);
        number += 1;
    }
    let took = clock.now().since(begun);
    let mut beyond = Wire::connect_from(esker.kafka, address(40)?, None).await?;
    let beyond_all = is_answered(&mut beyond).await?;
    let held = resident_now(esker.id())?;
    let longest = others.serve_for(Duration::from_secs(3)).await?;
    for wire in wires.iter_mut().step_by(997) {
        answers(wire).await.context("an old connection")?;
    }
    // A place that becomes free is given again.
    let count = wires.len();
    drop(wires.pop());
    let open_max = f64::from(u32::try_from(CONNECTIONS_MAX - 1)?);
    open_at_most(esker.http, open_max).await?;
    let mut again = Wire::connect_from(esker.kafka, address(40)?, None).await?;
    answers(&mut again)
        .await
        .context("in place of one that left")?;
    drop((wires, again));
    open_at_most(esker.http, 10.0).await?;
    others.serve().await?;

    ensure!(
        !beyond_address,
        "connection 1001 of an address was answered"
    );
    ensure!(!beyond_all, "connection 10001 was answered");
    let each = held.saturating_sub(before) / u64::try_from(count)?;
    let bound = before + u64::try_from(count)? * CONNECTION_BYTES_MAX + SLACK_BYTES;
    ensure!(
        held <= bound,
        "{held} bytes are resident, {each} for each connection"
    );
    proved(&format!(
        "{count} connections from {number} addresses opened and answered in {took:.1?}, at {} KiB \
         each ({} to {} MiB); connection 1001 of an address and 10001 of all were closed; others' \
         longest round trip was {quiet:.0?} before and {longest:.0?} beside them",
        each >> 10,
        before >> 20,
        held >> 20
    ));
    Ok(())
}
