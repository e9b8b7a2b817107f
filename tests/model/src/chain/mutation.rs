//! The planted bugs of the commit protocol, each a switch of the model.

use super::scenario::{self, Scenario};

macro_rules! mutations {
    ($($variant:ident, $scenario:ident, $breaks:literal, $says:literal;)*) => {
        /// A bug that is built in on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutation {
            $(#[doc = $says] $variant,)*
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What it does.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }

            /// The rule that it must break: one that the protocol names, where the model has it.
            #[must_use]
            pub fn breaks(self) -> &'static str {
                match self { $(Self::$variant => $breaks,)* }
            }

            /// Bounds in which it shows.
            #[must_use]
            pub fn scenario(self) -> Scenario {
                match self { $(Self::$variant => scenario::$scenario,)* }
            }
        }
    };
}

mutations! {
    CommitByExistence, SESSION, "CP1", "commit by existence alone";
    AckOutOfOrder, SESSION, "CP1", "ack n+1 before n";
    ConfirmOutOfOrder, SESSION, "CP4", "confirm n+1 before n";
    SealIsSuccess, SESSION, "CP1", "a seal in reply taken as own success";
    ReofferOnSeal, STRAY, "CP1", "non-idempotent batch offered again on the sight of a seal";
    SealDeleted, SESSION, "CP1", "seal deleted";
    VoidBy404, SESSION, "CP1", "number called void on 404";
    SealAboveIsEnd, CHAIN, "CP1", "seal above the first missing number taken as the end";
    VoidBeforeDurable, COLLECTION, "CP3", "void acted on before ended is durable";
    ReadPastSeal, CHAIN, "CP4", "recovery reads past a seal";
    AssignEarly, CHAIN, "CP1", "assign before every session is sealed";
    SessionSkipped, CHAIN, "CP1", "one registered session skipped";
    RegisterUnfenced, CHAIN, "CP6", "session registered unfenced";
    RegisterEarly, SESSION, "CP1", "registration answered before durable";
    ProbeFromZero, COLLECTED_CHAIN, "CP1", "probe from 0 instead of decided_upto";
    CheckpointUnfenced, COLLECTION, "CP6", "checkpoint not fenced";
    HwIsLogEnd, CHAIN, "CP6", "HW = log end, reserved ends shown";
    HwIgnoresUndecided, SESSION, "CP3", "HW ignores undecided";
    FetchTrustsAny, READING, "CP6", "fetch pod trusts any HW";
    FetchByReservation, SESSION, "CP3", "fetch pod serves a reservation-time range, by offset";
    LatestUnchecked, READING, "CP12", "LATEST without epoch check";
    LatestUnwaited, DEFERRAL, "CP12", "LATEST without waiting for U";
    StaleOutOfRange, DEFERRAL, "CP12", "stale pod answers OFFSET_OUT_OF_RANGE";
    RefusalUnchecked, ZOMBIE, "D4", "final refusal without epoch check";
    DuplicateOfUndecided, SESSION, "CP9", "duplicate answered from an undecided original";
    OverlayKept, SESSION, "CP9", "overlay kept after void";
    NoWaitForOther, PRODUCER, "CP8", "no wait for the other session";
    FoldedByArrival, RECOVERY, "CP8", "producer state folded in arrival order";
    ReservesTwice, SESSION, "CP4", "Reserve retry reserves twice";
    SegmentWaits, DEFERRAL, "D3", "whole segment waits on one deferral";
    CollectedEarly, COLLECTION, "CP1", "object deleted while only memory has its entries";
    CheckpointSplit, COLLECTED_CHAIN, "CP16", "checkpoint split in two writes";
}

/// Bugs of the protocol's list that have no place in the product as it is built, and why.
pub const ABSENT: &[(&str, &str)] = &[
    (
        "epochs/<e> not created; markers left out of U",
        "no such objects, no markers: J8, X",
    ),
    (
        "markers ignored in next offset; marker visible before durable",
        "transactions are refused",
    ),
    (
        "EndTxn without waiting; batches accepted after EndTxn",
        "transactions are refused",
    ),
    (
        "sweep by a zombie's view",
        "nothing sweeps yet: there are no intents",
    ),
    ("swap without source check", "nothing compacts yet"),
    (
        "topic matched by name",
        "one partition here; names end at the API (I26)",
    ),
];
