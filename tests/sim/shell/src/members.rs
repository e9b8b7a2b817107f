//! Consumer groups: members that join, sync, commit under their generation and sometimes fall
//! silent, and a group without members whose offsets are committed and asked for.

use std::time::Duration;

use bytes::Bytes;
use esker_history::format::{Commit, Committed, Note, Operation, Owns};
use esker_metadata_api::{
    Admin as _, CommitOffsets, CommittedOffset, FetchOffsets, GroupError, GroupReply, GroupRequest,
    HeartbeatGroup, JoinGroup, JoinedGroup, MetadataError, OffsetPartition, SyncGroup,
};
use futures::FutureExt as _;
use futures::future::{Either, select};

use crate::client::{Client, Target};
use crate::clock::sleep;
use crate::net::CallError;
use crate::recorder::Ended;

/// What a client that has no time waits for an answer.
const IMPATIENT: Duration = Duration::from_secs(5);
const GROUP: &str = "members";
const SIMPLE: &str = "simple";

type Heard = Result<Result<GroupReply, MetadataError>, CallError>;

/// A membership, as the client believes it.
#[derive(Clone, Debug)]
struct Membership {
    group: &'static str,
    member: String,
    generation: i32,
    keys: Vec<String>,
}

impl Client {
    async fn group(&self, request: GroupRequest) -> Heard {
        let pod = self.pick(|roles| roles.fetch);
        let asked = self.ask("group", pod, move |remote| {
            let request = request.clone();
            async move { remote.group(request).await }.boxed()
        });
        asked.await
    }

    /// As [`Self::group`], for those who have no time.
    async fn group_soon(&self, request: GroupRequest) -> Heard {
        match select(Box::pin(self.group(request)), sleep(IMPATIENT)).await {
            Either::Left((heard, _)) => heard,
            Either::Right(((), _)) => Err(CallError::Lost),
        }
    }

    async fn commit(&self, process: u32, of: &Membership, target: &Target) -> bool {
        let offset = self.rng.below(1_000_000);
        let generation = u32::try_from(of.generation).unwrap_or(0);
        let operation = Operation::Commit(Commit {
            group: of.group.to_owned(),
            generation,
            key: target.key.clone(),
            offset,
        });
        let op = {
            let at = self.world.elapsed();
            self.world.recorder().invoke(at, process, 0, operation)
        };
        let committed = CommittedOffset {
            offset: i64::try_from(offset).unwrap_or(0),
            leader_epoch: -1,
            metadata: String::new(),
        };
        let request = GroupRequest::Commit(CommitOffsets {
            group: of.group.to_owned(),
            member: of.member.clone(),
            instance: None,
            generation: of.generation,
            offsets: vec![OffsetPartition {
                topic_partition: target.at,
                committed,
            }],
        });
        let heard = self.group_soon(request).await;
        let (ended, goes_on) = match heard {
            Ok(Ok(GroupReply::Committed(Ok(rows)))) => match rows.first() {
                Some(Ok(())) => (Ended::Ok, true),
                Some(Err(GroupError::UnknownPartition)) => {
                    let key = &target.key;
                    self.world
                        .violation(format!("{key}: exists, and a commit says it does not"));
                    (Ended::Fail("unknown partition"), false)
                }
                _ => (Ended::Fail("refused"), false),
            },
            Ok(Ok(_)) => (Ended::Fail("refused"), false),
            Ok(Err(
                MetadataError::Recovering | MetadataError::Unavailable | MetadataError::Overloaded,
            ))
            | Err(CallError::NotSent) => (Ended::Fail("not sent"), true),
            Ok(Err(_)) | Err(CallError::Lost) => (Ended::Info("lost"), true),
        };
        self.world
            .event(format_args!("commit {op} of {offset}: {ended:?}"));
        let at = self.world.elapsed();
        self.world.recorder().end(at, op, ended);
        goes_on
    }

    /// A metadata candidate itself, whoever leads.
    async fn group_at(&self, pod: usize, request: GroupRequest) -> Heard {
        let asked = self.call("group", pod, move |life| {
            let (service, request) = (life.metadata.clone()?, request.clone());
            Some(async move { service.group(request).await }.boxed())
        });
        asked.await
    }

    /// Asks some pod, or a candidate for the leader itself.
    async fn committed(
        &self,
        process: u32,
        group: &str,
        target: &Target,
        candidate: Option<usize>,
    ) {
        let operation = Operation::Committed(Committed {
            group: group.to_owned(),
            key: target.key.clone(),
        });
        let op = {
            let at = self.world.elapsed();
            self.world.recorder().invoke(at, process, 0, operation)
        };
        let request = GroupRequest::Fetch(FetchOffsets {
            group: group.to_owned(),
            partitions: Some(vec![target.at]),
        });
        let heard = match candidate {
            None => self.group_soon(request).await,
            Some(pod) => self.group_at(pod, request).await,
        };
        let ended = match heard {
            Ok(Ok(GroupReply::Offsets(Ok(rows)))) => {
                let found = rows.first().map(|(_, committed)| committed.offset);
                Ended::Offset(found.and_then(|offset| u64::try_from(offset).ok()))
            }
            _ => Ended::Fail("no answer"),
        };
        self.world.event(format_args!("committed {op}: {ended:?}"));
        let at = self.world.elapsed();
        self.world.recorder().end(at, op, ended);
    }

    /// Commits of a group without members, one after the other; and questions by anybody.
    pub(crate) async fn simple_group(self, target: Target) {
        let mut process = self.world.recorder().process();
        let of = Membership {
            group: SIMPLE,
            member: String::new(),
            generation: -1,
            keys: Vec::new(),
        };
        while !self.is_over() {
            if !self.commit(process, &of, &target).await {
                process = self.world.recorder().process();
            }
            self.pause(Duration::from_millis(500)).await;
        }
    }

    /// Asks for committed offsets.
    pub(crate) async fn ask_committed(self, targets: Vec<Target>) {
        let process = self.world.recorder().process();
        while !self.is_over() {
            for target in &targets {
                self.committed(process, SIMPLE, target, None).await;
                self.committed(process, GROUP, target, None).await;
                self.pause(Duration::from_millis(400)).await;
            }
        }
    }

    /// Asks every candidate again and again, and waits for none: what a process says that was
    /// deposed and has not heard of it.
    pub(crate) async fn ask_candidates(self, target: Target) {
        let pods = self.world.pods.iter();
        let pods = pods.filter(|slot| slot.roles.metadata);
        let pods: Vec<usize> = pods.map(|slot| slot.index).collect();
        while !self.is_over() {
            for pod in &pods {
                let (client, target, pod) = (self.clone(), target.clone(), *pod);
                self.world.spawn(async move {
                    let process = client.world.recorder().process();
                    client.committed(process, SIMPLE, &target, Some(pod)).await;
                });
            }
            self.pause(Duration::from_millis(700)).await;
        }
    }

    async fn join(&self, member: &mut String) -> Option<JoinedGroup> {
        for _ in 0..3 {
            let request = GroupRequest::Join(JoinGroup {
                group: GROUP.to_owned(),
                member: member.clone(),
                instance: None,
                client_id: "sim".to_owned(),
                client_host: "sim".to_owned(),
                protocol_type: "consumer".to_owned(),
                protocols: vec![("range".to_owned(), Bytes::new())],
                session_timeout: Duration::from_secs(6),
                rebalance_timeout: Duration::from_secs(6),
                member_id_required: true,
                skip_assignment_supported: false,
            });
            match self.group(request).await {
                Ok(Ok(GroupReply::Joined(Ok(joined)))) => {
                    member.clone_from(&joined.member);
                    return Some(joined);
                }
                Ok(Ok(GroupReply::Joined(Err(GroupError::MemberIdRequired { member: given })))) => {
                    *member = given;
                }
                Ok(Ok(GroupReply::Joined(Err(GroupError::UnknownMember)))) => member.clear(),
                _ => return None,
            }
        }
        None
    }

    /// Joins and syncs; `None`: try again.
    async fn become_member(&self, member: &mut String, targets: &[Target]) -> Option<Membership> {
        let joined = self.join(member).await?;
        let mut assignments: Vec<(String, Vec<u8>)> = joined
            .members
            .iter()
            .map(|row| (row.member.clone(), Vec::new()))
            .collect();
        for number in 0..targets.len() {
            let count = assignments.len().max(1);
            if let Some((_, rows)) = assignments.get_mut(number % count) {
                rows.push(u8::try_from(number).unwrap_or(0));
            }
        }
        let assignments = assignments.into_iter();
        let request = GroupRequest::Sync(SyncGroup {
            group: GROUP.to_owned(),
            member: member.clone(),
            instance: None,
            generation: joined.generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments
                .map(|(member, rows)| (member, Bytes::from(rows)))
                .collect(),
        });
        let Ok(Ok(GroupReply::Synced(Ok(synced)))) = self.group(request).await else {
            return None;
        };
        let numbers = synced.assignment.iter();
        let keys = numbers.filter_map(|number| targets.get(usize::from(*number)));
        let keys: Vec<String> = keys.map(|target| target.key.clone()).collect();
        let owns = Owns {
            group: GROUP.to_owned(),
            generation: u32::try_from(joined.generation).unwrap_or(0),
            member: member.clone(),
            keys: keys.clone(),
        };
        self.world.event(format_args!("{owns:?}"));
        let at = self.world.elapsed();
        self.world.recorder().note(at, Note::Owns(owns));
        Some(Membership {
            group: GROUP,
            member: member.clone(),
            generation: joined.generation,
            keys,
        })
    }

    async fn heartbeat(&self, of: &Membership) -> bool {
        let request = GroupRequest::Heartbeat(HeartbeatGroup {
            group: GROUP.to_owned(),
            member: of.member.clone(),
            instance: None,
            generation: of.generation,
        });
        match self.group(request).await {
            Ok(Ok(GroupReply::Heartbeat(outcome))) => outcome.is_ok(),
            // Nobody said no.
            _ => true,
        }
    }

    /// One member's life, over and over.
    pub(crate) async fn member(self, targets: Vec<Target>) {
        let mut member = String::new();
        let mut process = self.world.recorder().process();
        while !self.is_over() {
            let Some(of) = self.become_member(&mut member, &targets).await else {
                self.pause(Duration::from_millis(500)).await;
                continue;
            };
            let mut is_member = true;
            while is_member && !self.is_over() {
                let owned = targets
                    .iter()
                    .filter(|target| of.keys.contains(&target.key));
                for target in owned {
                    if !self.commit(process, &of, target).await {
                        process = self.world.recorder().process();
                    }
                }
                self.pause(Duration::from_millis(900)).await;
                if self.rng.below(25) == 0 {
                    // Falls silent for longer than the others wait, then commits as if it were
                    // still a member.
                    self.pause(Duration::from_secs(9)).await;
                    continue;
                }
                is_member = self.heartbeat(&of).await;
            }
        }
    }
}
