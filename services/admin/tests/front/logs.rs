//! DeleteRecords, OffsetForLeaderEpoch and DescribeLogDirs, all versions.

use esker_admin::AdminConfig;
use esker_kafka::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use esker_kafka::messages::describe_log_dirs_request::DescribableLogDirTopic;
use esker_kafka::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use esker_kafka::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use esker_kafka::{Api, Request};
use esker_metadata_api::{DeleteBefore, DeleteRecordsError, LogIndexError, MetadataError};
use esker_types::Offset;

use crate::wire::{World, at, body, name, pod, topic, versions, world, world_of};

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

async fn delete(world: &World, version: i16, rows: &[(&str, i32, i64)]) -> DeleteRecordsResponse {
    let one = |(topic, index, offset): &(&str, i32, i64)| {
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(*index)
            .with_offset(*offset);
        DeleteRecordsTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![partition])
    };
    let request = DeleteRecordsRequest::default()
        .with_topics(rows.iter().map(one).collect())
        .with_timeout_ms(5000);
    body!(
        DeleteRecords,
        world.ask(version, Request::DeleteRecords(request)).await
    )
}

/// Low watermark and code of each partition.
fn outcomes(response: &DeleteRecordsResponse) -> Vec<(i64, i16)> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|one| (one.low_watermark, one.error_code))
        .collect()
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_or_the_high_watermark_in_every_version() {
    for version in versions(Api::DeleteRecords) {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        world.admin.answer_deletion(Ok(offset(5)));
        world.admin.answer_deletion(Ok(offset(9)));

        let response = delete(&world, version, &[("t", 0, 5), ("t", 1, -1)]).await;

        assert_eq!(outcomes(&response), [(5, 0), (9, 0)]);
        assert_eq!(
            world.admin.deleted_records(),
            [
                (at(1, 0), DeleteBefore::Offset(offset(5))),
                (at(1, 1), DeleteBefore::HighWatermark)
            ]
        );
    }
}

#[tokio::test]
async fn a_deletion_that_cannot_be_is_told_as_kafka_tells_it() {
    let high_watermark = offset(3);
    for (answer, code) in [
        (DeleteRecordsError::OutOfRange { high_watermark }, 1),
        (DeleteRecordsError::UnknownPartition, 3),
        (DeleteRecordsError::NotDecided, 7),
        (DeleteRecordsError::Metadata(MetadataError::Deposed), 7),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        world.admin.answer_deletion(Err(answer));

        let response = delete(&world, 2, &[("t", 0, 5)]).await;

        assert_eq!(outcomes(&response), [(-1, code)], "{answer}");
    }
    let world = world();
    world.admin.add(topic("t", 1, 1));
    let rows = [("absent", 0, 1), ("t", 1, 1), ("t", 0, -2)];
    let response = delete(&world, 2, &rows).await;
    assert_eq!(outcomes(&response), [(-1, 3), (-1, 3), (-1, 1)]);
    assert!(world.admin.deleted_records().is_empty());
}

#[tokio::test]
async fn a_topic_that_is_only_compacted_loses_no_record() {
    for (policy, code) in [
        ("compact", 44),
        ("compact,delete", 0),
        ("delete", 0),
        ("", 0),
    ] {
        let world = world();
        let mut compacted = topic("t", 1, 1);
        let own = compacted
            .configs
            .insert("cleanup.policy".to_owned(), policy.to_owned());
        world.admin.add(compacted);
        world.admin.answer_deletion(Ok(offset(5)));

        let response = delete(&world, 2, &[("t", 0, 5)]).await;

        assert_eq!(own, None);
        assert_eq!(outcomes(&response)[0].1, code, "{policy}");
        assert_eq!(world.admin.deleted_records().is_empty(), code != 0);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_of_the_request_the_outcome_of_a_deletion_is_unknown() {
    let world = world();
    world.admin.add(topic("t", 1, 1));
    world.admin.answer_deletion(Ok(offset(5)));
    world.admin.hang();

    let response = delete(&world, 2, &[("t", 0, 5)]).await;

    assert_eq!(outcomes(&response), [(-1, 7)]);
}

async fn epoch_end(
    world: &World,
    version: i16,
    rows: &[(&str, i32, i32, i32)],
) -> OffsetForLeaderEpochResponse {
    let one = |(topic, index, current, asked): &(&str, i32, i32, i32)| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(*index)
            .with_current_leader_epoch(*current)
            .with_leader_epoch(*asked);
        OffsetForLeaderTopic::default()
            .with_topic(name(topic))
            .with_partitions(vec![partition])
    };
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id((-2).into())
        .with_topics(rows.iter().map(one).collect());
    body!(
        OffsetForLeaderEpoch,
        world
            .ask(version, Request::OffsetForLeaderEpoch(request))
            .await
    )
}

/// Epoch, end and code of each partition.
fn ends(response: &OffsetForLeaderEpochResponse) -> Vec<(i32, i64, i16)> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|one| (one.leader_epoch, one.end_offset, one.error_code))
        .collect()
}

#[tokio::test]
async fn every_leader_epoch_ends_at_the_end_of_the_log_in_every_version() {
    for version in versions(Api::OffsetForLeaderEpoch) {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        world.admin.set_log_end(at(1, 0), Ok(offset(42)));

        let rows = [
            ("t", 0, -1, 0),
            ("t", 0, 0, 0),
            ("t", 0, 0, 17),
            ("t", 0, 0, -1),
        ];
        let response = epoch_end(&world, version, &rows).await;

        let end = (0, 42, 0);
        assert_eq!(ends(&response), [end, end, end, (-1, -1, 0)]);
    }
}

#[tokio::test]
async fn clients_with_another_leader_epoch_are_told_to_refresh() {
    let world = world();
    world.admin.add(topic("t", 1, 1));

    let rows = [
        ("t", 0, 1, 0),
        ("t", 0, -7, 0),
        ("absent", 0, 0, 0),
        ("t", 9, 0, 0),
    ];
    let response = epoch_end(&world, 4, &rows).await;

    assert_eq!(
        ends(&response),
        [(-1, -1, 75), (-1, -1, 74), (-1, -1, 3), (-1, -1, 3)]
    );
}

#[tokio::test]
async fn an_end_that_is_not_known_is_never_guessed() {
    for (error, code) in [
        (LogIndexError::NotDecided, 78),
        (LogIndexError::UnknownPartition, 3),
        (LogIndexError::Metadata(MetadataError::Unavailable), 5),
    ] {
        let world = world();
        world.admin.add(topic("t", 1, 1));
        world.admin.set_log_end(at(1, 0), Err(error));

        let response = epoch_end(&world, 4, &[("t", 0, 0, 0)]).await;

        assert_eq!(ends(&response), [(-1, -1, code)]);
    }
}

async fn log_dirs(
    world: &World,
    version: i16,
    topics: Option<Vec<(&str, Vec<i32>)>>,
) -> DescribeLogDirsResponse {
    let one = |(topic, partitions): (&str, Vec<i32>)| {
        DescribableLogDirTopic::default()
            .with_topic(name(topic))
            .with_partitions(partitions)
    };
    let topics = topics.map(|topics| topics.into_iter().map(one).collect());
    let request = DescribeLogDirsRequest::default().with_topics(topics);
    body!(
        DescribeLogDirs,
        world.ask(version, Request::DescribeLogDirs(request)).await
    )
}

/// Topic, partition and bytes.
fn sizes(response: &DescribeLogDirsResponse) -> Vec<(&str, i32, i64)> {
    let topics = response.results.iter().flat_map(|dir| &dir.topics);
    topics
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|one| (topic.name.as_str(), one.partition_index, one.partition_size))
        })
        .collect()
}

#[tokio::test]
async fn the_bucket_is_described_as_one_directory_in_every_version() {
    for version in versions(Api::DescribeLogDirs) {
        let world = world();
        world.admin.add(topic("t", 1, 2));
        world.admin.add(topic("u", 2, 1));
        world.admin.set_log_bytes(at(1, 1), 700);

        let all = log_dirs(&world, version, None).await;
        let some = vec![("t", vec![1, 9]), ("absent", vec![0])];
        let some = log_dirs(&world, version, Some(some)).await;

        assert_eq!(sizes(&all), [("t", 0, 0), ("t", 1, 700), ("u", 0, 0)]);
        assert_eq!(sizes(&some), [("t", 1, 700)]);
        let dir = &all.results[0];
        assert_eq!((all.error_code, dir.error_code), (0, 0));
        assert_eq!(dir.log_dir.as_str(), "/bucket");
        assert_eq!((dir.total_bytes, dir.usable_bytes), (-1, -1));
    }
}

#[tokio::test]
async fn each_broker_tells_of_its_own_replicas_so_that_sums_are_right() {
    let mut told = Vec::new();
    for here in [1, 2] {
        let others = vec![pod(3 - here, None)];
        let world = world_of(AdminConfig::default(), pod(here, None), others);
        world.admin.add(topic("t", 1, 16));
        let response = log_dirs(&world, 4, None).await;
        told.extend(sizes(&response).iter().map(|(_, index, _)| *index));
    }

    told.sort_unstable();
    assert_eq!(told, (0..16).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_silent_metadata_service_is_told_as_an_error() {
    let world = world();
    world.admin.fail_log_bytes(MetadataError::Recovering);

    let response = log_dirs(&world, 4, None).await;

    assert_eq!(
        (response.error_code, response.results[0].error_code),
        (7, 7)
    );
}

#[tokio::test]
async fn more_partitions_than_are_asked_about_at_once_are_answered_in_order() {
    let count = u32::try_from(esker_admin::limits::PARTITIONS_PARALLEL).unwrap() * 2 + 1;
    let world = world();
    world.admin.add(topic("t", 1, count));
    for index in 0..count {
        world
            .admin
            .set_log_end(at(1, index), Ok(offset(u64::from(index))));
    }
    let last = i32::try_from(count).unwrap();
    let rows: Vec<(&str, i32, i32, i32)> = (0..last).map(|index| ("t", index, 0, 0)).collect();

    let response = epoch_end(&world, 4, &rows).await;

    let expected: Vec<_> = (0..last).map(|index| (0, i64::from(index), 0)).collect();
    assert_eq!(ends(&response), expected);
}
