//! What was given up a moment ago, and what its client sent behind it.
//!
//! A client with several batches in flight sends on until it hears of a failure. What it sent
//! behind the given-up batch must not be offered: of a producer without committed batches the
//! sequencer would take it for the first one, and the given-up batch could never follow (CP8, I12).
//! It is told the same, until the given-up batch comes again over the same connection: a client
//! sends in order over each. Over a new one it begins with the given-up batch, so that a note holds
//! for its connection only, and as long as one may rest. Bounded in number: the oldest goes first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use esker_metadata_api::ProducerSpan;
use esker_types::MonotonicTime;

use crate::batch::{AdmittedBatch, BatchBody, Lane};
use crate::error::AppendError;
use crate::limits::{GIVEN_UP_LANES_MAX, GIVEN_UP_MEMORY, GIVEN_UP_MEMORY_UNCONNECTED};

/// A lane, as one connection fills it. `None`: requests that do not come over one in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    lane: Lane,
    connection: Option<u64>,
}

/// A batch that was given up, and why.
#[derive(Debug)]
pub(crate) struct GivenUpBatch {
    source: Source,
    span: ProducerSpan,
    error: AppendError,
}

impl GivenUpBatch {
    /// `None`: nothing depends on it. An idempotency key has nothing behind it, nor has a batch
    /// without a sequence.
    pub(crate) fn of(body: &BatchBody, error: AppendError) -> Option<Self> {
        let span = body.summary.producer?;
        let note = Self {
            source: Source::of(body),
            span,
            error,
        };
        (!span.producer_id.is_keyed()).then_some(note)
    }
}

/// What is known of all sources.
#[derive(Debug)]
pub(crate) struct GivenUp {
    connected: Notes<Source>,
    unconnected: Notes<Source>,
}

impl Default for GivenUp {
    fn default() -> Self {
        Self {
            connected: Notes::new(GIVEN_UP_MEMORY),
            unconnected: Notes::new(GIVEN_UP_MEMORY_UNCONNECTED),
        }
    }
}

impl GivenUp {
    fn notes(&mut self, source: Source) -> &mut Notes<Source> {
        match source.connection {
            Some(_) => &mut self.connected,
            None => &mut self.unconnected,
        }
    }

    pub(crate) fn note(&mut self, note: GivenUpBatch, now: MonotonicTime) {
        self.notes(note.source)
            .add(note.source, note.span, note.error, now);
    }

    /// What a batch is told that was sent behind a given-up one.
    pub(crate) fn refuses(
        &mut self,
        batch: &AdmittedBatch,
        now: MonotonicTime,
    ) -> Option<AppendError> {
        let span = batch.body.summary.producer?;
        let source = Source::of(&batch.body);
        self.notes(source).refuse(&source, span, now)
    }
}

impl Source {
    fn of(body: &BatchBody) -> Self {
        Self {
            lane: body.lane(),
            connection: body.connection,
        }
    }
}

/// The first batch of a source that was given up, until it is forgotten.
#[derive(Debug)]
struct Noted {
    span: ProducerSpan,
    error: AppendError,
    until: MonotonicTime,
}

/// Notes that are kept equally long, by what sends in order.
#[derive(Debug)]
pub(crate) struct Notes<S> {
    memory: Duration,
    sources: BTreeMap<S, Noted>,
    /// In the order in which they are forgotten.
    order: VecDeque<(MonotonicTime, S)>,
}

impl<S: Clone + Ord> Notes<S> {
    pub(crate) fn new(memory: Duration) -> Self {
        Self {
            memory,
            sources: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// A batch was given up.
    pub(crate) fn add(
        &mut self,
        source: S,
        span: ProducerSpan,
        error: AppendError,
        now: MonotonicTime,
    ) {
        let until = now.after(self.memory);
        let known = self.sources.get(&source);
        let is_noted = known.is_some_and(|known| known.until == until);
        // The newest epoch counts: whoever began one has heard of all that went wrong before.
        let first = match known {
            Some(known) if is_behind(span, known.span) || is_older(span, known.span) => known.span,
            _ => span,
        };
        let noted = Noted {
            span: first,
            error,
            until,
        };
        self.sources.insert(source.clone(), noted);
        if !is_noted {
            self.order.push_back((until, source));
        }
        self.forget(now);
    }

    /// Nothing is noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget(&mut self, now: MonotonicTime) {
        while let Some((until, source)) = self.order.front().cloned() {
            if until > now && self.order.len() <= GIVEN_UP_LANES_MAX {
                return;
            }
            self.order.pop_front();
            let known = self.sources.get(&source);
            if known.is_some_and(|known| known.until == until) {
                self.sources.remove(&source);
            }
        }
    }

    /// What a batch is told that was sent behind a given-up one of its source.
    pub(crate) fn refuse(
        &mut self,
        source: &S,
        span: ProducerSpan,
        now: MonotonicTime,
    ) -> Option<AppendError> {
        let known = self.sources.get(source)?;
        if known.until > now && is_behind(span, known.span) {
            return Some(known.error.clone());
        }
        if is_older(span, known.span) {
            return None;
        }
        self.sources.remove(source);
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
        let note = GivenUpBatch::of(&batch(wanted).0.body, AppendError::NotReserved);
        given_up.note(note.unwrap(), now);
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
        for (connection, memory) in [
            (Some(1), GIVEN_UP_MEMORY),
            (None, GIVEN_UP_MEMORY_UNCONNECTED),
        ] {
            let over = |number| Wanted {
                connection,
                ..sequenced(number)
            };
            let mut given_up = GivenUp::default();
            noted(&mut given_up, over(3), at(0));
            let end = at(0).after(memory);

            assert!(is_refused(&mut given_up, over(5), at(9)));
            assert!(!is_refused(&mut given_up, over(5), end));
        }
    }

    /// A client goes on elsewhere and comes back: its new connection knows nothing of the old one.
    #[test]
    fn each_connection_has_notes_of_its_own() {
        let over = |connection, number| Wanted {
            connection: Some(connection),
            ..sequenced(number)
        };
        let mut given_up = GivenUp::default();
        noted(&mut given_up, over(1, 3), at(0));

        assert!(!is_refused(&mut given_up, over(2, 3), at(1)));
        assert!(!is_refused(&mut given_up, over(2, 5), at(1)));
        assert!(is_refused(&mut given_up, over(1, 5), at(600)));
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

        assert_eq!(given_up.connected.sources.len(), GIVEN_UP_LANES_MAX);
        assert!(!is_refused(&mut given_up, behind(0), at(1)));
        assert!(is_refused(&mut given_up, behind(1), at(1)));
    }
}
