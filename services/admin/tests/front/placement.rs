//! ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments, all versions.

use esker_kafka::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use esker_kafka::messages::elect_leaders_request::TopicPartitions;
use esker_kafka::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
    ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsRequest,
};
use esker_kafka::{Api, Request};
use esker_metadata_api::MetadataError;

use crate::wire::{World, body, name, topic, versions, world};

async fn elect(
    world: &World,
    version: i16,
    election: i8,
    topics: Option<&[(&str, i32)]>,
) -> ElectLeadersResponse {
    let one = |(topic, index): &(&str, i32)| {
        TopicPartitions::default()
            .with_topic(name(topic))
            .with_partitions(vec![*index])
    };
    let topics = topics.map(|topics| topics.iter().map(one).collect());
    let request = ElectLeadersRequest::default()
        .with_election_type(election)
        .with_topic_partitions(topics)
        .with_timeout_ms(5000);
    body!(
        ElectLeaders,
        world.ask(version, Request::ElectLeaders(request)).await
    )
}

fn elected(response: &ElectLeadersResponse) -> Vec<i16> {
    let topics = response.replica_election_results.iter();
    let partitions = topics.flat_map(|topic| &topic.partition_result);
    partitions.map(|one| one.error_code).collect()
}

#[tokio::test]
async fn no_election_is_ever_needed_in_every_version() {
    for version in versions(Api::ElectLeaders) {
        let world = world();
        world.admin.add(topic("t", 1, 1));

        let some = elect(&world, version, 0, Some(&[("t", 0), ("t", 1), ("no", 0)])).await;
        let all = elect(&world, version, 0, None).await;

        assert_eq!(elected(&some), [84, 3, 3]);
        assert_eq!((all.error_code, elected(&all)), (0, vec![]));
    }
}

#[tokio::test]
async fn elections_of_an_unknown_kind_are_refused() {
    let world = world();
    world.admin.add(topic("t", 1, 1));

    let unclean = elect(&world, 2, 1, Some(&[("t", 0)])).await;
    let unknown = elect(&world, 2, 2, Some(&[("t", 0)])).await;

    assert_eq!((unclean.error_code, elected(&unclean)), (0, vec![84]));
    assert_eq!((unknown.error_code, elected(&unknown)), (42, vec![]));
}

async fn reassign(
    world: &World,
    version: i16,
    rows: &[(&str, i32, Option<&[i32]>)],
) -> AlterPartitionReassignmentsResponse {
    let one = |(topic, index, replicas): &(&str, i32, Option<&[i32]>)| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        let partition = ReassignablePartition::default()
            .with_partition_index(*index)
            .with_replicas(replicas);
        ReassignableTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![partition])
    };
    let request = AlterPartitionReassignmentsRequest::default()
        .with_topics(rows.iter().map(one).collect())
        .with_timeout_ms(5000);
    body!(
        AlterPartitionReassignments,
        world
            .ask(version, Request::AlterPartitionReassignments(request))
            .await
    )
}

#[tokio::test]
async fn replicas_stay_where_they_are_in_every_version() {
    for version in versions(Api::AlterPartitionReassignments) {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        let rows = [
            ("t", 0, Some(&[1][..])),
            ("t", 0, Some(&[2][..])),
            ("t", 0, Some(&[1, 1][..])),
            ("t", 0, Some(&[][..])),
            ("t", 0, None),
            ("absent", 0, Some(&[1][..])),
        ];

        let response = reassign(&world, version, &rows).await;

        let partitions = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions);
        let codes: Vec<i16> = partitions.map(|one| one.error_code).collect();
        assert_eq!(codes, [0, 39, 39, 39, 85, 3]);
        assert_eq!((response.error_code, response.error_message), (0, None));
    }
}

#[tokio::test]
async fn a_topic_is_unknown_only_when_a_current_table_says_so() {
    let world = world();
    world.admin.fail_current(MetadataError::Unknown);

    let elected_codes = elected(&elect(&world, 2, 0, Some(&[("t", 0)])).await);
    let reassigned = reassign(&world, 1, &[("t", 0, None)]).await;

    assert_eq!(elected_codes, [7]);
    assert_eq!(reassigned.responses[0].partitions[0].error_code, 7);
}

#[tokio::test]
async fn no_reassignment_is_ever_under_way() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    let request = ListPartitionReassignmentsRequest::default();

    let response = body!(
        ListPartitionReassignments,
        world
            .ask(0, Request::ListPartitionReassignments(request))
            .await
    );

    assert_eq!((response.error_code, response.error_message), (0, None));
    assert!(response.topics.is_empty());
}
