//! CreatePartitions: a topic gets more partitions, never fewer.
//!
//! What is told as done is durable; every topic of the request is answered. Assignments count for
//! their number only: leaders are placed anew whenever brokers come or go.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use esker_kafka::RequestContext;
use esker_kafka::messages::create_partitions_request::CreatePartitionsTopic;
use esker_kafka::messages::create_partitions_response::CreatePartitionsTopicResult;
use esker_kafka::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, TopicName as WireName,
};
use esker_metadata_api::{AlterTopic, AlterTopicError, MetadataError, TopicChange, TopicTable};
use futures::StreamExt as _;

use crate::error::PartitionsRefusal;
use crate::front::Front;
use crate::limits::TOPIC_CHANGES_PARALLEL;
use crate::reply;

pub(crate) async fn answer(
    front: &Front,
    context: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let deadline = front.deadline(context, request.timeout_ms);
    let table = front.catalogue.current_by(deadline).await;
    let validate_only = request.validate_only;
    let changes = checked(request.topics, validate_only, &table);
    let one = |(name, change): (WireName, Result<AlterTopic, PartitionsRefusal>)| async move {
        let outcome = match change {
            Ok(change) => {
                let altered = front.catalogue.alter_by(deadline, change).await;
                altered.map(drop).map_err(refused)
            }
            Err(refusal) => Err(refusal),
        };
        result(name, outcome)
    };
    let results = futures::stream::iter(changes)
        .map(one)
        .buffered(TOPIC_CHANGES_PARALLEL);
    CreatePartitionsResponse::default().with_results(results.collect().await)
}

fn refused(error: AlterTopicError) -> PartitionsRefusal {
    match error {
        AlterTopicError::Unknown => PartitionsRefusal::UnknownTopic,
        error => PartitionsRefusal::Refused(error),
    }
}

/// Each name once, in the order of the request; one that comes twice is refused.
fn checked(
    topics: Vec<CreatePartitionsTopic>,
    validate_only: bool,
    table: &Result<Arc<TopicTable>, MetadataError>,
) -> Vec<(WireName, Result<AlterTopic, PartitionsRefusal>)> {
    let mut places: BTreeMap<WireName, usize> = BTreeMap::new();
    let mut checked: Vec<(WireName, Result<AlterTopic, PartitionsRefusal>)> = Vec::new();
    for topic in topics {
        let name = topic.name.clone();
        match places.get(&name).and_then(|place| checked.get_mut(*place)) {
            Some((_, outcome)) => *outcome = Err(PartitionsRefusal::Repeated),
            None => {
                places.insert(name.clone(), checked.len());
                checked.push((name, check(&topic, validate_only, table)));
            }
        }
    }
    checked
}

fn check(
    topic: &CreatePartitionsTopic,
    validate_only: bool,
    table: &Result<Arc<TopicTable>, MetadataError>,
) -> Result<AlterTopic, PartitionsRefusal> {
    let table = table
        .as_ref()
        .map_err(|error| PartitionsRefusal::NotStarted(*error))?;
    let found = table.named(&topic.name);
    let found = found.ok_or(PartitionsRefusal::UnknownTopic)?;
    let count = u32::try_from(topic.count).ok().and_then(NonZeroU32::new);
    let count = count.ok_or(PartitionsRefusal::PartitionCount)?;
    let present = found.partition_count.get();
    if count.get() <= present {
        let partition_count = present;
        return Err(PartitionsRefusal::Refused(AlterTopicError::NotMore {
            partition_count,
        }));
    }
    if let Some(assignments) = &topic.assignments {
        let added = usize::try_from(count.get() - present).unwrap_or(usize::MAX);
        if assignments.len() != added {
            let (assigned, added) = (assignments.len(), count.get() - present);
            return Err(PartitionsRefusal::AssignmentCount { added, assigned });
        }
        for assignment in assignments {
            let mut brokers: Vec<i32> = assignment.broker_ids.iter().map(|id| id.0).collect();
            brokers.sort_unstable();
            let repeated = brokers.windows(2).any(|pair| pair[0] == pair[1]);
            if repeated || brokers.first().is_none_or(|first| *first < 0) {
                return Err(PartitionsRefusal::AssignmentBrokers);
            }
        }
    }
    Ok(AlterTopic {
        topic: found.id,
        change: TopicChange::PartitionCount(count),
        validate_only,
    })
}

fn result(name: WireName, outcome: Result<(), PartitionsRefusal>) -> CreatePartitionsTopicResult {
    let result = CreatePartitionsTopicResult::default().with_name(name);
    match outcome {
        Ok(()) => result.with_error_message(None),
        Err(refusal) => result
            .with_error_code(reply::partitions(refusal).code())
            .with_error_message(Some(reply::words(&refusal))),
    }
}
