//! One request to the front and back, through guard and codec.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use esker_admin::{AdminConfig, AdminFront, AdminParts};
use esker_cluster::Membership;
use esker_env::Env;
use esker_kafka::messages::{
    self, ApiKey, Decodable as _, Encodable as _, GroupId, RequestHeader, StrBytes, TopicName,
};
use esker_kafka::{Api, Reply, Request, RequestContext, Response, decode_frame};
use esker_metadata_api::{Endpoint, Pod, Roles, Topic};
use esker_types::{MonotonicTime, PartitionIndex, PodId, TopicId, TopicPartition};
use uuid::Uuid;

use crate::fake::FakeAdmin;

/// A front and the fake behind it.
pub(crate) struct World {
    pub(crate) admin: Arc<FakeAdmin>,
    pub(crate) front: AdminFront,
    env: Env,
}

pub(crate) fn world() -> World {
    world_with(AdminConfig::default())
}

pub(crate) fn world_with(config: AdminConfig) -> World {
    world_of(config, pod(1, None), Vec::new())
}

/// A process with every role, as others are told of it.
pub(crate) fn pod(node_id: i32, zone: Option<&str>) -> Pod {
    Pod {
        pod: PodId::from_bytes([u8::try_from(node_id).unwrap(); 16]),
        node_id,
        roles: Roles::ALL,
        zone: zone.map(str::to_owned),
        kafka: Some(Endpoint {
            host: format!("pod-{node_id}"),
            port: 9093,
        }),
        internal: None,
        version: String::new(),
        is_draining: false,
        sessions: Vec::new(),
    }
}

/// The front of `here`, beside `others`.
pub(crate) fn world_of(config: AdminConfig, here: Pod, others: Vec<Pod>) -> World {
    let admin = Arc::new(FakeAdmin::default());
    let env = Env::system();
    let parts = AdminParts {
        admin: admin.clone(),
        topic_admin: admin.clone(),
        log_index: admin.clone(),
        membership: Membership::fixed(here, others),
    };
    let front = AdminFront::new(config, parts, env.clone());
    World { admin, front, env }
}

impl World {
    /// Sends `request` in `version` and reads the answer back as a client does.
    pub(crate) async fn ask(&self, version: i16, request: Request) -> Response {
        let api = request.api();
        let (mut context, request) = received(version, &request);
        context.received = self.env.clock.now();
        match self.front.handle(context, request).await {
            Reply::Message(response) => {
                assert_eq!(response.api(), api, "the answer is of the same API");
                read_back(&response, version)
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The request as the listener hands it on.
pub(crate) fn received(version: i16, request: &Request) -> (RequestContext, Request) {
    let api = request.api();
    let header_version = ApiKey::try_from(api.key())
        .unwrap()
        .request_header_version(version);
    let mut frame = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(api.key())
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some("tester".into()))
        .encode(&mut frame, header_version)
        .unwrap();
    request.encode_body(&mut frame, version).unwrap();
    let (guarded, client_id, request) = decode_frame(frame.freeze()).unwrap();
    assert_eq!((guarded.api, guarded.version), (api, version));
    let context = RequestContext {
        api_version: version,
        correlation_id: 7,
        client_id,
        client_address: ([10, 1, 2, 3], 4567).into(),
        local_address: ([10, 0, 0, 1], 9092).into(),
        received: MonotonicTime::default(),
        connection_id: 1,
        is_software_named: true,
    };
    (context, request)
}

fn read_back(response: &Response, version: i16) -> Response {
    let mut body = BytesMut::new();
    response.encode_body(&mut body, version).unwrap();
    let mut body: Bytes = body.freeze();
    macro_rules! read {
        ($($api:ident $message:ident,)*) => {
            match response.api() {
                $(Api::$api => {
                    let read = messages::$message::decode(&mut body, version);
                    Response::$api(read.unwrap())
                })*
                other => panic!("{other} does not belong to the front"),
            }
        };
    }
    let read = read! {
        Metadata MetadataResponse,
        OffsetCommit OffsetCommitResponse,
        OffsetFetch OffsetFetchResponse,
        FindCoordinator FindCoordinatorResponse,
        JoinGroup JoinGroupResponse,
        Heartbeat HeartbeatResponse,
        LeaveGroup LeaveGroupResponse,
        SyncGroup SyncGroupResponse,
        DescribeGroups DescribeGroupsResponse,
        ListGroups ListGroupsResponse,
        CreateTopics CreateTopicsResponse,
        DeleteTopics DeleteTopicsResponse,
        InitProducerId InitProducerIdResponse,
        DescribeConfigs DescribeConfigsResponse,
        DescribeCluster DescribeClusterResponse,
        DescribeTopicPartitions DescribeTopicPartitionsResponse,
        DeleteRecords DeleteRecordsResponse,
        OffsetForLeaderEpoch OffsetForLeaderEpochResponse,
        DescribeAcls DescribeAclsResponse,
        AlterConfigs AlterConfigsResponse,
        DescribeLogDirs DescribeLogDirsResponse,
        CreatePartitions CreatePartitionsResponse,
        DeleteGroups DeleteGroupsResponse,
        ElectLeaders ElectLeadersResponse,
        IncrementalAlterConfigs IncrementalAlterConfigsResponse,
        AlterPartitionReassignments AlterPartitionReassignmentsResponse,
        ListPartitionReassignments ListPartitionReassignmentsResponse,
        OffsetDelete OffsetDeleteResponse,
        DescribeClientQuotas DescribeClientQuotasResponse,
        DescribeUserScramCredentials DescribeUserScramCredentialsResponse,
        DescribeProducers DescribeProducersResponse,
        DescribeTransactions DescribeTransactionsResponse,
        DescribeQuorum DescribeQuorumResponse,
        ListTransactions ListTransactionsResponse,
        ListConfigResources ListConfigResourcesResponse,
    };
    assert!(!body.has_remaining(), "bytes are left behind the answer");
    read
}

/// Every version of `api` that is served.
pub(crate) fn versions(api: Api) -> std::ops::RangeInclusive<i16> {
    let served = api.served();
    served.min..=served.max
}

/// The body of a response; panics when it is of another API.
macro_rules! body {
    ($api:ident, $response:expr) => {
        match $response {
            esker_kafka::Response::$api(body) => body,
            other => panic!("{other:?}"),
        }
    };
}
pub(crate) use body;

pub(crate) fn topic(name: &str, id: u8, partitions: u32) -> Topic {
    Topic {
        id: topic_id(id),
        name: esker_metadata_api::TopicName::new(name).unwrap(),
        partition_count: NonZeroU32::new(partitions).unwrap(),
        replication_factor: 1,
        configs: BTreeMap::new(),
        defaults: Arc::default(),
    }
}

pub(crate) fn topic_id(id: u8) -> TopicId {
    TopicId::from_bytes([id; 16])
}

pub(crate) fn at(id: u8, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: topic_id(id),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

pub(crate) fn uuid(id: u8) -> Uuid {
    Uuid::from_bytes([id; 16])
}

pub(crate) fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn group(group: &str) -> GroupId {
    GroupId(text(group))
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
