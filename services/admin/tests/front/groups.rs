//! DescribeGroups and ListGroups, all versions.

use bytes::Bytes;
use esker_admin::AdminConfig;
use esker_kafka::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, ListGroupsRequest,
    ListGroupsResponse,
};
use esker_kafka::{Api, Request};
use esker_metadata_api::{
    DescribedGroup, DescribedMember, GroupOverview, GroupReply, GroupRequest, GroupState,
    MetadataError,
};

use crate::wire::{World, body, group, pod, text, versions, world, world_of};

const STATES: [(GroupState, &str); 5] = [
    (GroupState::Empty, "Empty"),
    (GroupState::PreparingRebalance, "PreparingRebalance"),
    (GroupState::CompletingRebalance, "CompletingRebalance"),
    (GroupState::Stable, "Stable"),
    (GroupState::Dead, "Dead"),
];

fn described(name: &str, state: GroupState) -> DescribedGroup {
    let member = DescribedMember {
        member: String::from("m"),
        instance: Some(String::from("i")),
        client_id: String::from("c"),
        client_host: String::from("/10.0.0.9"),
        metadata: Bytes::from_static(b"topics"),
        assignment: Bytes::from_static(b"all"),
    };
    DescribedGroup {
        group: name.to_owned(),
        state,
        protocol_type: String::from("connect"),
        protocol: String::from("sessioned"),
        members: if state == GroupState::Dead {
            Vec::new()
        } else {
            vec![member]
        },
    }
}

async fn describe(
    world: &World,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    body!(
        DescribeGroups,
        world.ask(version, Request::DescribeGroups(request)).await
    )
}

async fn list(world: &World, version: i16, request: ListGroupsRequest) -> ListGroupsResponse {
    body!(
        ListGroups,
        world.ask(version, Request::ListGroups(request)).await
    )
}

#[tokio::test]
async fn groups_are_described_in_the_order_asked_in_every_version() {
    for version in versions(Api::DescribeGroups) {
        let world = world();
        let groups = vec![
            described("b", GroupState::Stable),
            described("a", GroupState::Dead),
        ];
        world.admin.reply_group(GroupReply::Described(groups));
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![group("b"), group("a")])
            .with_include_authorized_operations(version >= 3);

        let response = describe(&world, version, request).await;

        let names = vec![String::from("b"), String::from("a")];
        assert_eq!(
            world.admin.group_requests(),
            [GroupRequest::Describe(names)]
        );
        let stable = &response.groups[0];
        assert_eq!((stable.error_code, stable.group_id.as_str()), (0, "b"));
        assert_eq!(stable.error_message, None);
        let words = [
            &stable.group_state,
            &stable.protocol_type,
            &stable.protocol_data,
        ];
        assert_eq!(
            words.map(|word| word.as_str()),
            ["Stable", "connect", "sessioned"]
        );
        let operations = if version >= 3 { 328 } else { i32::MIN };
        assert_eq!(stable.authorized_operations, operations);
        let member = &stable.members[0];
        let ids = (
            member.member_id.as_str(),
            member.client_id.as_str(),
            member.client_host.as_str(),
        );
        assert_eq!(ids, ("m", "c", "/10.0.0.9"));
        assert_eq!(member.group_instance_id, (version >= 4).then(|| text("i")));
        assert_eq!(
            (&member.member_metadata[..], &member.member_assignment[..]),
            (&b"topics"[..], &b"all"[..])
        );
        let dead = &response.groups[1];
        assert_eq!((dead.group_state.as_str(), dead.members.len()), ("Dead", 0));
        assert_eq!(dead.error_code, if version >= 6 { 69 } else { 0 });
        assert_eq!(dead.error_message.is_some(), version >= 6);
    }
}

#[tokio::test]
async fn states_have_the_names_that_tools_know() {
    let world = world();
    let groups = STATES.map(|(state, _)| described("g", state));
    world
        .admin
        .reply_group(GroupReply::Described(groups.to_vec()));
    let request = DescribeGroupsRequest::default().with_groups(vec![group("g"); STATES.len()]);

    let response = describe(&world, 5, request).await;

    let shown: Vec<&str> = response
        .groups
        .iter()
        .map(|group| group.group_state.as_str())
        .collect();
    assert_eq!(shown, STATES.map(|(_, name)| name));
}

#[tokio::test]
async fn a_coordinator_that_does_not_answer_is_told_of_every_group() {
    for (error, code) in [
        (MetadataError::Recovering, 14),
        (MetadataError::Overloaded, 14),
        (MetadataError::Unavailable, 15),
        (MetadataError::Unknown, 15),
        (MetadataError::Deposed, 16),
    ] {
        for version in versions(Api::DescribeGroups) {
            let world = world();
            world.admin.fail_group(error);
            let groups = vec![group("a"), group("b")];
            let request = DescribeGroupsRequest::default().with_groups(groups);

            let response = describe(&world, version, request).await;

            let codes: Vec<(&str, i16)> = response
                .groups
                .iter()
                .map(|group| (group.group_id.as_str(), group.error_code))
                .collect();
            assert_eq!(codes, [("a", code), ("b", code)]);
        }
        for version in versions(Api::ListGroups) {
            let world = world();
            world.admin.fail_group(error);
            let response = list(&world, version, ListGroupsRequest::default()).await;
            assert_eq!((response.error_code, response.groups.len()), (code, 0));
        }
    }
}

#[tokio::test]
async fn wrong_answers_of_the_coordinator_are_retriable() {
    let world = world();
    world.admin.reply_group(GroupReply::Described(Vec::new()));
    world.admin.reply_group(GroupReply::Heartbeat(Ok(())));
    let request = DescribeGroupsRequest::default().with_groups(vec![group("a")]);

    let described = describe(&world, 6, request).await;
    let listed = list(&world, 5, ListGroupsRequest::default()).await;

    assert_eq!(
        (described.groups[0].error_code, listed.error_code),
        (15, 15)
    );
}

#[tokio::test]
async fn describing_no_group_asks_nobody() {
    let world = world();

    let response = describe(&world, 5, DescribeGroupsRequest::default()).await;

    assert!(response.groups.is_empty() && world.admin.group_requests().is_empty());
}

fn overview(name: &str, state: GroupState) -> GroupOverview {
    GroupOverview {
        group: name.to_owned(),
        protocol_type: String::from("consumer"),
        state,
    }
}

#[tokio::test]
async fn all_groups_are_listed_in_every_version() {
    for version in versions(Api::ListGroups) {
        let world = world();
        let groups = vec![
            overview("a", GroupState::Stable),
            overview("b", GroupState::Empty),
        ];
        world.admin.reply_group(GroupReply::Listed(groups));

        let response = list(&world, version, ListGroupsRequest::default()).await;

        assert_eq!((response.error_code, response.groups.len()), (0, 2));
        let first = &response.groups[0];
        assert_eq!(
            (first.group_id.as_str(), first.protocol_type.as_str()),
            ("a", "consumer")
        );
        assert_eq!(
            first.group_state.as_str(),
            if version >= 4 { "Stable" } else { "" }
        );
        assert_eq!(
            first.group_type.as_str(),
            if version >= 5 { "classic" } else { "" }
        );
    }
}

#[tokio::test]
async fn each_group_is_listed_by_the_one_process_that_clients_are_sent_to() {
    let mut told = Vec::new();
    for here in 1..=3 {
        let others = (1..=3).filter(|id| *id != here).map(|id| pod(id, None));
        let world = world_of(AdminConfig::default(), pod(here, None), others.collect());
        let names: Vec<String> = (0..30).map(|number| format!("g{number}")).collect();
        let all = names.iter().map(|name| overview(name, GroupState::Empty));
        world.admin.reply_group(GroupReply::Listed(all.collect()));

        let response = list(&world, 5, ListGroupsRequest::default()).await;

        assert!(!response.groups.is_empty(), "{here} coordinates some");
        for listed in response.groups {
            let request = FindCoordinatorRequest::default()
                .with_coordinator_keys(vec![listed.group_id.0.clone()]);
            let found = world.ask(6, Request::FindCoordinator(request)).await;
            let found = body!(FindCoordinator, found);
            assert_eq!(found.coordinators[0].node_id.0, here);
            told.push(listed.group_id.to_string());
        }
    }
    told.sort_unstable();
    let count = told.len();
    told.dedup();
    assert_eq!((told.len(), count), (30, 30));
}

#[tokio::test]
async fn filters_leave_out_other_states_and_types_without_regard_to_case() {
    for (states, types, expected) in [
        (&["stable"][..], &[][..], &["a"][..]),
        (&["Empty", "STABLE"], &[], &["a", "b"]),
        (&["nonsense"], &[], &[]),
        (&[], &["Classic"], &["a", "b", "c"]),
        (&[], &["consumer"], &[]),
        (&["dead"], &["consumer", "classic"], &["c"]),
    ] {
        let world = world();
        world.admin.reply_group(GroupReply::Listed(vec![
            overview("a", GroupState::Stable),
            overview("b", GroupState::Empty),
            overview("c", GroupState::Dead),
        ]));
        let words = |words: &[&str]| words.iter().map(|word| text(word)).collect();
        let request = ListGroupsRequest::default()
            .with_states_filter(words(states))
            .with_types_filter(words(types));

        let response = list(&world, 5, request).await;

        let names: Vec<&str> = response
            .groups
            .iter()
            .map(|group| group.group_id.as_str())
            .collect();
        assert_eq!(names, expected, "{states:?} {types:?}");
    }
}
