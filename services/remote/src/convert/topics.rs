//! Topics, settings, and what changes them.

use std::num::NonZeroU32;
use std::sync::Arc;

use esker_metadata_api::{
    ActiveProducer, AlterBroker, AlterTopic, BrokerConfigs, BrokerScope, Configs, CreateTopic,
    DeleteBefore, Leadership, Topic, TopicChange, TopicName, TopicRef,
};
use esker_types::{SequencerEpoch, Timestamp};

use super::ids::{bytes16, offset, producer_epoch, producer_id, topic_id};
use super::{Malformed, present};
use crate::proto::alter_topic_request::Change;
use crate::proto::broker_scope::Scope;
use crate::proto::delete_records_request::Before;
use crate::proto::delete_topic_request::Topic as Named;
use crate::proto::{self, ConfigsChange, Empty};

fn topic_name(text: &str) -> Result<TopicName, Malformed> {
    TopicName::new(text).map_err(|_| Malformed { field: "name" })
}

fn count(value: u32) -> Result<NonZeroU32, Malformed> {
    present(NonZeroU32::new(value), "partition_count")
}

fn replication_factor(value: u32) -> Result<u16, Malformed> {
    u16::try_from(value).map_err(|_| Malformed {
        field: "replication_factor",
    })
}

/// A topic without the defaults that brokers gave it.
pub(crate) fn topic(value: &Topic) -> proto::Topic {
    proto::Topic {
        id: bytes16(value.id.bytes()),
        name: value.name.as_str().to_owned(),
        partition_count: value.partition_count.get(),
        replication_factor: value.replication_factor.into(),
        configs: value.configs.clone(),
    }
}

/// A topic with the defaults that it has in this process.
pub(crate) fn topic_of(value: proto::Topic, defaults: Arc<Configs>) -> Result<Topic, Malformed> {
    Ok(Topic {
        id: topic_id(&value.id)?,
        name: topic_name(&value.name)?,
        partition_count: count(value.partition_count)?,
        replication_factor: replication_factor(value.replication_factor)?,
        configs: value.configs,
        defaults,
    })
}

impl From<BrokerScope> for proto::BrokerScope {
    fn from(value: BrokerScope) -> Self {
        let scope = match value {
            BrokerScope::All => Scope::All(Empty {}),
            BrokerScope::Node(node) => Scope::Node(node),
        };
        Self { scope: Some(scope) }
    }
}

pub(crate) fn broker_scope(value: Option<proto::BrokerScope>) -> Result<BrokerScope, Malformed> {
    let scope = value.and_then(|value| value.scope);
    Ok(match present(scope, "scope")? {
        Scope::All(Empty {}) => BrokerScope::All,
        Scope::Node(node) => BrokerScope::Node(node),
    })
}

impl From<&BrokerConfigs> for proto::BrokerConfigs {
    fn from(value: &BrokerConfigs) -> Self {
        let scope = |(scope, configs): (BrokerScope, &Configs)| proto::ScopeConfigs {
            scope: Some(scope.into()),
            configs: configs.clone(),
        };
        Self {
            scopes: value.iter().map(scope).collect(),
        }
    }
}

impl TryFrom<proto::BrokerConfigs> for BrokerConfigs {
    type Error = Malformed;

    fn try_from(value: proto::BrokerConfigs) -> Result<Self, Malformed> {
        let mut all = Self::default();
        for scoped in value.scopes {
            all.set(broker_scope(scoped.scope)?, scoped.configs);
        }
        Ok(all)
    }
}

impl From<CreateTopic> for proto::CreateTopicRequest {
    fn from(value: CreateTopic) -> Self {
        Self {
            name: value.name.as_str().to_owned(),
            partition_count: value.partition_count.get(),
            replication_factor: value.replication_factor.into(),
            configs: value.configs,
            validate_only: value.validate_only,
        }
    }
}

pub(crate) fn create_request(value: proto::CreateTopicRequest) -> Result<CreateTopic, Malformed> {
    Ok(CreateTopic {
        name: topic_name(&value.name)?,
        partition_count: count(value.partition_count)?,
        replication_factor: replication_factor(value.replication_factor)?,
        configs: value.configs,
        validate_only: value.validate_only,
    })
}

/// A name that a topic has.
pub(crate) fn collision(name: &str) -> Result<TopicName, Malformed> {
    topic_name(name)
}

impl From<TopicRef> for proto::DeleteTopicRequest {
    fn from(value: TopicRef) -> Self {
        let topic = match value {
            TopicRef::Name(name) => Named::Name(name.as_str().to_owned()),
            TopicRef::Id(id) => Named::Id(bytes16(id.bytes())),
        };
        Self { topic: Some(topic) }
    }
}

pub(crate) fn topic_ref(value: proto::DeleteTopicRequest) -> Result<TopicRef, Malformed> {
    Ok(match present(value.topic, "topic")? {
        Named::Name(name) => TopicRef::Name(topic_name(&name)?),
        Named::Id(id) => TopicRef::Id(topic_id(&id)?),
    })
}

impl From<AlterTopic> for proto::AlterTopicRequest {
    fn from(value: AlterTopic) -> Self {
        let change = match value.change {
            TopicChange::PartitionCount(count) => Change::PartitionCount(count.get()),
            TopicChange::Configs { expected, configs } => {
                Change::Configs(ConfigsChange { expected, configs })
            }
        };
        Self {
            topic: bytes16(value.topic.bytes()),
            validate_only: value.validate_only,
            change: Some(change),
        }
    }
}

pub(crate) fn alter_request(value: proto::AlterTopicRequest) -> Result<AlterTopic, Malformed> {
    let change = match present(value.change, "change")? {
        Change::PartitionCount(partitions) => TopicChange::PartitionCount(count(partitions)?),
        Change::Configs(ConfigsChange { expected, configs }) => {
            TopicChange::Configs { expected, configs }
        }
    };
    Ok(AlterTopic {
        topic: topic_id(&value.topic)?,
        change,
        validate_only: value.validate_only,
    })
}

impl From<DeleteBefore> for Before {
    fn from(value: DeleteBefore) -> Self {
        match value {
            DeleteBefore::Offset(offset) => Self::Offset(offset.get()),
            DeleteBefore::HighWatermark => Self::HighWatermark(Empty {}),
        }
    }
}

impl TryFrom<Before> for DeleteBefore {
    type Error = Malformed;

    fn try_from(value: Before) -> Result<Self, Malformed> {
        Ok(match value {
            Before::Offset(before) => Self::Offset(offset(before, "before")?),
            Before::HighWatermark(Empty {}) => Self::HighWatermark,
        })
    }
}

impl From<AlterBroker> for proto::AlterBrokerRequest {
    fn from(value: AlterBroker) -> Self {
        Self {
            scope: Some(value.scope.into()),
            configs: Some(ConfigsChange {
                expected: value.expected,
                configs: value.configs,
            }),
        }
    }
}

impl TryFrom<proto::AlterBrokerRequest> for AlterBroker {
    type Error = Malformed;

    fn try_from(value: proto::AlterBrokerRequest) -> Result<Self, Malformed> {
        let change = present(value.configs, "configs")?;
        Ok(Self {
            scope: broker_scope(value.scope)?,
            expected: change.expected,
            configs: change.configs,
        })
    }
}

impl From<ActiveProducer> for proto::ActiveProducer {
    fn from(value: ActiveProducer) -> Self {
        Self {
            producer_id: value.producer_id.to_wire(),
            producer_epoch: value.producer_epoch.to_wire().into(),
            last_sequence: value.last_sequence,
            last_timestamp: value.last_timestamp.map(Timestamp::millis),
        }
    }
}

impl TryFrom<proto::ActiveProducer> for ActiveProducer {
    type Error = Malformed;

    fn try_from(value: proto::ActiveProducer) -> Result<Self, Malformed> {
        Ok(Self {
            producer_id: producer_id(value.producer_id)?,
            producer_epoch: producer_epoch(value.producer_epoch)?,
            last_sequence: value.last_sequence,
            last_timestamp: value.last_timestamp.map(Timestamp::from_millis),
        })
    }
}

impl From<Leadership> for proto::leadership_reply::Leads {
    fn from(value: Leadership) -> Self {
        Self {
            epoch: value.epoch.get(),
            roll: value.roll,
            commands: value.commands,
        }
    }
}

impl From<proto::leadership_reply::Leads> for Leadership {
    fn from(value: proto::leadership_reply::Leads) -> Self {
        Self {
            epoch: SequencerEpoch::new(value.epoch),
            roll: value.roll,
            commands: value.commands,
        }
    }
}
