//! ListOffsets: the log's ends, and offsets by timestamp.
//!
//! The ends are current (R1, R5): "latest" covers every acknowledgement given before the question.
//! A partition that cannot be answered fails alone.

use std::collections::BTreeSet;
use std::time::Duration;

use esker_env::timeout;
use esker_kafka::messages::list_offsets_request::ListOffsetsPartition;
use esker_kafka::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use esker_metadata_api::{Admin, OffsetQuery};
use esker_types::{Timestamp, TopicPartition};
use futures::stream::{self, StreamExt as _};

use crate::admit::{Refusal, RequestRefusal, Resolver, TopicKey, check_leader_epoch};
use crate::error::ReadError;
use crate::limits::{PARTITIONS_PER_REQUEST_MAX, QUERIES_PARALLEL};
use crate::pipeline::Pipeline;
use crate::read::FoundOffset;
use crate::reply;

/// First version with a time-out of its own.
const TIMEOUT_FROM: i16 = 10;

/// What one partition is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetAnswer {
    Found(FoundOffset),
    Nothing,
    Refused(Refusal),
    Failed(ReadError),
}

/// One topic of a request with its answers, in order.
#[derive(Debug)]
pub(crate) struct AskedTopic {
    pub(crate) name: TopicName,
    pub(crate) partitions: Vec<(i32, OffsetAnswer)>,
}

/// A question that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Resolve(TopicPartition, OffsetQuery),
    /// Nothing is tiered: the bucket is the log.
    Tiered,
}

/// What a timestamp on the wire asks for. Negative ones are kinds of question, by version.
fn query(version: i16, timestamp: i64) -> Result<Option<OffsetQuery>, Refusal> {
    match timestamp {
        -1 => Ok(Some(OffsetQuery::Latest)),
        -2 => Ok(Some(OffsetQuery::Earliest)),
        -3 if version >= 7 => Ok(Some(OffsetQuery::MaxTimestamp)),
        // The earliest local offset: all of the log is as local as it gets.
        -4 if version >= 8 => Ok(Some(OffsetQuery::Earliest)),
        -5 if version >= 9 => Ok(None),
        // The earliest offset that waits to be tiered (KIP-1023): none does.
        -6 if version >= 11 => Ok(None),
        at if at >= 0 => Ok(Some(OffsetQuery::AtTimestamp(Timestamp::from_millis(at)))),
        _ => Err(Refusal::UnknownQuery),
    }
}

fn question(
    version: i16,
    topic_partition: TopicPartition,
    partition: &ListOffsetsPartition,
) -> Result<Question, Refusal> {
    check_leader_epoch(partition.current_leader_epoch)?;
    let query = query(version, partition.timestamp)?;
    Ok(query.map_or(Question::Tiered, |query| {
        Question::Resolve(topic_partition, query)
    }))
}

impl Pipeline {
    /// Answers a ListOffsets request.
    pub(crate) async fn list_offsets(
        &self,
        admin: &dyn Admin,
        version: i16,
        request: &ListOffsetsRequest,
    ) -> ListOffsetsResponse {
        let topics = &request.topics;
        let named: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
        if named > PARTITIONS_PER_REQUEST_MAX {
            let indexes = |topic: &Vec<ListOffsetsPartition>| {
                topic
                    .iter()
                    .map(|partition| partition.partition_index)
                    .collect()
            };
            let topics = topics
                .iter()
                .map(|topic| (topic.name.clone(), indexes(&topic.partitions)));
            return reply::refused_list_offsets(
                RequestRefusal::TooManyPartitions,
                topics.collect(),
            );
        }
        let questions = self.questions(admin, version, request).await;
        let limit = self.query_timeout(version, request);
        let answers = stream::iter(questions)
            .map(|question| self.answer(question, limit))
            .buffered(QUERIES_PARALLEL);
        let mut answers = answers.collect::<Vec<_>>().await.into_iter();
        let topics = topics.iter().map(|topic| AskedTopic {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| partition.partition_index)
                .zip(answers.by_ref())
                .collect(),
        });
        reply::list_offsets_reply(version, topics.collect())
    }

    fn query_timeout(&self, version: i16, request: &ListOffsetsRequest) -> Duration {
        let most = self.locator.config.query_timeout;
        let asked = u64::try_from(request.timeout_ms).unwrap_or(0);
        match version >= TIMEOUT_FROM && asked > 0 {
            true => Duration::from_millis(asked).min(most),
            false => most,
        }
    }

    async fn questions(
        &self,
        admin: &dyn Admin,
        version: i16,
        request: &ListOffsetsRequest,
    ) -> Vec<Result<Question, Refusal>> {
        let mut resolver = Resolver::new(admin);
        let mut questions = Vec::new();
        let mut named = BTreeSet::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                let key = TopicKey::Name(&topic.name);
                let resolved = resolver.resolve(key, partition.partition_index).await;
                questions.push(resolved.and_then(|topic_partition| {
                    if !named.insert(topic_partition) {
                        return Err(Refusal::NamedTwice);
                    }
                    question(version, topic_partition, partition)
                }));
            }
        }
        questions
    }

    async fn answer(&self, question: Result<Question, Refusal>, limit: Duration) -> OffsetAnswer {
        let (topic_partition, query) = match question {
            Ok(Question::Resolve(topic_partition, query)) => (topic_partition, query),
            Ok(Question::Tiered) => return OffsetAnswer::Nothing,
            Err(refusal) => return OffsetAnswer::Refused(refusal),
        };
        let finding = self.find_offset(topic_partition, query);
        match timeout(&*self.locator.env.clock, limit, finding).await {
            Ok(Ok(Some(found))) => OffsetAnswer::Found(found),
            Ok(Ok(None)) => OffsetAnswer::Nothing,
            Ok(Err(error)) => OffsetAnswer::Failed(error),
            Err(_) => OffsetAnswer::Failed(ReadError::TimedOut),
        }
    }
}
