//! Claims about commitment and the high watermark: C1, H1, H2, CP3, CP7, and dropped topics.

use esker_metadata_api::{PartitionAdvance, WrittenReport};
use esker_types::{ChainIndex, Offset, SequencerEpoch};

use super::harness::*;
use crate::{Effect, LogCommand, Probe};

#[test]
fn a_reserved_range_is_not_visible() {
    let mut leader = Leader::new();

    leader.reserve(1, 0, vec![plain(0, 10)]);

    assert_eq!(leader.high_watermark(0), 0);
    assert_eq!(leader.visible(0), []);
    assert_eq!(leader.take_effects(), []);
}

#[test]
fn a_written_segment_moves_the_high_watermark_and_tells_the_followers() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10), plain(1, 1)]);
    leader.reserve(1, 1, vec![plain(0, 5)]);

    leader.written(1, 2);

    let advances = leader.take_advances();
    let told: Vec<_> = advances
        .iter()
        .map(|advance| {
            let PartitionAdvance {
                topic_partition,
                high_watermark,
                previous_high_watermark,
                ..
            } = advance;
            (
                topic_partition.partition.get(),
                previous_high_watermark.get(),
                high_watermark.get(),
                spans(&advance.extents),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(0, 0, 15, vec![(0, 10), (10, 15)]), (1, 0, 1, vec![(0, 1)])]
    );
}

#[test]
fn a_segment_is_not_committed_before_the_one_in_front_of_it() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.reserve(1, 1, vec![plain(1, 1)]);

    leader.probed(1, 1, Probe::Segment);

    assert_eq!(leader.high_watermark(1), 0);
    leader.probed(1, 0, Probe::Segment);
    assert_eq!(leader.high_watermark(0), 1);
    assert_eq!(leader.high_watermark(1), 0);
}

#[test]
fn the_high_watermark_waits_for_every_lower_offset_to_be_decided() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10)]);
    leader.reserve(2, 0, vec![plain(0, 10)]);

    leader.written(2, 1);
    assert_eq!(leader.high_watermark(0), 0);
    assert_eq!(leader.visible(0), []);
    leader.written(1, 1);

    assert_eq!(leader.high_watermark(0), 20);
    assert_eq!(leader.visible(0), [(0, 10), (10, 20)]);
}

#[test]
fn the_high_watermark_passes_a_void_range_only_with_a_committed_one_behind_it() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10)]);
    leader.reserve(2, 0, vec![plain(0, 5)]);
    leader.reserve(1, 1, vec![plain(0, 10)]);
    leader.written(2, 1);
    leader.take_effects();

    leader.end(1, 0);

    assert_eq!(leader.high_watermark(0), 15, "not 25, a void end");
    assert_eq!(leader.visible(0), [(10, 15)]);
    let advances = leader.take_advances();
    assert_eq!(advances.len(), 1);
    assert_eq!(advances[0].previous_high_watermark, Offset::ZERO);
    assert_eq!(leader.reserve(2, 1, vec![plain(0, 1)]), [placed(25)]);
}

#[test]
fn what_was_checkpointed_above_the_high_watermark_is_told_when_it_gets_there() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10)]);
    leader.reserve(2, 0, vec![plain(0, 5)]);
    leader.written(2, 1);
    leader.checkpoint();
    assert_eq!(leader.visible(0), []);
    leader.take_effects();

    leader.written(1, 1);

    let advances = leader.take_advances();
    assert_eq!(spans(&advances[0].extents), [(0, 10), (10, 15)]);
    assert_eq!(leader.visible(0), [(0, 10), (10, 15)]);
}

#[test]
fn late_lost_and_doubled_reports_change_nothing() {
    let mut leader = Leader::new();
    for index in 0..3 {
        leader.reserve(1, index, vec![plain(0, 1)]);
    }

    leader.written(1, 3);
    leader.written(1, 1);
    leader.written(1, 3);
    leader.written(7, 3);

    assert_eq!(leader.high_watermark(0), 3);
    assert_eq!(leader.reserve(1, 3, vec![plain(0, 1)]), [placed(3)]);
}

#[test]
fn a_report_under_another_epoch_is_dropped() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    let report = WrittenReport {
        session: session(1),
        epoch: SequencerEpoch::new(2),
        written: ChainIndex::new(1),
    };

    let effects = leader.sequencer.written(&leader.state, &report, leader.now);

    assert_eq!(effects, []);
    assert_eq!(leader.high_watermark(0), 0);
}

#[test]
fn a_report_of_places_that_were_never_reserved_is_not_believed() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);

    leader.written(1, 2);

    assert_eq!(leader.high_watermark(0), 0);
    assert_eq!(
        leader.take_effects(),
        [Effect::Seal(session(1), ChainIndex::ZERO)]
    );
}

#[test]
fn a_report_in_a_reservation_counts() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    let mut next = leader.request(1, 1, vec![plain(0, 1)]);
    next.written = ChainIndex::new(1);

    leader.ask(&next).unwrap();

    assert_eq!(leader.high_watermark(0), 1);
}

#[test]
fn an_answer_that_must_be_current_waits_for_what_was_undecided_when_asked() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10)]);
    leader.reserve(2, 0, vec![plain(0, 10)]);
    leader.written(2, 1);
    let barrier = leader.sequencer.barrier(at(0));
    let elsewhere = leader.sequencer.barrier(at(1));
    let before = leader.sequencer.decisions();

    assert!(!leader.sequencer.is_decided(&barrier));
    assert!(leader.sequencer.is_decided(&elsewhere));
    leader.reserve(2, 1, vec![plain(0, 1)]);
    leader.written(1, 1);

    assert!(leader.sequencer.is_decided(&barrier), "later ones may wait");
    assert_eq!(barrier.topic_partition(), at(0));
    assert!(leader.sequencer.decisions() > before);
    assert_eq!(leader.high_watermark(0), 20);
}

#[test]
fn batches_of_a_dropped_topic_are_skipped_when_their_segment_commits_or_turns_void() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![from(5, 0, 1), plain(1, 1)]);
    leader.reserve(2, 0, vec![from(6, 0, 1)]);
    let barrier = leader.sequencer.barrier(at(0));
    let drop = LogCommand::DropTopic { topic: at(0).topic };
    let gone = |_| false;

    leader.state.apply(&drop, &gone).unwrap();
    leader
        .sequencer
        .command_applied(&leader.state, &drop, leader.now);
    leader.written(1, 1);
    leader.end(2, 0);
    let checkpoint = leader.sequencer.checkpoint().unwrap();
    leader.state.apply(&checkpoint, &gone).unwrap();
    leader
        .sequencer
        .command_applied(&leader.state, &checkpoint, leader.now);

    assert!(leader.sequencer.is_decided(&barrier));
    assert_eq!(leader.take_advances(), []);
    assert_eq!((leader.high_watermark(0), leader.high_watermark(1)), (0, 0));
    assert_eq!((leader.visible(0), leader.visible(1)), (vec![], vec![]));
    assert_eq!(leader.state.extent_count(), 0);
    assert_eq!(
        leader.state.session(session(1)).unwrap().decided_upto,
        ChainIndex::new(1)
    );
}

#[test]
fn a_log_start_moves_up_to_the_high_watermark_and_drops_what_is_below() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 10)]);
    leader.reserve(1, 1, vec![plain(0, 10)]);
    leader.written(1, 1);
    leader.checkpoint();
    leader.written(1, 2);
    leader.take_effects();
    let move_to = |leader: &Leader, to| {
        leader
            .sequencer
            .move_log_start(&leader.state, at(0), offset(to))
    };

    assert_eq!(move_to(&leader, 21), None);
    let command = move_to(&leader, 15).unwrap();
    leader.apply(&command);
    let back = move_to(&leader, 3).unwrap();
    leader.apply(&back);

    let advances = leader.take_advances();
    assert_eq!(advances.len(), 2);
    assert_eq!(advances[1].log_start, offset(15));
    assert_eq!(advances[1].high_watermark, offset(20));
    assert_eq!(leader.visible(0), [(10, 20)]);
    assert_eq!(leader.state.extent_count(), 0);
    leader.checkpoint();
    assert_eq!(leader.visible(0), [(10, 20)]);
    assert_eq!(
        leader.reserve(1, 2, vec![plain(0, 1)]),
        [esker_metadata_api::BatchVerdict::Placed {
            base_offset: offset(20),
            log_start: offset(15),
        }]
    );
}

#[test]
fn figures_say_what_waits() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.reserve(1, 1, vec![plain(0, 1)]);
    leader.written(1, 1);
    leader.end_requested(2);

    let figures = leader.sequencer.figures();

    assert_eq!((figures.sessions, figures.sessions_ending), (2, 1));
    assert_eq!(figures.undecided_segments, 1);
    assert_eq!(figures.undecided_since, Some(leader.now));
    assert_eq!((figures.lag.segments, figures.lag.segments_waiting), (1, 1));
    assert_eq!(leader.sequencer.epoch(), SequencerEpoch::new(1));
}
