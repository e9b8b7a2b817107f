//! One state of the world: bucket, durable facts, sequencers, pods, and what clients were told.
//!
//! A record batch has one record and a partition is one, so an offset is a batch's place. What a
//! pod once put may arrive at any later moment, or never: `puts` is never emptied.

/// Sequencers, pods, sessions, places, batches, offsets that fit a state; bounds are lower.
pub(crate) const SEQUENCERS: usize = 3;
pub(crate) const PODS: usize = 2;
pub(crate) const SESSIONS: usize = 4;
pub(crate) const PLACES: usize = 3;
pub(crate) const BATCHES: usize = 3;
pub(crate) const OFFSETS: usize = 10;

/// Batches 0 and 1 are of one idempotent producer, in this order; 2 has no producer.
pub(crate) const PLAIN: u8 = 2;

/// What holds a key of the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Cell {
    #[default]
    Empty,
    /// With the content of `puts` at this place.
    Segment,
    Seal,
}

/// A batch with its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Placed {
    pub(crate) batch: u8,
    pub(crate) offset: u8,
}

/// What is durable of a session. Epoch 0: not registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SessionRecord {
    pub(crate) epoch: u8,
    pub(crate) decided: u8,
    pub(crate) end: Option<u8>,
}

/// What the journal holds. Its owner's writes alone become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Durable {
    pub(crate) owner: u8,
    pub(crate) sessions: [SessionRecord; SESSIONS],
    pub(crate) index: [Option<u8>; OFFSETS],
}

/// A command on its way into the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    Register {
        session: u8,
        pod: u8,
    },
    End {
        session: u8,
        end: u8,
    },
    /// One segment: its entries and `decided_upto` (K1).
    Checkpoint {
        session: u8,
        place: u8,
        placed: Placed,
    },
    /// The second half of a checkpoint that was split.
    Entries {
        placed: Placed,
    },
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub(crate) write: Write,
    pub(crate) is_durable: bool,
}

/// A session in a sequencer's memory (services/sequencer, `session.rs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Not one of its own.
    #[default]
    Foreign,
    Open,
    Sealing,
    /// A seal was seen there with all below committed; not durable yet.
    Ending(u8),
    Ended(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct OpenSession {
    pub(crate) phase: Phase,
    /// Places below are committed, as far as it knows.
    pub(crate) committed: u8,
    /// Places below are in a durable checkpoint.
    pub(crate) checkpointed: u8,
    /// Reserved places, decided or not.
    pub(crate) placed: [Option<Placed>; PLACES],
    /// At a take-over: where its chain ends.
    pub(crate) walked: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Status {
    #[default]
    Off,
    /// Reads and seals chains.
    Walking,
    /// Makes ends and checkpoint durable.
    Settling,
    Serving,
    /// Deposed and aware of it.
    Dead,
}

/// A sequencer; its epoch is its number + 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sequencer {
    pub(crate) status: Status,
    pub(crate) sessions: [OpenSession; SESSIONS],
    pub(crate) next: u8,
    pub(crate) hw: u8,
    /// What it knows to be committed, by offset.
    pub(crate) log: [Option<u8>; OFFSETS],
    pub(crate) pending: Option<Pending>,
    /// Of the idempotent producer: what it keeps wrongly, under some mutations.
    pub(crate) kept: [Option<u8>; BATCHES],
    pub(crate) last_folded: Option<u8>,
}

/// A batch in flight in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) placed: Placed,
    pub(crate) is_known: bool,
}

/// An ingest process; its session's sequencer is the session's epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pod {
    pub(crate) session: Option<u8>,
    pub(crate) epoch: u8,
    pub(crate) next: u8,
    pub(crate) acked: u8,
    /// Asked for at place `next` without an answer heard: asked again the same (W3).
    pub(crate) asked: Option<u8>,
    pub(crate) slots: [Option<Slot>; PLACES],
    pub(crate) is_lost: bool,
    /// Holds the batch without a producer, and may offer it.
    pub(crate) has_plain: bool,
    /// Waits for this session's registration.
    pub(crate) waits_for: Option<u8>,
}

/// A question that must be answered currently (R1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    #[default]
    NotAsked,
    Asked {
        sequencer: u8,
        /// What the answer must reach: all that was acknowledged when it came.
        floor: u8,
        /// Undecided when it came, by offset.
        undecided: u16,
        is_checked: bool,
    },
    Answered,
}

/// Everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) bucket: [[Cell; PLACES]; SESSIONS],
    pub(crate) puts: [[Option<Placed>; PLACES]; SESSIONS],
    pub(crate) durable: Durable,
    pub(crate) sequencers: [Sequencer; SEQUENCERS],
    pub(crate) pods: [Pod; PODS],
    pub(crate) next_session: u8,
    pub(crate) plain_taken: bool,
    pub(crate) acked: [Option<u8>; BATCHES],
    /// Highest watermark ever told, and what lay below it.
    pub(crate) shown_hw: u8,
    pub(crate) shown: [Option<u8>; OFFSETS],
    /// A fetch pod: what it shows, the most it ever showed, what it keeps by offset.
    pub(crate) fetch_hw: u8,
    pub(crate) fetch_shown: u8,
    pub(crate) cached: [Option<u8>; OFFSETS],
    pub(crate) question: Question,
    pub(crate) crashes: u8,
    /// Places that a sequencer called void.
    pub(crate) voided: [[bool; PLACES]; SESSIONS],
    /// Places of which the object was collected.
    pub(crate) collected: [[bool; PLACES]; SESSIONS],
    /// What an answer has broken: told at once, since an answer leaves no other trace.
    pub(crate) broken: Broken,
}

/// Rules that an answer broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    pub(crate) duplicate: bool,
    pub(crate) latest: bool,
    pub(crate) journal: bool,
    pub(crate) deferral: bool,
    pub(crate) refusal: bool,
}

pub(crate) fn at(number: u8) -> usize {
    usize::from(number)
}

/// The numbers below `count`.
pub(crate) fn below(count: u8) -> std::ops::Range<u8> {
    0..count
}

impl State {
    pub(crate) fn cell(&self, session: u8, place: u8) -> Cell {
        let cells = &self.bucket[at(session)];
        cells.get(at(place)).copied().unwrap_or_default()
    }

    pub(crate) fn put(&self, session: u8, place: u8) -> Option<Placed> {
        self.puts[at(session)].get(at(place)).copied().flatten()
    }

    /// The log by C1: what the bucket and durable facts say, whoever knows it. `Err`: two contents
    /// for an offset, or a batch twice.
    pub(crate) fn log(&self) -> Log {
        let mut log = Log::default();
        for (offset, batch) in (0_u8..).zip(self.durable.index) {
            if let Some(batch) = batch {
                log.add(Placed { batch, offset });
            }
        }
        for session in 0..SESSIONS {
            let record = self.durable.sessions[session];
            if record.epoch == 0 {
                continue;
            }
            let session = u8::try_from(session).unwrap_or(0);
            let mut place = record.decided;
            while record.end.is_none_or(|end| place < end)
                && self.cell(session, place) == Cell::Segment
                && let Some(placed) = self.put(session, place)
            {
                log.add(placed);
                place += 1;
            }
        }
        log
    }

    /// Whether a place is committed by C1.
    pub(crate) fn is_committed(&self, session: u8, place: u8) -> bool {
        let record = self.durable.sessions[at(session)];
        if record.epoch == 0 {
            return false;
        }
        let chain = |place| self.cell(session, place) == Cell::Segment;
        place < record.decided
            || (record.end.is_none_or(|end| place < end) && (record.decided..=place).all(chain))
    }
}

/// The log by C1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) at: [Option<u8>; OFFSETS],
    pub(crate) has_two_contents: bool,
}

impl Log {
    fn add(&mut self, placed: Placed) {
        let Some(cell) = self.at.get_mut(at(placed.offset)) else {
            return;
        };
        self.has_two_contents |= cell.is_some();
        *cell = Some(placed.batch);
    }
}

/// End of the last offset that holds a batch.
pub(crate) fn end_of(log: &[Option<u8>; OFFSETS]) -> u8 {
    let last = log.iter().rposition(Option::is_some);
    last.and_then(|last| u8::try_from(last + 1).ok())
        .unwrap_or(0)
}
