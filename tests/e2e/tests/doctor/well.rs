//! Set-ups that are well.

use anyhow::ensure;
use esker_e2e::{StoreKind, TestStore, esker, proved};
use esker_testkit::EskerProcess;

use crate::examination::{Examination, doctor, doctor_at};

const STORE_CHECKS: [&str; 6] = [
    "store",
    "store create",
    "store read",
    "store list",
    "store delete",
    "conditional writes",
];

async fn beside(store: &TestStore, process: &EskerProcess) -> anyhow::Result<Examination> {
    let (kafka, http) = (process.kafka.to_string(), process.http.to_string());
    let arguments = store.arguments();
    let url = arguments.store.clone();
    let program = doctor_at(&kafka, &http, &["--store", &url])?;
    Examination::of(program.args(&arguments.more)).await
}

#[tokio::test]
async fn a_sound_store_without_a_server_is_well() -> anyhow::Result<()> {
    let directory = TestStore::start(StoreKind::Directory).await?;
    let seaweed = TestStore::start(StoreKind::Seaweed).await?;
    let of = async |store: &TestStore| {
        let arguments = store.arguments();
        let program = doctor(&["--store", &arguments.store])?;
        Examination::of(program.args(&arguments.more)).await
    };

    let local = of(&directory).await?;
    let remote = of(&seaweed).await?;

    for examination in [&local, &remote] {
        examination.is_well(&STORE_CHECKS)?;
        examination.is_well(&["settings", "port of Kafka", "port of HTTP", "clock"])?;
        ensure!(examination.checks("skipped") == ["server"]);
        let timings = examination.report["timings"].as_array();
        ensure!(timings.is_some_and(|rows| rows.len() == 6), "{:?}", timings);
    }
    let left = std::fs::read_dir(directory.path().join("bucket/probe")).map(Iterator::count);
    ensure!(left.unwrap_or(0) == 0, "probe objects were left behind");
    proved("a directory and SeaweedFS: every check is well, exit 0, nothing left behind");
    Ok(())
}

#[tokio::test]
async fn a_running_server_takes_a_record_there_and_back() -> anyhow::Result<()> {
    let directory = TestStore::start(StoreKind::Directory).await?;
    let seaweed = TestStore::start(StoreKind::Seaweed).await?;
    let (on_directory, on_seaweed) = (directory.esker().await?, seaweed.esker().await?);
    let server = ["Kafka", "HTTP", "advertised address", "port of Kafka"];

    let local = beside(&directory, &on_directory).await?;
    let remote = beside(&seaweed, &on_seaweed).await?;
    let kafka = on_seaweed.kafka.to_string();
    let given = [
        "--bootstrap",
        &kafka,
        "--http",
        &on_seaweed.http.to_string(),
    ];
    let arguments = [&["--store", "memory:"][..], &given].concat();
    let given = Examination::of(doctor(&arguments)?).await?;
    let topics = esker()?.args(["topic", "list", "-o", "json", "--bootstrap", &kafka]);
    let topics = topics.succeed().await?;

    local.is_well(&server)?;
    ensure!(local.checks("skipped") == ["store"], "{}", local.ran.tell());
    remote.is_well(&server)?;
    remote.is_well(&STORE_CHECKS)?;
    given.is_well(&server[..3])?;
    ensure!(topics.out().trim() == "[]", "{}", topics.tell());
    proved("a server on a directory, on SeaweedFS, and one named by --bootstrap: Kafka and HTTP");
    Ok(())
}

#[tokio::test]
async fn people_read_the_same_findings_as_text() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let port = esker_testkit::free_port()?;
    let arguments = ["--kafka-listen", &format!("127.0.0.1:{port}")];
    let program = esker()?.args([
        "doctor",
        "--store",
        &store.url(),
        "--http-listen",
        "192.0.2.1:1",
    ]);

    let ran = program.args(arguments).run().await?;

    let out = ran.out();
    ensure!(ran.status.code() == Some(1), "{}", ran.tell());
    for words in [
        "SETTING",
        "kafka-listen",
        "flag",
        "ok    store create",
        "FAIL  port of HTTP",
        "to do: ",
        "STORE OPERATION",
        "create an object",
        "1 failed",
    ] {
        ensure!(out.contains(words), "{words:?}: {}", ran.tell());
    }
    ensure!(!out.contains('\u{1b}'), "colours in a pipe: {}", ran.tell());
    Ok(())
}
