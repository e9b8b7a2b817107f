//! OffsetCommit, all versions.

use esker_kafka::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use esker_kafka::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use esker_kafka::messages::{OffsetCommitRequest, OffsetCommitResponse};
use esker_kafka::{Api, Request};
use esker_metadata_api::{
    CommitOffsets, CommittedOffset, GroupError, GroupReply, GroupRequest, MetadataError,
    OffsetPartition,
};
use esker_types::{PartitionIndex, TopicPartition};

use crate::wire::{World, body, group, name, text, topic, topic_id, versions, world};

fn partition(index: i32, offset: i64) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")))
}

fn of(topic: &str, partitions: Vec<OffsetCommitRequestPartition>) -> OffsetCommitRequestTopic {
    OffsetCommitRequestTopic::default()
        .with_name(name(topic))
        .with_partitions(partitions)
}

fn request(topics: Vec<OffsetCommitRequestTopic>) -> OffsetCommitRequest {
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(4)
        .with_member_id(text("m"))
        .with_topics(topics)
}

async fn ask(world: &World, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
    body!(
        OffsetCommit,
        world.ask(version, Request::OffsetCommit(request)).await
    )
}

/// Topic, partition and code, in the order of the answer.
fn codes(response: &OffsetCommitResponse) -> Vec<(String, i32, i16)> {
    let one = |topic: &OffsetCommitResponseTopic| {
        let name = topic.name.to_string();
        let code = move |one: &OffsetCommitResponsePartition| {
            (name.clone(), one.partition_index, one.error_code)
        };
        topic.partitions.iter().map(code).collect::<Vec<_>>()
    };
    response.topics.iter().flat_map(one).collect()
}

fn code(topic: &str, partition: i32, code: i16) -> (String, i32, i16) {
    (topic.to_owned(), partition, code)
}

fn commits(world: &World) -> Vec<CommitOffsets> {
    let one = |request| match request {
        GroupRequest::Commit(commit) => commit,
        other => panic!("{other:?}"),
    };
    world.admin.group_requests().into_iter().map(one).collect()
}

fn place(id: u8, index: u32) -> TopicPartition {
    TopicPartition {
        topic: topic_id(id),
        partition: PartitionIndex::new(index).unwrap(),
    }
}

#[tokio::test]
async fn offsets_go_to_the_coordinator_by_topic_id_in_every_version() {
    for version in versions(Api::OffsetCommit) {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        world.admin.add(topic("u", 2, 1));
        world
            .admin
            .reply_group(GroupReply::Committed(Ok(vec![Ok(()), Ok(()), Ok(())])));
        let mut asked = request(vec![
            of("u", vec![partition(0, 5)]),
            of("t", vec![partition(1, 6), partition(0, 0)]),
        ]);
        if version >= 6 {
            asked.topics[0].partitions[0].committed_leader_epoch = 9;
        }
        if version >= 7 {
            asked.group_instance_id = Some(text("i"));
        }
        asked.topics[1].partitions[0].committed_metadata = None;

        let response = ask(&world, version, asked).await;

        assert_eq!(
            codes(&response),
            [code("u", 0, 0), code("t", 1, 0), code("t", 0, 0)]
        );
        let offset = |place, offset, leader_epoch, metadata: &str| OffsetPartition {
            topic_partition: place,
            committed: CommittedOffset {
                offset,
                leader_epoch,
                metadata: metadata.to_owned(),
            },
        };
        let epoch = if version >= 6 { 9 } else { -1 };
        let commit = CommitOffsets {
            group: String::from("g"),
            member: String::from("m"),
            instance: (version >= 7).then(|| String::from("i")),
            generation: 4,
            offsets: vec![
                offset(place(2, 0), 5, epoch, "note"),
                offset(place(1, 1), 6, -1, ""),
                offset(place(1, 0), 0, -1, "note"),
            ],
        };
        assert_eq!(commits(&world), [commit]);
        assert_eq!(world.admin.current_calls(), 0);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_refused_alone_and_the_rest_is_committed() {
    for version in versions(Api::OffsetCommit) {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        let verdicts = vec![Ok(()), Ok(()), Err(GroupError::OffsetMetadataTooLarge)];
        world.admin.reply_group(GroupReply::Committed(Ok(verdicts)));
        let asked = request(vec![
            of("absent", vec![partition(0, 1)]),
            of(
                "t",
                vec![
                    partition(2, 1),
                    partition(0, 1),
                    partition(-1, 1),
                    partition(1, -1),
                ],
            ),
            of("t", vec![partition(1, 7)]),
        ]);

        let response = ask(&world, version, asked).await;

        let expected = [
            code("absent", 0, 3),
            code("t", 2, 3),
            code("t", 0, 0),
            code("t", -1, 3),
            code("t", 1, 0),
            code("t", 1, 12),
        ];
        assert_eq!(codes(&response), expected);
        let commit = commits(&world).remove(0);
        let offsets: Vec<i64> = commit
            .offsets
            .iter()
            .map(|one| one.committed.offset)
            .collect();
        assert_eq!(
            offsets,
            [1, -1, 7],
            "negative offsets are the client's own affair"
        );
    }
}

#[tokio::test]
async fn a_refusal_of_the_whole_commit_is_told_of_every_partition_that_was_sent() {
    for (error, refusal) in [
        (GroupError::IllegalGeneration, 22),
        (GroupError::UnknownMember, 25),
        (GroupError::RebalanceInProgress, 27),
        (GroupError::FencedInstance, 82),
        (GroupError::InvalidGroup, 24),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        world.admin.reply_group(GroupReply::Committed(Err(error)));

        let asked = request(vec![
            of("t", vec![partition(0, 1)]),
            of("x", vec![partition(0, 1)]),
        ]);
        let response = ask(&world, 8, asked).await;

        assert_eq!(codes(&response), [code("t", 0, refusal), code("x", 0, 3)]);
    }
}

#[tokio::test]
async fn silence_and_wrong_answers_of_the_coordinator_are_retriable() {
    for (error, silence) in [
        (MetadataError::Recovering, 14),
        (MetadataError::Unknown, 15),
        (MetadataError::Deposed, 16),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        world.admin.fail_group(error);

        let response = ask(&world, 8, request(vec![of("t", vec![partition(0, 1)])])).await;

        assert_eq!(codes(&response), [code("t", 0, silence)]);
    }
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world
        .admin
        .reply_group(GroupReply::Committed(Ok(Vec::new())));
    let response = ask(&world, 8, request(vec![of("t", vec![partition(0, 1)])])).await;
    assert_eq!(codes(&response), [code("t", 0, 15)]);
}

#[tokio::test]
async fn a_commit_of_nothing_asks_nobody() {
    let world = world();

    let response = ask(&world, 8, request(vec![of("x", vec![partition(0, 1)])])).await;
    let empty = ask(&world, 8, request(Vec::new())).await;

    assert_eq!(codes(&response), [code("x", 0, 3)]);
    assert!(empty.topics.is_empty());
    assert!(commits(&world).is_empty());
}

#[tokio::test]
async fn unknown_is_not_told_while_no_current_table_can_be_had() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.fail_current(MetadataError::Recovering);
    world
        .admin
        .reply_group(GroupReply::Committed(Ok(vec![Ok(())])));

    let asked = request(vec![
        of("t", vec![partition(0, 1)]),
        of("x", vec![partition(0, 1)]),
    ]);
    let response = ask(&world, 8, asked).await;

    assert_eq!(codes(&response), [code("t", 0, 0), code("x", 0, 14)]);
}

#[tokio::test]
async fn a_topic_created_again_is_found_under_its_new_id_although_the_table_lags() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.lag();
    world.admin.remove(1);
    world.admin.add(topic("t", 2, 1));
    let unknown = vec![Err(GroupError::UnknownPartition)];
    world
        .admin
        .reply_group(GroupReply::Committed(Ok(unknown.clone())));
    world
        .admin
        .reply_group(GroupReply::Committed(Ok(vec![Ok(())])));
    let asked = request(vec![of("t", vec![partition(0, 1)])]);

    let response = ask(&world, 8, asked.clone()).await;

    assert_eq!(codes(&response), [code("t", 0, 0)]);
    let ids: Vec<TopicPartition> = commits(&world)
        .iter()
        .map(|commit| commit.offsets[0].topic_partition)
        .collect();
    assert_eq!(ids, [place(1, 0), place(2, 0)]);
    world.admin.fail_current(MetadataError::Deposed);
    world.admin.reply_group(GroupReply::Committed(Ok(unknown)));
    assert_eq!(
        codes(&ask(&world, 8, asked).await),
        [code("t", 0, 16)],
        "nobody confirms it"
    );
}
