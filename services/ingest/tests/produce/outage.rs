//! The store or the sequencer away for a while: true answers meanwhile, and everything well after.

use esker_ingest::limits::{CALL_RETRY, PATIENCE_LOOK, PRODUCE_TIMEOUT_MAX, PRODUCE_TIMEOUT_MIN};
use esker_ingest::{AppendErrorKind, IngestConfig};
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_kafka::{KafkaError, Reply};
use esker_metadata_api::{MetadataError, ReserveError};
use esker_object::{Fault, FaultRule, StoreErrorKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::sequencer::Scripted;
use crate::world::{TestBatch, World, on_puts, peek, request, rows, world, world_with};

fn error(row: &PartitionProduceResponse) -> KafkaError {
    KafkaError::from_code(row.error_code).unwrap()
}

async fn send_for(
    world: &World,
    batch: TestBatch,
    timeout_ms: i32,
) -> BoxFuture<'static, PartitionProduceResponse> {
    let request = request(&[batch]).with_timeout_ms(timeout_ms);
    let reply = world.send_request(request).await;
    reply.map(|reply| rows(reply).remove(0)).boxed()
}

#[tokio::test(start_paused = true)]
async fn a_store_outage_is_told_truly_and_what_was_sent_is_written_when_it_heals() {
    let world = world_with(IngestConfig {
        uploads_max: 1,
        ..IngestConfig::default()
    });
    let away = FaultRule::new(Fault::FailBefore(StoreErrorKind::Retry));
    world.faulty.add(on_puts(away));
    let sent = send_for(&world, TestBatch::plain(0), 5000).await;
    world.sleep(1).await;
    let unsent = send_for(&world, TestBatch::plain(1), 5000).await;

    let (sent, unsent) = (sent.await, unsent.await);
    let told_at = world.millis();
    world.faulty.heal();
    let next = world.send(TestBatch::plain(2)).await.await;

    assert_eq!(error(&sent), KafkaError::RequestTimedOut, "it may be there");
    assert_eq!(
        error(&unsent),
        KafkaError::KafkaStorageError,
        "it surely is not"
    );
    assert_eq!(told_at, 5001);
    assert_eq!((next.error_code, next.base_offset), (0, 1));
    assert_eq!(world.numbers().await, [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_long_store_outage_ends_in_a_working_path_that_lost_nothing_acknowledged() {
    let world = world();
    world.send(TestBatch::plain(0)).await.await;
    let away = FaultRule::new(Fault::FailBefore(StoreErrorKind::Retry));
    world.faulty.add(away);
    let during = world.send(TestBatch::plain(1)).await.await;

    world.sleep(300_000).await;
    world.faulty.heal();
    let after = world.send(TestBatch::plain(2)).await.await;

    assert_eq!(error(&during), KafkaError::RequestTimedOut);
    assert_eq!(after.error_code, 0);
    let log = world.log().await;
    assert_eq!(log.get(&(0, 0)), Some(&0));
    assert_eq!(log.get(&(0, after.base_offset)), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn without_a_sequencer_nothing_is_reserved_and_that_is_told() {
    let world = world();
    world.sequencer.away(true);

    let row = send_for(&world, TestBatch::plain(0), 5000).await.await;
    let told_at = world.millis();
    world.sequencer.away(false);
    world.sleep(60_000).await;

    assert_eq!(error(&row), KafkaError::KafkaStorageError);
    assert_eq!(told_at, 5000);
    assert_eq!(
        world.puts(),
        0,
        "what was told as not written is not written later"
    );
}

#[tokio::test(start_paused = true)]
async fn without_acks_a_failure_after_admission_closes_the_connection() {
    let world = world();
    world.sequencer.away(true);
    let silent = request(&[TestBatch::plain(0)])
        .with_acks(0)
        .with_timeout_ms(5000);

    let reply = world.send_request(silent).await.await;

    assert!(matches!(reply, Reply::Close), "{reply:?}");
    assert_eq!(world.millis(), 5000);
}

#[tokio::test(start_paused = true)]
async fn without_a_sequencer_for_long_clients_are_sent_to_other_pods() {
    let world = world();
    world.sequencer.away(true);

    let row = world.send(TestBatch::plain(0)).await.await;

    let patience = IngestConfig::default().patience;
    assert_eq!(error(&row), KafkaError::NotLeaderOrFollower);
    let told = patience.as_millis()..(patience + PATIENCE_LOOK * 2).as_millis();
    assert!(told.contains(&world.millis()), "{}", world.millis());
    assert_eq!(world.metrics.refusals(AppendErrorKind::Refresh), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_registration_is_repeated_until_it_succeeds() {
    let world = world();
    world.sequencer.fail_registrations([
        MetadataError::Recovering,
        MetadataError::Unknown,
        MetadataError::Deposed,
        MetadataError::Overloaded,
    ]);

    let row = world.send(TestBatch::plain(0)).await.await;

    assert_eq!((row.error_code, row.base_offset), (0, 0));
    assert!(world.millis() < 1000);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_of_unknown_outcome_is_asked_again_and_placed_once() {
    for scripted in [
        Scripted::After(ReserveError::Metadata(MetadataError::Unknown)),
        Scripted::Before(ReserveError::Metadata(MetadataError::Deposed)),
        Scripted::HangAfter,
    ] {
        let world = world();
        world.sequencer.script([scripted]);

        let row = world.send(TestBatch::plain(0)).await.await;

        assert_eq!((row.error_code, row.base_offset), (0, 0));
        let requests = world.sequencer.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0], requests[1], "W3: the same question");
        assert_eq!(world.numbers().await, [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_reservation_is_in_doubt_its_batches_are_told_as_unknown() {
    let world = world();
    world
        .sequencer
        .script([Scripted::After(ReserveError::Metadata(
            MetadataError::Unknown,
        ))]);
    let mut answer = send_for(&world, TestBatch::plain(0), 5000).await;
    world.sleep(1).await;
    world.sequencer.away(true);

    world.sleep(4998).await;
    let early = peek(&mut answer);
    let row = answer.await;
    world.sequencer.away(false);
    world.sleep(60_000).await;

    assert_eq!(early, None);
    assert_eq!(error(&row), KafkaError::RequestTimedOut);
    assert_eq!(world.numbers().await, [0], "and it goes on being decided");
}

#[tokio::test(start_paused = true)]
async fn batches_of_a_reservation_that_was_surely_not_heard_may_be_given_up() {
    let world = world();
    world.send(TestBatch::sequenced(0)).await.await;
    world.sequencer.away(true);
    let given_up = send_for(&world, TestBatch::sequenced(1), 5000).await;
    world.sleep(1).await;
    let behind = send_for(&world, TestBatch::sequenced(2), 10_000).await;
    let other = send_for(&world, TestBatch::plain(100), 10_000).await;

    let (given_up, behind) = (given_up.await, behind.await);
    let told_at = world.millis();
    world.sequencer.away(false);
    let other = other.await;

    assert_eq!(error(&given_up), KafkaError::KafkaStorageError);
    assert_eq!(
        error(&behind),
        KafkaError::KafkaStorageError,
        "in order or not at all"
    );
    assert!(told_at <= 5001);
    assert_eq!((other.error_code, other.base_offset), (0, 1));
    assert_eq!(world.numbers().await, [0, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_sequencer_that_is_away_is_asked_at_a_bounded_rate() {
    let world = world();
    world.send(TestBatch::plain(0)).await.await;
    world.sequencer.away(true);

    let before = world.sequencer.requests().len();
    send_for(&world, TestBatch::plain(1), 10_000).await.await;

    let asked = world.sequencer.requests().len() - before;
    let shortest = CALL_RETRY.delay_max / 2;
    let most = 10_000 / usize::try_from(shortest.as_millis()).unwrap() + 10;
    assert!((5..most).contains(&asked), "{asked} times in 10 s");
}

#[tokio::test(start_paused = true)]
async fn too_many_undecided_segments_are_waited_for() {
    let world = world_with(IngestConfig {
        segment_batches_max: 1,
        ..IngestConfig::default()
    });
    world.sequencer.undecided_max(1);
    world.slow_puts(200);

    let first = world.send(TestBatch::plain(0)).await;
    let second = world.send(TestBatch::plain(1)).await;
    let (first, second) = (first.await, second.await);

    assert_eq!((first.error_code, second.error_code), (0, 0));
    assert!(world.millis() >= 400, "one after the other");
    assert_eq!(world.sequencer.sessions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn timeouts_of_clients_are_kept_within_their_bounds() {
    let config = IngestConfig {
        patience: PRODUCE_TIMEOUT_MAX * 2,
        ..IngestConfig::default()
    };
    for (asked, kept) in [
        (-1, PRODUCE_TIMEOUT_MIN),
        (
            i32::try_from(PRODUCE_TIMEOUT_MIN.as_millis()).unwrap() - 1,
            PRODUCE_TIMEOUT_MIN,
        ),
        (
            i32::try_from(PRODUCE_TIMEOUT_MAX.as_millis()).unwrap() + 1,
            PRODUCE_TIMEOUT_MAX,
        ),
        (i32::MAX, PRODUCE_TIMEOUT_MAX),
    ] {
        let world = world_with(config);
        world.sequencer.away(true);

        let row = send_for(&world, TestBatch::plain(0), asked).await.await;

        assert_eq!(error(&row), KafkaError::KafkaStorageError);
        assert_eq!(world.millis(), kept.as_millis());
    }
}
