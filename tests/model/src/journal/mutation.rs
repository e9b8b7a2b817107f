//! The planted bugs of the journal, each a switch of the model.

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

            /// Bounds in which it shows.
            #[must_use]
            pub fn scenario(self) -> Scenario {
                match self { $(Self::$variant => scenario::$scenario,)* }
            }

            /// The rule that it must break.
            #[must_use]
            pub fn breaks(self) -> &'static str {
                match self { $(Self::$variant => $breaks,)* }
            }
        }
    };
}

mutations! {
    AnswerOutOfOrder, PIPELINE, "J2", "answer out of append order";
    SealIsSuccess, PIPELINE, "J2", "seal taken as success";
    OpeningDeleted, COLLECTION, "J4", "seal or place 0 deleted";
    CollectedEarly, COLLECTION, "J5", "entry collected before a done";
    StrangersHead, COLLECTION, "J3", "a stranger's head taken as own";
    OldState, COLLECTION, "J3", "going on at r+1 with the old state after a stray seal";
    SealBelieved, COLLECTION, "J3", "stray seal believed without prev";
    EntrySkipped, COLLECTION, "J3", "missing entry skipped";
    SealNotLowest, PIPELINE, "J3", "seal not at the first missing place";
    OwnSealEarly, PIPELINE, "J3", "own seal acted on with entries below it open";
    LeadsBeforeHead, PIPELINE, "J2", "entries and answers before the head is known";
    SnapshotOfRoll, COLLECTION, "J7", "snapshot holding commands of its roll";
    DoneFirst, COLLECTION, "J5", "done before its parts";
    NewestDoneDeleted, COLLECTION, "J5", "newest done deleted";
    DamageDownwards, COLLECTION, "J5", "damage called without looking upwards";
    Unchecked, PIPELINE, "J8", "no epoch check";
    CheckedInFlight, PIPELINE, "J8", "epoch check by a place behind appends in flight";
}

/// Bugs of the journal's list that have no place in the model, and what holds them instead.
pub const ABSENT: &[(&str, &str)] = &[
    (
        "retry with other bytes",
        "an object is sent once here; asserted in storage/chain settle",
    ),
    (
        "failed told on the sight of a seal",
        "told as unknown by types: storage/journal error",
    ),
    (
        "read of commands not yet durable",
        "only durable ones are applied: state",
    ),
    (
        "parts of two writers mixed; unfinished parts swept",
        "one part a snapshot here",
    ),
    (
        "damage called by LIST",
        "LIST is a hint here; storage/journal replay tests",
    ),
    (
        "pushed entry applied before it is durable",
        "nothing is pushed in the product",
    ),
    (
        "non-deterministic command",
        "commands are numbers; replay_conformance",
    ),
];
