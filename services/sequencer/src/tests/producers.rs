//! Claims about idempotent producers: D1 to D5.

use esker_metadata_api::{
    ActiveProducer, BatchVerdict, ProduceRefusal, ProducerSpan, ReservationSummary,
};
use esker_types::{ChainIndex, ProducerId, Timestamp};

use super::harness::*;
use crate::limits::VOID_MARKS_MAX;
use crate::{Effect, Probe, has_final_refusal};

const LAST: i32 = i32::MAX;

#[test]
fn a_batch_sent_again_gets_the_offset_of_the_committed_original() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10), from(5, 0, 3)]);
    leader.written(1, 1);

    let before = leader.reserve(2, 0, vec![from(5, 0, 3)]);
    leader.checkpoint();
    let after = leader.reserve(2, 0, vec![from(5, 0, 3)]);

    assert_eq!(before, [duplicate(10)]);
    assert_eq!(after, [duplicate(10)]);
}

#[test]
fn a_batch_sent_again_while_its_original_is_undecided_waits_for_it() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 3)]);

    let same_session = leader.reserve(1, 1, vec![from(5, 0, 3), from(5, 3, 1), from(5, 3, 1)]);
    let other_session = leader.reserve(2, 0, vec![from(5, 0, 3)]);

    assert_eq!(same_session, [in_flight(0, 0), placed(3), in_flight(1, 3)]);
    assert_eq!(other_session, [BatchVerdict::Deferred]);
}

#[test]
fn a_batch_behind_an_undecided_one_of_another_session_is_deferred_alone_and_the_blocker_probed() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(1, 1)]);
    leader.reserve(1, 1, vec![from(5, 0, 3)]);

    let verdicts = leader.reserve(2, 0, vec![from(5, 3, 1), from(6, 0, 1), from(5, 4, 1)]);

    assert_eq!(
        verdicts,
        [BatchVerdict::Deferred, placed(3), BatchVerdict::Deferred]
    );
    assert_eq!(leader.take_effects(), [Effect::Probe(segment(1, 0))]);
    leader.probed(1, 0, Probe::Segment);
    assert!(
        leader
            .take_effects()
            .contains(&Effect::Probe(segment(1, 1)))
    );
    leader.probed(1, 1, Probe::Segment);
    assert_eq!(leader.reserve(2, 1, vec![from(5, 3, 1)]), [placed(4)]);
}

#[test]
fn a_deferral_looks_at_the_epoch_of_nobody() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![under_epoch(3, 5, 0, 1)]);

    let higher = leader.reserve(2, 0, vec![under_epoch(4, 5, 0, 1)]);
    let lower = leader.reserve(2, 0, vec![under_epoch(2, 5, 0, 1)]);

    assert_eq!(higher, [BatchVerdict::Deferred]);
    assert_eq!(lower, [BatchVerdict::Deferred]);
}

#[test]
fn deferrals_are_released_when_the_blocker_is_void_for_ever_and_not_before() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 3)]);
    leader.end_requested(1);
    let offered = vec![from(5, 0, 3)];

    assert_eq!(
        leader.reserve(2, 0, offered.clone()),
        [BatchVerdict::Deferred]
    );
    leader.sealed_at(1, 0);
    assert_eq!(
        leader.reserve(2, 0, offered.clone()),
        [BatchVerdict::Deferred]
    );
    leader.apply(&end_command(1, 0));
    assert_eq!(leader.reserve(2, 0, offered), [placed(3)]);
}

#[test]
fn the_overlay_of_a_void_segment_is_taken_back() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 3)]);
    leader.written(1, 1);
    leader.reserve(1, 1, vec![from(5, 3, 2), from(5, 5, 1)]);
    leader.end(1, 1);

    let verdicts = leader.reserve(2, 0, vec![from(5, 3, 2), from(5, 0, 3), from(5, 5, 1)]);

    assert_eq!(verdicts, [placed(6), duplicate(0), placed(8)]);
}

#[test]
fn a_batch_behind_a_void_one_is_told_so_until_the_void_ones_came_again() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);
    leader.written(1, 1);
    leader.reserve(1, 1, vec![from(5, 1, 1), from(5, 2, 1)]);
    leader.end(1, 1);
    let behind = refused(ProduceRefusal::PredecessorVoid);

    let verdicts = leader.reserve(2, 0, vec![from(5, 3, 1), from(5, 2, 1), from(5, 1, 1)]);
    leader.written(2, 1);
    let next = leader.reserve(2, 1, vec![from(5, 3, 1), from(5, 2, 1)]);
    leader.written(2, 2);
    let gap = leader.reserve(2, 2, vec![from(5, 9, 1)]);

    assert_eq!(verdicts, [behind, behind, placed(3)]);
    assert_eq!(next, [behind, placed(4)]);
    assert_eq!(gap, [refused(ProduceRefusal::OutOfOrderSequence)]);
}

#[test]
fn a_producer_whose_first_batch_is_void_begins_again_with_it() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1), from(5, 1, 1)]);
    leader.end(1, 0);

    let verdicts = leader.reserve(2, 0, vec![from(5, 1, 1), from(5, 0, 1), from(5, 1, 1)]);

    assert_eq!(
        verdicts,
        [
            refused(ProduceRefusal::PredecessorVoid),
            placed(2),
            placed(3)
        ]
    );
}

#[test]
fn void_marks_are_bounded_and_the_oldest_go() {
    let mut leader = Leader::new();
    let producers = i64::try_from(VOID_MARKS_MAX).unwrap() + 1;
    let all: Vec<i64> = (0..producers).collect();
    for (index, some) in (0_u64..).zip(all.chunks(10_000)) {
        let batches = some.iter().map(|producer| from(*producer, 0, 1)).collect();
        leader.reserve(1, index, batches);
    }
    leader.end(1, 0);

    // Within a session the last batches are taken back first, so the last producer's mark is
    // oldest.
    let first = leader.reserve(2, 0, vec![from(0, 1, 1)]);
    let last = leader.reserve(2, 0, vec![from(producers - 1, 1, 1)]);

    assert_eq!(first, [refused(ProduceRefusal::PredecessorVoid)]);
    assert!(matches!(last[..], [BatchVerdict::Placed { .. }]));
}

#[test]
fn a_new_producer_may_begin_anywhere_and_goes_on_in_sequence() {
    let mut leader = Leader::new();

    let first = leader.reserve(1, 0, vec![from(5, 40, 2)]);
    leader.written(1, 1);
    let next = leader.reserve(1, 1, vec![from(5, 43, 1), from(5, 42, 1)]);

    assert_eq!(first, [placed(0)]);
    assert_eq!(
        next,
        [refused(ProduceRefusal::OutOfOrderSequence), placed(2)]
    );
}

#[test]
fn sequences_wrap_from_the_largest_to_zero() {
    let mut leader = Leader::new();

    let verdicts = leader.reserve(1, 0, vec![from(5, LAST - 1, 1), from(5, LAST, 2)]);
    let next = leader.reserve(1, 1, vec![from(5, 1, 1)]);
    leader.written(1, 2);
    let again = leader.reserve(1, 2, vec![from(5, LAST, 2), from(5, 1, 1)]);

    assert_eq!(verdicts, [placed(0), placed(1)]);
    assert_eq!(next, [placed(3)]);
    assert_eq!(again, [duplicate(1), duplicate(3)]);
}

#[test]
fn a_higher_epoch_begins_at_zero_and_fences_the_lower_once_committed() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);
    leader.written(1, 1);

    let wrong = leader.reserve(1, 1, vec![under_epoch(1, 5, 1, 1)]);
    let begun = leader.reserve(1, 1, vec![under_epoch(1, 5, 0, 1), under_epoch(1, 5, 1, 1)]);
    let undecided = leader.reserve(1, 2, vec![from(5, 1, 1)]);
    leader.written(1, 2);
    let decided = leader.reserve(1, 2, vec![from(5, 1, 1), from(5, 0, 1)]);

    assert_eq!(wrong, [refused(ProduceRefusal::OutOfOrderSequence)]);
    assert_eq!(begun, [placed(1), placed(2)]);
    assert_eq!(undecided, [BatchVerdict::Deferred]);
    let fenced = refused(ProduceRefusal::ProducerFenced);
    assert_eq!(decided, [fenced, fenced]);
}

#[test]
fn a_final_refusal_never_rests_on_an_undecided_batch() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);

    let gap = leader.reserve(1, 1, vec![from(5, 7, 1), from(5, 1, 1)]);
    leader.written(1, 1);
    let settled = leader.reserve(1, 1, vec![from(5, 7, 1), from(5, 1, 1)]);

    assert_eq!(gap, [BatchVerdict::Deferred, BatchVerdict::Deferred]);
    assert_eq!(
        settled,
        [refused(ProduceRefusal::OutOfOrderSequence), placed(1)]
    );
}

#[test]
fn five_batches_are_remembered_and_an_older_one_is_called_committed_only_when_it_was() {
    let mut leader = Leader::new();
    let batches = (0..7).map(|n| from(5, 100 + n * 10, 10)).collect();
    leader.reserve(1, 0, batches);
    leader.written(1, 1);

    let verdicts = leader.reserve(
        1,
        1,
        vec![
            from(5, 120, 10),
            from(5, 110, 10),
            from(5, 100, 20),
            from(5, 90, 10),
            from(5, 95, 10),
            from(5, 115, 10),
        ],
    );

    let forgotten = refused(ProduceRefusal::DuplicateForgotten);
    let out_of_order = refused(ProduceRefusal::OutOfOrderSequence);
    assert_eq!(
        verdicts,
        [
            duplicate(20),
            forgotten,
            forgotten,
            out_of_order,
            out_of_order,
            out_of_order
        ]
    );
}

#[test]
fn a_negative_sequence_is_refused_alone() {
    let mut leader = Leader::new();

    let verdicts = leader.reserve(1, 0, vec![from(5, -1, 1), plain(0, 1)]);

    assert_eq!(
        verdicts,
        [refused(ProduceRefusal::OutOfOrderSequence), placed(0)]
    );
}

#[test]
fn producers_of_different_partitions_do_not_know_of_each_other() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);
    let mut elsewhere = from(5, 9, 1);
    elsewhere.topic_partition = at(1);

    assert_eq!(leader.reserve(2, 0, vec![elsewhere]), [placed(0)]);
}

#[test]
fn only_refusals_that_another_epoch_might_see_otherwise_ask_for_an_epoch_check() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);
    leader.written(1, 1);
    let mut ask = |batches| {
        let request = leader.request(1, 1, batches);
        has_final_refusal(&leader.ask(&request).unwrap())
    };

    assert!(!ask(vec![from(5, 0, 1)]));
    assert!(ask(vec![from(5, 0, 1), from(5, 8, 1)]));
}

#[test]
fn probes_for_deferred_batches_are_spaced_out() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);
    leader.reserve(2, 0, vec![from(5, 1, 1)]);
    leader.take_effects();

    leader.reserve(2, 0, vec![from(5, 1, 1)]);
    assert_eq!(leader.take_effects(), [], "one look at a time");
    leader.probed(1, 0, Probe::Missing);
    leader.reserve(2, 0, vec![from(5, 1, 1)]);
    assert_eq!(
        leader.take_effects(),
        [],
        "a missing segment proves nothing"
    );
    leader.wait(50);
    assert_eq!(leader.take_effects(), [Effect::Probe(segment(1, 0))]);
    leader.probed(1, 0, Probe::Missing);
    leader.wait(2_950);
    assert_eq!(leader.take_effects(), [Effect::Probe(segment(1, 0))]);
    leader.probed(1, 0, Probe::Missing);
    assert_eq!(
        leader.take_effects(),
        [Effect::Seal(session(1), ChainIndex::ZERO)]
    );
}

#[test]
fn the_producers_of_a_partition_are_told_from_committed_batches_checkpointed_or_not() {
    let mut leader = Leader::new();
    let stamped = |batch: ReservationSummary, millis| ReservationSummary {
        max_timestamp: Timestamp::from_millis(millis),
        ..batch
    };
    let key = ReservationSummary {
        producer: from(5, 0, 1).producer.map(|span| ProducerSpan {
            producer_id: ProducerId::from_key_hash([1; 8]),
            ..span
        }),
        ..from(5, 0, 1)
    };
    leader.reserve(1, 0, vec![stamped(under_epoch(3, 5, 0, 10), 100), key]);
    leader.reserve(1, 1, vec![stamped(from(6, LAST, 1), 200)]);
    leader.written(1, 2);
    let told = |leader: &Leader| leader.sequencer.active_producers(&leader.state, at(0));

    let before = told(&leader);
    leader.checkpoint();
    let checkpointed = told(&leader);
    leader.reserve(1, 2, vec![stamped(under_epoch(4, 5, 0, 2), 300)]);
    let undecided = told(&leader);
    leader.written(1, 3);
    let after = told(&leader);

    let rows = |producers: &[ActiveProducer]| -> Vec<_> {
        let row = |one: &ActiveProducer| {
            let who = (one.producer_id.to_wire(), one.producer_epoch.to_wire());
            (
                who,
                one.last_sequence,
                one.last_timestamp.map(Timestamp::millis),
            )
        };
        producers.iter().map(row).collect()
    };
    let six = ((6, 0), LAST, Some(200));
    assert_eq!(rows(&before), [((5, 3), 9, Some(100)), six]);
    assert_eq!(before, checkpointed);
    assert_eq!(before, undecided);
    assert_eq!(rows(&after), [((5, 4), 1, Some(300)), six]);
    assert_eq!(leader.sequencer.active_producers(&leader.state, at(1)), []);
}
