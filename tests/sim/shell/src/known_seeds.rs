//! For each planted bug the first seed that shows it, tried first so that a hunt takes seconds.
//!
//! Any change of the world changes what seeds draw: then `esker-sim-shell planted` says which of
//! these show nothing any more, and which do instead.

use esker_types::Planted;

/// Bug and seed.
pub const KNOWN_SEEDS: &[(Planted, u64)] = &[
    (Planted::ExistsIsSuccess, 1),
    (Planted::AnotherIsOurs, 1),
    (Planted::SealDeleted, 2),
    (Planted::SealTooHigh, 4),
    (Planted::RecoveryWithoutSeal, 4),
    (Planted::RecoveryFromZero, 1),
    (Planted::SessionSkipped, 1),
    (Planted::EpochCheckLeftOut, 5),
    (Planted::FenceSwallowed, 2),
    (Planted::LatestIgnoresUndecided, 1),
    (Planted::GroupAnswerUnchecked, 4),
    (Planted::WrittenTooFar, 30),
    (Planted::OffsetZeroOnError, 1),
    (Planted::UnknownTopicUnconfirmed, 1),
    (Planted::CacheKeyWithoutSession, 1),
    (Planted::CrcUnchecked, 17),
    (Planted::StaleOutOfRange, 14),
    (Planted::CommitAnyGeneration, 6),
    (Planted::JournalAnswersOutOfOrder, 45),
    (Planted::JournalSealIsSuccess, 2),
    (Planted::JournalOpeningDeleted, 1),
    (Planted::JournalCollectedEarly, 1),
    (Planted::JournalStrangersHead, 7),
    (Planted::JournalSealBelieved, 29),
    (Planted::JournalEntrySkipped, 1),
    (Planted::JournalSealNotLowest, 1),
    (Planted::JournalLeadsBeforeHead, 7),
    (Planted::JournalNewestDoneDeleted, 1),
    (Planted::JournalCheckedInFlight, 65),
    (Planted::JournalCheckServesLater, 69),
];

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

        assert!(places.iter().all(|(_, hunter)| *hunter == Hunter::Shell));
        assert!(places.is_sorted_by(|one, next| one.0 < next.0));
    }
}
