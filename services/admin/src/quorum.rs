//! DescribeQuorum: the metadata service in the words of KRaft, for the pages of tools.
//!
//! There is no quorum to vote: the bucket decides who leads, and one process writes the journal.
//! It is shown as the only voter. Offsets count rolls in the upper and commands in the lower half,
//! so they rise over all leaders as KRaft's do.

use esker_kafka::messages::describe_quorum_request::TopicData as AskedTopic;
use esker_kafka::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use esker_kafka::messages::{DescribeQuorumRequest, DescribeQuorumResponse, StrBytes, TopicName};
use esker_metadata_api::Leadership;

use crate::error::QuorumRefusal;
use crate::front::Front;
use crate::placement;
use crate::reply;

/// The only topic that has a quorum in Kafka, with one partition.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// First version that has places for errors in words, and for nodes.
const WORDS_FROM: i16 = 2;
/// What Kafka calls the listener of its controllers.
const LISTENER: &str = "CONTROLLER";

pub(crate) async fn answer(
    front: &Front,
    version: i16,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let described = match leadership(front, &request.topics).await {
        Ok(leadership) => leadership,
        Err(refusal) => return refused(version, request.topics, refusal),
    };
    let here = front.brokers.here();
    let end = log_end(&described);
    let now = front.catalogue.wall_millis();
    let voter = ReplicaState::default()
        .with_replica_id(placement::id(here))
        .with_log_end_offset(end)
        .with_last_fetch_timestamp(if version >= 1 { now } else { -1 })
        .with_last_caught_up_timestamp(if version >= 1 { now } else { -1 });
    let partition = PartitionData::default()
        .with_leader_id(placement::id(here))
        .with_leader_epoch(i32::try_from(described.epoch.get()).unwrap_or(i32::MAX))
        .with_high_watermark(end)
        .with_current_voters(vec![voter])
        .with_error_message(None);
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
        .with_partitions(vec![partition]);
    let listener = Listener::default()
        .with_name(StrBytes::from_static_str(LISTENER))
        .with_host(placement::wire_host(here))
        .with_port(here.at.port);
    let node = Node::default()
        .with_node_id(placement::id(here))
        .with_listeners(vec![listener]);
    let nodes = if version >= WORDS_FROM {
        vec![node]
    } else {
        Vec::new()
    };
    DescribeQuorumResponse::default()
        .with_error_message(None)
        .with_topics(vec![topic])
        .with_nodes(nodes)
}

async fn leadership(front: &Front, topics: &[AskedTopic]) -> Result<Leadership, QuorumRefusal> {
    let is_metadata = |topic: &AskedTopic| {
        let mut partitions = topic.partitions.iter();
        let first = partitions.next();
        topic.topic_name.as_str() == METADATA_TOPIC
            && first.is_some_and(|one| one.partition_index == 0)
            && partitions.next().is_none()
    };
    match topics {
        [topic] if is_metadata(topic) => {
            let leadership = front.catalogue.leadership().await;
            leadership.map_err(QuorumRefusal::NotAnswered)
        }
        _ => Err(QuorumRefusal::UnknownPartition),
    }
}

/// Rolls above, commands below: never falls.
fn log_end(leadership: &Leadership) -> i64 {
    let roll = i64::try_from(leadership.roll).unwrap_or(i64::MAX >> 32);
    let commands = u32::try_from(leadership.commands).unwrap_or(u32::MAX);
    (roll << 32) | i64::from(commands)
}

fn refused(
    version: i16,
    topics: Vec<AskedTopic>,
    refusal: QuorumRefusal,
) -> DescribeQuorumResponse {
    let code = reply::quorum(refusal).code();
    let words = (version >= WORDS_FROM).then(|| reply::words(&refusal));
    let one = |topic: AskedTopic| {
        let partition = |index: i32| {
            PartitionData::default()
                .with_partition_index(index)
                .with_error_code(code)
                .with_error_message(words.clone())
        };
        let indexes = topic.partitions.iter().map(|one| one.partition_index);
        TopicData::default()
            .with_partitions(indexes.map(partition).collect())
            .with_topic_name(topic.topic_name)
    };
    DescribeQuorumResponse::default()
        .with_error_message(None)
        .with_topics(topics.into_iter().map(one).collect())
}
