//! Reading records: every length against what is left, every limit one past it.

use super::*;
use crate::Compression;
use crate::forge::{self, Forged, framed, record, varint};
use crate::limits::{READ_AHEAD_BYTES, RECORD_RESERVE_BYTES_MAX};

type Packer = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(i16, Packer); 5] = [
    (forge::PLAIN, <[u8]>::to_vec),
    (forge::GZIP, forge::gzip),
    (forge::SNAPPY, forge::snappy),
    (forge::LZ4, forge::lz4),
    (forge::ZSTD, forge::zstd),
];

fn read(batch: &Forged) -> Result<Vec<Record>, RecordError> {
    read_records(&batch.bytes(), &ReadLimits::default())?.collect()
}

/// Reads `body` as `count` records, plain and under each codec: all must agree.
#[track_caller]
fn refused(count: i32, body: &[u8], expected: fn(&RecordError) -> bool) {
    for (codec, pack) in PACKERS {
        let batch = Forged::packed(codec, count, pack(body));
        let error = read(&batch).unwrap_err();
        assert!(expected(&error), "codec {codec}: {error:?}");
    }
}

#[test]
fn headers_keep_their_order_and_their_duplicates() {
    let headers: [(&[u8], Option<&[u8]>); 4] = [
        (b"b", Some(b"1")),
        (b"a", None),
        (b"b", Some(b"1")),
        (b"", Some(b"")),
    ];
    for (codec, pack) in PACKERS {
        let body = record(-3, 0, None, Some(b"v"), &headers);

        let records = read(&Forged::packed(codec, 1, pack(&body))).unwrap();

        let read: Vec<(&[u8], Option<&[u8]>)> = records[0]
            .headers
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_deref()))
            .collect();
        assert_eq!(read, headers);
        assert_eq!(records[0].timestamp.millis(), 997);
        assert_eq!(records[0].key, None);
    }
}

#[test]
fn offsets_are_those_of_the_stamped_batch_and_may_skip() {
    let batch = Forged {
        base_offset: 500,
        last_offset_delta: 9,
        body: [record(0, 2, None, None, &[]), record(0, 7, None, None, &[])].concat(),
        ..Forged::plain(2)
    };

    let offsets: Vec<i64> = read(&batch)
        .unwrap()
        .iter()
        .map(|record| record.offset)
        .collect();

    assert_eq!(offsets, [502, 507]);
}

#[test]
fn plain_records_are_slices_of_the_batch() {
    let batch = Forged::plain(1).bytes();

    let record = read_records(&batch, &ReadLimits::default()).unwrap().next();

    let value = record.unwrap().unwrap().value.unwrap();
    assert!(batch.as_ptr_range().contains(&value.as_ptr()), "no copy");
}

#[test]
fn the_batch_itself_is_checked_first() {
    let bytes = Forged::plain(1).bytes();
    let mut damaged = bytes.to_vec();
    damaged[65] ^= 1;

    for (bytes, expected) in [
        (bytes.slice(..bytes.len() - 1), "cut"),
        (Bytes::from(damaged), "damaged"),
        (bytes.slice(..20), "short"),
    ] {
        let error = read_records(&bytes, &ReadLimits::default()).unwrap_err();
        assert!(matches!(error, RecordError::Batch(_)), "{expected}");
    }
}

#[test]
fn records_that_end_early_or_late_are_errors() {
    let one = record(0, 0, None, Some(b"value"), &[]);
    let short = |error: &RecordError| matches!(error, RecordError::Short { .. });
    let padded = [one.clone(), vec![0; 7]].concat();

    refused(
        2,
        &[one.clone(), one[..3].to_vec(), vec![]].concat(),
        |error| {
            matches!(
                error,
                RecordError::Short { .. } | RecordError::RecordCount { .. }
            )
        },
    );
    refused(1, &one[..one.len() - 1], short);
    refused(1, &padded, |error| matches!(error, RecordError::Trailing));
    refused(
        2,
        &[one.clone(), framed(&[0; 200])[..9].to_vec()].concat(),
        short,
    );
    let empty = Forged::packed(forge::ZSTD, 1, forge::zstd(&[]));
    assert!(short(&read(&empty).unwrap_err()));
}

#[test]
fn a_batch_of_no_records_has_none_and_nothing_behind_them() {
    let with = |body: &[u8]| Forged {
        record_count: 0,
        last_offset_delta: 0,
        body: body.to_vec(),
        ..Forged::plain(1)
    };

    assert_eq!(read(&with(&[])).unwrap(), []);
    assert!(matches!(read(&with(&[0])), Err(RecordError::Trailing)));
}

#[test]
fn more_records_than_the_bytes_can_hold_are_refused_before_reading() {
    let seven = record(0, 0, None, None, &[]);
    assert_eq!(u32::try_from(seven.len()), Ok(RECORD_BYTES_MIN));
    let claim = Forged::packed(forge::PLAIN, 2, [&seven[..], &seven[..6]].concat());

    let error = read_records(&claim.bytes(), &ReadLimits::default()).unwrap_err();

    assert!(matches!(
        error,
        RecordError::RecordCount { record_count: 2 }
    ));
}

#[test]
fn every_field_of_a_record_is_bounded_by_the_record() {
    let malformed = |error: &RecordError| matches!(error, RecordError::Malformed { record: 0 });
    let huge = varint(i64::from(i32::MAX));
    let head = [0, 0, 0]; // attributes, timestamp delta, offset delta
    let bodies: [Vec<u8>; 12] = [
        vec![],
        vec![0],
        head.to_vec(),
        [&head[..], &huge].concat(),                // key past the end
        [&head[..], &varint(-2)].concat(),          // key of no length
        [&head[..], &[1], &huge].concat(),          // value past the end
        [&head[..], &[1, 1], &varint(-1)].concat(), // headers of no count
        [&head[..], &[1, 1], &varint(3), &[0, 1, 0, 1, 0]].concat(),
        [&head[..], &[1, 1], &varint(1), &[1, 1]].concat(), // null key of a header
        [&head[..], &[1, 1], &varint(1), &[0, 4]].concat(), // header value past the end
        [&head[..], &[1, 1, 0, 9]].concat(),                // a byte too many
        [&[0][..], &[0xff; 11]].concat(),                   // a number without end
    ];

    for body in bodies {
        let padded = [framed(&body), record(0, 1, None, None, &[])].concat();
        refused(1, &padded, malformed);
    }
    refused(1, &[&varint(-1)[..], &[0; 8]].concat(), malformed);
    refused(1, &[0xff; 9], malformed);
}

#[test]
fn a_record_stops_at_its_limit_of_headers() {
    let with = |count: u32| {
        let mut body = vec![0, 0, 0, 1, 1];
        body.extend(varint(i64::from(count)));
        for _ in 0..count {
            body.extend([0, 1]);
        }
        let per_header = body.len() - 6;
        assert!(per_header >= usize::try_from(count * HEADER_BYTES_MIN).unwrap());
        framed(&body)
    };

    let most = read(&Forged::packed(0, 1, with(HEADERS_PER_RECORD_MAX))).unwrap();
    assert_eq!(most[0].headers.len(), 1024);
    refused(1, &with(HEADERS_PER_RECORD_MAX + 1), |error| {
        matches!(
            error,
            RecordError::HeaderCount {
                record: 0,
                count: 1025
            }
        )
    });
}

#[test]
fn offsets_ascend_within_the_batch() {
    let deltas = |one, two| {
        let records = [
            record(0, one, None, None, &[]),
            record(0, two, None, None, &[]),
        ];
        records.concat()
    };
    for body in [deltas(-1, 0), deltas(0, 0), deltas(1, 0), deltas(0, 2)] {
        refused(2, &body, |error| {
            matches!(error, RecordError::OffsetDelta { .. })
        });
    }
}

#[test]
fn sums_past_the_largest_number_are_errors() {
    let far = Forged {
        base_offset: i64::MAX,
        body: record(0, 1, None, None, &[]),
        last_offset_delta: 1,
        ..Forged::plain(1)
    };
    let late = Forged {
        body: record(i64::MAX, 0, None, None, &[]),
        ..Forged::plain(1)
    };

    for batch in [far, late] {
        let error = read(&batch).unwrap_err();
        assert!(matches!(error, RecordError::OutOfRange { record: 0 }));
    }
}

#[test]
fn bytes_of_another_codec_are_refused_by_each() {
    let plain = record(0, 0, Some(b"k"), Some(b"v"), &[]);
    for (codec, _) in &PACKERS[1..] {
        let error = read(&Forged::packed(*codec, 1, plain.clone())).unwrap_err();

        let RecordError::Codec(error) = error else {
            panic!("codec {codec}: {error:?}");
        };
        let named = match error {
            CodecError::Gzip(_) => forge::GZIP,
            CodecError::Snappy(_) => forge::SNAPPY,
            CodecError::Lz4(_) => forge::LZ4,
            CodecError::Zstd(_) => forge::ZSTD,
        };
        assert_eq!(named, *codec);
    }
}

#[test]
fn a_compressed_stream_cut_anywhere_is_an_error() {
    let body: Vec<u8> = (0..40)
        .flat_map(|delta| record(0, delta, Some(b"key"), Some(b"value"), &[]))
        .collect();
    for (codec, pack) in PACKERS {
        let packed = pack(&body);
        for cut in 0..packed.len() {
            let batch = Forged::packed(codec, 40, packed[..cut].to_vec());
            assert!(read(&batch).is_err(), "codec {codec} cut at {cut}");
        }
    }
}

#[test]
fn output_stops_at_exactly_the_bytes_allowed() {
    let body = record(0, 0, None, Some(&[7; 3000]), &[]);
    let exact = u64::try_from(body.len()).unwrap();
    let read = |batch: &Forged, decompressed_bytes_max| {
        let limits = ReadLimits {
            decompressed_bytes_max,
        };
        let records: Result<Vec<_>, _> = read_records(&batch.bytes(), &limits)?.collect();
        records
    };

    for (codec, pack) in &PACKERS[1..] {
        let batch = Forged::packed(*codec, 1, pack(&body));
        assert_eq!(read(&batch, exact).unwrap().len(), 1);
        let error = read(&batch, exact - 1).unwrap_err();
        assert!(matches!(error, RecordError::TooLarge { bytes_max } if bytes_max == exact - 1));
    }
}

#[test]
fn the_cap_follows_the_compressed_bytes_between_two_constants() {
    let limits = ReadLimits::default();
    let knee = DECOMPRESSED_BYTES_FLOOR / DECOMPRESSED_RATIO_MAX;
    let top = DECOMPRESSED_BYTES_MAX / DECOMPRESSED_RATIO_MAX;

    assert_eq!(limits.cap(0), DECOMPRESSED_BYTES_FLOOR);
    assert_eq!(limits.cap(knee + 1), (knee + 1) * DECOMPRESSED_RATIO_MAX);
    assert_eq!(limits.cap(top + 1), DECOMPRESSED_BYTES_MAX);
    assert_eq!(limits.cap(u64::MAX), DECOMPRESSED_BYTES_MAX);
}

#[test]
fn a_zstd_window_past_the_limit_is_refused() {
    use crate::limits::ZSTD_WINDOW_LOG_MAX;
    let frame = |window_log: u32| {
        // Magic, no content size, window descriptor, one last raw block of 7 bytes.
        let exponent = u8::try_from(window_log - 10).unwrap() << 3;
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, exponent, 57, 0, 0];
        frame.extend(record(0, 0, None, None, &[]));
        Forged::packed(forge::ZSTD, 1, frame)
    };

    assert_eq!(read(&frame(ZSTD_WINDOW_LOG_MAX)).unwrap().len(), 1);
    let error = read(&frame(ZSTD_WINDOW_LOG_MAX + 1)).unwrap_err();
    assert!(matches!(error, RecordError::Codec(CodecError::Zstd(_))));
}

#[test]
fn records_larger_than_what_is_read_ahead_arrive_whole() {
    let around = [
        READ_AHEAD_BYTES,
        RECORD_RESERVE_BYTES_MAX,
        3 * RECORD_RESERVE_BYTES_MAX,
    ];
    for (codec, pack) in PACKERS {
        let sizes = around.iter().flat_map(|bytes| bytes - 20..bytes + 20);
        for (delta, bytes) in (0..).zip(sizes) {
            let value: Vec<u8> = (0_u8..=250).cycle().take(bytes).collect();
            let two = [
                record(0, 0, None, Some(&value), &[]),
                record(0, 1, None, Some(b"next"), &[]),
            ];

            let records = read(&Forged::packed(codec, 2, pack(&two.concat()))).unwrap();

            assert_eq!(
                records[0].value.as_deref(),
                Some(value.as_slice()),
                "{delta}"
            );
            assert_eq!(records[1].value.as_deref(), Some(b"next".as_slice()));
        }
    }
}

#[test]
fn reading_ends_after_the_first_error() {
    let body = [record(0, 0, None, None, &[]), vec![0; 7]].concat();
    let batch = Forged::packed(forge::PLAIN, 2, body).bytes();
    let mut records = read_records(&batch, &ReadLimits::default()).unwrap();

    assert_eq!(records.header().compression(), Compression::None);
    assert!(records.next().unwrap().is_ok());
    assert!(records.next().unwrap().is_err());
    assert!(records.next().is_none());
}
