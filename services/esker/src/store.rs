//! Opens the bucket that a configuration names and proves that it can be trusted.

use std::sync::Arc;

use anyhow::Context as _;
use esker_env::Env;
use esker_object::{
    Bucket, DurableBucket, DurableConfig, LocalBucket, MemoryBucket, RequestMeter, S3Bucket,
    S3Config, open_cluster, probe,
};
use esker_types::ClusterId;

use crate::config::{S3Settings, Secret, ServeConfig, StoreUrl};

/// A bucket ready for use.
#[derive(Debug)]
pub(crate) struct OpenStore {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) meter: Arc<RequestMeter>,
    pub(crate) cluster: ClusterId,
}

pub(crate) fn s3_config(bucket: &str, prefix: &str, settings: &S3Settings) -> S3Config {
    let open = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.0.clone());
    S3Config {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: settings.endpoint.clone(),
        region: settings.region.clone(),
        path_style: settings.path_style,
        access_key_id: settings.access_key_id.clone(),
        secret_access_key: open(&settings.secret_access_key),
        session_token: open(&settings.session_token),
        upload_checksum: settings.checksum,
    }
}

/// What a command is going to do with the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read, also beside a process that holds it.
    Read,
    /// Create objects: the store is proved first.
    Write,
}

/// A bucket, whoever it belongs to.
#[derive(Debug)]
pub(crate) struct OpenBucket {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) meter: Arc<RequestMeter>,
}

/// Opens the bucket without settling whose it is; for reading nothing is written or locked.
///
/// # Errors
/// It cannot be opened, or may not be trusted with writes.
pub(crate) async fn open_bucket(
    config: &ServeConfig,
    access: Access,
    env: &Env,
) -> anyhow::Result<OpenBucket> {
    let back_end: Arc<dyn Bucket> = match (&config.store, access) {
        (StoreUrl::Memory, _) => anyhow::bail!("memory is gone with its process: name a bucket"),
        (StoreUrl::Directory(path), Access::Read) => {
            Arc::new(LocalBucket::open_to_read(path).await?)
        }
        (StoreUrl::Directory(_) | StoreUrl::S3 { .. }, _) => back_end(config, env).await?,
    };
    if access == Access::Write {
        let proved = probe(back_end.as_ref(), env).await;
        proved.context("the store failed its start-up probe")?;
    }
    let durable = DurableBucket::new(back_end, DurableConfig::default(), env.clone());
    let meter = Arc::clone(durable.meter());
    let bucket = Arc::new(durable);
    Ok(OpenBucket { bucket, meter })
}

async fn back_end(config: &ServeConfig, env: &Env) -> anyhow::Result<Arc<dyn Bucket>> {
    Ok(match &config.store {
        StoreUrl::Memory => Arc::new(MemoryBucket::new()),
        StoreUrl::Directory(path) => Arc::new(LocalBucket::open(path).await?),
        StoreUrl::S3 { bucket, prefix } => {
            let settings = s3_config(bucket, prefix, &config.s3);
            Arc::new(S3Bucket::open(settings, env.clone()).await?)
        }
    })
}

/// Opens the store, proves conditional create under a race, settles whose prefix it is.
///
/// # Errors
/// Anything that keeps the process from starting; each says what to do.
pub(crate) async fn open(config: &ServeConfig, env: &Env) -> anyhow::Result<OpenStore> {
    let back_end = back_end(config, env).await.context("open the store")?;
    let report = probe(back_end.as_ref(), env)
        .await
        .context("the store failed its start-up probe")?;
    tracing::info!(
        races = report.races_won_once,
        millis = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        "store probe passed"
    );
    let durable = DurableBucket::new(back_end, DurableConfig::default(), env.clone());
    let meter = Arc::clone(durable.meter());
    let cluster = open_cluster(&durable, config.cluster_id, env).await?;
    Ok(OpenStore {
        bucket: Arc::new(durable),
        meter,
        cluster,
    })
}
