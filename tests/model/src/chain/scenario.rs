//! What a search covers: bounds of the world, small enough to be searched to their end.

use super::mutation::Mutation;

/// Bounds of one search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Sequencers, one taking over from the other, at most 3.
    pub sequencers: u8,
    /// Ingest processes, at most 2.
    pub pods: u8,
    /// Sessions of all of them, at most 4.
    pub sessions: u8,
    /// Sessions that are registered when it begins, one a pod.
    pub registered: u8,
    /// Places of a session, at most 3.
    pub places: u8,
    /// Batches of the idempotent producer, at most 2.
    pub idempotent: u8,
    /// Whether there is a batch without a producer.
    pub plain: bool,
    /// How often a pod may crash or give its session up.
    pub crashes: u8,
    /// Whether the answer of a reservation may be lost.
    pub losses: bool,
    /// Whether checkpoints are written.
    pub checkpoints: bool,
    /// Whether checkpointed segments are collected.
    pub collects: bool,
    /// Whether LATEST is asked, once.
    pub question: bool,
    /// Whether a fetch pod follows.
    pub fetch: bool,
}

/// The model: a scenario, with or without a bug.
#[derive(Clone, Copy, Debug)]
pub struct ChainModel {
    /// Bounds.
    pub scenario: Scenario,
    /// The bug.
    pub mutation: Option<Mutation>,
}

impl ChainModel {
    pub(crate) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

const NONE: Scenario = Scenario {
    name: "",
    sequencers: 1,
    pods: 1,
    sessions: 1,
    registered: 1,
    places: 2,
    idempotent: 0,
    plain: false,
    crashes: 0,
    losses: false,
    checkpoints: false,
    collects: false,
    question: false,
    fetch: false,
};

/// One pod loses its session and goes on in another.
pub(super) const SESSION: Scenario = Scenario {
    name: "session",
    sessions: 2,
    idempotent: 1,
    plain: true,
    losses: true,
    crashes: 1,
    fetch: true,
    ..NONE
};

/// An idempotent producer goes from one pod to the other.
pub(super) const PRODUCER: Scenario = Scenario {
    name: "producer",
    pods: 2,
    sessions: 3,
    registered: 2,
    idempotent: 2,
    ..NONE
};

/// An idempotent producer and another one over two pods.
pub(super) const DEFERRAL: Scenario = Scenario {
    name: "deferral",
    pods: 2,
    sessions: 2,
    registered: 2,
    idempotent: 1,
    plain: true,
    question: true,
    ..NONE
};

/// A second sequencer takes over from one whose pods go on.
pub(super) const TAKE_OVER: Scenario = Scenario {
    name: "take-over",
    sequencers: 2,
    pods: 2,
    sessions: 2,
    registered: 1,
    places: 1,
    idempotent: 1,
    plain: true,
    ..NONE
};

/// A chain of two places over a take-over.
pub(super) const CHAIN: Scenario = Scenario {
    name: "chain",
    sequencers: 2,
    sessions: 2,
    idempotent: 1,
    plain: true,
    ..NONE
};

/// A producer of two batches, in two pods, over a take-over.
pub(super) const RECOVERY: Scenario = Scenario {
    name: "recovery",
    sequencers: 2,
    pods: 2,
    sessions: 3,
    registered: 2,
    places: 1,
    idempotent: 2,
    ..NONE
};

/// Checkpointed segments are collected, and late writes find their keys free.
pub(super) const COLLECTION: Scenario = Scenario {
    name: "collection",
    sequencers: 2,
    pods: 2,
    sessions: 2,
    registered: 2,
    places: 1,
    idempotent: 1,
    plain: true,
    checkpoints: true,
    collects: true,
    ..NONE
};

/// A chain of two places, of which the first is collected.
pub(super) const COLLECTED_CHAIN: Scenario = Scenario {
    name: "collected-chain",
    sequencers: 2,
    sessions: 1,
    idempotent: 1,
    plain: true,
    checkpoints: true,
    collects: true,
    ..NONE
};

/// A zombie's seal lands where a segment was collected, and its pod goes on elsewhere.
pub(super) const STRAY: Scenario = Scenario {
    name: "stray-seal",
    sequencers: 2,
    sessions: 2,
    places: 1,
    plain: true,
    checkpoints: true,
    collects: true,
    ..NONE
};

/// A zombie is asked by a producer that went on at its successor.
pub(super) const ZOMBIE: Scenario = Scenario {
    name: "zombie",
    sequencers: 2,
    pods: 2,
    sessions: 2,
    places: 1,
    idempotent: 2,
    ..NONE
};

/// Readers of two sequencers, one of them a zombie.
pub(super) const READING: Scenario = Scenario {
    name: "reading",
    sequencers: 2,
    pods: 2,
    sessions: 2,
    registered: 1,
    places: 1,
    plain: true,
    idempotent: 0,
    question: true,
    fetch: true,
    ..NONE
};

/// Searched to their end on every change.
pub const SMALL: &[Scenario] = &[
    SESSION,
    PRODUCER,
    DEFERRAL,
    CHAIN,
    TAKE_OVER,
    RECOVERY,
    COLLECTION,
    COLLECTED_CHAIN,
    READING,
    STRAY,
    ZOMBIE,
];

/// Three sequencers, each taking over from the one before.
const SUCCESSION: Scenario = Scenario {
    name: "succession",
    sequencers: 3,
    sessions: 2,
    places: 1,
    idempotent: 1,
    plain: true,
    ..NONE
};

/// Searched to their end by a command of its own.
pub const LARGE: &[Scenario] = &[
    SUCCESSION,
    Scenario {
        name: "large-producer",
        places: 3,
        losses: true,
        ..PRODUCER
    },
    Scenario {
        name: "large-take-over",
        sessions: 3,
        places: 2,
        ..TAKE_OVER
    },
    Scenario {
        name: "large-recovery",
        places: 2,
        checkpoints: true,
        ..RECOVERY
    },
    Scenario {
        name: "large-reading",
        idempotent: 1,
        ..READING
    },
];
