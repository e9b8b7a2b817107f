//! ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments.
//!
//! Replicas and leaders follow from the set of brokers (`placement`), and the bucket holds the
//! records: there is nothing to move and nobody to elect. A reassignment to the brokers that hold
//! the partition already is done at once; every other one is refused.

use std::collections::BTreeSet;

use esker_kafka::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use esker_kafka::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use esker_kafka::messages::elect_leaders_request::TopicPartitions;
use esker_kafka::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use esker_kafka::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
    ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsResponse,
};
use esker_metadata_api::TopicTable;

use crate::catalogue::View;
use crate::error::PlacementRefusal;
use crate::front::Front;
use crate::offset_commit::resolve;
use crate::reply;

/// Kafka's numbers of elections: the preferred leader, or any.
const ELECTIONS: std::ops::RangeInclusive<i8> = 0..=1;
/// First version that has a place for an error of the whole request.
const WHOLE_ERROR_FROM: i16 = 1;

/// None is ever under way.
pub(crate) fn list() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}

pub(crate) async fn elect(
    front: &Front,
    version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    if version >= WHOLE_ERROR_FROM && !ELECTIONS.contains(&request.election_type) {
        let code = request.election_type;
        let refusal = PlacementRefusal::ElectionType { code };
        return ElectLeadersResponse::default().with_error_code(reply::placement(refusal).code());
    }
    // Of all partitions only those are told that needed an election: none.
    let topics = request.topic_partitions.unwrap_or_default();
    let holds = |table: &TopicTable| {
        topics.iter().all(|topic| {
            let mut indexes = topic.partitions.iter();
            indexes.all(|index| resolve(table, &topic.topic, *index).is_some())
        })
    };
    let view = front.catalogue.view(holds).await;
    let one = |topic: &TopicPartitions| {
        let partition = |index: &i32| {
            let refusal = match resolve(&view.table, &topic.topic, *index) {
                Some(_) => PlacementRefusal::ElectionNotNeeded,
                None => absent(&view),
            };
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(reply::placement(refusal).code())
                .with_error_message(Some(reply::words(&refusal)))
        };
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(topic.partitions.iter().map(partition).collect())
    };
    ElectLeadersResponse::default().with_replica_election_results(topics.iter().map(one).collect())
}

fn absent(view: &View) -> PlacementRefusal {
    view.gap(
        PlacementRefusal::UnknownPartition,
        PlacementRefusal::NotAnswered,
    )
}

pub(crate) async fn alter(
    front: &Front,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let topics = &request.topics;
    let holds = |table: &TopicTable| {
        topics.iter().all(|topic| {
            let mut partitions = topic.partitions.iter();
            partitions.all(|one| resolve(table, &topic.name, one.partition_index).is_some())
        })
    };
    let view = front.catalogue.view(holds).await;
    let one = |topic: &ReassignableTopic| {
        let partition = |partition: &ReassignablePartition| {
            let row = ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index);
            match reassign(front, &view, &topic.name, partition) {
                Ok(()) => row.with_error_message(None),
                Err(refusal) => row
                    .with_error_code(reply::placement(refusal).code())
                    .with_error_message(Some(reply::words(&refusal))),
            }
        };
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        .with_responses(topics.iter().map(one).collect())
}

fn reassign(
    front: &Front,
    view: &View,
    name: &str,
    partition: &ReassignablePartition,
) -> Result<(), PlacementRefusal> {
    let at = resolve(&view.table, name, partition.partition_index);
    let at = at.ok_or_else(|| absent(view))?;
    let wanted = partition.replicas.as_ref();
    // Null cancels a reassignment that is under way.
    let wanted = wanted.ok_or(PlacementRefusal::NoReassignment)?;
    let factor = view
        .table
        .named(name)
        .map_or(1, |topic| topic.replication_factor);
    let present = front.brokers.replicas(at.topic, at.partition, factor);
    let distinct = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<BTreeSet<i32>>();
    if wanted.len() == present.len() && distinct(wanted) == distinct(&present) {
        return Ok(());
    }
    Err(PlacementRefusal::NotMovable)
}
