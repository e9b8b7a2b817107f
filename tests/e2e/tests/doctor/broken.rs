//! Set-ups that are broken: each in one way, which is found and nothing else.

use std::net::TcpListener;

use anyhow::{Context as _, ensure};
use esker_e2e::{SmallDisk, StoreKind, TestStore, proved};
use esker_testkit::{Rule, SEAWEED_READER_KEYS, ShapedFault, free_port};

use crate::examination::{Examination, doctor, doctor_at};

async fn through(store: &TestStore, fault: ShapedFault) -> anyhow::Result<Examination> {
    let shaper = store.shaper(vec![Rule::new(fault)]).await?;
    let arguments = store.arguments_through(&shaper);
    let program = doctor(&["--store", &arguments.store])?;
    Examination::of(program.args(&arguments.more)).await
}

#[tokio::test]
async fn a_store_without_conditions() -> anyhow::Result<()> {
    let store = TestStore::start_open().await?;

    let examination = through(&store, ShapedFault::NoCond).await?;

    let told = examination.blames(
        &["conditional writes"],
        "no conditional create",
        "If-None-Match",
    )?;
    proved(&format!("a store without conditions: {told}"));
    Ok(())
}

#[tokio::test]
async fn wrong_rights() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Seaweed).await?;
    let endpoint = store.endpoint().context("SeaweedFS has an endpoint")?;
    let as_whom = |id: &str, secret: &str| {
        let words = ["--s3-endpoint", endpoint, "--s3-region", "us-east-1"];
        let keys = ["--s3-access-key-id", id, "--s3-secret-access-key", secret];
        let words: Vec<String> = words
            .iter()
            .chain(&keys)
            .map(|word| (*word).into())
            .collect();
        anyhow::Ok(doctor(&["--store", &store.url()])?.args(words))
    };
    let (id, secret) = (SEAWEED_READER_KEYS.key_id, SEAWEED_READER_KEYS.secret);

    let reader = Examination::of(as_whom(id, secret)?).await?;
    let stranger = Examination::of(as_whom("nobody", "nothing")?).await?;

    let told = reader.blames(
        &["store create", "store delete"],
        "AccessDenied",
        "grant them s3:PutObject",
    )?;
    ensure!(reader.checks("ok").contains(&"store read"), "{reader:?}");
    ensure!(reader.checks("ok").contains(&"store list"), "{reader:?}");
    stranger.blames(
        &[
            "store create",
            "store read",
            "store list",
            "store delete",
            "cluster",
        ],
        "InvalidAccessKeyId",
        "check the credentials",
    )?;
    ensure!(
        !stranger.ran.out().contains("nothing\""),
        "a secret was printed"
    );
    proved(&format!("a reader's rights: {told}"));
    Ok(())
}

#[tokio::test]
async fn a_full_disk() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let disk = SmallDisk::mount(&store.path().join("disk")).await?;
    let url = format!("file://{}/bucket", disk.path().display());
    Examination::of(doctor(&["--store", &url])?)
        .await?
        .is_well(&["store create", "conditional writes"])?;
    disk.fill();

    let examination = Examination::of(doctor(&["--store", &url])?).await?;

    let failed = examination.checks("failed");
    let told = examination.blames(&failed[..1], "", "make room")?;
    ensure!(told.contains("full") || told.contains("No space"), "{told}");
    proved(&format!("a full disk: {told}"));
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_off() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Seaweed).await?;

    let far = through(&store, ShapedFault::Clock { seconds: 1200 }).await?;
    let near = through(&store, ShapedFault::Clock { seconds: -60 }).await?;

    let told = far.blames(&["clock"], "s ahead of this machine", "NTP")?;
    near.is_well(&["conditional writes"])?;
    ensure!(near.checks("warning") == ["clock"], "{}", near.ran.tell());
    proved(&format!("a clock 20 minutes off: {told}"));
    Ok(())
}

#[tokio::test]
async fn a_port_in_use() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let free = format!("127.0.0.1:{}", free_port()?);
    let url = store.url();

    let program = doctor_at(&address, &free, &["--store", &url])?;
    let examination = Examination::of(program).await?;

    let told = examination.blames(&["port of Kafka"], "in use", "--kafka-listen")?;
    examination.ran.status.code().context("it was killed")?;
    proved(&format!("a port in use: {told}"));
    Ok(())
}

#[tokio::test]
async fn settings_that_cannot_be_used() -> anyhow::Result<()> {
    let program = doctor(&["--linger-ms", "soon", "--segment-bytes", "1"])?;

    let examination = Examination::of(program).await?;
    let file = doctor(&["--config", "/no/such/file.toml"])?;
    let file = Examination::of(file).await?;

    let told = examination.blames(&["settings"], "\"soon\", from flag", "milliseconds")?;
    ensure!(examination.checks("failed").len() == 2, "{examination:?}");
    file.blames(&["settings"], "file.toml", "--config")?;
    proved(&format!("wrong settings: {told}"));
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_named_and_not_there() -> anyhow::Result<()> {
    let nobody = format!("127.0.0.1:{}", free_port()?);
    let arguments = ["--store", "memory:", "--bootstrap", &nobody];

    let examination = Examination::of(doctor(&arguments)?).await?;

    let told = examination.blames(&["Kafka"], "refused", "--bootstrap")?;
    proved(&format!("nobody at --bootstrap: {told}"));
    Ok(())
}
