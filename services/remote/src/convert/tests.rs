//! What is not understood is never taken for something else; tables and advances come in parts.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use esker_metadata_api::limits::TOPICS_MAX;
use esker_metadata_api::{
    BatchVerdict, BrokerConfigs, BrokerScope, Configs, GroupReply, GroupRequest, MetadataError,
    PartitionAdvance, ReserveError, ReserveRequest, Topic, TopicName, TopicTable,
};
use esker_types::{Offset, PartitionIndex, TopicId, TopicPartition};
use prost::Message as _;

use super::ids::{producer_epoch, topic_id};
use super::{
    Malformed, TableParts, advance_parts, alter_request, create_request, delta_parts, extent,
    failure_of, grown, kind_of, offset, producer_id, topic_partition, topic_ref, verdicts,
};
use crate::limits::{ADVANCE_EXTENTS_MAX, PART_BYTES};
use crate::proto::{self, Failure};

const fn wrong(field: &'static str) -> Malformed {
    Malformed { field }
}

#[test]
fn kinds_of_failures_read_back_and_unknown_ones_may_have_been_done() {
    let errors = [
        MetadataError::Recovering,
        MetadataError::Unavailable,
        MetadataError::Unknown,
        MetadataError::Deposed,
        MetadataError::Overloaded,
    ];
    for error in errors {
        assert_eq!(kind_of(&failure_of(error, None)), error);
    }
    for kind in [0, 6, -1] {
        let failure = Failure {
            kind,
            leader: String::new(),
        };
        assert_eq!(kind_of(&failure), MetadataError::Unknown);
    }
}

#[test]
fn an_answer_of_an_unknown_variant_is_not_understood() {
    // A reply whose outcome is field 99, of a later version: to this one there is none.
    let newer = [0x9a, 0x06, 0x00];

    let reserved = proto::ReserveReply::decode(&newer[..]).unwrap();
    let verdict = proto::BatchVerdict::decode(&newer[..]).unwrap();
    let group = proto::GroupReply::decode(&newer[..]).unwrap();
    let error = proto::GroupError::decode(&newer[..]).unwrap();

    assert_eq!(verdicts(reserved, 1), Err(wrong("outcome")));
    assert_eq!(BatchVerdict::try_from(verdict), Err(wrong("verdict")));
    assert_eq!(GroupReply::try_from(group), Err(wrong("reply")));
    let error = esker_metadata_api::GroupError::try_from(error);
    assert_eq!(error, Err(wrong("error")));
}

#[test]
fn a_question_of_an_unknown_variant_is_not_taken_up() {
    let group = GroupRequest::try_from(proto::GroupRequest { request: None });
    let deletion = topic_ref(proto::DeleteTopicRequest { topic: None });
    let alteration = alter_request(proto::AlterTopicRequest::default());
    let scope = super::topics::broker_scope(Some(proto::BrokerScope { scope: None }));

    assert_eq!(group, Err(wrong("request")));
    assert_eq!(deletion, Err(wrong("topic")));
    assert_eq!(alteration, Err(wrong("change")));
    assert_eq!(scope, Err(wrong("scope")));
}

#[test]
fn a_group_in_an_unknown_state_is_not_understood() {
    for state in [0, 6] {
        let listed = proto::Listed {
            groups: vec![proto::GroupOverview {
                state,
                ..proto::GroupOverview::default()
            }],
        };
        let reply = proto::GroupReply {
            reply: Some(proto::group_reply::Reply::Listed(listed)),
        };

        assert_eq!(GroupReply::try_from(reply), Err(wrong("state")));
    }
}

#[test]
fn values_that_no_type_holds_are_refused() {
    let at = |topic: usize, partition| {
        topic_partition(Some(proto::TopicPartition {
            topic: Bytes::from(vec![1; topic]),
            partition,
        }))
    };
    let empty_extent = proto::Extent {
        base_offset: 5,
        end_offset: 5,
        ..proto::Extent::default()
    };

    assert_eq!(at(15, 0), Err(wrong("topic")));
    assert_eq!(at(16, u32::MAX), Err(wrong("partition")));
    assert_eq!(topic_partition(None), Err(wrong("topic_partition")));
    assert_eq!(topic_id(&[1; 17]), Err(wrong("topic")));
    assert_eq!(offset(u64::MAX, "from"), Err(wrong("from")));
    assert_eq!(producer_id(-1), Err(wrong("producer_id")));
    assert_eq!(producer_epoch(-1), Err(wrong("producer_epoch")));
    assert_eq!(producer_epoch(32_768), Err(wrong("producer_epoch")));
    assert_eq!(extent(empty_extent), Err(wrong("end_offset")));
    let request = proto::ReserveRequest::default();
    assert_eq!(ReserveRequest::try_from(request), Err(wrong("session")));
    let nameless = create_request(proto::CreateTopicRequest::default());
    assert_eq!(nameless, Err(wrong("name")));
}

#[test]
fn verdicts_are_as_many_as_batches() {
    let reply = |count| proto::ReserveReply {
        outcome: Some(proto::reserve_reply::Outcome::Verdicts(
            proto::reserve_reply::Verdicts {
                verdicts: vec![BatchVerdict::Deferred.into(); count],
            },
        )),
    };

    assert!(matches!(verdicts(reply(2), 2), Ok(Ok(_))));
    assert_eq!(verdicts(reply(1), 2), Err(wrong("verdicts")));
    assert_eq!(verdicts(reply(3), 2), Err(wrong("verdicts")));
    let closed = proto::ReserveReply {
        outcome: Some(proto::reserve_reply::Outcome::SessionClosed(
            proto::Empty {},
        )),
    };
    assert_eq!(verdicts(closed, 2), Ok(Err(ReserveError::SessionClosed)));
}

fn topic(at: usize, bytes: usize) -> Topic {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&u64::try_from(at).unwrap().to_be_bytes());
    Topic {
        id: TopicId::from_bytes(id),
        name: TopicName::new(&format!("t-{at}")).unwrap(),
        partition_count: NonZeroU32::MIN,
        replication_factor: 1,
        configs: BTreeMap::from([("retention.ms".to_owned(), "1".repeat(bytes))]),
        defaults: Arc::default(),
    }
}

/// What a follower has, told `tables` one after the other; and how many parts that took.
fn told(tables: &[TopicTable], node: i32) -> (TopicTable, usize) {
    let mut parts = TableParts::default();
    let mut known = TopicTable::default();
    let mut count = 0;
    let mut last = TopicTable::default();
    for table in tables {
        for part in delta_parts(&known, table) {
            count += 1;
            let more = part.more;
            let whole = parts.take(part, node).unwrap();
            assert_eq!(whole.is_none(), more);
            last = whole.unwrap_or(last);
        }
        known = table.clone();
    }
    (last, count)
}

#[test]
fn a_table_in_many_parts_is_told_whole_and_then_only_what_changed() {
    let mut first = TopicTable::default();
    for at in 0..300 {
        first.insert(topic(at, 2000));
    }
    let mut second = first.clone();
    second.remove(topic(7, 0).id);
    second.insert(topic(8, 1));
    // Created again under its old name, with another id.
    let again = Topic {
        id: TopicId::from_bytes([0xaa; 16]),
        ..topic(9, 1)
    };
    second.insert(again);
    second.version = 3;

    let (whole, parts) = told(std::slice::from_ref(&first), 1);
    let (changed, both) = told(&[first.clone(), second.clone()], 1);

    assert!(whole.iter().eq(first.iter()));
    assert_eq!(whole.version, first.version);
    let bytes = 300 * 2000;
    assert!(
        parts > bytes / PART_BYTES,
        "{parts} parts of about {PART_BYTES} bytes"
    );
    assert!(changed.iter().eq(second.iter()));
    assert_eq!(changed.version, 3);
    assert_eq!(both, parts + 1, "what changed fits one part");
    assert!(delta_parts(&second, &second)[0].changed.is_empty());
}

#[test]
fn each_node_works_out_its_own_defaults() {
    let mut brokers = BrokerConfigs::default();
    let set = |value: &str| Configs::from([("log.retention.ms".to_owned(), value.to_owned())]);
    brokers.set(BrokerScope::All, set("1"));
    brokers.set(BrokerScope::Node(2), set("2"));
    let mut table = TopicTable::default();
    table.insert(topic(0, 1));
    table.set_brokers(brokers);
    let as_served = table.on_node(2);

    let (here, _) = told(&[as_served], 1);

    let defaults = Configs::from([("retention.ms".to_owned(), "1".to_owned())]);
    assert_eq!(*here.named("t-0").unwrap().defaults, defaults);
}

#[test]
fn a_table_of_one_topic_more_than_a_cluster_has_is_not_understood() {
    let mut parts = TableParts::default();
    let topics = |range: std::ops::Range<usize>| proto::TopicsDelta {
        changed: range.map(|at| super::topic(&topic(at, 1))).collect(),
        more: true,
        ..proto::TopicsDelta::default()
    };

    assert!(matches!(parts.take(topics(0..TOPICS_MAX), 1), Ok(None)));
    let beyond = parts.take(topics(TOPICS_MAX..TOPICS_MAX + 1), 1);
    assert_eq!(beyond.err(), Some(wrong("changed")));
}

fn advance(extents: usize) -> PartitionAdvance {
    let one = proto::Extent {
        base_offset: 1,
        end_offset: 2,
        segment: Some(proto::SegmentId {
            session: Bytes::from_static(&[1; 16]),
            index: 0,
        }),
        range_start: 0,
        range_end: 1,
        max_timestamp: 0,
    };
    PartitionAdvance {
        topic_partition: TopicPartition {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionIndex::default(),
        },
        log_start: Offset::ZERO,
        high_watermark: Offset::new(9).unwrap(),
        extents: vec![extent(one).unwrap(); extents],
        previous_high_watermark: Offset::ZERO,
    }
}

#[test]
fn an_advance_in_parts_is_put_together_up_to_its_limit() {
    let whole = advance(ADVANCE_EXTENTS_MAX);
    let mut growing = None;
    let parts = advance_parts(&whole);
    let count = parts.len();
    for (at, part) in parts.into_iter().enumerate() {
        assert_eq!(part.more, at + 1 < count);
        assert!(part.encoded_len() <= PART_BYTES + 1024);
        let part = PartitionAdvance::try_from(part).unwrap();
        growing = Some(grown(growing, part).unwrap());
    }
    assert_eq!(growing.as_ref(), Some(&whole));
    assert_eq!(grown(growing, advance(1)), Err(wrong("advance")));
}

#[test]
fn parts_of_two_advances_are_not_mixed() {
    let mut other = advance(1);
    other.high_watermark = Offset::new(10).unwrap();

    assert_eq!(grown(Some(advance(1)), other), Err(wrong("advance")));
    assert_eq!(advance_parts(&advance(0)).len(), 1);
}
