//! Sessions that are lost with batches under way: nothing acknowledged goes missing, nothing is
//! written twice, the order stays, and nobody is told more than is known.

use esker_ingest::limits::{CALL_RETRY, LOST_SESSIONS_MAX};
use esker_ingest::{IngestConfig, IngestError, SessionLoss};
use esker_kafka::KafkaError;
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_metadata_api::{ReserveError, Sequencer as _};
use esker_object::{Bucket as _, Fault, FaultRule, Gate, ObjectKey, StoreErrorKind};
use esker_types::{ChainIndex, SegmentId, SessionId};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};

use crate::sequencer::Scripted;
use crate::world::{
    CLUSTER, TestBatch, World, on_place, on_puts, peek, request, rows, world, world_with,
};

/// One batch per segment, so that a test decides what shares a fate.
fn one_by_one() -> IngestConfig {
    IngestConfig {
        segment_batches_max: 1,
        ..IngestConfig::default()
    }
}

fn session(world: &World) -> SessionId {
    let sessions = world.sequencer.sessions();
    assert_eq!(sessions.len(), 1, "one session so far");
    sessions[0]
}

fn error(row: &PartitionProduceResponse) -> KafkaError {
    KafkaError::from_code(row.error_code).unwrap()
}

/// Puts of place `index` wait at the gate, the next `times` of them.
fn gate(world: &World, index: u64, times: u64) -> Gate {
    let gate = Gate::new();
    let rule = FaultRule::new(Fault::GateBefore(gate.clone()));
    world.faulty.add(on_place(rule, index).times(times));
    gate
}

async fn all(
    answers: Vec<BoxFuture<'static, PartitionProduceResponse>>,
) -> Vec<PartitionProduceResponse> {
    answers
        .into_iter()
        .collect::<FuturesOrdered<_>>()
        .collect()
        .await
}

#[tokio::test(start_paused = true)]
async fn a_session_sealed_mid_flight_loses_and_doubles_nothing_of_either_kind() {
    for batch in [TestBatch::plain, TestBatch::sequenced] {
        let world = world_with(one_by_one());
        let gate = gate(&world, 3, 1);
        let mut answers = Vec::new();
        for number in 0..10 {
            answers.push(world.send(batch(number)).await);
        }

        gate.arrived(1).await;
        let end = world.sequencer.end_session(session(&world)).await.unwrap();
        gate.open();
        let rows = all(answers).await;

        assert_eq!(end.end, ChainIndex::new(3));
        assert!(rows.iter().all(|row| row.error_code == 0), "{rows:?}");
        assert!(rows.iter().map(|row| row.base_offset).eq(0..10));
        assert_eq!(world.numbers().await, (0..10).collect::<Vec<_>>());
        assert_eq!(world.sequencer.sessions().len(), 2);
        let lost = world.metrics.sessions_lost(SessionLoss::Sealed)
            + world.metrics.sessions_lost(SessionLoss::Closed);
        assert_eq!(lost, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_sight_of_a_seal_is_no_proof_and_offers_nothing_again() {
    let world = world();
    let gate = gate(&world, 0, 1);
    let mut answer = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    world.sequencer.end_session(session(&world)).await.unwrap();
    world.sequencer.hold_ends();

    gate.open();
    world.sleep(10_000).await;
    let early = peek(&mut answer);
    let asked = world.sequencer.requests().len();
    world.sequencer.let_end();
    let row = answer.await;

    assert_eq!(early, None);
    assert_eq!(asked, 1, "offered again only when the end is known (W7)");
    assert_eq!((row.error_code, row.base_offset), (0, 0));
    assert_eq!(world.numbers().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn undecided_at_the_timeout_is_told_as_unknown_and_not_written_later() {
    let world = world();
    let gate = gate(&world, 0, 1);
    let answer = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    world.sequencer.end_session(session(&world)).await.unwrap();
    world.sequencer.hold_ends();
    gate.open();

    let row = answer.await;
    let told_at = world.millis();
    world.sequencer.let_end();
    world.sleep(60_000).await;

    assert_eq!(error(&row), KafkaError::RequestTimedOut);
    assert_eq!((row.base_offset, row.log_start_offset), (-1, -1));
    assert_eq!(told_at, 30_000);
    assert!(world.numbers().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_segment_below_the_end_is_acknowledged_without_the_reply_of_its_put() {
    let world = world_with(one_by_one());
    let gate = Gate::new();
    let rule = FaultRule::new(Fault::GateAfter(gate.clone()));
    world.faulty.add(on_place(rule, 0).times(1));
    let first = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    let end = world.sequencer.end_session(session(&world)).await.unwrap();

    let second = world.send(TestBatch::plain(1)).await;
    let rows = all(vec![first, second]).await;

    assert_eq!(end.end, ChainIndex::new(1));
    assert!(
        rows.iter()
            .map(|row| (row.error_code, row.base_offset))
            .eq([(0, 0), (0, 1)])
    );
    assert!(
        world.millis() < 1000,
        "the hanging reply was not waited for"
    );
    assert_eq!(world.numbers().await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn uploads_of_a_lost_session_that_complete_its_chain_are_acknowledged() {
    let world = world_with(one_by_one());
    let gate = gate(&world, 0, 1);
    let mut first = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    world.sequencer.hold_ends();
    world.sequencer.close(session(&world));
    let mut behind = world.send(TestBatch::plain(1)).await;
    world.sleep(1000).await;
    let early = (peek(&mut first), peek(&mut behind));

    gate.open();
    let rows = all(vec![first, behind]).await;

    assert_eq!(early, (None, None), "what is behind it in its lane waits");
    assert!(
        rows.iter()
            .map(|row| (row.error_code, row.base_offset))
            .eq([(0, 0), (0, 1)])
    );
    assert_eq!(world.metrics.sessions_lost(SessionLoss::Closed), 1);
}

#[tokio::test(start_paused = true)]
async fn lanes_without_batches_in_doubt_go_on_in_the_new_session() {
    let world = world();
    let gate = gate(&world, 0, 1);
    let mut doubtful = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    world.sequencer.hold_ends();
    world.sequencer.close(session(&world));

    let other = TestBatch {
        partition: 1,
        ..TestBatch::plain(1)
    };
    let row = world.send(other).await.await;

    assert_eq!(row.error_code, 0);
    assert_eq!(peek(&mut doubtful), None);
    assert_eq!(
        world.sequencer.replaced().len(),
        1,
        "the new session replaces the old"
    );
}

#[tokio::test(start_paused = true)]
async fn a_take_over_between_two_batches_goes_unseen() {
    let world = world();
    world.send(TestBatch::plain(0)).await.await;
    world.sequencer.end_session(session(&world)).await.unwrap();

    let row = world.send(TestBatch::plain(1)).await.await;

    assert_eq!((row.error_code, row.base_offset), (0, 1));
    assert_eq!(world.numbers().await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_out_of_turn_ends_the_session_and_goes_on_in_a_new_one() {
    let world = world();
    world
        .sequencer
        .script([Scripted::Before(ReserveError::OutOfTurn)]);

    let row = world.send(TestBatch::plain(0)).await.await;

    assert_eq!((row.error_code, row.base_offset), (0, 0));
    assert_eq!(world.metrics.sessions_lost(SessionLoss::Mismatch), 1);
    assert_eq!(world.sequencer.sessions().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_segment_and_all_behind_it_are_told_as_not_written() {
    let world = world_with(one_by_one());
    let slow = gate(&world, 0, 1);
    let refused = gate(&world, 1, 1);
    let refuse = FaultRule::new(Fault::Refuse(StoreErrorKind::Full));
    world.store.add(on_place(refuse, 1).times(1));
    let first = world.send(TestBatch::plain(0)).await;
    let second = world.send(TestBatch::plain(1)).await;
    let third = world.send(TestBatch::sequenced(2)).await;
    slow.arrived(1).await;
    refused.arrived(1).await;
    world.sleep(1000).await;
    assert_eq!(world.puts(), 3, "the third is there already");

    refused.open();
    let refused = all(vec![second, third]).await;
    slow.open();
    let first = first.await;
    let next = world.send(TestBatch::plain(3)).await.await;

    assert!(
        refused
            .iter()
            .all(|row| error(row) == KafkaError::KafkaStorageError),
        "{refused:?}"
    );
    assert!(refused.iter().all(|row| row.base_offset == -1));
    assert_eq!((first.error_code, first.base_offset), (0, 0));
    assert_eq!(next.error_code, 0);
    world.sleep(10_000).await;
    assert_eq!(world.numbers().await, [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn rights_that_return_in_time_cost_a_producer_nothing_but_the_wait() {
    let world = world();
    let refuse = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied));
    world.faulty.add(on_place(refuse, 0));
    let sent = world.send(TestBatch::plain(0)).await;
    world.sleep(8000).await;
    assert_eq!(world.numbers().await, Vec::<i64>::new());
    world.faulty.heal();

    let row = sent.await;

    assert_eq!((row.error_code, row.base_offset), (0, 0));
    assert_eq!(world.metrics.sessions_lost(SessionLoss::Refused), 0);
    assert_eq!(world.numbers().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn rights_that_do_not_return_are_told_as_not_written_while_clients_wait() {
    let world = world();
    let refuse = FaultRule::new(Fault::Refuse(StoreErrorKind::Denied));
    world.faulty.add(on_place(refuse, 0));

    let refused = world.send(TestBatch::plain(0)).await.await;
    let millis = world.millis();
    world.faulty.heal();
    let next = world.send(TestBatch::plain(1)).await.await;

    assert_eq!(error(&refused), KafkaError::KafkaStorageError);
    let limit = esker_chain::limits::UPLOAD_DENIED_MAX.as_millis();
    assert!((limit..limit + 2500).contains(&millis), "{millis} ms");
    assert_eq!(next.error_code, 0);
    let written = world.log().await.into_values();
    assert_eq!(
        written.collect::<Vec<_>>(),
        [1],
        "what was refused is nowhere"
    );
}

#[tokio::test(start_paused = true)]
async fn a_put_in_doubt_is_decided_by_the_end_of_its_session() {
    let world = world();
    let lost = FaultRule::new(Fault::FailAfter(StoreErrorKind::Throttled));
    world.faulty.add(on_place(lost, 0).times(1));
    let refuse = FaultRule::new(Fault::Refuse(StoreErrorKind::Full));
    world.faulty.add(on_place(refuse, 0).times(1));

    let row = world.send(TestBatch::plain(0)).await.await;

    assert_eq!((row.error_code, row.base_offset), (0, 0));
    assert_eq!(world.faulty.struck(), 2);
    assert_eq!(
        world.numbers().await,
        [0],
        "it had been written, and is not written again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stalled_session_is_given_up_for_a_new_one() {
    let world = world();
    let gate = gate(&world, 0, 2);

    let row = world.send(TestBatch::plain(0)).await.await;

    let stall = IngestConfig::default().stall.as_millis();
    assert_eq!((row.error_code, row.base_offset), (0, 0));
    assert!(
        (stall..stall + 2000).contains(&world.millis()),
        "{}",
        world.millis()
    );
    assert_eq!(world.metrics.sessions_lost(SessionLoss::Stalled), 1);
    gate.open();
    assert_eq!(world.numbers().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_void_batch_that_was_told_unknown_is_dropped_with_what_is_behind_it() {
    let world = world();
    let gate = gate(&world, 0, 1);
    let short = request(&[TestBatch::sequenced(0)]).with_timeout_ms(5000);
    let told = world.send_request(short).await;
    let other = world.send(TestBatch::plain(100)).await;
    gate.arrived(1).await;
    world.sequencer.hold_ends();
    world.sequencer.close(session(&world));
    let behind = world.send(TestBatch::sequenced(1)).await;
    world.sleep(6000).await;

    world.sequencer.let_end();
    let rows = [rows(told.await).remove(0), other.await, behind.await];

    assert_eq!(error(&rows[0]), KafkaError::RequestTimedOut);
    assert_eq!(error(&rows[1]), KafkaError::None);
    assert_eq!(error(&rows[2]), KafkaError::NotLeaderOrFollower, "never 45");
    let log = world.log().await;
    assert!(log.values().eq(&[100]), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn sessions_lost_before_they_write_anything_follow_ever_more_slowly() {
    let world = world();
    let out_of_turn = Scripted::Before(ReserveError::OutOfTurn);
    world.sequencer.script(vec![out_of_turn; 8]);

    let row = world.send(TestBatch::plain(0)).await.await;

    assert_eq!(row.error_code, 0);
    assert_eq!(world.sequencer.sessions().len(), 9);
    let shortest = CALL_RETRY.delay_first.as_millis() * (1 + 2 + 4 + 8 + 16 + 32) / 2;
    assert!(world.millis() >= shortest, "{} ms", world.millis());
}

#[tokio::test(start_paused = true)]
async fn with_too_many_lost_sessions_no_new_one_is_registered() {
    let world = world_with(one_by_one());
    world.sequencer.hold_ends();
    let gate = Gate::new();
    let rule = FaultRule::new(Fault::GateBefore(gate.clone()));
    world.faulty.add(on_puts(rule));
    let mut answers = Vec::new();
    for partition in 0..=LOST_SESSIONS_MAX {
        let batch = TestBatch {
            partition: u32::try_from(partition).unwrap(),
            ..TestBatch::plain(i32::try_from(partition).unwrap())
        };
        answers.push(world.send(batch).await);
        world.sleep(1500).await;
        for session in world.sequencer.sessions() {
            world.sequencer.close(session);
        }
    }

    world.sleep(5000).await;
    let at_limit = world.sequencer.sessions().len();
    gate.open();
    world.sequencer.let_end();
    let rows = all(answers).await;

    assert_eq!(at_limit, LOST_SESSIONS_MAX);
    assert!(rows.iter().all(|row| row.error_code == 0), "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn a_strangers_object_in_our_chain_stops_the_path_loudly() {
    let mut world = world();
    let gate = gate(&world, 0, 1);
    let answer = world.send(TestBatch::plain(0)).await;
    gate.arrived(1).await;
    let place = SegmentId {
        session: session(&world),
        index: ChainIndex::ZERO,
    };
    let key = ObjectKey::session_place(CLUSTER, place);
    let _ = world.memory.put_if_absent(&key, vec![1; 100].into()).await;
    gate.open();

    let ended = world.join().await;
    let row = answer.await;
    let later = rows(
        world
            .send_request(request(&[TestBatch::plain(1)]))
            .await
            .await,
    )
    .remove(0);

    assert!(matches!(ended, Err(IngestError::Stranger { segment }) if segment == place));
    assert_eq!(error(&row), KafkaError::RequestTimedOut);
    assert_eq!(error(&later), KafkaError::NotLeaderOrFollower);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_stops_the_path_and_leaves_nobody_waiting() {
    let mut world = world();
    world.sequencer.script([Scripted::Panic]);

    let answer = world.send(TestBatch::plain(0)).await;
    let ended = world.join().await;

    assert!(matches!(ended, Err(IngestError::Task(_))));
    assert_eq!(error(&answer.await), KafkaError::RequestTimedOut);
}

#[tokio::test(start_paused = true)]
async fn an_end_below_what_was_acknowledged_stops_the_path_loudly() {
    let mut world = world_with(one_by_one());
    world.send(TestBatch::plain(0)).await.await;
    let gate = gate(&world, 1, 1);
    let _undecided = world.send(TestBatch::plain(1)).await;
    gate.arrived(1).await;
    world.sequencer.lie_about_ends(0);
    world.sequencer.close(session(&world));
    let _waiting = world.send(TestBatch::plain(2)).await;

    let ended = world.join().await;

    let Err(IngestError::AcknowledgedBeyondEnd { acknowledged, .. }) = ended else {
        panic!("it goes on: {ended:?}");
    };
    assert_eq!(acknowledged, ChainIndex::ZERO);
}

#[tokio::test(start_paused = true)]
async fn behind_a_batch_that_was_given_up_its_producer_is_told_to_come_again_in_order() {
    let world = world_with(one_by_one());
    // Each try waits for 10 s; the seal that comes after them passes.
    let gate = gate(&world, 0, 3);
    let first = world.send(TestBatch::sequenced(0)).await;
    gate.arrived(1).await;
    world.sequencer.hold_ends();
    world.sequencer.close(session(&world));
    world.sleep(10_000).await;
    let lost = session(&world);
    let behind = world.send(TestBatch::sequenced(1)).await;

    let first = first.await;
    let behind = behind.await;
    world.sequencer.let_end();
    world.sequencer.end_session(lost).await.unwrap();
    let early = world.send(TestBatch::sequenced(1)).await.await;
    let again = world.send(TestBatch::sequenced(0)).await;
    let behind_again = world.send(TestBatch::sequenced(1)).await;

    assert_eq!(error(&first), KafkaError::RequestTimedOut);
    assert_eq!(error(&behind), KafkaError::RequestTimedOut, "never 45");
    assert_eq!(error(&early), KafkaError::RequestTimedOut, "out of order");
    assert_eq!(error(&again.await), KafkaError::None);
    assert_eq!(error(&behind_again.await), KafkaError::None);
    assert_eq!(world.numbers().await, [0, 1]);
}
