//! The internal API that a process with the role metadata serves to others.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use esker_env::Env;
use esker_metadata::MetadataService;
use esker_remote::{Identity, NoHint, RemoteServer, ServerConfig, ServerParts, ServerTls};
use esker_types::ClusterId;

use crate::config::ServeConfig;

/// Listens.
///
/// # Errors
/// The address is taken, or the certificates cannot be used.
pub(super) async fn serve(
    config: &ServeConfig,
    listen: SocketAddr,
    cluster: ClusterId,
    service: MetadataService,
    env: &Env,
) -> anyhow::Result<RemoteServer> {
    let service = Arc::new(service);
    let parts = ServerParts {
        sequencer: service.clone(),
        log_index: service.clone(),
        admin: service.clone(),
        topic_admin: service.clone(),
        pods: service,
        // Clients know every address, and try them.
        hint: Arc::new(NoHint),
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
    bound.context("choose another address with --internal-listen")
}
