//! Directories and ports that cannot be used.

use std::net::TcpListener;

use anyhow::{Context as _, ensure};
use esker_e2e::{HttpApi, HttpRecord, StoreKind, TestStore, proved};
use esker_testkit::EskerArguments;

use crate::refusals::{Refusal, serve, serve_as};

#[tokio::test]
async fn a_path_that_is_no_directory_is_refused() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let file = store.path().join("a-file");
    std::fs::write(&file, "")?;
    let url = format!("file://{}/below", file.display());

    let refusal = Refusal::of(serve_as(&EskerArguments::new(store.path(), &url))?).await?;

    refusal.says(&[
        "a-file/below",
        "Not a directory",
        "choose another directory",
    ])?;
    proved(&format!("a path below a file: {}", refusal.reason));
    Ok(())
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_its_user_goes_on() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let first = store.esker().await?;

    let refusal = Refusal::of(serve_as(&store.arguments())?).await?;

    refusal.says(&[
        "is in use by process",
        &first.id().to_string(),
        "stop that process",
    ])?;
    let api = HttpApi::new(first.http);
    api.create_topic("still", 1).await?;
    api.append("still", Some(0), &[HttpRecord::new(None, Some(b"here"))])
        .await?;
    proved(&format!(
        "a second process on a directory: {}",
        refusal.reason
    ));
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_the_flag_that_chooses_another() -> anyhow::Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let free = "127.0.0.1:0";
    let arguments = |kafka, http| {
        [
            "--store",
            "memory:",
            "--kafka-listen",
            kafka,
            "--http-listen",
            http,
        ]
    };

    let kafka = Refusal::of(serve(&arguments(&address, free))?).await?;
    let http = Refusal::of(serve(&arguments(free, &address))?).await?;

    kafka.says(&[&address, "--kafka-listen", "in use"])?;
    http.says(&[&address, "--http-listen", "in use"])?;
    proved(&format!("ports in use: {} | {}", kafka.reason, http.reason));
    Ok(())
}

/// `cluster.json` of a store, once Esker has made it.
async fn cluster_file(store: &TestStore) -> anyhow::Result<(std::path::PathBuf, String)> {
    let mut esker = store.esker().await?;
    esker.stop().await?;
    let path = store.path().join("bucket/cluster.json");
    let text = std::fs::read_to_string(&path)?;
    Ok((path, text))
}

#[tokio::test]
async fn another_clusters_prefix_is_refused() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let (_, text) = cluster_file(&store).await?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let here = json["cluster_id"].as_str().context("no cluster id")?;
    let other = "00112233445566778899aabbccddeeff";
    let mut arguments = store.arguments();
    arguments.more = vec!["--cluster-id".to_owned(), other.to_owned()];

    let refusal = Refusal::of(serve_as(&arguments)?).await?;

    refusal.says(&[
        "belongs to cluster",
        here,
        other,
        "check the bucket and the prefix",
    ])?;
    arguments.more = vec!["--cluster-id".to_owned(), here.to_owned()];
    esker_testkit::EskerProcess::start(&arguments).await?;
    proved(&format!("another cluster's prefix: {}", refusal.reason));
    Ok(())
}

#[tokio::test]
async fn a_bucket_of_a_future_or_unreadable_format_is_refused_untouched() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let (path, text) = cluster_file(&store).await?;
    let future = text.replace("\"format\":1", "\"format\":99");
    ensure!(future != text, "format is not where it was: {text}");

    std::fs::write(&path, &future)?;
    let newer = Refusal::of(serve_as(&store.arguments())?).await?;
    let kept = std::fs::read_to_string(&path)?;
    std::fs::write(&path, "not what Esker wrote")?;
    let damaged = Refusal::of(serve_as(&store.arguments())?).await?;
    std::fs::write(&path, &text)?;
    store.esker().await.context("the true cluster.json again")?;

    newer.says(&["cluster.json", "format 99", "start a newer Esker"])?;
    ensure!(kept == future, "a refused bucket was changed: {kept}");
    damaged.says(&["cluster.json"])?;
    proved(&format!(
        "a format of the future: {} | damage: {}",
        newer.reason, damaged.reason
    ));
    Ok(())
}
