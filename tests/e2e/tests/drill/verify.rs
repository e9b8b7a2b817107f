//! `esker verify`: nothing is found under load and after kills, each damage is, codes are kept.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::load::{lasting_port, produce};
use esker_e2e::{StoreKind, TestStore, esker, proved};
use esker_env::{Env, Rng, Shutdown};
use esker_kafka::client::{Client, NewTopic};
use esker_object::ObjectKey;
use esker_testkit::{EskerArguments, EskerProcess};

use crate::bucket::{
    PARTITIONS, TOPIC, change, finds, is_clean, keys, open, producers, put, told, tool,
};

async fn create(process: &EskerProcess) -> anyhow::Result<()> {
    let client = Client::connect(&process.kafka.to_string(), "e2e", Env::system()).await?;
    let topic = NewTopic {
        name: TOPIC,
        partitions: Some(PARTITIONS),
        replication_factor: None,
        configs: &[],
    };
    client.create_topic(&topic).await?;
    Ok(())
}

/// Load, kills, and an audit of each depth while the server runs and after each kill.
async fn stays_clean(kind: StoreKind, rounds: u32) -> anyhow::Result<()> {
    let store = TestStore::start(kind).await?;
    let arguments = EskerArguments {
        kafka_port: Some(lasting_port()?),
        http_port: Some(lasting_port()?),
        ..store.arguments()
    };
    let mut process = EskerProcess::start(&arguments).await?;
    create(&process).await?;
    let env = Env::system();
    let (trigger, stop) = Shutdown::new();
    let plans = producers(process.kafka, Rng::from_os().u64());
    let load = produce(&env, plans, &stop);
    let audits = async {
        let mut segments = 0;
        for _ in 0..rounds {
            env.clock.sleep(Duration::from_millis(700)).await;
            is_clean(&store, &["--quick"]).await?;
            let deep = is_clean(&store, &[]).await?;
            segments = deep.report["figures"]["segments"]
                .as_u64()
                .unwrap_or_default();
            process.kill9()?;
            is_clean(&store, &[]).await?;
            process = EskerProcess::start(&arguments).await?;
        }
        trigger.request();
        anyhow::Ok(segments)
    };
    let (histories, segments) = tokio::join!(load, audits);
    let segments = segments.inspect_err(|_| trigger.request())?;
    let histories = histories?;
    ensure!(process.stop().await?.success(), "{}", process.log_tail());
    let last = is_clean(&store, &[]).await?;
    let batches: usize = histories.iter().map(|history| history.batches.len()).sum();
    ensure!(batches > 100, "hardly any load");
    proved(&format!(
        "{kind:?}: {rounds} kills, 3 audits each, no damage; {segments} segments under load; at \
         rest {} s, requests {}",
        last.report["seconds"], last.report["requests"]
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_under_load_and_after_kills_on_a_directory() -> anyhow::Result<()> {
    stays_clean(StoreKind::Directory, 4).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_under_load_and_after_kills_on_minio() -> anyhow::Result<()> {
    stays_clean(StoreKind::Minio, 2).await
}

fn holds(keys: &[ObjectKey], at: usize) -> anyhow::Result<&ObjectKey> {
    keys.get(at).context("so many objects")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_damage_is_found_on_a_directory() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let mut process = store.esker().await?;
    create(&process).await?;
    let env = Env::system();
    let (trigger, stop) = Shutdown::new();
    let plans = producers(process.kafka, 7);
    let load = produce(&env, plans, &stop);
    let wait = async {
        env.clock.sleep(Duration::from_secs(1)).await;
        trigger.request();
    };
    let (histories, ()) = tokio::join!(load, wait);
    histories?;
    ensure!(process.stop().await?.success(), "{}", process.log_tail());
    // Another start ends the first roll.
    let mut process = store.esker().await?;
    ensure!(process.stop().await?.success(), "{}", process.log_tail());
    is_clean(&store, &[]).await?;
    let bucket = open(&store).await?;
    let bucket = bucket.as_ref();
    let sessions = keys(bucket, "/sessions/").await?;
    let journal = keys(bucket, "/journal/").await?;
    let (segment, seal) = (holds(&sessions, 3)?, sessions.last().context("a seal")?);

    for at in [4, 20, 100, usize::MAX] {
        let whole = change(bucket, segment, |bytes| {
            let at = at.min(bytes.len() - 20);
            bytes[at] ^= 1;
        })
        .await?;
        finds(&store, "object-damaged", segment).await?;
        put(bucket, segment, whole).await?;
    }
    let whole = change(bucket, segment, |bytes| bytes.truncate(200)).await?;
    finds(&store, "object-damaged", segment).await?;
    bucket.delete(segment).await?;
    finds(&store, "segment-missing", segment).await?;
    put(bucket, segment, whole).await?;
    let whole = change(bucket, seal, |_| {}).await?;
    bucket.delete(seal).await?;
    finds(&store, "seal-missing", seal).await?;
    put(bucket, seal, whole).await?;
    let entry = holds(&journal, 1)?;
    let whole = change(bucket, entry, |bytes| bytes[66] ^= 1).await?;
    finds(&store, "object-damaged", entry).await?;
    bucket.delete(entry).await?;
    finds(&store, "journal-entry-missing", entry).await?;
    put(bucket, entry, whole).await?;
    is_clean(&store, &[]).await?;
    proved("esker verify finds each of 9 damages by its kind and key, and nothing once mended");
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_cannot_be_audited_is_told_apart_from_a_damaged_one() -> anyhow::Result<()> {
    let empty = tempfile::tempdir()?;
    let nowhere = format!("file://{}/no/such", empty.path().display());
    let there = format!("file://{}", empty.path().display());

    for (url, words) in [
        (nowhere.as_str(), "cannot be opened"),
        (there.as_str(), "holds no cluster"),
        ("memory:", "gone with its process"),
        ("ftp://x", "store"),
    ] {
        for command in ["verify", "rebuild"] {
            let ran = esker()?.args([command, "--store", url]).run().await?;
            ensure!(ran.status.code() == Some(2), "{}", ran.tell());
            let is_made = command == "rebuild" && words == "cannot be opened";
            ensure!(is_made || ran.err().contains(words), "{}", ran.tell());
        }
    }
    let both = esker()?.args(["verify", "--quick", "--deep"]).run().await?;
    ensure!(both.status.code() == Some(2), "{}", both.tell());
    proved("buckets that cannot be audited end with 2");
    Ok(())
}

#[tokio::test]
async fn a_sound_journal_is_not_rebuilt_and_a_held_directory_neither() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let mut process = store.esker().await?;

    let held = tool(&store, "rebuild")?.run().await?;
    ensure!(process.stop().await?.success(), "{}", process.log_tail());
    let sound = tool(&store, "rebuild")?.run().await?;
    let dry = told(tool(&store, "rebuild")?.args(["--force", "--dry-run"])).await?;

    ensure!(
        held.status.code() == Some(2) && held.err().contains("in use"),
        "{}",
        held.tell()
    );
    ensure!(sound.status.code() == Some(5), "{}", sound.tell());
    ensure!(sound.err().contains("--force"), "{}", sound.tell());
    ensure!(
        dry.ran.status.success() && dry.report["format"] == 1,
        "{}",
        dry.ran.tell()
    );
    Ok(())
}
