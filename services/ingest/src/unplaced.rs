//! Batches of producers that admission refused because their topic was not known at that moment.
//!
//! The next request of the connection may find it: what stands in that behind a refused batch must
//! not be offered either, until the refused one comes again (`given_up.rs`, CP8). Cost while
//! nothing was refused: one atomic load a batch. Memory: some 600 bytes a note, since a name longer
//! than a topic's is never found later and leaves none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use esker_kafka::messages::produce_request::TopicProduceData;
use esker_metadata_api::ProducerSpan;
use esker_metadata_api::limits::TOPIC_NAME_BYTES_MAX;
use esker_record::BatchHeader;
use esker_types::{MonotonicTime, ProducerId};

use crate::error::AppendError;
use crate::given_up::Notes;
use crate::limits::GIVEN_UP_MEMORY;

/// A producer's batches for one partition of a topic, as a client names it, over one connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    connection: u64,
    topic: String,
    topic_id: [u8; 16],
    partition: i32,
    producer: ProducerId,
}

/// All such batches.
#[derive(Debug)]
pub(crate) struct Unplaced {
    is_any: AtomicBool,
    notes: Mutex<Notes<Named>>,
}

/// Where a batch was to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim<'a> {
    pub(crate) connection: u64,
    pub(crate) topic: &'a TopicProduceData,
    pub(crate) partition: i32,
    pub(crate) batch: &'a [u8],
}

impl Default for Unplaced {
    fn default() -> Self {
        Self {
            is_any: AtomicBool::new(false),
            notes: Mutex::new(Notes::new(GIVEN_UP_MEMORY)),
        }
    }
}

impl Unplaced {
    /// The batch is refused with `error`, which holds at this moment only.
    pub(crate) fn note(&self, aim: Aim<'_>, error: &AppendError, now: MonotonicTime) {
        if let Some((named, span)) = aim.read() {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.add(named, span, error.clone(), now);
            self.is_any.store(true, Ordering::Release);
        }
    }

    /// What a batch is told that was sent behind a refused one.
    pub(crate) fn refuses(&self, aim: Aim<'_>, now: MonotonicTime) -> Option<AppendError> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let (named, span) = aim.read()?;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = notes.refuse(&named, span, now);
        self.is_any.store(!notes.is_empty(), Ordering::Release);
        refusal
    }
}

impl Aim<'_> {
    fn read(&self) -> Option<(Named, ProducerSpan)> {
        if self.topic.name.len() > TOPIC_NAME_BYTES_MAX {
            return None;
        }
        let header = BatchHeader::parse(self.batch).ok()?;
        let (producer_id, producer_epoch, base_sequence) = header.producer()?;
        let named = Named {
            connection: self.connection,
            topic: self.topic.name.to_string(),
            topic_id: *self.topic.topic_id.as_bytes(),
            partition: self.partition,
            producer: producer_id,
        };
        let span = ProducerSpan {
            producer_id,
            producer_epoch,
            base_sequence,
        };
        Some((named, span))
    }
}

#[cfg(test)]
mod tests {
    use esker_kafka::messages::StrBytes;

    use super::*;
    use crate::fixture::{at, batch, sequenced, wanted};

    #[test]
    fn what_was_sent_behind_a_batch_refused_for_its_topic_waits_for_that() {
        let unplaced = Unplaced::default();
        let topic =
            |name| TopicProduceData::default().with_name(StrBytes::from_static_str(name).into());
        let (one, other) = (topic("one"), topic("other"));
        let bytes = |number| batch(sequenced(number)).0.body.bytes;
        let refuses = |connection, topic, number| {
            let aim = Aim {
                connection,
                topic,
                partition: 0,
                batch: &bytes(number),
            };
            unplaced.refuses(aim, at(1)).is_some()
        };
        let first = Aim {
            connection: 1,
            topic: &one,
            partition: 0,
            batch: &bytes(0),
        };

        assert!(!refuses(1, &one, 2));
        unplaced.note(first, &AppendError::UnknownPartition, at(0));
        assert!(refuses(1, &one, 2));
        assert!(!refuses(1, &other, 2) && !refuses(2, &one, 2));
        assert!(!refuses(1, &one, 0));
        assert!(!refuses(1, &one, 2));
    }

    #[test]
    fn a_name_one_byte_longer_than_a_topic_may_have_leaves_no_note() {
        for (bytes, is_noted) in [
            (TOPIC_NAME_BYTES_MAX, true),
            (TOPIC_NAME_BYTES_MAX + 1, false),
        ] {
            let unplaced = Unplaced::default();
            let name = StrBytes::from_string("n".repeat(bytes));
            let topic = TopicProduceData::default().with_name(name.into());
            let aim = Aim {
                connection: 1,
                topic: &topic,
                partition: 0,
                batch: &batch(sequenced(0)).0.body.bytes,
            };

            unplaced.note(aim, &AppendError::UnknownPartition, at(0));

            assert_eq!(unplaced.is_any.load(Ordering::Acquire), is_noted, "{bytes}");
        }
    }

    #[test]
    fn a_batch_without_a_producer_leaves_no_note() {
        let unplaced = Unplaced::default();
        let topic = TopicProduceData::default();
        let aim = Aim {
            connection: 1,
            topic: &topic,
            partition: 0,
            batch: &batch(wanted(0)).0.body.bytes,
        };

        unplaced.note(aim, &AppendError::UnknownPartition, at(0));

        assert!(!unplaced.is_any.load(Ordering::Acquire));
    }
}
