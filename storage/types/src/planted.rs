//! Bugs that simulations build into the product, to show that they would find them.
//!
//! A place in the product asks [`planted`] whether to do the wrong thing. Without the feature
//! `planted`, which only simulations turn on, the answer is `false` at compile time and no trace of
//! the wrong branch is left in the binary. With it, [`plant`] turns one bug on for the calling
//! thread: simulations run on one thread, so that runs beside each other do not mix.

/// A simulation that hunts planted bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hunter {
    /// `esker-sim`: the pure state machines (docs/simulation.md).
    Step,
    /// `esker-sim-shell`: the asynchronous shells (docs/simulation-shell.md).
    Shell,
}

impl Hunter {
    /// The command whose `planted` hunts.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Step => "esker-sim",
            Self::Shell => "esker-sim-shell",
        }
    }
}

macro_rules! bugs {
    ($($variant:ident, $hunter:ident, $breaks:literal, $says:literal;)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Planted {
            $(#[doc = $says] $variant,)*
        }

        impl Planted {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name, as commands take it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// What it does.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }

            /// The promise or invariant that it breaks (`docs/invariants.md`).
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self { $(Self::$variant => $breaks,)* }
            }

            /// The simulation that must find it. The other may reach its place too.
            #[must_use]
            pub const fn hunter(self) -> Hunter {
                match self { $(Self::$variant => Hunter::$hunter,)* }
            }
        }
    };
}

bugs! {
    HwIsLogEnd, Step, "CP6", "the high watermark is the end of what is reserved";
    OverlayKept, Step, "CP9", "producer state of a void segment is kept";
    AckOutOfOrder, Step, "CP1", "segment n + 1 is acknowledged before segment n is written";
    ReadPastSeal, Step, "CP4", "recovery reads a chain past its seal";
    HwPastUndecided, Step, "CP3", "the high watermark passes undecided offsets";
    RecoveredNotShown, Step, "CP6", "what a take-over finds in chains is not below its watermark";
    WrittenOneAhead, Step, "CP4", "one segment more than reported is taken as written";
    MissingIsVoid, Step, "C2", "a place where a look found nobody is called void";
    ServeBeforeDurable, Step, "CP11", "a take-over serves before its decisions are durable";
    LatestWithoutWait, Step, "CP12", "LATEST does not wait for what was undecided then";
    ReserveTwice, Step, "CP18", "a repeated reservation gets other offsets";
    BehindVoidPlaced, Step, "CP8", "a batch behind a void one is placed";
    FirstBehindVoid, Step, "CP8", "a first batch may stand behind its void one, also on pods";
    OldEpochTaken, Step, "CP8", "a batch of a producer epoch that is over is taken";
    NoDefer, Step, "CP8", "a batch does not wait for its producer's undecided ones elsewhere";
    DuplicateOfUndecided, Step, "CP9", "a replay is answered from an undecided original";
    VoidMarksForgotten, Step, "CP8", "nobody remembers whose batches turned void, not even pods";
    StateByArrival, Step, "CP8", "producer state depends on the order of replay";
    DuplicateOfNewest, Step, "CP9", "a replay is answered with the offset of the newest batch";
    SessionNotWalked, Step, "CP1", "a take-over leaves one session unread";
    WalkedFromZero, Step, "CP16", "a take-over reads chains from 0 instead of the checkpoint";
    EndToldEarly, Step, "CP1", "a session's end is told before it is durable";
    CheckpointDropsBatch, Step, "CP16", "a checkpoint leaves out the last batch of a segment";
    CheckpointOutOfOrder, Step, "CP16", "segments enter the index out of order";
    EndForgotten, Step, "CP2", "the durable end of a partition is forgotten";
    ToldPastHw, Step, "CP7", "readers are told of extents above the high watermark";
    AckBeforePut, Step, "CP1", "a batch is acknowledged when it is reserved";
    EndOneTooHigh, Step, "CP1", "the segment at a session's end counts as below it";
    UnknownToldAsFailed, Step, "I24", "a batch in doubt is told as not written";
    OfferedAgainOnSeal, Step, "CP8", "the sight of a seal makes all in flight be offered again";
    LanesNotHeld, Step, "I12", "batches overtake those in doubt in a lost session";
    OfferedAgainReversed, Step, "I12", "batches are offered again in the wrong order";
    SealIsSuccess, Step, "CP1", "a seal at our place is taken as our own success";
    SealedWithoutCreate, Step, "C2", "a place is called sealed because nobody was there";
    FetchTrustsAnyHw, Step, "CP6", "a fetch pod takes any watermark it is told";
    FeedGapIgnored, Step, "R3", "a fetch pod takes what it missed for a gap";
    AnyGeneration, Step, "I17", "a group takes requests of any generation";
    GenerationGivenTwice, Step, "I17", "a new leader gives the generation under way again";
    GenerationBeforeDurable, Step, "I17", "members hear of a generation before it is durable";
    CommitOfAnyone, Step, "I17", "a group takes commits of anyone";
    UnknownIsSuccess, Step, "CP1", "a put of unknown outcome is taken as own success";
    ExistsIsSuccess, Shell, "CP1", "a key that exists is taken as own without looking who is there";
    AnotherIsOurs, Shell, "CP1", "another's object met by a put in doubt is taken as own";
    SealDeleted, Shell, "CP1", "a session's seal is deleted";
    SealTooHigh, Shell, "CP1", "the seal stands above the place that is taken as the end";
    RecoveryWithoutSeal, Shell, "CP11", "a take-over serves without having sealed open sessions";
    RecoveryFromZero, Shell, "CP16", "a take-over reads chains from 0 instead of what is decided";
    SessionSkipped, Shell, "CP1", "a take-over skips one registered session";
    EpochCheckLeftOut, Shell, "CP12", "current answers are given without an epoch check";
    FenceSwallowed, Shell, "CP12", "an epoch check that failed counts as passed";
    LatestIgnoresUndecided, Shell, "CP12", "LATEST does not wait for what is undecided";
    GroupAnswerUnchecked, Shell, "CP12", "group answers are given without an epoch check";
    WrittenTooFar, Shell, "CP1", "the sequencer is told of segments that are not written";
    OffsetZeroOnError, Shell, "CP1", "a batch of unknown outcome is answered with offset 0";
    UnknownTopicUnconfirmed, Shell, "CP12", "unknown topic is told without a current answer";
    CacheKeyWithoutSession, Shell, "I22", "the cache tells segments apart by their place only";
    CrcUnchecked, Shell, "I22", "batches from the cache are not compared with their checksums";
    StaleOutOfRange, Shell, "CP12", "out of range is told from what a fetch pod happens to know";
    CommitAnyGeneration, Shell, "I17", "commits are taken whatever their generation";
    JournalAnswersOutOfOrder, Shell, "J2", "journal commands are answered out of append order";
    JournalSealIsSuccess, Shell, "J2", "a seal at a place of ours is taken as own success";
    JournalOpeningDeleted, Shell, "J4", "the heads of collected rolls are deleted too";
    JournalCollectedEarly, Shell, "J5", "entries are collected before the snapshot is written";
    JournalStrangersHead, Shell, "J3", "a stranger's head is taken as own";
    JournalSealBelieved, Shell, "J3", "a stray seal is believed without its verdict";
    JournalEntrySkipped, Shell, "J3", "a missing entry is skipped";
    JournalSealNotLowest, Shell, "J3", "a challenger's seal stands above the first missing place";
    JournalLeadsBeforeHead, Shell, "J2", "a challenger leads before its head is known";
    JournalNewestDoneDeleted, Shell, "J5", "the newest snapshot's list is deleted";
    JournalCheckedInFlight, Shell, "J8", "an epoch check by a look that appends have overtaken";
    JournalCheckServesLater, Shell, "J8", "an entry answers questions that came after it was sent";
}

#[cfg(feature = "planted")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Whether `bug` is to be done here. `false` at compile time without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn planted(_bug: Planted) -> bool {
    false
}

/// Whether `bug` is to be done here, on this thread.
#[cfg(feature = "planted")]
#[inline]
#[must_use]
pub fn planted(bug: Planted) -> bool {
    PLANTED.get() == Some(bug)
}

/// Turns one bug on for the calling thread, and any other off.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Planted>) {
    PLANTED.set(bug);
}
