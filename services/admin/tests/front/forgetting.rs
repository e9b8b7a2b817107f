//! DeleteGroups and OffsetDelete, all versions.

use esker_kafka::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use esker_kafka::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};
use esker_kafka::{Api, Request};
use esker_metadata_api::{DeleteOffsets, GroupError, GroupReply, GroupRequest, MetadataError};

use crate::wire::{World, at, body, group, name, topic, versions, world};

async fn delete(world: &World, version: i16, groups: &[&str]) -> DeleteGroupsResponse {
    let groups = groups.iter().map(|name| group(name)).collect();
    let request = DeleteGroupsRequest::default().with_groups_names(groups);
    body!(
        DeleteGroups,
        world.ask(version, Request::DeleteGroups(request)).await
    )
}

fn codes(response: &DeleteGroupsResponse) -> Vec<(&str, i16)> {
    let rows = response.results.iter();
    rows.map(|row| (row.group_id.as_str(), row.error_code))
        .collect()
}

#[tokio::test]
async fn groups_are_deleted_in_every_version() {
    for version in versions(Api::DeleteGroups) {
        let world = world();
        world.admin.reply_group(GroupReply::Deleted(vec![
            Ok(()),
            Err(GroupError::NotEmpty),
            Err(GroupError::UnknownGroup),
            Err(GroupError::InvalidGroup),
        ]));

        let response = delete(&world, version, &["a", "b", "c", "d"]).await;

        assert_eq!(
            codes(&response),
            [("a", 0), ("b", 68), ("c", 69), ("d", 24)]
        );
        let names = ["a", "b", "c", "d"].map(String::from).to_vec();
        assert_eq!(world.admin.group_requests(), [GroupRequest::Delete(names)]);
    }
}

#[tokio::test]
async fn a_silent_coordinator_is_told_for_every_group() {
    for (error, code) in [
        (MetadataError::Recovering, 14),
        (MetadataError::Unknown, 15),
        (MetadataError::Deposed, 16),
    ] {
        let world = world();
        world.admin.fail_group(error);

        let response = delete(&world, 2, &["a", "b"]).await;

        assert_eq!(codes(&response), [("a", code), ("b", code)]);
    }
    let world = world();
    world.admin.reply_group(GroupReply::Deleted(Vec::new()));
    let too_few = delete(&world, 2, &["a"]).await;
    let none = delete(&world, 2, &[]).await;

    assert_eq!(codes(&too_few), [("a", 15)]);
    assert_eq!(codes(&none), []);
}

fn offsets(topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let partition =
        |index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*index);
    let one = |(topic, indexes): &(&str, &[i32])| {
        OffsetDeleteRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(indexes.iter().map(partition).collect())
    };
    OffsetDeleteRequest::default()
        .with_group_id(group("g"))
        .with_topics(topics.iter().map(one).collect())
}

async fn forget(world: &World, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    body!(
        OffsetDelete,
        world.ask(0, Request::OffsetDelete(request)).await
    )
}

fn rows(response: &OffsetDeleteResponse) -> Vec<(&str, i32, i16)> {
    let topics = response.topics.iter();
    topics
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|one| (topic.name.as_str(), one.partition_index, one.error_code))
        })
        .collect()
}

#[tokio::test]
async fn offsets_are_forgotten_one_by_one_and_unknown_partitions_are_told() {
    let world = world();
    world.admin.add(topic("t", 1, 2));
    let verdicts = vec![Ok(()), Err(GroupError::SubscribedToTopic)];
    world
        .admin
        .reply_group(GroupReply::OffsetsDeleted(Ok(verdicts)));

    let request = offsets(&[("t", &[0, 7]), ("absent", &[0]), ("t", &[1])]);
    let response = forget(&world, request).await;

    assert_eq!(response.error_code, 0);
    assert_eq!(
        rows(&response),
        [("t", 0, 0), ("t", 7, 3), ("absent", 0, 3), ("t", 1, 86)]
    );
    let t = esker_metadata_api::TopicName::new("t").unwrap();
    let asked = DeleteOffsets {
        group: String::from("g"),
        partitions: vec![(at(1, 0), t.clone()), (at(1, 1), t)],
    };
    assert_eq!(
        world.admin.group_requests(),
        [GroupRequest::DeleteOffsets(asked)]
    );
}

#[tokio::test]
async fn what_concerns_the_group_is_told_at_the_top() {
    for (reply, code) in [
        (Ok(GroupError::UnknownGroup), 69),
        (Ok(GroupError::NotEmpty), 68),
        (Err(MetadataError::Deposed), 16),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        match reply {
            Ok(error) => world
                .admin
                .reply_group(GroupReply::OffsetsDeleted(Err(error))),
            Err(error) => world.admin.fail_group(error),
        }

        let response = forget(&world, offsets(&[("t", &[0])])).await;

        assert_eq!(response.error_code, code);
        assert!(response.topics.is_empty());
    }
}

#[tokio::test]
async fn a_topic_is_unknown_only_when_a_current_table_says_so() {
    let world = world();
    world.admin.fail_current(MetadataError::Unavailable);

    let response = forget(&world, offsets(&[("t", &[0])])).await;

    assert_eq!(rows(&response), [("t", 0, 15)]);
}
