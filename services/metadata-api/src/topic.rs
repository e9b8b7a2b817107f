//! Topics as every role sees them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use esker_types::{PartitionIndex, TopicId, TopicPartition};

use crate::limits::TOPIC_NAME_BYTES_MAX;
use crate::{BrokerConfigs, Configs};

/// A valid topic name: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// A text that cannot name a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Empty.
    #[error("topic name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("topic name cannot be \".\" or \"..\"")]
    Dots,
    /// Too long.
    #[error("topic name has {bytes} bytes, at most {TOPIC_NAME_BYTES_MAX} are allowed")]
    Long {
        /// Bytes given.
        bytes: usize,
    },
    /// A character that Kafka does not allow.
    #[error("topic name may hold only letters, digits, '.', '_' and '-'")]
    Character,
}

impl TopicName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`TopicNameError`]: which rule it breaks.
    pub fn new(text: &str) -> Result<Self, TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text == "." || text == ".." {
            return Err(TopicNameError::Dots);
        }
        if text.len() > TOPIC_NAME_BYTES_MAX {
            return Err(TopicNameError::Long { bytes: text.len() });
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(TopicNameError::Character);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which Kafka's metric names collide: `.` and `_` are alike.
    #[must_use]
    pub fn collision_key(&self) -> String {
        self.0.replace('.', "_")
    }
}

impl std::fmt::Display for TopicName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One topic incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id: new when the name is created again.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Partitions 0 to this.
    pub partition_count: NonZeroU32,
    /// What tools compare; accepted and shown, the bucket replicates.
    pub replication_factor: u16,
    /// Settings given for this topic, by Kafka's key names; all others have their default.
    pub configs: BTreeMap<String, String>,
    /// What brokers were given as the defaults of all topics, by Kafka's key names of topics, as it
    /// counts on the broker that holds this table.
    pub defaults: Arc<Configs>,
}

impl Topic {
    /// Whether it has the partition.
    #[must_use]
    pub fn has(&self, partition: PartitionIndex) -> bool {
        partition.get() < self.partition_count.get()
    }

    /// Partition `partition` of this topic.
    #[must_use]
    pub fn at(&self, partition: PartitionIndex) -> TopicPartition {
        TopicPartition {
            topic: self.id,
            partition,
        }
    }
}

/// All topics at one moment; a newer one has a higher version.
#[derive(Clone, Debug, Default)]
pub struct TopicTable {
    /// Rises with every change.
    pub version: u64,
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    brokers: Arc<BrokerConfigs>,
}

impl TopicTable {
    /// Adds or replaces a topic.
    pub fn insert(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        if let Some(old) = self.by_name.insert(topic.name.clone(), Arc::clone(&topic)) {
            self.by_id.remove(&old.id);
        }
        self.by_id.insert(topic.id, topic);
        self.version += 1;
    }

    /// Takes a topic out.
    pub fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        self.version += 1;
        Some(topic)
    }

    /// Settings that brokers were given while they run.
    #[must_use]
    pub fn brokers(&self) -> &Arc<BrokerConfigs> {
        &self.brokers
    }

    /// Replaces the settings of brokers. What topics have of them is as it was: see
    /// [`Self::on_node`].
    pub fn set_brokers(&mut self, brokers: BrokerConfigs) {
        self.brokers = Arc::new(brokers);
        self.version += 1;
    }

    /// The table as it counts on one broker: with the defaults of topics that it was given. Costs a
    /// walk over all topics, but where no broker was given any.
    #[must_use]
    pub fn on_node(&self, node: i32) -> Self {
        let mut table = self.clone();
        let defaults = self.brokers.topic_defaults(node);
        if defaults.is_empty() {
            return table;
        }
        for topic in self.by_id.values() {
            let topic = Arc::new(Topic {
                defaults: Arc::clone(&defaults),
                ..Topic::clone(topic)
            });
            table.by_name.insert(topic.name.clone(), Arc::clone(&topic));
            table.by_id.insert(topic.id, topic);
        }
        table
    }

    /// By name. Text that is no valid name finds nothing.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        TopicName::new(name)
            .ok()
            .and_then(|name| self.by_name.get(&name))
    }

    /// By id.
    #[must_use]
    pub fn with_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        assert!(TopicName::new(&"a".repeat(TOPIC_NAME_BYTES_MAX)).is_ok());
        assert_eq!(
            TopicName::new(&"a".repeat(TOPIC_NAME_BYTES_MAX + 1)),
            Err(TopicNameError::Long {
                bytes: TOPIC_NAME_BYTES_MAX + 1
            })
        );
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::Dots));
        assert_eq!(TopicName::new("a/b"), Err(TopicNameError::Character));
        assert_eq!(TopicName::new("a.b").unwrap().collision_key(), "a_b");
    }

    #[test]
    fn a_name_created_again_forgets_the_old_id() {
        let topic = |id| Topic {
            id: TopicId::from_bytes([id; 16]),
            name: TopicName::new("t").unwrap(),
            partition_count: NonZeroU32::MIN,
            replication_factor: 1,
            configs: BTreeMap::new(),
            defaults: Arc::default(),
        };
        let mut table = TopicTable::default();

        table.insert(topic(1));
        table.insert(topic(2));

        assert!(table.with_id(TopicId::from_bytes([1; 16])).is_none());
        assert_eq!(
            table.named("t").map(|found| found.id),
            Some(TopicId::from_bytes([2; 16]))
        );
        assert_eq!(table.count(), 1);
    }
}
