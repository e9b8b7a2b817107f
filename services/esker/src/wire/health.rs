//! What operators ask of a process: whether it can serve, whether it leads, its figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use esker_cache::SegmentCache;
use esker_fetch::{Fetch, Fleet};
use esker_http::Health;
use esker_ingest::Ingest;
use esker_metadata::{MetadataMetrics, MetadataService, MetadataStatus};
use esker_object::RequestMeter;
use esker_remote::{ClientMetrics, RemoteServer, ServerMetrics};

use super::data::DataPlane;
use super::{Access, Local};
use crate::store::OpenStore;
use crate::store_watch::StoreWatch;

#[derive(Debug)]
struct DataHealth {
    ingest: Ingest,
    fetch: Fetch,
    cache: Arc<dyn SegmentCache>,
    fleet: Option<Arc<Fleet>>,
    kafka: Arc<esker_kafka::Metrics>,
    /// Whether the metadata service has answered since the start.
    is_open: Arc<AtomicBool>,
}

/// Of one process.
#[derive(Debug)]
pub(super) struct ProcessHealth {
    meter: Arc<RequestMeter>,
    store_watch: StoreWatch,
    metadata: Option<(MetadataService, Arc<MetadataMetrics>)>,
    remote: Option<Arc<ClientMetrics>>,
    internal: Option<Arc<ServerMetrics>>,
    data: Option<DataHealth>,
}

impl ProcessHealth {
    pub(super) fn new(
        store: &OpenStore,
        store_watch: &StoreWatch,
        access: &Access,
        local: Option<&Local>,
    ) -> Self {
        Self {
            meter: Arc::clone(&store.meter),
            store_watch: store_watch.clone(),
            metadata: local.map(|local| (local.service.clone(), Arc::clone(&local.metrics))),
            remote: access.remote().map(esker_remote::RemoteMetadata::metrics),
            internal: None,
            data: None,
        }
    }

    pub(super) fn add_internal(&mut self, internal: &RemoteServer) {
        self.internal = Some(internal.metrics());
    }

    pub(super) fn add_data(&mut self, data: &DataPlane) {
        self.data = Some(DataHealth {
            ingest: data.ingest.clone(),
            fetch: data.fetch.clone(),
            cache: Arc::clone(&data.cache),
            fleet: data.fleet.as_ref().map(|part| Arc::clone(&part.fleet)),
            kafka: data.kafka.metrics(),
            is_open: Arc::clone(&data.is_open),
        });
    }

    /// A process that serves records over its own metadata service can do so while it leads; one
    /// whose only role is metadata is as good standing by.
    fn metadata_trouble(&self, status: &MetadataStatus) -> Option<String> {
        let is_enough = self.data.is_none() || self.remote.is_some();
        match status {
            MetadataStatus::Leading { .. } => None,
            MetadataStatus::Standby { .. } if is_enough => None,
            MetadataStatus::Starting => Some("reading the metadata journal".to_owned()),
            MetadataStatus::Standby { leader } => Some(format!("standing by for {leader}")),
            MetadataStatus::Recovering { epoch, .. } => Some(format!("recovering, epoch {epoch}")),
            MetadataStatus::Deposed { by } => Some(format!("deposed by {by}")),
            MetadataStatus::Stopped => Some("stopping".to_owned()),
        }
    }
}

impl Health for ProcessHealth {
    fn not_ready(&self) -> Option<String> {
        let metadata = self.metadata.as_ref();
        let trouble = metadata.and_then(|(service, _)| self.metadata_trouble(&service.status()));
        let trouble = trouble.or_else(|| self.store_watch.stopped());
        trouble.or_else(|| {
            let data = self.data.as_ref()?;
            let is_waiting = !data.is_open.load(Ordering::Relaxed);
            is_waiting.then(|| "waiting for the metadata service".to_owned())
        })
    }

    fn owner(&self) -> Option<String> {
        let (service, _) = self.metadata.as_ref()?;
        service.status().owner().map(|owner| owner.to_string())
    }

    fn metrics(&self) -> String {
        let mut text = esker_object::metrics::render(&self.meter);
        text.push_str(&self.store_watch.render());
        if let Some(data) = &self.data {
            text.push_str(&data.kafka.render());
            text.push_str(&data.ingest.metrics().render());
            text.push_str(&data.fetch.stats().render());
            text.push_str(&data.cache.stats().render());
            if let Some(fleet) = &data.fleet {
                text.push_str(&fleet.stats().render());
            }
        }
        if let Some((_, metrics)) = &self.metadata {
            text.push_str(&metrics.render());
        }
        if let Some(metrics) = &self.remote {
            text.push_str(&metrics.render());
        }
        if let Some(metrics) = &self.internal {
            text.push_str(&metrics.render());
        }
        text
    }
}
