//! Stored bytes of commands and snapshots: golden, there and back, hostile.

use proptest::prelude::*;

use super::*;
use crate::GroupOffsets;
use crate::limits::GROUP_TEXT_BYTES_MAX;

const GOLDEN: &str = include_str!("../../../../docs/formats/metadata-groups.hex");
const AT: Timestamp = Timestamp::NONE;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The paragraphs of the golden file, in the order of the page.
fn golden() -> Vec<String> {
    let paragraphs = GOLDEN
        .split("\n\n")
        .map(|text| text.split_whitespace().collect());
    paragraphs.collect()
}

fn partition(index: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([7; 16]),
        partition: PartitionIndex::new(index).unwrap(),
    }
}

fn generation(number: i32) -> Generation {
    Generation::from_wire(number).unwrap()
}

fn member(id: &str, instance: Option<&str>) -> SummaryMember {
    SummaryMember {
        member: id.into(),
        instance: instance.map(str::to_owned),
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        metadata: Bytes::from_static(b"meta"),
        assignment: Bytes::from_static(b"mine"),
    }
}

fn summary() -> GroupSummary {
    GroupSummary {
        generation: generation(5),
        protocol_type: "consumer".into(),
        protocol: "range".into(),
        leader: "b".into(),
        members: vec![member("a", Some("i")), member("b", None)],
    }
}

fn examples() -> Vec<GroupCommand> {
    let group = || "g".to_owned();
    let at = Timestamp::from_millis(1_700_000_000_000);
    let committed = CommittedOffset {
        offset: 42,
        leader_epoch: -1,
        metadata: "m".into(),
    };
    vec![
        GroupCommand::Commit {
            group: group(),
            at,
            offsets: vec![(partition(3), committed)],
        },
        GroupCommand::GenerationTaken {
            group: group(),
            at,
            generation: generation(5),
        },
        GroupCommand::Rebalanced {
            group: group(),
            at,
            summary: summary(),
        },
        GroupCommand::Emptied {
            group: group(),
            at,
            generation: generation(6),
            protocol_type: "consumer".into(),
        },
        GroupCommand::Expire {
            group: group(),
            before: at,
        },
        GroupCommand::DropTopic {
            topic: TopicId::from_bytes([7; 16]),
        },
        GroupCommand::DeleteGroup { group: group() },
        GroupCommand::DeleteOffsets {
            group: group(),
            before: at,
            partitions: vec![partition(3)],
        },
    ]
}

/// The state behind the first three examples.
fn example_state() -> GroupOffsets {
    let mut offsets = GroupOffsets::default();
    for command in &examples()[..3] {
        offsets.apply(command, &|_| true);
    }
    offsets
}

#[test]
fn golden_bytes_of_each_command_and_of_a_snapshot_part() {
    let golden = golden();
    let bytes: Vec<Bytes> = examples().iter().map(GroupCommand::encode).collect();
    let parts = example_state().snapshot();

    let written: Vec<String> = bytes.iter().chain(&parts).map(|bytes| hex(bytes)).collect();

    assert_eq!(written, golden);
    for (command, bytes) in examples().iter().zip(&bytes) {
        assert_eq!(GroupCommand::decode(bytes).as_ref(), Ok(command));
    }
    assert_eq!(GroupOffsets::restore(&parts), Ok(example_state()));
}

#[test]
fn nothing_has_a_snapshot_without_parts() {
    let nothing = GroupOffsets::default();

    assert!(nothing.snapshot().is_empty());
    assert_eq!(GroupOffsets::restore(&[]), Ok(nothing));
}

#[test]
fn bytes_cut_anywhere_are_refused() {
    for command in examples() {
        let bytes = command.encode();
        for end in 0..bytes.len() {
            let outcome = GroupCommand::decode(&bytes[..end]);
            assert!(
                matches!(outcome, Err(GroupCodecError::Short(_))),
                "{command:?} {end}"
            );
        }
    }
    let part = &example_state().snapshot()[0];
    let short = GroupOffsets::restore(&[part.slice(..part.len() - 1)]);
    assert!(matches!(short, Err(GroupCodecError::Short(_))));
}

#[test]
fn a_format_from_the_future_is_named_as_such() {
    let outcome = GroupCommand::decode(&[2, COMMIT]);
    let part = GroupOffsets::restore(&[Bytes::from_static(&[2])]);

    assert_eq!(outcome, Err(GroupCodecError::Version { version: 2 }));
    assert_eq!(part, Err(GroupCodecError::Version { version: 2 }));
}

#[test]
fn an_unknown_kind_is_refused() {
    let outcome = GroupCommand::decode(&[1, 99]);
    let part = GroupOffsets::restore(&[Bytes::from_static(&[1, 99, 0, 0])]);

    assert_eq!(outcome, Err(GroupCodecError::Kind { kind: 99 }));
    assert_eq!(part, Err(GroupCodecError::Kind { kind: 99 }));
}

#[test]
fn bytes_behind_a_command_are_refused() {
    let mut bytes = examples()[6].encode().to_vec();
    bytes.extend_from_slice(&[0; 3]);

    assert_eq!(
        GroupCommand::decode(&bytes),
        Err(GroupCodecError::Trailing { count: 3 })
    );
}

#[test]
fn text_that_is_not_utf8_or_too_long_is_refused() {
    let not_utf8 = [1, DELETE_GROUP, 0, 1, 0xff];
    let mut long = vec![1, DELETE_GROUP];
    let length = u16::try_from(GROUP_TEXT_BYTES_MAX + 1).unwrap();
    long.extend_from_slice(&length.to_be_bytes());
    long.resize(4 + usize::from(length), b'x');

    assert_eq!(GroupCommand::decode(&not_utf8), Err(GroupCodecError::Text));
    assert_eq!(GroupCommand::decode(&long), Err(GroupCodecError::Text));
}

#[test]
fn values_that_their_types_do_not_have_are_refused() {
    let changed = |example: usize, at_end: usize, to: &[u8]| {
        let mut bytes = examples()[example].encode().to_vec();
        let at = bytes.len() - at_end;
        bytes[at..at + to.len()].copy_from_slice(to);
        GroupCommand::decode(&bytes)
    };
    let long = CommittedOffset {
        offset: 0,
        leader_epoch: 0,
        metadata: "x".repeat(OFFSET_METADATA_BYTES_MAX + 1),
    };
    let long = GroupCommand::Commit {
        group: "g".into(),
        at: AT,
        offsets: vec![(partition(0), long)],
    };
    let out = |field| Err(GroupCodecError::OutOfRange { field });

    assert_eq!(changed(1, 4, &[0xff]), out("generation"));
    assert_eq!(changed(0, 19, &[0xff]), out("partition"));
    assert_eq!(changed(2, 32, &[2]), out("flag"));
    assert_eq!(GroupCommand::decode(&long.encode()), out("offset metadata"));
}

#[test]
fn commands_and_parts_past_their_limits_are_refused() {
    let command = vec![1; limits::COMMAND_BYTES_MAX + 1];
    let part = Bytes::from(vec![1; limits::SNAPSHOT_PART_BYTES_MAX + 1]);
    let out = |field| GroupCodecError::OutOfRange { field };

    let command = GroupCommand::decode(&command);
    let part = GroupOffsets::restore(&[part]);

    assert_eq!(command, Err(out("command length")));
    assert_eq!(part, Err(out("snapshot part length")));
}

#[test]
fn a_summary_of_the_largest_command_fits_one_part() {
    let mut members = vec![member("a", None), member("b", None)];
    members[0].metadata = Bytes::from(vec![0; limits::COMMAND_BYTES_MAX - 70_000]);
    let largest = GroupCommand::Rebalanced {
        group: "g".repeat(GROUP_TEXT_BYTES_MAX),
        at: AT,
        summary: GroupSummary {
            protocol_type: "p".repeat(GROUP_TEXT_BYTES_MAX),
            members,
            ..summary()
        },
    };
    let mut offsets = GroupOffsets::default();

    let command = GroupCommand::decode(&largest.encode()).unwrap();
    offsets.apply(&command, &|_| true);
    let parts = offsets.snapshot();

    assert_eq!(parts.len(), 1);
    assert_eq!(GroupOffsets::restore(&parts), Ok(offsets));
}

#[test]
fn more_members_than_a_group_may_have_are_refused() {
    let name = |n: usize| format!("{n:06}");
    let members = (0..=GROUP_MEMBERS_MAX)
        .map(|n| member(&name(n), None))
        .collect();
    let too_many = GroupCommand::Rebalanced {
        group: "g".into(),
        at: AT,
        summary: GroupSummary {
            leader: name(0),
            members,
            ..summary()
        },
    };

    let outcome = GroupCommand::decode(&too_many.encode());

    let field = "member count";
    assert_eq!(outcome, Err(GroupCodecError::OutOfRange { field }));
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let with = |leader: &str, members| GroupCommand::Rebalanced {
        group: "g".into(),
        at: AT,
        summary: GroupSummary {
            leader: leader.into(),
            members,
            ..summary()
        },
    };
    let no_leader = with("c", vec![member("a", None)]);
    let unordered = with("a", vec![member("b", None), member("a", None)]);
    let twice = with("a", vec![member("a", Some("i")), member("b", Some("i"))]);
    let nobody = with("", Vec::new());

    for command in [no_leader, unordered, twice, nobody] {
        let outcome = GroupCommand::decode(&command.encode());
        assert_eq!(outcome, Err(GroupCodecError::Inconsistent), "{command:?}");
    }
}

#[test]
fn a_snapshot_with_a_group_twice_or_offsets_of_none_is_refused() {
    let part = example_state().snapshot().remove(0);
    let of_none = Bytes::from_static(&[1, 2, 0, 1, b'x', 0, 0, 0, 0]);

    let twice = GroupOffsets::restore(&[part.clone(), part]);
    let outcome = GroupOffsets::restore(&[of_none]);

    assert_eq!(twice, Err(GroupCodecError::Inconsistent));
    assert_eq!(outcome, Err(GroupCodecError::Inconsistent));
}

fn texts() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn offsets() -> impl Strategy<Value = Vec<(TopicPartition, CommittedOffset)>> {
    let one = (0..9_999_u32, any::<i64>(), any::<i32>(), texts());
    let one = one.prop_map(|(index, offset, leader_epoch, metadata)| {
        let committed = CommittedOffset {
            offset,
            leader_epoch,
            metadata,
        };
        (partition(index), committed)
    });
    prop::collection::vec(one, 0..20)
}

fn commands() -> impl Strategy<Value = GroupCommand> {
    let members = prop::collection::btree_map(texts(), any::<(bool, u32, u32)>(), 1..8);
    let rebalanced =
        (texts(), any::<i64>(), 0..i32::MAX, members).prop_map(|(group, at, number, members)| {
            GroupCommand::Rebalanced {
                group,
                at: Timestamp::from_millis(at),
                summary: GroupSummary {
                    generation: generation(number),
                    leader: members.keys().next().unwrap().clone(),
                    members: members
                        .iter()
                        .map(|(id, (is_static, session, rebalance))| SummaryMember {
                            session_timeout: Duration::from_millis(u64::from(*session)),
                            rebalance_timeout: Duration::from_millis(u64::from(*rebalance)),
                            ..member(id, is_static.then_some(id))
                        })
                        .collect(),
                    ..summary()
                },
            }
        });
    let commit =
        (texts(), any::<i64>(), offsets()).prop_map(|(group, at, offsets)| GroupCommand::Commit {
            group,
            at: Timestamp::from_millis(at),
            offsets,
        });
    let fixed = (0..examples().len()).prop_map(|at| examples().remove(at));
    prop_oneof![rebalanced, commit, fixed]
}

proptest! {
    #[test]
    fn commands_read_back(command in commands()) {
        prop_assert_eq!(GroupCommand::decode(&command.encode()), Ok(command));
    }

    #[test]
    fn a_snapshot_is_the_state(commands in prop::collection::vec(commands(), 0..40)) {
        let mut offsets = GroupOffsets::default();
        for command in &commands {
            offsets.apply(command, &|_| true);
        }

        let restored = GroupOffsets::restore(&offsets.snapshot()).unwrap();

        prop_assert_eq!(restored.offset_count(), restored_count(&restored));
        prop_assert_eq!(restored, offsets);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(version) = bytes.first_mut() {
            *version %= 3;
        }
        if let Ok(command) = GroupCommand::decode(&bytes) {
            prop_assert_eq!(command.encode(), Bytes::copy_from_slice(&bytes));
        }
        let _ = GroupOffsets::restore(&[Bytes::from(bytes)]);
    }
}

fn restored_count(offsets: &GroupOffsets) -> usize {
    offsets
        .groups
        .values()
        .map(|group| group.offsets.len())
        .sum()
}
