//! Damaged, cut, foreign and future segments: every one is found, and called what it is.

use bytes::Bytes;
use esker_record::BatchError;
use esker_types::{HeaderError, ObjectHeader, ObjectKind};

use super::{batch, head, partition, placed, small};
use crate::limits::{FOOTER_BYTES_MAX, FOOTER_TAIL_BYTES};
use crate::{
    FooterError, SegmentBuilder, SegmentError, SegmentFooter, TailRead, check_segment, read_tail,
};

fn object_bytes(object: &[u8]) -> u64 {
    u64::try_from(object.len()).unwrap()
}

fn read(object: &[u8]) -> Result<TailRead, FooterError> {
    read_tail(object_bytes(object), object)
}

/// The object with its trailer and object header made right again after a change.
fn mended(mut object: Vec<u8>, footer_bytes: usize) -> Vec<u8> {
    let trailer = object.len() - 12;
    let crc = crc32c::crc32c(&object[trailer - footer_bytes..trailer + 4]);
    object[trailer + 4..trailer + 8].copy_from_slice(&crc.to_be_bytes());
    let header = ObjectHeader {
        body_bytes: object_bytes(&object) - 64,
        body_crc: crc32c::crc32c(&object[64..]),
        ..ObjectHeader::decode(&object).unwrap()
    };
    object[..64].copy_from_slice(&header.encode());
    object
}

fn footer_bytes() -> usize {
    small().footer.encode().len()
}

#[test]
fn each_flipped_bit_of_footer_and_trailer_is_found() {
    let object = small().object.to_vec();
    let start = object.len() - 12 - footer_bytes();

    for bit in start * 8..object.len() * 8 {
        let mut damaged = object.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);

        let found = match read(&damaged) {
            // A smaller length may be asked about again, but is never believed.
            Ok(TailRead::NeedMore { .. } | TailRead::Footer(_)) => false,
            Err(_) => true,
        };
        assert!(found, "bit {bit}");
    }
}

#[test]
fn each_flipped_bit_of_a_whole_segment_is_found() {
    let object = small().object.to_vec();

    for bit in 0..object.len() * 8 {
        let mut damaged = object.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(check_segment(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn a_segment_cut_or_grown_anywhere_is_an_error() {
    let object = small().object.to_vec();

    for cut in 0..object.len() {
        assert!(check_segment(&object[..cut]).is_err(), "cut at {cut}");
        assert!(read(&object[..cut]).is_err(), "cut at {cut}");
    }
    // The end is whole, but something is missing or added before it.
    let whole = object_bytes(&object);
    for found_bytes in [whole - 1, whole + 1] {
        let tail = &object[object.len() - 12 - footer_bytes()..];
        let expected_bytes = whole;
        assert_eq!(
            read_tail(found_bytes, tail),
            Err(FooterError::ObjectBytes {
                expected_bytes,
                found_bytes
            })
        );
    }
}

#[test]
fn a_tail_that_cannot_be_of_the_object_is_an_error() {
    let object = small().object;

    let longer_than_the_object = read_tail(100, &object);
    let too_small_an_object = read_tail(75, &object[..75]);

    for result in [longer_than_the_object, too_small_an_object] {
        assert!(matches!(result, Err(FooterError::ObjectBytes { .. })));
    }
}

#[test]
fn what_is_no_segment_does_not_end_like_one() {
    let seal = ObjectHeader {
        kind: ObjectKind::SessionSeal,
        cluster: head().cluster,
        write_id: head().write_id,
        body_bytes: 40,
        body_crc: crc32c::crc32c(&[0; 40]),
    };
    let seal = [&seal.encode()[..], &[0; 40]].concat();

    assert_eq!(read(&seal), Err(FooterError::Magic));
    let kind = ObjectKind::SessionSeal;
    assert_eq!(check_segment(&seal), Err(SegmentError::Kind { kind }));
}

#[test]
fn an_impossible_footer_length_is_refused_before_more_is_read() {
    let object = small().object.to_vec();
    let trailer = object.len() - 12;
    let room = u32::try_from(trailer - 64).unwrap();
    let with = |footer_bytes: u32, object_bytes: u64| {
        let mut object = object.clone();
        object[trailer..trailer + 4].copy_from_slice(&footer_bytes.to_be_bytes());
        read_tail(object_bytes, &object)
    };

    for footer_bytes in [room + 1, u32::MAX] {
        let refused = with(footer_bytes, object_bytes(&object));
        assert_eq!(refused, Err(FooterError::FooterBytes { footer_bytes }));
    }
    let footer_bytes = FOOTER_BYTES_MAX + 1;
    let refused = with(footer_bytes, 1 << 40);
    assert_eq!(refused, Err(FooterError::FooterBytes { footer_bytes }));
    let tail_bytes = u64::from(FOOTER_BYTES_MAX) + 12;
    let asked = with(FOOTER_BYTES_MAX, 1 << 40);
    assert_eq!(asked, Ok(TailRead::NeedMore { tail_bytes }));
}

#[test]
fn a_footer_from_the_future_is_named_as_such() {
    let mut object = small().object.to_vec();
    let start = object.len() - 12 - footer_bytes();
    object[start] = 2;
    assert_eq!(read(&object), Err(FooterError::Checksum));

    let future = mended(object, footer_bytes());

    assert_eq!(read(&future), Err(FooterError::Version { version: 2 }));
    let version = FooterError::Version { version: 2 };
    assert_eq!(check_segment(&future), Err(SegmentError::Footer(version)));
}

#[test]
fn a_segment_longer_than_the_first_read_is_found_in_two() {
    let mut builder = SegmentBuilder::new(head());
    let bytes = batch(1, None);
    for number in 0..1300 {
        builder.push(placed(partition(1, number), 7, &bytes), &bytes);
    }
    let built = builder.finish();
    let whole = object_bytes(&built.object);
    let suffix = |tail_bytes: u64| {
        let start = usize::try_from(whole - tail_bytes).unwrap();
        read_tail(whole, &built.object[start..])
    };

    let Ok(TailRead::NeedMore { tail_bytes }) = suffix(FOOTER_TAIL_BYTES) else {
        panic!("the footer of 1300 batches is longer than the first read");
    };

    assert_eq!(tail_bytes, 12 + 38 + 1300 * (32 + 21));
    assert_eq!(suffix(tail_bytes), Ok(TailRead::Footer(built.footer)));
    assert!(matches!(
        suffix(5),
        Ok(TailRead::NeedMore {
            tail_bytes: FOOTER_TAIL_BYTES
        })
    ));
}

#[test]
fn a_body_that_is_not_the_header_s_is_found() {
    let object = small().object.to_vec();
    let mut damaged = object.clone();
    damaged[100] ^= 1;

    assert_eq!(check_segment(&damaged), Err(SegmentError::BodyChecksum));
    let grown = [object.as_slice(), &[0]].concat();
    assert!(matches!(
        check_segment(&grown),
        Err(SegmentError::BodyBytes { .. })
    ));
    let short = check_segment(&object[..63]);
    assert!(matches!(
        short,
        Err(SegmentError::Header(HeaderError::Short(_)))
    ));
}

#[test]
fn a_damaged_or_exchanged_batch_is_found_under_right_outer_checksums() {
    let built = small();
    let object = built.object.to_vec();
    let last = built.footer.batches[2].range;
    let at = usize::try_from(last.end()).unwrap() - 1;
    let mut damaged = object.clone();
    damaged[at] ^= 1;
    let mut exchanged = object.clone();
    let stranger = other_batch();
    exchanged[at + 1 - stranger.len()..=at].copy_from_slice(&stranger);
    let mut restamped = object;
    restamped[usize::try_from(last.start()).unwrap() + 7] = 9;

    let source = BatchError::Checksum;
    let found = check_segment(&mended(damaged, footer_bytes()));
    assert_eq!(found, Err(SegmentError::Batch { number: 2, source }));
    for wrong in [exchanged, restamped] {
        let found = check_segment(&mended(wrong, footer_bytes()));
        assert_eq!(found, Err(SegmentError::Mismatch { number: 2 }));
    }
}

/// As long as the last batch of the small segment, and as sound, but with other records.
fn other_batch() -> Bytes {
    let mut batch = batch(2, None).to_vec();
    let value = batch.iter().rposition(|byte| *byte == b'v').unwrap();
    batch[value] = b'w';
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

#[test]
fn the_bare_form_is_exactly_as_long_as_it_is() {
    let encoded = small().footer.encode();

    for cut in 0..encoded.len() {
        let decoded = SegmentFooter::decode(&encoded[..cut]);
        assert!(
            matches!(decoded, Err(FooterError::Short(_))),
            "cut at {cut}"
        );
    }
    let longer = [encoded.as_slice(), &[0, 0]].concat();
    let left_bytes = 2;
    assert_eq!(
        SegmentFooter::decode(&longer),
        Err(FooterError::Trailing { left_bytes })
    );
}
