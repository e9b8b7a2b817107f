//! Groups of the real service, asked both ways: a life of one, with what can go wrong in it.

use std::time::Duration;

use bytes::Bytes;
use esker_metadata_api::{
    Admin, CommitOffsets, CommittedOffset, DeleteOffsets, FetchOffsets, GroupError, GroupReply,
    GroupRequest, GroupState, HeartbeatGroup, JoinGroup, LeaveGroup, LeavingMember,
    OffsetPartition, SyncGroup,
};
use esker_types::PartitionIndex;

use crate::stage::samples::name;
use crate::subject::{Subject, WAYS};
use crate::world::{CLUSTER, World, made};

const GROUP: &str = "g";

fn join(member: &str) -> GroupRequest {
    GroupRequest::Join(JoinGroup {
        group: GROUP.to_owned(),
        member: member.to_owned(),
        instance: None,
        client_id: "c".to_owned(),
        client_host: "h".to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"m"))],
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(10),
        member_id_required: true,
        skip_assignment_supported: false,
    })
}

fn beat(member: &str, generation: i32) -> GroupRequest {
    GroupRequest::Heartbeat(HeartbeatGroup {
        group: GROUP.to_owned(),
        member: member.to_owned(),
        instance: None,
        generation,
    })
}

async fn ask(admin: &dyn Admin, request: GroupRequest) -> GroupReply {
    admin.group(request).await.unwrap()
}

#[tokio::test]
async fn a_group_lives_from_its_first_member_to_its_deletion() {
    for way in WAYS {
        let world = World::new().await;
        let subject = Subject::new(way, &world.service, CLUSTER).await;
        let admin = &*subject.admin;
        let at = made(admin, "t").await.at(PartitionIndex::default());

        let GroupReply::Joined(Err(GroupError::MemberIdRequired { member })) =
            ask(admin, join("")).await
        else {
            panic!("{way:?}: a newcomer is given an id first")
        };
        let GroupReply::Joined(Ok(joined)) = ask(admin, join(&member)).await else {
            panic!("{way:?}: and joins with it")
        };
        let sync = GroupRequest::Sync(SyncGroup {
            group: GROUP.to_owned(),
            member: member.clone(),
            instance: None,
            generation: joined.generation,
            protocol_type: None,
            protocol: None,
            assignments: vec![(member.clone(), Bytes::from_static(b"all"))],
        });
        let GroupReply::Synced(Ok(synced)) = ask(admin, sync).await else {
            panic!("{way:?}: the leader assigns")
        };
        let alive = ask(admin, beat(&member, joined.generation)).await;
        let old = ask(admin, beat(&member, joined.generation - 1)).await;
        let stranger = ask(admin, beat("nobody", joined.generation)).await;
        let committed = CommittedOffset {
            offset: 7,
            leader_epoch: -1,
            metadata: "here".to_owned(),
        };
        let commit = GroupRequest::Commit(CommitOffsets {
            group: GROUP.to_owned(),
            member: member.clone(),
            instance: None,
            generation: joined.generation,
            offsets: vec![OffsetPartition {
                topic_partition: at,
                committed: committed.clone(),
            }],
        });
        let committing = ask(admin, commit).await;
        let fetch = GroupRequest::Fetch(FetchOffsets {
            group: GROUP.to_owned(),
            partitions: None,
        });
        let fetched = ask(admin, fetch).await;
        let both = vec![GROUP.to_owned(), "other".to_owned()];
        let GroupReply::Described(described) = ask(admin, GroupRequest::Describe(both)).await
        else {
            panic!("{way:?}: groups are described")
        };
        let GroupReply::Listed(listed) = ask(admin, GroupRequest::List).await else {
            panic!("{way:?}: groups are listed")
        };
        let delete = || GroupRequest::Delete(vec![GROUP.to_owned(), "other".to_owned()]);
        let busy = ask(admin, delete()).await;
        let leave = GroupRequest::Leave(LeaveGroup {
            group: GROUP.to_owned(),
            members: vec![LeavingMember {
                member: member.clone(),
                instance: None,
            }],
        });
        let left = ask(admin, leave).await;
        let forget = GroupRequest::DeleteOffsets(DeleteOffsets {
            group: GROUP.to_owned(),
            partitions: vec![(at, name("t"))],
        });
        let forgotten = ask(admin, forget).await;
        let gone = ask(admin, delete()).await;

        assert_eq!(joined.leader, member, "{way:?}");
        assert_eq!(synced.assignment, Bytes::from_static(b"all"), "{way:?}");
        assert_eq!(alive, GroupReply::Heartbeat(Ok(())), "{way:?}");
        let illegal = GroupError::IllegalGeneration;
        assert_eq!(old, GroupReply::Heartbeat(Err(illegal)), "{way:?}");
        let unknown = GroupError::UnknownMember;
        assert_eq!(stranger, GroupReply::Heartbeat(Err(unknown)), "{way:?}");
        assert_eq!(
            committing,
            GroupReply::Committed(Ok(vec![Ok(())])),
            "{way:?}"
        );
        assert_eq!(
            fetched,
            GroupReply::Offsets(Ok(vec![(at, committed)])),
            "{way:?}"
        );
        let states: Vec<_> = described.iter().map(|group| group.state).collect();
        assert_eq!(states, [GroupState::Stable, GroupState::Dead], "{way:?}");
        assert_eq!(listed[0].group, GROUP, "{way:?}");
        let unknown = || Err(GroupError::UnknownGroup);
        let outcomes = vec![Err(GroupError::NotEmpty), unknown()];
        assert_eq!(busy, GroupReply::Deleted(outcomes), "{way:?}");
        assert_eq!(left, GroupReply::Left(Ok(vec![Ok(())])), "{way:?}");
        assert_eq!(
            forgotten,
            GroupReply::OffsetsDeleted(Ok(vec![Ok(())])),
            "{way:?}"
        );
        // Without members and offsets it is gone by itself or by the deletion.
        let GroupReply::Deleted(gone) = gone else {
            panic!("{way:?}: groups are deleted")
        };
        assert_eq!(gone[1], unknown(), "{way:?}");
        subject.end().await;
        world.stop().await;
    }
}
