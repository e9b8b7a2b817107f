//! Processes that did not answer, and until when they are left alone.
//!
//! Each rests longer after each failure; behind a rest one question tries it, and while that one is
//! on its way all others go on to the bucket. So a process that is cut off holds up one reader now
//! and then, not all of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use esker_env::{Backoff, Rng};
use esker_metadata_api::Endpoint;
use esker_types::MonotonicTime;

use crate::limits::{PEER_REST, RESTS_MAX};

#[derive(Debug)]
struct Rest {
    until: MonotonicTime,
    /// One question is on its way to it.
    is_tried: bool,
    backoff: Backoff,
}

/// Those that rest, by where they are reached. Past the limit whose rest ends first is forgotten.
#[derive(Debug, Default)]
pub(super) struct Rests {
    resting: Mutex<BTreeMap<Endpoint, Rest>>,
}

impl Rests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Rest>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a question that takes up to `limit` may be put to the process.
    pub(super) fn may_ask(&self, now: MonotonicTime, at: &Endpoint, limit: Duration) -> bool {
        let mut resting = self.lock();
        let Some(rest) = resting.get_mut(at) else {
            return true;
        };
        if now < rest.until {
            return false;
        }
        rest.until = now.after(limit);
        rest.is_tried = true;
        true
    }

    /// The process answered, whatever it was.
    pub(super) fn answered(&self, at: &Endpoint) {
        self.lock().remove(at);
    }

    /// The process did not answer.
    pub(super) fn was_lost(&self, now: MonotonicTime, at: Endpoint, rng: &Rng) {
        let mut resting = self.lock();
        let rest = resting.entry(at).or_insert_with(|| Rest {
            until: now,
            is_tried: true,
            backoff: PEER_REST.begin(),
        });
        // Questions that were lost together are one failure.
        if rest.until > now && !rest.is_tried {
            return;
        }
        rest.is_tried = false;
        let delay = rest.backoff.next_delay(rng).unwrap_or(PEER_REST.delay_max);
        rest.until = now.after(delay);
        if resting.len() > RESTS_MAX {
            let first = resting.iter().min_by_key(|(_, rest)| rest.until);
            if let Some(first) = first.map(|(at, _)| at.clone()) {
                resting.remove(&first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn at(port: u16) -> Endpoint {
        Endpoint {
            host: "pod".to_owned(),
            port,
        }
    }

    fn time(millis: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn who_did_not_answer_rests_and_is_then_tried_by_one_question() {
        let (rests, rng) = (Rests::default(), Rng::from_seed(1));
        rests.was_lost(time(0), at(1), &rng);
        let later = 2 * u64::try_from(PEER_REST.delay_max.as_millis()).unwrap();

        let at_once = rests.may_ask(time(0), &at(1), LIMIT);
        let other = rests.may_ask(time(0), &at(2), LIMIT);
        let behind = [0, 1].map(|more| rests.may_ask(time(later + more), &at(1), LIMIT));
        let next = rests.may_ask(time(later + 1000), &at(1), LIMIT);
        rests.answered(&at(1));
        let well = [0, 1].map(|_| rests.may_ask(time(later + 1001), &at(1), LIMIT));

        assert!(!at_once && other);
        assert_eq!(behind, [true, false]);
        assert!(next, "nobody heard of the one before");
        assert_eq!(well, [true, true]);
    }

    #[test]
    fn rests_grow_to_their_limit_and_questions_lost_together_count_once() {
        let rng = Rng::from_seed(2);
        let rest_of = |losses: u64| {
            let rests = Rests::default();
            let apart = 2 * u64::try_from(PEER_REST.delay_max.as_millis()).unwrap();
            for loss in 0..losses {
                for _ in 0..50 {
                    rests.was_lost(time(loss * apart), at(1), &rng);
                }
            }
            let resting = rests.lock();
            resting[&at(1)].until.since(time((losses - 1) * apart))
        };

        assert!(rest_of(1) <= PEER_REST.delay_first);
        assert!(rest_of(2) <= 2 * PEER_REST.delay_first);
        assert!(rest_of(20) <= PEER_REST.delay_max);
        assert!(rest_of(20) > PEER_REST.delay_first);
    }

    #[test]
    fn one_process_past_the_limit_forgets_whose_rest_ends_first() {
        let (rests, rng) = (Rests::default(), Rng::from_seed(3));
        let apart = u64::try_from(PEER_REST.delay_max.as_millis()).unwrap();

        for port in 0..=u16::try_from(RESTS_MAX).unwrap() {
            rests.was_lost(time(u64::from(port) * apart), at(port), &rng);
        }

        assert_eq!(rests.lock().len(), RESTS_MAX);
        assert!(!rests.lock().contains_key(&at(0)));
    }
}
