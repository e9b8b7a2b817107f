//! Claims about what HTTP appends ask of the sequencer: an expected end, and idempotency keys.

use esker_metadata_api::{BatchVerdict, ProduceRefusal, ReservationSummary};
use esker_types::ProducerId;

use super::harness::*;
use super::state::{checkpoint, register, state_with};
use crate::limits::{KEYS_PER_PARTITION_MAX, PRODUCERS_PER_PARTITION_MAX};
use crate::{Effect, has_final_refusal};

fn expecting(end: u64, record_count: u32) -> ReservationSummary {
    ReservationSummary {
        expected_end: Some(offset(end)),
        ..plain(0, record_count)
    }
}

fn another_end(end: u64) -> BatchVerdict {
    refused(ProduceRefusal::UnexpectedEnd { end: offset(end) })
}

/// A batch of an idempotency key; `content` is what its sequence tells.
fn keyed(key: u8, content: i32, record_count: u32) -> ReservationSummary {
    let id = ProducerId::from_key_hash([key; 8]);
    under_epoch(0, id.to_wire(), content, record_count)
}

#[test]
fn a_conditional_batch_is_placed_at_the_end_it_expects_and_nowhere_else() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 3)]);
    leader.written(1, 1);

    let verdicts = leader.reserve(1, 1, vec![expecting(2, 1)]);
    let beyond = leader.reserve(1, 1, vec![expecting(4, 1)]);
    let placed_there = leader.reserve(1, 1, vec![expecting(3, 2)]);

    assert_eq!(verdicts, [another_end(3)]);
    assert_eq!(beyond, [another_end(3)]);
    assert_eq!(placed_there, [placed(3)]);
}

#[test]
fn of_two_that_expect_the_same_end_one_is_placed() {
    let mut leader = Leader::new();

    let both = leader.reserve(1, 0, vec![expecting(0, 1), expecting(0, 1)]);
    let of_another_session = leader.reserve(2, 0, vec![expecting(0, 1)]);
    leader.written(1, 1);
    let afterwards = leader.reserve(2, 0, vec![expecting(0, 1)]);

    assert_eq!(both, [placed(0), BatchVerdict::Deferred]);
    assert_eq!(of_another_session, [BatchVerdict::Deferred]);
    assert_eq!(
        leader.take_effects().first(),
        Some(&Effect::Probe(segment(1, 0)))
    );
    assert_eq!(afterwards, [another_end(1)]);
}

#[test]
fn what_rests_on_undecided_batches_waits_and_what_is_final_does_not() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 3)]);
    leader.written(1, 1);
    leader.reserve(1, 1, vec![plain(0, 2)]);

    let lost_already = leader.reserve(2, 0, vec![expecting(2, 1)]);
    let may_be_lost = leader.reserve(2, 0, vec![expecting(3, 1)]);
    let may_be_won = leader.reserve(2, 0, vec![expecting(5, 1)]);
    leader.end(1, 1);

    assert_eq!(lost_already, [another_end(3)]);
    assert_eq!(may_be_lost, [BatchVerdict::Deferred]);
    assert_eq!(may_be_won, [BatchVerdict::Deferred]);
    // What was void leaves a gap: offsets are not given out again, but no record is in front.
    assert_eq!(
        leader.reserve(2, 0, vec![expecting(5, 1)]),
        [another_end(3)]
    );
    assert_eq!(leader.reserve(2, 0, vec![expecting(3, 1)]), [placed(5)]);
}

#[test]
fn another_end_is_a_final_refusal_so_it_waits_for_the_epoch_check() {
    let mut leader = Leader::new();

    let reply = leader.ask(&leader.request(1, 0, vec![expecting(1, 1)]));

    assert!(has_final_refusal(&reply.unwrap()));
}

#[test]
fn a_key_used_again_gets_the_first_offset_also_when_the_end_it_expected_is_another_by_now() {
    let mut leader = Leader::new();
    let conditional = ReservationSummary {
        expected_end: Some(offset(0)),
        ..keyed(1, 77, 3)
    };

    let first = leader.reserve(1, 0, vec![conditional.clone()]);
    leader.written(1, 1);
    let again = leader.reserve(2, 0, vec![conditional.clone()]);
    leader.checkpoint();
    let later = leader.reserve(2, 0, vec![conditional]);

    assert_eq!(first, [placed(0)]);
    assert_eq!((again, later), (vec![duplicate(0)], vec![duplicate(0)]));
}

#[test]
fn a_key_with_another_content_is_refused_even_where_a_producer_would_go_on() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![keyed(1, 77, 3)]);

    let while_undecided = leader.reserve(1, 1, vec![keyed(1, 80, 1)]);
    leader.written(1, 1);
    let verdicts = leader.reserve(1, 1, vec![keyed(1, 80, 1), keyed(1, 5, 3), keyed(1, 77, 4)]);

    let reused = refused(ProduceRefusal::OutOfOrderSequence);
    assert_eq!(while_undecided, [BatchVerdict::Deferred]);
    assert_eq!(verdicts, [reused, reused, reused]);
}

#[test]
fn a_key_needs_no_grace_and_survives_a_take_over() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![keyed(1, 77, 3)]);
    leader.written(1, 1);
    leader.checkpoint();
    let walks = vec![walked(1, Vec::new(), 1), walked(2, Vec::new(), 0)];
    let mut leader = Leader::over(leader.state, 2, walks);
    leader.register(3);

    let verdicts = leader.reserve(3, 0, vec![keyed(1, 77, 3), keyed(2, 9, 1), from(5, 9, 1)]);

    let void = refused(ProduceRefusal::PredecessorVoid);
    assert_eq!(verdicts, [duplicate(0), placed(3), void]);
}

#[test]
fn a_void_batch_of_a_key_may_be_followed_by_another_content() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![keyed(1, 77, 3)]);
    leader.end(1, 0);

    let verdicts = leader.reserve(2, 0, vec![keyed(1, 80, 1)]);

    assert_eq!(verdicts, [placed(3)]);
}

#[test]
fn keys_push_each_other_out_and_no_producer() {
    let keys = u64::try_from(KEYS_PER_PARTITION_MAX).unwrap() + 1;
    let key = |number: u64| ProducerId::from_key_hash(number.to_be_bytes()).to_wire();
    let mut commands = vec![register(1)];
    let producer = producer_footer(segment(1, 0), 1, 5, &[(0, 1, 0)]);
    commands.push(checkpoint(vec![producer]));
    for number in 1..=keys {
        let batch = producer_footer(segment(1, number), 1, key(number), &[(number, 1, 7)]);
        commands.push(checkpoint(vec![batch]));
    }
    let state = state_with(&commands);
    let mut leader = Leader::over(state, 2, vec![walked(1, Vec::new(), keys + 1)]);
    leader.register(2);
    let of_key = |number| under_epoch(0, key(number), 7, 1);

    let verdicts = leader.reserve(2, 0, vec![of_key(1), of_key(2), from(5, 0, 1)]);

    assert_eq!(verdicts, [placed(keys + 1), duplicate(2), duplicate(0)]);
    const {
        assert!(
            KEYS_PER_PARTITION_MAX + 1 > PRODUCERS_PER_PARTITION_MAX,
            "else it shows nothing"
        );
    }
}
