//! Claims about take-over: steps 2 to 5, CP1, CP2, CP6, CP11, I5.

use esker_metadata_api::{BatchVerdict, ProduceRefusal};
use esker_segment::SegmentFooter;
use esker_types::{ChainIndex, SequencerEpoch, TopicId};

use super::harness::*;
use crate::{
    LogCommand, LogState, RecoverError, RegisterError, Sequencer, SequencerConfig, SessionToWalk,
    WalkedSession,
};

fn to_walk(name: u8, from: u64, end: Option<u64>) -> SessionToWalk {
    SessionToWalk {
        session: session(name),
        from: ChainIndex::new(from),
        end: end.map(ChainIndex::new),
    }
}

fn recover(leader: &Leader, walked: Vec<WalkedSession>) -> Result<crate::Recovered, RecoverError> {
    Sequencer::recover(
        SequencerEpoch::new(2),
        SequencerConfig::default(),
        &leader.state,
        &exists,
        walked,
    )
}

#[test]
fn chains_are_read_from_what_is_checkpointed_and_up_to_a_durable_end() {
    let mut leader = Leader::new();
    leader.register(3);
    for name in [1, 2, 3] {
        leader.reserve(name, 0, vec![plain(0, 1)]);
        leader.written(name, 1);
    }
    leader.checkpoint();
    leader.reserve(2, 1, vec![plain(0, 1)]);
    leader.written(2, 2);
    leader.end(2, 2);
    leader.end(3, 1);

    let sessions = leader.state.sessions_to_walk();

    assert_eq!(sessions, [to_walk(1, 1, None), to_walk(2, 1, Some(2))]);
}

#[test]
fn a_new_sequencer_finds_what_was_written_and_goes_on_behind_it() {
    let mut old = Leader::new();
    old.reserve(1, 0, vec![plain(0, 10)]);
    old.reserve(2, 0, vec![plain(0, 5)]);
    old.reserve(1, 1, vec![plain(0, 10)]);

    // Session 2's only segment was never written.
    let found = vec![
        walked(
            1,
            vec![
                footer(segment(1, 0), 1, &[(0, 0, 10)]),
                footer(segment(1, 1), 1, &[(0, 15, 10)]),
            ],
            2,
        ),
        walked(2, Vec::new(), 0),
    ];
    let mut leader = Leader::over(old.state, 2, found);
    leader.register(3);

    assert_eq!(leader.high_watermark(0), 25);
    assert_eq!(leader.visible(0), [(0, 10), (15, 25)]);
    assert_eq!(leader.reserve(3, 0, vec![plain(0, 1)]), [placed(25)]);
    assert_eq!(leader.state.sessions_to_walk(), [to_walk(3, 0, None)]);
}

#[test]
fn a_range_void_at_the_end_of_the_log_is_given_out_again() {
    let mut old = Leader::new();
    old.reserve(1, 0, vec![plain(0, 10)]);
    old.reserve(2, 0, vec![plain(0, 5)]);

    let found = vec![
        walked(1, vec![footer(segment(1, 0), 1, &[(0, 0, 10)])], 1),
        walked(2, Vec::new(), 0),
    ];
    let mut leader = Leader::over(old.state, 2, found);
    leader.register(3);

    assert_eq!(leader.high_watermark(0), 10);
    assert_eq!(leader.reserve(3, 0, vec![plain(0, 1)]), [placed(10)]);
}

#[test]
fn a_log_start_above_all_batches_is_where_the_log_goes_on() {
    let mut old = Leader::new();
    old.reserve(1, 0, vec![plain(0, 10)]);
    old.written(1, 1);
    let command = old
        .sequencer
        .move_log_start(&old.state, at(0), offset(10))
        .unwrap();
    old.apply(&command);

    let found = vec![
        walked(1, vec![footer(segment(1, 0), 1, &[(0, 0, 10)])], 1),
        walked(2, Vec::new(), 0),
    ];
    let mut leader = Leader::over(old.state, 2, found);
    let beyond = LogCommand::MoveLogStart {
        topic_partition: at(1),
        log_start: offset(7),
    };
    leader.state.apply(&beyond, &exists).unwrap();
    let mut leader = Leader::over(leader.state, 3, Vec::new());
    leader.register(3);

    assert_eq!(leader.high_watermark(0), 10);
    assert_eq!(leader.visible(0), []);
    assert_eq!(leader.high_watermark(1), 7);
    assert!(matches!(
        leader.reserve(3, 0, vec![plain(1, 1)])[..],
        [BatchVerdict::Placed { base_offset, .. }] if base_offset == offset(7)
    ));
}

#[test]
fn nothing_is_registered_or_reserved_before_all_ends_and_the_checkpoint_are_durable() {
    let old = Leader::new();
    let chain = vec![footer(segment(1, 0), 1, &[(0, 0, 10)])];
    let found = vec![walked(1, chain, 1), walked(2, Vec::new(), 0)];

    let (mut leader, commands) = Leader::recovering(old.state, 2, found);

    assert_eq!(commands.len(), 3);
    for command in &commands {
        assert!(!leader.sequencer.is_serving());
        assert_eq!(
            leader.sequencer.register(session(3)),
            Err(RegisterError::Recovering)
        );
        leader.apply(command);
    }
    assert!(leader.sequencer.is_serving());
    assert!(leader.sequencer.register(session(3)).is_ok());
}

#[test]
fn a_take_over_that_breaks_off_half_way_is_done_again() {
    let old = Leader::new();
    let chain = || vec![footer(segment(1, 0), 1, &[(0, 0, 10)])];
    let found = vec![walked(1, chain(), 1), walked(2, Vec::new(), 0)];
    let (mut half, commands) = Leader::recovering(old.state, 2, found);

    half.apply(&commands[0]);
    assert_eq!(half.state.sessions_to_walk().len(), 2);
    half.apply(&commands[1]);
    assert_eq!(half.state.sessions_to_walk(), [to_walk(1, 0, Some(1))]);
    let leader = Leader::over(half.state, 3, vec![walked(1, chain(), 1)]);

    assert_eq!(leader.visible(0), [(0, 10)]);
    assert_eq!(leader.state.sessions_to_walk(), []);
}

#[test]
fn producers_are_known_again_from_index_and_chains_whatever_the_order_of_sessions() {
    let mut old = Leader::new();
    old.reserve(2, 0, vec![from(5, 0, 1)]);
    old.written(2, 1);
    old.reserve(1, 0, vec![from(5, 1, 1), from(5, 2, 1)]);
    old.written(1, 1);

    let found = vec![
        walked(
            1,
            vec![producer_footer(
                segment(1, 0),
                1,
                5,
                &[(1, 1, 1), (2, 1, 2)],
            )],
            1,
        ),
        walked(
            2,
            vec![producer_footer(segment(2, 0), 1, 5, &[(0, 1, 0)])],
            1,
        ),
    ];
    let mut leader = Leader::over(old.state, 2, found);
    leader.register(3);
    leader.wait(30_000);

    let verdicts = leader.reserve(
        3,
        0,
        vec![from(5, 0, 1), from(5, 2, 1), from(5, 4, 1), from(5, 3, 1)],
    );

    let gap = refused(ProduceRefusal::OutOfOrderSequence);
    assert_eq!(verdicts, [duplicate(0), duplicate(2), gap, placed(3)]);
}

#[test]
fn just_after_a_take_over_a_gap_is_laid_to_the_sessions_that_it_ended() {
    let old = Leader::new();
    let known = producer_footer(segment(1, 0), 1, 5, &[(0, 1, 0)]);
    let found = vec![walked(1, vec![known], 1), walked(2, Vec::new(), 0)];
    let mut leader = Leader::over(old.state, 2, found);
    leader.register(3);
    // Producer 5 lost sequence 1 and producer 6 its first batch in session 2, or they never sent
    // them.
    let early = vec![from(5, 2, 1), from(6, 1, 1)];

    let now = leader.reserve(3, 0, early.clone());
    let begun = leader.reserve(3, 0, vec![from(7, 0, 1)]);
    leader.wait(30_000);
    let later = leader.reserve(3, 1, early);

    let behind = refused(ProduceRefusal::PredecessorVoid);
    assert_eq!(now, [behind, behind]);
    assert_eq!(begun, [placed(1)]);
    let gap = refused(ProduceRefusal::OutOfOrderSequence);
    assert_eq!(later, [gap, placed(2)]);
}

/// Seed 2858 of the step simulation: the first take-over ended the session in which a producer's
/// first batch was, the second followed before the producer's next batch came.
#[test]
fn a_take_over_that_ends_no_session_follows_one_that_may_have() {
    let old = Leader::new();
    let found = vec![walked(1, Vec::new(), 0), walked(2, Vec::new(), 0)];
    let between = Leader::over(old.state, 2, found);
    let mut leader = Leader::over(between.state, 3, Vec::new());
    leader.wait(60_000);
    leader.register(3);

    let now = leader.reserve(3, 0, vec![from(5, 2, 1)]);
    leader.wait(30_000);
    let later = leader.reserve(3, 0, vec![from(5, 2, 1)]);

    assert_eq!(now, [refused(ProduceRefusal::PredecessorVoid)]);
    assert_eq!(later, [placed(0)]);
}

#[test]
fn a_topic_unknown_to_the_catalogue_is_skipped() {
    let old = Leader::new();
    let mut chain = footer(segment(1, 0), 1, &[(0, 0, 10), (1, 0, 5)]);
    chain.batches[1].topic_partition.topic = TopicId::from_bytes([9; 16]);

    let found = vec![walked(1, vec![chain], 1), walked(2, Vec::new(), 0)];
    let leader = Leader::over(old.state, 2, found);

    assert_eq!(leader.visible(0), [(0, 10)]);
    assert_eq!(leader.state.extent_count(), 1);
    let mut unknown = at(1);
    unknown.topic = TopicId::from_bytes([9; 16]);
    let end = leader.sequencer.high_watermark(&leader.state, unknown);
    assert_eq!(end, offset(0), "nothing is kept of it");
}

#[test]
fn a_session_left_out_or_walked_without_need_is_an_error() {
    let mut leader = Leader::new();
    leader.end(2, 0);
    let session = session(1);

    assert_eq!(
        recover(&leader, Vec::new()).err(),
        Some(RecoverError::NotWalked { session })
    );
    for name in [1, 2, 3] {
        let twice = vec![walked(1, Vec::new(), 0), walked(name, Vec::new(), 0)];
        assert!(matches!(
            recover(&leader, twice).err(),
            Some(RecoverError::NotWanted { .. })
        ));
    }
}

#[test]
fn a_chain_that_does_not_fit_is_damage() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.written(1, 1);
    leader.end(1, 1);
    leader.end(2, 0);
    let with =
        |segments: Vec<SegmentFooter>, end| recover(&leader, vec![walked(1, segments, end)]).err();
    let good = footer(segment(1, 0), 1, &[(0, 0, 1)]);

    assert_eq!(with(vec![good.clone()], 1), None);
    let beyond = footer(segment(1, 1), 1, &[(0, 1, 1)]);
    for (segments, end) in [
        (Vec::new(), 0),
        (Vec::new(), 1),
        (vec![good, beyond.clone()], 2),
    ] {
        assert!(matches!(
            with(segments, end),
            Some(RecoverError::Chain { .. })
        ));
    }
    let zombie = footer(segment(1, 0), 2, &[(0, 0, 1)]);
    for other in [beyond, zombie] {
        assert_eq!(
            with(vec![other], 1),
            Some(RecoverError::Footer {
                segment: segment(1, 0)
            })
        );
    }
}

#[test]
fn two_contents_of_one_offset_are_damage() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10)]);
    leader.written(1, 1);
    leader.checkpoint();
    let in_index = vec![
        walked(1, vec![footer(segment(1, 1), 1, &[(0, 9, 3)])], 2),
        walked(2, Vec::new(), 0),
    ];
    let in_chains = vec![
        walked(1, vec![footer(segment(1, 1), 1, &[(0, 10, 3)])], 2),
        walked(2, vec![footer(segment(2, 0), 1, &[(0, 12, 3)])], 1),
    ];

    for found in [in_index, in_chains] {
        assert!(matches!(
            recover(&leader, found).err(),
            Some(RecoverError::OffsetTaken { .. })
        ));
    }
}

#[test]
fn a_session_of_this_epoch_or_a_later_one_is_damage() {
    let mut state = LogState::empty();
    let command = LogCommand::RegisterSession {
        session: session(1),
        epoch: SequencerEpoch::new(2),
    };
    state.apply(&command, &exists).unwrap();
    let leader = Leader {
        state,
        ..Leader::new()
    };

    let refused = recover(&leader, vec![walked(1, Vec::new(), 0)]).err();

    assert_eq!(
        refused,
        Some(RecoverError::Epoch {
            session: session(1),
            epoch: SequencerEpoch::new(2)
        })
    );
}
