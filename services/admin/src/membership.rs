//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: requests are handed to the coordinator as they are.
//!
//! Protocol types, metadata and assignments are opaque. JoinGroup and SyncGroup wait as long as the
//! rebalance; the others have a deadline.

use std::net::IpAddr;
use std::time::Duration;

use esker_kafka::RequestContext;
use esker_kafka::messages::join_group_response::JoinGroupResponseMember;
use esker_kafka::messages::leave_group_request::MemberIdentity;
use esker_kafka::messages::leave_group_response::MemberResponse;
use esker_kafka::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, StrBytes, SyncGroupRequest, SyncGroupResponse,
};
use esker_metadata_api::{
    GroupError, GroupReply, GroupRequest, HeartbeatGroup, JoinGroup, JoinedGroup, JoinedMember,
    LeaveGroup, LeavingMember, SyncGroup, SyncedGroup,
};

use crate::error::GroupRefusal;
use crate::front::Front;
use crate::reply;

/// First version of JoinGroup with a time of its own for the rebalance.
const REBALANCE_TIMEOUT_FROM: i16 = 1;
/// First version of JoinGroup whose clients can be sent away with a member id first.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// First version of JoinGroup whose answer may lack a protocol.
const NO_PROTOCOL_FROM: i16 = 7;
/// First version of JoinGroup that knows how to skip an assignment.
const SKIP_ASSIGNMENT_FROM: i16 = 9;
/// First version of SyncGroup that must name the protocol.
const SYNC_PROTOCOL_FROM: i16 = 5;
/// First version of LeaveGroup that names several members.
const LEAVE_MANY_FROM: i16 = 3;

pub(crate) async fn join(
    front: &Front,
    context: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = context.api_version;
    let member = request.member_id.clone();
    let call = GroupRequest::Join(join_request(context, request));
    let joined = match front.catalogue.rebalance(call).await {
        Ok(GroupReply::Joined(joined)) => joined.map_err(GroupRefusal::Refused),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    };
    match joined {
        Ok(group) => joined_response(group),
        Err(refusal) => {
            // The only refusal that carries something: the id to come back with.
            let member = match &refusal {
                GroupRefusal::Refused(GroupError::MemberIdRequired { member }) => text(member),
                _ => member,
            };
            let protocol = (version < NO_PROTOCOL_FROM).then(StrBytes::default);
            JoinGroupResponse::default()
                .with_error_code(reply::group(&refusal).code())
                .with_generation_id(-1)
                .with_protocol_name(protocol)
                .with_member_id(member)
        }
    }
}

fn join_request(context: &RequestContext, request: JoinGroupRequest) -> JoinGroup {
    let version = context.api_version;
    let session_timeout = milliseconds(request.session_timeout_ms);
    let rebalance_timeout = if version >= REBALANCE_TIMEOUT_FROM {
        milliseconds(request.rebalance_timeout_ms)
    } else {
        session_timeout
    };
    let instance = owned(request.group_instance_id);
    let protocols = request.protocols.into_iter();
    JoinGroup {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        client_id: owned(context.client_id.clone()).unwrap_or_default(),
        client_host: shown_address(context.client_address.ip()),
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols
            .map(|one| (one.name.to_string(), one.metadata))
            .collect(),
        session_timeout,
        rebalance_timeout,
        member_id_required: version >= MEMBER_ID_REQUIRED_FROM && instance.is_none(),
        skip_assignment_supported: version >= SKIP_ASSIGNMENT_FROM,
        instance,
    }
}

fn joined_response(group: JoinedGroup) -> JoinGroupResponse {
    let member = |member: JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member))
            .with_group_instance_id(member.instance.as_deref().map(text))
            .with_metadata(member.metadata)
    };
    JoinGroupResponse::default()
        .with_generation_id(group.generation)
        .with_protocol_type(Some(text(&group.protocol_type)))
        .with_protocol_name(Some(text(&group.protocol)))
        .with_leader(text(&group.leader))
        .with_skip_assignment(group.skip_assignment)
        .with_member_id(text(&group.member))
        .with_members(group.members.into_iter().map(member).collect())
}

pub(crate) async fn sync(
    front: &Front,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    match synced(front, version, request).await {
        Ok(group) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(&group.protocol_type)))
            .with_protocol_name(Some(text(&group.protocol)))
            .with_assignment(group.assignment),
        Err(refusal) => SyncGroupResponse::default().with_error_code(reply::group(&refusal).code()),
    }
}

async fn synced(
    front: &Front,
    version: i16,
    request: SyncGroupRequest,
) -> Result<SyncedGroup, GroupRefusal> {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= SYNC_PROTOCOL_FROM && !named {
        return Err(GroupRefusal::ProtocolMissing);
    }
    let assignments = request.assignments.into_iter();
    let call = GroupRequest::Sync(SyncGroup {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(request.group_instance_id),
        generation: request.generation_id,
        protocol_type: owned(request.protocol_type),
        protocol: owned(request.protocol_name),
        assignments: assignments
            .map(|one| (one.member_id.to_string(), one.assignment))
            .collect(),
    });
    match front.catalogue.rebalance(call).await {
        Ok(GroupReply::Synced(synced)) => synced.map_err(GroupRefusal::Refused),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    }
}

pub(crate) async fn heartbeat(front: &Front, request: HeartbeatRequest) -> HeartbeatResponse {
    let call = GroupRequest::Heartbeat(HeartbeatGroup {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(request.group_instance_id),
        generation: request.generation_id,
    });
    let beaten = match front.catalogue.group(call).await {
        Ok(GroupReply::Heartbeat(beaten)) => beaten.map_err(GroupRefusal::Refused),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    };
    let response = HeartbeatResponse::default();
    match beaten {
        Ok(()) => response,
        Err(refusal) => response.with_error_code(reply::group(&refusal).code()),
    }
}

pub(crate) async fn leave(
    front: &Front,
    version: i16,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let group = request.group_id.to_string();
    let members = if version >= LEAVE_MANY_FROM {
        let one = |member: MemberIdentity| LeavingMember {
            member: member.member_id.to_string(),
            instance: owned(member.group_instance_id),
        };
        request.members.into_iter().map(one).collect()
    } else {
        let member = request.member_id.to_string();
        vec![LeavingMember {
            member,
            instance: None,
        }]
    };
    match left(front, group, members.clone()).await {
        Err(refusal) => {
            LeaveGroupResponse::default().with_error_code(reply::group(&refusal).code())
        }
        Ok(outcomes) if version >= LEAVE_MANY_FROM => {
            let pairs = members.into_iter().zip(outcomes);
            let one = |(member, outcome): (LeavingMember, Result<(), GroupError>)| {
                MemberResponse::default()
                    .with_member_id(text(&member.member))
                    .with_group_instance_id(member.instance.as_deref().map(text))
                    .with_error_code(outcome_code(outcome))
            };
            LeaveGroupResponse::default().with_members(pairs.map(one).collect())
        }
        Ok(outcomes) => {
            let code = outcomes
                .into_iter()
                .map(outcome_code)
                .find(|code| *code != reply::SUCCESS);
            LeaveGroupResponse::default().with_error_code(code.unwrap_or(reply::SUCCESS))
        }
    }
}

async fn left(
    front: &Front,
    group: String,
    members: Vec<LeavingMember>,
) -> Result<Vec<Result<(), GroupError>>, GroupRefusal> {
    let count = members.len();
    let call = GroupRequest::Leave(LeaveGroup { group, members });
    match front.catalogue.group(call).await {
        Ok(GroupReply::Left(Ok(outcomes))) if outcomes.len() == count => Ok(outcomes),
        Ok(GroupReply::Left(Err(error))) => Err(GroupRefusal::Refused(error)),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    }
}

fn outcome_code(outcome: Result<(), GroupError>) -> i16 {
    match outcome {
        Ok(()) => reply::SUCCESS,
        Err(error) => reply::group(&GroupRefusal::Refused(error)).code(),
    }
}

/// An answer to another question: a bug of ours, told to the client as "ask again".
pub(crate) fn wrong_answer() -> GroupRefusal {
    tracing::error!("group coordinator gave an answer to another question");
    GroupRefusal::WrongAnswer
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn owned(text: Option<StrBytes>) -> Option<String> {
    text.map(|text| text.to_string())
}

/// Negative times count as none; the coordinator refuses what is out of its bounds.
fn milliseconds(value: i32) -> Duration {
    u64::try_from(value).map_or(Duration::ZERO, Duration::from_millis)
}

/// As Kafka's tools know it: an address with a slash before it; one of IPv4 is shown as such, also
/// when it came to a socket of IPv6.
fn shown_address(address: IpAddr) -> String {
    let address = address.to_canonical();
    format!("/{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_shown_by_the_address_that_it_has() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let other: IpAddr = "fd00::1".parse().unwrap();

        assert_eq!(shown_address(mapped), "/10.0.0.1");
        assert_eq!(shown_address(other), "/fd00::1");
    }
}
