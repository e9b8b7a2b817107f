//! The front: one cheap handle, and the list of which file answers what.

use std::sync::Arc;
use std::time::Duration;

use esker_env::Env;
use esker_kafka::{Reply, Request, RequestContext, Response};
use esker_metadata_api::Admin;
use esker_types::MonotonicTime;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::catalogue::Catalogue;
use crate::config::AdminConfig;
use crate::limits::REQUEST_TIMEOUT_MAX;
use crate::placement::Brokers;
use crate::{
    cluster, create_topics, delete_topics, describe_configs, describe_topics, groups, membership,
    metadata, offset_commit, offset_fetch, producer_ids,
};

/// Answers every API that is not on the data path. Clones share everything.
#[derive(Clone, Debug)]
pub struct AdminFront {
    front: Arc<Front>,
}

/// What the files of this crate need to answer.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) config: AdminConfig,
    pub(crate) brokers: Brokers,
    pub(crate) catalogue: Catalogue,
}

impl AdminFront {
    /// A front that asks `admin`; `config` says how clients of one listener reach this process, and
    /// `env` is that of the listener: deadlines count from the arrival of a request.
    #[must_use]
    pub fn new(config: AdminConfig, admin: Arc<dyn Admin>, env: Env) -> Self {
        let brokers = Brokers::new(&config);
        let catalogue = Catalogue::new(admin, &env, config.metadata_timeout);
        let front = Front {
            config,
            brokers,
            catalogue,
        };
        Self {
            front: Arc::new(front),
        }
    }

    /// Answers `request`. One of the data path (Produce, Fetch, ListOffsets) or ApiVersions does
    /// not belong here: it closes the connection.
    ///
    /// # Cancel safety
    /// Dropping the future drops the answer; what was asked of the metadata service may still
    /// happen.
    pub fn handle(&self, context: RequestContext, request: Request) -> BoxFuture<'static, Reply> {
        let front = Arc::clone(&self.front);
        async move { front.answer(&context, request).await }.boxed()
    }
}

impl Front {
    /// When the client gives up, counted from the arrival of its request.
    pub(crate) fn deadline(&self, context: &RequestContext, timeout_ms: i32) -> MonotonicTime {
        // No time at all would mean "start it and say 7"; finishing it is the better answer.
        let asked = u64::try_from(timeout_ms)
            .ok()
            .filter(|milliseconds| *milliseconds > 0);
        let limit = asked.map_or(self.config.metadata_timeout, Duration::from_millis);
        context.received.after(limit.min(REQUEST_TIMEOUT_MAX))
    }

    async fn answer(&self, context: &RequestContext, request: Request) -> Reply {
        let version = context.api_version;
        let response = match request {
            Request::Metadata(request) => {
                Response::Metadata(metadata::answer(self, version, request).await)
            }
            Request::FindCoordinator(request) => {
                Response::FindCoordinator(cluster::find_coordinator(self, version, request))
            }
            Request::DescribeCluster(request) => {
                Response::DescribeCluster(cluster::describe(self, version, &request))
            }
            Request::DescribeTopicPartitions(request) => {
                Response::DescribeTopicPartitions(describe_topics::answer(self, request).await)
            }
            Request::DescribeConfigs(request) => {
                Response::DescribeConfigs(describe_configs::answer(self, request).await)
            }
            Request::CreateTopics(request) => {
                Response::CreateTopics(create_topics::answer(self, context, request).await)
            }
            Request::DeleteTopics(request) => {
                Response::DeleteTopics(delete_topics::answer(self, context, request).await)
            }
            Request::InitProducerId(request) => {
                Response::InitProducerId(producer_ids::answer(self, request).await)
            }
            Request::JoinGroup(request) => {
                Response::JoinGroup(membership::join(self, context, request).await)
            }
            Request::SyncGroup(request) => {
                Response::SyncGroup(membership::sync(self, version, request).await)
            }
            Request::Heartbeat(request) => {
                Response::Heartbeat(membership::heartbeat(self, request).await)
            }
            Request::LeaveGroup(request) => {
                Response::LeaveGroup(membership::leave(self, version, request).await)
            }
            Request::OffsetCommit(request) => {
                Response::OffsetCommit(offset_commit::answer(self, request).await)
            }
            Request::OffsetFetch(request) => {
                Response::OffsetFetch(offset_fetch::answer(self, version, request).await)
            }
            Request::DescribeGroups(request) => {
                Response::DescribeGroups(groups::describe(self, version, request).await)
            }
            Request::ListGroups(request) => Response::ListGroups(groups::list(self, request).await),
            request @ (Request::Produce(_)
            | Request::Fetch(_)
            | Request::ListOffsets(_)
            | Request::ApiVersions(_)) => {
                tracing::error!(api = %request.api(), "request was handed to the wrong part");
                return Reply::Close;
            }
        };
        Reply::Message(response)
    }
}
