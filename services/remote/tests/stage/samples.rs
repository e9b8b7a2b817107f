//! Values with something in every field, and every variant of every answer.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_metadata_api::{
    ActiveProducer, AlterBroker, AlterTopic, BatchVerdict, BrokerScope, CommitOffsets,
    CommittedOffset, Configs, CreateTopic, DeleteOffsets, DescribedGroup, DescribedMember,
    FetchOffsets, GroupError, GroupOverview, GroupReply, GroupRequest, GroupState, HeartbeatGroup,
    IndexExtent, JoinGroup, JoinedGroup, JoinedMember, LeaveGroup, LeavingMember, MetadataError,
    OffsetPartition, ProduceRefusal, ProducerSpan, Registered, ReservationSummary, ReserveRequest,
    SyncGroup, SyncedGroup, Topic, TopicChange, TopicName, WrittenReport,
};
use esker_types::{
    ByteRange, ChainIndex, ClusterId, Offset, PartitionIndex, ProducerEpoch, ProducerId, SegmentId,
    SequencerEpoch, SessionId, Timestamp, TopicId, TopicPartition,
};

pub(crate) const SESSION: SessionId = SessionId::from_bytes([3; 16]);

pub(crate) const METADATA_ERRORS: [MetadataError; 5] = [
    MetadataError::Recovering,
    MetadataError::Unavailable,
    MetadataError::Unknown,
    MetadataError::Deposed,
    MetadataError::Overloaded,
];

pub(crate) fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

pub(crate) fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([9; 16]),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

pub(crate) fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

pub(crate) fn configs(rows: &[(&str, &str)]) -> Configs {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    rows.iter().map(own).collect()
}

pub(crate) fn topic(text: &str, id: u8) -> Topic {
    Topic {
        id: TopicId::from_bytes([id; 16]),
        name: name(text),
        partition_count: NonZeroU32::new(7).unwrap(),
        replication_factor: 3,
        configs: configs(&[("retention.ms", "5"), ("cleanup.policy", "compact")]),
        defaults: Arc::default(),
    }
}

pub(crate) fn extent(base: u64) -> IndexExtent {
    IndexExtent {
        base_offset: offset(base),
        end_offset: offset(base + 2),
        segment: SegmentId {
            session: SESSION,
            index: ChainIndex::new(base),
        },
        range: ByteRange::at(64 + base, 100).unwrap(),
        max_timestamp: Timestamp::from_millis(-1),
    }
}

pub(crate) fn registered() -> Registered {
    Registered {
        session: SESSION,
        epoch: SequencerEpoch::new(4),
        cluster: ClusterId::from_bytes([5; 16]),
    }
}

pub(crate) fn reserve_request() -> ReserveRequest {
    let summary = ReservationSummary {
        topic_partition: at(1),
        record_count: 3,
        batch_bytes: 100,
        max_timestamp: Timestamp::from_millis(i64::MIN),
        producer: Some(ProducerSpan {
            producer_id: ProducerId::from_wire(i64::MAX).unwrap(),
            producer_epoch: ProducerEpoch::from_wire(i16::MAX).unwrap(),
            base_sequence: i32::MAX,
        }),
        transactional: true,
        expected_end: Some(offset(u64::MAX >> 1)),
    };
    let plain = ReservationSummary {
        topic_partition: at(0),
        producer: None,
        transactional: false,
        expected_end: None,
        ..summary.clone()
    };
    ReserveRequest {
        session: SESSION,
        epoch: SequencerEpoch::new(u64::MAX),
        index: ChainIndex::new(6),
        written: ChainIndex::new(5),
        batches: vec![summary, plain],
    }
}

pub(crate) fn verdicts() -> Vec<BatchVerdict> {
    let (base_offset, log_start) = (offset(5), offset(1));
    let mut verdicts = vec![
        BatchVerdict::Placed {
            base_offset,
            log_start,
        },
        BatchVerdict::Duplicate {
            base_offset,
            log_start,
        },
        BatchVerdict::DuplicateInFlight {
            original: ChainIndex::new(2),
            base_offset,
            log_start,
        },
        BatchVerdict::Deferred,
    ];
    let refusals = [
        ProduceRefusal::UnknownPartition,
        ProduceRefusal::OutOfOrderSequence,
        ProduceRefusal::DuplicateForgotten,
        ProduceRefusal::ProducerFenced,
        ProduceRefusal::PredecessorVoid,
        ProduceRefusal::OffsetsExhausted,
        ProduceRefusal::UnexpectedEnd { end: offset(8) },
    ];
    verdicts.extend(refusals.map(BatchVerdict::Refused));
    verdicts
}

pub(crate) fn written() -> WrittenReport {
    WrittenReport {
        session: SESSION,
        epoch: SequencerEpoch::new(4),
        written: ChainIndex::new(u64::MAX),
    }
}

pub(crate) fn create_topic() -> CreateTopic {
    CreateTopic {
        name: name("t"),
        partition_count: NonZeroU32::new(2).unwrap(),
        replication_factor: u16::MAX,
        configs: configs(&[("retention.ms", "")]),
        validate_only: true,
    }
}

pub(crate) fn alterations() -> Vec<AlterTopic> {
    let alter = |change, validate_only| AlterTopic {
        topic: TopicId::from_bytes([9; 16]),
        change,
        validate_only,
    };
    let change = TopicChange::Configs {
        expected: configs(&[("a", "b")]),
        configs: BTreeMap::new(),
    };
    let count = TopicChange::PartitionCount(NonZeroU32::new(9).unwrap());
    vec![alter(count, false), alter(change, true)]
}

pub(crate) fn broker_changes() -> Vec<AlterBroker> {
    let alter = |scope| AlterBroker {
        scope,
        expected: configs(&[("a", "b")]),
        configs: configs(&[("c", "d"), ("e", "")]),
    };
    let nodes = [BrokerScope::Node(i32::MIN), BrokerScope::Node(0)];
    let scopes = [BrokerScope::All].into_iter().chain(nodes);
    scopes.map(alter).collect()
}

pub(crate) fn producers() -> Vec<ActiveProducer> {
    let producer = |last_timestamp| ActiveProducer {
        producer_id: ProducerId::from_wire(7).unwrap(),
        producer_epoch: ProducerEpoch::from_wire(0).unwrap(),
        last_sequence: -1,
        last_timestamp,
    };
    vec![producer(None), producer(Some(Timestamp::from_millis(0)))]
}

pub(crate) fn group_errors() -> Vec<GroupError> {
    vec![
        GroupError::InvalidGroup,
        GroupError::MemberIdRequired {
            member: "m-1".to_owned(),
        },
        GroupError::UnknownMember,
        GroupError::FencedInstance,
        GroupError::IllegalGeneration,
        GroupError::RebalanceInProgress,
        GroupError::InconsistentProtocol,
        GroupError::InvalidSessionTimeout,
        GroupError::GroupFull,
        GroupError::OffsetMetadataTooLarge,
        GroupError::UnknownPartition,
        GroupError::NotEmpty,
        GroupError::UnknownGroup,
        GroupError::SubscribedToTopic,
    ]
}

fn committed(offset: i64) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: "µ".to_owned(),
    }
}

fn text(value: &str) -> String {
    value.to_owned()
}

fn join() -> JoinGroup {
    JoinGroup {
        group: text("g"),
        member: text(""),
        instance: Some(text("")),
        client_id: text("c"),
        client_host: text("/127.0.0.1"),
        protocol_type: text("consumer"),
        protocols: vec![(text("range"), Bytes::from_static(b"\0\xff"))],
        session_timeout: Duration::from_millis(6000),
        rebalance_timeout: Duration::from_millis(1),
        member_id_required: true,
        skip_assignment_supported: true,
    }
}

fn sync(protocol: Option<String>) -> SyncGroup {
    SyncGroup {
        group: text("g"),
        member: text("m"),
        instance: None,
        generation: i32::MIN,
        protocol_type: Some(text("")),
        protocol,
        assignments: vec![(text("m"), Bytes::new()), (text("n"), Bytes::from("x"))],
    }
}

pub(crate) fn group_requests() -> Vec<GroupRequest> {
    let leaving = LeavingMember {
        member: text(""),
        instance: Some(text("i")),
    };
    let fetch = |partitions| {
        GroupRequest::Fetch(FetchOffsets {
            group: text("g"),
            partitions,
        })
    };
    vec![
        GroupRequest::Join(join()),
        GroupRequest::Sync(sync(None)),
        GroupRequest::Sync(sync(Some(text("range")))),
        GroupRequest::Heartbeat(HeartbeatGroup {
            group: text("g"),
            member: text("m"),
            instance: None,
            generation: 3,
        }),
        GroupRequest::Leave(LeaveGroup {
            group: text("g"),
            members: vec![leaving],
        }),
        GroupRequest::Commit(CommitOffsets {
            group: text("g"),
            member: text("m"),
            instance: Some(text("i")),
            generation: -1,
            offsets: vec![OffsetPartition {
                topic_partition: at(2),
                committed: committed(-2),
            }],
        }),
        fetch(None),
        fetch(Some(Vec::new())),
        fetch(Some(vec![at(0), at(1)])),
        GroupRequest::Describe(vec![text("g"), text("h")]),
        GroupRequest::List,
        GroupRequest::Delete(vec![text("g")]),
        GroupRequest::DeleteOffsets(DeleteOffsets {
            group: text("g"),
            partitions: vec![(at(0), name("t"))],
        }),
    ]
}

fn joined() -> JoinedGroup {
    JoinedGroup {
        generation: 8,
        protocol_type: text("consumer"),
        protocol: text("range"),
        leader: text("m"),
        member: text("m"),
        members: vec![JoinedMember {
            member: text("m"),
            instance: Some(text("i")),
            metadata: Bytes::from_static(b"\x01"),
        }],
        skip_assignment: true,
    }
}

fn described(state: GroupState) -> DescribedGroup {
    DescribedGroup {
        group: text("g"),
        state,
        protocol_type: text("consumer"),
        protocol: text(""),
        members: vec![DescribedMember {
            member: text("m"),
            instance: None,
            client_id: text("c"),
            client_host: text("h"),
            metadata: Bytes::from_static(b"1"),
            assignment: Bytes::from_static(b"2"),
        }],
    }
}

pub(crate) fn group_replies() -> Vec<GroupReply> {
    let states = [
        GroupState::Empty,
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
        GroupState::Dead,
    ];
    let listed = states.map(|state| GroupOverview {
        group: text("g"),
        protocol_type: text("connect"),
        state,
    });
    let each = || {
        let failed = group_errors().into_iter().map(Err);
        std::iter::once(Ok(())).chain(failed).collect::<Vec<_>>()
    };
    let mut replies = vec![
        GroupReply::Joined(Ok(joined())),
        GroupReply::Synced(Ok(SyncedGroup {
            protocol_type: text("consumer"),
            protocol: text("range"),
            assignment: Bytes::from_static(b"a"),
        })),
        GroupReply::Heartbeat(Ok(())),
        GroupReply::Left(Ok(each())),
        GroupReply::Committed(Ok(each())),
        GroupReply::Offsets(Ok(vec![(at(1), committed(i64::MIN))])),
        GroupReply::Described(states.map(described).to_vec()),
        GroupReply::Listed(listed.to_vec()),
        GroupReply::Deleted(each()),
        GroupReply::OffsetsDeleted(Ok(each())),
    ];
    for error in group_errors() {
        replies.push(GroupReply::Joined(Err(error.clone())));
        replies.push(GroupReply::Synced(Err(error.clone())));
        replies.push(GroupReply::Heartbeat(Err(error.clone())));
        replies.push(GroupReply::Left(Err(error.clone())));
        replies.push(GroupReply::Committed(Err(error.clone())));
        replies.push(GroupReply::Offsets(Err(error.clone())));
        replies.push(GroupReply::OffsetsDeleted(Err(error)));
    }
    replies
}
