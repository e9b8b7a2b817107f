//! Lanes of producers in which a batch was given up a moment ago.
//!
//! A client with several batches in flight sends on until it hears of it. What it sent behind the
//! given-up batch must not be offered: of a producer without committed batches the sequencer would
//! take it for the first one, and the given-up batch could never follow (CP8, I12). It is told the
//! same, until the given-up batch comes again. Bounded in number and time: who comes later has
//! heard, or is a client that got its batch through elsewhere.

use std::collections::{BTreeMap, VecDeque};

use esker_metadata_api::ProducerSpan;
use esker_types::MonotonicTime;

use crate::batch::{AdmittedBatch, Lane};
use crate::error::AppendError;
use crate::limits::{GIVEN_UP_LANES_MAX, GIVEN_UP_MEMORY};

/// The first batch that was given up in a lane.
#[derive(Debug)]
struct GivenUpBatch {
    span: ProducerSpan,
    error: AppendError,
    until: MonotonicTime,
}

/// All such lanes.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    lanes: BTreeMap<Lane, GivenUpBatch>,
    /// In the order in which they are forgotten.
    order: VecDeque<(MonotonicTime, Lane)>,
}

impl GivenUp {
    /// A batch of this producer was given up. An idempotency key has nothing behind it.
    pub(crate) fn note(
        &mut self,
        lane: Lane,
        span: ProducerSpan,
        error: &AppendError,
        now: MonotonicTime,
    ) {
        if span.producer_id.is_keyed() {
            return;
        }
        let until = now.after(GIVEN_UP_MEMORY);
        let known = self.lanes.get(&lane);
        let is_noted = known.is_some_and(|known| known.until == until);
        // The newest epoch counts: whoever began one has heard of all that went wrong before.
        let first = match known {
            Some(known) if is_behind(span, known.span) || is_older(span, known.span) => known.span,
            _ => span,
        };
        let error = error.clone();
        let batch = GivenUpBatch {
            span: first,
            error,
            until,
        };
        self.lanes.insert(lane, batch);
        if !is_noted {
            self.order.push_back((until, lane));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: MonotonicTime) {
        while let Some((until, lane)) = self.order.front().copied() {
            if until > now && self.order.len() <= GIVEN_UP_LANES_MAX {
                return;
            }
            self.order.pop_front();
            if self
                .lanes
                .get(&lane)
                .is_some_and(|known| known.until == until)
            {
                self.lanes.remove(&lane);
            }
        }
    }

    /// What a batch is told that was sent behind a given-up one.
    pub(crate) fn refuses(
        &mut self,
        batch: &AdmittedBatch,
        now: MonotonicTime,
    ) -> Option<AppendError> {
        let span = batch.body.summary.producer?;
        let lane = batch.lane();
        let known = self.lanes.get(&lane)?;
        if known.until > now && is_behind(span, known.span) {
            return Some(known.error.clone());
        }
        if is_older(span, known.span) {
            return None;
        }
        self.lanes.remove(&lane);
        None
    }
}

fn is_older(batch: ProducerSpan, other: ProducerSpan) -> bool {
    batch.producer_epoch < other.producer_epoch
}

/// Whether a batch comes behind another of the same producer epoch. Sequences wrap at 2^31.
fn is_behind(batch: ProducerSpan, other: ProducerSpan) -> bool {
    let ahead = batch.base_sequence.wrapping_sub(other.base_sequence) & i32::MAX;
    batch.producer_epoch == other.producer_epoch && (1..1 << 30).contains(&ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Wanted, at, batch, sequenced};

    fn noted(given_up: &mut GivenUp, wanted: Wanted, now: MonotonicTime) {
        let batch = batch(wanted).0;
        let span = batch.body.summary.producer.unwrap();
        given_up.note(batch.lane(), span, &AppendError::NotReserved, now);
    }

    fn is_refused(given_up: &mut GivenUp, wanted: Wanted, now: MonotonicTime) -> bool {
        given_up.refuses(&batch(wanted).0, now).is_some()
    }

    #[test]
    fn what_comes_behind_a_given_up_batch_is_refused_until_that_comes_again() {
        let mut given_up = GivenUp::default();
        noted(&mut given_up, sequenced(3), at(0));
        noted(&mut given_up, sequenced(4), at(0));

        assert!(is_refused(&mut given_up, sequenced(5), at(1)));
        assert!(is_refused(&mut given_up, sequenced(4), at(1)));
        assert!(!is_refused(&mut given_up, sequenced(3), at(1)));
        assert!(!is_refused(&mut given_up, sequenced(4), at(1)));
    }

    #[test]
    fn another_producer_is_not_refused() {
        let mut given_up = GivenUp::default();
        noted(&mut given_up, sequenced(3), at(0));
        let other = Wanted {
            producer: Some(6),
            ..sequenced(5)
        };

        assert!(!is_refused(&mut given_up, other, at(1)));
    }

    #[test]
    fn it_is_forgotten_when_its_time_is_over() {
        let mut given_up = GivenUp::default();
        noted(&mut given_up, sequenced(3), at(0));
        let end = at(0).after(GIVEN_UP_MEMORY);

        assert!(!is_refused(&mut given_up, sequenced(5), end));
    }

    #[test]
    fn one_lane_past_the_limit_drops_the_oldest() {
        let mut given_up = GivenUp::default();
        let of = |producer| Wanted {
            producer: Some(i64::try_from(producer).unwrap()),
            ..sequenced(0)
        };
        for producer in 0..=GIVEN_UP_LANES_MAX {
            noted(&mut given_up, of(producer), at(0));
        }
        let behind = |producer| Wanted {
            number: 1,
            ..of(producer)
        };

        assert_eq!(given_up.lanes.len(), GIVEN_UP_LANES_MAX);
        assert!(!is_refused(&mut given_up, behind(0), at(1)));
        assert!(is_refused(&mut given_up, behind(1), at(1)));
    }
}
