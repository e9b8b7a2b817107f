//! How this process reaches the metadata service: its own, or that of other processes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use esker_env::Env;
use esker_metadata::{MetadataService, MetadataStatus};
use esker_metadata_api::{Admin, Endpoint, LogIndex, Pods, Sequencer, TopicAdmin};
use esker_remote::{ClientTls, Identity, RemoteConfig, RemoteMetadata, RemoteTask};
use esker_types::ClusterId;

use crate::config::{InternalSettings, ServeConfig};

/// Between two questions whether the metadata service answers, at the start.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The metadata service, wherever it is.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) sequencer: Arc<dyn Sequencer>,
    pub(crate) log_index: Arc<dyn LogIndex>,
    pub(crate) admin: Arc<dyn Admin>,
    pub(crate) topic_admin: Arc<dyn TopicAdmin>,
    pub(crate) pods: Arc<dyn Pods>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Here(MetadataService),
    Elsewhere(RemoteMetadata),
}

/// What this process shows to others that it connects to, and whom it trusts.
pub(super) fn client_tls(internal: &InternalSettings) -> Option<ClientTls> {
    internal.tls.as_ref().map(|files| ClientTls {
        ca: files.ca.clone(),
        identity: Some(Identity {
            certificate: files.certificates.clone(),
            key: files.key.clone(),
        }),
        server_name: files.name.clone(),
    })
}

impl Access {
    fn over<M>(service: Arc<M>, place: Place) -> Self
    where
        M: Sequencer + LogIndex + Admin + TopicAdmin + Pods,
    {
        Self {
            sequencer: service.clone(),
            log_index: service.clone(),
            admin: service.clone(),
            topic_admin: service.clone(),
            pods: service,
            place,
        }
    }

    /// Over the addresses that are set; without any, `local` itself.
    ///
    /// # Errors
    /// Neither is there, or an address makes no sense.
    pub(crate) fn open(
        config: &ServeConfig,
        cluster: ClusterId,
        local: Option<MetadataService>,
        env: &Env,
        node_id: i32,
    ) -> anyhow::Result<(Self, Option<RemoteTask>)> {
        let internal = &config.internal;
        if internal.metadata.is_empty() {
            let local = local.context("no metadata service is set: --metadata")?;
            let place = Place::Here(local.clone());
            return Ok((Self::over(Arc::new(local), place), None));
        }
        let addresses = internal.metadata.iter().map(Endpoint::to_string).collect();
        let remote = RemoteConfig {
            tls: client_tls(internal),
            ..RemoteConfig::new(addresses, cluster, node_id)
        };
        let (remote, task) = RemoteMetadata::start(remote, env.clone()).context("--metadata")?;
        let place = Place::Elsewhere(remote.clone());
        Ok((Self::over(Arc::new(remote), place), Some(task)))
    }

    /// Completes when the metadata service answers for the first time. Cancel safe.
    pub(crate) async fn answers(&self, env: &Env) {
        match &self.place {
            Place::Here(service) => service.status_becomes(MetadataStatus::is_leading).await,
            Place::Elsewhere(_) => {
                while self.admin.topics_current().await.is_err() {
                    env.clock.sleep(ASK_EVERY).await;
                }
            }
        }
    }

    /// The client, for its figures.
    pub(crate) fn remote(&self) -> Option<&RemoteMetadata> {
        match &self.place {
            Place::Here(_) => None,
            Place::Elsewhere(remote) => Some(remote),
        }
    }
}
