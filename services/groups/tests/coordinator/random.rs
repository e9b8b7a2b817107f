//! Random members, steps, journals that lag, and take-overs: I17 and I18 hold, every caller is
//! answered once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use esker_groups::Ticket;
use esker_metadata_api::{
    CommitOffsets, CommittedOffset, GroupError, GroupReply, GroupRequest, GroupState, JoinGroup,
    JoinedGroup, OffsetPartition, SyncGroup,
};
use esker_types::TopicPartition;
use proptest::prelude::*;

use crate::world::{GROUP, World, commit, committed, join, leaving, partition, protocols, sync};

/// Clients of one group. The last two are static.
const CLIENTS: usize = 6;
const STATIC_FROM: usize = 4;

/// What a client, or the world around it, does.
#[derive(Clone, Debug)]
enum Action {
    /// Joins with the id it has, with one of three metadata.
    Join {
        client: usize,
        metadata: usize,
    },
    /// Forgets its id: a restart.
    Restart {
        client: usize,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    /// Commits with the generation it was last told, or the one before.
    Commit {
        client: usize,
        stale: bool,
    },
    CommitFromOutside,
    Leave {
        client: usize,
    },
    /// Its connection breaks while it waits.
    Cancel {
        client: usize,
    },
    /// So many commands become durable.
    Deliver {
        count: usize,
    },
    Advance {
        seconds: u64,
    },
    /// These clients, as bits, join and sync as they should while the journal keeps up.
    Round {
        clients: u8,
    },
    TakeOver,
}

fn action() -> impl Strategy<Value = Action> {
    let client = 0..CLIENTS;
    prop_oneof![
        8 => (client.clone(), 0_usize..3)
            .prop_map(|(client, metadata)| Action::Join { client, metadata }),
        1 => client.clone().prop_map(|client| Action::Restart { client }),
        8 => client.clone().prop_map(|client| Action::Sync { client }),
        4 => client.clone().prop_map(|client| Action::Heartbeat { client }),
        5 => (client.clone(), any::<bool>())
            .prop_map(|(client, stale)| Action::Commit { client, stale }),
        1 => Just(Action::CommitFromOutside),
        1 => client.clone().prop_map(|client| Action::Leave { client }),
        1 => client.prop_map(|client| Action::Cancel { client }),
        10 => (1_usize..6).prop_map(|count| Action::Deliver { count }),
        6 => prop_oneof![Just(1_u64), Just(3), Just(9), Just(61)]
            .prop_map(|seconds| Action::Advance { seconds }),
        4 => any::<u8>().prop_map(|clients| Action::Round { clients }),
        1 => Just(Action::TakeOver),
    ]
}

/// What a client was told.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    generation: i32,
    joined: Option<JoinedGroup>,
    waiting: Option<Ticket>,
}

/// What a ticket was for.
#[derive(Clone, Debug)]
enum Asked {
    Join {
        client: usize,
    },
    Sync {
        client: usize,
        id: String,
        generation: i32,
    },
    Commit {
        generation: i32,
        offset: CommittedOffset,
        newest_owned: i32,
        state: GroupState,
    },
    Other,
}

#[derive(Debug)]
struct Run {
    world: World,
    clients: Vec<Client>,
    asked: BTreeMap<Ticket, Asked>,
    /// Not to be answered: their callers, or the process that knew them, are gone.
    forgotten: BTreeSet<Ticket>,
    /// The highest generation anybody was told, and what was told about each.
    newest_told: i32,
    leaders: BTreeMap<i32, (String, String)>,
    /// The highest generation anybody was given an assignment in.
    newest_owned: i32,
    stored: BTreeMap<TopicPartition, CommittedOffset>,
    commits: u64,
}

impl Run {
    fn new() -> Self {
        let mut world = World::new();
        world.held = true;
        Self {
            world,
            clients: vec![Client::default(); CLIENTS],
            asked: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            newest_told: 0,
            leaders: BTreeMap::new(),
            newest_owned: 0,
            stored: BTreeMap::new(),
            commits: 0,
        }
    }

    fn instance(client: usize) -> Option<String> {
        (client >= STATIC_FROM).then(|| format!("instance-{client}"))
    }

    fn ask(&mut self, request: GroupRequest, asked: Asked) -> Ticket {
        let ticket = self.world.ask(request);
        self.asked.insert(ticket, asked);
        ticket
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Join { client, metadata } => self.join(client, metadata),
            Action::Restart { client } => self.clients[client] = Client::default(),
            Action::Sync { client } => self.sync(client),
            Action::Heartbeat { client } => {
                let (id, generation) = (
                    self.clients[client].id.clone(),
                    self.clients[client].generation,
                );
                let _ = self.world.heartbeat(&id, generation);
            }
            Action::Commit { client, stale } => {
                let Client { id, generation, .. } = self.clients[client].clone();
                self.commit(id, generation - i32::from(stale));
            }
            Action::CommitFromOutside => self.commit(String::new(), -1),
            Action::Leave { client } => {
                let id = self.clients[client].id.clone();
                let _ = self.world.leave(vec![leaving(&id)]);
            }
            Action::Cancel { client } => {
                if let Some(ticket) = self.clients[client].waiting
                    && self.world.is_waiting(ticket)
                {
                    self.world.coordinator.cancel(self.world.at().now, ticket);
                    // Its answer may be decided already and go out with a command.
                    let on_its_way = |(_, then): &(_, Option<(Ticket, GroupReply)>)| {
                        then.as_ref().is_some_and(|(waiting, _)| *waiting == ticket)
                    };
                    if !self.world.journal.iter().any(on_its_way) {
                        self.forgotten.insert(ticket);
                    }
                }
            }
            Action::Deliver { count } => {
                for _ in 0..count {
                    self.world.deliver();
                    self.hear();
                }
            }
            Action::Advance { seconds } => self.world.advance(Duration::from_secs(seconds)),
            Action::Round { clients } => self.round(clients),
            Action::TakeOver => {
                let lost = self
                    .asked
                    .keys()
                    .filter(|ticket| self.world.is_waiting(**ticket));
                self.forgotten.extend(lost.copied());
                self.world.take_over();
            }
        }
        self.hear();
    }

    fn round(&mut self, clients: u8) {
        let clients: Vec<usize> = (0..CLIENTS)
            .filter(|client| clients >> client & 1 == 1)
            .collect();
        for _ in 0..2 {
            for client in &clients {
                self.join(*client, 0);
                self.hear();
            }
            self.world.deliver_all();
        }
        self.world.advance(Duration::from_secs(6));
        self.world.deliver_all();
        self.hear();
        for client in &clients {
            self.sync(*client);
        }
        self.hear();
    }

    fn join(&mut self, client: usize, metadata: usize) {
        let metadata = ["m0", "m1", "m2"][metadata];
        let request = JoinGroup {
            instance: Self::instance(client),
            protocols: protocols(&[("range", metadata), ("sticky", "")]),
            ..join(&self.clients[client].id)
        };
        let ticket = self.ask(GroupRequest::Join(request), Asked::Join { client });
        self.clients[client].waiting = Some(ticket);
    }

    /// As the leader, hands in an assignment that names its generation and its member.
    fn sync(&mut self, client: usize) {
        let Client {
            id,
            generation,
            joined,
            ..
        } = self.clients[client].clone();
        let members = joined.map(|joined| joined.members).unwrap_or_default();
        // Now and then it leaves one out.
        let left_out = usize::try_from(self.commits).unwrap() % (2 * CLIENTS);
        let mut assignments: Vec<(String, Bytes)> = members
            .into_iter()
            .enumerate()
            .filter(|(at, _)| *at != left_out)
            .map(|(_, one)| one)
            .map(|one| (one.member.clone(), assignment(generation, &one.member)))
            .collect();
        assignments.push(("stranger".into(), assignment(generation, "stranger")));
        let request = SyncGroup {
            instance: Self::instance(client),
            assignments,
            protocol: None,
            ..sync(&id, generation)
        };
        let asked = Asked::Sync {
            client,
            id,
            generation,
        };
        let ticket = self.ask(GroupRequest::Sync(request), asked);
        self.clients[client].waiting = Some(ticket);
    }

    fn commit(&mut self, id: String, generation: i32) {
        self.commits += 1;
        let offset = committed(self.commits % 7, &self.commits.to_string());
        let request = CommitOffsets {
            offsets: vec![OffsetPartition {
                topic_partition: partition(1, 0),
                committed: offset.clone(),
            }],
            ..commit(&id, generation, 0)
        };
        let state = self.world.state();
        let asked = Asked::Commit {
            generation,
            offset,
            newest_owned: self.newest_owned,
            state,
        };
        self.ask(GroupRequest::Commit(request), asked);
    }

    /// Looks at every new answer, oldest first.
    fn hear(&mut self) {
        while let Some((ticket, reply)) = self.world.answers.pop_first() {
            assert!(
                !self.forgotten.contains(&ticket),
                "nobody is there to hear {reply:?}"
            );
            match (
                self.asked.get(&ticket).cloned().unwrap_or(Asked::Other),
                reply,
            ) {
                (Asked::Join { client }, GroupReply::Joined(outcome)) => {
                    self.hear_joined(client, ticket, outcome);
                }
                (
                    Asked::Sync {
                        client,
                        id,
                        generation,
                    },
                    GroupReply::Synced(outcome),
                ) => {
                    if let Ok(told) = outcome {
                        self.hear_assignment(&id, generation, &told.assignment);
                    } else if outcome == Err(GroupError::UnknownMember) {
                        self.clients[client].id.clear();
                    }
                }
                (
                    Asked::Commit {
                        generation,
                        offset,
                        newest_owned,
                        state,
                    },
                    reply,
                ) => {
                    if reply == GroupReply::Committed(Ok(vec![Ok(())])) {
                        let may = match state {
                            GroupState::Empty | GroupState::Dead => generation < 0,
                            GroupState::CompletingRebalance => false,
                            GroupState::PreparingRebalance | GroupState::Stable => {
                                generation >= 0 && generation >= newest_owned
                            }
                        };
                        assert!(
                            may,
                            "I17: {generation} commits, {newest_owned} was owned, {state:?}"
                        );
                        self.stored.insert(partition(1, 0), offset);
                    }
                }
                (_, other) => panic!("an answer of another kind: {other:?}"),
            }
        }
        let stored: Vec<_> = self.stored.clone().into_iter().collect();
        assert_eq!(self.world.offsets.fetch(GROUP, None), stored, "I18");
    }

    fn hear_joined(
        &mut self,
        client: usize,
        ticket: Ticket,
        outcome: Result<JoinedGroup, GroupError>,
    ) {
        let current = self.clients[client].waiting == Some(ticket);
        match outcome {
            Err(GroupError::MemberIdRequired { member }) if current => {
                self.clients[client].id = member;
            }
            Err(GroupError::UnknownMember | GroupError::FencedInstance) if current => {
                self.clients[client].id.clear();
            }
            Err(_) => {}
            Ok(joined) => {
                assert!(
                    joined.generation >= self.newest_told,
                    "I4, I17: it never goes back"
                );
                self.newest_told = joined.generation;
                self.check_leader(&joined);
                if current {
                    self.clients[client].id = joined.member.clone();
                    self.clients[client].generation = joined.generation;
                    self.clients[client].joined = Some(joined);
                }
            }
        }
    }

    /// One leader for each generation; a static one may have a new id. Only it gets the members.
    fn check_leader(&mut self, joined: &JoinedGroup) {
        let stem = |id: &str| match id.split_once('-') {
            Some(("instance", rest)) => rest.chars().take(1).collect(),
            _ => id.to_owned(),
        };
        let told = (stem(&joined.leader), joined.protocol.clone());
        let first = self
            .leaders
            .entry(joined.generation)
            .or_insert_with(|| told.clone());
        assert_eq!(*first, told, "I17: one leader, one protocol");
        if !joined.members.is_empty() {
            assert_eq!(joined.leader, joined.member, "only the leader sees all");
            let ids: Vec<&String> = joined.members.iter().map(|one| &one.member).collect();
            assert!(ids.contains(&&joined.member));
        }
    }

    /// What a member gets is what the leader of this very generation gave it (or its former self).
    fn hear_assignment(&mut self, id: &str, generation: i32, told: &Bytes) {
        let text = std::str::from_utf8(told).unwrap();
        if let Some((of, member)) = text.split_once('/') {
            assert_eq!(of, generation.to_string(), "I17: of the current generation");
            let same = member == id || (member.starts_with("instance") && id[..10] == member[..10]);
            assert!(same, "I17: {id} was told what is {member}'s");
        }
        assert!(
            generation >= self.newest_owned,
            "I17: an older generation owns nothing any more"
        );
        self.newest_owned = generation;
    }
}

fn assignment(generation: i32, member: &str) -> Bytes {
    Bytes::from(format!("{generation}/{member}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn groups_keep_their_invariants_whatever_members_do(
        actions in prop::collection::vec(action(), 1..120),
    ) {
        let mut run = Run::new();

        for action in &actions {
            run.act(action);
        }
        run.world.held = false;
        run.world.deliver_all();
        run.world.advance(Duration::from_secs(3600));
        run.world.deliver_all();
        run.hear();

        let unanswered = run.asked.keys().filter(|ticket| run.world.is_waiting(**ticket));
        let unanswered: Vec<_> = unanswered.filter(|one| !run.forgotten.contains(one)).collect();
        prop_assert!(unanswered.is_empty(), "never answered: {unanswered:?}");
        prop_assert_eq!(run.world.coordinator.waiting_count(), 0);
        prop_assert_eq!(run.world.coordinator.member_count(), 0, "all have gone silent");
        prop_assert_eq!(run.world.coordinator.member_bytes(), 0);
        prop_assert!(matches!(run.world.state(), GroupState::Empty | GroupState::Dead));
        let restored = esker_groups::GroupOffsets::restore(&run.world.offsets.snapshot());
        prop_assert_eq!(restored.unwrap(), run.world.offsets);
    }
}
