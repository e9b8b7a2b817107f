//! What the leader sends next, and what the answers mean. Pure: no clock, no I/O, no runtime.
//!
//! Driven by `task.rs`. J1: up to K places in flight, the window ends K behind the first place that
//! is not durable. J2: durable is a prefix, told in order. J3: a stranger's seal at a place of ours
//! ends it. J9: a roll ends with a seal in its turn, then the head of the next; commands wait.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use esker_env::Rng;
use esker_types::{
    ClusterId, MonotonicTime, ObjectKind, Planted, SequencerEpoch, WriteId, planted,
};

use crate::checks::EpochChecks;
use crate::config::JournalConfig;
use crate::identity::{JournalIdentity, LeaderInfo};
use crate::object::{Entry, Head, Seal, byte_count};
use crate::place::{Place, PlaceId, RollNumber, SealRef};
use crate::queue::{CommandQueue, PendingCommand};
use crate::schedule::SnapshotSchedule;

/// Who writes: the same for every object of one leadership.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) cluster: ClusterId,
    pub(crate) identity: JournalIdentity,
    pub(crate) epoch: SequencerEpoch,
}

impl Author {
    pub(crate) fn leader(&self) -> LeaderInfo {
        LeaderInfo {
            owner: self.identity.owner,
            address: self.identity.address.clone(),
            epoch: self.epoch,
        }
    }
}

/// A request to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Create `object`, and report who holds the place when that is known.
    Put { at: PlaceId, object: Bytes },
    /// Read the place, and report whether anybody is there.
    Look { at: PlaceId },
}

/// Who holds a place that was put to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Ours,
    Stranger(ObjectKind),
}

/// What follows from an answer, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    Durable(PendingCommand),
    RollBegun {
        roll: RollNumber,
        snapshot_due: bool,
    },
    /// The first so many questions are answered.
    Checked {
        answered: u64,
    },
    Ended(Ending),
}

/// Nothing follows behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A seal of another process stands at our place.
    Deposed { at: PlaceId },
    /// Something stands there that nobody can have written.
    Foreign { at: PlaceId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Entries are sent.
    Open,
    /// Our seal is sent; places below it may be open still.
    Sealing,
    /// Our seal is durable; the head of the next roll is to be sent.
    HeadDue {
        prev: SealRef,
    },
    /// The head of the next roll is sent.
    Heading,
    Ended,
}

#[derive(Debug)]
enum Payload {
    Entry {
        commands: Vec<PendingCommand>,
        /// Questions that had come when it was first sent.
        serves: u64,
    },
    Seal {
        write_id: WriteId,
    },
}

#[derive(Debug)]
struct InFlight {
    place: Place,
    payload: Payload,
    is_ours: bool,
}

/// The journal of one leadership, from the head of its first roll on.
#[derive(Debug)]
pub(crate) struct Pipeline {
    author: Author,
    config: JournalConfig,
    roll: RollNumber,
    /// The first place never sent to.
    next: Place,
    roll_bytes: u64,
    stage: Stage,
    /// Places from the first that is not durable up to `next`, without a gap.
    in_flight: VecDeque<InFlight>,
    queue: CommandQueue,
    checks: EpochChecks,
    schedule: SnapshotSchedule,
    draining: bool,
}

impl Pipeline {
    /// The head of `roll` is known to be ours.
    pub(crate) fn new(
        author: Author,
        roll: RollNumber,
        config: JournalConfig,
        schedule: SnapshotSchedule,
    ) -> Self {
        Self {
            author,
            config,
            roll,
            next: Place::FIRST_ENTRY,
            roll_bytes: 0,
            stage: Stage::Open,
            in_flight: VecDeque::new(),
            queue: CommandQueue::default(),
            checks: EpochChecks::default(),
            schedule,
            draining: false,
        }
    }

    /// The first roll of the leadership is as much begun as those that follow.
    pub(crate) fn begin(&mut self) -> Effect {
        Effect::RollBegun {
            roll: self.roll,
            snapshot_due: self.schedule.begin_roll(),
        }
    }

    pub(crate) fn push(&mut self, command: PendingCommand) {
        self.queue.push(command);
    }

    /// Commands wait no longer for company, and no roll ends without need.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    pub(crate) fn schedule(&mut self) -> &mut SnapshotSchedule {
        &mut self.schedule
    }

    /// Nothing waits and nothing is unconfirmed.
    pub(crate) fn is_idle(&self) -> bool {
        let resting = matches!(self.stage, Stage::Open | Stage::Ended);
        resting && self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Places sent and not yet durable, a head not counted.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.config.in_flight_max
    }

    /// When the next step may be due without anything else happening.
    pub(crate) fn wake_at(&self) -> Option<MonotonicTime> {
        let may_send = self.stage == Stage::Open && self.has_room();
        self.queue
            .ready_at(self.config.linger)
            .filter(|_| may_send && !self.roll_is_over())
    }

    /// The next request to make now; ask again until there is none. `asked` is the number of
    /// questions that have come so far.
    pub(crate) fn next_step(&mut self, now: MonotonicTime, asked: u64, rng: &Rng) -> Option<Step> {
        self.checks.ask(asked);
        match self.stage {
            Stage::Ended | Stage::Sealing | Stage::Heading => None,
            Stage::HeadDue { prev } => Some(self.send_head(prev, rng)),
            Stage::Open if self.has_room() && self.roll_is_over() => Some(self.send_seal(rng)),
            Stage::Open if self.has_room() && self.group_is_ready(now) => {
                Some(self.send_entry(rng))
            }
            Stage::Open => self.look(),
        }
    }

    fn group_is_ready(&self, now: MonotonicTime) -> bool {
        self.queue
            .ready_at(self.config.linger)
            .is_some_and(|ready_at| self.draining || now >= ready_at)
    }

    fn roll_is_over(&self) -> bool {
        let entries = self.next.since(Place::FIRST_ENTRY);
        if entries == 0 || (self.draining && self.queue.is_empty()) {
            return false;
        }
        entries >= self.config.roll_entries_max
            || self.roll_bytes >= self.config.roll_bytes_max
            || self.schedule.ends_roll()
    }

    /// J8: only with nothing unconfirmed, and not when an entry is about to answer anyway.
    fn look(&mut self) -> Option<Step> {
        let quiet = self.in_flight.is_empty() && self.queue.is_empty()
            || planted(Planted::JournalCheckedInFlight);
        if !quiet || !self.checks.wants_look() {
            return None;
        }
        self.checks.begin_look();
        Some(Step::Look {
            at: self.place_id(self.next),
        })
    }

    fn place_id(&self, place: Place) -> PlaceId {
        PlaceId {
            roll: self.roll,
            place,
        }
    }

    fn take_place(&mut self, payload: Payload) -> PlaceId {
        let place = self.next;
        let first = self.in_flight.front().map_or(place, |first| first.place);
        assert!(
            self.has_room() && first.ahead(byte_count_of(self.in_flight.len())) == place,
            "J1: places in flight are K at most and have no gap"
        );
        self.next = place.after();
        self.in_flight.push_back(InFlight {
            place,
            payload,
            is_ours: false,
        });
        self.place_id(place)
    }

    fn send_entry(&mut self, rng: &Rng) -> Step {
        let commands = self.queue.take_group();
        let entry = Entry {
            at: self.place_id(self.next),
            epoch: self.author.epoch,
            commands: commands.iter().map(|one| one.command.clone()).collect(),
        };
        let object = entry.encode(self.author.cluster, rng.write_id());
        self.roll_bytes = self.roll_bytes.saturating_add(byte_count(&object));
        self.schedule.entry(byte_count(&object));
        let serves = self.checks.entry_sent();
        let at = self.take_place(Payload::Entry { commands, serves });
        Step::Put { at, object }
    }

    fn send_seal(&mut self, rng: &Rng) -> Step {
        let write_id = rng.write_id();
        let seal = Seal {
            at: self.place_id(self.next),
            next_leader: self.author.leader(),
            prev: None,
        };
        let object = seal.encode(self.author.cluster, write_id);
        self.checks.place_sent();
        self.stage = Stage::Sealing;
        let at = self.take_place(Payload::Seal { write_id });
        Step::Put { at, object }
    }

    fn send_head(&mut self, prev: SealRef, rng: &Rng) -> Step {
        let roll = self.roll.after();
        let head = Head {
            roll,
            leader: self.author.leader(),
            prev: Some(prev),
        };
        self.stage = Stage::Heading;
        Step::Put {
            at: roll.opening(),
            object: head.encode(self.author.cluster, rng.write_id()),
        }
    }

    /// It is known who holds a place that was put to.
    pub(crate) fn settled(&mut self, at: PlaceId, holder: Holder) -> Vec<Effect> {
        if self.stage == Stage::Ended {
            return Vec::new();
        }
        if let Holder::Stranger(kind) = holder {
            return vec![self.end(at, kind)];
        }
        if at == self.roll.after().opening() {
            return vec![self.head_known()];
        }
        assert_eq!(at.roll, self.roll, "J9: a roll ends with nothing open");
        let sent = self
            .in_flight
            .iter_mut()
            .find(|sent| sent.place == at.place);
        let sent = sent.expect("J1: an answer belongs to a place in flight");
        assert!(!sent.is_ours, "J1: it is found out once who holds a place");
        sent.is_ours = true;
        if planted(Planted::JournalAnswersOutOfOrder)
            && let Payload::Entry { commands, .. } = &mut sent.payload
        {
            let early = std::mem::take(commands).into_iter().map(Effect::Durable);
            let mut effects: Vec<Effect> = early.collect();
            effects.extend(self.advance());
            return effects;
        }
        self.advance()
    }

    /// J2: what is ours without a gap from the front is durable.
    fn advance(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.in_flight.front().is_some_and(|first| first.is_ours) {
            let Some(durable) = self.in_flight.pop_front() else {
                break;
            };
            match durable.payload {
                Payload::Entry { commands, serves } => {
                    effects.extend(commands.into_iter().map(Effect::Durable));
                    let answered = self.checks.entry_durable(serves);
                    effects.extend(answered.map(|answered| Effect::Checked { answered }));
                }
                Payload::Seal { write_id } => {
                    assert!(
                        self.in_flight.is_empty() && self.stage == Stage::Sealing,
                        "J9: our seal is the last of its roll and counts when durable"
                    );
                    let place = durable.place;
                    self.stage = Stage::HeadDue {
                        prev: SealRef { place, write_id },
                    };
                }
            }
        }
        effects
    }

    fn head_known(&mut self) -> Effect {
        assert_eq!(
            self.stage,
            Stage::Heading,
            "J9: the head is sent behind the seal"
        );
        assert!(
            self.in_flight.is_empty(),
            "J9: entries of a roll wait for its head"
        );
        self.roll = self.roll.after();
        self.next = Place::FIRST_ENTRY;
        self.roll_bytes = 0;
        self.stage = Stage::Open;
        self.begin()
    }

    /// A look returned: the kind of what is there, if anything is.
    pub(crate) fn looked(&mut self, at: PlaceId, found: Option<ObjectKind>) -> Vec<Effect> {
        if self.stage == Stage::Ended {
            return Vec::new();
        }
        match found {
            None => {
                let answered = self.checks.looked_missing();
                answered
                    .map(|answered| Effect::Checked { answered })
                    .into_iter()
                    .collect()
            }
            Some(kind) if self.checks.looked_found() => vec![self.end(at, kind)],
            // Our own entry, sent after the look had started. It answers.
            Some(_) => Vec::new(),
        }
    }

    /// J3: a stranger stands at a place of ours. What is not durable stays unknown.
    fn end(&mut self, at: PlaceId, kind: ObjectKind) -> Effect {
        self.stage = Stage::Ended;
        Effect::Ended(match kind {
            ObjectKind::JournalSeal => Ending::Deposed { at },
            // The owner we named for the next roll is ourselves: only a seal can stand there.
            ObjectKind::JournalHead
            | ObjectKind::JournalEntry
            | ObjectKind::Segment
            | ObjectKind::SessionSeal
            | ObjectKind::SnapshotPart
            | ObjectKind::SnapshotDone
            | ObjectKind::Probe => Ending::Foreign { at },
        })
    }
}

fn byte_count_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
