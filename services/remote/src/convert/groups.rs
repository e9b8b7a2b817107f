//! Requests and replies of the group coordinator.

use std::time::Duration;

use esker_metadata_api::{
    CommitOffsets, CommittedOffset, DeleteOffsets, DescribedGroup, DescribedMember, FetchOffsets,
    GroupError, GroupOverview, GroupReply, GroupRequest, GroupState, HeartbeatGroup, JoinGroup,
    JoinedGroup, JoinedMember, LeaveGroup, LeavingMember, OffsetPartition, SyncGroup, SyncedGroup,
    TopicName,
};
use esker_types::TopicPartition;

use super::ids::topic_partition;
use super::{Malformed, present};
use crate::proto::group_error::Error as Wire;
use crate::proto::group_reply::Reply;
use crate::proto::group_request::Request;
use crate::proto::{self, Empty, NamedBytes};

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn named(values: Vec<(String, bytes::Bytes)>) -> Vec<NamedBytes> {
    let pair = |(name, bytes)| NamedBytes { name, bytes };
    values.into_iter().map(pair).collect()
}

fn pairs(values: Vec<NamedBytes>) -> Vec<(String, bytes::Bytes)> {
    let pair = |NamedBytes { name, bytes }| (name, bytes);
    values.into_iter().map(pair).collect()
}

fn each<A, B>(values: Vec<A>, convert: impl FnMut(A) -> B) -> Vec<B> {
    values.into_iter().map(convert).collect()
}

fn all<A, B>(
    values: Vec<A>,
    convert: impl FnMut(A) -> Result<B, Malformed>,
) -> Result<Vec<B>, Malformed> {
    values.into_iter().map(convert).collect()
}

impl From<GroupRequest> for proto::GroupRequest {
    fn from(value: GroupRequest) -> Self {
        let groups = |groups| proto::GroupNames { groups };
        let request = match value {
            GroupRequest::Join(join) => Request::Join(join.into()),
            GroupRequest::Sync(sync) => Request::Sync(sync.into()),
            GroupRequest::Heartbeat(beat) => Request::Heartbeat(proto::HeartbeatGroup {
                group: beat.group,
                member: beat.member,
                instance: beat.instance,
                generation: beat.generation,
            }),
            GroupRequest::Leave(leave) => Request::Leave(proto::LeaveGroup {
                group: leave.group,
                members: each(leave.members, |member| proto::LeavingMember {
                    member: member.member,
                    instance: member.instance,
                }),
            }),
            GroupRequest::Commit(commit) => Request::Commit(proto::CommitOffsets {
                group: commit.group,
                member: commit.member,
                instance: commit.instance,
                generation: commit.generation,
                offsets: each(commit.offsets, |offset| {
                    offset_row(offset.topic_partition, offset.committed)
                }),
            }),
            GroupRequest::Fetch(fetch) => Request::Fetch(proto::FetchOffsets {
                group: fetch.group,
                partitions: fetch.partitions.map(|partitions| proto::PartitionList {
                    partitions: each(partitions, Into::into),
                }),
            }),
            GroupRequest::Describe(names) => Request::Describe(groups(names)),
            GroupRequest::List => Request::List(Empty {}),
            GroupRequest::Delete(names) => Request::Delete(groups(names)),
            GroupRequest::DeleteOffsets(delete) => Request::DeleteOffsets(proto::DeleteOffsets {
                group: delete.group,
                partitions: each(delete.partitions, |(at, name)| proto::NamedPartition {
                    topic_partition: Some(at.into()),
                    topic_name: name.as_str().to_owned(),
                }),
            }),
        };
        Self {
            request: Some(request),
        }
    }
}

impl TryFrom<proto::GroupRequest> for GroupRequest {
    type Error = Malformed;

    fn try_from(value: proto::GroupRequest) -> Result<Self, Malformed> {
        Ok(match present(value.request, "request")? {
            Request::Join(join) => Self::Join(join.into()),
            Request::Sync(sync) => Self::Sync(sync.into()),
            Request::Heartbeat(beat) => Self::Heartbeat(HeartbeatGroup {
                group: beat.group,
                member: beat.member,
                instance: beat.instance,
                generation: beat.generation,
            }),
            Request::Leave(leave) => Self::Leave(LeaveGroup {
                group: leave.group,
                members: each(leave.members, |member| LeavingMember {
                    member: member.member,
                    instance: member.instance,
                }),
            }),
            Request::Commit(commit) => Self::Commit(CommitOffsets {
                group: commit.group,
                member: commit.member,
                instance: commit.instance,
                generation: commit.generation,
                offsets: all(commit.offsets, |row| {
                    let (topic_partition, committed) = row_of(row)?;
                    Ok(OffsetPartition {
                        topic_partition,
                        committed,
                    })
                })?,
            }),
            Request::Fetch(fetch) => Self::Fetch(FetchOffsets {
                group: fetch.group,
                partitions: fetch.partitions.map(partition_list).transpose()?,
            }),
            Request::Describe(names) => Self::Describe(names.groups),
            Request::List(Empty {}) => Self::List,
            Request::Delete(names) => Self::Delete(names.groups),
            Request::DeleteOffsets(delete) => Self::DeleteOffsets(DeleteOffsets {
                group: delete.group,
                partitions: all(delete.partitions, named_partition)?,
            }),
        })
    }
}

fn partition_list(list: proto::PartitionList) -> Result<Vec<TopicPartition>, Malformed> {
    all(list.partitions, |at| topic_partition(Some(at)))
}

fn named_partition(value: proto::NamedPartition) -> Result<(TopicPartition, TopicName), Malformed> {
    let name = TopicName::new(&value.topic_name).ok();
    Ok((
        topic_partition(value.topic_partition)?,
        present(name, "topic_name")?,
    ))
}

fn offset_row(at: TopicPartition, committed: CommittedOffset) -> proto::OffsetPartition {
    proto::OffsetPartition {
        topic_partition: Some(at.into()),
        committed: Some(proto::CommittedOffset {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata,
        }),
    }
}

fn row_of(value: proto::OffsetPartition) -> Result<(TopicPartition, CommittedOffset), Malformed> {
    let committed = present(value.committed, "committed")?;
    let committed = CommittedOffset {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata,
    };
    Ok((topic_partition(value.topic_partition)?, committed))
}

impl From<JoinGroup> for proto::JoinGroup {
    fn from(value: JoinGroup) -> Self {
        Self {
            group: value.group,
            member: value.member,
            instance: value.instance,
            client_id: value.client_id,
            client_host: value.client_host,
            protocol_type: value.protocol_type,
            protocols: named(value.protocols),
            session_timeout_ms: millis(value.session_timeout),
            rebalance_timeout_ms: millis(value.rebalance_timeout),
            member_id_required: value.member_id_required,
            skip_assignment_supported: value.skip_assignment_supported,
        }
    }
}

impl From<proto::JoinGroup> for JoinGroup {
    fn from(value: proto::JoinGroup) -> Self {
        Self {
            group: value.group,
            member: value.member,
            instance: value.instance,
            client_id: value.client_id,
            client_host: value.client_host,
            protocol_type: value.protocol_type,
            protocols: pairs(value.protocols),
            session_timeout: Duration::from_millis(value.session_timeout_ms),
            rebalance_timeout: Duration::from_millis(value.rebalance_timeout_ms),
            member_id_required: value.member_id_required,
            skip_assignment_supported: value.skip_assignment_supported,
        }
    }
}

impl From<SyncGroup> for proto::SyncGroup {
    fn from(value: SyncGroup) -> Self {
        Self {
            group: value.group,
            member: value.member,
            instance: value.instance,
            generation: value.generation,
            protocol_type: value.protocol_type,
            protocol: value.protocol,
            assignments: named(value.assignments),
        }
    }
}

impl From<proto::SyncGroup> for SyncGroup {
    fn from(value: proto::SyncGroup) -> Self {
        Self {
            group: value.group,
            member: value.member,
            instance: value.instance,
            generation: value.generation,
            protocol_type: value.protocol_type,
            protocol: value.protocol,
            assignments: pairs(value.assignments),
        }
    }
}

fn outcome(value: Result<(), GroupError>) -> proto::GroupOutcome {
    use proto::group_outcome::Outcome;
    let outcome = match value {
        Ok(()) => Outcome::Done(Empty {}),
        Err(error) => Outcome::Error(error.into()),
    };
    proto::GroupOutcome {
        outcome: Some(outcome),
    }
}

fn outcome_of(value: proto::GroupOutcome) -> Result<Result<(), GroupError>, Malformed> {
    use proto::group_outcome::Outcome;
    Ok(match present(value.outcome, "outcome")? {
        Outcome::Done(Empty {}) => Ok(()),
        Outcome::Error(error) => Err(error.try_into()?),
    })
}

type PerItem = Result<Vec<Result<(), GroupError>>, GroupError>;

fn outcomes(value: PerItem) -> proto::Outcomes {
    use proto::outcomes::Outcome;
    let outcome = match value {
        Ok(each_one) => Outcome::Outcomes(proto::OutcomeList {
            outcomes: each(each_one, outcome),
        }),
        Err(error) => Outcome::Error(error.into()),
    };
    proto::Outcomes {
        outcome: Some(outcome),
    }
}

fn outcomes_of(value: proto::Outcomes) -> Result<PerItem, Malformed> {
    use proto::outcomes::Outcome;
    Ok(match present(value.outcome, "outcome")? {
        Outcome::Outcomes(list) => Ok(all(list.outcomes, outcome_of)?),
        Outcome::Error(error) => Err(error.try_into()?),
    })
}

impl From<GroupReply> for proto::GroupReply {
    fn from(value: GroupReply) -> Self {
        let reply = match value {
            GroupReply::Joined(joined) => Reply::Joined(joined_reply(joined)),
            GroupReply::Synced(synced) => Reply::Synced(synced_reply(synced)),
            GroupReply::Heartbeat(beat) => Reply::Heartbeat(outcome(beat)),
            GroupReply::Left(left) => Reply::Left(outcomes(left)),
            GroupReply::Committed(committed) => Reply::Committed(outcomes(committed)),
            GroupReply::Offsets(offsets) => Reply::Offsets(offsets_reply(offsets)),
            GroupReply::Described(groups) => Reply::Described(proto::Described {
                groups: each(groups, Into::into),
            }),
            GroupReply::Listed(groups) => Reply::Listed(proto::Listed {
                groups: each(groups, |group| proto::GroupOverview {
                    group: group.group,
                    protocol_type: group.protocol_type,
                    state: proto::GroupState::from(group.state).into(),
                }),
            }),
            GroupReply::Deleted(deleted) => Reply::Deleted(proto::OutcomeList {
                outcomes: each(deleted, outcome),
            }),
            GroupReply::OffsetsDeleted(deleted) => Reply::OffsetsDeleted(outcomes(deleted)),
        };
        Self { reply: Some(reply) }
    }
}

/// The reply that `value` tells; a failure is none and was looked for before.
impl TryFrom<proto::GroupReply> for GroupReply {
    type Error = Malformed;

    fn try_from(value: proto::GroupReply) -> Result<Self, Malformed> {
        Ok(match present(value.reply, "reply")? {
            Reply::Joined(joined) => Self::Joined(joined_of(joined)?),
            Reply::Synced(synced) => Self::Synced(synced_of(synced)?),
            Reply::Heartbeat(beat) => Self::Heartbeat(outcome_of(beat)?),
            Reply::Left(left) => Self::Left(outcomes_of(left)?),
            Reply::Committed(committed) => Self::Committed(outcomes_of(committed)?),
            Reply::Offsets(offsets) => Self::Offsets(offsets_of(offsets)?),
            Reply::Described(described) => {
                Self::Described(all(described.groups, TryInto::try_into)?)
            }
            Reply::Listed(listed) => Self::Listed(all(listed.groups, |group| {
                Ok(GroupOverview {
                    group: group.group,
                    protocol_type: group.protocol_type,
                    state: group_state(group.state)?,
                })
            })?),
            Reply::Deleted(list) => Self::Deleted(all(list.outcomes, outcome_of)?),
            Reply::OffsetsDeleted(deleted) => Self::OffsetsDeleted(outcomes_of(deleted)?),
            Reply::Failure(_) => return Err(Malformed { field: "reply" }),
        })
    }
}

fn joined_reply(value: Result<JoinedGroup, GroupError>) -> proto::Joined {
    use proto::joined::Outcome;
    let outcome = match value {
        Ok(joined) => Outcome::Joined(proto::JoinedGroup {
            generation: joined.generation,
            protocol_type: joined.protocol_type,
            protocol: joined.protocol,
            leader: joined.leader,
            member: joined.member,
            members: each(joined.members, |member| proto::JoinedMember {
                member: member.member,
                instance: member.instance,
                metadata: member.metadata,
            }),
            skip_assignment: joined.skip_assignment,
        }),
        Err(error) => Outcome::Error(error.into()),
    };
    proto::Joined {
        outcome: Some(outcome),
    }
}

fn joined_of(value: proto::Joined) -> Result<Result<JoinedGroup, GroupError>, Malformed> {
    use proto::joined::Outcome;
    Ok(match present(value.outcome, "outcome")? {
        Outcome::Joined(joined) => Ok(JoinedGroup {
            generation: joined.generation,
            protocol_type: joined.protocol_type,
            protocol: joined.protocol,
            leader: joined.leader,
            member: joined.member,
            members: each(joined.members, |member| JoinedMember {
                member: member.member,
                instance: member.instance,
                metadata: member.metadata,
            }),
            skip_assignment: joined.skip_assignment,
        }),
        Outcome::Error(error) => Err(error.try_into()?),
    })
}

fn synced_reply(value: Result<SyncedGroup, GroupError>) -> proto::Synced {
    use proto::synced::Outcome;
    let outcome = match value {
        Ok(synced) => Outcome::Synced(proto::SyncedGroup {
            protocol_type: synced.protocol_type,
            protocol: synced.protocol,
            assignment: synced.assignment,
        }),
        Err(error) => Outcome::Error(error.into()),
    };
    proto::Synced {
        outcome: Some(outcome),
    }
}

fn synced_of(value: proto::Synced) -> Result<Result<SyncedGroup, GroupError>, Malformed> {
    use proto::synced::Outcome;
    Ok(match present(value.outcome, "outcome")? {
        Outcome::Synced(synced) => Ok(SyncedGroup {
            protocol_type: synced.protocol_type,
            protocol: synced.protocol,
            assignment: synced.assignment,
        }),
        Outcome::Error(error) => Err(error.try_into()?),
    })
}

type Stored = Result<Vec<(TopicPartition, CommittedOffset)>, GroupError>;

fn offsets_reply(value: Stored) -> proto::Offsets {
    use proto::offsets::Outcome;
    let outcome = match value {
        Ok(offsets) => Outcome::Offsets(proto::OffsetList {
            offsets: each(offsets, |(at, committed)| offset_row(at, committed)),
        }),
        Err(error) => Outcome::Error(error.into()),
    };
    proto::Offsets {
        outcome: Some(outcome),
    }
}

fn offsets_of(value: proto::Offsets) -> Result<Stored, Malformed> {
    use proto::offsets::Outcome;
    Ok(match present(value.outcome, "outcome")? {
        Outcome::Offsets(list) => Ok(all(list.offsets, row_of)?),
        Outcome::Error(error) => Err(error.try_into()?),
    })
}

impl From<DescribedGroup> for proto::DescribedGroup {
    fn from(value: DescribedGroup) -> Self {
        Self {
            group: value.group,
            state: proto::GroupState::from(value.state).into(),
            protocol_type: value.protocol_type,
            protocol: value.protocol,
            members: each(value.members, |member| proto::DescribedMember {
                member: member.member,
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                metadata: member.metadata,
                assignment: member.assignment,
            }),
        }
    }
}

impl TryFrom<proto::DescribedGroup> for DescribedGroup {
    type Error = Malformed;

    fn try_from(value: proto::DescribedGroup) -> Result<Self, Malformed> {
        Ok(Self {
            group: value.group,
            state: group_state(value.state)?,
            protocol_type: value.protocol_type,
            protocol: value.protocol,
            members: each(value.members, |member| DescribedMember {
                member: member.member,
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                metadata: member.metadata,
                assignment: member.assignment,
            }),
        })
    }
}

impl From<GroupState> for proto::GroupState {
    fn from(value: GroupState) -> Self {
        match value {
            GroupState::Empty => Self::Empty,
            GroupState::PreparingRebalance => Self::PreparingRebalance,
            GroupState::CompletingRebalance => Self::CompletingRebalance,
            GroupState::Stable => Self::Stable,
            GroupState::Dead => Self::Dead,
        }
    }
}

fn group_state(value: i32) -> Result<GroupState, Malformed> {
    match proto::GroupState::try_from(value) {
        Ok(proto::GroupState::Empty) => Ok(GroupState::Empty),
        Ok(proto::GroupState::PreparingRebalance) => Ok(GroupState::PreparingRebalance),
        Ok(proto::GroupState::CompletingRebalance) => Ok(GroupState::CompletingRebalance),
        Ok(proto::GroupState::Stable) => Ok(GroupState::Stable),
        Ok(proto::GroupState::Dead) => Ok(GroupState::Dead),
        Ok(proto::GroupState::Unspecified) | Err(_) => Err(Malformed { field: "state" }),
    }
}

impl From<GroupError> for proto::GroupError {
    fn from(value: GroupError) -> Self {
        let error = match value {
            GroupError::InvalidGroup => Wire::InvalidGroup(Empty {}),
            GroupError::MemberIdRequired { member } => Wire::MemberIdRequired(member),
            GroupError::UnknownMember => Wire::UnknownMember(Empty {}),
            GroupError::FencedInstance => Wire::FencedInstance(Empty {}),
            GroupError::IllegalGeneration => Wire::IllegalGeneration(Empty {}),
            GroupError::RebalanceInProgress => Wire::RebalanceInProgress(Empty {}),
            GroupError::InconsistentProtocol => Wire::InconsistentProtocol(Empty {}),
            GroupError::InvalidSessionTimeout => Wire::InvalidSessionTimeout(Empty {}),
            GroupError::GroupFull => Wire::GroupFull(Empty {}),
            GroupError::OffsetMetadataTooLarge => Wire::OffsetMetadataTooLarge(Empty {}),
            GroupError::UnknownPartition => Wire::UnknownPartition(Empty {}),
            GroupError::NotEmpty => Wire::NotEmpty(Empty {}),
            GroupError::UnknownGroup => Wire::UnknownGroup(Empty {}),
            GroupError::SubscribedToTopic => Wire::SubscribedToTopic(Empty {}),
        };
        Self { error: Some(error) }
    }
}

impl TryFrom<proto::GroupError> for GroupError {
    type Error = Malformed;

    fn try_from(value: proto::GroupError) -> Result<Self, Malformed> {
        Ok(match present(value.error, "error")? {
            Wire::InvalidGroup(Empty {}) => Self::InvalidGroup,
            Wire::MemberIdRequired(member) => Self::MemberIdRequired { member },
            Wire::UnknownMember(Empty {}) => Self::UnknownMember,
            Wire::FencedInstance(Empty {}) => Self::FencedInstance,
            Wire::IllegalGeneration(Empty {}) => Self::IllegalGeneration,
            Wire::RebalanceInProgress(Empty {}) => Self::RebalanceInProgress,
            Wire::InconsistentProtocol(Empty {}) => Self::InconsistentProtocol,
            Wire::InvalidSessionTimeout(Empty {}) => Self::InvalidSessionTimeout,
            Wire::GroupFull(Empty {}) => Self::GroupFull,
            Wire::OffsetMetadataTooLarge(Empty {}) => Self::OffsetMetadataTooLarge,
            Wire::UnknownPartition(Empty {}) => Self::UnknownPartition,
            Wire::NotEmpty(Empty {}) => Self::NotEmpty,
            Wire::UnknownGroup(Empty {}) => Self::UnknownGroup,
            Wire::SubscribedToTopic(Empty {}) => Self::SubscribedToTopic,
        })
    }
}
