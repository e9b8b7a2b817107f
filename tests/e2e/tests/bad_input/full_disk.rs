//! A disk that fills up: producers hear a retriable error, what was acknowledged stays, and room
//! made is room used. On a tmpfs, so this needs the right to mount.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::{HttpApi, HttpRecord, Kcat, SmallDisk, StoreKind, TestStore, proved};
use esker_env::Env;
use esker_testkit::{EskerArguments, EskerProcess};

const RECORD_BYTES: usize = 90_000;
const BACK_WITHIN: Duration = Duration::from_secs(30);

fn record(number: usize) -> HttpRecord {
    let mut value = format!("record {number} ").into_bytes();
    value.resize(RECORD_BYTES, b'.');
    HttpRecord::new(Some(b"k"), Some(&value))
}

/// Appends until the disk is full; places and numbers of what was acknowledged, the refusal.
async fn fill_by_appending(api: &HttpApi) -> anyhow::Result<(Vec<(u64, usize)>, String)> {
    let mut acknowledged = Vec::new();
    for number in 0..64 {
        match api.append("disk", Some(0), &[record(number)]).await {
            Ok(places) => {
                let (_, offset) = *places.first().context("a place")?;
                acknowledged.push((offset, number));
            }
            Err(error) => return Ok((acknowledged, error.to_string())),
        }
    }
    anyhow::bail!("a disk of 1 MiB took {} records", acknowledged.len())
}

async fn all_there(api: &HttpApi, acknowledged: &[(u64, usize)]) -> anyhow::Result<()> {
    for (offset, number) in acknowledged {
        let read = api
            .read("disk", 0, &format!("offset={offset}&limit=1"))
            .await?;
        let found = read.first().context("nothing at an acknowledged offset")?;
        ensure!(
            found.offset == *offset && found.value == record(*number).value,
            "{offset}"
        );
    }
    Ok(())
}

async fn append_when_possible(api: &HttpApi, number: usize) -> anyhow::Result<(u64, usize)> {
    let clock = Env::system().clock;
    let deadline = clock.now().after(BACK_WITHIN);
    loop {
        match api.append("disk", Some(0), &[record(number)]).await {
            Ok(places) => return Ok((places.first().context("a place")?.1, number)),
            Err(error) => ensure!(clock.now() < deadline, "never again: {error}"),
        }
        clock.sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_recovers_when_there_is_room() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let disk = SmallDisk::mount(&store.path().join("disk")).await?;
    let url = format!("file://{}/bucket", disk.path().display());
    let arguments = EskerArguments::new(store.path(), &url);
    let mut esker = EskerProcess::start(&arguments).await?;
    let api = HttpApi::new(esker.http);
    api.create_topic("disk", 1).await?;

    // First a segment has no room, while the journal has: the broker's own error, at once.
    let reserve = disk.path().join("reserve");
    std::fs::write(&reserve, vec![0; RECORD_BYTES - 8192])?;
    let (mut acknowledged, refusal) = fill_by_appending(&api).await?;
    std::fs::remove_file(&reserve)?;
    let once = [
        "-X",
        "message.send.max.retries=0",
        "-X",
        "message.timeout.ms=30000",
    ];
    let big = [(b"k".to_vec(), vec![b'x'; RECORD_BYTES])];
    let kafka = Kcat::new(esker.kafka).produce("disk", &big, &once).await;
    let kafka = kafka
        .err()
        .context("Kafka said yes to a full disk")?
        .to_string();
    // Then not even the journal has room.
    disk.fill();
    let clock = Env::system().clock;
    let start = clock.now();
    let nothing_fits = api.append("disk", Some(0), &[record(999)]).await;
    let waited = clock.now().since(start);
    let nothing_fits = nothing_fits
        .err()
        .context("HTTP said yes to a full disk")?
        .to_string();
    let alive = api.get("/livez").await.with_context(|| esker.log_tail())?;
    all_there(&api, &acknowledged).await.context("while full")?;
    disk.grow().await?;
    acknowledged.push(append_when_possible(&api, 1000).await?);
    all_there(&api, &acknowledged)
        .await
        .context("with room again")?;
    esker.kill9()?;
    let again = EskerProcess::start(&arguments).await?;
    all_there(&HttpApi::new(again.http), &acknowledged)
        .await
        .context("after kill -9")?;

    ensure!(refusal.contains("503"), "{refusal}");
    ensure!(kafka.contains("Disk error"), "{kafka}");
    ensure!(nothing_fits.contains("status: 50"), "{nothing_fits}");
    ensure!(alive.status == 200, "{alive:?}");
    proved(&format!(
        "a full disk: {} acknowledged records are there while full, with room again and after \
         kill -9; kcat hears KAFKA_STORAGE_ERROR; HTTP hears {refusal}; with no byte left after \
         {waited:?} {nothing_fits}",
        acknowledged.len()
    ));
    Ok(())
}
