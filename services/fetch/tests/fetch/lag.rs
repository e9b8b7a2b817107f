//! The view may lag, is never wrong, and its high watermark never falls, whatever the feed does.

use std::sync::Arc;
use std::time::Duration;

use esker_fetch::FetchConfig;
use esker_fetch::limits::{LOOKUP_EXTENTS, LOOKUPS_PARALLEL};
use esker_kafka::{KafkaError, Reply};
use esker_metadata_api::{FeedUpdate, LogIndexError, MetadataError, PartitionAdvance};
use esker_object::{Fault, FaultRule, Gate, Operation};
use esker_types::{Offset, TopicPartition};

use crate::world::{
    World, Write, at, cache_config, offset, offsets_of, only, plain, records_of, request,
};

fn advance(topic_partition: TopicPartition, from: u64, to: u64) -> FeedUpdate {
    FeedUpdate::Advanced(Arc::new(PartitionAdvance {
        topic_partition,
        log_start: Offset::ZERO,
        high_watermark: offset(to),
        extents: Vec::new(),
        previous_high_watermark: offset(from),
    }))
}

/// Reads a partition from the front, a little at a time; the offsets of all records.
async fn read_all(world: &World, partition: u32, bytes_max: i32) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        let from = all
            .last()
            .map_or(0, |last| u64::try_from(last + 1).unwrap());
        let mut asked = request(&[(partition, from)]);
        asked.topics[0].partitions[0].partition_max_bytes = bytes_max;
        let reply = only(&world.ask(12, asked).await);
        assert_eq!(reply.error, KafkaError::None);
        if reply.records.is_empty() {
            assert_eq!(reply.high_watermark, i64::try_from(from).unwrap());
            return all;
        }
        let found = offsets_of(&reply.records);
        all.extend(
            found
                .into_iter()
                .filter(|at| *at >= i64::try_from(from).unwrap()),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_the_feed_began_is_looked_up() {
    let mut world = World::new().await;
    world
        .write(Write::Unheard, &[(at(0), offset(0), plain(3, 10))])
        .await;

    let reply = world.fetch_one(0, 0).await;
    let again = world.fetch_one(0, 0).await;

    assert_eq!(offsets_of(&reply.records), [0, 1, 2]);
    assert_eq!(reply, again);
    assert_eq!(world.index.lock().lookups, 1, "once is enough");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_skips_something_never_skips_records() {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(3, 10))])
        .await;
    assert_eq!(offsets_of(&world.fetch_one(0, 0).await.records), [0, 1, 2]);

    world
        .write(Write::Unheard, &[(at(0), offset(3), plain(3, 10))])
        .await;
    world
        .write(Write::Here, &[(at(0), offset(6), plain(3, 10))])
        .await;

    assert_eq!(read_all(&world, 0, 1).await, (0..9).collect::<Vec<_>>());
    assert_eq!(
        read_all(&world, 0, 1_000_000).await,
        (0..9).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn the_high_watermark_never_falls_whoever_tells_it() {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(9, 10))])
        .await;
    assert_eq!(world.fetch_one(0, 9).await.high_watermark, 9);

    world.index.push(&advance(at(0), 2, 4));
    world.settle().await;
    assert_eq!(world.fetch_one(0, 9).await.high_watermark, 9, "an old push");

    let mut older = world.index.lock().logs[&at(0)].clone();
    older.extents.clear();
    older.high_watermark = offset(4);
    world.index.lock().logs.insert(at(0), older);
    world.index.push(&FeedUpdate::Resync);
    world.settle().await;

    let reply = world.fetch_one(0, 9).await;
    assert_eq!(
        reply.high_watermark, 9,
        "a look-up that a deposed leader answers"
    );
    assert_eq!(offsets_of(&world.fetch_one(0, 0).await.records).len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_shows_no_lower_high_watermark_than_a_quick_one_before_it() {
    let mut world = World::new().await;
    let placed = [(at(0), offset(0), plain(5, 10))];
    world.write(Write::Elsewhere, &placed).await;
    let gate = Gate::new();
    let slow = FaultRule::new(Fault::GateBefore(gate.clone()));
    world.bucket.add(slow.on(Operation::Get));
    let mut slow = world.fetch.fetch(world.context(12), request(&[(0, 0)]));
    assert!(futures::poll!(&mut slow).is_pending());

    let placed = [(at(0), offset(5), plain(3, 10))];
    world.write(Write::Here, &placed).await;
    let quick = world.fetch_one(0, 8).await;
    gate.open();
    let Reply::Fetch(slow) = slow.await else {
        panic!("a fetch is answered with a fetch reply");
    };

    assert_eq!(quick.high_watermark, 8);
    assert_eq!(only(&slow).high_watermark, 8, "CP6");
    assert_eq!(offsets_of(&only(&slow).records), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn lost_updates_wake_the_waiters_to_look_again() {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(3, 10))])
        .await;
    let poll = request(&[(0, 3)]).with_max_wait_ms(60_000);
    let mut waiting = world.fetch.fetch(world.context(12), poll);
    assert!(futures::poll!(&mut waiting).is_pending());
    world
        .write(Write::Unheard, &[(at(0), offset(3), plain(3, 10))])
        .await;
    assert!(futures::poll!(&mut waiting).is_pending());
    let start = world.env.clock.now();

    world.index.push(&FeedUpdate::Resync);
    let Reply::Fetch(reply) = waiting.await else {
        panic!("a fetch is answered with a fetch reply");
    };

    assert_eq!(offsets_of(&only(&reply).records), [3, 4, 5]);
    assert_eq!(world.env.clock.now(), start);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_ends_is_followed_again_and_nothing_is_missed() {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(3, 10))])
        .await;
    world.index.lock().refuse_follow = Some(MetadataError::Unavailable);
    world.index.end_feeds();
    world.settle().await;
    assert!(!world.fetch.stats().is_connected);
    world
        .write(Write::Elsewhere, &[(at(0), offset(3), plain(3, 10))])
        .await;
    let poll = request(&[(0, 3)]).with_max_wait_ms(60_000);
    let mut waiting = world.fetch.fetch(world.context(12), poll);
    assert!(
        futures::poll!(&mut waiting).is_pending(),
        "it has not heard of it"
    );

    world.env.clock.sleep(Duration::from_secs(10)).await;
    let tries = world.index.lock().follows;
    assert!((5..100).contains(&tries), "{tries} tries in 10 s");
    world.index.lock().refuse_follow = None;
    let Reply::Fetch(reply) = waiting.await else {
        panic!("a fetch is answered with a fetch reply");
    };

    assert_eq!(offsets_of(&only(&reply).records), [3, 4, 5]);
    let stats = world.fetch.stats();
    assert!(stats.is_connected);
    assert_eq!(stats.feeds, 2);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_falls_silent_is_not_followed_for_ever() {
    let config = FetchConfig {
        query_timeout: Duration::from_secs(3),
        ..FetchConfig::default()
    };
    let world = World::with(config, cache_config()).await;
    world.index.lock().is_stuck = true;
    world.index.end_feeds();

    world.env.clock.sleep(Duration::from_secs(10)).await;
    let tries = world.index.lock().follows;
    world.index.lock().is_stuck = false;
    world.env.clock.sleep(Duration::from_secs(6)).await;

    assert!((3..6).contains(&tries), "{tries} tries in 10 s");
    assert!(world.fetch.stats().is_connected);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn fetches_go_on_below_the_known_end_while_nobody_answers() {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(3, 10))])
        .await;
    let away = MetadataError::Unavailable;
    world.index.lock().refuse_lookup = Some(LogIndexError::Metadata(away));
    world.index.lock().refuse_follow = Some(away);
    world.index.push(&FeedUpdate::Resync);
    world.index.end_feeds();
    world.settle().await;

    let known = world.fetch_one(0, 1).await;
    let end = world.fetch_one(0, 3).await;
    let unknown = world.fetch_one(1, 0).await;

    assert_eq!(offsets_of(&known.records), [0, 1, 2]);
    assert_eq!((end.error, end.high_watermark), (KafkaError::None, 3));
    assert_eq!(unknown.error, KafkaError::KafkaStorageError, "retriable");
}

#[tokio::test(start_paused = true)]
async fn a_view_that_may_keep_nothing_still_serves_everything() {
    for index_extents_max in [0, 1, 7] {
        let config = FetchConfig {
            index_extents_max,
            ..FetchConfig::default()
        };
        let mut world = World::with(config, cache_config()).await;
        for n in 0..40 {
            let placed = [
                (at(0), offset(n * 3), plain(2, 50)),
                (at(1), offset(n * 2), plain(2, 50)),
            ];
            world.write(Write::Here, &placed).await;
        }

        let kept = world.fetch.stats().view_extents;
        let gappy: Vec<i64> = (0..120).filter(|at| at % 3 != 2).collect();
        assert_eq!(read_all(&world, 0, 500).await, gappy);
        assert_eq!(read_all(&world, 1, 1).await, (0..80).collect::<Vec<_>>());
        assert!(kept <= u64::try_from(index_extents_max).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_was_cut_is_continued() {
    let config = FetchConfig {
        index_extents_max: 100,
        ..FetchConfig::default()
    };
    let mut world = World::with(config, cache_config()).await;
    let count = u64::try_from(2 * LOOKUP_EXTENTS).unwrap() + 1;
    for n in 0..count {
        world
            .write(Write::Here, &[(at(0), offset(n), plain(1, 10))])
            .await;
    }

    let all = read_all(&world, 0, 1_000_000).await;

    assert_eq!(all, (0..i64::try_from(count).unwrap()).collect::<Vec<_>>());
    let lookups = world.index.lock().lookups;
    assert!(lookups <= 4, "{lookups} look-ups");
}

#[tokio::test(start_paused = true)]
async fn the_plain_cache_serves_the_same() {
    let mut world = World::plain().await;
    world
        .write(Write::Elsewhere, &[(at(0), offset(0), plain(300, 10_000))])
        .await;

    let reply = world.fetch_one(0, 150).await;

    assert_eq!(records_of(&reply.records).len(), 300);
}

#[tokio::test(start_paused = true)]
async fn one_request_has_a_bounded_number_of_look_ups_in_flight() {
    let world = World::new().await;
    let partitions = u32::try_from(LOOKUPS_PARALLEL + 1).unwrap();
    world.index.create("wide", 2, partitions);
    world.index.lock().is_stuck = true;
    let all: Vec<_> = (0..partitions).map(|partition| (partition, 0)).collect();
    let mut wide = request(&all);
    wide.topics[0].topic = esker_kafka::messages::TopicName("wide".into());

    let mut asking = world.fetch.fetch(world.context(12), wide);
    assert!(futures::poll!(&mut asking).is_pending());

    let lookups = world.index.lock().lookups;
    assert_eq!(lookups, u64::try_from(LOOKUPS_PARALLEL).unwrap());
}
