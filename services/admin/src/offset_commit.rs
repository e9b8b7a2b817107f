//! OffsetCommit: names to ids, the coordinator's verdicts back to the places asked for.
//!
//! A topic counts as unknown only in a current table (R1). When the coordinator knows no such topic
//! although a cached table had it, its name may stand for a new incarnation: the commit, which is
//! idempotent, is tried once more with a current table.

use esker_kafka::messages::offset_commit_request::OffsetCommitRequestTopic;
use esker_kafka::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use esker_kafka::messages::{OffsetCommitRequest, OffsetCommitResponse};
use esker_metadata_api::{
    CommitOffsets, CommittedOffset, GroupError, GroupReply, GroupRequest, MetadataError,
    OffsetPartition, TopicTable,
};
use esker_types::{PartitionIndex, TopicPartition};

use crate::catalogue::{Source, View};
use crate::error::GroupRefusal;
use crate::front::Front;
use crate::membership::{owned, wrong_answer};
use crate::reply;

/// What became of each partition, in the order of the request, all topics one after the other.
type Outcomes = Vec<Result<(), GroupRefusal>>;

pub(crate) async fn answer(front: &Front, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = &request.topics;
    let view = front.catalogue.view(|table| holds(table, topics)).await;
    let mut outcomes = commit(front, &request, &view).await;
    if view.source == Source::Cached && outcomes.iter().any(is_unknown) {
        outcomes = match front.catalogue.current().await {
            Ok(table) => {
                let source = Source::Current;
                commit(front, &request, &View { table, source }).await
            }
            Err(error) => outcomes
                .into_iter()
                .map(|one| doubted(one, error))
                .collect(),
        };
    }
    response(request.topics, outcomes)
}

/// Whether the table has every partition.
fn holds(table: &TopicTable, topics: &[OffsetCommitRequestTopic]) -> bool {
    let has = |topic: &OffsetCommitRequestTopic| {
        let indexes = topic
            .partitions
            .iter()
            .map(|partition| partition.partition_index);
        indexes
            .into_iter()
            .all(|index| resolve(table, &topic.name, index).is_some())
    };
    topics.iter().all(has)
}

pub(crate) fn resolve(table: &TopicTable, name: &str, index: i32) -> Option<TopicPartition> {
    let topic = table.named(name)?;
    let partition = PartitionIndex::from_wire(index).filter(|index| topic.has(*index))?;
    Some(topic.at(partition))
}

fn is_unknown(outcome: &Result<(), GroupRefusal>) -> bool {
    matches!(
        outcome,
        Err(GroupRefusal::Refused(GroupError::UnknownPartition))
    )
}

/// "Unknown" cannot be told when nobody confirms it.
fn doubted(outcome: Result<(), GroupRefusal>, error: MetadataError) -> Result<(), GroupRefusal> {
    if is_unknown(&outcome) {
        Err(GroupRefusal::NotAnswered(error))
    } else {
        outcome
    }
}

async fn commit(front: &Front, request: &OffsetCommitRequest, view: &View) -> Outcomes {
    let mut offsets = Vec::new();
    let mut outcomes: Outcomes = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let found = resolve(&view.table, &topic.name, partition.partition_index);
            let found = found
                .ok_or_else(|| view.gap(GroupRefusal::UnknownPartition, GroupRefusal::NotAnswered));
            let checked = found.map(|topic_partition| OffsetPartition {
                topic_partition,
                committed: CommittedOffset {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: owned(partition.committed_metadata.clone()).unwrap_or_default(),
                },
            });
            outcomes.push(checked.map(|offset| offsets.push(offset)));
        }
    }
    if offsets.is_empty() {
        return outcomes;
    }
    let mut verdicts = verdicts(front, request, offsets).await.into_iter();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
        *outcome = verdicts.next().unwrap_or_else(|| Err(wrong_answer()));
    }
    outcomes
}

/// One verdict for each of `offsets`.
async fn verdicts(
    front: &Front,
    request: &OffsetCommitRequest,
    offsets: Vec<OffsetPartition>,
) -> Outcomes {
    let count = offsets.len();
    let call = GroupRequest::Commit(CommitOffsets {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(request.group_instance_id.clone()),
        generation: request.generation_id_or_member_epoch,
        offsets,
    });
    let refusal = match front.catalogue.group(call).await {
        Ok(GroupReply::Committed(Ok(verdicts))) if verdicts.len() == count => {
            let refused = |verdict: Result<(), GroupError>| verdict.map_err(GroupRefusal::Refused);
            return verdicts.into_iter().map(refused).collect();
        }
        Ok(GroupReply::Committed(Err(error))) => GroupRefusal::Refused(error),
        Ok(_) => wrong_answer(),
        Err(error) => GroupRefusal::NotAnswered(error),
    };
    vec![Err(refusal); count]
}

fn response(topics: Vec<OffsetCommitRequestTopic>, outcomes: Outcomes) -> OffsetCommitResponse {
    let mut outcomes = outcomes.into_iter();
    let mut answered = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (partition, outcome) in topic.partitions.iter().zip(outcomes.by_ref()) {
            let code = match outcome {
                Ok(()) => reply::SUCCESS,
                Err(refusal) => reply::group(&refusal).code(),
            };
            partitions.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code),
            );
        }
        answered.push(
            OffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    OffsetCommitResponse::default().with_topics(answered)
}
