//! How long a refusal for want of rights is borne before a person must act.
//!
//! A 403 is a definite "not done", and often passes by itself: credentials are being replaced, a
//! grant is on its way through the provider, a clock is being set. Used by whoever tries again
//! above `DurableBucket`: creates of a chain, the journal, replay.

use std::time::Duration;

use esker_types::MonotonicTime;

use crate::StoreErrorKind;

/// Decides whether the same request may be sent again, for one operation with all its tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    limit: Duration,
    denied_since: Option<MonotonicTime>,
}

impl Patience {
    /// Rights that are missing end the operation at once.
    pub const NONE: Self = Self::new(Duration::ZERO);

    /// Missing rights are borne until nothing but refusals came for `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self {
            limit,
            denied_since: None,
        }
    }

    /// Whether a request that failed so, now, may be sent again without anybody's doing. What
    /// passes is borne for ever; it begins the time for missing rights anew.
    #[must_use]
    pub fn bears(&mut self, kind: StoreErrorKind, now: MonotonicTime) -> bool {
        match kind {
            StoreErrorKind::Retry | StoreErrorKind::Throttled | StoreErrorKind::Exhausted => {
                self.denied_since = None;
                true
            }
            StoreErrorKind::Denied => {
                let since = *self.denied_since.get_or_insert(now);
                now.since(since) < self.limit
            }
            StoreErrorKind::NoBucket | StoreErrorKind::Full | StoreErrorKind::Unsupported => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn missing_rights_are_borne_for_the_limit_and_anything_else_begins_it_anew() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let kinds = [
            (StoreErrorKind::Denied, 5, true),
            (StoreErrorKind::Denied, 14, true),
            (StoreErrorKind::Retry, 15, true),
            (StoreErrorKind::Denied, 16, true),
            (StoreErrorKind::Denied, 25, true),
            (StoreErrorKind::Denied, 26, false),
        ];

        for (kind, second, wanted) in kinds {
            assert_eq!(patience.bears(kind, at(second)), wanted, "second {second}");
        }
    }

    #[test]
    fn without_patience_only_what_passes_is_borne() {
        for (kind, wanted) in [
            (StoreErrorKind::Retry, true),
            (StoreErrorKind::Throttled, true),
            (StoreErrorKind::Exhausted, true),
            (StoreErrorKind::Denied, false),
            (StoreErrorKind::NoBucket, false),
            (StoreErrorKind::Full, false),
            (StoreErrorKind::Unsupported, false),
        ] {
            assert_eq!(
                Patience::NONE.clone().bears(kind, at(1)),
                wanted,
                "{kind:?}"
            );
        }
    }
}
