//! LZ4 frames: those of the C library and of Java read, each damage named.

use super::*;
use crate::forge::{self, dumps};

fn read(input: &[u8]) -> Result<Vec<u8>, Lz4Error> {
    let mut stream = Stream::open(Bytes::copy_from_slice(input))?;
    let mut plain = Vec::new();
    let mut piece = [0; 1000];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(plain),
            count => plain.extend_from_slice(&piece[..count]),
        }
    }
}

fn frames() -> Vec<(String, Bytes)> {
    dumps(include_str!("../../../tests/lz4_frames.hex"))
}

/// A frame of the C library with everything optional: content size and all checksums.
fn full() -> Vec<u8> {
    let (_, frame) = frames()
        .into_iter()
        .find(|(name, _)| name == "linked 0 blocks 4 checksums 1")
        .unwrap();
    frame.to_vec()
}

/// The same with a right header checksum after a change of the descriptor.
fn described(mut frame: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    frame[at] = value;
    frame[14] = xxh32(&frame[4..14], 0).to_le_bytes()[1];
    frame
}

#[test]
fn frames_of_the_c_library_read_whatever_their_options() {
    let frames = frames();
    assert_eq!(frames.len(), 12);
    let plain = read(&frames[0].1).unwrap();
    assert_eq!(plain.len(), 300_033);

    for (name, frame) in frames {
        assert_eq!(read(&frame).unwrap(), plain, "{name}");
    }
}

#[test]
fn our_frames_are_those_of_java() {
    let java = dumps(include_str!("../../../tests/java_batches.hex"));
    let (_, small) = java.iter().find(|(name, _)| name == "small lz4").unwrap();
    let frame = &small[61..];

    assert_eq!(compress(&read(frame).unwrap()), frame);
    for bytes in [0, 1, JAVA_BLOCK_BYTES, JAVA_BLOCK_BYTES + 1, 200_000] {
        let plain: Vec<u8> = (0_u8..=200).cycle().take(bytes).collect();
        assert_eq!(read(&compress(&plain)).unwrap(), plain);
    }
}

#[test]
fn each_flipped_bit_of_a_frame_with_all_checksums_is_found() {
    let frame = full();

    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_an_error() {
    let frame = full();

    for cut in 0..frame.len() {
        assert!(
            matches!(read(&frame[..cut]), Err(Lz4Error::Short(_))),
            "cut at {cut}"
        );
    }
}

#[test]
fn each_kind_of_damage_has_its_name() {
    let frame = full();
    let with = |at: usize, value: u8| {
        let mut frame = frame.clone();
        frame[at] = value;
        read(&frame).unwrap_err()
    };
    let last = frame.len() - 1;

    assert!(matches!(with(0, 0), Lz4Error::Magic));
    assert!(matches!(with(14, !frame[14]), Lz4Error::HeaderChecksum));
    assert!(matches!(
        with(17, 9),
        Lz4Error::BlockBytes {
            block_bytes_max: 65_536,
            ..
        }
    ));
    assert!(matches!(with(40, !frame[40]), Lz4Error::BlockChecksum));
    assert!(matches!(
        with(last, !frame[last]),
        Lz4Error::ContentChecksum
    ));
    let other_length = described(frame.clone(), 6, 0);
    assert!(matches!(read(&other_length), Err(Lz4Error::ContentBytes)));
    let trailing = [frame.as_slice(), &[1]].concat();
    assert!(matches!(
        read(&trailing),
        Err(Lz4Error::Trailing { left_bytes: 1 })
    ));
}

#[test]
fn what_kafka_does_not_use_is_refused() {
    let flags = full()[4];
    let unused = [
        (4, flags | 1),           // a dictionary
        (4, flags | 2),           // a reserved bit
        (4, flags & 0x3f),        // version 0
        (5, 3 << 4),              // a block size there is not
        (5, (7 << 4) | (1 << 7)), // reserved bits
        (5, (7 << 4) | 1),
    ];
    for (at, value) in unused {
        let frame = described(full(), at, value);
        assert!(
            matches!(read(&frame), Err(Lz4Error::Descriptor { .. })),
            "{at} {value}"
        );
    }
}

#[test]
fn a_damaged_block_without_checksums_is_an_error_not_a_panic() {
    let frame = forge::lz4(&b"abcdefgh".repeat(50));
    // An offset that reaches before the block.
    let mut damaged = frame.clone();
    let at = frame.len() - 4 - 8;
    damaged[at..at + 4].fill(0xff);

    assert!(read(&damaged).is_err());
    for at in 11..frame.len() {
        for value in [0, 0x0f, 0xf0, 0xff] {
            let mut damaged = frame.clone();
            damaged[at] = value;
            let _ = read(&damaged);
        }
    }
}

#[test]
fn an_independent_block_cannot_reach_into_the_one_before() {
    let (_, linked) = frames()
        .into_iter()
        .find(|(name, _)| name == "linked 1 blocks 4 checksums 0")
        .unwrap();
    let mut independent = linked.to_vec();
    independent[4] |= 0x20;
    independent[6] = xxh32(&independent[4..6], 0).to_le_bytes()[1];

    assert!(matches!(read(&independent), Err(Lz4Error::Block(_))));
}

#[test]
fn the_best_case_of_lz4_stays_below_the_ratio() {
    for bytes in [1, 30, 1000, 1 << 16, 1 << 22] {
        let zeros = vec![0; bytes];
        let packed = lz4_flex::block::compress(&zeros);

        assert!(packed.len() * RATIO_MAX + RATIO_SLACK_BYTES >= bytes);
        assert_eq!(read(&forge::lz4(&zeros)).unwrap(), zeros);
    }
}
