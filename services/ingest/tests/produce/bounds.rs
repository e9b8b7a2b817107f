//! Limits, one past each, and the way out: everything admitted is answered.

use esker_ingest::limits::{BATCH_OVERHEAD_BYTES, REQUESTS_QUEUED_MAX};
use esker_ingest::{FlushReason, IngestConfig};
use esker_kafka::KafkaError;
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_object::{Fault, FaultRule, Gate};
use esker_types::ChainIndex;
use futures::FutureExt as _;
use tokio::task::unconstrained;

use crate::world::{
    TestBatch, on_place, on_puts, peek, request, rows, unstarted, world, world_with,
};

fn error(row: &PartitionProduceResponse) -> KafkaError {
    KafkaError::from_code(row.error_code).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_batch_past_the_pool_waits_in_admission_until_one_is_answered() {
    let bytes = TestBatch::plain(0).bytes().len() + BATCH_OVERHEAD_BYTES;
    let world = world_with(IngestConfig {
        produce_bytes_max: 2 * bytes,
        ..IngestConfig::default()
    });
    let gate = Gate::new();
    world
        .faulty
        .add(on_place(FaultRule::new(Fault::GateBefore(gate.clone())), 0).times(1));
    let first = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    let second = world.send(TestBatch::plain(1)).await;

    let full = world.metrics.buffer_bytes();
    let mut past = Box::pin(world.send(TestBatch::plain(2)));
    let waits = past.as_mut().now_or_never().is_none();
    world.sleep(1000).await;
    let still_waits = past.as_mut().now_or_never().is_none();
    gate.open();
    let rows = [first.await, second.await, past.await.await];

    assert_eq!(usize::try_from(full), Ok(2 * bytes));
    assert!(waits && still_waits, "the connection is not read meanwhile");
    assert!(rows.iter().all(|row| row.error_code == 0));
    world.sleep(1).await;
    assert_eq!(world.metrics.buffer_bytes(), 0, "I23");
}

#[tokio::test(start_paused = true)]
async fn one_request_past_the_writers_queue_waits_in_admission() {
    let (world, _task) = unstarted(IngestConfig::default(), 1);
    let mut answers = Vec::new();
    for number in 0..REQUESTS_QUEUED_MAX {
        let batch = TestBatch::plain(i32::try_from(number).unwrap());
        let sent = unconstrained(world.send(batch)).now_or_never();
        answers.push(sent.unwrap());
    }

    let past = unconstrained(world.send(TestBatch::plain(-1))).now_or_never();

    assert_eq!(answers.len(), REQUESTS_QUEUED_MAX);
    assert!(past.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_path_whose_task_is_gone_answers_that_it_stops() {
    let (world, task) = unstarted(IngestConfig::default(), 1);
    let queued = world.send(TestBatch::plain(0)).await;

    drop(task);
    let late = world.send(TestBatch::plain(1)).await.await;

    assert_eq!(
        error(&queued.await),
        KafkaError::RequestTimedOut,
        "never -1, never offset 0"
    );
    assert_eq!(error(&late), KafkaError::NotLeaderOrFollower);
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_what_is_admitted_and_ends_the_session() {
    let mut world = world();
    world.slow_puts(200);
    let first = world.send(TestBatch::plain(0)).await;
    world.sleep(1).await;
    let second = world.send(TestBatch::plain(1)).await;
    world.sleep(1).await;

    let ended = world.stop().await;
    let late = rows(
        world
            .send_request(request(&[TestBatch::plain(2)]))
            .await
            .await,
    )
    .remove(0);

    assert!(ended.is_ok());
    let rows = [first, second].map(|row| row.now_or_never().unwrap());
    assert!(
        rows.iter()
            .map(|row| (row.error_code, row.base_offset))
            .eq([(0, 0), (0, 1)])
    );
    assert_eq!(error(&late), KafkaError::NotLeaderOrFollower);
    assert_eq!(
        world.metrics.flushes(FlushReason::Drain),
        1,
        "without waiting for the linger"
    );
    let session = world.sequencer.sessions()[0];
    assert_eq!(
        world.sequencer.ended(session),
        Some(ChainIndex::new(2)),
        "Q3"
    );
    assert_eq!(world.numbers().await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_a_store_answers_everything_within_its_bounds() {
    let config = IngestConfig {
        uploads_max: 1,
        ..IngestConfig::default()
    };
    let mut world = world_with(config);
    world.faulty.add(on_puts(FaultRule::new(Fault::HangBefore)));
    let mut doubtful = world.send(TestBatch::plain(0)).await;
    world.sleep(1).await;
    let mut unsent = world.send(TestBatch::plain(1)).await;

    let begin = world.millis();
    let ended = world.stop().await;

    assert!(ended.is_ok());
    let bound = (config.drain_timeout + config.end_timeout).as_millis();
    assert!(
        world.millis() - begin <= bound,
        "{} ms",
        world.millis() - begin
    );
    assert_eq!(
        error(&peek(&mut doubtful).unwrap()),
        KafkaError::RequestTimedOut
    );
    let unsent = peek(&mut unsent).unwrap();
    assert!(matches!(
        error(&unsent),
        KafkaError::NotLeaderOrFollower | KafkaError::RequestTimedOut
    ));
    assert_eq!(world.metrics.buffer_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_that_race_with_the_stop_are_all_answered() {
    let mut world = world();
    let world_ref = &world;
    let sends = (0..50).map(|number| async move {
        world_ref.sleep(u64::try_from(number).unwrap()).await;
        if number == 25 {
            world_ref.trigger.request();
        }
        world_ref.send(TestBatch::plain(number)).await.await
    });

    let rows = futures::future::join_all(sends).await;
    let ended = world.join().await;

    assert!(ended.is_ok());
    let acknowledged = rows.iter().filter(|row| row.error_code == 0).count();
    let told_to_go = rows
        .iter()
        .filter(|row| error(row) == KafkaError::NotLeaderOrFollower)
        .count();
    assert_eq!(acknowledged + told_to_go, 50);
    assert!(acknowledged >= 25);
    assert_eq!(
        world.numbers().await.len(),
        acknowledged,
        "told as not written: not written"
    );
}
