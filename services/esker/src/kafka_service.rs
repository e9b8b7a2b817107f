//! Hands each Kafka request to who serves it, and says which address clients are told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use esker_admin::{AdminConfig, AdminFront, AdminParts};
use esker_cluster::ClientZones;
use esker_env::Env;
use esker_fetch::Fetch;
use esker_ingest::Ingest;
use esker_kafka::messages::{FetchRequest, StrBytes};
use esker_kafka::{Reply, Request, RequestContext, Service};
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Addresses of ours that clients may have reached, when none is advertised.
const LOCAL_ADDRESSES_MAX: usize = 64;

/// Fronts by the address that their clients are told.
#[derive(Debug)]
pub(crate) struct Fronts {
    config: AdminConfig,
    parts: AdminParts,
    env: Env,
    /// Told to everyone; else each client is told the address it came by.
    fixed: Option<AdminFront>,
    by_address: Mutex<BTreeMap<SocketAddr, AdminFront>>,
}

impl Fronts {
    /// `is_fixed`: the address in `config` is told to everyone.
    pub(crate) fn new(config: AdminConfig, is_fixed: bool, parts: AdminParts, env: Env) -> Self {
        let front = || AdminFront::new(config.clone(), parts.clone(), env.clone());
        Self {
            fixed: is_fixed.then(front),
            config,
            parts,
            env,
            by_address: Mutex::default(),
        }
    }

    fn at(&self, address: SocketAddr) -> AdminFront {
        if let Some(front) = &self.fixed {
            return front.clone();
        }
        let mut fronts = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if fronts.len() >= LOCAL_ADDRESSES_MAX {
            fronts.clear();
        }
        let front = fronts.entry(address).or_insert_with(|| {
            let config = AdminConfig {
                advertised_host: address.ip().to_canonical().to_string(),
                advertised_port: address.port(),
                ..self.config.clone()
            };
            AdminFront::new(config, self.parts.clone(), self.env.clone())
        });
        front.clone()
    }
}

/// The service behind the Kafka listener.
#[derive(Debug)]
pub(crate) struct KafkaService {
    pub(crate) ingest: Ingest,
    pub(crate) fetch: Fetch,
    pub(crate) fronts: Fronts,
    pub(crate) zones: ClientZones,
}

impl KafkaService {
    /// A reader that names no rack is in the zone that its client id or its network says.
    fn with_rack(&self, context: &RequestContext, mut request: FetchRequest) -> FetchRequest {
        if request.rack_id.is_empty() {
            let address = context.client_address.ip();
            if let Some(zone) = self.zones.of(context.client_id.as_deref(), address) {
                request.rack_id = StrBytes::from_string(zone);
            }
        }
        request
    }
}

impl Service for KafkaService {
    fn admit(
        &self,
        context: RequestContext,
        request: Request,
    ) -> BoxFuture<'_, BoxFuture<'static, Reply>> {
        let reply = match request {
            Request::Produce(request) => return self.ingest.produce(context, request),
            Request::Fetch(request) => {
                let request = self.with_rack(&context, request);
                self.fetch.fetch(context, request)
            }
            Request::ListOffsets(request) => self.fetch.list_offsets(context, request),
            request => self
                .fronts
                .at(context.local_address)
                .handle(context, request),
        };
        std::future::ready(reply).boxed()
    }
}
