//! The catalogue: topics, their settings, and producer-id blocks. Pure; durable through commands.
//!
//! A command is decided when it is applied, in journal order: of two creations of one name in
//! flight the second finds the first. Commands carry generated ids (J6), so replay repeats exactly.

mod codec;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use esker_metadata_api::limits::{PARTITIONS_MAX, TOPICS_MAX};
use esker_metadata_api::{
    AlterBroker, AlterBrokerError, AlterTopicError, BrokerConfigs, CreateTopicError,
    DeleteTopicError, Topic, TopicChange, TopicName, TopicRef, TopicTable,
};
use esker_types::limits::PARTITIONS_PER_TOPIC_MAX;
use esker_types::{ProducerId, TopicId, TopicPartition};

pub(crate) use codec::CatalogueDecodeError;

/// Producer ids taken from the journal at once: one durable command per so many producers.
pub(crate) const PRODUCER_ID_BLOCK: i64 = 1000;

/// A durable change of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CatalogueCommand {
    /// Create a topic under an id that was drawn for it.
    CreateTopic(Topic),
    /// Delete a topic.
    DeleteTopic(TopicRef),
    /// Take the next block of producer ids.
    TakeProducerIds,
    /// Change a topic.
    AlterTopic {
        /// Which.
        topic: TopicId,
        /// How.
        change: TopicChange,
    },
    /// Change the settings of brokers.
    AlterBroker(AlterBroker),
}

/// What applying a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CatalogueOutcome {
    /// To `CreateTopic`.
    Created(Result<Arc<Topic>, CreateTopicError>),
    /// To `DeleteTopic`.
    Deleted(Result<Arc<Topic>, DeleteTopicError>),
    /// To `TakeProducerIds`: the block's first id, `PRODUCER_ID_BLOCK` long.
    ProducerIds(ProducerId),
    /// To `AlterTopic`: the topic as it is now.
    Altered(Result<Arc<Topic>, AlterTopicError>),
    /// To `AlterBroker`.
    BrokerAltered(Result<(), AlterBrokerError>),
}

/// Topics and the producer-id allocator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    topics: TopicTable,
    collisions: BTreeMap<String, TopicName>,
    partition_count: usize,
    producer_id_next: i64,
}

impl Catalogue {
    pub(crate) fn topics(&self) -> &TopicTable {
        &self.topics
    }

    /// Whether the partition exists now.
    pub(crate) fn has(&self, topic_partition: TopicPartition) -> bool {
        let topic = self.topics.with_id(topic_partition.topic);
        topic.is_some_and(|topic| topic.has(topic_partition.partition))
    }

    /// The first producer id that was not given out.
    pub(crate) fn producer_id_next(&self) -> i64 {
        self.producer_id_next
    }

    /// Gives out no id up to `seen`, nor the `count` behind it and behind what was given out.
    pub(crate) fn skip_producer_ids(&mut self, seen: i64, count: i64) {
        let next = self.producer_id_next.max(seen.saturating_add(1));
        self.producer_id_next = next.saturating_add(count);
    }

    pub(crate) fn find(&self, topic: &TopicRef) -> Option<&Arc<Topic>> {
        match topic {
            TopicRef::Name(name) => self.topics.named(name.as_str()),
            TopicRef::Id(id) => self.topics.with_id(*id),
        }
    }

    /// Whether `topic` could be created now. For `validate_only`, and before a command is written.
    pub(crate) fn check(&self, topic: &Topic) -> Result<(), CreateTopicError> {
        if self.topics.named(topic.name.as_str()).is_some() {
            return Err(CreateTopicError::Exists);
        }
        if let Some(with) = self.collisions.get(&topic.name.collision_key()) {
            return Err(CreateTopicError::Collides { with: with.clone() });
        }
        if self.topics.count() >= TOPICS_MAX {
            return Err(CreateTopicError::TooManyTopics);
        }
        if !self.has_room_for(topic.partition_count, 0) {
            return Err(CreateTopicError::TooManyPartitions);
        }
        Ok(())
    }

    /// Whether a topic may have so many partitions in place of those that it has.
    fn has_room_for(&self, wanted: NonZeroU32, present: usize) -> bool {
        let count = usize::try_from(wanted.get()).unwrap_or(usize::MAX);
        let others = self.partition_count.saturating_sub(present);
        wanted.get() <= PARTITIONS_PER_TOPIC_MAX && others.saturating_add(count) <= PARTITIONS_MAX
    }

    /// The topic as it would be. For `validate_only`, and before a command is written.
    pub(crate) fn altered(
        &self,
        id: TopicId,
        change: &TopicChange,
    ) -> Result<Topic, AlterTopicError> {
        let topic = self.topics.with_id(id).ok_or(AlterTopicError::Unknown)?;
        let mut topic = Topic::clone(topic);
        match change {
            TopicChange::PartitionCount(wanted) => {
                let present = topic.partition_count.get();
                if wanted.get() <= present {
                    let partition_count = present;
                    return Err(AlterTopicError::NotMore { partition_count });
                }
                if !self.has_room_for(*wanted, usize::try_from(present).unwrap_or(usize::MAX)) {
                    return Err(AlterTopicError::TooManyPartitions);
                }
                topic.partition_count = *wanted;
            }
            TopicChange::Configs { expected, configs } => {
                if topic.configs != *expected {
                    return Err(AlterTopicError::Changed);
                }
                topic.configs.clone_from(configs);
            }
        }
        Ok(topic)
    }

    /// Applies a durable command.
    pub(crate) fn apply(&mut self, command: CatalogueCommand) -> CatalogueOutcome {
        match command {
            CatalogueCommand::CreateTopic(topic) => CatalogueOutcome::Created(self.create(topic)),
            CatalogueCommand::DeleteTopic(topic) => CatalogueOutcome::Deleted(self.delete(&topic)),
            CatalogueCommand::TakeProducerIds => {
                let first = self.producer_id_next;
                self.producer_id_next = first.saturating_add(PRODUCER_ID_BLOCK);
                CatalogueOutcome::ProducerIds(ProducerId::from_wire(first).unwrap_or_default())
            }
            CatalogueCommand::AlterTopic { topic, change } => {
                CatalogueOutcome::Altered(self.alter(topic, &change))
            }
            CatalogueCommand::AlterBroker(change) => {
                CatalogueOutcome::BrokerAltered(self.alter_broker(change))
            }
        }
    }

    fn create(&mut self, topic: Topic) -> Result<Arc<Topic>, CreateTopicError> {
        self.check(&topic)?;
        self.insert(topic.clone());
        Ok(Arc::new(topic))
    }

    fn alter(&mut self, id: TopicId, change: &TopicChange) -> Result<Arc<Topic>, AlterTopicError> {
        let topic = self.altered(id, change)?;
        self.take(id);
        self.insert(topic.clone());
        Ok(Arc::new(topic))
    }

    fn alter_broker(&mut self, change: AlterBroker) -> Result<(), AlterBrokerError> {
        self.topics.brokers().check(&change)?;
        let mut brokers = BrokerConfigs::clone(self.topics.brokers());
        brokers.set(change.scope, change.configs);
        self.topics.set_brokers(brokers);
        Ok(())
    }

    pub(crate) fn insert(&mut self, topic: Topic) {
        self.partition_count += usize::try_from(topic.partition_count.get()).unwrap_or(usize::MAX);
        self.collisions
            .insert(topic.name.collision_key(), topic.name.clone());
        self.topics.insert(topic);
    }

    fn delete(&mut self, topic: &TopicRef) -> Result<Arc<Topic>, DeleteTopicError> {
        let found = self.find(topic).map(|topic| topic.id);
        let removed = found.and_then(|id| self.take(id));
        removed.ok_or(DeleteTopicError::Unknown)
    }

    pub(crate) fn take(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let removed = self.topics.remove(id)?;
        let partitions = usize::try_from(removed.partition_count.get()).unwrap_or(usize::MAX);
        self.partition_count -= partitions.min(self.partition_count);
        self.collisions.remove(&removed.name.collision_key());
        Some(removed)
    }

    /// Ids of all topics, for checks.
    #[cfg(test)]
    pub(crate) fn ids(&self) -> std::collections::BTreeSet<esker_types::TopicId> {
        self.topics.iter().map(|topic| topic.id).collect()
    }
}

#[cfg(test)]
mod tests;
