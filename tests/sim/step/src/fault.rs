//! The faults of a run: which kinds, how often, and how often each one struck.

use esker_env::Rng;

macro_rules! faults {
    ($($variant:ident, $name:literal, $episode:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(#[doc = $name] $variant,)*
        }

        impl Fault {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its name in commands.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// Whether it lasts for some time, instead of striking single operations.
            pub(crate) fn is_episode(self) -> bool {
                match self { $(Self::$variant => $episode,)* }
            }

            fn index(self) -> usize {
                Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
            }
        }
    };
}

faults! {
    PutFailed, "put fails before the store", false;
    PutReplyLost, "put done, reply lost", false;
    PutHeld, "put executed much later", false;
    PutDoubled, "put executed twice", false;
    PutConflictIdle, "409 without effect", false;
    PutConflictDone, "409 with effect", false;
    PutCut, "put cut short, refused", false;
    GetFailed, "get fails", false;
    GetCut, "get cut short", false;
    GetFlipped, "get with a flipped bit", false;
    StoreSlow, "slow request", false;
    StoreThrottled, "throttled", false;
    MessageLost, "message lost", false;
    MessageDoubled, "message doubled", false;
    MessageLate, "message late and out of order", false;
    JournalReplyLost, "journal reply lost", false;
    JournalHeld, "journal write held", false;
    JournalDoubled, "journal write doubled", false;
    StoreOutage, "store outage", true;
    CutBoth, "two-way partition", true;
    CutOneWay, "one-way partition", true;
    PodKilled, "ingest pod killed", true;
    FetcherKilled, "fetch pod killed", true;
    MetaKilled, "metadata leader killed", true;
    PodPaused, "ingest pod paused", true;
    MetaPaused, "metadata leader paused", true;
    FetcherPaused, "fetch pod paused", true;
    SecondLeader, "second leader beside the first", true;
    SealerStruck, "leader struck as it seals", false;
    GreyWay, "pod's puts or their replies late, each for itself", true;
    WallJump, "wall clock jumps", true;
    ClientCut, "client changes its pod", true;
}

/// Kinds of faults.
pub const FAULTS: usize = 32;
const _: () = assert!(Fault::ALL.len() == FAULTS);

/// How likely each kind is, in millionths for one operation, or as a weight for an episode.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    rates: [u64; FAULTS],
    counts: [u64; FAULTS],
    rng: Rng,
    on: bool,
}

impl Faults {
    /// Draws kinds and rates: about half of the kinds are off.
    pub(crate) fn draw(root: &Rng, masked: &[Fault]) -> Self {
        let swarm = root.stream("fault kinds");
        let mut rates = [0; FAULTS];
        for (kind, rate) in Fault::ALL.iter().zip(&mut rates) {
            let is_on = swarm.below(2) == 0;
            let drawn = match kind {
                // Seals are rare.
                Fault::SealerStruck => 30_000 << swarm.below(4),
                kind if kind.is_episode() => 1 + swarm.below(4),
                _ => 300 << swarm.below(8),
            };
            if is_on && !masked.contains(kind) {
                *rate = drawn;
            }
        }
        Self {
            rates,
            counts: [0; FAULTS],
            rng: root.stream("faults"),
            on: true,
        }
    }

    /// Whether this operation is struck.
    pub(crate) fn strikes(&mut self, kind: Fault) -> bool {
        let rate = self.rates[kind.index()];
        // Drawn always, so that a kind that is masked shifts nothing.
        let struck = self.on && self.rng.below(1_000_000) < rate;
        if struck {
            self.count(kind);
        }
        struck
    }

    pub(crate) fn count(&mut self, kind: Fault) {
        self.counts[kind.index()] += 1;
    }

    /// The next episode's kind; `None` when none is on.
    pub(crate) fn episode(&mut self) -> Option<Fault> {
        let kinds = || Fault::ALL.iter().filter(|kind| kind.is_episode());
        let total: u64 = kinds().map(|kind| self.rates[kind.index()]).sum();
        let mut drawn = self.rng.below(total.max(1));
        for kind in kinds() {
            let weight = self.rates[kind.index()];
            if drawn < weight {
                return Some(*kind);
            }
            drawn -= weight.min(drawn);
        }
        None
    }

    /// Everything is healed: nothing strikes any more.
    pub(crate) fn heal(&mut self) {
        self.on = false;
    }

    pub(crate) fn are_on(&self) -> bool {
        self.on
    }

    pub(crate) fn counts(&self) -> [u64; FAULTS] {
        self.counts
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.rng.below(bound)
    }
}
