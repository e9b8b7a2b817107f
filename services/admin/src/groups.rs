//! DescribeGroups and ListGroups, for tools.

use esker_kafka::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use esker_kafka::messages::list_groups_response::ListedGroup;
use esker_kafka::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
    StrBytes,
};
use esker_metadata_api::{
    DescribedGroup as Group, DescribedMember, GroupOverview, GroupReply, GroupRequest, GroupState,
};

use crate::error::GroupRefusal;
use crate::front::Front;
use crate::membership::{text, wrong_answer};
use crate::operations::Wanted;
use crate::reply;

/// First version of DescribeGroups that says why in words, and that refuses an unknown group;
/// before it is "Dead".
const WORDS_FROM: i16 = 6;
/// All groups are of this type.
const CLASSIC: &str = "classic";

pub(crate) async fn describe(
    front: &Front,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations = Wanted::new(request.include_authorized_operations, version, 3..=6);
    let described = described(front, &request.groups).await;
    let groups = match described {
        Ok(groups) => {
            let one = |group| described_group(group, version, operations);
            groups.into_iter().map(one).collect()
        }
        Err(refusal) => {
            let one = |group: GroupId| {
                DescribedGroup::default()
                    .with_group_id(group)
                    .with_error_code(reply::group(&refusal).code())
                    .with_error_message((version >= WORDS_FROM).then(|| reply::words(&refusal)))
                    .with_authorized_operations(Wanted::No.group())
            };
            request.groups.into_iter().map(one).collect()
        }
    };
    DescribeGroupsResponse::default().with_groups(groups)
}

async fn described(front: &Front, groups: &[GroupId]) -> Result<Vec<Group>, GroupRefusal> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = groups.iter().map(|group| group.to_string()).collect();
    match front.catalogue.group(GroupRequest::Describe(names)).await {
        Ok(GroupReply::Described(described)) if described.len() == groups.len() => Ok(described),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    }
}

fn described_group(group: Group, version: i16, operations: Wanted) -> DescribedGroup {
    let member = |member: DescribedMember| {
        DescribedGroupMember::default()
            .with_member_id(text(&member.member))
            .with_group_instance_id(member.instance.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    };
    let described = DescribedGroup::default()
        .with_group_id(GroupId(text(&group.group)))
        .with_error_message(None)
        .with_group_state(StrBytes::from_static_str(state(group.state)))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol))
        .with_members(group.members.into_iter().map(member).collect())
        .with_authorized_operations(operations.group());
    if group.state == GroupState::Dead && version >= WORDS_FROM {
        let refusal = GroupRefusal::UnknownGroup;
        return described
            .with_error_code(reply::group(&refusal).code())
            .with_error_message(Some(reply::words(&refusal)));
    }
    described
}

/// The groups that clients of this zone are sent here for: tools ask every broker and put the
/// answers together, some without a look for what they have already.
pub(crate) async fn list(front: &Front, request: ListGroupsRequest) -> ListGroupsResponse {
    let listed = match front.catalogue.group(GroupRequest::List).await {
        Ok(GroupReply::Listed(groups)) => Ok(groups),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    };
    match listed {
        Ok(groups) => {
            let here = front.brokers.here().node_id;
            let wanted = groups.into_iter().filter(|group| {
                front.brokers.coordinator(&group.group).node_id == here
                    && passes(&request.states_filter, state(group.state))
                    && passes(&request.types_filter, CLASSIC)
            });
            ListGroupsResponse::default().with_groups(wanted.map(listed_group).collect())
        }
        Err(refusal) => {
            ListGroupsResponse::default().with_error_code(reply::group(&refusal).code())
        }
    }
}

/// An empty filter lets all pass; words are compared without regard to case, as in Kafka.
fn passes(filter: &[StrBytes], word: &str) -> bool {
    filter.is_empty()
        || filter
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(word))
}

fn listed_group(group: GroupOverview) -> ListedGroup {
    ListedGroup::default()
        .with_group_id(GroupId(text(&group.group)))
        .with_protocol_type(text(&group.protocol_type))
        .with_group_state(StrBytes::from_static_str(state(group.state)))
        .with_group_type(StrBytes::from_static_str(CLASSIC))
}

/// As Kafka's tools spell it.
fn state(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Stable => "Stable",
        GroupState::Dead => "Dead",
    }
}
