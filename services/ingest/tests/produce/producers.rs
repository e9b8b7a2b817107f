//! Idempotent producers: replays, deferrals, and gaps that the client did not make.

use esker_kafka::KafkaError;
use esker_metadata_api::{BatchVerdict, ProducerSpan, ReservationSummary, ReserveReply};
use esker_object::{Fault, FaultRule, Gate};
use esker_types::{ChainIndex, Offset, ProducerEpoch, ProducerId, SessionId, Timestamp};

use crate::sequencer::Scripted;
use crate::world::{TestBatch, on_place, peek, place, request, rows, world};

const OTHER: SessionId = SessionId::from_bytes([0xee; 16]);

/// Sequence `number` of producer 5 in partition 0, as the sequencer sees it.
fn summary(number: i32) -> ReservationSummary {
    ReservationSummary {
        topic_partition: place(0),
        record_count: 1,
        batch_bytes: 100,
        max_timestamp: Timestamp::from_millis(0),
        producer: Some(ProducerSpan {
            producer_id: ProducerId::from_wire(5).unwrap(),
            producer_epoch: ProducerEpoch::default(),
            base_sequence: number,
        }),
        transactional: false,
        expected_end: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_a_committed_batch_is_answered_with_its_offset() {
    let world = world();
    world.send(TestBatch::plain(100)).await.await;
    let first = world.send(TestBatch::sequenced(0)).await.await;

    let replay = world.send(TestBatch::sequenced(0)).await.await;

    assert_eq!((first.error_code, first.base_offset), (0, 1));
    assert_eq!((replay.error_code, replay.base_offset), (0, 1));
    assert_eq!(world.puts(), 2, "nothing is written for a replay");
    assert_eq!(world.numbers().await, [100, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_a_batch_in_flight_is_answered_when_that_is_committed() {
    let world = world();
    let gate = Gate::new();
    world
        .faulty
        .add(on_place(FaultRule::new(Fault::GateBefore(gate.clone())), 0).times(1));
    let first = world.send(TestBatch::sequenced(0)).await;
    gate.arrived(1).await;

    let mut replay = world.send(TestBatch::sequenced(0)).await;
    world.sleep(1000).await;
    let early = peek(&mut replay);
    gate.open();

    assert_eq!(early, None, "CP9");
    assert_eq!(first.await.base_offset, 0);
    let replay = replay.await;
    assert_eq!((replay.error_code, replay.base_offset), (0, 0));
    assert_eq!(world.numbers().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_in_the_same_segment_as_its_original_waits_with_it() {
    let world = world();
    let batches = [TestBatch::sequenced(0), TestBatch::sequenced(0)];

    let reply = world.send_request(request(&batches)).await.await;

    let rows = rows(reply);
    assert!(
        rows.iter()
            .map(|row| (row.error_code, row.base_offset))
            .eq([(0, 0), (0, 0)])
    );
    assert_eq!(world.numbers().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_the_sequencer_takes_for_undecided_is_answered_by_what_we_know() {
    let world = world();
    world.sequencer.deaf(true);
    world.send(TestBatch::sequenced(0)).await.await;
    world.sequencer.script([Scripted::Reply(ReserveReply {
        verdicts: vec![BatchVerdict::DuplicateInFlight {
            original: ChainIndex::ZERO,
            base_offset: Offset::ZERO,
            log_start: Offset::ZERO,
        }],
    })]);

    let replay = world.send(TestBatch::sequenced(0)).await.await;

    assert_eq!((replay.error_code, replay.base_offset), (0, 0));
    assert_eq!(world.puts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_segment_left_without_batches_is_not_written_and_its_place_is_used_again() {
    let world = world();
    world.send(TestBatch::sequenced(0)).await.await;
    world.send(TestBatch::sequenced(0)).await.await;

    world.send(TestBatch::sequenced(1)).await.await;

    let places: Vec<_> = world
        .sequencer
        .requests()
        .iter()
        .map(|asked| asked.index.get())
        .collect();
    assert_eq!(places, [0, 1, 1]);
    assert_eq!(world.puts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bad_sequence_fails_its_batch_alone() {
    let world = world();
    world.send(TestBatch::sequenced(0)).await.await;
    let other = TestBatch {
        partition: 1,
        ..TestBatch::plain(1)
    };

    let reply = world
        .send_request(request(&[TestBatch::sequenced(7), other]))
        .await
        .await;

    let rows = rows(reply);
    assert_eq!(
        rows[0].error_code,
        KafkaError::OutOfOrderSequenceNumber.code()
    );
    assert_eq!((rows[0].base_offset, rows[0].log_start_offset), (-1, -1));
    assert_eq!((rows[1].error_code, rows[1].base_offset), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deferred_batch_waits_alone_and_keeps_the_order_of_its_producer() {
    let world = world();
    world.sequencer.other_pod_writes(OTHER, vec![summary(0)]);
    let mut deferred = world.send(TestBatch::sequenced(1)).await;
    let mut behind = world.send(TestBatch::sequenced(2)).await;

    let other = world.send(TestBatch::plain(100)).await.await;
    world.sleep(3000).await;
    let early = (peek(&mut deferred), peek(&mut behind));
    world.sequencer.decide_other(OTHER);
    let (deferred, behind) = (deferred.await, behind.await);

    assert_eq!((other.error_code, other.base_offset), (0, 1));
    assert_eq!(early, (None, None));
    assert_eq!((deferred.error_code, deferred.base_offset), (0, 2));
    assert_eq!((behind.error_code, behind.base_offset), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_batch_deferred_for_too_long_is_told_as_unknown_since_it_may_be_a_replay() {
    let world = world();
    world.sequencer.other_pod_writes(OTHER, vec![summary(0)]);

    let row = world.send(TestBatch::sequenced(0)).await.await;
    let told_at = world.millis();
    world.sequencer.decide_other(OTHER);
    world.sleep(5000).await;

    assert_eq!(row.error_code, KafkaError::RequestTimedOut.code());
    assert_eq!(told_at, 30_000);
    assert_eq!(world.puts(), 0, "what was given up is not written later");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_contradicts_the_session_ends_it_and_writes_nothing_wrong() {
    let wrong = [
        Vec::new(),
        vec![BatchVerdict::DuplicateInFlight {
            original: ChainIndex::new(9),
            base_offset: Offset::ZERO,
            log_start: Offset::ZERO,
        }],
        vec![BatchVerdict::Placed {
            base_offset: Offset::new(esker_types::limits::OFFSET_MAX).unwrap(),
            log_start: Offset::ZERO,
        }],
    ];
    for verdicts in wrong {
        let world = world();
        world
            .sequencer
            .script([Scripted::Reply(ReserveReply { verdicts })]);

        let row = world.send(TestBatch::plain(0)).await.await;

        assert_eq!((row.error_code, row.base_offset), (0, 0));
        assert_eq!(world.sequencer.sessions().len(), 2);
        assert_eq!(world.numbers().await, [0]);
    }
}
