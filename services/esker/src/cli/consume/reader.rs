//! Fetches of a consumer: one request in flight for each broker, with all its partitions.
//!
//! Memory: at most one answer of `FETCH_BYTES_MAX` for each broker, and the one being written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use esker_env::TaskGroup;
use esker_kafka::KafkaError;
use esker_kafka::client::{ClientError, OffsetQuery, Target};
use esker_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use esker_kafka::messages::fetch_response::PartitionData;
use esker_kafka::messages::{ApiKey, FetchRequest, FetchResponse, StrBytes, TopicName};
use esker_types::MonotonicTime;
use tokio::sync::mpsc;

use super::pause;
use super::position::{Position, whole_batches};
use crate::cli::Session;
use crate::cli::exit::{Failure, say};
use crate::cli::limits::{
    FETCH_BYTES_MAX, FETCH_FAILURES_MAX, FETCH_PARTITION_BYTES_MAX, FETCH_WAIT_MAX, LEADERS_AGE_MAX,
};

/// Last version of Fetch that names topics.
const FETCH_VERSION_MAX: i16 = 12;
/// Answers that wait to be taken. Each broker has one request in flight, so few ever do.
const ANSWERS_MAX: usize = 16;

/// Whole batches of one partition.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) partition: i32,
    pub(super) batches: Bytes,
    /// Records before this offset were read already.
    pub(super) from: i64,
    /// The offset behind the chunk.
    pub(super) next: i64,
    /// Records from this offset on are not wanted.
    pub(super) end: Option<i64>,
}

/// What a broker answered.
#[derive(Debug)]
struct Answer {
    leader: i32,
    result: Result<FetchResponse, ClientError>,
}

/// Reads partitions from where they are to their ends.
#[derive(Debug)]
pub(super) struct Reader {
    session: Session,
    topic: String,
    positions: BTreeMap<i32, Position>,
    leaders: BTreeMap<i32, i32>,
    busy: BTreeSet<i32>,
    asked_at: MonotonicTime,
    failures: u32,
    tasks: TaskGroup,
    sender: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
}

impl Reader {
    pub(super) fn new(session: Session, topic: String, positions: Vec<Position>) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let positions = positions.into_iter();
        Self {
            asked_at: session.env.clock.now(),
            session,
            topic,
            positions: positions
                .map(|position| (position.partition, position))
                .collect(),
            leaders: BTreeMap::new(),
            busy: BTreeSet::new(),
            failures: 0,
            tasks: TaskGroup::new("fetches"),
            sender,
            answers,
        }
    }

    /// Whether every partition has been read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.positions.values().all(Position::is_done)
    }

    /// Asks every broker that leads an unfinished partition and is not being asked.
    pub(super) fn start_fetches(&mut self) {
        let mut wanted: BTreeMap<i32, Vec<Position>> = BTreeMap::new();
        for position in self
            .positions
            .values()
            .filter(|position| !position.is_done())
        {
            if let Some(leader) = self.leaders.get(&position.partition)
                && !self.busy.contains(leader)
            {
                wanted.entry(*leader).or_default().push(*position);
            }
        }
        for (leader, positions) in wanted {
            let request = fetch_request(&self.topic, &positions);
            let client = Arc::clone(&self.session.client);
            let sender = self.sender.clone();
            self.busy.insert(leader);
            self.tasks.spawn(async move {
                let asked =
                    client.request_at_most(Target::Node(leader), &request, FETCH_VERSION_MAX);
                let result = asked.await;
                // A reader that is gone wants no answer.
                let _ = sender.send(Answer { leader, result }).await;
            });
        }
    }

    /// The next answer's records; positions are behind them already. May be empty.
    pub(super) async fn next(&mut self) -> Result<Vec<Chunk>, Failure> {
        if self.busy.is_empty() || self.misses_leaders() {
            self.find_leaders().await?;
            return Ok(Vec::new());
        }
        // The reader holds a sender itself: the channel never ends.
        let Some(answer) = self.answers.recv().await else {
            return Ok(Vec::new());
        };
        self.busy.remove(&answer.leader);
        let reaped = self.tasks.reap();
        reaped.map_err(|error| Failure::new("fetch", error))?;
        let tried = || format!("fetch from topic {}", self.topic);
        let response = match answer.result {
            Ok(response) if response.error_code == KafkaError::None.code() => response,
            Ok(response) => {
                let code = response.error_code;
                let failure = Failure::refused(tried(), ApiKey::Fetch, code, None);
                self.recover(failure, is_retriable(code)).await?;
                return Ok(Vec::new());
            }
            Err(error) => {
                let again = matches!(
                    error,
                    ClientError::Unreachable { .. }
                        | ClientError::UnknownBroker { .. }
                        | ClientError::Closed { .. }
                        | ClientError::NoAnswer { .. }
                );
                self.recover(Failure::client(tried(), error), again).await?;
                return Ok(Vec::new());
            }
        };
        let mut chunks = Vec::new();
        let topics = response.responses.into_iter();
        for answer in topics.flat_map(|topic| topic.partitions) {
            chunks.extend(self.take(answer).await?);
        }
        Ok(chunks)
    }

    /// Whether it is time to ask again for a partition that had no leader.
    fn misses_leaders(&self) -> bool {
        let since_asked = self.session.env.clock.now().since(self.asked_at);
        let mut unfinished = self
            .positions
            .values()
            .filter(|position| !position.is_done());
        since_asked >= LEADERS_AGE_MAX
            && unfinished.any(|position| !self.leaders.contains_key(&position.partition))
    }

    async fn take(&mut self, answer: PartitionData) -> Result<Option<Chunk>, Failure> {
        let partition = answer.partition_index;
        let tried = format!("fetch from topic {}, partition {partition}", self.topic);
        let code = answer.error_code;
        if code == KafkaError::OffsetOutOfRange.code() {
            self.skip_removed(partition).await?;
            return Ok(None);
        }
        if code != KafkaError::None.code() {
            let failure = Failure::refused(tried, ApiKey::Fetch, code, None);
            self.recover(failure, is_retriable(code)).await?;
            return Ok(None);
        }
        self.failures = 0;
        let Some(position) = self.positions.get_mut(&partition) else {
            return Ok(None);
        };
        let batches = answer.records.unwrap_or_default();
        let whole = whole_batches(&batches, position.next);
        let (whole, next) = whole.map_err(|error| Failure::new(tried, error))?;
        if whole == 0 {
            return Ok(None);
        }
        let from = std::mem::replace(&mut position.next, next);
        Ok(Some(Chunk {
            partition,
            batches: batches.slice(..whole),
            from,
            next,
            end: position.end,
        }))
    }

    /// Records that were to be read next are gone: go on with the first that is kept.
    async fn skip_removed(&mut self, partition: i32) -> Result<(), Failure> {
        let earliest = OffsetQuery::Earliest;
        let start = self
            .session
            .offset(&self.topic, partition, earliest)
            .await?;
        if let Some(position) = self.positions.get_mut(&partition) {
            let topic = &self.topic;
            let next = position.next;
            if start <= next {
                // Behind the end, then: the log is not what it was.
                let tried = format!("fetch offset {next} of topic {topic}, partition {partition}");
                let code = KafkaError::OffsetOutOfRange.code();
                let failure = Failure::refused(tried, ApiKey::Fetch, code, None);
                return self.recover(failure, true).await;
            }
            say(&format!(
                "offset {next} of topic {topic}, partition {partition} is gone: going on at {start}"
            ));
            position.next = start;
        }
        Ok(())
    }

    /// Waits and asks anew who leads what, while that may help.
    async fn recover(&mut self, failure: Failure, may_help: bool) -> Result<(), Failure> {
        self.failures += 1;
        if !may_help || self.failures > FETCH_FAILURES_MAX {
            return Err(failure);
        }
        tracing::debug!(%failure, "fetching again");
        self.session.env.clock.sleep(pause(self.failures)).await;
        self.leaders.clear();
        Ok(())
    }

    async fn find_leaders(&mut self) -> Result<(), Failure> {
        let found = match self.session.topic(&self.topic).await {
            Ok(found) => found,
            Err(failure) => {
                let may_help = failure.code().is_none_or(KafkaError::is_retriable);
                return self.recover(failure, may_help).await;
            }
        };
        let led = found
            .partitions
            .iter()
            .filter(|partition| partition.leader_id.0 >= 0);
        self.leaders = led
            .map(|partition| (partition.partition_index, partition.leader_id.0))
            .collect();
        self.asked_at = self.session.env.clock.now();
        let mut unfinished = self
            .positions
            .values()
            .filter(|position| !position.is_done());
        if !unfinished.any(|position| self.leaders.contains_key(&position.partition)) {
            let code = KafkaError::LeaderNotAvailable.code();
            let tried = format!("find who leads topic {}", self.topic);
            let failure = Failure::refused(tried, ApiKey::Metadata, code, None);
            return self.recover(failure, true).await;
        }
        Ok(())
    }
}

fn is_retriable(code: i16) -> bool {
    KafkaError::from_code(code).is_some_and(KafkaError::is_retriable)
}

fn fetch_request(topic: &str, positions: &[Position]) -> FetchRequest {
    let one = |position: &Position| {
        FetchPartition::default()
            .with_partition(position.partition)
            .with_fetch_offset(position.next)
            .with_partition_max_bytes(FETCH_PARTITION_BYTES_MAX)
    };
    let of_topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(positions.iter().map(one).collect());
    let wait_ms = i32::try_from(FETCH_WAIT_MAX.as_millis()).unwrap_or(i32::MAX);
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES_MAX)
        .with_topics(vec![of_topic])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::limits::FETCH_RETRY_DELAY;

    #[test]
    fn a_fetch_asks_for_each_partition_from_where_it_is_within_its_bytes() {
        let position = |partition, next| Position {
            partition,
            next,
            end: None,
        };

        let request = fetch_request("orders", &[position(0, 5), position(2, 7)]);

        assert_eq!(request.max_bytes, FETCH_BYTES_MAX);
        assert_eq!(request.max_wait_ms, 500);
        let partitions = &request.topics[0].partitions;
        let asked: Vec<_> = partitions
            .iter()
            .map(|asked| (asked.partition, asked.fetch_offset))
            .collect();
        assert_eq!(asked, [(0, 5), (2, 7)]);
        assert_eq!(partitions[0].partition_max_bytes, FETCH_PARTITION_BYTES_MAX);
    }

    #[test]
    fn waits_between_failures_grow_to_a_bound() {
        let first = pause(1);

        assert!(first < pause(2));
        assert_eq!(pause(FETCH_FAILURES_MAX), FETCH_RETRY_DELAY);
    }
}
