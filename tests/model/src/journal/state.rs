//! One state: keys of the bucket, what may still arrive, snapshots, and the processes.
//!
//! A process is one start under an id of its own. It puts at most one object at a key, so key and
//! author tell a write. `written` keeps what was first created at a key, collected or not: the
//! truth that rules are checked against.

pub(crate) const PROCESSES: usize = 3;
pub(crate) const ROLLS: usize = 4;
pub(crate) const PLACES: usize = 5;
pub(crate) const COMMANDS: usize = 3;

/// Names a seal: its place, and who put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SealRef {
    pub(crate) place: u8,
    pub(crate) author: u8,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Head {
        author: u8,
        prev: Option<SealRef>,
    },
    Entry {
        author: u8,
        command: u8,
    },
    /// Names its author as the owner of the next roll; at place 0 it carries `prev`.
    Seal {
        author: u8,
        prev: Option<SealRef>,
    },
}

impl Object {
    pub(crate) fn author(self) -> u8 {
        match self {
            Self::Head { author, .. } | Self::Entry { author, .. } | Self::Seal { author, .. } => {
                author
            }
        }
    }

    pub(crate) fn prev(self) -> Option<SealRef> {
        match self {
            Self::Head { prev, .. } | Self::Seal { prev, .. } => prev,
            Self::Entry { .. } => None,
        }
    }
}

/// Commands in the order in which they were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Commands {
    held: [Option<u8>; COMMANDS],
    pub(crate) count: u8,
}

impl Commands {
    pub(crate) fn push(&mut self, command: u8) {
        if let Some(slot) = self.held.get_mut(at(self.count)) {
            *slot = Some(command);
        }
        self.count += 1;
    }

    /// Whether all of these are in the other. Not in this order: a zombie may hear late that its
    /// command became durable, when its successor has answered others.
    pub(crate) fn is_within(&self, longer: &Self) -> bool {
        let mut held = self.held.iter().flatten();
        held.all(|one| longer.held.contains(&Some(*one)))
    }

    pub(crate) fn repeats(&self) -> bool {
        let held = self.held.iter().flatten();
        held.clone()
            .any(|one| held.clone().filter(|other| *other == one).count() > 1)
    }
}

/// Where a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    #[default]
    Off,
    /// Looks for a snapshot upwards from this roll; `true`: its state was too old.
    Climbing {
        from: u8,
        too_old: bool,
    },
    NotBegun,
    /// Has not looked for the verdict on its roll.
    Reading,
    /// Has: what it found.
    Walking {
        verdict: Option<Object>,
    },
    /// Met a seal without a verdict, and looks for it again.
    MetSeal {
        end: SealRef,
    },
    /// At the end of a roll without verdict.
    AtEnd,
    /// Its roll ended with this seal, the next has not begun.
    Ended {
        end: SealRef,
    },
    /// Sent a seal there.
    Challenging {
        place: u8,
        at_opening: bool,
    },
    /// Sent the head of the roll behind its own seal.
    Heading {
        end: SealRef,
    },
    /// Sent the head of roll 0.
    Founding,
    Leading,
    /// Deposed, crashed or stopped: over.
    Over,
}

/// What a leader is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    #[default]
    Open,
    Sealing,
    /// Its head of the next roll is on its way.
    Heading,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) roll: u8,
    pub(crate) next: u8,
    pub(crate) state: Commands,
    pub(crate) stage: Stage,
    /// First place that is not durable, and what of the places behind is known to be its own.
    pub(crate) durable: u8,
    pub(crate) known: [bool; PLACES],
    /// Its state at the start of its roll.
    pub(crate) at_start: Commands,
    pub(crate) snapshot_taken: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    pub(crate) state: Option<Commands>,
    pub(crate) is_done: bool,
}

/// A question that must be answered currently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    #[default]
    NotAsked,
    Asked {
        process: u8,
        floor: Commands,
    },
    Answered,
}

/// Everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) keys: [[Option<Object>; PLACES]; ROLLS],
    pub(crate) written: [[Option<Object>; PLACES]; ROLLS],
    pub(crate) sent: [[[Option<Object>; PROCESSES]; PLACES]; ROLLS],
    pub(crate) snapshots: [Snapshot; ROLLS],
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) next_command: u8,
    pub(crate) answered: Commands,
    pub(crate) question: Question,
    /// A reader called damage, a leader began without a command, an answer was not current.
    pub(crate) is_damaged: bool,
    pub(crate) lacks: bool,
    pub(crate) is_stale: bool,
}

pub(crate) fn at(number: u8) -> usize {
    usize::from(number)
}

impl State {
    pub(crate) fn key(&self, roll: u8, place: u8) -> Option<Object> {
        self.keys.get(at(roll))?.get(at(place)).copied().flatten()
    }

    pub(crate) fn opening(&self, roll: u8) -> Option<Object> {
        self.key(roll, 0)
    }

    /// All commands of rolls below `until`, as the verdicts say; of the last one what has no gap.
    pub(crate) fn truth(&self, until: u8) -> Commands {
        let mut truth = Commands::default();
        for roll in 0..ROLLS.min(at(until)) {
            let verdict = self.written.get(roll + 1).and_then(|next| next[0]);
            let end = verdict
                .and_then(Object::prev)
                .map_or(PLACES, |prev| at(prev.place));
            for place in 1..end.max(1) {
                match self.written[roll][place] {
                    Some(Object::Entry { command, .. }) => truth.push(command),
                    Some(Object::Head { .. } | Object::Seal { .. }) | None => break,
                }
            }
            if verdict.is_none() {
                break;
            }
        }
        truth
    }
}
