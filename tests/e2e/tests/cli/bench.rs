//! `esker bench`: its figures are those of what happened.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::{Program, StoreKind, TestStore, proved};
use esker_env::Env;
use esker_testkit::EskerProcess;
use rustix::process::Signal;
use serde_json::Value;

use crate::transcript::plain_esker;

fn bench(esker: &EskerProcess, line: &str) -> anyhow::Result<Program> {
    let program = plain_esker()?.args(["bench"]).args(line.split(' '));
    Ok(program.args(["-o", "json", "--bootstrap", &esker.kafka.to_string()]))
}

fn figure(report: &Value, place: &str) -> anyhow::Result<f64> {
    let found = report.pointer(place).and_then(Value::as_f64);
    found.with_context(|| format!("no {place} in {report}"))
}

#[tokio::test]
async fn every_record_of_a_fixed_rate_is_offered_acknowledged_and_read() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let load = "end-to-end --rate 400 --duration 3 --warmup 1 --producers 3 --partitions 4";

    let ran = bench(&esker, load)?.succeed().await?;
    let report: Value = serde_json::from_slice(&ran.stdout)?;
    let topics = plain_esker()?.args(["topic", "list", "-o", "json", "--bootstrap"]);
    let topics = topics.args([esker.kafka.to_string()]).succeed().await?;

    let rate = figure(&report, "/produce/records_per_second")?;
    ensure!(
        figure(&report, "/produce/acknowledged")? == 1600.0,
        "{report}"
    );
    ensure!((360.0..=440.0).contains(&rate), "{report}");
    ensure!(report["end_to_end"]["is_complete"] == true, "{report}");
    ensure!(
        figure(&report, "/end_to_end/received")? == 1600.0,
        "{report}"
    );
    let (p50, p99) = ("/end_to_end/latency_ms/p50", "/end_to_end/latency_ms/p99");
    ensure!(0.0 < figure(&report, p50)? && figure(&report, p50)? <= figure(&report, p99)?);
    ensure!(
        topics.out().trim() == "[]",
        "a topic was left: {}",
        topics.tell()
    );
    proved(&format!(
        "bench: 1600 of 1600 records at {rate}/s, none lost, none doubled"
    ));
    Ok(())
}

#[tokio::test]
async fn a_stall_of_the_server_is_in_the_latencies() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let clock = Env::system().clock;
    let load = bench(
        &esker,
        "produce --rate 500 --duration 4 --warmup 0 --in-flight 1",
    )?;

    let stall = async {
        clock.sleep(Duration::from_millis(1500)).await;
        esker.signal(Signal::STOP)?;
        clock.sleep(Duration::from_millis(1200)).await;
        esker.signal(Signal::CONT)
    };
    let (ran, stalled) = tokio::join!(load.succeed(), stall);
    stalled?;
    let report: Value = serde_json::from_slice(&ran?.stdout)?;

    // Records were due all the while: three in ten of them waited, half of these 600 ms or more.
    let p90 = figure(&report, "/produce/latency_ms/p90")?;
    let max = figure(&report, "/produce/latency_ms/max")?;
    ensure!(p90 > 400.0, "the stall is left out: {report}");
    ensure!(max > 1100.0, "{report}");
    ensure!(
        figure(&report, "/produce/acknowledged")? == 2000.0,
        "{report}"
    );
    proved(&format!(
        "a stall of 1.2 s: p90 {p90} ms, max {max} ms, no record left out"
    ));
    Ok(())
}

#[tokio::test]
async fn full_speed_and_reading_back() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let esker = store.esker().await?;
    let create = [
        "topic",
        "create",
        "full",
        "--partitions",
        "2",
        "--bootstrap",
    ];
    let create = plain_esker()?.args(create).args([esker.kafka.to_string()]);
    create.succeed().await?;

    let load = "produce --max --topic full --duration 2 --warmup 0 --producers 2";
    let produced = bench(&esker, load)?.succeed().await?;
    let consumed = bench(&esker, "consume --topic full")?.succeed().await?;
    let produced: Value = serde_json::from_slice(&produced.stdout)?;
    let consumed: Value = serde_json::from_slice(&consumed.stdout)?;

    let count = figure(&produced, "/produce/acknowledged")?;
    ensure!(count > 1000.0, "{produced}");
    ensure!(produced["produce"]["latency_ms"].is_null(), "{produced}");
    ensure!(figure(&produced, "/produce/request_ms/p50")? > 0.0);
    ensure!(
        figure(&consumed, "/consume/received")? == count,
        "{consumed}"
    );
    proved(&format!(
        "bench at full speed: {count} records written and read back"
    ));
    Ok(())
}
