//! Who is asked: a service itself, or a client of a server over it.

use std::sync::Arc;

use esker_metadata_api::{Admin, LogIndex, Pods, Sequencer, TopicAdmin, TopicTable};
use esker_types::ClusterId;

use crate::stage::running::{Client, Service, Serving, config, until};

/// How a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its own methods.
    InProcess,
    /// Over the internal API on loopback.
    Remote,
}

pub(crate) const WAYS: [Way; 2] = [Way::InProcess, Way::Remote];

/// The five traits.
pub(crate) struct Subject {
    pub(crate) sequencer: Arc<dyn Sequencer>,
    pub(crate) log_index: Arc<dyn LogIndex>,
    pub(crate) admin: Arc<dyn Admin>,
    pub(crate) topic_admin: Arc<dyn TopicAdmin>,
    pub(crate) pods: Arc<dyn Pods>,
    remote: Option<(Client, Serving)>,
}

impl Subject {
    pub(crate) async fn new<S: Service>(way: Way, service: &Arc<S>, cluster: ClusterId) -> Self {
        match way {
            Way::InProcess => Self {
                sequencer: service.clone(),
                log_index: service.clone(),
                admin: service.clone(),
                topic_admin: service.clone(),
                pods: service.clone(),
                remote: None,
            },
            Way::Remote => {
                let serving = Serving::of(service, cluster).await;
                let client = Client::start(config(&[serving.address], cluster));
                let remote = Arc::new(client.remote.clone());
                Self {
                    sequencer: remote.clone(),
                    log_index: remote.clone(),
                    admin: remote.clone(),
                    topic_admin: remote.clone(),
                    pods: remote,
                    remote: Some((client, serving)),
                }
            }
        }
    }

    /// Waits until the topics that are known without asking are `wanted`.
    pub(crate) async fn topics(&self, wanted: impl Fn(&TopicTable) -> bool) -> Arc<TopicTable> {
        until(|| wanted(&self.admin.topics())).await;
        self.admin.topics()
    }

    pub(crate) async fn end(self) {
        if let Some((client, serving)) = self.remote {
            client.stop().await;
            serving.stop().await;
        }
    }
}
