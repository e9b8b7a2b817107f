//! CreatePartitions, all versions.

use std::num::NonZeroU32;

use esker_kafka::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use esker_kafka::messages::{BrokerId, CreatePartitionsRequest, CreatePartitionsResponse};
use esker_kafka::{Api, Request};
use esker_metadata_api::{AlterTopic, AlterTopicError, MetadataError, TopicChange};

use crate::wire::{World, body, name, topic, topic_id, versions, world};

fn wanted(topic: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default()
        .with_name(name(topic))
        .with_count(count)
        .with_assignments(None)
}

fn assigned(topic: &str, count: i32, assignments: &[&[i32]]) -> CreatePartitionsTopic {
    let one = |ids: &&[i32]| {
        let ids = ids.iter().map(|id| BrokerId(*id)).collect();
        CreatePartitionsAssignment::default().with_broker_ids(ids)
    };
    let assignments = assignments.iter().map(one).collect();
    wanted(topic, count).with_assignments(Some(assignments))
}

async fn ask(
    world: &World,
    version: i16,
    topics: Vec<CreatePartitionsTopic>,
    validate_only: bool,
) -> CreatePartitionsResponse {
    let request = CreatePartitionsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(5000)
        .with_validate_only(validate_only);
    body!(
        CreatePartitions,
        world.ask(version, Request::CreatePartitions(request)).await
    )
}

fn codes(response: &CreatePartitionsResponse) -> Vec<(&str, i16)> {
    let rows = response.results.iter();
    rows.map(|row| (row.name.as_str(), row.error_code))
        .collect()
}

#[tokio::test]
async fn every_topic_is_answered_in_every_version() {
    for version in versions(Api::CreatePartitions) {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        world.admin.add(topic("u", 2, 2));

        let topics = vec![wanted("t", 5), wanted("absent", 3), wanted("u", 2)];
        let response = ask(&world, version, topics, false).await;

        assert_eq!(codes(&response), [("t", 0), ("absent", 3), ("u", 37)]);
        assert_eq!(response.results[0].error_message, None);
        assert_eq!(world.admin.topic("t").partition_count.get(), 5);
        assert_eq!(
            world.admin.alterations(),
            [AlterTopic {
                topic: topic_id(1),
                change: TopicChange::PartitionCount(NonZeroU32::new(5).unwrap()),
                validate_only: false,
            }]
        );
    }
}

#[tokio::test]
async fn fewer_partitions_none_at_all_and_names_that_come_twice_are_refused() {
    let world = world();
    world.admin.add(topic("t", 1, 4));
    world.admin.add(topic("u", 2, 1));

    let fewer = ask(&world, 3, vec![wanted("t", 3)], false).await;
    let none = ask(&world, 3, vec![wanted("t", 0), wanted("u", -1)], false).await;
    let twice = ask(&world, 3, vec![wanted("t", 6), wanted("t", 7)], false).await;

    assert_eq!(codes(&fewer), [("t", 37)]);
    let words = fewer.results[0].error_message.as_ref().unwrap();
    assert!(words.contains("topic has 4 partitions"), "{words}");
    assert_eq!(codes(&none), [("t", 37), ("u", 37)]);
    assert_eq!(codes(&twice), [("t", 42)]);
    assert!(world.admin.alterations().is_empty());
}

#[tokio::test]
async fn assignments_must_be_one_for_each_new_partition() {
    for (assignments, code) in [
        (&[&[1_i32][..], &[1]][..], 0),
        (&[&[1]], 39),
        (&[&[1], &[1], &[1]], 39),
        (&[&[1], &[]], 39),
        (&[&[1], &[2, 2]], 39),
        (&[&[1], &[-1]], 39),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 2));

        let response = ask(&world, 3, vec![assigned("t", 4, assignments)], false).await;

        assert_eq!(codes(&response), [("t", code)], "{assignments:?}");
    }
}

#[tokio::test]
async fn a_check_changes_nothing() {
    let world = world();
    world.admin.add(topic("t", 1, 2));

    let response = ask(&world, 3, vec![wanted("t", 3), wanted("absent", 3)], true).await;

    assert_eq!(codes(&response), [("t", 0), ("absent", 3)]);
    assert!(world.admin.alterations()[0].validate_only);
    assert_eq!(world.admin.topic("t").partition_count.get(), 2);
}

#[tokio::test]
async fn what_the_catalogue_answers_is_told_in_the_clients_terms() {
    for (error, code) in [
        (AlterTopicError::Unknown, 3),
        (AlterTopicError::TooManyPartitions, 37),
        (AlterTopicError::NotMore { partition_count: 9 }, 37),
        (AlterTopicError::Metadata(MetadataError::Unknown), 7),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        world.admin.fail_next_alteration(error);

        let response = ask(&world, 3, vec![wanted("t", 3)], false).await;

        assert_eq!(codes(&response), [("t", code)], "{error}");
    }
    let world = world();
    world.admin.fail_current(MetadataError::Recovering);
    let silent = ask(&world, 3, vec![wanted("t", 3)], false).await;
    assert_eq!(codes(&silent), [("t", 41)]);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_of_the_request_the_outcome_is_unknown() {
    let world = world();
    world.admin.add(topic("t", 1, 2));
    world.admin.hang();

    let response = ask(&world, 3, vec![wanted("t", 3)], false).await;

    assert_eq!(codes(&response), [("t", 7)]);
}
