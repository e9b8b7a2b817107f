//! For each planted bug the first seed that shows it, tried first so that a hunt takes seconds.
//!
//! Any change of the world changes what seeds draw: then `esker-sim planted` says which of these
//! show nothing any more, and which do instead.

use esker_types::Planted;

/// Bug and seed, of runs of [`MINUTES`].
pub const KNOWN_SEEDS: &[(Planted, u64)] = &[
    (Planted::HwIsLogEnd, 1),
    (Planted::OverlayKept, 9),
    (Planted::AckOutOfOrder, 1),
    (Planted::ReadPastSeal, 1),
    (Planted::HwPastUndecided, 1),
    (Planted::RecoveredNotShown, 1),
    (Planted::WrittenOneAhead, 1),
    (Planted::MissingIsVoid, 3),
    (Planted::ServeBeforeDurable, 1),
    (Planted::LatestWithoutWait, 1),
    (Planted::ReserveTwice, 1),
    (Planted::BehindVoidPlaced, 89),
    (Planted::FirstBehindVoid, 304),
    (Planted::OldEpochTaken, 8),
    (Planted::NoDefer, 1),
    (Planted::DuplicateOfUndecided, 4),
    (Planted::VoidMarksForgotten, 757),
    (Planted::StateByArrival, 7),
    (Planted::DuplicateOfNewest, 2),
    (Planted::SessionNotWalked, 1),
    (Planted::WalkedFromZero, 1),
    (Planted::EndToldEarly, 1),
    (Planted::CheckpointDropsBatch, 1),
    (Planted::CheckpointOutOfOrder, 1),
    (Planted::EndForgotten, 4),
    (Planted::ToldPastHw, 1),
    (Planted::AckBeforePut, 1),
    (Planted::EndOneTooHigh, 1),
    (Planted::UnknownToldAsFailed, 4),
    (Planted::OfferedAgainOnSeal, 287),
    (Planted::LanesNotHeld, 3),
    (Planted::OfferedAgainReversed, 12),
    (Planted::SealIsSuccess, 1),
    (Planted::SealedWithoutCreate, 1),
    (Planted::FetchTrustsAnyHw, 32),
    (Planted::FeedGapIgnored, 1),
    (Planted::AnyGeneration, 1),
    (Planted::GenerationGivenTwice, 10),
    (Planted::GenerationBeforeDurable, 4),
    (Planted::CommitOfAnyone, 1),
    (Planted::UnknownIsSuccess, 13),
];

/// Simulated minutes of a hunt's runs, as a rule.
pub const MINUTES: u64 = 3;

/// The seed that is known to show this bug.
#[must_use]
pub fn known_seed(bug: Planted) -> Option<u64> {
    let known = KNOWN_SEEDS.iter().find(|(known, _)| *known == bug);
    known.map(|(_, seed)| *seed)
}

#[cfg(test)]
mod tests {
    use esker_types::Hunter;

    use super::*;

    #[test]
    fn known_seeds_are_of_bugs_that_are_hunted_here_each_once_and_in_their_order() {
        let places = KNOWN_SEEDS.iter().map(|(bug, _)| {
            let place = Planted::ALL.iter().position(|one| one == bug);
            (place, bug.hunter())
        });
        let places: Vec<_> = places.collect();

        assert!(places.iter().all(|(_, hunter)| *hunter == Hunter::Step));
        assert!(places.is_sorted_by(|one, next| one.0 < next.0));
    }
}
