//! Opens the bucket that a configuration names and proves that it can be trusted.

use std::sync::Arc;

use anyhow::Context as _;
use esker_env::Env;
use esker_object::{
    Bucket, DurableBucket, DurableConfig, LocalBucket, MemoryBucket, ProbeError, RequestMeter,
    S3Bucket, S3Config, StorePulse, claim_cluster, probe, probe_conditions, probe_races,
    read_cluster,
};
use esker_types::ClusterId;

use crate::config::{S3Settings, Secret, ServeConfig, StoreUrl};
use crate::store_watch::StoreWatch;

/// A bucket ready for use.
#[derive(Debug)]
pub(crate) struct OpenStore {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) meter: Arc<RequestMeter>,
    pub(crate) pulse: Arc<StorePulse>,
    pub(crate) cluster: ClusterId,
    /// What is left of the start-up probe.
    pub(crate) races: Option<Races>,
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

/// Opens the store, proves conditional create, settles whose prefix it is. Before anything is
/// written for the first time that is proved under a race too; a store that has passed it then is
/// raced again beside the start ([`Races`]), since some take seconds for it.
///
/// # Errors
/// Anything that keeps the process from starting; each says what to do.
pub(crate) async fn open(config: &ServeConfig, env: &Env) -> anyhow::Result<OpenStore> {
    const FAILED: &str = "the store failed its start-up probe";
    let start = env.clock.now();
    let back_end = back_end(config, env).await.context("open the store")?;
    let conditions = probe_conditions(back_end.as_ref(), env).await;
    conditions.context(FAILED)?;
    let durable = DurableBucket::new(Arc::clone(&back_end), DurableConfig::default(), env.clone());
    let (meter, pulse) = (Arc::clone(durable.meter()), Arc::clone(durable.pulse()));
    let found = read_cluster(&durable).await?;
    let is_first = found.is_none();
    if is_first {
        let raced = probe_races(back_end.as_ref(), env).await;
        raced.context(FAILED)?;
    }
    let cluster = claim_cluster(&durable, found, config.cluster_id, env).await?;
    let millis = u64::try_from(env.clock.now().since(start).as_millis()).unwrap_or(u64::MAX);
    tracing::info!(is_first, millis, "store probe passed");
    let races = Races {
        back_end,
        env: env.clone(),
    };
    Ok(OpenStore {
        bucket: Arc::new(durable),
        meter,
        pulse,
        cluster,
        races: (!is_first).then_some(races),
    })
}

impl OpenStore {
    /// Whoever looks whether it works.
    pub(crate) fn watch(&self, env: &Env) -> StoreWatch {
        StoreWatch {
            bucket: Arc::clone(&self.bucket),
            pulse: Arc::clone(&self.pulse),
            clock: Arc::clone(&env.clock),
        }
    }
}

/// The races of the start-up probe, to be run beside the start.
#[derive(Debug)]
pub(crate) struct Races {
    back_end: Arc<dyn Bucket>,
    env: Env,
}

impl Races {
    /// Returns when the store has stood them, or could not be asked.
    ///
    /// # Errors
    /// It loses races, and did not when the cluster began: the process must end.
    pub(crate) async fn run(self) -> Result<(), ProbeError> {
        match probe_races(self.back_end.as_ref(), &self.env).await {
            Ok(()) => tracing::info!("store stood its races"),
            Err(lost @ ProbeError::RaceLost { .. }) => return Err(lost),
            Err(error) => tracing::warn!(%error, "store could not be raced at this start"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use esker_object::{Fault, FaultRule, FaultyBucket, Operation, StoreErrorKind};

    use super::*;

    async fn raced(fault: Option<Fault>) -> Result<(), ProbeError> {
        let env = Env::system();
        let faulty = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
        if let Some(fault) = fault {
            faulty.add(FaultRule::new(fault).on(Operation::Put));
        }
        let back_end = Arc::new(faulty);
        Races { back_end, env }.run().await
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_lost_race_ends_a_process_that_has_started() {
        let sound = raced(None).await;
        let away = raced(Some(Fault::Refuse(StoreErrorKind::Exhausted))).await;
        let nobody_wins = raced(Some(Fault::FalseExists)).await;

        assert!(sound.is_ok() && away.is_ok(), "{sound:?} {away:?}");
        assert!(matches!(
            nobody_wins,
            Err(ProbeError::RaceLost { winners: 0, .. })
        ));
    }
}
