//! Metadata: brokers, and topics with their partitions; creates topics that are asked for by name.
//!
//! A list of null asks for all topics, an empty one for none; version 0 has no null and its empty
//! list asks for all. A topic that is created on the way is durable before it is told, so the first
//! answer has it already. A name or id counts as unknown only in a current table (R1).

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use esker_cluster::Member;
use esker_kafka::messages::metadata_request::MetadataRequestTopic;
use esker_kafka::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use esker_kafka::messages::{MetadataRequest, MetadataResponse, StrBytes, TopicName as WireName};
use esker_metadata_api::{CreateTopicError, Topic, TopicName, TopicTable};
use esker_types::{ClusterId, LeaderEpoch, PartitionIndex, TopicId};
use futures::StreamExt as _;
use uuid::Uuid;

use crate::create_topics::{auto_created, is_reserved};
use crate::error::TopicRefusal;
use crate::front::Front;
use crate::limits::TOPIC_CHANGES_PARALLEL;
use crate::operations::Wanted;
use crate::placement;
use crate::reply;

/// First version in which null asks for all topics; below it an empty list does.
const NULL_IS_ALL_FROM: i16 = 1;
/// First version that says whether topics may be created on the way; below it they may.
const AUTO_CREATE_FLAG_FROM: i16 = 4;
/// First version that asks by id.
const TOPIC_ID_FROM: i16 = 12;

/// How a client names one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Name(StrBytes),
    Id(TopicId),
    /// By nothing that the version allows: what is echoed.
    Odd(StrBytes, [u8; 16]),
}

/// What became of one.
type Found = Result<Arc<Topic>, TopicRefusal>;

pub(crate) async fn answer(
    front: &Front,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let may_create = front.config.auto_create_topics
        && (version < AUTO_CREATE_FLAG_FROM || request.allow_auto_topic_creation);
    let operations = Wanted::new(request.include_topic_authorized_operations, version, 8..=13);
    let topics = match named(version, request.topics) {
        None => {
            let table = front.catalogue.cached();
            table
                .iter()
                .map(|topic| described(front, topic, operations))
                .collect()
        }
        Some(asked) => {
            let found = find(front, &asked, may_create).await;
            let pairs = asked.into_iter().zip(found);
            let one = |(asked, found): (Asked, Found)| match found {
                Ok(topic) => described(front, &topic, operations),
                Err(refusal) => refused(asked, version, &refusal)
                    .with_topic_authorized_operations(operations.topic()),
            };
            pairs.map(one).collect()
        }
    };
    let cluster = Wanted::new(
        request.include_cluster_authorized_operations,
        version,
        8..=10,
    );
    MetadataResponse::default()
        .with_brokers(brokers(front))
        .with_cluster_id(Some(cluster_id(front.catalogue.cluster())))
        .with_controller_id(placement::id(front.brokers.here()))
        .with_topics(topics)
        .with_cluster_authorized_operations(cluster.cluster())
}

/// The cluster's id as Kafka's clients know it: 22 digits, base 64.
pub(crate) fn cluster_id(cluster: ClusterId) -> StrBytes {
    StrBytes::from_string(URL_SAFE_NO_PAD.encode(cluster.bytes()))
}

fn brokers(front: &Front) -> Vec<MetadataResponseBroker> {
    let one = |broker: &Member| {
        MetadataResponseBroker::default()
            .with_node_id(placement::id(broker))
            .with_host(placement::wire_host(broker))
            .with_port(i32::from(broker.at.port))
            .with_rack(placement::wire_rack(broker))
    };
    front.brokers.all().iter().map(one).collect()
}

/// The topics asked for, each once, in the order of the request; `None` for all.
fn named(version: i16, topics: Option<Vec<MetadataRequestTopic>>) -> Option<Vec<Asked>> {
    let topics = topics.filter(|topics| version >= NULL_IS_ALL_FROM || !topics.is_empty())?;
    let mut seen = BTreeSet::new();
    let asked = topics.into_iter().map(|topic| {
        let name = topic.name.map(|name| name.0);
        let id = topic.topic_id;
        match name {
            Some(name) if id.is_nil() => Asked::Name(name),
            None if version >= TOPIC_ID_FROM => Asked::Id(TopicId::from_bytes(id.into_bytes())),
            Some(_) if version >= TOPIC_ID_FROM => Asked::Id(TopicId::from_bytes(id.into_bytes())),
            name => Asked::Odd(name.unwrap_or_default(), id.into_bytes()),
        }
    });
    Some(asked.filter(|asked| seen.insert(asked.clone())).collect())
}

async fn find(front: &Front, asked: &[Asked], may_create: bool) -> Vec<Found> {
    let holds = |table: &TopicTable| asked.iter().all(|asked| is_settled(table, asked));
    let view = front.catalogue.view(holds).await;
    let mut found: Vec<Found> = Vec::with_capacity(asked.len());
    let mut missing = Vec::new();
    for (place, asked) in asked.iter().enumerate() {
        let one = look_up(&view.table, asked)
            .unwrap_or_else(|absent| Err(view.gap(absent, TopicRefusal::NotAnswered)));
        if let (Err(TopicRefusal::UnknownName), Asked::Name(name)) = (&one, asked)
            && may_create
            && !is_reserved(name)
        {
            missing.push((place, name.clone()));
        }
        found.push(one);
    }
    for (place, created) in create(front, missing).await {
        if let Some(slot) = found.get_mut(place) {
            *slot = created;
        }
    }
    found
}

/// Whether no other table can change what is said of it.
fn is_settled(table: &TopicTable, asked: &Asked) -> bool {
    look_up(table, asked).is_ok()
}

/// `Err` is what is said when no such topic exists.
fn look_up(table: &TopicTable, asked: &Asked) -> Result<Found, TopicRefusal> {
    match asked {
        Asked::Odd(..) => Ok(Err(TopicRefusal::NameMissing)),
        Asked::Id(id) => match table.with_id(*id) {
            Some(topic) => Ok(Ok(Arc::clone(topic))),
            None => Err(TopicRefusal::UnknownId),
        },
        Asked::Name(name) => match (table.named(name), TopicName::new(name)) {
            (Some(topic), _) => Ok(Ok(Arc::clone(topic))),
            (None, Err(error)) => Ok(Err(TopicRefusal::InvalidName(error))),
            (None, Ok(_)) => Err(TopicRefusal::UnknownName),
        },
    }
}

/// Creates topics, several at a time, each durable before it is given back.
async fn create(front: &Front, missing: Vec<(usize, StrBytes)>) -> Vec<(usize, Found)> {
    let one =
        |(place, name): (usize, StrBytes)| async move { (place, create_one(front, &name).await) };
    let created = futures::stream::iter(missing).map(one);
    created.buffered(TOPIC_CHANGES_PARALLEL).collect().await
}

async fn create_one(front: &Front, name: &str) -> Found {
    let name = TopicName::new(name).map_err(TopicRefusal::InvalidName)?;
    let request = auto_created(name.clone(), &front.config);
    match front.catalogue.create(request).await {
        Ok(created) => Ok(created.topic),
        Err(error @ CreateTopicError::Exists) => {
            // Somebody was quicker. The current table has it, unless it is gone again.
            let table = front
                .catalogue
                .current()
                .await
                .map_err(TopicRefusal::NotAnswered)?;
            let found = table.named(name.as_str()).map(Arc::clone);
            found.ok_or(TopicRefusal::NotCreated(error))
        }
        Err(error) => Err(TopicRefusal::NotCreated(error)),
    }
}

fn described(front: &Front, topic: &Topic, operations: Wanted) -> MetadataResponseTopic {
    let indexes = (0..topic.partition_count.get()).filter_map(PartitionIndex::new);
    let partitions = indexes.map(|partition| {
        let replicas = front
            .brokers
            .replicas(topic.id, partition, topic.replication_factor);
        MetadataResponsePartition::default()
            .with_partition_index(partition.to_wire())
            .with_leader_id(
                replicas
                    .first()
                    .copied()
                    .unwrap_or(placement::id(front.brokers.here())),
            )
            .with_leader_epoch(LeaderEpoch::CONSTANT.to_wire())
            .with_isr_nodes(replicas.clone())
            .with_replica_nodes(replicas)
    });
    MetadataResponseTopic::default()
        .with_name(Some(WireName(StrBytes::from_string(
            topic.name.to_string(),
        ))))
        .with_topic_id(Uuid::from_bytes(topic.id.bytes()))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations.topic())
}

fn refused(asked: Asked, version: i16, refusal: &TopicRefusal) -> MetadataResponseTopic {
    // Versions below 12 cannot write a name of null.
    let empty = (version < TOPIC_ID_FROM).then(StrBytes::default);
    let (name, id) = match asked {
        Asked::Name(name) => (Some(name), [0; 16]),
        Asked::Id(id) => (empty, id.bytes()),
        Asked::Odd(name, id) => (Some(name), id),
    };
    MetadataResponseTopic::default()
        .with_error_code(reply::topic(refusal).code())
        .with_name(name.map(WireName))
        .with_topic_id(Uuid::from_bytes(id))
}
