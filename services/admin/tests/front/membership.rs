//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup, all versions.

use std::time::Duration;

use bytes::Bytes;
use esker_kafka::messages::join_group_request::JoinGroupRequestProtocol;
use esker_kafka::messages::leave_group_request::MemberIdentity;
use esker_kafka::messages::sync_group_request::SyncGroupRequestAssignment;
use esker_kafka::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use esker_kafka::{Api, Request};
use esker_metadata_api::{
    GroupError, GroupReply, GroupRequest, HeartbeatGroup, JoinGroup, JoinedGroup, JoinedMember,
    LeavingMember, MetadataError, SyncGroup, SyncedGroup,
};

use crate::wire::{World, body, group, text, versions, world};

/// Every refusal of the coordinator that carries nothing, with its code.
const REFUSALS: [(GroupError, i16); 10] = [
    (GroupError::InvalidGroup, 24),
    (GroupError::UnknownMember, 25),
    (GroupError::FencedInstance, 82),
    (GroupError::IllegalGeneration, 22),
    (GroupError::RebalanceInProgress, 27),
    (GroupError::InconsistentProtocol, 23),
    (GroupError::InvalidSessionTimeout, 26),
    (GroupError::GroupFull, 81),
    (GroupError::OffsetMetadataTooLarge, 12),
    (GroupError::UnknownPartition, 3),
];
/// Every way in which the coordinator does not answer, with its code.
const SILENCES: [(MetadataError, i16); 5] = [
    (MetadataError::Recovering, 14),
    (MetadataError::Overloaded, 14),
    (MetadataError::Unavailable, 15),
    (MetadataError::Unknown, 15),
    (MetadataError::Deposed, 16),
];

fn join_request(version: i16) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    let request = JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text("m"))
        .with_session_timeout_ms(45_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let request = if version >= 1 {
        request.with_rebalance_timeout_ms(60_000)
    } else {
        request
    };
    if version >= 8 {
        request.with_reason(Some(text("why not")))
    } else {
        request
    }
}

async fn join(world: &World, version: i16, request: JoinGroupRequest) -> JoinGroupResponse {
    body!(
        JoinGroup,
        world.ask(version, Request::JoinGroup(request)).await
    )
}

fn joined() -> JoinedGroup {
    let member = JoinedMember {
        member: String::from("m"),
        instance: Some(String::from("i")),
        metadata: Bytes::from_static(b"topics"),
    };
    JoinedGroup {
        generation: 3,
        protocol_type: String::from("consumer"),
        protocol: String::from("range"),
        leader: String::from("m"),
        member: String::from("m"),
        members: vec![member],
        skip_assignment: false,
    }
}

#[tokio::test]
async fn a_join_is_handed_over_and_answered_in_every_version() {
    for version in versions(Api::JoinGroup) {
        let world = world();
        world.admin.reply_group(GroupReply::Joined(Ok(joined())));

        let response = join(&world, version, join_request(version)).await;

        let rebalance = if version >= 1 { 60 } else { 45 };
        let asked = JoinGroup {
            group: String::from("g"),
            member: String::from("m"),
            instance: None,
            client_id: String::from("tester"),
            client_host: String::from("/10.1.2.3"),
            protocol_type: String::from("consumer"),
            protocols: vec![(String::from("range"), Bytes::from_static(b"topics"))],
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(rebalance),
            member_id_required: version >= 4,
            skip_assignment_supported: version >= 9,
        };
        assert_eq!(world.admin.group_requests(), [GroupRequest::Join(asked)]);
        assert_eq!((response.error_code, response.generation_id), (0, 3));
        assert_eq!(
            response.protocol_type,
            (version >= 7).then(|| text("consumer"))
        );
        assert_eq!(response.protocol_name, Some(text("range")));
        assert_eq!(
            (response.leader.as_str(), response.member_id.as_str()),
            ("m", "m")
        );
        let member = &response.members[0];
        assert_eq!(
            (member.member_id.as_str(), &member.metadata[..]),
            ("m", &b"topics"[..])
        );
        assert_eq!(member.group_instance_id, (version >= 5).then(|| text("i")));
    }
}

#[tokio::test]
async fn a_static_member_needs_no_member_id_first() {
    let world = world();
    world.admin.reply_group(GroupReply::Joined(Ok(joined())));

    let request = join_request(5).with_group_instance_id(Some(text("i")));
    join(&world, 5, request).await;

    match &world.admin.group_requests()[0] {
        GroupRequest::Join(asked) => {
            assert_eq!(asked.instance.as_deref(), Some("i"));
            assert!(!asked.member_id_required);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_returning_leader_may_skip_the_assignment() {
    let world = world();
    let group = JoinedGroup {
        skip_assignment: true,
        ..joined()
    };
    world.admin.reply_group(GroupReply::Joined(Ok(group)));

    assert!(join(&world, 9, join_request(9)).await.skip_assignment);
}

#[tokio::test]
async fn negative_times_are_left_to_the_coordinator_as_none() {
    let world = world();
    world
        .admin
        .reply_group(GroupReply::Joined(Err(GroupError::InvalidSessionTimeout)));
    let request = join_request(2)
        .with_session_timeout_ms(-5)
        .with_rebalance_timeout_ms(-1);

    let response = join(&world, 2, request).await;

    assert_eq!(response.error_code, 26);
    match &world.admin.group_requests()[0] {
        GroupRequest::Join(asked) => {
            let times = (asked.session_timeout, asked.rebalance_timeout);
            assert_eq!(times, (Duration::ZERO, Duration::ZERO));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_join_has_no_generation_and_keeps_the_member_id() {
    for version in versions(Api::JoinGroup) {
        for (error, code) in REFUSALS {
            let world = world();
            world.admin.reply_group(GroupReply::Joined(Err(error)));

            let response = join(&world, version, join_request(version)).await;

            assert_eq!((response.error_code, response.generation_id), (code, -1));
            assert_eq!(
                (response.member_id.as_str(), response.leader.as_str()),
                ("m", "")
            );
            assert_eq!(response.protocol_name, (version < 7).then(|| text("")));
            assert!(response.members.is_empty());
        }
    }
}

#[tokio::test]
async fn a_newcomer_is_sent_away_with_an_id() {
    let world = world();
    let member = String::from("tester-1");
    world
        .admin
        .reply_group(GroupReply::Joined(Err(GroupError::MemberIdRequired {
            member,
        })));

    let request = join_request(4).with_member_id(text(""));
    let response = join(&world, 4, request).await;

    assert_eq!(
        (response.error_code, response.member_id.as_str()),
        (79, "tester-1")
    );
}

fn sync_request(version: i16) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text("m"))
        .with_assignment(Bytes::from_static(b"all"));
    let request = SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text("m"))
        .with_generation_id(3)
        .with_assignments(vec![assignment]);
    let request = match version {
        3.. => request.with_group_instance_id(Some(text("i"))),
        _ => request,
    };
    match version {
        5.. => request
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range"))),
        _ => request,
    }
}

async fn sync(world: &World, version: i16, request: SyncGroupRequest) -> SyncGroupResponse {
    body!(
        SyncGroup,
        world.ask(version, Request::SyncGroup(request)).await
    )
}

#[tokio::test]
async fn a_sync_is_handed_over_and_answered_in_every_version() {
    for version in versions(Api::SyncGroup) {
        let world = world();
        world.admin.reply_group(GroupReply::Synced(Ok(SyncedGroup {
            protocol_type: String::from("consumer"),
            protocol: String::from("range"),
            assignment: Bytes::new(),
        })));

        let response = sync(&world, version, sync_request(version)).await;

        let asked = SyncGroup {
            group: String::from("g"),
            member: String::from("m"),
            instance: (version >= 3).then(|| String::from("i")),
            generation: 3,
            protocol_type: (version >= 5).then(|| String::from("consumer")),
            protocol: (version >= 5).then(|| String::from("range")),
            assignments: vec![(String::from("m"), Bytes::from_static(b"all"))],
        };
        assert_eq!(world.admin.group_requests(), [GroupRequest::Sync(asked)]);
        assert_eq!(
            (response.error_code, response.assignment),
            (0, Bytes::new())
        );
        assert_eq!(
            response.protocol_type,
            (version >= 5).then(|| text("consumer"))
        );
        assert_eq!(
            response.protocol_name,
            (version >= 5).then(|| text("range"))
        );
    }
}

#[tokio::test]
async fn a_refused_sync_has_its_code_in_every_version() {
    for version in versions(Api::SyncGroup) {
        for (error, code) in REFUSALS {
            let world = world();
            world.admin.reply_group(GroupReply::Synced(Err(error)));

            let response = sync(&world, version, sync_request(version)).await;

            assert_eq!((response.error_code, response.protocol_type), (code, None));
            assert!(response.assignment.is_empty());
        }
    }
}

#[tokio::test]
async fn a_sync_that_does_not_name_its_protocol_is_refused_from_version_5_on() {
    let world = world();

    for request in [
        sync_request(5).with_protocol_type(None),
        sync_request(5).with_protocol_name(None),
    ] {
        assert_eq!(sync(&world, 5, request).await.error_code, 23);
    }
    assert!(world.admin.group_requests().is_empty());
}

fn heartbeat_request(version: i16) -> HeartbeatRequest {
    let request = HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text("m"))
        .with_generation_id(3);
    if version >= 3 {
        request.with_group_instance_id(Some(text("i")))
    } else {
        request
    }
}

async fn heartbeat(world: &World, version: i16) -> HeartbeatResponse {
    let request = Request::Heartbeat(heartbeat_request(version));
    body!(Heartbeat, world.ask(version, request).await)
}

#[tokio::test]
async fn a_heartbeat_is_handed_over_and_answered_in_every_version() {
    for version in versions(Api::Heartbeat) {
        let world = world();
        world.admin.reply_group(GroupReply::Heartbeat(Ok(())));
        let beaten = heartbeat(&world, version).await;
        for (error, code) in REFUSALS {
            world.admin.reply_group(GroupReply::Heartbeat(Err(error)));
            assert_eq!(heartbeat(&world, version).await.error_code, code);
        }

        let asked = HeartbeatGroup {
            group: String::from("g"),
            member: String::from("m"),
            instance: (version >= 3).then(|| String::from("i")),
            generation: 3,
        };
        assert_eq!(
            world.admin.group_requests()[0],
            GroupRequest::Heartbeat(asked)
        );
        assert_eq!(beaten.error_code, 0);
    }
}

fn leave_request(version: i16, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group("g"));
    if version < 3 {
        return request.with_member_id(text(members[0].0));
    }
    let one = |(member, instance): &(&str, Option<&str>)| {
        MemberIdentity::default()
            .with_member_id(text(member))
            .with_group_instance_id(instance.map(text))
    };
    request.with_members(members.iter().map(one).collect())
}

async fn leave(world: &World, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    body!(
        LeaveGroup,
        world.ask(version, Request::LeaveGroup(request)).await
    )
}

#[tokio::test]
async fn one_member_leaves_below_version_3_and_its_error_is_that_of_the_answer() {
    for version in 0..3 {
        let world = world();
        world.admin.reply_group(GroupReply::Left(Ok(vec![Ok(())])));
        let left = leave(&world, version, leave_request(version, &[("m", None)])).await;
        let unknown = vec![Err(GroupError::UnknownMember)];
        world.admin.reply_group(GroupReply::Left(Ok(unknown)));
        let refused = leave(&world, version, leave_request(version, &[("m", None)])).await;

        assert_eq!((left.error_code, refused.error_code), (0, 25));
        assert!(left.members.is_empty() && refused.members.is_empty());
        match &world.admin.group_requests()[0] {
            GroupRequest::Leave(asked) => {
                let member = String::from("m");
                assert_eq!(
                    asked.members,
                    [LeavingMember {
                        member,
                        instance: None
                    }]
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn several_members_leave_from_version_3_on_each_with_its_own_error() {
    for version in 3..=5 {
        let world = world();
        let outcomes = vec![
            Ok(()),
            Err(GroupError::UnknownMember),
            Err(GroupError::FencedInstance),
        ];
        world.admin.reply_group(GroupReply::Left(Ok(outcomes)));
        let members = [("", Some("i")), ("m", None), ("n", Some("j"))];

        let response = leave(&world, version, leave_request(version, &members)).await;

        assert_eq!(response.error_code, 0);
        let left: Vec<(&str, Option<&str>, i16)> = response
            .members
            .iter()
            .map(|one| {
                let instance = one
                    .group_instance_id
                    .as_ref()
                    .map(|instance| instance.as_str());
                (one.member_id.as_str(), instance, one.error_code)
            })
            .collect();
        assert_eq!(
            left,
            [("", Some("i"), 0), ("m", None, 25), ("n", Some("j"), 82)]
        );
    }
}

#[tokio::test]
async fn a_group_that_refuses_to_be_left_says_so_at_the_top() {
    for version in versions(Api::LeaveGroup) {
        for (error, code) in REFUSALS {
            let world = world();
            world.admin.reply_group(GroupReply::Left(Err(error)));

            let response = leave(&world, version, leave_request(version, &[("m", None)])).await;

            assert_eq!((response.error_code, response.members.len()), (code, 0));
        }
    }
}

#[tokio::test]
async fn silence_of_the_coordinator_is_retriable_everywhere() {
    for (error, code) in SILENCES {
        let world = world();
        for _ in 0..4 {
            world.admin.fail_group(error);
        }

        let leaving = leave_request(4, &[("m", None)]);
        let codes = [
            join(&world, 9, join_request(9)).await.error_code,
            sync(&world, 5, sync_request(5)).await.error_code,
            heartbeat(&world, 4).await.error_code,
            leave(&world, 4, leaving).await.error_code,
        ];

        assert_eq!(codes, [code; 4], "{error}");
    }
}

#[tokio::test]
async fn an_answer_to_another_question_is_retriable_too() {
    let world = world();
    for _ in 0..4 {
        world.admin.reply_group(GroupReply::Listed(Vec::new()));
    }
    world.admin.reply_group(GroupReply::Left(Ok(Vec::new())));

    let leaving = leave_request(4, &[("m", None)]);
    let codes = [
        join(&world, 9, join_request(9)).await.error_code,
        sync(&world, 5, sync_request(5)).await.error_code,
        heartbeat(&world, 4).await.error_code,
        leave(&world, 4, leaving.clone()).await.error_code,
        leave(&world, 4, leaving).await.error_code,
    ];

    assert_eq!(codes, [15; 5]);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_do_not_wait_for_ever_and_joins_wait_for_the_rebalance() {
    let world = world();
    world.admin.hang();
    let clock = esker_env::SystemClock::new();
    let joining = join(&world, 5, join_request(5));
    let waited = esker_env::timeout(&clock, Duration::from_secs(3600), joining);

    assert_eq!(heartbeat(&world, 4).await.error_code, 15);
    assert!(
        waited.await.is_err(),
        "the coordinator ends a join, nobody else"
    );
}
