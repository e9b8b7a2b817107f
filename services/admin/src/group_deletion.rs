//! DeleteGroups and OffsetDelete.
//!
//! What is told as deleted is durably gone. A topic counts as unknown only in a current table (R1).

use esker_kafka::messages::delete_groups_response::DeletableGroupResult;
use esker_kafka::messages::offset_delete_request::OffsetDeleteRequestTopic;
use esker_kafka::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use esker_kafka::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, GroupId, OffsetDeleteRequest, OffsetDeleteResponse,
};
use esker_metadata_api::{DeleteOffsets, GroupReply, GroupRequest, TopicName, TopicTable};
use esker_types::{PartitionIndex, TopicPartition};

use crate::catalogue::View;
use crate::error::GroupRefusal;
use crate::front::Front;
use crate::membership::wrong_answer;
use crate::reply;

pub(crate) async fn groups(front: &Front, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let outcomes = deleted(front, &request.groups_names).await;
    let rows = request.groups_names.into_iter().zip(outcomes);
    let one = |(group, outcome): (GroupId, Result<(), GroupRefusal>)| {
        DeletableGroupResult::default()
            .with_group_id(group)
            .with_error_code(code(&outcome))
    };
    DeleteGroupsResponse::default().with_results(rows.map(one).collect())
}

/// One outcome for each group.
async fn deleted(front: &Front, groups: &[GroupId]) -> Vec<Result<(), GroupRefusal>> {
    if groups.is_empty() {
        return Vec::new();
    }
    let names = groups.iter().map(|group| group.to_string()).collect();
    let refusal = match front.catalogue.group(GroupRequest::Delete(names)).await {
        Ok(GroupReply::Deleted(rows)) if rows.len() == groups.len() => {
            let one = |row: Result<(), _>| row.map_err(GroupRefusal::Refused);
            return rows.into_iter().map(one).collect();
        }
        Ok(_) => wrong_answer(),
        Err(error) => GroupRefusal::NotAnswered(error),
    };
    vec![Err(refusal); groups.len()]
}

fn code(outcome: &Result<(), GroupRefusal>) -> i16 {
    match outcome {
        Ok(()) => reply::SUCCESS,
        Err(refusal) => reply::group(refusal).code(),
    }
}

pub(crate) async fn offsets(front: &Front, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let topics = &request.topics;
    let view = front.catalogue.view(|table| holds(table, topics)).await;
    let (mut outcomes, known) = resolved(topics, &view);
    let verdicts = if known.is_empty() && !topics.is_empty() {
        Ok(Vec::new())
    } else {
        forgotten(front, &request.group_id, known).await
    };
    match verdicts {
        Ok(verdicts) => {
            let mut verdicts = verdicts.into_iter();
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = verdicts.next().unwrap_or_else(|| Err(wrong_answer()));
            }
            response(request.topics, outcomes)
        }
        Err(refusal) => {
            OffsetDeleteResponse::default().with_error_code(reply::group(&refusal).code())
        }
    }
}

fn find(table: &TopicTable, name: &str, index: i32) -> Option<(TopicPartition, TopicName)> {
    let topic = table.named(name)?;
    let partition = PartitionIndex::from_wire(index).filter(|index| topic.has(*index))?;
    Some((topic.at(partition), topic.name.clone()))
}

fn holds(table: &TopicTable, topics: &[OffsetDeleteRequestTopic]) -> bool {
    topics.iter().all(|topic| {
        let mut partitions = topic.partitions.iter();
        partitions.all(|one| find(table, &topic.name, one.partition_index).is_some())
    })
}

type Resolved = (
    Vec<Result<(), GroupRefusal>>,
    Vec<(TopicPartition, TopicName)>,
);

/// What is to be said of each partition, all topics one after the other; and those that exist.
fn resolved(topics: &[OffsetDeleteRequestTopic], view: &View) -> Resolved {
    let mut outcomes = Vec::new();
    let mut known = Vec::new();
    for topic in topics {
        for partition in &topic.partitions {
            let found = find(&view.table, &topic.name, partition.partition_index);
            let found = found
                .ok_or_else(|| view.gap(GroupRefusal::UnknownPartition, GroupRefusal::NotAnswered));
            outcomes.push(found.map(|found| known.push(found)));
        }
    }
    (outcomes, known)
}

/// One verdict for each of `partitions`, or one for the whole group.
async fn forgotten(
    front: &Front,
    group: &GroupId,
    partitions: Vec<(TopicPartition, TopicName)>,
) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
    let count = partitions.len();
    let call = GroupRequest::DeleteOffsets(DeleteOffsets {
        group: group.to_string(),
        partitions,
    });
    match front.catalogue.group(call).await {
        Ok(GroupReply::OffsetsDeleted(Ok(rows))) if rows.len() == count => {
            let one = |row: Result<(), _>| row.map_err(GroupRefusal::Refused);
            Ok(rows.into_iter().map(one).collect())
        }
        Ok(GroupReply::OffsetsDeleted(Err(error))) => Err(GroupRefusal::Refused(error)),
        Ok(_) => Err(wrong_answer()),
        Err(error) => Err(GroupRefusal::NotAnswered(error)),
    }
}

fn response(
    topics: Vec<OffsetDeleteRequestTopic>,
    outcomes: Vec<Result<(), GroupRefusal>>,
) -> OffsetDeleteResponse {
    let mut outcomes = outcomes.into_iter();
    let one = |topic: OffsetDeleteRequestTopic| {
        let partitions = topic.partitions.iter().zip(outcomes.by_ref());
        let partitions = partitions.map(|(partition, outcome)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&outcome))
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    };
    OffsetDeleteResponse::default().with_topics(topics.into_iter().map(one).collect())
}
