//! Claims about checkpoints: K1, K2, CP16.

use std::collections::BTreeMap;

use super::harness::*;
use crate::LogCommand;
use crate::limits::{CHECKPOINT_BYTES_MAX, LOG_COMMAND_BYTES_MAX};

fn segments(command: &LogCommand) -> Vec<(u8, u64)> {
    let LogCommand::Checkpoint { segments } = command else {
        panic!("not a checkpoint");
    };
    let place = |footer: &esker_segment::SegmentFooter| {
        let id = footer.segment;
        (id.session.bytes()[0], id.index.get())
    };
    segments.iter().map(place).collect()
}

#[test]
fn whole_segments_go_in_the_order_of_their_numbers_once_each() {
    let mut leader = Leader::new();
    for index in 0..3 {
        leader.reserve(1, index, vec![plain(0, 1)]);
        leader.reserve(2, index, vec![plain(1, 1)]);
    }
    leader.written(2, 2);
    leader.written(1, 1);

    let first = leader.sequencer.checkpoint().unwrap();
    leader.written(1, 2);
    let second = leader.sequencer.checkpoint().unwrap();

    assert_eq!(segments(&first), [(2, 0), (2, 1), (1, 0)]);
    assert_eq!(segments(&second), [(1, 1)]);
    assert_eq!(leader.sequencer.checkpoint(), None);
    leader.apply(&first);
    leader.apply(&second);
    assert_eq!(leader.state.extent_count(), 4);
}

#[test]
fn the_lag_counts_what_is_not_durable_and_what_waits() {
    let mut leader = Leader::new();
    leader.reserve(1, 0, vec![plain(0, 1)]);
    leader.written(1, 1);
    let lag = |leader: &Leader| {
        let lag = leader.sequencer.checkpoint_lag();
        (lag.segments, lag.segments_waiting)
    };

    assert_eq!(lag(&leader), (1, 1));
    let command = leader.sequencer.checkpoint().unwrap();
    assert_eq!(lag(&leader), (1, 0));
    leader.apply(&command);

    assert_eq!(lag(&leader), (0, 0));
    assert_eq!(leader.sequencer.checkpoint_lag().bytes, 0);
    assert_eq!(leader.sequencer.checkpoint_lag().bytes_waiting, 0);
}

#[test]
fn a_checkpoint_is_bounded_and_its_largest_form_fits_a_command() {
    let mut leader = Leader::new();
    let many = |partitions: u32, per_partition: u32| {
        let partition = |at| (0..per_partition).map(move |_| plain(at, 1));
        (0..partitions).flat_map(partition).collect::<Vec<_>>()
    };
    leader.reserve(1, 0, many(28, 8));
    leader.reserve(1, 1, many(28, 8));
    leader.reserve(1, 2, many(28, 8));
    leader.reserve(1, 3, many(1000, 16));
    leader.written(1, 4);

    let mut sizes = BTreeMap::new();
    while let Some(command) = leader.sequencer.checkpoint() {
        sizes.insert(segments(&command)[0], command.encode().len());
        leader.apply(&command);
    }

    let began: Vec<u64> = sizes.keys().map(|(_, index)| *index).collect();
    assert_eq!(began, [0, 2, 3], "two fit one, the largest stands alone");
    assert!(sizes.values().all(|bytes| *bytes <= LOG_COMMAND_BYTES_MAX));
    let bounded = sizes.range(..(1, 3)).map(|(_, bytes)| *bytes);
    assert!(bounded.max() <= Some(CHECKPOINT_BYTES_MAX));
}

#[test]
fn answers_are_the_same_before_and_after_a_checkpoint() {
    let mut leader = Leader::new();
    for index in 0..6 {
        let name = u8::try_from(index % 2).unwrap() + 1;
        leader.reserve(name, index / 2, vec![plain(0, 2)]);
        leader.written(name, index / 2 + 1);
    }
    let before = leader.look_up(0, 5);

    leader.checkpoint();

    assert_eq!(leader.look_up(0, 5), before);
    assert_eq!(spans(&before), [(4, 6), (6, 8), (8, 10), (10, 12)]);
}
