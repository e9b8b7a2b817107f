//! The front: one cheap handle, and the list of which file answers what.

use std::sync::Arc;
use std::time::Duration;

use esker_cluster::{ClientZones, Membership};
use esker_env::Env;
use esker_kafka::{Api, Reply, Request, RequestContext, Response};
use esker_metadata_api::{Admin, LogIndex, TopicAdmin};
use esker_types::MonotonicTime;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::catalogue::Catalogue;
use crate::config::AdminConfig;
use crate::limits::REQUEST_TIMEOUT_MAX;
use crate::placement::{BrokerView, Brokers};
use crate::{
    absent, alter_configs, cluster, config_resources, create_partitions, create_topics,
    delete_records, delete_topics, describe_configs, describe_topics, group_deletion, groups,
    leader_epochs, log_dirs, membership, metadata, offset_commit, offset_fetch, producer_ids,
    producer_states, quorum, reassignments,
};

/// Whom a front asks.
#[derive(Clone, Debug)]
pub struct AdminParts {
    /// The catalogue and the coordinators.
    pub admin: Arc<dyn Admin>,
    /// Changes of topics.
    pub topic_admin: Arc<dyn TopicAdmin>,
    /// Where logs end.
    pub log_index: Arc<dyn LogIndex>,
    /// Which processes there are.
    pub membership: Membership,
}

/// Answers every API that is not on the data path. Clones share everything.
#[derive(Clone, Debug)]
pub struct AdminFront {
    config: Arc<AdminConfig>,
    brokers: Arc<BrokerView>,
    zones: ClientZones,
    catalogue: Catalogue,
}

/// What the files of this crate need to answer one request.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) config: Arc<AdminConfig>,
    /// The node id that clients have for this process.
    pub(crate) node_id: i32,
    pub(crate) brokers: Arc<Brokers>,
    pub(crate) catalogue: Catalogue,
}

impl AdminFront {
    /// A front that asks `parts`; `config` says how clients of one listener reach this process, and
    /// `env` is that of the listener: deadlines count from the arrival of a request.
    #[must_use]
    pub fn new(config: AdminConfig, parts: AdminParts, env: Env) -> Self {
        let brokers = Arc::new(BrokerView::new(parts.membership.clone()));
        let zones = ClientZones::new(parts.membership.clone(), Arc::clone(&config.zone_map));
        let catalogue = Catalogue::new(parts, &env, config.metadata_timeout);
        Self {
            config: Arc::new(config),
            brokers,
            zones,
            catalogue,
        }
    }

    /// As this request's client sees the cluster.
    fn front(&self, context: &RequestContext) -> Front {
        let address = context.client_address.ip();
        let zone = self.zones.of(context.client_id.as_deref(), address);
        Front {
            config: Arc::clone(&self.config),
            node_id: self.brokers.node_id(&self.config),
            brokers: self.brokers.of(&self.config, zone),
            catalogue: self.catalogue.clone(),
        }
    }

    /// Answers `request`. One of the data path (Produce, Fetch, ListOffsets) or ApiVersions does
    /// not belong here: it closes the connection.
    ///
    /// # Cancel safety
    /// Dropping the future drops the answer; what was asked of the metadata service may still
    /// happen.
    pub fn handle(&self, context: RequestContext, request: Request) -> BoxFuture<'static, Reply> {
        let front = self.front(&context);
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
            Request::DescribeQuorum(request) => {
                Response::DescribeQuorum(quorum::answer(self, version, request).await)
            }
            Request::InitProducerId(request) => {
                Response::InitProducerId(producer_ids::answer(self, request).await)
            }
            request @ (Request::JoinGroup(_)
            | Request::SyncGroup(_)
            | Request::Heartbeat(_)
            | Request::LeaveGroup(_)
            | Request::OffsetCommit(_)
            | Request::OffsetFetch(_)
            | Request::OffsetDelete(_)
            | Request::DescribeGroups(_)
            | Request::ListGroups(_)
            | Request::DeleteGroups(_)) => return self.answer_groups(context, request).await,
            request @ (Request::CreateTopics(_)
            | Request::DeleteTopics(_)
            | Request::CreatePartitions(_)
            | Request::DescribeTopicPartitions(_)
            | Request::DescribeConfigs(_)
            | Request::AlterConfigs(_)
            | Request::IncrementalAlterConfigs(_)
            | Request::ListConfigResources(_)) => {
                return self.answer_topics(context, request).await;
            }
            request @ (Request::DeleteRecords(_)
            | Request::OffsetForLeaderEpoch(_)
            | Request::DescribeLogDirs(_)
            | Request::DescribeProducers(_)
            | Request::ElectLeaders(_)
            | Request::AlterPartitionReassignments(_)
            | Request::ListPartitionReassignments(_)) => {
                return self.answer_logs(context, request).await;
            }
            request @ (Request::DescribeAcls(_)
            | Request::DescribeClientQuotas(_)
            | Request::DescribeUserScramCredentials(_)
            | Request::DescribeTransactions(_)
            | Request::ListTransactions(_)) => return absent_or_close(request),
            request @ (Request::Produce(_)
            | Request::Fetch(_)
            | Request::ListOffsets(_)
            | Request::ApiVersions(_)) => return misdirected(request.api()),
        };
        Reply::Message(response)
    }

    async fn answer_groups(&self, context: &RequestContext, request: Request) -> Reply {
        let version = context.api_version;
        let response = match request {
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
            Request::OffsetDelete(request) => {
                Response::OffsetDelete(group_deletion::offsets(self, request).await)
            }
            Request::DescribeGroups(request) => {
                Response::DescribeGroups(groups::describe(self, version, request).await)
            }
            Request::ListGroups(request) => Response::ListGroups(groups::list(self, request).await),
            Request::DeleteGroups(request) => {
                Response::DeleteGroups(group_deletion::groups(self, request).await)
            }
            request => return misdirected(request.api()),
        };
        Reply::Message(response)
    }

    async fn answer_topics(&self, context: &RequestContext, request: Request) -> Reply {
        let response = match request {
            Request::CreateTopics(request) => {
                Response::CreateTopics(create_topics::answer(self, context, request).await)
            }
            Request::DeleteTopics(request) => {
                Response::DeleteTopics(delete_topics::answer(self, context, request).await)
            }
            Request::CreatePartitions(request) => {
                Response::CreatePartitions(create_partitions::answer(self, context, request).await)
            }
            Request::DescribeTopicPartitions(request) => {
                Response::DescribeTopicPartitions(describe_topics::answer(self, request).await)
            }
            Request::DescribeConfigs(request) => {
                Response::DescribeConfigs(describe_configs::answer(self, request).await)
            }
            Request::AlterConfigs(request) => {
                Response::AlterConfigs(alter_configs::whole(self, context, request).await)
            }
            Request::IncrementalAlterConfigs(request) => Response::IncrementalAlterConfigs(
                alter_configs::incremental(self, context, request).await,
            ),
            Request::ListConfigResources(request) => Response::ListConfigResources(
                config_resources::answer(self, context.api_version, &request),
            ),
            request => return misdirected(request.api()),
        };
        Reply::Message(response)
    }

    async fn answer_logs(&self, context: &RequestContext, request: Request) -> Reply {
        let response = match request {
            Request::DeleteRecords(request) => {
                Response::DeleteRecords(delete_records::answer(self, context, request).await)
            }
            Request::OffsetForLeaderEpoch(request) => {
                Response::OffsetForLeaderEpoch(leader_epochs::answer(self, request).await)
            }
            Request::DescribeLogDirs(request) => {
                Response::DescribeLogDirs(log_dirs::answer(self, request).await)
            }
            Request::DescribeProducers(request) => {
                Response::DescribeProducers(producer_states::answer(self, request).await)
            }
            Request::ElectLeaders(request) => Response::ElectLeaders(
                reassignments::elect(self, context.api_version, request).await,
            ),
            Request::AlterPartitionReassignments(request) => {
                Response::AlterPartitionReassignments(reassignments::alter(self, request).await)
            }
            Request::ListPartitionReassignments(_) => {
                Response::ListPartitionReassignments(reassignments::list())
            }
            request => return misdirected(request.api()),
        };
        Reply::Message(response)
    }
}

/// What does not exist here is said to be absent, truthfully.
fn absent_or_close(request: Request) -> Reply {
    let api = request.api();
    absent::answer(request).map_or_else(|| misdirected(api), Reply::Message)
}

fn misdirected(api: Api) -> Reply {
    tracing::error!(%api, "request was handed to the wrong part");
    Reply::Close
}
