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

    fn insert(&mut self, topic: Topic) {
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

    fn take(&mut self, id: TopicId) -> Option<Arc<Topic>> {
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
mod tests {
    use esker_metadata_api::BrokerScope;

    use super::*;

    pub(crate) fn topic(name: &str, id: u8, partitions: u32) -> Topic {
        Topic {
            id: TopicId::from_bytes([id; 16]),
            name: TopicName::new(name).unwrap(),
            partition_count: NonZeroU32::new(partitions).unwrap(),
            replication_factor: 1,
            configs: BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]),
            defaults: Arc::default(),
        }
    }

    fn create(catalogue: &mut Catalogue, topic: Topic) -> Result<Arc<Topic>, CreateTopicError> {
        match catalogue.apply(CatalogueCommand::CreateTopic(topic)) {
            CatalogueOutcome::Created(created) => created,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_two_creations_of_one_name_the_second_finds_the_first() {
        let mut catalogue = Catalogue::default();

        let first = create(&mut catalogue, topic("a.b", 1, 3));
        let same = create(&mut catalogue, topic("a.b", 2, 3));
        let alike = create(&mut catalogue, topic("a_b", 3, 3));

        assert!(first.is_ok());
        assert_eq!(same, Err(CreateTopicError::Exists));
        let with = TopicName::new("a.b").unwrap();
        assert_eq!(alike, Err(CreateTopicError::Collides { with }));
        assert_eq!(catalogue.ids().len(), 1);
    }

    #[test]
    fn a_deleted_name_can_be_created_again_under_a_new_id() {
        let mut catalogue = Catalogue::default();
        let name = TopicName::new("t").unwrap();
        create(&mut catalogue, topic("t", 1, 2)).unwrap();

        let deleted = catalogue.apply(CatalogueCommand::DeleteTopic(TopicRef::Name(name.clone())));
        let again = catalogue.apply(CatalogueCommand::DeleteTopic(TopicRef::Name(name)));
        let created = create(&mut catalogue, topic("t", 2, 2)).unwrap();

        assert!(matches!(deleted, CatalogueOutcome::Deleted(Ok(_))));
        assert_eq!(
            again,
            CatalogueOutcome::Deleted(Err(DeleteTopicError::Unknown))
        );
        assert!(!catalogue.ids().contains(&TopicId::from_bytes([1; 16])));
        assert!(catalogue.has(created.at(esker_types::PartitionIndex::new(1).unwrap())));
    }

    #[test]
    fn partitions_and_topics_end_at_their_limits() {
        let mut catalogue = Catalogue::default();
        let full = u32::try_from(PARTITIONS_MAX).unwrap() / PARTITIONS_PER_TOPIC_MAX;
        for index in 0..full {
            let name = format!("full-{index}");
            let id = u8::try_from(index).unwrap();
            create(&mut catalogue, topic(&name, id, PARTITIONS_PER_TOPIC_MAX)).unwrap();
        }

        let more = create(&mut catalogue, topic("one-more", 200, 1));
        let wide = Catalogue::default().check(&topic("wide", 1, PARTITIONS_PER_TOPIC_MAX + 1));
        let mut crowded = Catalogue::default();
        for index in 0..TOPICS_MAX {
            let mut row = topic(&format!("t{index}"), 1, 1);
            let id = u128::try_from(index).unwrap() + 1;
            row.id = TopicId::from_bytes(id.to_be_bytes());
            crowded.insert(row);
        }

        assert_eq!(more, Err(CreateTopicError::TooManyPartitions));
        assert_eq!(wide, Err(CreateTopicError::TooManyPartitions));
        assert_eq!(
            crowded.check(&topic("last", 9, 1)),
            Err(CreateTopicError::TooManyTopics)
        );
    }

    fn alter(
        catalogue: &mut Catalogue,
        id: u8,
        change: TopicChange,
    ) -> Result<Arc<Topic>, AlterTopicError> {
        let topic = TopicId::from_bytes([id; 16]);
        match catalogue.apply(CatalogueCommand::AlterTopic { topic, change }) {
            CatalogueOutcome::Altered(altered) => altered,
            other => panic!("{other:?}"),
        }
    }

    fn partitions(count: u32) -> TopicChange {
        TopicChange::PartitionCount(NonZeroU32::new(count).unwrap())
    }

    #[test]
    fn partitions_are_added_and_never_taken_away() {
        let mut catalogue = Catalogue::default();
        create(&mut catalogue, topic("t", 1, 2)).unwrap();

        let more = alter(&mut catalogue, 1, partitions(5)).unwrap();
        let same = alter(&mut catalogue, 1, partitions(5));
        let unknown = alter(&mut catalogue, 2, partitions(5));
        let wide = alter(&mut catalogue, 1, partitions(PARTITIONS_PER_TOPIC_MAX + 1));

        assert!(catalogue.has(more.at(esker_types::PartitionIndex::new(4).unwrap())));
        assert_eq!(catalogue.partition_count, 5);
        assert_eq!(same, Err(AlterTopicError::NotMore { partition_count: 5 }));
        assert_eq!(unknown, Err(AlterTopicError::Unknown));
        assert_eq!(wide, Err(AlterTopicError::TooManyPartitions));
        assert_eq!(catalogue.topics().named("t"), Some(&more));
    }

    #[test]
    fn of_two_changes_of_settings_at_once_the_second_is_told() {
        let mut catalogue = Catalogue::default();
        let expected = create(&mut catalogue, topic("t", 1, 2))
            .unwrap()
            .configs
            .clone();
        let set = |value: &str| TopicChange::Configs {
            expected: expected.clone(),
            configs: BTreeMap::from([("retention.ms".to_owned(), value.to_owned())]),
        };

        let first = alter(&mut catalogue, 1, set("6")).unwrap();
        let second = alter(&mut catalogue, 1, set("7"));

        assert_eq!(first.configs["retention.ms"], "6");
        assert_eq!(second, Err(AlterTopicError::Changed));
        assert_eq!(catalogue.topics().named("t"), Some(&first));
    }

    #[test]
    fn settings_of_brokers_are_replaced_as_a_whole_if_they_are_still_those_expected() {
        let mut catalogue = Catalogue::default();
        let shared =
            |value: &str| BTreeMap::from([("log.retention.ms".to_owned(), value.to_owned())]);
        let set = |expected: &BTreeMap<String, String>, value: &str| {
            CatalogueCommand::AlterBroker(AlterBroker {
                scope: BrokerScope::All,
                expected: expected.clone(),
                configs: shared(value),
            })
        };
        let version = catalogue.topics().version;

        let first = catalogue.apply(set(&BTreeMap::new(), "6"));
        let late = catalogue.apply(set(&BTreeMap::new(), "7"));
        let second = catalogue.apply(set(&shared("6"), "8"));

        assert_eq!(first, CatalogueOutcome::BrokerAltered(Ok(())));
        let changed = Err(AlterBrokerError::Changed);
        assert_eq!(late, CatalogueOutcome::BrokerAltered(changed));
        assert_eq!(second, CatalogueOutcome::BrokerAltered(Ok(())));
        assert_eq!(
            catalogue.topics().brokers().of(BrokerScope::All),
            shared("8")
        );
        assert!(catalogue.topics().version > version);
    }

    #[test]
    fn producer_ids_come_in_blocks_that_never_overlap() {
        let mut catalogue = Catalogue::default();

        let first = catalogue.apply(CatalogueCommand::TakeProducerIds);
        let second = catalogue.apply(CatalogueCommand::TakeProducerIds);

        let id = |value| CatalogueOutcome::ProducerIds(ProducerId::from_wire(value).unwrap());
        assert_eq!(first, id(0));
        assert_eq!(second, id(PRODUCER_ID_BLOCK));
    }
}
