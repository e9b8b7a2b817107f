//! The internal API that a process serves to others: the metadata service with the role metadata,
//! blocks of segments with the others.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use esker_env::Env;
use esker_metadata::MetadataService;
use esker_remote::{
    BlockSource, Identity, NoHint, RemoteServer, ServerConfig, ServerParts, ServerTls,
};
use esker_types::ClusterId;

use crate::config::ServeConfig;

/// Listens; `None`: there is nothing to serve.
///
/// # Errors
/// The address is taken, or the certificates cannot be used.
pub(super) async fn serve(
    config: &ServeConfig,
    listen: SocketAddr,
    cluster: ClusterId,
    (service, blocks): (Option<MetadataService>, Option<Arc<dyn BlockSource>>),
    env: &Env,
) -> anyhow::Result<Option<RemoteServer>> {
    let parts = match (service.map(Arc::new), blocks) {
        (Some(service), blocks) => ServerParts {
            sequencer: service.clone(),
            log_index: service.clone(),
            admin: service.clone(),
            topic_admin: service.clone(),
            pods: service,
            // Clients know every address, and try them.
            hint: Arc::new(NoHint),
            blocks,
        },
        (None, Some(blocks)) => ServerParts::of_blocks(cluster, blocks),
        (None, None) => return Ok(None),
    };
    let server = ServerConfig {
        tls: config.internal.tls.as_ref().map(|files| ServerTls {
            identity: Identity {
                certificate: files.certificates.clone(),
                key: files.key.clone(),
            },
            ca: Some(files.ca.clone()),
        }),
        ..ServerConfig::new(listen, cluster)
    };
    let bound = RemoteServer::bind(server, parts, env.clone()).await;
    let bound = bound.context("choose another address with --internal-listen");
    bound.map(Some)
}
