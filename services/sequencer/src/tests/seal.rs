//! Claims about ends: C2, H3, Q1, Q2, W7.

use esker_metadata_api::SessionEnd;
use esker_types::{ChainIndex, SequencerEpoch};

use super::harness::*;
use crate::limits::SESSIONS_OPEN_MAX;
use crate::{Effect, EndAnswer, LogCommand, Probe, RegisterError};

fn seal(name: u8, index: u64) -> Effect {
    Effect::Seal(session(name), ChainIndex::new(index))
}

fn ended(name: u8, end: u64) -> Effect {
    let end = ChainIndex::new(end);
    Effect::Ended(session(name), SessionEnd { end })
}

#[test]
fn a_segment_undecided_for_too_long_is_probed_and_its_session_sealed_when_it_is_missing() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    let due = leader.sequencer.next_tick().unwrap();

    leader.wait(2_999);
    assert_eq!(leader.take_effects(), []);
    leader.wait(1);
    assert_eq!(leader.now, due);
    assert_eq!(leader.take_effects(), [Effect::Probe(segment(1, 0))]);
    assert_eq!(leader.sequencer.next_tick(), Some(idle_at(&leader)));
    leader.probed(1, 0, Probe::Missing);

    assert_eq!(leader.take_effects(), [seal(1, 0)]);
    assert_eq!(leader.high_watermark(0), 0);
}

/// When session 2, which does nothing, is given up.
fn idle_at(leader: &Leader) -> esker_types::MonotonicTime {
    esker_types::MonotonicTime::default().after(leader.sequencer.config.session_idle_max)
}

#[test]
fn a_look_that_finds_the_segment_commits_it_and_goes_on_while_somebody_waits() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.reserve(1, 1, vec![plain(0, 1)]);
    leader.wait(3_000);
    leader.take_effects();

    leader.probed(1, 0, Probe::Segment);
    assert_eq!(leader.high_watermark(0), 1);
    leader.wait(0);

    assert!(
        leader
            .take_effects()
            .contains(&Effect::Probe(segment(1, 1)))
    );
}

#[test]
fn a_failed_look_seals_nothing_and_is_tried_again_later_and_later() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.wait(3_000);
    leader.take_effects();

    leader.probed(1, 0, Probe::Unknown);
    assert_eq!(leader.take_effects(), []);
    leader.wait(50);
    assert_eq!(leader.take_effects(), [Effect::Probe(segment(1, 0))]);
    leader.probed(1, 0, Probe::Unknown);
    leader.wait(50);
    assert_eq!(leader.take_effects(), []);
    leader.wait(50);
    assert_eq!(leader.take_effects(), [Effect::Probe(segment(1, 0))]);
}

#[test]
fn a_missing_place_is_never_void_only_a_durable_end_makes_it_so() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10)]);
    leader.reserve(2, 0, vec![plain(0, 5)]);
    leader.written(2, 1);
    leader.take_effects();
    let barrier = leader.sequencer.barrier(at(0));

    leader.wait(3_000);
    leader.probed(1, 0, Probe::Missing);
    assert_eq!(leader.high_watermark(0), 0, "after a 404");
    leader.sealed_at(1, 0);
    assert_eq!(leader.high_watermark(0), 0, "after the sight of the seal");
    assert_eq!(
        leader.take_effects(),
        [
            Effect::Probe(segment(1, 0)),
            seal(1, 0),
            Effect::Append(end_command(1, 0))
        ]
    );
    assert!(!leader.sequencer.is_decided(&barrier));
    leader.apply(&end_command(1, 0));

    assert_eq!(leader.high_watermark(0), 15);
    assert!(leader.sequencer.is_decided(&barrier));
    assert_eq!(leader.take_effects().last(), Some(&ended(1, 0)));
}

#[test]
fn sealing_finds_the_lowest_place_that_is_not_a_segment() {
    let mut leader = Leader::new();
    for index in 0..3 {
        leader.reserve(1, index, vec![plain(0, 1)]);
    }

    assert_eq!(leader.end_requested(1), EndAnswer::Pending);
    leader.probed(1, 0, Probe::Segment);
    leader.probed(1, 1, Probe::Segment);
    leader.sealed_at(1, 2);
    leader.apply(&end_command(1, 2));

    let effects: Vec<_> = leader
        .take_effects()
        .into_iter()
        .filter(|effect| !matches!(effect, Effect::Advanced(_)))
        .collect();
    assert_eq!(
        effects,
        [
            seal(1, 0),
            seal(1, 1),
            seal(1, 2),
            Effect::Append(end_command(1, 2)),
            ended(1, 2)
        ]
    );
    assert_eq!(leader.high_watermark(0), 2);
    let end = ChainIndex::new(2);
    assert_eq!(
        leader.end_requested(1),
        EndAnswer::Ended(SessionEnd { end })
    );
}

#[test]
fn a_seal_above_the_first_missing_place_is_not_the_end() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.reserve(1, 1, vec![plain(0, 1)]);

    leader.probed(1, 1, Probe::Seal);

    assert_eq!(leader.take_effects(), [seal(1, 0)]);
    leader.probed(1, 0, Probe::Segment);
    leader.take_effects();
    leader.sealed_at(1, 1);
    assert_eq!(leader.take_effects(), [Effect::Append(end_command(1, 1))]);
}

#[test]
fn reports_go_on_counting_while_a_session_is_sealed() {
    let mut leader = Leader::new();
    for index in 0..3 {
        leader.reserve(1, index, vec![plain(0, 1)]);
    }
    leader.end_requested(1);
    leader.written(1, 2);
    leader.take_effects();

    leader.probed(1, 0, Probe::Segment);

    assert_eq!(leader.take_effects(), [seal(1, 2)]);
    assert_eq!(leader.high_watermark(0), 2);
}

#[test]
fn nothing_is_committed_once_a_seal_was_seen() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.end_requested(1);
    leader.sealed_at(1, 0);
    leader.take_effects();

    leader.written(1, 1);
    leader.probed(1, 0, Probe::Segment);
    leader.sealed_at(1, 0);
    leader.wait(10_000);

    assert_eq!(leader.take_effects(), []);
    assert_eq!(leader.high_watermark(0), 0);
}

#[test]
fn a_seal_that_could_not_be_put_is_tried_again() {
    let mut leader = Leader::new();
    leader.end_requested(1);
    leader.take_effects();

    leader.sequencer.seal_failed(session(1), leader.now);
    assert_eq!(leader.take_effects(), []);
    leader.wait(50);

    assert_eq!(leader.take_effects(), [seal(1, 0)]);
    leader.wait(10_000);
    assert_eq!(leader.take_effects(), [], "one try at a time");
}

#[test]
fn a_session_that_does_nothing_is_sealed_in_the_end() {
    let mut leader = Leader::new();
    leader.wait(3_599_999);
    leader.written(2, 0);
    assert_eq!(leader.take_effects(), []);

    leader.wait(1);

    assert_eq!(leader.take_effects(), [seal(1, 0)]);
}

#[test]
fn an_end_is_answered_for_known_sessions_only() {
    let mut leader = Leader::new();
    leader.end(1, 0);

    let end = ChainIndex::ZERO;
    assert_eq!(
        leader.end_requested(1),
        EndAnswer::Ended(SessionEnd { end })
    );
    assert_eq!(leader.end_requested(2), EndAnswer::Pending);
    assert_eq!(leader.end_requested(2), EndAnswer::Pending);
    assert_eq!(leader.end_requested(77), EndAnswer::Unknown);
}

#[test]
fn what_cannot_stand_in_a_chain_is_damage() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.written(1, 1);
    leader.end_requested(1);
    leader.end_requested(2);
    leader.take_effects();

    leader.probed(2, 0, Probe::Segment);
    leader.sealed_at(1, 0);

    assert_eq!(
        leader.take_effects(),
        [
            Effect::Damaged(segment(2, 0)),
            Effect::Damaged(segment(1, 0))
        ]
    );
}

#[test]
fn a_seal_on_a_checkpointed_place_means_nothing() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.end_requested(1);
    leader.written(1, 1);
    leader.checkpoint();
    leader.take_effects();

    leader.sealed_at(1, 0);

    assert_eq!(leader.take_effects(), [seal(1, 1)]);
}

#[test]
fn sessions_are_bounded() {
    let mut leader = Leader::new();
    for number in 2..SESSIONS_OPEN_MAX {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        let command = LogCommand::RegisterSession {
            session: esker_types::SessionId::from_bytes(id),
            epoch: SequencerEpoch::new(1),
        };
        leader.apply(&command);
    }

    assert_eq!(
        leader.sequencer.register(session(3)),
        Err(RegisterError::TooManySessions)
    );
    leader.end(1, 0);
    assert!(leader.sequencer.register(session(3)).is_ok());
}

#[test]
fn results_for_sessions_that_are_gone_mean_nothing() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.end(1, 0);
    leader.take_effects();

    for probe in [Probe::Missing, Probe::Segment, Probe::Seal, Probe::Unknown] {
        leader.probed(1, 0, probe);
    }
    leader.sequencer.seal_failed(session(1), leader.now);

    assert_eq!(leader.take_effects(), []);
}
