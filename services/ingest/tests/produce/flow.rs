//! The path when all goes well: order, overlap, batching, who waits for whom.

use esker_cache::{Heat, SegmentCache as _};
use esker_ingest::{FlushReason, IngestConfig};
use esker_kafka::KafkaError;
use esker_object::{Fault, FaultRule, Gate, KeyClass, Operation, StoreErrorKind};
use esker_types::{ByteRange, ChainIndex, SegmentId};
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::world::{TestBatch, on_place, peek, request, rows, world, world_with};

#[tokio::test(start_paused = true)]
async fn an_acknowledged_batch_is_in_the_log_at_its_offset() {
    let world = world();

    let first = world.send(TestBatch::plain(1)).await.await;
    let second = world.send(TestBatch::plain(2)).await.await;

    assert_eq!((first.error_code, first.base_offset), (0, 0));
    assert_eq!((second.error_code, second.base_offset), (0, 1));
    assert_eq!(first.log_append_time_ms, -1);
    assert_eq!(first.log_start_offset, 0);
    assert_eq!(world.numbers().await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_path_writes_nothing_and_registers_nothing() {
    let mut world = world();

    world.sleep(3_600_000).await;
    let ended = world.stop().await;

    assert!(ended.is_ok());
    assert!(world.faulty.requests().is_empty());
    assert!(world.sequencer.sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_batch_is_acknowledged_before_its_predecessors_are_there() {
    let world = world();
    let gate = Gate::new();
    world
        .faulty
        .add(on_place(FaultRule::new(Fault::GateBefore(gate.clone())), 0).times(1));

    let mut first = world.send(TestBatch::plain(1)).await;
    gate.arrived(1).await;
    let mut second = world.send(TestBatch::plain(2)).await;
    world.sleep(1000).await;
    let puts = world.puts();
    let early = (peek(&mut first).is_some(), peek(&mut second).is_some());
    gate.open();

    assert_eq!(puts, 2, "uploads overlap: the second is there already");
    assert_eq!(early, (false, false), "CP1");
    assert_eq!(first.await.base_offset, 0);
    assert_eq!(second.await.base_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_partitions_cost_one_put_and_one_question() {
    let world = world();
    let batches: Vec<_> = (0..1000)
        .map(|partition| TestBatch {
            partition: u32::try_from(partition).unwrap(),
            ..TestBatch::plain(partition)
        })
        .collect();

    let reply = world.send_request(request(&batches)).await.await;

    let rows = rows(reply);
    assert_eq!(rows.len(), 1000);
    assert!(
        rows.iter()
            .all(|row| row.error_code == 0 && row.base_offset == 0)
    );
    assert!(
        rows.iter().map(|row| row.index).eq(0..1000),
        "in the request's order"
    );
    assert_eq!((world.puts(), world.sequencer.requests().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn batches_that_come_while_a_put_is_under_way_share_the_next_ones() {
    let world = world();
    world.slow_puts(200);
    let mut answers = FuturesUnordered::new();

    answers.push(world.send(TestBatch::plain(0)).await);
    world.sleep(1).await;
    for number in 1..20 {
        answers.push(world.send(TestBatch::plain(number)).await);
        world.sleep(1).await;
    }
    while answers.next().await.is_some() {}

    // At once, a moment later, and one linger after the first.
    assert_eq!(world.puts(), 3);
    assert_eq!(world.metrics.flushes(FlushReason::Idle), 1);
    assert_eq!(world.metrics.flushes(FlushReason::Linger), 2);
    assert_eq!(world.numbers().await, (0..20).collect::<Vec<_>>());
}

/// Puts of 8 ms for 300 requests of an open loop, 3 ms apart.
async fn puts_of_an_open_loop(config: IngestConfig) -> usize {
    let world = world_with(config);
    world.slow_puts(8);
    let mut answers = FuturesUnordered::new();
    for number in 0..300 {
        answers.push(world.send(TestBatch::plain(number)).await);
        world.sleep(3).await;
    }
    while let Some(row) = answers.next().await {
        assert_eq!(row.error_code, 0);
    }
    world.puts()
}

#[tokio::test(start_paused = true)]
async fn a_quick_store_rests_about_as_long_as_its_puts_take() {
    let resting = puts_of_an_open_loop(IngestConfig::default()).await;
    let never = IngestConfig {
        linger: std::time::Duration::ZERO,
        ..IngestConfig::default()
    };
    let busy = puts_of_an_open_loop(never).await;

    // 900 ms in puts of 8 ms with as long a rest; without a linger nothing waits at all.
    assert!((48..=62).contains(&resting), "{resting} puts");
    assert_eq!(busy, 300);
}

/// Batches a second of a client that keeps `in_flight` requests under way, with 200 ms puts.
async fn rate(in_flight: usize) -> u32 {
    let world = world();
    world.slow_puts(200);
    let mut answers = std::collections::VecDeque::new();
    let mut acknowledged = 0;
    for number in 0.. {
        if answers.len() == in_flight {
            // A connection answers in the order of its requests.
            let row: esker_kafka::messages::produce_response::PartitionProduceResponse = answers
                .pop_front()
                .map(|answer: futures::future::BoxFuture<'static, _>| answer)
                .unwrap()
                .await;
            assert_eq!(row.error_code, 0);
            acknowledged += 1;
        }
        if world.millis() >= 20_000 {
            break;
        }
        answers.push_back(world.send(TestBatch::sequenced(number)).await);
    }
    acknowledged / 20
}

#[tokio::test(start_paused = true)]
async fn five_requests_in_flight_are_four_times_as_fast_as_one() {
    let one = rate(1).await;
    let five = rate(5).await;

    assert_eq!(one, 5, "one put after the other");
    assert!(five >= 4 * one, "{five} against {one} a second");
}

#[tokio::test(start_paused = true)]
async fn requests_a_millisecond_apart_still_overlap_four_times() {
    let world = world();
    world.slow_puts(200);
    let mut answers = std::collections::VecDeque::new();
    for number in 0..100 {
        if answers.len() == 5 {
            let answer: futures::future::BoxFuture<'static, _> = answers.pop_front().unwrap();
            answer.await;
        }
        answers.push_back(world.send(TestBatch::sequenced(number)).await);
        world.sleep(1).await;
    }
    for answer in answers {
        answer.await;
    }

    let millis = world.millis();
    assert!(millis <= 100 * 200 / 4, "{millis} ms for 100 requests");
    assert_eq!(world.numbers().await, (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_more_segments_than_allowed_are_in_flight() {
    let world = world_with(IngestConfig {
        uploads_max: 2,
        segment_batches_max: 1,
        ..IngestConfig::default()
    });
    let gate = Gate::new();
    let held = FaultRule::new(Fault::GateBefore(gate.clone()));
    world.faulty.add(crate::world::on_puts(held));
    let mut answers = FuturesUnordered::new();

    for number in 0..3 {
        answers.push(world.send(TestBatch::plain(number)).await);
    }
    gate.arrived(2).await;
    world.sleep(1000).await;
    let at_limit = world.puts();
    gate.open();
    while answers.next().await.is_some() {}

    assert_eq!(at_limit, 2);
    assert_eq!(world.puts(), 3);
    assert_eq!(world.numbers().await, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_full_segment_does_not_wait_for_the_linger() {
    let world = world_with(IngestConfig {
        segment_batches_max: 2,
        ..IngestConfig::default()
    });
    let gate = Gate::new();
    world
        .faulty
        .add(on_place(FaultRule::new(Fault::GateBefore(gate.clone())), 0));

    let _first = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    let begin = world.millis();
    let _second = world.send(TestBatch::plain(1)).await;
    let _third = world.send(TestBatch::plain(2)).await;
    while world.puts() < 2 {
        world.sleep(1).await;
    }

    assert!(world.millis() - begin <= 2);
    assert_eq!(world.metrics.flushes(FlushReason::Full), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_of_a_put_is_found_out_and_acknowledged_once() {
    let world = world();
    let lost = FaultRule::new(Fault::FailAfter(StoreErrorKind::Retry));
    world.faulty.add(on_place(lost, 0).times(1));

    let row = world.send(TestBatch::plain(1)).await.await;

    assert_eq!((row.error_code, row.base_offset), (0, 0));
    assert_eq!(world.faulty.struck(), 1);
    assert_eq!(world.numbers().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_told_until_it_is_heard_and_no_answer_waits_for_it() {
    let world = world();
    world.sequencer.deaf(true);

    let first = world.send(TestBatch::plain(1)).await.await;
    let unheard = world.sequencer.reports().len();
    world.sequencer.deaf(false);
    world.sleep(2000).await;

    assert_eq!(first.error_code, KafkaError::None.code());
    assert_eq!(unheard, 0);
    let reports = world.sequencer.reports();
    assert_eq!(reports.last().unwrap().written.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_reservation_repeats_what_is_written() {
    let world = world();
    world.sequencer.deaf(true);

    world.send(TestBatch::plain(1)).await.await;
    world.send(TestBatch::plain(2)).await.await;

    let written: Vec<_> = world
        .sequencer
        .requests()
        .iter()
        .map(|asked| asked.written.get())
        .collect();
    assert_eq!(written, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn written_bytes_are_in_the_cache_before_the_answer() {
    let world = world();

    world.send(TestBatch::plain(1)).await.await;

    let segment = SegmentId {
        session: world.sequencer.sessions()[0],
        index: ChainIndex::ZERO,
    };
    let batch = TestBatch::plain(1).bytes();
    let range = ByteRange::at(64, u32::try_from(batch.len()).unwrap()).unwrap();
    let read = world.cache.read(segment, range, Heat::Hot).await.unwrap();
    assert_eq!(read.concat()[12..], batch[12..], "all but the base offset");
    assert_eq!(world.faulty.count(Operation::Get, KeyClass::Session), 0);
}
