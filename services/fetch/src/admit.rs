//! Stage 1 of a fetch: which partitions are meant, and how much each may take.
//!
//! Topics by name or id become topic ids here (I26). One is called unknown only after the current
//! table was asked (R1), once per request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use esker_kafka::RequestContext;
use esker_kafka::messages::fetch_request::FetchPartition;
use esker_kafka::messages::{FetchRequest, StrBytes};
use esker_metadata_api::{Admin, MetadataError, TopicTable};
use esker_types::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

use crate::FetchConfig;
use crate::limits::{PARTITIONS_PER_REQUEST_MAX, WAIT_MAX};
use crate::locate::ReadIntent;
use crate::pipeline::Job;

/// First Fetch that names topics by id alone.
const TOPIC_ID_FROM: i16 = 13;

/// Why a whole request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestRefusal {
    /// It continues a fetch session; none was ever granted here.
    #[error("fetch session is unknown")]
    UnknownSession,
    #[error("more partitions than one request may name")]
    TooManyPartitions,
}

/// Why one partition of a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("topic name is unknown")]
    UnknownTopic,
    #[error("topic id is unknown")]
    UnknownTopicId,
    #[error("topic has no such partition")]
    UnknownPartition,
    /// The client's leader epoch is below the constant one.
    #[error("leader epoch is older than the partition's")]
    OlderLeaderEpoch,
    #[error("leader epoch is newer than the partition's")]
    NewerLeaderEpoch,
    #[error("offset is negative")]
    NegativeOffset,
    /// Named twice in a ListOffsets.
    #[error("partition is named twice")]
    NamedTwice,
    /// A kind of offset query that the request's version does not have.
    #[error("offset query is unknown in this version")]
    UnknownQuery,
    /// Whether the topic exists could not be found out.
    #[error("topics could not be confirmed")]
    Metadata(#[source] MetadataError),
}

/// A topic as a request names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TopicKey<'a> {
    Name(&'a str),
    Id(TopicId),
}

/// Finds the topics of one request.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    admin: &'a dyn Admin,
    table: Arc<TopicTable>,
    current: Option<Result<Arc<TopicTable>, MetadataError>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(admin: &'a dyn Admin) -> Self {
        Self {
            admin,
            table: admin.topics(),
            current: None,
        }
    }

    pub(crate) async fn resolve(
        &mut self,
        topic: TopicKey<'_>,
        partition: i32,
    ) -> Result<TopicPartition, Refusal> {
        let seen = lookup(&self.table, topic, partition);
        if seen.is_ok() {
            return seen;
        }
        if self.current.is_none() {
            self.current = Some(self.admin.topics_current().await);
        }
        match &self.current {
            Some(Ok(current)) => lookup(current, topic, partition),
            Some(Err(error)) => Err(Refusal::Metadata(*error)),
            None => seen,
        }
    }
}

fn lookup(
    table: &TopicTable,
    topic: TopicKey<'_>,
    partition: i32,
) -> Result<TopicPartition, Refusal> {
    let found = match topic {
        TopicKey::Name(name) => table.named(name).ok_or(Refusal::UnknownTopic)?,
        TopicKey::Id(id) => table.with_id(id).ok_or(Refusal::UnknownTopicId)?,
    };
    PartitionIndex::from_wire(partition)
        .filter(|partition| found.has(*partition))
        .map(|partition| found.at(partition))
        .ok_or(Refusal::UnknownPartition)
}

/// Compares the client's leader epoch (-1: none) with the constant one.
pub(crate) fn check_leader_epoch(epoch: i32) -> Result<(), Refusal> {
    match epoch.cmp(&LeaderEpoch::CONSTANT.to_wire()) {
        _ if epoch == -1 => Ok(()),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(Refusal::OlderLeaderEpoch),
        std::cmp::Ordering::Greater => Err(Refusal::NewerLeaderEpoch),
    }
}

/// A fetch, ready to be served.
#[derive(Debug)]
pub(crate) struct AdmittedFetch {
    pub(crate) job: Job,
    pub(crate) topics: Vec<AdmittedTopic>,
    pub(crate) isolation: Isolation,
    pub(crate) naming: TopicNaming,
}

/// One topic of a request, in the request's order.
#[derive(Debug)]
pub(crate) struct AdmittedTopic {
    pub(crate) name: StrBytes,
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<AdmittedPartition>,
}

#[derive(Debug)]
pub(crate) struct AdmittedPartition {
    pub(crate) index: i32,
    /// Place of its intent in the job.
    pub(crate) intent: Result<usize, Refusal>,
}

/// Which records a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn from_wire(level: i8) -> Self {
        match level {
            0 => Self::ReadUncommitted,
            _ => Self::ReadCommitted,
        }
    }
}

/// How the request's version names topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicNaming {
    ByName,
    ById,
}

/// A number of bytes from the wire, where below 0 means 0.
fn bytes(value: i32, most: u32) -> u32 {
    u32::try_from(value).unwrap_or(0).min(most)
}

/// Only full fetches are served: no session is ever granted, so none can be continued.
fn check_session(version: i16, request: &FetchRequest) -> Result<(), RequestRefusal> {
    let is_full = matches!(request.session_epoch, -1 | 0);
    if version >= 7 && !is_full {
        return Err(RequestRefusal::UnknownSession);
    }
    Ok(())
}

/// Admits a fetch: resolves its topics and shares out its limits.
pub(crate) async fn admit(
    admin: &dyn Admin,
    config: &FetchConfig,
    context: &RequestContext,
    request: &FetchRequest,
) -> Result<AdmittedFetch, RequestRefusal> {
    check_session(context.api_version, request)?;
    let topics = request.topics.iter();
    let named: usize = topics.map(|topic| topic.partitions.len()).sum();
    if named > PARTITIONS_PER_REQUEST_MAX {
        return Err(RequestRefusal::TooManyPartitions);
    }
    let naming = match context.api_version >= TOPIC_ID_FROM {
        true => TopicNaming::ById,
        false => TopicNaming::ByName,
    };
    let mut resolver = Resolver::new(admin);
    let mut intents = Vec::with_capacity(named);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let id = TopicId::from_bytes(topic.topic_id.into_bytes());
        let key = match naming {
            TopicNaming::ByName => TopicKey::Name(&topic.topic),
            TopicNaming::ById => TopicKey::Id(id),
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let resolved = resolver.resolve(key, partition.partition).await;
            let intent = resolved.and_then(|at| intent(config, at, partition));
            partitions.push(AdmittedPartition {
                index: partition.partition,
                intent: intent.map(|intent| {
                    intents.push(intent);
                    intents.len() - 1
                }),
            });
        }
        topics.push(AdmittedTopic {
            name: topic.topic.0.clone(),
            id,
            partitions,
        });
    }
    Ok(AdmittedFetch {
        job: job(config, context, request, intents, named),
        topics,
        isolation: Isolation::from_wire(request.isolation_level),
        naming,
    })
}

fn intent(
    config: &FetchConfig,
    topic_partition: TopicPartition,
    partition: &FetchPartition,
) -> Result<ReadIntent, Refusal> {
    check_leader_epoch(partition.current_leader_epoch)?;
    let offset = Offset::from_wire(partition.fetch_offset);
    Ok(ReadIntent {
        topic_partition,
        offset: offset.ok_or(Refusal::NegativeOffset)?,
        bytes_max: bytes(partition.partition_max_bytes, config.response_bytes_max),
    })
}

/// The job of what was admitted of `named` partitions.
fn job(
    config: &FetchConfig,
    context: &RequestContext,
    request: &FetchRequest,
    intents: Vec<ReadIntent>,
    named: usize,
) -> Job {
    let bytes_max = bytes(request.max_bytes, config.response_bytes_max);
    let wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let wait = Duration::from_millis(wait).min(WAIT_MAX);
    Job {
        bytes_max,
        // A refused partition is told at once: the client must act on it.
        bytes_min: match intents.len() == named {
            true => bytes(request.min_bytes, bytes_max),
            false => 0,
        },
        intents,
        records_max: None,
        deadline: context.received.after(wait),
        first: 0,
        elsewhere: BTreeMap::new(),
    }
}
