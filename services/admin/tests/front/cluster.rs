//! DescribeCluster and FindCoordinator, all versions; and what does not belong to the front.

use std::sync::Arc;

use esker_admin::AdminConfig;
use esker_cluster::ClientsSee;
use esker_kafka::messages::describe_quorum_request::{
    PartitionData as AskedPartition, TopicData as AskedTopic,
};
use esker_kafka::messages::metadata_response::MetadataResponsePartition;
use esker_kafka::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeClusterResponse, DescribeQuorumRequest,
    DescribeQuorumResponse, FetchRequest, FindCoordinatorRequest, FindCoordinatorResponse,
    ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use esker_kafka::{Api, Reply, Request};
use esker_metadata_api::MetadataError;

use crate::wire::{World, body, name, pod, received, text, topic, versions, world, world_of};

async fn describe(
    world: &World,
    version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = world.ask(version, Request::DescribeCluster(request)).await;
    body!(DescribeCluster, response)
}

async fn find(
    world: &World,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let response = world.ask(version, Request::FindCoordinator(request)).await;
    body!(FindCoordinator, response)
}

fn two_brokers() -> World {
    let here = pod(1, Some("zone-a"));
    world_of(AdminConfig::default(), here, vec![pod(2, Some("zone-b"))])
}

#[tokio::test]
async fn the_cluster_is_described_in_every_version() {
    let world = two_brokers();
    for version in versions(Api::DescribeCluster) {
        let request = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(version == 1)
            .with_include_fenced_brokers(version >= 2);

        let response = describe(&world, version, request).await;

        assert_eq!((response.error_code, &response.error_message), (0, &None));
        assert_eq!(response.cluster_id.as_str(), "-_v7-_v7-_v7-_v7-_v7-w");
        assert_eq!(response.controller_id.0, 1);
        assert_eq!(response.endpoint_type, 1);
        let operations = if version == 1 { 8096 } else { i32::MIN };
        assert_eq!(response.cluster_authorized_operations, operations);
        let ids: Vec<i32> = response
            .brokers
            .iter()
            .map(|broker| broker.broker_id.0)
            .collect();
        assert_eq!(ids, [1, 2]);
        let peer = &response.brokers[1];
        assert_eq!((peer.host.as_str(), peer.port), ("pod-2", 9093));
        assert_eq!(peer.rack, Some(text("zone-b")));
        assert!(!peer.is_fenced);
    }
}

#[tokio::test]
async fn behind_one_address_every_process_says_the_same_of_one_broker() {
    let mut said = Vec::new();
    for id in [1, 2] {
        let config = AdminConfig {
            advertised_host: String::from("front"),
            clients_see: ClientsSee::Single,
            ..AdminConfig::default()
        };
        let here = pod(id, Some("zone-a"));
        let world = world_of(config, here, vec![pod(3 - id, Some("zone-b"))]);
        world.admin.add(topic("t", 1, 3));

        let cluster = describe(&world, 2, DescribeClusterRequest::default()).await;
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
        let found = find(&world, 6, request).await;
        let request = Request::Metadata(MetadataRequest::default().with_topics(None));
        let metadata = body!(Metadata, world.ask(12, request).await);

        assert_eq!(cluster.brokers.len(), 1);
        assert_eq!(cluster.brokers[0].host.as_str(), "front");
        assert_eq!(cluster.controller_id, cluster.brokers[0].broker_id);
        let coordinator = &found.coordinators[0];
        assert_eq!(
            (coordinator.node_id.0, coordinator.host.as_str()),
            (0, "front")
        );
        assert_eq!(
            (metadata.brokers.len(), metadata.brokers[0].node_id.0),
            (1, 0)
        );
        let partitions = &metadata.topics[0].partitions;
        let leads =
            |one: &MetadataResponsePartition| one.leader_id.0 == 0 && one.replica_nodes.len() == 1;
        assert!(partitions.len() == 3 && partitions.iter().all(leads));
        said.push((cluster, found, metadata));
    }
    assert_eq!(said[0], said[1]);
}

#[tokio::test]
async fn endpoints_that_are_not_brokers_are_refused_with_their_own_codes() {
    let world = world();
    for (endpoint_type, code) in [(2, 114), (3, 115), (0, 115)] {
        for version in 1..=2 {
            let request = DescribeClusterRequest::default().with_endpoint_type(endpoint_type);

            let response = describe(&world, version, request).await;

            assert_eq!(response.error_code, code);
            assert!(response.error_message.is_some());
            assert!(response.brokers.is_empty());
        }
    }
}

#[tokio::test]
async fn a_group_has_a_listed_coordinator_in_every_version() {
    let world = two_brokers();
    for version in versions(Api::FindCoordinator) {
        let request = FindCoordinatorRequest::default();
        let request = if version >= 4 {
            request.with_coordinator_keys(vec![text("readers"), text("writers")])
        } else {
            request.with_key(text("readers"))
        };

        let response = find(&world, version, request).await;

        assert_eq!(response.error_code, 0);
        if version >= 4 {
            let keys: Vec<&str> = response
                .coordinators
                .iter()
                .map(|one| one.key.as_str())
                .collect();
            assert_eq!(keys, ["readers", "writers"]);
            for one in &response.coordinators {
                assert_eq!((one.error_code, &one.error_message), (0, &None));
                assert!([(1, 9092), (2, 9093)].contains(&(one.node_id.0, one.port)));
            }
        } else {
            assert!([(1, 9092), (2, 9093)].contains(&(response.node_id.0, response.port)));
        }
    }
}

#[tokio::test]
async fn coordinators_of_a_client_are_in_the_zone_of_its_network() {
    let coordinator = async |zone_map: &str, group: &str| {
        let config = AdminConfig {
            zone_map: Arc::new(zone_map.parse().unwrap()),
            ..AdminConfig::default()
        };
        let here = pod(1, Some("zone-a"));
        let world = world_of(config, here, vec![pod(2, Some("zone-b"))]);
        let request = FindCoordinatorRequest::default().with_key(text(group));
        find(&world, 3, request).await.node_id.0
    };

    // The requests of these tests come from 10.1.2.3.
    for group in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(coordinator("10.1.0.0/16=zone-a", group).await, 1);
        assert_eq!(
            coordinator("10.0.0.0/8=zone-a,10.1.2.0/24=zone-b", group).await,
            2
        );
    }
}

#[tokio::test]
async fn transactions_are_refused_for_good_and_unknown_keys_as_invalid() {
    let world = world();
    for version in 1..=6 {
        for (key_type, code) in [(1, 35), (2, 42), (9, 42), (-1, 42)] {
            let request = FindCoordinatorRequest::default().with_key_type(key_type);
            let request = if version >= 4 {
                request.with_coordinator_keys(vec![text("k")])
            } else {
                request.with_key(text("k"))
            };

            let response = find(&world, version, request).await;

            let answered = match response.coordinators.first() {
                Some(one) => (one.error_code, one.node_id.0, one.error_message.clone()),
                None => (
                    response.error_code,
                    response.node_id.0,
                    response.error_message,
                ),
            };
            assert_eq!((answered.0, answered.1), (code, -1), "{version}");
            assert!(
                answered
                    .2
                    .is_some_and(|words| words.contains("not supported"))
            );
        }
    }
}

#[tokio::test]
async fn requests_of_the_data_path_close_the_connection() {
    let world = world();
    for (version, request) in [
        (7, Request::Produce(ProduceRequest::default())),
        (12, Request::Fetch(FetchRequest::default())),
        (4, Request::ListOffsets(ListOffsetsRequest::default())),
        (3, Request::ApiVersions(ApiVersionsRequest::default())),
    ] {
        let (context, request) = received(version, &request);

        let reply = world.front.handle(context, request).await;

        assert!(matches!(reply, Reply::Close));
    }
}

fn quorum_of(topic: &str, partition: i32) -> DescribeQuorumRequest {
    let partition = AskedPartition::default().with_partition_index(partition);
    let topic = AskedTopic::default()
        .with_topic_name(name(topic))
        .with_partitions(vec![partition]);
    DescribeQuorumRequest::default().with_topics(vec![topic])
}

async fn quorum(
    world: &World,
    version: i16,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    body!(
        DescribeQuorum,
        world.ask(version, Request::DescribeQuorum(request)).await
    )
}

#[tokio::test]
async fn the_metadata_leader_is_shown_as_a_quorum_of_one_in_every_version() {
    for version in versions(Api::DescribeQuorum) {
        let world = world();

        let response = quorum(&world, version, quorum_of("__cluster_metadata", 0)).await;
        let unknown = quorum(&world, version, quorum_of("t", 0)).await;

        let partition = &response.topics[0].partitions[0];
        let end = (3 << 32) + 7;
        assert_eq!((response.error_code, partition.error_code), (0, 0));
        assert_eq!((partition.leader_id.0, partition.leader_epoch), (1, 5));
        assert_eq!(partition.high_watermark, end);
        let voter = &partition.current_voters[0];
        assert_eq!((voter.replica_id.0, voter.log_end_offset), (1, end));
        assert_eq!(voter.last_caught_up_timestamp > 0, version >= 1);
        assert_eq!(response.nodes.len(), usize::from(version >= 2));
        assert_eq!(unknown.topics[0].partitions[0].error_code, 3);
    }
}

#[tokio::test]
async fn a_silent_metadata_leader_is_no_quorum() {
    let world = world();
    world.admin.fail_leadership(MetadataError::Unavailable);

    let response = quorum(&world, 2, quorum_of("__cluster_metadata", 0)).await;

    assert_eq!(response.topics[0].partitions[0].error_code, 5);
}
