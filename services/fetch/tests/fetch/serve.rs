//! Fetch as a client sees it: every offset readable, exactly, warm and cold; limits; long poll.

use std::time::Duration;

use esker_cache::CacheConfig;
use esker_fetch::limits::RESPONSE_BYTES_MAX;
use esker_fetch::{FetchConfig, ReadRequest};
use esker_kafka::KafkaError;
use esker_object::{Fault, FaultRule, Gate, Operation, StoreErrorKind};
use esker_record::Compression;
use futures::future::join_all;

use crate::world::{
    World, Write, at, batch, batches_of, cache_config, offset, offsets_of, only, plain, records,
    records_of, request,
};

#[tokio::test(start_paused = true)]
async fn every_offset_inside_every_batch_is_readable_exactly_warm_and_cold() {
    for how in [Write::Here, Write::Elsewhere] {
        let mut world = World::new().await;
        let mut base = 0;
        for segment in 0..3 {
            let mut placed = vec![(at(7), offset(segment), plain(1, 100))];
            for codec in Compression::ALL {
                let bytes = batch(codec, &records(7, 3000, i64::try_from(base).unwrap()));
                placed.push((at(2), offset(base), bytes));
                base += 7;
            }
            world.write(how, &placed).await;
        }

        for from in 0..base {
            let reply = world.fetch_one(2, from).await;

            assert_eq!(reply.error, KafkaError::None);
            let found = records_of(&reply.records);
            let first = from / 7 * 7;
            let wanted: Vec<i64> = (first..base).map(|at| i64::try_from(at).unwrap()).collect();
            assert_eq!(offsets_of(&reply.records), wanted, "from {from}, {how:?}");
            let times = found.iter().map(|record| record.timestamp.millis());
            assert_eq!(times.collect::<Vec<_>>(), wanted, "from {from}, {how:?}");
            assert_eq!(reply.high_watermark, i64::try_from(base).unwrap());
        }
        let gets = if how == Write::Here { 0 } else { 3 };
        assert_eq!(world.gets(), gets, "one get per cold block, none when warm");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tail_reader_of_what_this_process_wrote_costs_no_request() {
    let mut world = World::new().await;
    let mut next = 0;

    for _ in 0..50 {
        world
            .write(Write::Here, &[(at(0), offset(next), plain(3, 5000))])
            .await;
        let reply = world.fetch_one(0, next).await;
        assert_eq!(offsets_of(&reply.records).len(), 3);
        next += 3;
    }

    assert_eq!(world.gets(), 0);
    assert_eq!(world.index.lock().lookups, 0, "the push told everything");
}

#[tokio::test(start_paused = true)]
async fn bodies_are_shared_with_the_cache_not_copied() {
    let mut world = World::new().await;
    let built = world
        .write(Write::Here, &[(at(0), offset(0), plain(100, 5000))])
        .await;

    let reply = world.fetch_one(0, 0).await;

    let object = built.object.as_ptr_range();
    assert!(
        reply
            .records
            .iter()
            .all(|slice| object.contains(&slice.as_ptr()))
    );
}

#[tokio::test(start_paused = true)]
async fn one_get_per_cold_block_however_many_readers() {
    let mut world = World::new().await;
    let placed: Vec<_> = (0..30)
        .map(|n| (at(0), offset(n), plain(1, 100_000)))
        .collect();
    world.write(Write::Elsewhere, &placed).await;

    let readers = (0..40).map(|reader| world.fetch_one(0, reader % 30));
    let replies = join_all(readers).await;

    assert!(replies.iter().all(|reply| !reply.records.is_empty()));
    assert_eq!(world.gets(), 3, "three blocks of 1 MiB hold the segment");
}

/// Readers whose answers together are far larger than all memory of the cache do not wait for each
/// other: without a grant each would hold some blocks, and all would wait for `memory_wait`.
#[tokio::test(start_paused = true)]
async fn many_who_catch_up_at_once_share_the_memory_that_there_is() {
    let cache_config = CacheConfig::within(32 * 1024 * 1024);
    let config = FetchConfig {
        cold_read_bytes: u32::try_from(cache_config.held_bytes / 2).unwrap(),
        ..FetchConfig::default()
    };
    let mut world = World::with(config, cache_config).await;
    let (large, small) = (10, 65);
    for n in 0..large + small {
        let bytes = if n < large { 300_000 } else { 10 };
        let placed: Vec<_> = (0..8)
            .map(|partition| (at(partition), offset(3 * n), plain(3, bytes)))
            .collect();
        world.write(Write::Elsewhere, &placed).await;
    }
    let begun = world.env.clock.now();

    let reader = async |partition| {
        let mut next = 0;
        while next < 3 * large {
            let mut asked = request(&[(partition, next)]);
            asked.max_bytes = 16 * 1024 * 1024;
            asked.topics[0].partitions[0].partition_max_bytes = 16 * 1024 * 1024;
            let reply = only(&world.ask(12, asked).await);
            assert_eq!(reply.error, KafkaError::None);
            let last = *offsets_of(&reply.records).last().unwrap();
            next = u64::try_from(last).unwrap() + 1;
        }
    };
    join_all((0..8).map(reader)).await;

    let took = world.env.clock.now().since(begun);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// The fan-out workload of the benchmark: each of many connections reads one partition, of which
/// every segment has a small piece. What the index tells of a piece is far less than the block
/// that it lies in, so that grants promise too little, and what was in the cache when it was
/// planned is pushed out while it is held. Held and waited for, that stood still for good.
#[tokio::test(start_paused = true)]
async fn readers_of_small_pieces_of_many_segments_never_wait_with_blocks_in_hand() {
    let cache_config = CacheConfig::within(32 * 1024 * 1024);
    let config = FetchConfig {
        cold_read_bytes: u32::try_from(cache_config.held_bytes / 2).unwrap(),
        ..FetchConfig::default()
    };
    let mut world = World::with(config, cache_config).await;
    let (partitions, segments) = (8, 90);
    for n in 0..segments {
        let placed: Vec<_> = (0..partitions)
            .map(|partition| (at(partition), offset(n), plain(1, 110_000)))
            .collect();
        world.write(Write::Elsewhere, &placed).await;
    }
    let begun = world.env.clock.now();

    let reader = async |number: u32| {
        let partition = number % 2;
        let mut next = u64::from(number);
        while next < segments {
            let mut asked = request(&[(partition, next)]);
            asked.max_bytes = 16 * 1024 * 1024;
            asked.topics[0].partitions[0].partition_max_bytes = 1024 * 1024;
            let reply = only(&world.ask(12, asked).await);
            assert_eq!(reply.error, KafkaError::None);
            let last = *offsets_of(&reply.records).last().unwrap();
            next = u64::try_from(last).unwrap() + 1;
            // The client takes the reply in its time.
            world.env.clock.sleep(Duration::from_millis(1)).await;
        }
    };
    join_all((0..80).map(reader)).await;

    let took = world.env.clock.now().since(begun);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn neighbours_in_one_object_are_read_as_one() {
    let mut world = World::new().await;
    let placed: Vec<_> = (0..8)
        .map(|n| (at(n), offset(0), plain(2, 20_000)))
        .collect();
    world.write(Write::Elsewhere, &placed).await;
    let all: Vec<_> = (0..8).map(|partition| (partition, 0)).collect();

    let reply = world.ask(12, request(&all)).await;

    let partitions = &reply.topics[0].partitions;
    assert!(
        partitions
            .iter()
            .all(|found| offsets_of(&found.records) == [0, 1])
    );
    let stats = world.cache.stats();
    assert_eq!(world.gets(), 1);
    assert_eq!(
        (stats.block_hits, stats.joins),
        (0, 0),
        "one read of the cache"
    );
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_stepped_over_never_answered_with_nothing() {
    let mut world = World::new().await;
    world
        .write(Write::Here, &[(at(0), offset(0), plain(3, 10))])
        .await;
    world
        .write(Write::Here, &[(at(0), offset(10), plain(3, 10))])
        .await;

    for from in 3..=10 {
        let reply = world.fetch_one(0, from).await;
        assert_eq!(offsets_of(&reply.records), [10, 11, 12], "from {from}");
    }
    let both = world.fetch_one(0, 2).await;

    assert_eq!(offsets_of(&both.records), [0, 1, 2, 10, 11, 12]);
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_is_returned_whole_whatever_the_limits() {
    let mut world = World::new().await;
    let large = plain(10, 300_000);
    for how in [Write::Here, Write::Elsewhere] {
        let base = if how == Write::Here { 0 } else { 20 };
        let placed = [
            (at(0), offset(base), large.clone()),
            (at(0), offset(base + 10), large.clone()),
        ];
        world.write(how, &placed).await;
    }

    for from in [0, 5, 10, 25, 30] {
        let mut small = request(&[(0, from)]).with_max_bytes(1);
        small.topics[0].partitions[0].partition_max_bytes = 1;
        let reply = only(&world.ask(12, small).await);

        let first = i64::try_from(from / 10 * 10).unwrap();
        let offsets = offsets_of(&reply.records);
        assert_eq!(
            offsets,
            (first..first + 10).collect::<Vec<_>>(),
            "from {from}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn limits_hold_at_the_byte_and_batches_stay_whole() {
    let mut world = World::new().await;
    let one = plain(1, 1000);
    let placed: Vec<_> = (0..10).map(|n| (at(0), offset(n), one.clone())).collect();
    world.write(Write::Here, &placed).await;
    let batches = |bytes: usize| i32::try_from(one.len() * 3 + bytes - 100).unwrap();

    for (bytes, wanted) in [(100, 3), (99, 2), (101, 3)] {
        let mut partition_limit = request(&[(0, 0)]);
        partition_limit.topics[0].partitions[0].partition_max_bytes = batches(bytes);
        let by_partition = only(&world.ask(12, partition_limit).await);
        let whole_limit = request(&[(0, 0)]).with_max_bytes(batches(bytes));
        let by_response = only(&world.ask(12, whole_limit).await);

        assert_eq!(batches_of(&by_partition.records).len(), wanted, "{bytes}");
        assert_eq!(batches_of(&by_response.records).len(), wanted, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_partition_starves_although_the_client_never_changes_its_order() {
    let mut world = World::new().await;
    let mut next = [0_u64; 4];
    for n in 0..20 {
        let placed: Vec<_> = (0..4).map(|p| (at(p), offset(n), plain(1, 1000))).collect();
        world.write(Write::Here, &placed).await;
    }

    let mut served = [0; 4];
    for _ in 0..40 {
        let wanted: Vec<_> = (0..4)
            .map(|p: u32| (p, next[usize::try_from(p).unwrap()]))
            .collect();
        let reply = world.ask(12, request(&wanted).with_max_bytes(1500)).await;
        for (place, partition) in reply.topics[0].partitions.iter().enumerate() {
            let got = u64::try_from(batches_of(&partition.records).len()).unwrap();
            served[place] += got;
            next[place] += got;
        }
    }

    assert_eq!(served, [10, 10, 10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_response_holds_no_more_than_its_cap_whatever_is_asked_for() {
    let config = FetchConfig {
        response_bytes_max: 50_000,
        ..FetchConfig::default()
    };
    let mut world = World::with(config, cache_config()).await;
    let placed: Vec<_> = (0..20)
        .map(|n| (at(0), offset(n), plain(1, 10_000)))
        .collect();
    world.write(Write::Here, &placed).await;

    let reply = only(
        &world
            .ask(12, request(&[(0, 0)]).with_max_bytes(i32::MAX))
            .await,
    );

    assert_eq!(batches_of(&reply.records).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn no_setting_raises_the_cap_of_a_response() {
    let config = FetchConfig {
        response_bytes_max: u32::MAX,
        ..FetchConfig::default()
    };
    let roomy = CacheConfig {
        cached_bytes: 128 * 1024 * 1024,
        ..cache_config()
    };
    let mut world = World::with(config, roomy).await;
    let large = plain(7, 1_000_000);
    for n in 0..8 {
        world
            .write(Write::Here, &[(at(0), offset(7 * n), large.clone())])
            .await;
    }

    let asked = request(&[(0, 0)]).with_max_bytes(i32::MAX);
    let reply = only(&world.ask(12, asked).await);

    let bytes = u32::try_from(reply.records.concat().len()).unwrap();
    assert!(
        bytes <= RESPONSE_BYTES_MAX && bytes + 7_100_000 > RESPONSE_BYTES_MAX,
        "{bytes}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_on_the_push_and_not_before_min_bytes() {
    let mut world = World::new().await;
    let one = plain(1, 1000);
    let min_bytes = i32::try_from(one.len() * 3).unwrap();
    let poll = request(&[(0, 0), (1, 0)])
        .with_max_wait_ms(60_000)
        .with_min_bytes(min_bytes);
    let start = world.env.clock.now();
    let mut waiting = world.fetch.fetch(world.context(12), poll);
    assert!(futures::poll!(&mut waiting).is_pending());

    for n in 0..2 {
        world
            .write(Write::Elsewhere, &[(at(0), offset(n), one.clone())])
            .await;
        assert!(futures::poll!(&mut waiting).is_pending(), "{n} is too few");
    }
    world
        .write(Write::Elsewhere, &[(at(1), offset(0), one.clone())])
        .await;
    let esker_kafka::Reply::Fetch(reply) = waiting.await else {
        panic!("a fetch is answered with a fetch reply");
    };

    let counts: Vec<_> = reply.topics[0]
        .partitions
        .iter()
        .map(|partition| batches_of(&partition.records).len())
        .collect();
    assert_eq!(counts, [2, 1]);
    assert_eq!(
        world.env.clock.now(),
        start,
        "no time passed: it did not poll"
    );
    let stats = world.fetch.stats();
    assert_eq!((stats.waits, stats.wakes), (3, 3));
    assert_eq!(stats.watches, 0, "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn min_bytes_count_what_is_returned_not_what_lies_in_front_of_the_offset() {
    let mut world = World::new().await;
    let placed: Vec<_> = (0..10)
        .map(|n| (at(0), offset(n), plain(1, 1000)))
        .collect();
    world.write(Write::Here, &placed).await;
    let poll = request(&[(0, 9)])
        .with_max_wait_ms(5000)
        .with_min_bytes(5000);
    let start = world.env.clock.now();

    let reply = only(&world.ask(12, poll).await);

    assert_eq!(offsets_of(&reply.records), [9]);
    let waited = world.env.clock.now().since(start);
    assert_eq!(
        waited,
        Duration::from_secs(5),
        "one batch is below min_bytes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_at_max_wait_with_what_there_is() {
    let world = World::new().await;
    let start = world.env.clock.now();

    let reply = only(
        &world
            .ask(12, request(&[(0, 0)]).with_max_wait_ms(700))
            .await,
    );

    assert_eq!(reply.error, KafkaError::None);
    assert!(reply.records.is_empty());
    assert_eq!(
        world.env.clock.now().since(start),
        Duration::from_millis(700)
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_bounded_whatever_is_asked_for() {
    let world = World::new().await;
    let start = world.env.clock.now();

    let poll = request(&[(0, 0)]).with_max_wait_ms(i32::MAX);
    let _ = world.ask(12, poll).await;

    let waited = world.env.clock.now().since(start);
    assert_eq!(waited, esker_fetch::limits::WAIT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_all_waits_at_once() {
    let world = World::new().await;
    let poll = request(&[(0, 0)]).with_max_wait_ms(60_000);
    let mut waiting = world.fetch.fetch(world.context(12), poll);
    assert!(futures::poll!(&mut waiting).is_pending());
    let start = world.env.clock.now();

    world.stop.request();
    let _ = waiting.await;

    assert_eq!(world.env.clock.now(), start);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_however_many_slow_readers_hold_replies() {
    let small = CacheConfig {
        cached_bytes: 4 * 1024 * 1024,
        held_bytes: 20 * 1024 * 1024,
        hot_load_bytes: 2 * 1024 * 1024,
        cold_load_bytes: 2 * 1024 * 1024,
        ask_bytes: 0,
        memory_wait: Duration::from_millis(100),
    };
    let mut world = World::with(FetchConfig::default(), small).await;
    for n in 0..60 {
        world
            .write(Write::Elsewhere, &[(at(0), offset(n), plain(1, 1_000_000))])
            .await;
    }

    let mut held = Vec::new();
    let mut refused = 0;
    for n in 0..60 {
        let mut one = request(&[(0, n)]);
        one.topics[0].partitions[0].partition_max_bytes = 1;
        let reply = only(&world.ask(12, one).await);
        match reply.error {
            KafkaError::None => held.push(reply),
            error => {
                assert_eq!(error, KafkaError::KafkaStorageError);
                refused += 1;
            }
        }
        let stats = world.cache.stats();
        assert!(stats.memory_bytes <= stats.memory_bytes_max);
    }
    assert!(refused > 0 && held.len() >= 20, "{refused} refused");

    held.clear();
    assert_eq!(world.fetch_one(0, 59).await.error, KafkaError::None);
    let stats = world.cache.stats();
    assert_eq!(stats.memory_bytes, stats.cached_bytes, "all came back");
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_are_read_again_and_never_served() {
    let mut world = World::new().await;
    world
        .write(Write::Elsewhere, &[(at(0), offset(0), plain(5, 1000))])
        .await;
    world
        .bucket
        .add(FaultRule::new(Fault::Flip).on(Operation::Get).times(1));

    let reply = world.fetch_one(0, 0).await;

    assert_eq!(
        world.bucket.struck(),
        1,
        "the first byte of the object only"
    );
    assert_eq!(offsets_of(&reply.records), [0, 1, 2, 3, 4]);

    let mut damaged = world
        .write(Write::Unheard, &[(at(1), offset(0), plain(5, 1000))])
        .await;
    let mut object = damaged.object.to_vec();
    object[300] ^= 1;
    damaged.object = object.into();
    world
        .cache
        .insert(damaged.footer.segment, damaged.object.clone());

    let reply = world.fetch_one(1, 0).await;

    assert_eq!(reply.error, KafkaError::None);
    assert_eq!(offsets_of(&reply.records), [0, 1, 2, 3, 4]);
    let stats = world.fetch.stats();
    assert_eq!((stats.read_again, stats.given_up), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_fails_its_partition_alone_and_is_never_skipped() {
    let mut world = World::new().await;
    let gone = world
        .write(Write::Elsewhere, &[(at(0), offset(0), plain(5, 1000))])
        .await;
    world
        .write(Write::Elsewhere, &[(at(0), offset(5), plain(5, 1000))])
        .await;
    world
        .write(Write::Here, &[(at(1), offset(0), plain(5, 1000))])
        .await;
    let place = format!("{:016}", gone.footer.segment.index.get());
    let missing = FaultRule::new(Fault::Missing).key_containing(&place);
    world.bucket.add(missing);

    let reply = world
        .ask(12, request(&[(0, 0), (1, 0)]).with_max_wait_ms(60_000))
        .await;

    let [failed, fine] = &reply.topics[0].partitions[..] else {
        panic!("every partition is answered");
    };
    assert_eq!(failed.error, KafkaError::KafkaStorageError);
    assert!(failed.records.is_empty());
    assert_eq!(offsets_of(&fine.records), [0, 1, 2, 3, 4]);
    let stats = world.fetch.stats();
    assert_eq!((stats.located_again, stats.given_up), (1, 1));

    world.bucket.heal();
    let reply = world.fetch_one(0, 0).await;
    assert_eq!(
        offsets_of(&reply.records).len(),
        10,
        "nothing was forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_a_retriable_error() {
    let mut world = World::new().await;
    world
        .write(Write::Elsewhere, &[(at(0), offset(0), plain(5, 1000))])
        .await;
    world
        .bucket
        .add(FaultRule::new(Fault::Refuse(StoreErrorKind::Exhausted)));

    let reply = world.fetch_one(0, 0).await;

    assert_eq!(reply.error, KafkaError::KafkaStorageError);
    assert_eq!(world.fetch.stats().given_up, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_fetch_leaves_its_loads_to_the_others() {
    let mut world = World::new().await;
    world
        .write(Write::Elsewhere, &[(at(0), offset(0), plain(5, 1000))])
        .await;
    let gate = Gate::new();
    world
        .bucket
        .add(FaultRule::new(Fault::GateBefore(gate.clone())));
    let mut first = world.fetch.fetch(world.context(12), request(&[(0, 0)]));
    let mut second = world.fetch.fetch(world.context(12), request(&[(0, 2)]));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());

    drop(first);
    gate.open();
    let _ = second.await;

    assert_eq!(world.gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn http_reads_get_one_slice_per_batch_and_stop_at_their_limits() {
    let mut world = World::new().await;
    let placed: Vec<_> = (0..20)
        .map(|n| (at(0), offset(n * 5), plain(5, 30_000)))
        .collect();
    world.write(Write::Elsewhere, &placed).await;
    let read = |from, bytes_max, records_max| ReadRequest {
        topic_partition: at(0),
        offset: offset(from),
        bytes_max,
        records_max,
        wait: Duration::ZERO,
    };

    let all = world.fetch.read(read(3, 10_000_000, None)).await.unwrap();
    let some = world
        .fetch
        .read(read(3, 10_000_000, Some(8)))
        .await
        .unwrap();
    let one = world.fetch.read(read(3, 1, None)).await.unwrap();
    let none = world.fetch.read(read(100, 1, None)).await.unwrap();

    assert_eq!(all.batches.len(), 20);
    let count = |batch| records_of(std::slice::from_ref(batch)).len();
    assert!(all.batches.iter().all(|batch| count(batch) == 5));
    assert_eq!(all.next_offset, offset(100));
    assert_eq!(
        some.batches.len(),
        3,
        "two of the first, then five, then one more"
    );
    assert_eq!(some.next_offset, offset(15));
    assert_eq!((one.batches.len(), one.next_offset), (1, offset(5)));
    assert_eq!((none.batches.len(), none.next_offset), (0, offset(100)));
    assert_eq!(none.high_watermark, offset(100));
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_that_catches_up_will_ask_for_is_loaded_meanwhile_and_once() {
    let mut world = World::new().await;
    let segments = 200;
    for number in 0..segments {
        let batch = (at(0), offset(number * 3), plain(3, 50_000));
        world.write(Write::Elsewhere, &[batch]).await;
    }

    // Jumps: nobody knows where they go on.
    for from in [300, 30, 200] {
        world
            .ask(12, request(&[(0, from)]).with_max_bytes(400_000))
            .await;
        world.settle().await;
    }
    assert_eq!(world.fetch.stats().reads_ahead, 0);

    let mut next = 0;
    while next < segments * 3 {
        let wanted = request(&[(0, next)]).with_max_bytes(400_000);
        let reply = only(&world.ask(12, wanted).await);
        let read = u64::try_from(offsets_of(&reply.records).len()).unwrap();
        assert!(read > 0, "nothing from {next}");
        next += read;
        world.settle().await;
    }

    let stats = world.fetch.stats();
    assert!(stats.reads_ahead > 20, "{stats:?}");
    let gets = u64::try_from(world.gets()).unwrap();
    assert_eq!(gets, segments, "each object is still read once");
}
