//! Requests of a producer: several in flight, each failure either repeated or final.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use esker_env::TaskGroup;
use esker_kafka::KafkaError;
use esker_kafka::client::{ClientError, Target};
use esker_kafka::messages::metadata_response::MetadataResponseTopic;
use esker_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use esker_kafka::messages::produce_response::PartitionProduceResponse;
use esker_kafka::messages::{ApiKey, ProduceRequest, ProduceResponse, StrBytes, TopicName};
use esker_record::NewRecord;
use esker_types::MonotonicTime;
use tokio::sync::mpsc;

use super::Acks;
use super::batcher::{Batch, Batcher, Shipment};
use super::unanswered::Unanswered;
use crate::cli::Session;
use crate::cli::exit::{Cause, Failure};
use crate::cli::limits::{DELIVERY_RETRY_DELAY, DELIVERY_TIMEOUT, PRODUCE_REQUESTS_MAX};

/// Last version of Produce that names topics and needs no `transaction.version` 2.
const PRODUCE_VERSION_MAX: i16 = 11;
/// How long a broker may take to make a batch durable.
const BROKER_TIMEOUT_MS: i32 = 30_000;

/// What came of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    batches: Vec<Batch>,
    result: Result<ProduceResponse, ClientError>,
}

/// Records and bytes that were acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// What a batch's failure calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The broker has it.
    Done,
    /// Ask who leads, wait, send it again.
    Again,
    /// It overtook the batch before it: send it again after that one.
    TooEarly,
    /// It will not be appended.
    Final,
}

/// Sends what the batcher has.
#[derive(Debug)]
pub(super) struct Sender {
    session: Session,
    topic: String,
    acks: Acks,
    is_idempotent: bool,
    batcher: Batcher,
    leaders: BTreeMap<i32, i32>,
    /// When to ask who leads what, if that is in doubt.
    ask_leaders_at: Option<MonotonicTime>,
    unanswered: Unanswered,
    in_flight: usize,
    tasks: TaskGroup,
    outcomes_in: mpsc::Sender<Outcome>,
    outcomes: mpsc::Receiver<Outcome>,
}

impl Sender {
    pub(super) fn new(session: Session, topic: &str, acks: Acks, batcher: Batcher) -> Self {
        let (outcomes_in, outcomes) = mpsc::channel(PRODUCE_REQUESTS_MAX);
        Self {
            session,
            topic: topic.to_owned(),
            acks,
            is_idempotent: batcher.is_idempotent(),
            batcher,
            leaders: BTreeMap::new(),
            ask_leaders_at: None,
            unanswered: Unanswered::default(),
            in_flight: 0,
            tasks: TaskGroup::new("produce requests"),
            outcomes_in,
            outcomes,
        }
    }

    /// Takes over who leads which partition.
    pub(super) fn learn(&mut self, topic: &MetadataResponseTopic) {
        let led = topic.partitions.iter().filter(|one| one.leader_id.0 >= 0);
        let leaders = led.map(|one| (one.partition_index, one.leader_id.0));
        self.leaders = leaders.collect();
        self.ask_leaders_at = None;
    }

    pub(super) fn append(&mut self, record: &NewRecord, now: MonotonicTime) -> Result<(), Failure> {
        let appended = self.batcher.append(record, now);
        appended.map_err(|error| Failure::new("put a line into a batch", error))
    }

    pub(super) fn flush_due(&mut self, now: MonotonicTime, all: bool) -> Result<(), Failure> {
        let flushed = self.batcher.flush_due(now, all);
        flushed.map_err(|error| Failure::new("build a batch", error))
    }

    pub(super) fn is_full(&self) -> bool {
        self.batcher.is_full()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.batcher.is_empty()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.in_flight > 0
    }

    /// How long nothing but an event or input can be done; `None` for ever.
    pub(super) fn next_wake(&self, now: MonotonicTime) -> Option<Duration> {
        let dues = [self.ask_leaders_at, self.batcher.next_due(now)];
        dues.into_iter().flatten().min().map(|due| due.since(now))
    }

    /// Sends what may be sent, as long as requests are free.
    pub(super) async fn dispatch(&mut self) -> Result<(), Failure> {
        let now = self.session.env.clock.now();
        if self.ask_leaders_at.is_some_and(|due| due <= now) {
            self.find_leaders().await?;
        }
        while self.in_flight < PRODUCE_REQUESTS_MAX {
            let leader_of = |partition: i32| self.leaders.get(&partition).copied();
            let Some(shipment) = self.batcher.ship(self.session.env.clock.now(), leader_of) else {
                break;
            };
            self.in_flight += 1;
            match self.acks {
                Acks::None => self.send_unanswered(shipment).await?,
                Acks::Leader | Acks::All => self.send(shipment),
            }
        }
        let leader_of = |partition: i32| self.leaders.get(&partition).copied();
        if self.ask_leaders_at.is_none() && self.batcher.lacks_leader(now, leader_of) {
            let code = KafkaError::LeaderNotAvailable.code();
            let tried = format!("append to topic {}", self.topic);
            self.check_time(Failure::refused(tried, ApiKey::Metadata, code, None))?;
            self.ask_leaders_at = Some(now.after(DELIVERY_RETRY_DELAY));
        }
        Ok(())
    }

    async fn find_leaders(&mut self) -> Result<(), Failure> {
        match self.session.topic(&self.topic).await {
            Ok(topic) => self.learn(&topic),
            // It may pass; every batch has its own time limit.
            Err(failure) if failure.code().is_none_or(KafkaError::is_retriable) => {
                tracing::debug!(%failure, "asking again who leads");
                self.check_time(failure)?;
                let now = self.session.env.clock.now();
                self.ask_leaders_at = Some(now.after(DELIVERY_RETRY_DELAY));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Gives up when the oldest batch has been tried for too long and nobody leads.
    fn check_time(&self, failure: Failure) -> Result<(), Failure> {
        let now = self.session.env.clock.now();
        let oldest = self.batcher.oldest_closed_at();
        match oldest.is_some_and(|closed| now.since(closed) > DELIVERY_TIMEOUT) {
            true => Err(failure),
            false => Ok(()),
        }
    }

    fn send(&mut self, shipment: Shipment) {
        let request = produce_request(&self.topic, self.acks, &shipment.batches);
        let client = Arc::clone(&self.session.client);
        let sender = self.outcomes_in.clone();
        let Shipment { leader, batches } = shipment;
        self.tasks.spawn(async move {
            let asked = client.request_at_most(Target::Node(leader), &request, PRODUCE_VERSION_MAX);
            let result = asked.await;
            // A run that has ended wants no outcome.
            let _ = sender.send(Outcome { batches, result }).await;
        });
    }

    /// Nothing is known of what was sent; that it was is all there is to acknowledge.
    async fn send_unanswered(&mut self, shipment: Shipment) -> Result<(), Failure> {
        let request = produce_request(&self.topic, self.acks, &shipment.batches);
        let node = shipment.leader;
        let brokers = self.session.client.brokers();
        let broker = brokers.into_iter().find(|broker| broker.node == node);
        let tried = || format!("append to topic {}", self.topic);
        let broker = broker.ok_or(ClientError::UnknownBroker { node });
        let broker = broker.map_err(|error| Failure::client(tried(), error))?;
        let env = &self.session.env;
        let sent = self.unanswered.send(&broker.address, env, &request).await;
        sent.map_err(|error| Failure::client(tried(), error))?;
        let answers = shipment.batches.iter();
        let answers =
            answers.map(|batch| PartitionProduceResponse::default().with_index(batch.partition));
        let of_topic = esker_kafka::messages::produce_response::TopicProduceResponse::default()
            .with_partition_responses(answers.collect());
        let outcome = Outcome {
            batches: shipment.batches,
            result: Ok(ProduceResponse::default().with_responses(vec![of_topic])),
        };
        // There is room: no more outcomes than requests are in flight.
        let _ = self.outcomes_in.send(outcome).await;
        Ok(())
    }

    /// The next request's end. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }

    /// Takes an outcome in; gives what it acknowledged.
    pub(super) fn handle(&mut self, outcome: Option<Outcome>) -> Result<Event, Failure> {
        let mut event = Event::default();
        // The sender holds the channel open itself: there is always an outcome.
        let Some(Outcome { batches, result }) = outcome else {
            return Ok(event);
        };
        self.in_flight = self.in_flight.saturating_sub(1);
        let reaped = self.tasks.reap();
        reaped.map_err(|error| Failure::new(format!("append to topic {}", self.topic), error))?;
        match result {
            Ok(response) => {
                for batch in batches {
                    let records = u64::from(batch.record_count);
                    let bytes = u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX);
                    if self.settle(batch, &response)? {
                        event.records = event.records.saturating_add(records);
                        event.bytes = event.bytes.saturating_add(bytes);
                    }
                }
            }
            Err(error) => {
                let is_final = verdict_on_failure(&error, self.is_idempotent) == Verdict::Final;
                let failure = Failure::client(format!("append to topic {}", self.topic), error);
                if is_final || batches.iter().any(|batch| self.is_overdue(batch)) {
                    return Err(failure);
                }
                tracing::debug!(%failure, "sending again");
                for batch in batches {
                    self.again(batch);
                }
            }
        }
        Ok(event)
    }

    /// Whether the batch is acknowledged; one that is not goes again, or it is a failure.
    fn settle(&mut self, batch: Batch, response: &ProduceResponse) -> Result<bool, Failure> {
        let partition = batch.partition;
        let tried = format!("append to topic {}, partition {partition}", self.topic);
        let topics = response.responses.iter();
        let mut answers = topics.flat_map(|topic| &topic.partition_responses);
        let answer = answers.find(|answer| answer.index == partition);
        let Some(answer) = answer else {
            return Err(Failure::new(tried, Cause::Unanswered));
        };
        let code = answer.error_code;
        let verdict = verdict_on_code(code, self.is_idempotent, batch.may_overtake);
        if verdict == Verdict::Done {
            self.batcher.acknowledged(&batch);
            return Ok(true);
        }
        if verdict == Verdict::Final || self.is_overdue(&batch) {
            let message = answer.error_message.clone();
            return Err(Failure::refused(tried, ApiKey::Produce, code, message));
        }
        if verdict == Verdict::TooEarly {
            let waits_for_earlier = true;
            self.batcher.returned(Batch {
                waits_for_earlier,
                ..batch
            });
        } else {
            self.again(batch);
        }
        Ok(false)
    }

    fn again(&mut self, batch: Batch) {
        let now = self.session.env.clock.now();
        let not_before = now.after(DELIVERY_RETRY_DELAY);
        self.batcher.returned(Batch {
            not_before,
            ..batch
        });
        // Sooner than the batch goes again.
        self.ask_leaders_at = Some(now.after(DELIVERY_RETRY_DELAY / 2));
    }

    fn is_overdue(&self, batch: &Batch) -> bool {
        self.session.env.clock.now().since(batch.closed_at) > DELIVERY_TIMEOUT
    }

    /// Without acknowledgements: makes sure that the brokers have read everything.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        let finished = self.unanswered.finish(&self.session.env).await;
        let tried = || format!("append to topic {}", self.topic);
        finished.map_err(|error| {
            let failure = Failure::client(tried(), error);
            failure.advise("the broker may have refused records: --acks all tells why")
        })
    }
}

fn verdict_on_code(code: i16, is_idempotent: bool, may_overtake: bool) -> Verdict {
    match KafkaError::from_code(code) {
        Some(KafkaError::None) => Verdict::Done,
        Some(KafkaError::DuplicateSequenceNumber) if is_idempotent => Verdict::Done,
        Some(KafkaError::OutOfOrderSequenceNumber) if is_idempotent && may_overtake => {
            Verdict::TooEarly
        }
        Some(
            KafkaError::UnknownTopicOrPartition
            | KafkaError::LeaderNotAvailable
            | KafkaError::NotLeaderOrFollower
            | KafkaError::NotEnoughReplicas
            | KafkaError::KafkaStorageError,
        ) => Verdict::Again,
        // It may have been appended all the same.
        Some(error) if is_idempotent && error.is_retriable() => Verdict::Again,
        _ => Verdict::Final,
    }
}

fn verdict_on_failure(error: &ClientError, is_idempotent: bool) -> Verdict {
    match error {
        ClientError::Unreachable { .. } | ClientError::UnknownBroker { .. } => Verdict::Again,
        ClientError::Closed { .. } | ClientError::NoAnswer { .. } if is_idempotent => {
            Verdict::Again
        }
        _ => Verdict::Final,
    }
}

fn produce_request(topic: &str, acks: Acks, batches: &[Batch]) -> ProduceRequest {
    let one = |batch: &Batch| {
        PartitionProduceData::default()
            .with_index(batch.partition)
            .with_records(Some(batch.bytes.clone()))
    };
    let of_topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(batches.iter().map(one).collect());
    ProduceRequest::default()
        .with_acks(acks.to_wire())
        .with_timeout_ms(BROKER_TIMEOUT_MS)
        .with_topic_data(vec![of_topic])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_appended_is_sent_again_only_by_an_idempotent_producer() {
        let timed_out = KafkaError::RequestTimedOut.code();
        let moved = KafkaError::NotLeaderOrFollower.code();
        let address = esker_kafka::client::Address::parse("127.0.0.1:1").unwrap();
        let closed = ClientError::Closed {
            address,
            source: None,
        };

        assert_eq!(verdict_on_code(timed_out, true, false), Verdict::Again);
        assert_eq!(verdict_on_code(timed_out, false, false), Verdict::Final);
        assert_eq!(verdict_on_code(moved, false, false), Verdict::Again);
        assert_eq!(verdict_on_failure(&closed, true), Verdict::Again);
        assert_eq!(verdict_on_failure(&closed, false), Verdict::Final);
    }

    #[test]
    fn a_gap_in_the_sequence_is_final_only_for_a_batch_that_overtook_none() {
        let gap = KafkaError::OutOfOrderSequenceNumber.code();
        let repeated = KafkaError::DuplicateSequenceNumber.code();

        assert_eq!(verdict_on_code(gap, true, true), Verdict::TooEarly);
        assert_eq!(verdict_on_code(gap, true, false), Verdict::Final);
        assert_eq!(verdict_on_code(repeated, true, false), Verdict::Done);
    }

    #[test]
    fn refusals_and_unknown_codes_are_final() {
        let too_large = KafkaError::MessageTooLarge.code();

        assert_eq!(verdict_on_code(0, true, false), Verdict::Done);
        assert_eq!(verdict_on_code(too_large, true, true), Verdict::Final);
        assert_eq!(verdict_on_code(12_345, true, true), Verdict::Final);
    }
}
