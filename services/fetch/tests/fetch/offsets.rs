//! ListOffsets: all kinds of question in all versions, exact inside compressed batches.

use std::time::Duration;

use bytes::Bytes;
use esker_fetch::limits::{PARTITIONS_PER_REQUEST_MAX, QUERIES_PARALLEL, QUERY_EXTENTS_MAX};
use esker_fetch::{FoundOffset, ReadError};
use esker_kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use esker_kafka::messages::list_offsets_response::ListOffsetsPartitionResponse;
use esker_kafka::messages::{ListOffsetsRequest, StrBytes, TopicName};
use esker_kafka::{KafkaError, Reply, Response};
use esker_metadata_api::{LogIndexError, MetadataError, OffsetQuery};
use esker_object::{Fault, FaultRule, Operation, StoreErrorKind};
use esker_record::{Compression, NewRecord};
use esker_types::Timestamp;

use crate::world::{World, Write, at, batch, offset, plain};

fn asked(questions: &[(i32, i64)]) -> ListOffsetsRequest {
    let partitions = questions.iter().map(|(partition, timestamp)| {
        ListOffsetsPartition::default()
            .with_partition_index(*partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(*timestamp)
    });
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(partitions.collect());
    ListOffsetsRequest::default().with_topics(vec![topic])
}

async fn answers(
    world: &World,
    version: i16,
    request: ListOffsetsRequest,
) -> Vec<ListOffsetsPartitionResponse> {
    let reply = world.fetch.list_offsets(world.context(version), request);
    let Reply::Message(Response::ListOffsets(response)) = reply.await else {
        panic!("offsets are asked and answered");
    };
    let topics = response.topics.into_iter();
    topics.flat_map(|topic| topic.partitions).collect()
}

/// Error, offset and timestamp of the answer to one question.
async fn ask(world: &World, version: i16, timestamp: i64) -> (i16, i64, i64) {
    let found = answers(world, version, asked(&[(0, timestamp)])).await;
    (found[0].error_code, found[0].offset, found[0].timestamp)
}

fn at_times(codec: Compression, times: &[i64]) -> Bytes {
    let record = |time: &i64| NewRecord {
        timestamp: Timestamp::from_millis(*time),
        key: None,
        value: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
    };
    batch(codec, &times.iter().map(record).collect::<Vec<_>>())
}

/// Offsets 0 to 2 at 100 200 150, a gap, offsets 5 to 7 at 300 120 250, offsets 8 and 9 at 300 50.
async fn world_with_times(codec: Compression) -> World {
    let mut world = World::new().await;
    let first = at_times(codec, &[100, 200, 150]);
    world
        .write(Write::Elsewhere, &[(at(0), offset(0), first)])
        .await;
    let second = at_times(codec, &[300, 120, 250]);
    let third = at_times(codec, &[300, 50]);
    let placed = [(at(0), offset(5), second), (at(0), offset(8), third)];
    world.write(Write::Elsewhere, &placed).await;
    world
}

#[tokio::test(start_paused = true)]
async fn timestamps_are_found_exactly_inside_batches_of_every_codec() {
    for codec in Compression::ALL {
        let world = world_with_times(codec).await;

        for (time, found) in [
            (0, (0, 0, 100)),
            (100, (0, 0, 100)),
            (101, (0, 1, 200)),
            (200, (0, 1, 200)),
            (201, (0, 5, 300)),
            (300, (0, 5, 300)),
            (301, (0, -1, -1)),
        ] {
            assert_eq!(ask(&world, 7, time).await, found, "{codec:?} from {time}");
        }
        assert_eq!(
            ask(&world, 7, -3).await,
            (0, 5, 300),
            "the first of the largest"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_were_deleted_out_of_a_batch_are_not_found() {
    let world = world_with_times(Compression::Zstd).await;
    world.index.lock().logs.get_mut(&at(0)).unwrap().log_start = offset(6);

    let at_first = ask(&world, 7, 0).await;
    let later = ask(&world, 7, 121).await;

    assert_eq!(at_first, (0, 6, 120));
    assert_eq!(later, (0, 7, 250));
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_the_log_in_every_version() {
    let world = world_with_times(Compression::None).await;
    world.index.lock().logs.get_mut(&at(0)).unwrap().log_start = offset(1);
    let unsupported = KafkaError::UnsupportedVersion.code();

    for version in 1..=11 {
        let since = |first: i16, found: (i16, i64, i64)| match version >= first {
            true => found,
            false => (unsupported, -1, -1),
        };
        for (timestamp, found) in [
            (-1, (0, 10, -1)),
            (-2, (0, 1, -1)),
            (-3, since(7, (0, 5, 300))),
            (-4, since(8, (0, 1, -1))),
            (-5, since(9, (0, -1, -1))),
            (-6, since(11, (0, -1, -1))),
            (-7, (unsupported, -1, -1)),
            (101, (0, 1, 200)),
        ] {
            let answer = ask(&world, version, timestamp).await;
            assert_eq!(answer, found, "version {version}, {timestamp}");
        }
        let latest = answers(&world, version, asked(&[(0, -1)])).await;
        let epoch = if version >= 4 { 0 } else { -1 };
        assert_eq!(latest[0].leader_epoch, epoch, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_log_begins_and_ends_at_zero_and_has_no_times() {
    let world = World::new().await;

    for (timestamp, found) in [
        (-1, (0, 0, -1)),
        (-2, (0, 0, -1)),
        (-3, (0, -1, -1)),
        (-4, (0, 0, -1)),
        (0, (0, -1, -1)),
    ] {
        assert_eq!(ask(&world, 9, timestamp).await, found, "{timestamp}");
    }
}

#[tokio::test(start_paused = true)]
async fn latest_is_what_the_sequencer_says_not_what_the_view_knows() {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(3, 10))])
        .await;
    world
        .write(Write::Unheard, &[(at(0), offset(3), plain(3, 10))])
        .await;

    assert_eq!(ask(&world, 7, -1).await, (0, 6, -1));
    let reply = world.fetch_one(0, 6).await;
    assert_eq!(
        reply.error,
        KafkaError::None,
        "a client that starts there is served"
    );
    assert_eq!(reply.high_watermark, 6);
}

#[tokio::test(start_paused = true)]
async fn each_partition_fails_alone_and_in_the_words_of_its_version() {
    let world = world_with_times(Compression::None).await;
    let mut request = asked(&[(0, -1), (9, -1), (1, -1), (0, -2), (2, -1), (3, -1)]);
    let partitions = &mut request.topics[0].partitions;
    partitions[2].current_leader_epoch = 0;
    partitions[4].current_leader_epoch = 1;
    partitions[5].current_leader_epoch = -5;

    let found = answers(&world, 7, request).await;

    let codes: Vec<_> = found.iter().map(|found| found.error_code).collect();
    assert_eq!(codes, [0, 3, 0, 42, 75, 74]);
    let indexes: Vec<_> = found.iter().map(|found| found.partition_index).collect();
    assert_eq!(indexes, [0, 9, 1, 0, 2, 3]);

    for (error, new, old) in [
        (LogIndexError::NotDecided, 78, 5),
        (LogIndexError::UnknownPartition, 3, 3),
        (LogIndexError::Metadata(MetadataError::Deposed), 56, 56),
    ] {
        world.index.lock().refuse_list = Some(error);
        assert_eq!(ask(&world, 7, -1).await.0, new, "{error:?}");
        assert_eq!(ask(&world, 4, -1).await.0, old, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_extent_is_a_retriable_error_and_a_damaged_one_is_read_again() {
    let world = world_with_times(Compression::None).await;
    let failing = Fault::Refuse(StoreErrorKind::Exhausted);
    world.bucket.add(FaultRule::new(failing).times(1));
    assert_eq!(
        ask(&world, 7, 101).await.0,
        KafkaError::KafkaStorageError.code()
    );

    world.bucket.heal();
    let gone = FaultRule::new(Fault::Missing).on(Operation::Get).times(2);
    world.bucket.add(gone);
    assert_eq!(
        ask(&world, 7, 101).await.0,
        KafkaError::KafkaStorageError.code()
    );
    assert_eq!(ask(&world, 7, 101).await, (0, 1, 200));

    let world = world_with_times(Compression::None).await;
    let cut = FaultRule::new(Fault::Truncate).on(Operation::Get).times(1);
    world.bucket.add(cut);
    assert_eq!(ask(&world, 7, 101).await, (0, 1, 200));
    assert_eq!(world.fetch.stats().read_again, 1);
}

#[tokio::test(start_paused = true)]
async fn records_that_nobody_can_decode_answer_with_the_batch_they_are_in() {
    let mut world = World::new().await;
    let mut garbage = at_times(Compression::None, &[500, 600]).to_vec();
    let length = garbage.len();
    garbage[length - 3..].fill(0xff);
    let crc = crc32c::crc32c(&garbage[21..]);
    garbage[17..21].copy_from_slice(&crc.to_be_bytes());
    world
        .write(Write::Here, &[(at(0), offset(0), plain(2, 10))])
        .await;
    world
        .write(Write::Here, &[(at(0), offset(2), garbage.into())])
        .await;

    assert_eq!(ask(&world, 7, 5000).await, (0, -1, -1));
    assert_eq!(ask(&world, 7, 1001).await, (0, 1, 1001));
    let garbage = at_times(Compression::Zstd, &[5000, 6000]);
    let mut garbage = garbage.to_vec();
    let length = garbage.len();
    garbage[length - 3..].fill(0xff);
    let crc = crc32c::crc32c(&garbage[21..]);
    garbage[17..21].copy_from_slice(&crc.to_be_bytes());
    world
        .write(Write::Here, &[(at(0), offset(4), garbage.into())])
        .await;

    assert_eq!(
        ask(&world, 7, 5500).await,
        (0, 4, 6000),
        "no record that fits lies before it"
    );
}

/// Two records at 100 and 110, whose header speaks of 900.
fn boastful() -> Bytes {
    let mut batch = at_times(Compression::None, &[100, 110]).to_vec();
    batch[35..43].copy_from_slice(&900_i64.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

#[tokio::test(start_paused = true)]
async fn a_search_behind_false_headers_ends() {
    let most = u64::try_from(QUERY_EXTENTS_MAX).unwrap();

    for (false_ones, error) in [(most - 1, 0), (most, 78)] {
        let mut world = World::new().await;
        for extent in 0..false_ones {
            let placed = [(at(0), offset(2 * extent), boastful())];
            world.write(Write::Here, &placed).await;
        }
        let honest = at_times(Compression::None, &[500]);
        let placed = [(at(0), offset(2 * false_ones), honest)];
        world.write(Write::Here, &placed).await;

        assert_eq!(ask(&world, 7, 400).await.0, error, "{false_ones} in front");
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_has_a_bounded_number_of_questions_in_flight() {
    let world = World::new().await;
    let questions = u32::try_from(QUERIES_PARALLEL + 1).unwrap();
    world.index.create("wide", 2, questions);
    world.index.lock().is_stuck = true;
    let mut wide = asked(
        &(0..i32::try_from(questions).unwrap())
            .map(|at| (at, -1))
            .collect::<Vec<_>>(),
    );
    wide.topics[0].name = TopicName("wide".into());

    let mut asking = world.fetch.list_offsets(world.context(7), wide);
    assert!(futures::poll!(&mut asking).is_pending());

    let questions = world.index.lock().latest_questions;
    assert_eq!(questions, u64::try_from(QUERIES_PARALLEL).unwrap());
}

#[tokio::test(start_paused = true)]
async fn headers_that_promise_too_much_do_not_end_the_search() {
    let mut world = World::new().await;
    let mut boastful = at_times(Compression::None, &[100, 110]).to_vec();
    boastful[35..43].copy_from_slice(&900_i64.to_be_bytes());
    let crc = crc32c::crc32c(&boastful[21..]);
    boastful[17..21].copy_from_slice(&crc.to_be_bytes());
    world
        .write(Write::Here, &[(at(0), offset(0), boastful.into())])
        .await;
    let honest = at_times(Compression::None, &[120, 500]);
    world
        .write(Write::Here, &[(at(0), offset(2), honest)])
        .await;

    assert_eq!(ask(&world, 7, 400).await, (0, 3, 500));
    assert_eq!(ask(&world, 7, 600).await, (0, -1, -1));
}

#[tokio::test(start_paused = true)]
async fn unknown_topics_and_too_many_partitions_are_refused() {
    let world = World::new().await;
    let mut nothing = asked(&[(0, -1)]);
    nothing.topics[0].name = TopicName("nothing".into());
    let one = asked(&[(0, -1)]).topics[0].partitions[0].clone();
    let mut past = asked(&[]);
    past.topics[0].partitions = vec![one; PARTITIONS_PER_REQUEST_MAX + 1];

    let unknown = answers(&world, 7, nothing).await;
    let refused = answers(&world, 7, past).await;

    assert_eq!(unknown[0].error_code, 3);
    assert_eq!(refused.len(), PARTITIONS_PER_REQUEST_MAX + 1);
    assert!(refused.iter().all(|answer| answer.error_code == 42));
}

#[tokio::test(start_paused = true)]
async fn http_asks_the_same_questions() {
    let world = world_with_times(Compression::Gzip).await;
    let found = |offset_value, millis| {
        Ok(Some(FoundOffset {
            offset: offset(offset_value),
            timestamp: Timestamp::from_millis(millis),
        }))
    };
    let from = |millis| OffsetQuery::AtTimestamp(Timestamp::from_millis(millis));

    for (query, wanted) in [
        (OffsetQuery::Latest, found(10, -1)),
        (OffsetQuery::Earliest, found(0, -1)),
        (OffsetQuery::MaxTimestamp, found(5, 300)),
        (from(201), found(5, 300)),
        (from(301), Ok(None)),
    ] {
        assert_eq!(
            world.fetch.find_offset(at(0), query).await,
            wanted,
            "{query:?}"
        );
    }
    let nowhere = world.fetch.find_offset(at(99), OffsetQuery::Latest).await;
    assert_eq!(nowhere, Err(ReadError::UnknownPartition));
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_ends_in_time() {
    let world = world_with_times(Compression::None).await;
    world.bucket.add(FaultRule::new(Fault::HangBefore));
    let start = world.env.clock.now();

    let found = answers(&world, 10, asked(&[(0, 101)]).with_timeout_ms(1500)).await;

    assert_eq!(found[0].error_code, KafkaError::RequestTimedOut.code());
    assert_eq!(
        world.env.clock.now().since(start),
        Duration::from_millis(1500)
    );
    let late = world
        .fetch
        .find_offset(at(0), OffsetQuery::MaxTimestamp)
        .await;
    assert_eq!(late, Err(ReadError::TimedOut));
}
