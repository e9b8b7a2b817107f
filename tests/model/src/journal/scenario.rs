//! What a search of the journal covers, small enough to be searched to its end.

use super::mutation::Mutation;

/// Bounds of one search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Starts of processes, at most 3. The last one never crashes.
    pub processes: u8,
    /// Rolls, at most 4.
    pub rolls: u8,
    /// Places of a roll, at most 5.
    pub places: u8,
    /// Commands, at most 3.
    pub commands: u8,
    /// Appends in flight.
    pub in_flight: u8,
    /// Whether snapshots are written and what they make superfluous is collected.
    pub collects: bool,
    /// Whether a leader is asked, once.
    pub question: bool,
}

/// The model: a scenario, with or without a bug.
#[derive(Clone, Copy, Debug)]
pub struct JournalModel {
    /// Bounds.
    pub scenario: Scenario,
    /// The bug.
    pub mutation: Option<Mutation>,
}

impl JournalModel {
    pub(crate) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

/// Two leaders, appends in flight.
pub(super) const PIPELINE: Scenario = Scenario {
    name: "journal-pipeline",
    processes: 2,
    rolls: 3,
    places: 4,
    commands: 2,
    in_flight: 2,
    collects: false,
    question: true,
};

/// A leader that rolls and snapshots, and one that takes over from an old view.
pub(super) const COLLECTION: Scenario = Scenario {
    name: "journal-collection",
    processes: 2,
    rolls: 4,
    places: 3,
    commands: 2,
    in_flight: 1,
    collects: true,
    question: false,
};

/// Searched to their end on every change.
pub const SMALL: &[Scenario] = &[PIPELINE, COLLECTION];

/// Searched to their end by a command of its own.
pub const LARGE: &[Scenario] = &[
    Scenario {
        name: "third-process",
        processes: 3,
        rolls: 3,
        places: 3,
        commands: 1,
        question: false,
        ..PIPELINE
    },
    Scenario {
        name: "long-journal",
        places: 4,
        in_flight: 2,
        question: true,
        ..COLLECTION
    },
];
