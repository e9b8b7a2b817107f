//! Codes that need no request to be seen.

use esker_metadata_api::MetadataError;
use esker_types::{ChainIndex, Offset, SegmentId, SessionId};

use super::*;

fn errors() -> [ReadError; 7] {
    [
        ReadError::UnknownPartition,
        ReadError::OutOfRange {
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
        },
        ReadError::NotVisible,
        ReadError::NotDecided,
        ReadError::TimedOut,
        ReadError::Unreadable {
            segment: SegmentId {
                session: SessionId::from_bytes([1; 16]),
                index: ChainIndex::ZERO,
            },
        },
        ReadError::Metadata(MetadataError::Recovering),
    ]
}

#[test]
fn a_fetch_never_answers_what_clients_do_not_expect_of_it() {
    let by_name = errors().map(|error| fetch_code(error, TopicNaming::ByName).code());
    let by_id = errors().map(|error| fetch_code(error, TopicNaming::ById).code());

    assert_eq!(by_name, [3, 1, 78, 78, 78, 56, 56]);
    assert_eq!(by_id, [100, 1, 78, 78, 78, 56, 56]);
}

#[test]
fn offset_queries_fail_in_the_words_of_their_version() {
    let new = errors().map(|error| query_code(error, 5).code());
    let old = errors().map(|error| query_code(error, 4).code());

    assert_eq!(new, [3, 78, 78, 78, 7, 56, 56]);
    assert_eq!(old, [3, 5, 5, 5, 7, 56, 56]);
}

#[test]
fn every_refusal_has_its_code() {
    let refusals = [
        (Refusal::UnknownTopic, 3),
        (Refusal::UnknownTopicId, 100),
        (Refusal::UnknownPartition, 3),
        (Refusal::OlderLeaderEpoch, 74),
        (Refusal::NewerLeaderEpoch, 75),
        (Refusal::NegativeOffset, 1),
        (Refusal::NamedTwice, 42),
        (Refusal::UnknownQuery, 35),
        (Refusal::Metadata(MetadataError::Unknown), 56),
    ];

    for (refusal, code) in refusals {
        assert_eq!(refusal_code(refusal).code(), code, "{refusal}");
    }
    assert_eq!(request_code(RequestRefusal::UnknownSession).code(), 70);
    assert_eq!(request_code(RequestRefusal::TooManyPartitions).code(), 42);
}
