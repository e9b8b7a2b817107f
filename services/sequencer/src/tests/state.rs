//! Claims about the durable state: what a command may do, and what stays.

use esker_types::{ChainIndex, SequencerEpoch, SessionId};

use super::harness::*;
use crate::limits::{PRODUCERS_PER_PARTITION_MAX, SESSIONS_SETTLED_MAX};
use crate::{ApplyError, LogCommand, LogState};

pub(super) fn register(name: u8) -> LogCommand {
    LogCommand::RegisterSession {
        session: session(name),
        epoch: SequencerEpoch::new(1),
    }
}

pub(super) fn state_with(commands: &[LogCommand]) -> LogState {
    let mut state = LogState::empty();
    for command in commands {
        state.apply(command, &exists).unwrap();
    }
    state
}

pub(super) fn checkpoint(segments: Vec<esker_segment::SegmentFooter>) -> LogCommand {
    LogCommand::Checkpoint { segments }
}

#[test]
fn a_command_that_does_not_fit_changes_nothing() {
    let first = footer(segment(1, 0), 1, &[(0, 0, 10)]);
    let state = state_with(&[
        register(1),
        register(2),
        checkpoint(vec![first.clone()]),
        end_command(2, 0),
    ]);
    let taken = footer(segment(1, 1), 1, &[(1, 0, 1), (0, 5, 10)]);
    let ended = footer(segment(2, 0), 1, &[(0, 10, 1)]);
    let alien = footer(segment(1, 1), 3, &[(0, 10, 1)]);
    let unknown = footer(segment(7, 0), 1, &[(0, 10, 1)]);
    let good = footer(segment(1, 1), 1, &[(0, 10, 5)]);
    let overlapping = footer(segment(1, 2), 1, &[(0, 14, 1)]);
    let skipped = footer(segment(1, 2), 1, &[(0, 10, 1)]);

    let session_unknown = ApplyError::SessionUnknown {
        session: session(7),
    };
    let end_refused = |name, end| ApplyError::SessionEnd {
        session: session(name),
        end: ChainIndex::new(end),
    };
    let not_its_turn = |segment, expected| ApplyError::SegmentTurn {
        segment,
        expected: ChainIndex::new(expected),
    };
    let offset_taken = |segment, base_offset| ApplyError::OffsetTaken {
        segment,
        base_offset: offset(base_offset),
    };
    let session_exists = ApplyError::SessionExists {
        session: session(1),
    };
    let segment_epoch = ApplyError::SegmentEpoch {
        segment: segment(1, 1),
        epoch: SequencerEpoch::new(3),
    };

    for (command, expected) in [
        (register(1), session_exists),
        (end_command(7, 0), session_unknown),
        (end_command(1, 0), end_refused(1, 0)),
        (end_command(2, 1), end_refused(2, 1)),
        (checkpoint(vec![first]), not_its_turn(segment(1, 0), 1)),
        (checkpoint(vec![skipped]), not_its_turn(segment(1, 2), 1)),
        (checkpoint(vec![ended]), not_its_turn(segment(2, 0), 0)),
        (checkpoint(vec![alien]), segment_epoch),
        (checkpoint(vec![unknown]), session_unknown),
        (checkpoint(vec![taken]), offset_taken(segment(1, 1), 5)),
        (
            checkpoint(vec![good, overlapping]),
            offset_taken(segment(1, 2), 14),
        ),
    ] {
        let mut after = state.clone();

        assert_eq!(after.apply(&command, &exists), Err(expected));
        assert_eq!(after, state);
    }
}

#[test]
fn an_end_told_twice_is_one_end() {
    let mut state = state_with(&[register(1), end_command(1, 3)]);

    assert_eq!(state.apply(&end_command(1, 3), &exists), Ok(()));
    assert_eq!(
        state.session(session(1)).unwrap().end,
        Some(ChainIndex::new(3))
    );
}

#[test]
fn sessions_are_forgotten_only_when_ended_and_checkpointed_the_oldest_first() {
    let mut state = state_with(&[register(1), register(2), end_command(2, 1)]);
    let id = |number: usize| {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        SessionId::from_bytes(id)
    };
    for number in 0..=SESSIONS_SETTLED_MAX {
        let session = id(number);
        let epoch = SequencerEpoch::new(1);
        let end = ChainIndex::ZERO;
        let commands = [
            LogCommand::RegisterSession { session, epoch },
            LogCommand::EndSession { session, end },
        ];
        for command in commands {
            state.apply(&command, &exists).unwrap();
        }
    }

    assert_eq!(state.session(id(0)), None);
    assert!(state.session(id(1)).is_some());
    assert!(state.session(session(1)).is_some(), "not ended");
    assert!(state.session(session(2)).is_some(), "not checkpointed");
    assert_eq!(state.sessions_to_walk().len(), 2);
    let stray = LogCommand::Checkpoint {
        segments: vec![footer(
            esker_types::SegmentId {
                session: id(0),
                index: ChainIndex::ZERO,
            },
            1,
            &[(0, 0, 1)],
        )],
    };
    assert!(state.apply(&stray, &exists).is_err(), "a stray segment");
}

#[test]
fn producers_that_wrote_longest_ago_are_forgotten_first() {
    let mut state = state_with(&[register(1)]);
    let producers = u64::try_from(PRODUCERS_PER_PARTITION_MAX).unwrap() + 1;
    for number in 0..producers {
        let producer = i64::try_from(producers - number).unwrap();
        let batch = producer_footer(segment(1, number), 1, producer, &[(number, 1, 0)]);
        state.apply(&checkpoint(vec![batch]), &exists).unwrap();
    }
    let mut leader = Leader::over(state, 2, vec![walked(1, Vec::new(), producers)]);
    leader.register(2);
    leader.wait(30_000);
    let last = i64::try_from(producers).unwrap();

    let verdicts = leader.reserve(2, 0, vec![from(last - 1, 0, 1), from(last, 9, 1)]);

    assert_eq!(verdicts, [duplicate(1), placed(producers)]);
}

#[test]
fn entries_of_a_dropped_topic_go() {
    let state = state_with(&[
        register(1),
        checkpoint(vec![footer(segment(1, 0), 1, &[(0, 0, 10), (1, 0, 1)])]),
        LogCommand::DropTopic { topic: at(0).topic },
    ]);

    assert_eq!(state.extent_count(), 0);
}

#[test]
fn adopted_segments_make_the_index_of_their_checkpoints_in_any_order() {
    let one = footer(segment(1, 0), 1, &[(0, 0, 10)]);
    let other = footer(segment(2, 0), 1, &[(0, 10, 5), (1, 0, 1)]);
    let known = state_with(&[
        register(1),
        register(2),
        checkpoint(vec![one.clone(), other.clone()]),
    ]);

    let mut adopted = LogState::empty();
    adopted
        .adopt(std::slice::from_ref(&other), &exists)
        .unwrap();
    adopted.adopt(std::slice::from_ref(&one), &exists).unwrap();
    let again = adopted.adopt(std::slice::from_ref(&one), &exists);

    assert_eq!(adopted.partitions, known.partitions);
    assert!(matches!(again, Err(ApplyError::OffsetTaken { .. })));
    assert_eq!(
        adopted.partitions, known.partitions,
        "a refusal changes nothing"
    );
    let view = adopted.view(at(0)).unwrap();
    assert_eq!((view.log_start().get(), view.end().get()), (0, 15));
    assert_eq!(view.extent_at(offset(10)).unwrap().segment, other.segment);
    assert!(view.extent_at(offset(9)).is_none() && view.remembers_all());
    assert_eq!(adopted.partitions().count(), 2);
    assert_eq!(known.sessions().count(), 2);
    let (epoch, end) = (SequencerEpoch::new(1), ChainIndex::new(1));
    adopted.settle(session(1), epoch, end).unwrap();
    assert!(adopted.session(session(1)).unwrap().is_settled());
    let session_exists = ApplyError::SessionExists {
        session: session(1),
    };
    assert_eq!(adopted.settle(session(1), epoch, end), Err(session_exists));
    for name in 1..u32::try_from(SESSIONS_SETTLED_MAX).unwrap() {
        assert!(adopted.remembers_all_sessions());
        let mut id = [0xff; 16];
        id[..4].copy_from_slice(&name.to_be_bytes());
        adopted
            .settle(SessionId::from_bytes(id), epoch, end)
            .unwrap();
    }
    assert!(!adopted.remembers_all_sessions());
}
