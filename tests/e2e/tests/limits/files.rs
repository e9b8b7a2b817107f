//! Open files run out: connections wait or are closed, the store does not, and all recovers.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::metric;
use esker_e2e::{
    StoreKind, TestStore, Wire, limit_open_files, limit_open_files_for_good, open_files, proved,
    raise_open_files,
};
use esker_testkit::EskerProcess;

use crate::others::{Others, answers, is_answered};

/// Half of so few are kept for the store.
const FEW_FILES: u64 = 200;
const FEW_CONNECTIONS: usize = 100;
const WARNING: &str = "accepting kafka connections fails";

#[tokio::test]
async fn few_open_files_allow_few_connections_and_leave_enough_for_the_store() -> anyhow::Result<()>
{
    let store = TestStore::start(StoreKind::Directory).await?;
    let mut esker = EskerProcess::spawn(&store.arguments())?;
    limit_open_files_for_good(esker.id(), FEW_FILES)?;
    esker.wait_until_ready().await?;
    let mut others = Others::start(esker.kafka).await?;

    let mut wires = Vec::new();
    let mut refused = 0;
    for _ in 0..FEW_CONNECTIONS + 1 {
        let mut wire = Wire::connect(esker.kafka).await?;
        if is_answered(&mut wire).await? {
            wires.push(wire);
        } else {
            refused += 1;
        }
    }
    let longest = others.serve_for(Duration::from_secs(1)).await?;

    let open = metric(esker.http, "esker_kafka_connections_open").await?;
    ensure!(open <= 100.0, "{open} connections are open");
    ensure!(refused > 0, "none was refused");
    let log = std::fs::read_to_string(&esker.log)?;
    ensure!(
        log.contains("open files allow fewer kafka connections"),
        "{}",
        esker.log_tail()
    );
    ensure!(!log.contains(WARNING), "{}", esker.log_tail());
    proved(&format!(
        "with {FEW_FILES} open files {} connections were served beside others, {refused} were \
         closed at once, and the store had files enough (longest round trip {longest:.0?})",
        wires.len()
    ));
    Ok(())
}

#[tokio::test]
async fn when_files_run_out_old_connections_live_and_new_ones_wait_until_there_are_some()
-> anyhow::Result<()> {
    raise_open_files()?;
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let mut others = Others::start(esker.kafka).await?;
    let mut old = Wire::connect(esker.kafka).await?;
    answers(&mut old).await?;

    limit_open_files(esker.id(), open_files(esker.id())? + 4)?;
    let mut new = Vec::new();
    for _ in 0..40 {
        // The system takes them in; the process cannot yet.
        let mut wire = Wire::connect(esker.kafka).await?;
        wire.send(&esker_e2e::request(18, 0, &[])).await?;
        new.push(wire);
    }
    for _ in 0..5 {
        answers(&mut old).await.context("while files run out")?;
    }
    let clock = esker_env::Env::system().clock;
    clock.sleep(Duration::from_secs(1)).await;
    answers(&mut old)
        .await
        .context("after a second without files")?;
    let log = std::fs::read_to_string(&esker.log)?;
    let warnings = log.lines().filter(|line| line.contains(WARNING)).count();
    limit_open_files(esker.id(), 4096)?;
    for wire in &mut new {
        wire.reply()
            .await?
            .context("a connection that waited was closed")?;
    }
    let longest = others.serve_for(Duration::from_secs(1)).await?;

    ensure!(
        (1..=2).contains(&warnings),
        "{warnings} warnings:\n{}",
        esker.log_tail()
    );
    ensure!(!log.contains("panicked"), "{}", esker.log_tail());
    proved(&format!(
        "without open files old connections were answered, {} new ones waited and were answered \
         when there were files again, {warnings} warnings were logged (longest round trip then \
         {longest:.0?})",
        new.len()
    ));
    Ok(())
}
