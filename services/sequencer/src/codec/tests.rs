//! Claims about stored bytes: golden, round trip, hostile.

use bytes::Bytes;
use esker_segment::{PlacedBatch, ProducerStamp, SegmentFooter};
use esker_types::{ProducerEpoch, ProducerId, SequencerEpoch, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::limits::{LOG_COMMAND_BYTES_MAX, SNAPSHOT_PART_BYTES_MIN};
use crate::{LogCommand, LogState};

fn session(name: u8) -> SessionId {
    SessionId::from_bytes([name; 16])
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([7; 16]),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

/// One batch in partition 3, with producer 5 under epoch 1.
fn footer(name: u8, index: u64, base_offset: u64) -> SegmentFooter {
    let producer = ProducerStamp {
        producer_id: ProducerId::from_wire(5).unwrap(),
        producer_epoch: ProducerEpoch::from_wire(1).unwrap(),
        base_sequence: i32::try_from(base_offset).unwrap(),
    };
    let batch = PlacedBatch {
        topic_partition: at(3),
        base_offset: offset(base_offset),
        record_count: 2,
        max_timestamp: Timestamp::from_millis(1000),
        producer: Some(producer),
        transactional: false,
    };
    let segment = SegmentId {
        session: session(name),
        index: ChainIndex::new(index),
    };
    SegmentFooter::lay_out(segment, SequencerEpoch::new(4), [(batch, 100, 0)]).unwrap()
}

fn register(name: u8) -> LogCommand {
    LogCommand::RegisterSession {
        session: session(name),
        epoch: SequencerEpoch::new(4),
    }
}

/// One of each kind, in the order of their codes.
fn commands() -> [LogCommand; 5] {
    [
        register(1),
        LogCommand::EndSession {
            session: session(1),
            end: ChainIndex::new(9),
        },
        LogCommand::Checkpoint {
            segments: vec![footer(1, 0, 10)],
        },
        LogCommand::DropTopic { topic: at(3).topic },
        LogCommand::MoveLogStart {
            topic_partition: at(3),
            log_start: offset(11),
        },
    ]
}

/// A state with everything in it, and so many extents that they need several records and parts.
fn state() -> LogState {
    let mut state = LogState::empty();
    let segments = (0..300).map(|index| footer(1, index, 10 + 3 * index));
    let all = [
        register(1),
        register(2),
        register(3),
        LogCommand::EndSession {
            session: session(3),
            end: ChainIndex::ZERO,
        },
        LogCommand::EndSession {
            session: session(2),
            end: ChainIndex::ZERO,
        },
        LogCommand::Checkpoint {
            segments: segments.collect(),
        },
        LogCommand::MoveLogStart {
            topic_partition: at(3),
            log_start: offset(11),
        },
    ];
    for command in &all {
        state.apply(command, &|_| true).unwrap();
    }
    state
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Commands, one a line, then the only part of a small snapshot.
#[test]
fn golden_bytes_of_commands_and_of_a_snapshot() {
    let golden = include_str!("../../../../docs/formats/metadata-log.hex");
    let mut small = LogState::empty();
    for command in &commands()[..3] {
        small.apply(command, &|_| true).unwrap();
    }

    let mut lines: Vec<String> = commands()
        .iter()
        .map(|known| hex(&known.encode()))
        .collect();
    lines.extend(
        small
            .snapshot(SNAPSHOT_PART_BYTES_MIN)
            .iter()
            .map(|part| hex(part)),
    );

    assert_eq!(lines, golden.lines().collect::<Vec<_>>());
}

#[test]
fn commands_read_back() {
    for command in commands() {
        assert_eq!(LogCommand::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn cut_or_continued_commands_are_refused() {
    for command in commands() {
        let bytes = command.encode();
        for length in 0..bytes.len() {
            assert!(LogCommand::decode(&bytes[..length]).is_err());
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(
            LogCommand::decode(&longer),
            Err(CodecError::Trailing { left_bytes: 1 })
        );
    }
}

#[test]
fn hostile_commands_are_errors() {
    let long = vec![0; LOG_COMMAND_BYTES_MAX + 1];
    let bytes = long.len();
    let mut partition = commands()[4].encode().to_vec();
    partition[18..22].fill(0xff);
    let mut log_start = commands()[4].encode().to_vec();
    log_start[22..].fill(0xff);
    let mut inside = commands()[2].encode().to_vec();
    inside[10] = 99;

    assert_eq!(LogCommand::decode(&long), Err(CodecError::Long { bytes }));
    assert!(matches!(LogCommand::decode(&[]), Err(CodecError::Short(_))));
    assert_eq!(
        LogCommand::decode(&[2, 1]),
        Err(CodecError::Version { version: 2 })
    );
    assert_eq!(
        LogCommand::decode(&[1, 9]),
        Err(CodecError::Kind { code: 9 })
    );
    assert_eq!(
        LogCommand::decode(&partition),
        Err(CodecError::Value { what: "partition" })
    );
    assert_eq!(
        LogCommand::decode(&log_start),
        Err(CodecError::Value { what: "offset" })
    );
    assert!(matches!(
        LogCommand::decode(&inside),
        Err(CodecError::Footer(_))
    ));
    assert!(matches!(
        LogCommand::decode(&[1, 3, 0xff, 0xff, 0xff, 0xff, 0]),
        Err(CodecError::Short(_))
    ));
}

#[test]
fn a_snapshot_reads_back_whatever_the_size_of_its_parts() {
    let state = state();
    for part_bytes_max in [SNAPSHOT_PART_BYTES_MIN, 20_000, 1 << 20] {
        let parts = state.snapshot(part_bytes_max);

        assert!(parts.iter().all(|part| part.len() <= part_bytes_max));
        assert_eq!(LogState::restore(&parts), Ok(state.clone()));
    }
    assert!(state.snapshot(SNAPSHOT_PART_BYTES_MIN).len() > 1);
    assert_eq!(LogState::restore(&[]), Ok(LogState::empty()));
    let empty = LogState::empty().snapshot(SNAPSHOT_PART_BYTES_MIN);
    assert_eq!(LogState::restore(&empty), Ok(LogState::empty()));
}

#[test]
fn records_of_a_snapshot_in_another_order_are_refused() {
    let parts = state().snapshot(1 << 20);
    let twice = [parts[0].clone(), parts[0].clone()];
    let orphan = Bytes::from_static(&[1, 3, 0, 0, 0, 0]);
    let kind = Bytes::from_static(&[1, 9]);
    let version = Bytes::from_static(&[2]);

    assert_eq!(
        LogState::restore(&twice),
        Err(CodecError::Order { what: "session" })
    );
    assert_eq!(
        LogState::restore(&[orphan]),
        Err(CodecError::Order { what: "partition" })
    );
    assert_eq!(
        LogState::restore(&[kind]),
        Err(CodecError::Kind { code: 9 })
    );
    assert_eq!(
        LogState::restore(&[version]),
        Err(CodecError::Version { version: 2 })
    );
}

proptest! {
    #[test]
    fn damaged_commands_and_snapshots_never_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        kind in 0_usize..5,
    ) {
        let mut command = commands()[kind].encode().to_vec();
        let place = at.index(command.len());
        command[place] = byte;
        if let Ok(read) = LogCommand::decode(&command) {
            prop_assert_eq!(LogCommand::decode(&read.encode()), Ok(read));
        }

        let mut part = state().snapshot(1 << 20)[0].to_vec();
        let place = at.index(part.len());
        part[place] = byte;
        if let Ok(read) = LogState::restore(&[Bytes::from(part)]) {
            let again = read.snapshot(SNAPSHOT_PART_BYTES_MIN);
            prop_assert_eq!(LogState::restore(&again), Ok(read));
        }
    }
}
