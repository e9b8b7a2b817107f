//! A member of a consumer group: joins, syncs, reads what it owns, commits, asks what is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_history::format::{Commit, Committed, Done, Note, Operation, Owns};
use esker_metadata_api::{
    CommitOffsets, CommittedOffset, FetchOffsets, GroupError, GroupReply, GroupRequest,
    HeartbeatGroup, JoinGroup, JoinedGroup, LeaveGroup, LeavingMember, OffsetPartition, SyncGroup,
};

use crate::client::Identity;
use crate::consumer::Reader;
use crate::message::Message;
use crate::node::{MILLI, Nanos, Node, SECOND};
use crate::queue::Timer;
use crate::recorder::{done, key};
use crate::world::World;

pub(crate) const GROUP: &str = "g";
const REQUEST_TIMEOUT: Nanos = 15 * SECOND;
const HEARTBEAT: Nanos = 1_500 * MILLI;

/// The one request under way.
#[derive(Clone, Copy, Debug)]
enum Asking {
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit(u64),
    /// Under a generation that is over.
    OldCommit(u64),
    Committed(u64, u32),
}

/// One member.
pub(crate) struct Member {
    identity: Identity,
    reader: Option<Reader>,
    hint: usize,
    id: String,
    generation: i32,
    is_stable: bool,
    /// Owned partitions whose committed offset is not known yet.
    unknown: Vec<u32>,
    found: BTreeMap<u32, u64>,
    owned: Vec<u32>,
    asking: Option<(u64, Asking)>,
    /// What a Join was answered with is thought about until then.
    assigning: Option<(Nanos, SyncGroup)>,
    /// The generation before, when it was of the same member.
    before: Option<i32>,
    heartbeat_at: Nanos,
    /// It does nothing until then: its session may be over.
    asleep_until: Nanos,
}

impl Member {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            reader: None,
            hint: 0,
            id: String::new(),
            generation: -1,
            is_stable: false,
            unknown: Vec::new(),
            found: BTreeMap::new(),
            owned: Vec::new(),
            asking: None,
            assigning: None,
            before: None,
            heartbeat_at: 0,
            asleep_until: 0,
        }
    }

    fn ask(&mut self, world: &mut World, asking: Asking, request: GroupRequest) {
        let call = world.number();
        self.asking = Some((call, asking));
        let to = world.process(Node::meta(self.hint));
        let message = Message::Group(call, Arc::new(request));
        world.send_to(self.identity.process, to, message);
        world.timer(self.identity.process, REQUEST_TIMEOUT, Timer::Call(call));
    }

    pub(crate) fn timer(&mut self, world: &mut World, timer: Timer) {
        match timer {
            Timer::Tick => {
                self.turn(world);
                let pause = world.around(150 * MILLI);
                world.timer(self.identity.process, pause, Timer::Tick);
            }
            Timer::Call(call) => {
                if let Some(reader) = &mut self.reader {
                    reader.not_answered(world, call);
                }
                if let Some((_, asking)) = self.asking.take_if(|asking| asking.0 == call) {
                    self.hint += 1;
                    self.unknown_outcome(world, asking);
                }
            }
            Timer::Work(_) | Timer::Step => {}
        }
    }

    fn unknown_outcome(&mut self, world: &mut World, asking: Asking) {
        let now = world.now();
        match asking {
            Asking::Commit(op) | Asking::OldCommit(op) | Asking::Committed(op, _) => {
                world.history.info(now, op);
            }
            Asking::Join | Asking::Sync => self.is_stable = false,
            Asking::Heartbeat | Asking::Leave => {}
        }
    }

    /// One thing at a time.
    fn turn(&mut self, world: &mut World) {
        let now = world.now();
        if now < self.asleep_until || self.asking.is_some() {
            return;
        }
        if let Some((_, request)) = self.assigning.take_if(|(until, _)| *until <= now) {
            self.ask(world, Asking::Sync, GroupRequest::Sync(request));
        }
        if self.asking.is_some() || self.assigning.is_some() {
            return;
        }
        let chance = world.faults.below(1_000);
        let unrest = world.settings.habits.unrest;
        if chance < unrest && world.healed_at.is_none() {
            self.asleep_until = now + world.faults.below(20 * SECOND);
        } else if !self.is_stable {
            self.join(world);
        } else if let Some(partition) = self.unknown.last().copied() {
            self.ask_committed(world, partition);
        } else if chance < 3 * unrest {
            self.leave(world);
        } else if let Some(generation) = self.before.filter(|_| chance >= 950) {
            self.commit(world, generation);
        } else if now >= self.heartbeat_at {
            self.heartbeat_at = now + HEARTBEAT;
            let request = HeartbeatGroup {
                group: GROUP.to_owned(),
                member: self.id.clone(),
                instance: None,
                generation: self.generation,
            };
            self.ask(world, Asking::Heartbeat, GroupRequest::Heartbeat(request));
        } else if chance < 300 {
            self.commit(world, self.generation);
        } else if chance < 350 {
            let partition = world.faults.below(u64::from(world.settings.partitions));
            self.ask_committed(world, u32::try_from(partition).unwrap_or(0));
        } else if let Some(reader) = &mut self.reader {
            reader.poll(world);
        }
    }

    fn join(&mut self, world: &mut World) {
        let request = JoinGroup {
            group: GROUP.to_owned(),
            member: self.id.clone(),
            instance: None,
            client_id: "sim".to_owned(),
            client_host: "sim".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from_static(b"\0"))],
            session_timeout: Duration::from_secs(6),
            rebalance_timeout: Duration::from_secs(8),
            member_id_required: true,
            skip_assignment_supported: false,
        };
        self.reader = None;
        self.owned.clear();
        self.ask(world, Asking::Join, GroupRequest::Join(request));
    }

    fn leave(&mut self, world: &mut World) {
        let request = LeaveGroup {
            group: GROUP.to_owned(),
            members: vec![LeavingMember {
                member: std::mem::take(&mut self.id),
                instance: None,
            }],
        };
        self.is_stable = false;
        self.ask(world, Asking::Leave, GroupRequest::Leave(request));
    }

    /// Under a generation of its own, the present one or, as a commit that is late, one before.
    fn commit(&mut self, world: &mut World, generation: i32) {
        let Some(reader) = &self.reader else {
            return;
        };
        let count = u64::try_from(reader.positions.len()).unwrap_or(0);
        if count == 0 {
            return;
        }
        let chosen = usize::try_from(world.faults.below(count)).unwrap_or(0);
        let Some((partition, offset)) = reader.positions.iter().nth(chosen) else {
            return;
        };
        let (partition, offset) = (*partition, *offset);
        let commit = Commit {
            group: GROUP.to_owned(),
            generation: u32::try_from(generation).unwrap_or(0),
            key: key(partition),
            offset,
        };
        let (now, p) = (world.now(), self.identity.p);
        let op = world
            .history
            .invoke(now, p, None, Operation::Commit(commit));
        let committed = CommittedOffset {
            offset: i64::try_from(offset).unwrap_or(0),
            leader_epoch: -1,
            metadata: String::new(),
        };
        let request = CommitOffsets {
            group: GROUP.to_owned(),
            member: self.id.clone(),
            instance: None,
            generation,
            offsets: vec![OffsetPartition {
                topic_partition: world.at(partition),
                committed,
            }],
        };
        let asking = match generation == self.generation {
            true => Asking::Commit(op),
            false => Asking::OldCommit(op),
        };
        self.ask(world, asking, GroupRequest::Commit(request));
    }

    fn ask_committed(&mut self, world: &mut World, partition: u32) {
        let asked = Committed {
            group: GROUP.to_owned(),
            key: key(partition),
        };
        let (now, p) = (world.now(), self.identity.p);
        let what = Operation::Committed(asked);
        let op = world.history.invoke(now, p, None, what);
        let request = FetchOffsets {
            group: GROUP.to_owned(),
            partitions: Some(vec![world.at(partition)]),
        };
        let asking = Asking::Committed(op, partition);
        self.ask(world, asking, GroupRequest::Fetch(request));
    }

    pub(crate) fn message(&mut self, world: &mut World, message: Message) {
        match message {
            Message::Fetched(call, outcome) => {
                if let Some(reader) = &mut self.reader {
                    let outcome = outcome.as_deref().map_err(|failure| *failure);
                    reader.answered(world, call, outcome);
                }
            }
            Message::Grouped(call, outcome) => {
                let Some((_, asking)) = self.asking.take_if(|asking| asking.0 == call) else {
                    return;
                };
                match outcome {
                    Ok((reply, epoch)) => self.answered(world, asking, &reply, epoch),
                    Err(_) => {
                        // Nobody led: surely without effect.
                        self.hint += 1;
                        match asking {
                            Asking::Commit(op)
                            | Asking::OldCommit(op)
                            | Asking::Committed(op, _) => {
                                let now = world.now();
                                world.history.fail(now, op);
                            }
                            other => self.unknown_outcome(world, other),
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, world: &mut World, asking: Asking, reply: &GroupReply, epoch: u64) {
        let now = world.now();
        match (asking, reply) {
            (Asking::Join, GroupReply::Joined(Ok(joined))) => self.joined(world, joined),
            (Asking::Join, GroupReply::Joined(Err(error)))
            | (Asking::Sync, GroupReply::Synced(Err(error)))
            | (Asking::Heartbeat, GroupReply::Heartbeat(Err(error))) => self.refused(error),
            (Asking::Sync, GroupReply::Synced(Ok(synced))) => {
                self.synced(world, &synced.assignment);
            }
            (Asking::Commit(op), GroupReply::Committed(outcome)) => {
                let rows = outcome.as_ref().map(|rows| rows.first());
                match rows {
                    Ok(Some(Ok(()))) => world.history.ok(now, done(op)),
                    Ok(_) => world.history.fail(now, op),
                    Err(error) => {
                        world.history.fail(now, op);
                        self.refused(error);
                    }
                }
            }
            (Asking::OldCommit(op), GroupReply::Committed(Ok(rows)))
                if rows.first().is_some_and(Result::is_ok) =>
            {
                // The checker says what that is.
                world.history.ok(now, done(op));
            }
            (Asking::OldCommit(op), _) => world.history.fail(now, op),
            (Asking::Committed(op, partition), GroupReply::Offsets(Ok(offsets))) => {
                let offset = offsets.first().map(|(_, committed)| committed.offset);
                let offset = offset.and_then(|offset| u64::try_from(offset).ok());
                let done = Done {
                    offset,
                    epoch: Some(epoch),
                    ..done(op)
                };
                world.history.ok(now, done);
                self.committed_known(world, partition, offset.unwrap_or(0));
            }
            (Asking::Committed(op, _), _) => world.history.fail(now, op),
            _ => {}
        }
    }

    fn joined(&mut self, world: &mut World, joined: &JoinedGroup) {
        let is_same = self.id == joined.member;
        self.before = Some(self.generation)
            .filter(|before| is_same && *before > 0 && *before < joined.generation);
        self.id.clone_from(&joined.member);
        self.generation = joined.generation;
        let mut shares: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let members = joined.members.len().max(1);
        for partition in 0..world.settings.partitions {
            let owner = usize::try_from(partition).unwrap_or(0) % members;
            if let Some(owner) = joined.members.get(owner) {
                let share = shares.entry(&owner.member).or_default();
                share.extend(partition.to_be_bytes());
            }
        }
        let assignments = joined.members.iter().map(|member| {
            let share = shares.remove(member.member.as_str()).unwrap_or_default();
            (member.member.clone(), Bytes::from(share))
        });
        let request = SyncGroup {
            group: GROUP.to_owned(),
            member: self.id.clone(),
            instance: None,
            generation: self.generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments.collect(),
        };
        let pause = world
            .faults
            .below(world.settings.habits.assign_pause.max(1));
        self.assigning = Some((world.now() + pause, request));
    }

    fn synced(&mut self, world: &mut World, assignment: &Bytes) {
        let (shares, _) = assignment.as_chunks::<4>();
        self.owned = shares
            .iter()
            .map(|share| u32::from_be_bytes(*share))
            .collect();
        self.unknown.clone_from(&self.owned);
        self.found.clear();
        self.is_stable = true;
        let owns = Owns {
            group: GROUP.to_owned(),
            generation: u32::try_from(self.generation).unwrap_or(0),
            member: self.id.clone(),
            keys: self.owned.iter().map(|partition| key(*partition)).collect(),
        };
        let now = world.now();
        world.history.note(now, Note::Owns(owns));
    }

    fn committed_known(&mut self, world: &mut World, partition: u32, offset: u64) {
        if !self.unknown.contains(&partition) {
            return;
        }
        self.unknown.retain(|one| *one != partition);
        self.found.insert(partition, offset);
        if self.unknown.is_empty() && self.is_stable {
            let mut reader = Reader::new(world, self.identity);
            reader.assign(world, std::mem::take(&mut self.found));
            self.reader = Some(reader);
        }
    }

    fn refused(&mut self, error: &GroupError) {
        self.is_stable = false;
        match error {
            GroupError::MemberIdRequired { member } => self.id.clone_from(member),
            GroupError::RebalanceInProgress => {}
            _ => self.id.clear(),
        }
    }
}
