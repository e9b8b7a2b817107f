//! Planted bugs: how many seeds it takes until each is seen.

use esker_types::{Planted, plant};

use crate::options::RunOptions;
use crate::run::{Outcome, run};

/// What a planted bug came to.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub bug: Planted,
    /// Seeds run until it was seen; `None` when it survived.
    pub seeds: Option<u64>,
    /// What broke.
    pub outcome: Option<Outcome>,
}

/// Runs a seed with a bug planted.
#[must_use]
pub fn run_planted(options: &RunOptions, bug: Option<Planted>) -> Outcome {
    plant(bug);
    let outcome = run(options);
    plant(None);
    outcome
}

/// Runs seeds until the bug is seen.
#[must_use]
pub fn hunt(bug: Planted, from: u64, seeds_max: u64, minutes: u64) -> Hunt {
    for number in 0..seeds_max {
        let options = RunOptions::of(from + number, minutes);
        let outcome = run_planted(&options, Some(bug));
        // A seed that fails without the bug says nothing about it.
        if outcome.violation.is_some() && run_planted(&options, None).violation.is_none() {
            return Hunt {
                bug,
                seeds: Some(number + 1),
                outcome: Some(outcome),
            };
        }
    }
    Hunt {
        bug,
        seeds: None,
        outcome: None,
    }
}

/// The bugs that this simulation can reach.
pub const BUGS: &[Planted] = &[
    Planted::HwIsLogEnd,
    Planted::OverlayKept,
    Planted::AckOutOfOrder,
    Planted::ReadPastSeal,
    Planted::HwPastUndecided,
    Planted::RecoveredNotShown,
    Planted::WrittenOneAhead,
    Planted::MissingIsVoid,
    Planted::ServeBeforeDurable,
    Planted::LatestWithoutWait,
    Planted::ReserveTwice,
    Planted::BehindVoidPlaced,
    Planted::FirstBehindVoid,
    Planted::OldEpochTaken,
    Planted::NoDefer,
    Planted::DuplicateOfUndecided,
    Planted::VoidMarksForgotten,
    Planted::StateByArrival,
    Planted::DuplicateOfNewest,
    Planted::SessionNotWalked,
    Planted::WalkedFromZero,
    Planted::EndToldEarly,
    Planted::CheckpointDropsBatch,
    Planted::CheckpointOutOfOrder,
    Planted::EndForgotten,
    Planted::ToldPastHw,
    Planted::AckBeforePut,
    Planted::EndOneTooHigh,
    Planted::UnknownToldAsFailed,
    Planted::OfferedAgainOnSeal,
    Planted::LanesNotHeld,
    Planted::OfferedAgainReversed,
    Planted::SealTakenAsOwn,
    Planted::ConflictTakenAsOwn,
    Planted::SealedWithoutCreate,
    Planted::FetchTrustsAnyHw,
    Planted::FeedGapIgnored,
    Planted::AnyGeneration,
    Planted::GenerationGivenTwice,
    Planted::GenerationBeforeDurable,
    Planted::CommitOfAnyone,
];
