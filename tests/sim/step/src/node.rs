//! Who takes part: pods, metadata candidates, clients and the journal, and their lives.

/// Simulated time since the start of the run.
pub(crate) type Nanos = u64;

pub(crate) const MILLI: Nanos = 1_000_000;
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// Ingest pods.
pub(crate) const PODS: usize = 3;
/// Fetch pods.
pub(crate) const FETCHERS: usize = 2;
/// Metadata candidates.
pub(crate) const METAS: usize = 2;
/// Clients at most.
pub(crate) const CLIENTS_MAX: usize = 12;

const FETCHER_FROM: usize = PODS;
const META_FROM: usize = FETCHER_FROM + FETCHERS;
const JOURNAL: usize = META_FROM + METAS;
const CLIENT_FROM: usize = JOURNAL + 1;
pub(crate) const NODES: usize = CLIENT_FROM + CLIENTS_MAX;

/// A place on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node(usize);

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Pod(usize),
    Fetcher(usize),
    Meta(usize),
    Journal,
    Client(usize),
}

impl Node {
    pub(crate) const JOURNAL: Self = Self(JOURNAL);

    pub(crate) fn pod(index: usize) -> Self {
        Self(index % PODS)
    }

    pub(crate) fn fetcher(index: usize) -> Self {
        Self(FETCHER_FROM + index % FETCHERS)
    }

    pub(crate) fn meta(index: usize) -> Self {
        Self(META_FROM + index % METAS)
    }

    pub(crate) fn client(index: usize) -> Self {
        Self(CLIENT_FROM + index % CLIENTS_MAX)
    }

    /// All that run the product.
    pub(crate) fn servers() -> impl Iterator<Item = Self> {
        (0..JOURNAL).map(Self)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }

    pub(crate) fn number(self) -> u64 {
        u64::try_from(self.0).unwrap_or(u64::MAX)
    }

    pub(crate) fn role(self) -> Role {
        match self.0 {
            index if index < FETCHER_FROM => Role::Pod(index),
            index if index < META_FROM => Role::Fetcher(index - FETCHER_FROM),
            index if index < JOURNAL => Role::Meta(index - META_FROM),
            JOURNAL => Role::Journal,
            index => Role::Client(index - CLIENT_FROM),
        }
    }
}

/// One life of a process: a restart begins the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) life: u32,
}
