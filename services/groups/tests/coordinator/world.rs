//! A host for the coordinator: a clock, a journal that can be held back, and the callers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use esker_groups::{
    GroupCommand, GroupConfig, GroupCoordinator, GroupEffect, GroupOffsets, MemberSeed, Moment,
    Ticket,
};
use esker_metadata_api::{
    CommitOffsets, CommittedOffset, DeleteOffsets, DescribedGroup, FetchOffsets, GroupError,
    GroupReply, GroupRequest, GroupState, HeartbeatGroup, JoinGroup, JoinedGroup, LeaveGroup,
    LeavingMember, OffsetPartition, SyncGroup, SyncedGroup, TopicName,
};
use esker_types::{MonotonicTime, PartitionIndex, Timestamp, TopicId, TopicPartition};

pub(crate) const GROUP: &str = "g";
pub(crate) const SESSION: Duration = Duration::from_secs(10);
pub(crate) const REBALANCE: Duration = Duration::from_secs(60);
pub(crate) const DELAY: Duration = Duration::from_secs(3);

/// The wall's time when a world begins.
const WALL_START: i64 = 1_700_000_000_000;

/// What waits to be durable, and who waits for it.
type Queued = (GroupCommand, Option<(Ticket, GroupReply)>);

/// The host.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) coordinator: GroupCoordinator,
    pub(crate) offsets: GroupOffsets,
    pub(crate) config: GroupConfig,
    pub(crate) elapsed: Duration,
    /// Appended, not yet durable.
    pub(crate) journal: VecDeque<Queued>,
    /// Commands become durable only when told.
    pub(crate) held: bool,
    /// Answered and not yet looked at.
    pub(crate) answers: BTreeMap<Ticket, GroupReply>,
    pub(crate) answered: BTreeSet<Ticket>,
    pub(crate) deleted: BTreeSet<TopicId>,
    tickets: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    pub(crate) fn with(config: GroupConfig) -> Self {
        let offsets = GroupOffsets::default();
        let start = MonotonicTime::default();
        Self {
            coordinator: GroupCoordinator::recovered(config, &offsets, start),
            offsets,
            config,
            elapsed: Duration::ZERO,
            journal: VecDeque::new(),
            held: false,
            answers: BTreeMap::new(),
            answered: BTreeSet::new(),
            deleted: BTreeSet::new(),
            tickets: 0,
        }
    }

    pub(crate) fn at(&self) -> Moment {
        let millis = i64::try_from(self.elapsed.as_millis()).unwrap();
        Moment {
            now: MonotonicTime::from_start(self.elapsed),
            wall: Timestamp::from_millis(WALL_START + millis),
        }
    }

    /// Sends a request; the answer may be there already.
    pub(crate) fn ask(&mut self, request: GroupRequest) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket::new(self.tickets);
        let seed = u128::from(self.tickets).to_be_bytes();
        let deleted = self.deleted.clone();
        let effects = self.coordinator.step(
            self.at(),
            ticket,
            request,
            &self.offsets,
            &|at| !deleted.contains(&at.topic),
            MemberSeed::from_bytes(seed),
        );
        self.take(effects);
        ticket
    }

    fn take(&mut self, effects: Vec<GroupEffect>) {
        self.absorb(effects);
        if !self.held {
            self.deliver_all();
        }
    }

    fn absorb(&mut self, effects: Vec<GroupEffect>) {
        for effect in effects {
            match effect {
                GroupEffect::Reply(ticket, reply) => self.answer(ticket, reply),
                GroupEffect::Append { command, then } => {
                    let command = GroupCommand::decode(&command.encode()).unwrap();
                    self.journal.push_back((command, then));
                }
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, reply: GroupReply) {
        assert!(
            self.answered.insert(ticket),
            "{ticket:?} is answered once: {reply:?}"
        );
        self.answers.insert(ticket, reply);
    }

    /// The oldest command becomes durable.
    pub(crate) fn deliver(&mut self) -> Option<GroupCommand> {
        let (command, then) = self.journal.pop_front()?;
        let deleted = self.deleted.clone();
        self.offsets
            .apply(&command, &|at| !deleted.contains(&at.topic));
        let effects = self.coordinator.command_applied(self.at(), &command);
        self.absorb(effects);
        if let Some((ticket, reply)) = then {
            self.answer(ticket, reply);
        }
        Some(command)
    }

    pub(crate) fn deliver_all(&mut self) {
        while self.deliver().is_some() {}
    }

    /// Appends a command of the host's own.
    pub(crate) fn append(&mut self, command: GroupCommand) {
        self.take(vec![GroupEffect::Append {
            command,
            then: None,
        }]);
    }

    pub(crate) fn tick(&mut self) {
        let deleted = self.deleted.clone();
        let name_of = |topic| (!deleted.contains(&topic)).then(|| topic_name(topic));
        let effects = self.coordinator.tick(self.at(), &self.offsets, &name_of);
        self.take(effects);
    }

    /// Lets time pass, ticking whenever the coordinator wants it.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.elapsed + by;
        while let Some(next) = self.coordinator.next_deadline() {
            if next.since_start() > until {
                break;
            }
            self.elapsed = self.elapsed.max(next.since_start());
            self.tick();
        }
        self.elapsed = until;
        self.tick();
    }

    /// The process dies: what was not durable is lost, its callers are never answered. Another
    /// takes over.
    pub(crate) fn take_over(&mut self) {
        self.journal.clear();
        let now = self.at().now;
        self.coordinator = GroupCoordinator::recovered(self.config, &self.offsets, now);
        self.tick();
    }

    pub(crate) fn answer_to(&mut self, ticket: Ticket) -> Option<GroupReply> {
        self.answers.remove(&ticket)
    }

    pub(crate) fn joined(&mut self, ticket: Ticket) -> Result<JoinedGroup, GroupError> {
        match self.answer_to(ticket) {
            Some(GroupReply::Joined(outcome)) => outcome,
            other => panic!("no answer to a Join: {other:?}"),
        }
    }

    pub(crate) fn synced(&mut self, ticket: Ticket) -> Result<SyncedGroup, GroupError> {
        match self.answer_to(ticket) {
            Some(GroupReply::Synced(outcome)) => outcome,
            other => panic!("no answer to a Sync: {other:?}"),
        }
    }

    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        !self.answered.contains(&ticket)
    }

    pub(crate) fn join(&mut self, request: JoinGroup) -> Ticket {
        self.ask(GroupRequest::Join(request))
    }

    /// A dynamic newcomer gets its id and joins with it: the id, and the waiting Join.
    pub(crate) fn newcomer(&mut self, request: &JoinGroup) -> (String, Ticket) {
        let first = self.join(request.clone());
        let Err(GroupError::MemberIdRequired { member }) = self.joined(first) else {
            panic!("a newcomer is given an id first");
        };
        let ticket = self.join(JoinGroup {
            member: member.clone(),
            ..request.clone()
        });
        (member, ticket)
    }

    pub(crate) fn sync(&mut self, member: &str, generation: i32) -> Ticket {
        self.ask(GroupRequest::Sync(sync(member, generation)))
    }

    /// The leader hands in `assignment-of-<member>` for each.
    pub(crate) fn assign(&mut self, leader: &str, generation: i32, members: &[String]) -> Ticket {
        let assignments = members
            .iter()
            .map(|id| (id.clone(), assignment_of(id)))
            .collect();
        self.ask(GroupRequest::Sync(SyncGroup {
            assignments,
            ..sync(leader, generation)
        }))
    }

    /// The only member assigns nothing to itself, in this protocol.
    pub(crate) fn assign_with(&mut self, joined: &JoinedGroup, protocol: &str) {
        let protocol = Some(protocol.to_owned());
        let request = SyncGroup {
            protocol,
            ..sync(&joined.member, joined.generation)
        };
        let ticket = self.ask(GroupRequest::Sync(request));
        self.synced(ticket).unwrap();
    }

    pub(crate) fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), GroupError> {
        let ticket = self.ask(GroupRequest::Heartbeat(HeartbeatGroup {
            group: GROUP.into(),
            member: member.into(),
            instance: None,
            generation,
        }));
        match self.answer_to(ticket) {
            Some(GroupReply::Heartbeat(outcome)) => outcome,
            other => panic!("no answer to a Heartbeat: {other:?}"),
        }
    }

    pub(crate) fn leave(&mut self, members: Vec<LeavingMember>) -> Vec<Result<(), GroupError>> {
        let ticket = self.ask(GroupRequest::Leave(LeaveGroup {
            group: GROUP.into(),
            members,
        }));
        match self.answer_to(ticket) {
            Some(GroupReply::Left(Ok(outcomes))) => outcomes,
            other => panic!("no answer to a Leave: {other:?}"),
        }
    }

    pub(crate) fn commit(
        &mut self,
        member: &str,
        generation: i32,
        offset: u64,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let ticket = self.ask(GroupRequest::Commit(commit(member, generation, offset)));
        match self.answer_to(ticket) {
            Some(GroupReply::Committed(outcome)) => outcome,
            other => panic!("no answer to a Commit: {other:?}"),
        }
    }

    pub(crate) fn fetch(&mut self, group: &str) -> Vec<(TopicPartition, CommittedOffset)> {
        let ticket = self.ask(GroupRequest::Fetch(FetchOffsets {
            group: group.into(),
            partitions: None,
        }));
        match self.answer_to(ticket) {
            Some(GroupReply::Offsets(Ok(offsets))) => offsets,
            other => panic!("no answer to a Fetch: {other:?}"),
        }
    }

    pub(crate) fn delete(&mut self, groups: &[&str]) -> Vec<Result<(), GroupError>> {
        let names = groups.iter().map(|name| (*name).to_owned()).collect();
        let ticket = self.ask(GroupRequest::Delete(names));
        match self.answer_to(ticket) {
            Some(GroupReply::Deleted(outcomes)) => outcomes,
            other => panic!("no answer to a Delete: {other:?}"),
        }
    }

    pub(crate) fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let ticket = self.ask(GroupRequest::DeleteOffsets(DeleteOffsets {
            group: group.to_owned(),
            partitions: partitions
                .iter()
                .map(|at| (*at, topic_name(at.topic)))
                .collect(),
        }));
        match self.answer_to(ticket) {
            Some(GroupReply::OffsetsDeleted(outcome)) => outcome,
            other => panic!("no answer to a DeleteOffsets: {other:?}"),
        }
    }

    pub(crate) fn describe(&mut self, group: &str) -> DescribedGroup {
        let ticket = self.ask(GroupRequest::Describe(vec![group.into()]));
        match self.answer_to(ticket) {
            Some(GroupReply::Described(mut groups)) => groups.remove(0),
            other => panic!("no answer to a Describe: {other:?}"),
        }
    }

    pub(crate) fn state(&mut self) -> GroupState {
        self.describe(GROUP).state
    }

    /// `count` dynamic members that were told a generation; nobody has synced. Leader first.
    pub(crate) fn told_group(&mut self, count: usize) -> (Vec<String>, i32) {
        let joins: Vec<_> = (0..count).map(|_| self.newcomer(&join(""))).collect();
        self.advance(DELAY * u32::try_from(count.min(2)).unwrap());
        let joined: Vec<_> = joins
            .iter()
            .map(|(_, ticket)| self.joined(*ticket).unwrap())
            .collect();
        let mut ids: Vec<String> = joins.into_iter().map(|(id, _)| id).collect();
        ids.sort_by_key(|id| *id != joined[0].leader);
        (ids, joined[0].generation)
    }

    /// As [`Self::told_group`], and all have their assignment.
    pub(crate) fn stable_group(&mut self, count: usize) -> (Vec<String>, i32) {
        let (ids, generation) = self.told_group(count);
        let mut tickets = vec![self.assign(&ids[0], generation, &ids)];
        tickets.extend(ids[1..].iter().map(|id| self.sync(id, generation)));
        for (id, ticket) in ids.iter().zip(tickets) {
            assert_eq!(self.synced(ticket).unwrap().assignment, assignment_of(id));
        }
        (ids, generation)
    }

    /// All of `ids` join again and take part in the generation that comes of it. Leader first.
    pub(crate) fn rebalance(&mut self, ids: &[String]) -> (Vec<String>, i32) {
        let tickets: Vec<Ticket> = ids.iter().map(|id| self.join(join(id))).collect();
        let joined: Vec<_> = tickets
            .iter()
            .map(|ticket| self.joined(*ticket).unwrap())
            .collect();
        let (leader, generation) = (joined[0].leader.clone(), joined[0].generation);
        let mut ids = ids.to_vec();
        ids.sort_by_key(|id| *id != leader);
        let ticket = self.assign(&leader, generation, &ids);
        self.synced(ticket).unwrap();
        for id in &ids[1..] {
            let ticket = self.sync(id, generation);
            assert_eq!(self.synced(ticket).unwrap().assignment, assignment_of(id));
        }
        (ids, generation)
    }

    /// Lets time pass while these members send heartbeats.
    pub(crate) fn advance_alive(&mut self, by: Duration, alive: &[(&str, i32)]) {
        let until = self.elapsed + by;
        while self.elapsed < until {
            self.advance((SESSION / 2).min(until - self.elapsed));
            for (member, generation) in alive {
                let _ = self.heartbeat(member, *generation);
            }
        }
    }
}

/// Topics are called `t` and the first byte of their id.
pub(crate) fn topic_name(topic: TopicId) -> TopicName {
    TopicName::new(&format!("t{}", topic.bytes()[0])).unwrap()
}

/// Metadata of a consumer that reads `topics`.
pub(crate) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 3];
    bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

/// A Join of protocol type `consumer`, protocol `range`, metadata `m`.
pub(crate) fn join(member: &str) -> JoinGroup {
    JoinGroup {
        group: GROUP.into(),
        member: member.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "/10.0.0.1".into(),
        protocol_type: "consumer".into(),
        protocols: protocols(&[("range", "m")]),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        member_id_required: true,
        skip_assignment_supported: true,
    }
}

pub(crate) fn protocols(list: &[(&str, &str)]) -> Vec<(String, Bytes)> {
    let own =
        |(name, metadata): &(&str, &str)| ((*name).to_owned(), Bytes::from((*metadata).to_owned()));
    list.iter().map(own).collect()
}

/// A Join of a static member without a member id.
pub(crate) fn static_join(instance: &str) -> JoinGroup {
    JoinGroup {
        instance: Some(instance.into()),
        ..join("")
    }
}

pub(crate) fn sync(member: &str, generation: i32) -> SyncGroup {
    SyncGroup {
        group: GROUP.into(),
        member: member.into(),
        instance: None,
        generation,
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        assignments: Vec::new(),
    }
}

pub(crate) fn assignment_of(member: &str) -> Bytes {
    Bytes::from(format!("assignment-of-{member}"))
}

pub(crate) fn partition(topic: u8, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([topic; 16]),
        partition: PartitionIndex::new(partition).unwrap(),
    }
}

pub(crate) fn committed(offset: u64, metadata: &str) -> CommittedOffset {
    CommittedOffset {
        offset: i64::try_from(offset).unwrap(),
        leader_epoch: -1,
        metadata: metadata.into(),
    }
}

/// A commit of one offset, partition 0 of topic 1.
pub(crate) fn commit(member: &str, generation: i32, offset: u64) -> CommitOffsets {
    CommitOffsets {
        group: GROUP.into(),
        member: member.into(),
        instance: None,
        generation,
        offsets: vec![OffsetPartition {
            topic_partition: partition(1, 0),
            committed: committed(offset, ""),
        }],
    }
}

pub(crate) fn leaving(member: &str) -> LeavingMember {
    LeavingMember {
        member: member.into(),
        instance: None,
    }
}
