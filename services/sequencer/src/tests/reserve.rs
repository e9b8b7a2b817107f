//! Claims about reservations: W3, W4 and their limits.

use esker_metadata_api::{ProduceRefusal, ReserveError};
use esker_types::limits::{OFFSET_MAX, SEGMENT_BYTES_MAX};
use esker_types::{ChainIndex, PartitionIndex, SequencerEpoch, TopicId};

use super::harness::*;
use crate::limits::{
    CHECKPOINT_LAG_BYTES_MAX, CHECKPOINT_LAG_SEGMENTS_MAX, UNDECIDED_BATCHES_MAX,
    UNDECIDED_SEGMENTS_MAX,
};
use crate::{Effect, LogCommand, LogState};

#[test]
fn offsets_of_a_partition_follow_one_another_over_all_sessions() {
    let mut leader = Leader::new();

    let first = leader.reserve(1, 0, vec![plain(0, 3), plain(0, 2), plain(1, 1)]);
    let second = leader.reserve(2, 0, vec![plain(0, 4)]);
    let third = leader.reserve(1, 1, vec![plain(1, 1), plain(0, 1)]);

    assert_eq!(first, [placed(0), placed(3), placed(0)]);
    assert_eq!(second, [placed(5)]);
    assert_eq!(third, [placed(1), placed(9)]);
}

#[test]
fn a_retried_reservation_gets_the_same_offsets_and_takes_no_others() {
    let mut leader = Leader::new();
    let first = leader.reserve(1, 0, vec![plain(0, 3)]);

    let again = leader.reserve(1, 0, vec![plain(0, 3)]);

    assert_eq!(again, first);
    assert_eq!(leader.reserve(2, 0, vec![plain(0, 1)]), [placed(3)]);
}

#[test]
fn another_summary_for_a_number_given_out_ends_the_session() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 3)]);

    let other = leader.try_reserve(1, 0, vec![plain(0, 4)]);

    assert_eq!(other, Err(ReserveError::OutOfTurn));
    assert_eq!(
        leader.take_effects(),
        [Effect::Seal(session(1), ChainIndex::ZERO)]
    );
    assert_eq!(
        leader.try_reserve(1, 0, vec![plain(0, 3)]),
        Err(ReserveError::SessionClosed)
    );
}

#[test]
fn a_skipped_number_ends_the_session() {
    let mut leader = Leader::new();

    let skipped = leader.try_reserve(1, 1, vec![plain(0, 3)]);

    assert_eq!(skipped, Err(ReserveError::OutOfTurn));
    assert_eq!(
        leader.take_effects(),
        [Effect::Seal(session(1), ChainIndex::ZERO)]
    );
}

#[test]
fn a_late_copy_of_a_decided_reservation_changes_nothing() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 3)]);
    leader.written(1, 1);
    leader.take_effects();

    let late = leader.try_reserve(1, 0, vec![plain(0, 3)]);

    assert_eq!(late, Err(ReserveError::OutOfTurn));
    assert_eq!(leader.take_effects(), []);
    assert_eq!(leader.reserve(1, 1, vec![plain(0, 1)]), [placed(3)]);
}

#[test]
fn a_session_is_refused_before_its_registration_is_durable_and_from_its_sealing_on() {
    let mut leader = Leader::new();
    let registration = leader.sequencer.register(session(3)).unwrap();
    let closed = Err(ReserveError::SessionClosed);

    assert_eq!(leader.try_reserve(3, 0, vec![plain(0, 1)]), closed);
    leader.apply(&registration);
    assert!(leader.try_reserve(3, 0, vec![plain(0, 1)]).is_ok());
    leader.end_requested(3);
    assert_eq!(leader.try_reserve(3, 1, vec![plain(0, 1)]), closed);
    leader.sealed_at(3, 0);
    assert_eq!(leader.try_reserve(3, 1, vec![plain(0, 1)]), closed);
    leader.apply(&end_command(3, 0));
    assert_eq!(leader.try_reserve(3, 0, vec![plain(0, 1)]), closed);
}

#[test]
fn a_request_under_another_epoch_is_refused_and_its_report_not_believed() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    let mut stale = leader.request(1, 1, vec![plain(0, 1)]);
    stale.epoch = SequencerEpoch::new(2);
    stale.written = ChainIndex::new(1);

    let answer = leader.ask(&stale);

    assert_eq!(answer, Err(ReserveError::SessionClosed));
    assert_eq!(leader.high_watermark(0), 0);
}

#[test]
fn a_number_without_placed_batches_is_used_again() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);

    let deferred = leader.reserve(2, 0, vec![from(5, 1, 1)]);
    let next = leader.reserve(2, 0, vec![plain(1, 1)]);

    assert_eq!(deferred, [esker_metadata_api::BatchVerdict::Deferred]);
    assert_eq!(next, [placed(0)]);
}

#[test]
fn an_unknown_partition_is_refused_alone() {
    let mut leader = Leader::new();
    let mut unknown = plain(0, 1);
    unknown.topic_partition.topic = TopicId::from_bytes([9; 16]);
    let mut past = plain(0, 1);
    past.topic_partition.partition = PartitionIndex::new(2000).unwrap();

    let verdicts = leader.reserve(1, 0, vec![unknown, past, plain(0, 2)]);

    let refusal = refused(ProduceRefusal::UnknownPartition);
    assert_eq!(verdicts, [refusal, refusal, placed(0)]);
}

#[test]
fn at_most_k_segments_of_a_session_are_undecided() {
    let mut leader = Leader::new();
    for index in 0..UNDECIDED_SEGMENTS_MAX {
        leader.reserve(1, u64::try_from(index).unwrap(), vec![plain(0, 1)]);
    }
    let next = u64::try_from(UNDECIDED_SEGMENTS_MAX).unwrap();

    let refused = leader.try_reserve(1, next, vec![plain(0, 1)]);
    let retried = leader.try_reserve(1, next - 1, vec![plain(0, 1)]);
    leader.written(1, 1);
    let accepted = leader.try_reserve(1, next, vec![plain(0, 1)]);

    assert_eq!(refused, Err(ReserveError::TooManyUndecided));
    assert_eq!(retried, Ok(vec![placed(next - 1)]));
    assert_eq!(accepted, Ok(vec![placed(next)]));
}

#[test]
fn reservations_wait_when_checkpoints_lag_too_far() {
    let mut leader = Leader::new();
    let lag = u64::try_from(CHECKPOINT_LAG_SEGMENTS_MAX).unwrap();
    for index in 0..lag {
        leader.reserve(1, index, vec![plain(0, 1)]);
        leader.written(1, index + 1);
    }
    leader.take_effects();

    let refused = leader.try_reserve(1, lag, vec![plain(0, 1)]);
    leader.checkpoint();
    let accepted = leader.try_reserve(1, lag, vec![plain(0, 1)]);

    assert_eq!(refused, Err(ReserveError::TooManyUndecided));
    assert_eq!(accepted, Ok(vec![placed(lag)]));
}

#[test]
fn reservations_wait_when_the_footers_to_checkpoint_grow_too_large() {
    let mut leader = Leader::new();
    let many = || vec![plain(0, 1); 16_000];
    let mut index = 0;
    while leader.sequencer.checkpoint_lag().bytes < CHECKPOINT_LAG_BYTES_MAX {
        leader.reserve(1, index, many());
        index += 1;
        leader.written(1, index);
    }

    let refused = leader.try_reserve(1, index, vec![plain(0, 1)]);
    leader.checkpoint();
    let accepted = leader.try_reserve(1, index, vec![plain(0, 1)]);

    assert_eq!(refused, Err(ReserveError::TooManyUndecided));
    assert!(accepted.is_ok());
}

#[test]
fn reservations_wait_when_too_many_batches_are_undecided() {
    let mut leader = Leader::new();
    let most = u64::try_from(UNDECIDED_BATCHES_MAX / 16_000).unwrap();
    for index in 0..most {
        leader.reserve(1, index, vec![plain(0, 1); 16_000]);
    }
    let left = UNDECIDED_BATCHES_MAX % 16_000;

    let refused = leader.try_reserve(2, 0, vec![plain(0, 1); left + 1]);
    let fits = leader.try_reserve(2, 0, vec![plain(0, 1); left]);
    let full = leader.try_reserve(2, 1, vec![plain(0, 1)]);
    leader.written(1, 1);
    let accepted = leader.try_reserve(2, 1, vec![plain(0, 1)]);
    leader.end(2, 0);

    assert_eq!(refused, Err(ReserveError::TooManyUndecided));
    assert!(fits.is_ok());
    assert_eq!(full, Err(ReserveError::TooManyUndecided));
    assert!(accepted.is_ok());
    let expected = UNDECIDED_BATCHES_MAX - left - 16_000;
    assert_eq!(leader.sequencer.undecided_batches, expected);
}

#[test]
fn batches_that_make_no_segment_end_the_session_and_take_no_offsets() {
    let mut huge = plain(0, 1);
    huge.batch_bytes = SEGMENT_BYTES_MAX;
    let scattered = vec![plain(0, 1), plain(1, 1), plain(0, 1)];

    for batches in [vec![plain(0, 0)], vec![huge], scattered] {
        let mut leader = Leader::new();
        let refused = leader.try_reserve(1, 0, batches);
        assert_eq!(refused, Err(ReserveError::OutOfTurn));
        assert_eq!(leader.reserve(2, 0, vec![plain(0, 1)]), [placed(0)]);
    }
}

#[test]
fn batches_lie_back_to_back_from_byte_64_and_leave_out_what_got_no_place() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1)]);
    leader.written(1, 1);
    let mut second = plain(1, 2);
    second.batch_bytes = 70;
    leader.take_effects();

    let verdicts = leader.reserve(
        1,
        1,
        vec![from(5, 0, 1), from(5, 1, 1), plain(0, 1), second],
    );
    leader.written(1, 2);

    assert_eq!(verdicts, [duplicate(0), placed(1), placed(2), placed(0)]);
    let ranges: Vec<_> = leader
        .take_advances()
        .iter()
        .flat_map(|advance| advance.extents.clone())
        .map(|extent| (extent.segment, extent.range.start(), extent.range.end()))
        .collect();
    assert_eq!(
        ranges,
        [(segment(1, 1), 64, 264), (segment(1, 1), 264, 334)]
    );
}

#[test]
fn a_partition_without_offsets_left_refuses_the_batch_alone() {
    let mut state = LogState::empty();
    let register = LogCommand::RegisterSession {
        session: session(9),
        epoch: SequencerEpoch::new(1),
    };
    let last = footer(segment(9, 0), 1, &[(0, OFFSET_MAX - 2, 1)]);
    let checkpoint = LogCommand::Checkpoint {
        segments: vec![last],
    };
    for command in [register, checkpoint, end_command(9, 1)] {
        state.apply(&command, &exists).unwrap();
    }
    let mut leader = Leader::over(state, 2, Vec::new());
    leader.register(1);

    let verdicts = leader.reserve(1, 0, vec![plain(0, 2), plain(0, 1), plain(1, 1)]);

    let exhausted = refused(ProduceRefusal::OffsetsExhausted);
    assert_eq!(verdicts, [exhausted, placed(OFFSET_MAX - 1), placed(0)]);
}

#[test]
fn a_refused_reservation_changes_nothing() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 2)]);
    leader.written(1, 1);
    leader.take_effects();

    let verdicts = leader.reserve(1, 1, vec![from(5, 7, 1)]);

    assert_eq!(verdicts, [refused(ProduceRefusal::OutOfOrderSequence)]);
    assert_eq!(leader.sequencer.figures().undecided_segments, 0);
    assert_eq!(leader.reserve(2, 0, vec![from(5, 2, 1)]), [placed(2)]);
}
