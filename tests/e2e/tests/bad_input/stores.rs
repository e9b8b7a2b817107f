//! S3 stores that cannot be used: no conditional writes, no access, no bucket, nobody there.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use esker_e2e::{StoreKind, TestStore, proved};
use esker_env::Env;
use esker_testkit::{EskerArguments, Rule, ShapedFault, free_port};

use crate::refusals::{Refusal, serve_as};

fn with_flag(arguments: &EskerArguments, flag: &str, value: &str) -> EskerArguments {
    let mut arguments = arguments.clone();
    let at = arguments.more.iter().position(|word| word == flag);
    if let Some(place) = at.and_then(|at| arguments.more.get_mut(at + 1)) {
        value.clone_into(place);
    }
    arguments
}

#[tokio::test]
async fn a_store_without_conditional_writes_is_refused() -> anyhow::Result<()> {
    // Conditions are signed: a store that looks at signatures would refuse their loss itself.
    let store = TestStore::start_open().await?;
    let shaper = store.shaper(vec![Rule::new(ShapedFault::NoCond)]).await?;

    let refusal = Refusal::of(serve_as(&store.arguments_through(&shaper))?).await?;

    refusal.says(&["no conditional create", "If-None-Match"])?;
    let objects = shaper.report().requests;
    let probes = objects.iter().filter(|row| row.operation == "put");
    ensure!(
        probes.clone().all(|row| row.class == "probe"),
        "it wrote on: {objects:?}"
    );
    proved(&format!(
        "a store without conditional writes: {}",
        refusal.reason
    ));
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_refused() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let right = store.arguments();

    let secret = with_flag(&right, "--s3-secret-access-key", "not-the-secret");
    let secret = Refusal::of(serve_as(&secret)?).await?;
    let nobody = with_flag(&right, "--s3-access-key-id", "nobody");
    let nobody = Refusal::of(serve_as(&nobody)?).await?;

    secret.says(&[
        "denies access",
        "check the credentials",
        "SignatureDoesNotMatch",
    ])?;
    nobody.says(&[
        "denies access",
        "check the credentials",
        "InvalidAccessKeyId",
    ])?;
    ensure!(
        !secret.reason.contains("not-the-secret"),
        "a secret was printed"
    );
    proved(&format!("wrong credentials: {}", secret.reason));
    Ok(())
}

fn s3_at(store: &TestStore, endpoint: &str) -> EskerArguments {
    let mut arguments = EskerArguments::new(store.path(), "s3://no-such-bucket/esker");
    arguments.more = TestStore::s3_arguments(endpoint);
    arguments
}

#[tokio::test]
async fn a_missing_bucket_is_refused() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Minio).await?;
    let endpoint = store.endpoint().context("the S3 store")?;

    let refusal = Refusal::of(serve_as(&s3_at(&store, endpoint))?).await?;

    refusal.says(&["the bucket does not exist", "create it", "NoSuchBucket"])?;
    proved(&format!("a missing bucket: {}", refusal.reason));
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_not_there_is_refused_in_bounded_time() -> anyhow::Result<()> {
    let store = TestStore::start(StoreKind::Directory).await?;
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let clock = Env::system().clock;
    let start = clock.now();

    let refusal = Refusal::of(serve_as(&s3_at(&store, &format!("http://{nobody}")))?).await?;

    let took = clock.now().since(start);
    refusal.says(&[
        "check that its endpoint is right and that it is up",
        &nobody.to_string(),
    ])?;
    ensure!(took < Duration::from_secs(30), "it took {took:?}");
    proved(&format!(
        "no store at the endpoint, after {took:?}: {}",
        refusal.reason
    ));
    Ok(())
}
