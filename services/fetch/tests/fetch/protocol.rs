//! Fetch by version: names and ids, sessions, epochs, isolation, what is refused and how.

use std::time::Duration;

use esker_fetch::limits::PARTITIONS_PER_REQUEST_MAX;
use esker_kafka::messages::FetchRequest;
use esker_kafka::messages::fetch_request::FetchPartition;
use esker_kafka::{KafkaError, Reply};
use esker_metadata_api::{LogIndexError, MetadataError};
use esker_types::TopicId;

use crate::world::{TOPIC, World, Write, at, offset, offsets_of, only, plain, request};

/// The same fetch, its topic named by id.
fn by_id(mut request: FetchRequest, id: TopicId) -> FetchRequest {
    for topic in &mut request.topics {
        topic.topic_id = uuid::Uuid::from_bytes(id.bytes());
        topic.topic = Default::default();
    }
    request
}

async fn world_with_five_records() -> World {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(5, 100))])
        .await;
    world
}

#[tokio::test(start_paused = true)]
async fn every_version_is_served_by_name_or_by_id() {
    let world = world_with_five_records().await;

    for version in 4..=18 {
        let asked = match version >= 13 {
            true => by_id(request(&[(0, 2)]), TOPIC),
            false => request(&[(0, 2)]),
        };
        let reply = world.ask(version, asked).await;

        let partition = only(&reply);
        assert_eq!(reply.session_id, 0, "sessions are declined");
        assert_eq!(partition.error, KafkaError::None, "version {version}");
        assert_eq!(offsets_of(&partition.records), [0, 1, 2, 3, 4]);
        assert_eq!(partition.high_watermark, 5);
        assert_eq!(partition.last_stable_offset, 5);
        assert_eq!(partition.log_start_offset, 0);
        assert_eq!(partition.preferred_read_replica, -1);
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_stamped_with_the_constant_leader_epoch() {
    let world = world_with_five_records().await;

    let reply = world.fetch_one(0, 0).await;

    let header = esker_record::BatchHeader::parse(&reply.records[0]).unwrap();
    assert_eq!((header.base_offset(), header.leader_epoch()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn sessions_are_declined_and_unknown_ones_refused() {
    let world = world_with_five_records().await;
    let ask = |version, id, epoch| {
        let asked = request(&[(0, 0)])
            .with_session_id(id)
            .with_session_epoch(epoch);
        world.ask(version, asked)
    };

    for (id, epoch) in [(0, 0), (0, -1), (77, 0), (77, -1)] {
        let full = ask(12, id, epoch).await;
        assert_eq!(
            (full.error, full.session_id),
            (KafkaError::None, 0),
            "{id} {epoch}"
        );
        assert_eq!(full.topics.len(), 1);
    }
    for (id, epoch) in [(77, 1), (77, 5), (0, 1)] {
        let refused = ask(12, id, epoch).await;
        assert_eq!(
            refused.error,
            KafkaError::FetchSessionIdNotFound,
            "{id} {epoch}"
        );
        assert!(refused.topics.is_empty());
    }
    assert_eq!(
        ask(6, 0, 5).await.error,
        KafkaError::None,
        "no sessions there yet"
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_epoch_that_is_not_the_constant_one_is_fenced() {
    let world = world_with_five_records().await;

    for (epoch, error) in [
        (-1, KafkaError::None),
        (0, KafkaError::None),
        (1, KafkaError::UnknownLeaderEpoch),
        (-2, KafkaError::FencedLeaderEpoch),
    ] {
        let mut asked = request(&[(0, 0)]).with_max_wait_ms(60_000);
        asked.topics[0].partitions[0].current_leader_epoch = epoch;
        let start = world.env.clock.now();
        let reply = only(&world.ask(12, asked).await);

        assert_eq!(reply.error, error, "epoch {epoch}");
        assert_eq!(world.env.clock.now(), start, "errors are told at once");
    }
}

#[tokio::test(start_paused = true)]
async fn readers_of_committed_records_get_a_list_of_aborted_transactions() {
    let world = world_with_five_records().await;

    let all = world.ask(12, request(&[(0, 0)])).await;
    let committed = world
        .ask(12, request(&[(0, 0)]).with_isolation_level(1))
        .await;

    assert_eq!(only(&all).aborted_transactions, None);
    assert_eq!(only(&committed).aborted_transactions, Some(Vec::new()));
    assert_eq!(only(&all).records, only(&committed).records);
}

#[tokio::test(start_paused = true)]
async fn unknown_topics_are_told_only_after_the_current_table_was_asked() {
    let world = world_with_five_records().await;
    world.index.lock().stale_topics = Some(Default::default());

    let by_name = only(&world.ask(12, request(&[(0, 0)])).await);
    let with_id = only(&world.ask(13, by_id(request(&[(0, 0)]), TOPIC)).await);
    assert_eq!(
        by_name.error,
        KafkaError::None,
        "the cached table only lags"
    );
    assert_eq!(with_id.error, KafkaError::None);

    world.index.lock().refuse_topics = Some(MetadataError::Unavailable);
    let unsure = only(&world.ask(12, request(&[(0, 0)])).await);
    assert_eq!(
        unsure.error,
        KafkaError::KafkaStorageError,
        "retriable, not unknown"
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_has_its_own_code() {
    let world = world_with_five_records().await;
    let mut other_name = request(&[(0, 0)]);
    other_name.topics[0].topic = esker_kafka::messages::TopicName("nothing".into());
    let other_id = by_id(request(&[(0, 0)]), TopicId::from_bytes([8; 16]));
    let zero_id = by_id(request(&[(0, 0)]), TopicId::from_bytes([0; 16]));
    let past = request(&[(8, 0)]);

    for (version, asked, error) in [
        (12, other_name, KafkaError::UnknownTopicOrPartition),
        (13, other_id, KafkaError::UnknownTopicId),
        (13, zero_id, KafkaError::UnknownTopicId),
        (12, past.clone(), KafkaError::UnknownTopicOrPartition),
        (13, by_id(past, TOPIC), KafkaError::UnknownTopicOrPartition),
    ] {
        let start = world.env.clock.now();
        let reply = only(&world.ask(version, asked.with_max_wait_ms(60_000)).await);

        assert_eq!(reply.error, error, "version {version}");
        assert_eq!(reply.high_watermark, -1);
        assert_eq!(world.env.clock.now(), start, "errors are told at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_deleted_under_a_waiting_fetch_ends_the_wait() {
    for version in [12, 13] {
        let world = world_with_five_records().await;
        let asked = match version {
            13 => by_id(request(&[(0, 5)]), TOPIC),
            _ => request(&[(0, 5)]),
        };
        let asked = asked.with_max_wait_ms(60_000);
        let mut waiting = world.fetch.fetch(world.context(version), asked);
        assert!(futures::poll!(&mut waiting).is_pending());

        world.index.delete(TOPIC);
        let start = world.env.clock.now();
        let Reply::Fetch(reply) = waiting.await else {
            panic!("a fetch is answered with a fetch reply");
        };

        let error = match version {
            13 => KafkaError::UnknownTopicId,
            _ => KafkaError::UnknownTopicOrPartition,
        };
        assert_eq!(only(&reply).error, error);
        assert_eq!(world.env.clock.now(), start);
        assert_eq!(world.fetch.stats().view_extents, 0, "nothing is kept of it");
    }
}

#[tokio::test(start_paused = true)]
async fn every_partition_asked_for_is_answered_in_the_order_of_the_request() {
    let world = world_with_five_records().await;
    let mut asked = request(&[(3, 0), (9, 0), (0, 0), (0, 4), (1, 7)]);
    let mut second = asked.topics[0].clone();
    second.topic = esker_kafka::messages::TopicName("nothing".into());
    asked.topics.insert(0, second);

    let reply = world.ask(12, asked).await;

    let shape: Vec<Vec<i32>> = reply
        .topics
        .iter()
        .map(|topic| topic.partitions.iter().map(|at| at.partition).collect())
        .collect();
    assert_eq!(shape, [[3, 9, 0, 0, 1], [3, 9, 0, 0, 1]]);
    assert_eq!(&*reply.topics[0].topic, "nothing");
    let errors = reply.topics[1].partitions.iter().map(|at| at.error.code());
    assert_eq!(errors.collect::<Vec<_>>(), [0, 3, 0, 0, 1]);
    assert_eq!(
        offsets_of(&reply.topics[1].partitions[3].records),
        [0, 1, 2, 3, 4]
    );
}

#[tokio::test(start_paused = true)]
async fn one_partition_past_the_limit_is_refused_as_a_whole() {
    let world = world_with_five_records().await;
    let named = |count: usize| {
        let mut asked = request(&[(0, 0)]);
        let one = FetchPartition::default().with_partition_max_bytes(100);
        asked.topics[0].partitions = vec![one; count];
        asked
    };

    let full = world.ask(12, named(PARTITIONS_PER_REQUEST_MAX)).await;
    let past = world.ask(12, named(PARTITIONS_PER_REQUEST_MAX + 1)).await;

    assert_eq!(full.error, KafkaError::None);
    assert_eq!(full.topics[0].partitions.len(), PARTITIONS_PER_REQUEST_MAX);
    assert_eq!(past.error, KafkaError::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_of_nothing_is_answered_at_once() {
    let world = World::new().await;
    let start = world.env.clock.now();

    let asked = FetchRequest::default().with_session_epoch(-1);
    let reply = world
        .ask(12, asked.with_max_wait_ms(60_000).with_min_bytes(1))
        .await;

    assert!(reply.topics.is_empty());
    assert_eq!(world.env.clock.now(), start);
}

#[tokio::test(start_paused = true)]
async fn below_the_start_and_beyond_the_end_is_out_of_range() {
    let mut world = world_with_five_records().await;
    world.index.lock().logs.get_mut(&at(0)).unwrap().log_start = offset(3);
    world
        .write(Write::Here, &[(at(0), offset(5), plain(2, 100))])
        .await;

    for (from, error) in [
        (2, KafkaError::OffsetOutOfRange),
        (3, KafkaError::None),
        (7, KafkaError::None),
        (8, KafkaError::OffsetOutOfRange),
        (u64::MAX >> 1, KafkaError::OffsetOutOfRange),
    ] {
        let reply = world.fetch_one(0, from).await;
        assert_eq!(reply.error, error, "offset {from}");
        if error != KafkaError::None {
            let marks = (reply.high_watermark, reply.log_start_offset);
            assert_eq!(marks, (-1, -1), "offset {from}");
        }
    }
    let mut negative = request(&[(0, 0)]);
    negative.topics[0].partitions[0].fetch_offset = -1;
    let reply = only(&world.ask(12, negative).await);
    assert_eq!(reply.error, KafkaError::OffsetOutOfRange);
    let inside = world.fetch_one(0, 3).await;
    assert_eq!(inside.log_start_offset, 3);
    assert_eq!(
        offsets_of(&inside.records),
        [0, 1, 2, 3, 4, 5, 6],
        "its batch comes whole"
    );
}

#[tokio::test(start_paused = true)]
async fn beyond_the_end_is_said_only_by_the_sequencer() {
    let world = world_with_five_records().await;
    for (error, wanted) in [
        (LogIndexError::NotDecided, KafkaError::OffsetNotAvailable),
        (
            LogIndexError::Metadata(MetadataError::Unavailable),
            KafkaError::OffsetNotAvailable,
        ),
        (
            LogIndexError::UnknownPartition,
            KafkaError::UnknownTopicOrPartition,
        ),
    ] {
        world.index.lock().refuse_list = Some(error);

        let reply = world.fetch_one(0, 6).await;

        assert_eq!(reply.error, wanted, "{error:?}");
    }
    assert_eq!(world.index.lock().latest_questions, 3);
}

#[tokio::test(start_paused = true)]
async fn an_offset_the_log_reaches_but_this_process_does_not_see_waits_then_says_so() {
    let world = world_with_five_records().await;
    world.index.lock().logs.get_mut(&at(0)).unwrap().latest = Some(offset(9));
    let start = world.env.clock.now();

    let reply = world.fetch_one(0, 9).await;

    assert_eq!(
        reply.error,
        KafkaError::OffsetNotAvailable,
        "never out of range"
    );
    let waited = world.env.clock.now().since(start);
    assert_eq!(waited, Duration::from_secs(1), "briefly");

    let mut waiting = world.fetch.fetch(world.context(12), request(&[(0, 7)]));
    assert!(futures::poll!(&mut waiting).is_pending());
    let mut world = world;
    let start = world.env.clock.now();
    world
        .write(Write::Elsewhere, &[(at(0), offset(5), plain(4, 10))])
        .await;
    let Reply::Fetch(reply) = waiting.await else {
        panic!("a fetch is answered with a fetch reply");
    };

    assert_eq!(offsets_of(&only(&reply).records), [5, 6, 7, 8]);
    assert_eq!(world.env.clock.now(), start, "the push ended the wait");
}
