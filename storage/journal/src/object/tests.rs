//! Golden bytes, round trips and damage of every object of the journal.

use esker_types::SequencerEpoch;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{CLUSTER, at, leader, seal_ref};
use crate::identity::{LeaderInfo, OwnerId};
use crate::limits::{ADDRESS_BYTES_MAX, SNAPSHOT_PART_BYTES_MAX, SNAPSHOT_PARTS_MAX};
use crate::place::{Place, PlaceId, RollNumber, SealRef};

const WRITE: WriteId = WriteId::from_bytes([1; 16]);
const GOLDEN: &str = include_str!("../../../../docs/formats/journal.hex");

fn encode(object: &JournalObject) -> Bytes {
    match object {
        JournalObject::Head(head) => head.encode(CLUSTER, WRITE),
        JournalObject::Entry(entry) => entry.encode(CLUSTER, WRITE),
        JournalObject::Seal(seal) => seal.encode(CLUSTER, WRITE),
        JournalObject::Part(part) => part.encode(CLUSTER, WRITE),
        JournalObject::Done(done) => done.encode(CLUSTER, WRITE),
    }
}

fn samples() -> [(&'static str, JournalObject); 6] {
    let next_leader = leader(7, 3);
    let prev = Some(seal_ref(5, 9));
    [
        (
            "head",
            JournalObject::Head(Head {
                roll: RollNumber::new(4),
                leader: leader(7, 3),
                prev,
            }),
        ),
        (
            "entry",
            JournalObject::Entry(Entry {
                at: at(4, 1),
                epoch: SequencerEpoch::new(3),
                commands: vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")],
            }),
        ),
        (
            "seal",
            JournalObject::Seal(Seal {
                at: at(3, 5),
                next_leader: next_leader.clone(),
                prev: None,
            }),
        ),
        (
            "seal of place 0",
            JournalObject::Seal(Seal {
                at: at(4, 0),
                next_leader,
                prev,
            }),
        ),
        (
            "part",
            JournalObject::Part(SnapshotPart {
                roll: RollNumber::new(4),
                part: 1,
                bytes: Bytes::from_static(b"state"),
            }),
        ),
        (
            "done",
            JournalObject::Done(SnapshotDone {
                roll: RollNumber::new(4),
                parts: vec![PartRow::of(b"whole "), PartRow::of(b"state")],
            }),
        ),
    ]
}

/// Sections of the golden file: a line `# name`, then lines of hexadecimal digits.
fn golden(name: &str) -> Vec<u8> {
    let section = GOLDEN.split("# ").find(|section| {
        let title = section.lines().next();
        title == Some(name)
    });
    let digits: Vec<u8> = section
        .unwrap()
        .lines()
        .skip(1)
        .flat_map(str::bytes)
        .collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

#[test]
fn golden_bytes_hold_in_both_directions() {
    for (name, object) in samples() {
        let bytes = encode(&object);

        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytes, golden(name), "{name}: {hex}");
        let decoded = decode(CLUSTER, &Bytes::from(golden(name))).unwrap();
        assert_eq!(decoded.object, object, "{name}");
        assert_eq!(decoded.write_id, WRITE);
    }
}

#[test]
fn cut_bytes_and_each_flipped_bit_are_refused() {
    for (name, object) in samples() {
        let bytes = encode(&object);
        for length in 0..bytes.len() {
            assert!(
                decode(CLUSTER, &bytes.slice(..length)).is_err(),
                "{name} cut at {length}"
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let outcome = decode(CLUSTER, &Bytes::from(damaged));
            assert!(outcome.is_err(), "{name} bit {bit}");
        }
    }
}

#[test]
fn a_length_or_body_that_the_header_does_not_know_is_told_apart() {
    let [(_, object), ..] = samples();
    let bytes = encode(&object);
    let longer = Bytes::from([bytes.as_ref(), &[0]].concat());
    let mut damaged = bytes.to_vec();
    *damaged.last_mut().unwrap() ^= 1;

    let length = DecodeError::Length {
        object_bytes: byte_count(&longer),
        header_bytes: byte_count(&bytes),
    };
    assert_eq!(decode(CLUSTER, &longer), Err(length));
    let outcome = decode(CLUSTER, &Bytes::from(damaged));
    assert_eq!(outcome, Err(DecodeError::Checksum));
}

#[test]
fn another_clusters_objects_are_refused_by_name() {
    let other = ClusterId::from_bytes([9; 16]);
    for (_, object) in samples() {
        let outcome = decode(other, &encode(&object));

        assert_eq!(
            outcome,
            Err(DecodeError::OtherCluster {
                found: CLUSTER,
                expected: other
            })
        );
    }
}

/// The object with its body changed and its checksums made right again.
fn forge(
    object: &JournalObject,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Decoded, DecodeError> {
    let bytes = encode(object);
    let header = ObjectHeader::decode(&bytes).unwrap();
    let mut body = bytes[OBJECT_HEADER_BYTES..].to_vec();
    change(&mut body);
    let header = ObjectHeader {
        body_bytes: byte_count(&body),
        body_crc: crc32c::crc32c(&body),
        ..header
    };
    let forged = [header.encode().as_slice(), &body].concat();
    decode(CLUSTER, &Bytes::from(forged))
}

#[test]
fn an_unknown_version_and_bytes_left_over_are_refused() {
    for (name, object) in samples() {
        let version = forge(&object, |body| body[0] = 2);
        let longer = forge(&object, |body| body.push(0));

        assert_eq!(version, Err(DecodeError::Version { version: 2 }), "{name}");
        match object {
            // A part ends where its object does.
            JournalObject::Part(_) => assert!(longer.is_ok()),
            _ => assert_eq!(longer, Err(DecodeError::Trailing { count: 1 }), "{name}"),
        }
    }
}

#[test]
fn counts_that_do_not_fit_what_is_there_are_refused_before_memory_is_taken() {
    let [_, (_, entry), .., (_, done)] = samples();
    let entry_count = 1 + 8 + 8 + 8;
    let done_count = 1 + 8;

    let huge_entry = forge(&entry, |body| {
        body[entry_count..entry_count + 4].fill(0xff);
    });
    let huge_done = forge(&done, |body| body[done_count..done_count + 4].fill(0xff));
    let no_command = forge(&entry, |body| {
        body.truncate(entry_count);
        body.extend_from_slice(&[0; 4]);
    });

    assert!(matches!(huge_entry, Err(DecodeError::Short(_))));
    assert!(matches!(huge_done, Err(DecodeError::Short(_))));
    assert_eq!(no_command, Err(DecodeError::Field { field: "count" }));
}

#[test]
fn a_list_of_parts_and_an_address_stop_at_their_limits() {
    let [(_, head), .., (_, done)] = samples();
    let count = u32::try_from(SNAPSHOT_PARTS_MAX + 1).unwrap();
    let too_many = forge(&done, |body| {
        body.truncate(1 + 8);
        body.extend_from_slice(&count.to_be_bytes());
        body.resize(body.len() + (SNAPSHOT_PARTS_MAX + 1) * 12, 0);
    });
    let length = u32::try_from(ADDRESS_BYTES_MAX + 1).unwrap();
    let too_long = forge(&head, |body| {
        body.truncate(1 + 8 + 8 + 16);
        body.extend_from_slice(&length.to_be_bytes());
        body.resize(body.len() + ADDRESS_BYTES_MAX + 1, b'a');
        body.push(0);
    });

    assert_eq!(too_many, Err(DecodeError::Field { field: "count" }));
    assert_eq!(too_long, Err(DecodeError::Field { field: "address" }));
}

#[test]
fn a_part_larger_than_its_limit_is_refused() {
    let [.., (_, part), _] = samples();

    let too_large = forge(&part, |body| {
        body.resize(1 + 8 + 4 + SNAPSHOT_PART_BYTES_MAX + 1, 0);
    });

    assert_eq!(too_large, Err(DecodeError::Field { field: "length" }));
}

#[test]
fn impossible_fields_are_refused() {
    let [(_, head), (_, entry), (_, seal), (_, seal0), _, (_, done)] = samples();
    let roll = 1..9;
    let place = 9..17;

    let outcomes = [
        ("prev", forge(&head, |body| body[roll.clone()].fill(0))),
        ("epoch", forge(&head, |body| body[9..17].fill(0))),
        ("address", forge(&head, |body| body[37] = 0xff)),
        ("place", forge(&entry, |body| body[place.clone()].fill(0))),
        ("prev", forge(&seal, |body| body[place.clone()].fill(0))),
        ("prev", forge(&seal0, |body| body[roll.clone()].fill(0))),
        ("roll", forge(&done, |body| body[roll.clone()].fill(0))),
        (
            "prev",
            forge(&seal, |body| {
                body.pop();
                body.push(2);
            }),
        ),
    ];

    for (field, outcome) in outcomes {
        assert_eq!(outcome, Err(DecodeError::Field { field }));
    }
}

#[test]
fn an_object_of_another_kind_is_refused() {
    let body = [BODY_VERSION];
    let header = ObjectHeader {
        kind: ObjectKind::Segment,
        cluster: CLUSTER,
        write_id: WRITE,
        body_bytes: 1,
        body_crc: crc32c::crc32c(&body),
    };
    let bytes = Bytes::from([header.encode().as_slice(), &body].concat());

    assert_eq!(
        check_object(CLUSTER, &bytes),
        Err(DecodeError::Kind {
            found: ObjectKind::Segment
        })
    );
    let kinds = samples().map(|(_, object)| check_object(CLUSTER, &encode(&object)).unwrap());
    assert_eq!(kinds[0], ObjectKind::JournalHead);
    assert_eq!(kinds[1], ObjectKind::JournalEntry);
    assert_eq!(kinds[2], ObjectKind::JournalSeal);
    assert_eq!(kinds[4], ObjectKind::SnapshotPart);
    assert_eq!(kinds[5], ObjectKind::SnapshotDone);
}

prop_compose! {
    fn any_leader()(owner: [u8; 16], address in "\\PC{0,40}", epoch in 1_u64..) -> LeaderInfo {
        LeaderInfo {
            owner: OwnerId::from_bytes(owner),
            address,
            epoch: SequencerEpoch::new(epoch),
        }
    }
}

prop_compose! {
    fn any_seal_ref()(place: u64, write_id: [u8; 16]) -> SealRef {
        SealRef { place: Place::new(place), write_id: WriteId::from_bytes(write_id) }
    }
}

fn any_object() -> impl Strategy<Value = JournalObject> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    let head = (0_u64..9, any_leader(), any_seal_ref()).prop_map(|(roll, leader, prev)| {
        JournalObject::Head(Head {
            roll: RollNumber::new(roll),
            leader,
            prev: (roll > 0).then_some(prev),
        })
    });
    let seal = (1_u64.., 0_u64..3, any_leader(), any_seal_ref());
    let seal = seal.prop_map(|(roll, place, next_leader, prev)| {
        JournalObject::Seal(Seal {
            at: at(roll, place),
            next_leader,
            prev: (place == 0).then_some(prev),
        })
    });
    let commands = proptest::collection::vec(bytes(), 1..9);
    let entry = (any::<u64>(), 1_u64.., any::<u64>(), commands);
    let entry = entry.prop_map(|(roll, place, epoch, commands)| {
        JournalObject::Entry(Entry {
            at: PlaceId { ..at(roll, place) },
            epoch: SequencerEpoch::new(epoch),
            commands,
        })
    });
    let part = (any::<u64>(), any::<u32>(), bytes()).prop_map(|(roll, part, bytes)| {
        let roll = RollNumber::new(roll);
        JournalObject::Part(SnapshotPart { roll, part, bytes })
    });
    let rows = proptest::collection::vec((any::<u64>(), any::<u32>()), 0..9);
    let done = (1_u64.., rows).prop_map(|(roll, rows)| {
        let row = |(part_bytes, part_crc)| PartRow {
            part_bytes,
            part_crc,
        };
        JournalObject::Done(SnapshotDone {
            roll: RollNumber::new(roll),
            parts: rows.into_iter().map(row).collect(),
        })
    });
    prop_oneof![head, seal, entry, part, done]
}

proptest! {
    #[test]
    fn every_object_reads_back_as_it_was(object in any_object()) {
        let decoded = decode(CLUSTER, &encode(&object));

        prop_assert_eq!(decoded.map(|decoded| decoded.object), Ok(object));
    }

    #[test]
    fn a_forged_body_never_panics(
        kind in 0_usize..6,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let object = samples()[kind].1.clone();
        let _ = forge(&object, |forged| {
            forged.truncate(1);
            forged.extend_from_slice(&body);
        });
    }
}
