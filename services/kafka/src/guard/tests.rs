//! The guard against the codec: what one writes the other passes, to the last byte; what is
//! corrupted is refused; each limit holds and one past it fails.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use esker_env::Rng;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    DescribeGroupsRequest, FetchRequest, GroupId, MetadataRequest, OffsetFetchRequest,
    RequestHeader,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::request::{DecodeError, Request, decode_frame, request_header_version};

const CORPUS: &str = include_str!("../../tests/frames.hex");
/// What Apache Kafka's own tools sent to a broker.
const JAVA: &str = include_str!("../../tests/java_frames.hex");

fn versions() -> impl Iterator<Item = (Api, i16)> {
    let all = Api::ALL.iter();
    all.flat_map(|api| (api.served().min..=api.served().max).map(|version| (*api, version)))
}

fn encode(request: &Request, version: i16, client_id: Option<StrBytes>) -> Bytes {
    encode_with(
        request,
        version,
        RequestHeader::default().with_client_id(client_id),
    )
}

fn encode_with(request: &Request, version: i16, header: RequestHeader) -> Bytes {
    let mut frame = BytesMut::new();
    header
        .with_request_api_key(request.api().key())
        .with_request_api_version(version)
        .encode(&mut frame, request_header_version(request.api(), version))
        .unwrap();
    request.encode_body(&mut frame, version).unwrap();
    frame.freeze()
}

#[test]
fn whatever_the_codec_writes_passes_and_ends_at_the_last_byte() {
    let rng = Rng::from_seed(1);
    for (api, version) in versions() {
        for _ in 0..200 {
            let sample = sample::random(api, version, &rng);
            let frame = Bytes::from(sample.frame);

            let (guarded, _, request) = decode_frame(frame.clone())
                .unwrap_or_else(|error| panic!("{api} {version}: {error:?}"));
            let mut again = BytesMut::new();
            request.encode_body(&mut again, version).unwrap();

            assert_eq!((guarded.api, guarded.version), (api, version));
            assert_eq!(again, frame[guarded.header_bytes..], "{api} {version}");
        }
    }
}

#[test]
fn what_the_tools_of_apache_kafka_send_passes() {
    let frames = frames_of(JAVA);

    assert!(frames.len() > 20);
    for frame in frames {
        let decoded = decode_frame(Bytes::from(frame.clone()));
        assert!(decoded.is_ok(), "{decoded:?}: {frame:02x?}");
    }
}

#[test]
fn every_length_that_is_negative_or_too_large_is_refused() {
    let rng = Rng::from_seed(2);
    let mut corrupted = 0;
    for (api, version) in versions() {
        for _ in 0..30 {
            let sample = sample::random(api, version, &rng);
            for length in &sample.lengths {
                for wrong in wrong_lengths(length, sample.frame.len()) {
                    let mut frame = sample.frame.clone();
                    let place = length.position..length.position + length.width;
                    frame.splice(place, wrong.iter().copied());

                    let outcome = guard_frame(&frame);

                    assert!(outcome.is_err(), "{api} {version} {length:?} {wrong:?}");
                    corrupted += 1;
                }
            }
        }
    }
    assert!(corrupted > 10_000, "{corrupted} lengths were corrupted");
}

/// Lengths that no frame of `frame_bytes` can have.
fn wrong_lengths(length: &sample::Length, frame_bytes: usize) -> Vec<Vec<u8>> {
    let beyond = i32::try_from(frame_bytes).unwrap() + 1;
    let null = i32::from(length.nullable);
    if length.compact {
        let mut wrong = vec![
            vec![0xff, 0xff, 0xff, 0xff, 0x0f],
            vec![0xff, 0xff, 0xff, 0xff, 0x10],
            vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
            vec![0xff, 0xff, 0x7f],
        ];
        wrong.extend((!length.nullable).then(|| vec![0]));
        return wrong;
    }
    if length.width == 2 {
        let wrong = [i16::MAX, i16::MIN, -2, i16::try_from(-1 - null).unwrap()];
        return wrong.map(|wrong| wrong.to_be_bytes().to_vec()).to_vec();
    }
    let list_beyond = i32::try_from(limits::LIST_ELEMENTS_MAX).unwrap() + 1;
    let wrong = [i32::MAX, i32::MIN, -2, -1 - null, beyond, list_beyond];
    wrong.map(|wrong| wrong.to_be_bytes().to_vec()).to_vec()
}

#[test]
fn every_cut_is_refused_and_extra_bytes_are_not_looked_at() {
    for frame in corpus() {
        for end in 0..frame.len() {
            assert!(guard_frame(&frame[..end]).is_err());
        }
        let longer = [&frame[..], &[0xff; 3]].concat();
        assert_eq!(guard_frame(&longer), guard_frame(&frame));
        let (_, _, request) = decode_frame(Bytes::from(longer)).unwrap();
        assert_eq!(request, decode_frame(Bytes::from(frame)).unwrap().2);
    }
}

#[test]
fn librdkafka_asks_for_all_topics_with_three_bytes_too_many() {
    let frame = [
        &[0, 3, 0, 13, 0, 0, 0, 3, 0, 7][..],
        b"rdkafka",
        &[0, 0, 0, 0, 0, 1, 0, 0],
    ]
    .concat();

    let (guarded, _, request) = decode_frame(Bytes::from(frame)).unwrap();

    assert_eq!((guarded.api, guarded.version), (Api::Metadata, 13));
    let Request::Metadata(request) = request else {
        panic!("{request:?}")
    };
    assert_eq!(request.topics, None);
}

#[test]
fn unknown_keys_and_versions_are_told_apart() {
    let frame = |key: i16, version: i16| {
        let head = [key.to_be_bytes(), version.to_be_bytes()].concat();
        guard_frame(&[&head[..], &[0, 0, 0, 9, 0xff, 0xff]].concat())
    };

    assert_eq!(frame(4, 0), Err(GuardError::UnknownApi { key: 4 }));
    assert_eq!(
        frame(18, 99),
        Err(GuardError::UnsupportedVersion {
            api: Api::ApiVersions,
            version: 99,
            correlation_id: 9
        })
    );
    assert!(matches!(
        frame(0, 2),
        Err(GuardError::UnsupportedVersion { .. })
    ));
    assert!(matches!(
        frame(1, 3),
        Err(GuardError::UnsupportedVersion { .. })
    ));
}

fn groups(count: usize) -> Bytes {
    let groups = vec![GroupId(StrBytes::from_static_str("group")); count];
    let request = DescribeGroupsRequest::default().with_groups(groups);
    encode(&Request::DescribeGroups(request), 0, None)
}

#[test]
fn a_list_holds_its_limit_and_not_one_more() {
    assert!(guard_frame(&groups(limits::LIST_ELEMENTS_MAX)).is_ok());
    assert!(matches!(
        guard_frame(&groups(limits::LIST_ELEMENTS_MAX + 1)),
        Err(GuardError::TooMany { .. })
    ));
}

#[test]
fn lists_of_one_request_together_hold_their_limit_and_not_one_more() {
    let frame = |count: usize| {
        let topic = |partitions: usize| {
            OffsetFetchRequestTopic::default().with_partition_indexes(vec![0; partitions])
        };
        let whole = 9_000;
        let mut topics = vec![topic(whole); count / (whole + 1)];
        topics.push(topic(count % (whole + 1) - 1));
        let request = OffsetFetchRequest::default().with_topics(Some(topics));
        encode(&Request::OffsetFetch(request), 1, None)
    };

    assert!(guard_frame(&frame(limits::REQUEST_ELEMENTS_MAX)).is_ok());
    assert!(matches!(
        guard_frame(&frame(limits::REQUEST_ELEMENTS_MAX + 1)),
        Err(GuardError::TooMany { .. })
    ));
}

#[test]
fn a_fetch_holds_its_limit_of_partitions_and_not_one_more() {
    let frame = |partitions: usize| {
        let of =
            |count| FetchTopic::default().with_partitions(vec![FetchPartition::default(); count]);
        let topics = vec![of(9_000), of(9_000), of(partitions - 18_000)];
        let request = FetchRequest::default().with_topics(topics);
        encode(&Request::Fetch(request), 11, None)
    };

    assert!(guard_frame(&frame(limits::FETCH_ELEMENTS_MAX - 3)).is_ok());
    assert!(guard_frame(&frame(limits::FETCH_ELEMENTS_MAX - 2)).is_err());
}

#[test]
fn a_string_holds_its_limit_and_not_one_more() {
    let frame = |bytes: usize| {
        let name = StrBytes::from_string("n".repeat(bytes));
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(name)]);
        encode(&Request::DescribeGroups(request), 5, None)
    };

    assert!(guard_frame(&frame(limits::STRING_BYTES_MAX)).is_ok());
    assert!(matches!(
        guard_frame(&frame(limits::STRING_BYTES_MAX + 1)),
        Err(GuardError::TooMany { .. })
    ));
}

#[test]
fn a_struct_holds_its_limit_of_tagged_fields_and_not_one_more() {
    let frame = |tags: usize| {
        let mut header = RequestHeader::default();
        for tag in 0..i32::try_from(tags).unwrap() {
            header = header.with_unknown_tagged_field(tag, Bytes::from_static(b"x"));
        }
        encode_with(&Request::Metadata(MetadataRequest::default()), 9, header)
    };

    assert!(guard_frame(&frame(limits::TAGGED_FIELDS_MAX)).is_ok());
    assert!(matches!(
        guard_frame(&frame(limits::TAGGED_FIELDS_MAX + 1)),
        Err(GuardError::TooMany { .. })
    ));
}

#[test]
fn a_request_that_grows_too_much_when_decoded_is_refused() {
    let tag = (7, Bytes::new());
    let topic = MetadataRequestTopic::default()
        .with_name(Some(StrBytes::new().into()))
        .with_unknown_tagged_field(tag.0, tag.1);
    let request = MetadataRequest::default().with_topics(Some(vec![topic; 10_000]));

    let frame = encode(&Request::Metadata(request), 9, None);

    let most = frame.len() * limits::DECODED_FACTOR + limits::DECODED_SLACK_BYTES;
    let outcome = guard_frame(&frame);
    assert!(matches!(outcome, Err(GuardError::Memory { most: at, .. }) if at == most));
}

#[test]
fn null_bad_text_and_wrong_tags_are_refused_by_name() {
    let text = [
        0, 15, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0xc3, 0x28,
    ];
    let null = [0, 15, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    // Fetch 12 with tag 1 (ReplicaState), which begins at 15; and with a cluster id cut short.
    let fetch = |tags: &[u8]| {
        let request = Request::Fetch(FetchRequest::default());
        let frame = encode(&request, 12, None);
        guard_frame(&[&frame[..frame.len() - 1], tags].concat())
    };

    assert_eq!(
        guard_frame(&text),
        Err(GuardError::Text { field: "Groups" })
    );
    assert_eq!(
        guard_frame(&null),
        Err(GuardError::Null { field: "Groups" })
    );
    assert_eq!(fetch(&[1, 1, 1, 0]), Err(GuardError::Tag { tag: 1 }));
    assert_eq!(
        fetch(&[1, 0, 3, 2, b'x', 0]),
        Err(GuardError::Tag { tag: 0 })
    );
    assert!(fetch(&[1, 0, 2, 2, b'x']).is_ok());
    assert!(matches!(fetch(&[1, 9, 1]), Err(GuardError::Short { .. })));
    let signed = fetch(&[1, 0x80, 0x80, 0x80, 0x80, 0x08, 0]);
    assert_eq!(signed, Err(GuardError::Tag { tag: 1 << 31 }));
    let negative = [&null[..10], &[0xff, 0xff, 0xff, 0xfe]].concat();
    assert_eq!(
        guard_frame(&negative),
        Err(GuardError::Negative { field: "Groups" })
    );
}

#[test]
fn a_length_beyond_32_bits_is_refused() {
    let head = [0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0];
    let frame = [&head[..], &[0xff, 0xff, 0xff, 0xff, 0x1f]].concat();

    let guarded = guard_frame(&frame);
    let decoded = decode_frame(Bytes::from(frame));

    assert_eq!(guarded, Err(GuardError::Varint { field: "Topics" }));
    assert!(matches!(
        decoded,
        Err(DecodeError::Guard(GuardError::Varint { .. }))
    ));
}

#[test]
fn the_crash_that_started_this_is_refused() {
    let body = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let head = [0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0];

    let outcome = guard_frame(&[&head[..], &body].concat());

    assert!(matches!(
        outcome,
        Err(GuardError::Short {
            field: "Topics",
            ..
        })
    ));
}

fn corpus() -> Vec<Vec<u8>> {
    frames_of(CORPUS)
}

fn frames_of(text: &str) -> Vec<Vec<u8>> {
    let byte = |line: &str, at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            (0..line.len())
                .step_by(2)
                .map(|at| byte(line, at))
                .collect()
        })
        .collect()
}

#[test]
fn the_corpus_holds_what_the_table_generates() {
    let rng = Rng::from_seed(3);
    let mut text =
        String::from("# Two requests of each api and version, see src/guard/tests.rs.\n");
    for (api, version) in versions() {
        for _ in 0..2 {
            for byte in sample::random(api, version, &rng).frame {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
    }

    let written = std::env::temp_dir().join("esker-kafka-frames.hex");
    if text != CORPUS {
        std::fs::write(&written, &text).unwrap();
    }

    assert!(
        text == CORPUS,
        "tests/frames.hex is old; the new one is {}",
        written.display()
    );
    assert_eq!(corpus().len(), 2 * versions().count());
}
