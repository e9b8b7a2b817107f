//! OffsetFetch, all versions.

use esker_admin::limits::OFFSET_GROUPS_PARALLEL;
use esker_kafka::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use esker_kafka::messages::{OffsetFetchRequest, OffsetFetchResponse};
use esker_kafka::{Api, Request};
use esker_metadata_api::{
    CommittedOffset, FetchOffsets, GroupError, GroupReply, GroupRequest, MetadataError,
};
use esker_types::{PartitionIndex, TopicPartition};

use crate::wire::{World, body, group, name, topic, topic_id, versions, world};

type Topics<'a> = &'a [(&'a str, &'a [i32])];

/// A request for one group, in the shape of the version; `None` asks for all.
fn request(version: i16, topics: Option<Topics<'_>>) -> OffsetFetchRequest {
    let stable = version >= 7;
    if version >= 8 {
        let groups = vec![of_group("g", topics)];
        return OffsetFetchRequest::default()
            .with_groups(groups)
            .with_require_stable(stable);
    }
    let one = |(topic, partitions): &(&str, &[i32])| {
        OffsetFetchRequestTopic::default()
            .with_name(name(topic))
            .with_partition_indexes(partitions.to_vec())
    };
    OffsetFetchRequest::default()
        .with_group_id(group("g"))
        .with_topics(topics.map(|topics| topics.iter().map(one).collect()))
        .with_require_stable(stable)
}

fn of_group(id: &str, topics: Option<Topics<'_>>) -> OffsetFetchRequestGroup {
    let one = |(topic, partitions): &(&str, &[i32])| {
        OffsetFetchRequestTopics::default()
            .with_name(name(topic))
            .with_partition_indexes(partitions.to_vec())
    };
    OffsetFetchRequestGroup::default()
        .with_group_id(group(id))
        .with_topics(topics.map(|topics| topics.iter().map(one).collect()))
}

async fn ask(world: &World, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    body!(
        OffsetFetch,
        world.ask(version, Request::OffsetFetch(request)).await
    )
}

/// Topic, partition, offset, leader epoch, metadata, code.
type Row = (String, i32, i64, i32, String, i16);

/// The rows of the one group asked for, and its error.
fn rows(version: i16, response: &OffsetFetchResponse) -> (Vec<Row>, i16) {
    let mut rows = Vec::new();
    if version < 8 {
        for topic in &response.topics {
            for one in &topic.partitions {
                let metadata = one.metadata.clone().unwrap().to_string();
                let offset = (one.committed_offset, one.committed_leader_epoch);
                let name = topic.name.to_string();
                rows.push((
                    name,
                    one.partition_index,
                    offset.0,
                    offset.1,
                    metadata,
                    one.error_code,
                ));
            }
        }
        return (rows, response.error_code);
    }
    assert_eq!(
        (response.groups.len(), response.groups[0].group_id.as_str()),
        (1, "g")
    );
    for topic in &response.groups[0].topics {
        for one in &topic.partitions {
            let metadata = one.metadata.clone().unwrap().to_string();
            let offset = (one.committed_offset, one.committed_leader_epoch);
            let name = topic.name.to_string();
            rows.push((
                name,
                one.partition_index,
                offset.0,
                offset.1,
                metadata,
                one.error_code,
            ));
        }
    }
    (rows, response.groups[0].error_code)
}

fn row(version: i16, topic: &str, index: i32, offset: i64, epoch: i32, metadata: &str) -> Row {
    let epoch = if version >= 5 { epoch } else { -1 };
    (
        topic.to_owned(),
        index,
        offset,
        epoch,
        metadata.to_owned(),
        0,
    )
}

fn nothing(topic: &str, index: i32) -> Row {
    row(9, topic, index, -1, -1, "")
}

fn place(id: u8, index: u32) -> TopicPartition {
    TopicPartition {
        topic: topic_id(id),
        partition: PartitionIndex::new(index).unwrap(),
    }
}

fn stored(place: TopicPartition, offset: i64) -> (TopicPartition, CommittedOffset) {
    let committed = CommittedOffset {
        offset,
        leader_epoch: 4,
        metadata: String::from("note"),
    };
    (place, committed)
}

fn fetches(world: &World) -> Vec<FetchOffsets> {
    let one = |request| match request {
        GroupRequest::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    };
    world.admin.group_requests().into_iter().map(one).collect()
}

#[tokio::test]
async fn what_is_stored_comes_back_verbatim_and_all_else_as_minus_one() {
    for version in versions(Api::OffsetFetch) {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        world.admin.add(topic("u", 2, 1));
        let offsets = vec![stored(place(2, 0), 7), stored(place(1, 1), 0)];
        world.admin.reply_group(GroupReply::Offsets(Ok(offsets)));
        let topics: Topics<'_> = &[("u", &[0]), ("absent", &[0, 3]), ("t", &[1, 0, 2, -1])];

        let response = ask(&world, version, request(version, Some(topics))).await;

        let expected = vec![
            row(version, "u", 0, 7, 4, "note"),
            nothing("absent", 0),
            nothing("absent", 3),
            row(version, "t", 1, 0, 4, "note"),
            nothing("t", 0),
            nothing("t", 2),
            nothing("t", -1),
        ];
        assert_eq!(rows(version, &response), (expected, 0), "{version}");
        let asked = FetchOffsets {
            group: String::from("g"),
            partitions: Some(vec![place(2, 0), place(1, 1), place(1, 0)]),
        };
        assert_eq!(fetches(&world), [asked]);
    }
}

#[tokio::test]
async fn null_asks_for_everything_stored_from_version_2_on() {
    for version in 2..=9 {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        world.admin.add(topic("a", 2, 1));
        let offsets = vec![
            stored(place(1, 1), 5),
            stored(place(9, 0), 6),
            stored(place(2, 0), 7),
            stored(place(1, 0), 8),
        ];
        world.admin.reply_group(GroupReply::Offsets(Ok(offsets)));

        let response = ask(&world, version, request(version, None)).await;

        let expected = vec![
            row(version, "a", 0, 7, 4, "note"),
            row(version, "t", 0, 8, 4, "note"),
            row(version, "t", 1, 5, 4, "note"),
        ];
        assert_eq!(
            rows(version, &response),
            (expected, 0),
            "a topic that is gone is left out"
        );
        assert_eq!(fetches(&world)[0].partitions, None);
        assert_eq!(
            world.admin.current_calls(),
            1,
            "that it is gone was looked up"
        );
    }
}

#[tokio::test]
async fn an_empty_list_asks_for_nothing() {
    for version in versions(Api::OffsetFetch) {
        let world = world();
        world.admin.reply_group(GroupReply::Offsets(Ok(Vec::new())));

        let response = ask(&world, version, request(version, Some(&[]))).await;

        assert_eq!(rows(version, &response), (Vec::new(), 0));
        assert_eq!(fetches(&world)[0].partitions, Some(Vec::new()));
    }
}

#[tokio::test]
async fn an_error_of_the_group_stands_where_the_version_has_it() {
    for (failure, code) in [
        (Ok(GroupReply::Offsets(Err(GroupError::InvalidGroup))), 24),
        (Ok(GroupReply::Listed(Vec::new())), 15),
        (Err(MetadataError::Recovering), 14),
        (Err(MetadataError::Unavailable), 15),
        (Err(MetadataError::Deposed), 16),
    ] {
        for version in versions(Api::OffsetFetch) {
            let world = world();
            world.admin.add(topic("t", 1, 1));
            match failure.clone() {
                Ok(reply) => world.admin.reply_group(reply),
                Err(error) => world.admin.fail_group(error),
            }

            let response = ask(&world, version, request(version, Some(&[("t", &[0])]))).await;

            let (rows, whole) = rows(version, &response);
            if version == 1 {
                let (topic, index, offset, epoch, metadata, _) = nothing("t", 0);
                assert_eq!(rows, [(topic, index, offset, epoch, metadata, code)]);
            } else {
                assert_eq!((rows, whole), (Vec::new(), code));
            }
        }
    }
}

#[tokio::test]
async fn several_groups_are_answered_in_order_each_for_itself() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    let count = OFFSET_GROUPS_PARALLEL * 2 + 1;
    for index in 0..count {
        if index == 1 {
            world.admin.fail_group(MetadataError::Unavailable);
        } else {
            let offset = i64::try_from(index).unwrap();
            let offsets = vec![stored(place(1, 0), offset)];
            world.admin.reply_group(GroupReply::Offsets(Ok(offsets)));
        }
    }
    let names: Vec<String> = (0..count).map(|index| format!("g{index}")).collect();
    let groups = names
        .iter()
        .map(|name| of_group(name, Some(&[("t", &[0])])));
    let asked = OffsetFetchRequest::default().with_groups(groups.collect());

    let response = ask(&world, 9, asked).await;

    assert_eq!(response.groups.len(), count);
    for (index, group) in response.groups.iter().enumerate() {
        assert_eq!(group.group_id.as_str(), names[index]);
        let offsets: Vec<i64> = group
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| partition.committed_offset)
            .collect();
        if index == 1 {
            assert_eq!((group.error_code, offsets.len()), (15, 0));
        } else {
            assert_eq!(
                (group.error_code, offsets),
                (0, vec![i64::try_from(index).unwrap()])
            );
        }
    }
}

#[tokio::test]
async fn hits_cost_no_table_and_a_miss_is_held_against_a_current_one() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world
        .admin
        .reply_group(GroupReply::Offsets(Ok(vec![stored(place(1, 0), 3)])));
    let asked = request(8, Some(&[("t", &[0])]));

    ask(&world, 8, asked.clone()).await;
    assert_eq!(world.admin.current_calls(), 0);
    world.admin.reply_group(GroupReply::Offsets(Ok(Vec::new())));
    let missed = ask(&world, 8, asked).await;

    assert_eq!(rows(8, &missed).0, [nothing("t", 0)]);
    assert_eq!((world.admin.current_calls(), fetches(&world).len()), (1, 2));
}

#[tokio::test]
async fn a_topic_created_again_is_asked_for_under_its_new_id_although_the_table_lags() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.lag();
    world.admin.remove(1);
    world.admin.add(topic("t", 2, 1));
    world.admin.reply_group(GroupReply::Offsets(Ok(Vec::new())));
    world
        .admin
        .reply_group(GroupReply::Offsets(Ok(vec![stored(place(2, 0), 9)])));

    let response = ask(&world, 9, request(9, Some(&[("t", &[0])]))).await;

    assert_eq!(rows(9, &response).0, [row(9, "t", 0, 9, 4, "note")]);
}

#[tokio::test]
async fn minus_one_is_not_told_while_no_current_table_can_be_had() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.fail_current(MetadataError::Unavailable);
    let empty = || GroupReply::Offsets(Ok(Vec::new()));
    let gone = GroupReply::Offsets(Ok(vec![stored(place(9, 0), 1)]));

    world.admin.reply_group(empty());
    let missed = ask(&world, 8, request(8, Some(&[("t", &[0])]))).await;
    let unknown = ask(&world, 8, request(8, Some(&[("x", &[0])]))).await;
    world.admin.reply_group(gone);
    let all = ask(&world, 8, request(8, None)).await;

    for response in [missed, unknown, all] {
        assert_eq!(rows(8, &response), (Vec::new(), 15));
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_hangs_is_not_waited_for_for_ever() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.hang();

    let response = ask(&world, 8, request(8, Some(&[("t", &[0])]))).await;

    assert_eq!(rows(8, &response), (Vec::new(), 15));
}
