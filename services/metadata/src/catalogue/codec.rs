//! Stored form of catalogue commands and of the catalogue's part of a snapshot.
//!
//! Every length is compared with the bytes left before memory is taken. Format page:
//! docs/formats/metadata-catalogue.md.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use esker_metadata_api::{
    AlterBroker, BrokerConfigs, BrokerScope, Topic, TopicChange, TopicName, TopicNameError,
    TopicRef,
};
use esker_types::{ByteReader, ShortBytes, TopicId};

use super::{Catalogue, CatalogueCommand};

/// Version of commands that this build writes, and the newest it reads.
const VERSION: u8 = 1;
/// Version of snapshot parts that this build writes, and the newest it reads.
const SNAPSHOT_VERSION: u8 = 2;
/// Parts of version 1 hold no settings of brokers.
const SNAPSHOT_VERSION_TOPICS: u8 = 1;
const CREATE_TOPIC: u8 = 1;
const DELETE_TOPIC_NAMED: u8 = 2;
const DELETE_TOPIC_ID: u8 = 3;
const TAKE_PRODUCER_IDS: u8 = 4;
const ADD_PARTITIONS: u8 = 5;
const SET_CONFIGS: u8 = 6;
const SET_BROKER_CONFIGS: u8 = 7;
/// Whose settings: all brokers', or those of one.
const ALL_BROKERS: u8 = 0;
const ONE_BROKER: u8 = 1;
/// Bytes of one part of a snapshot, about: parts end with a whole topic.
const PART_BYTES: usize = 1024 * 1024;

/// Bytes that are no catalogue command or snapshot of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CatalogueDecodeError {
    /// They end early.
    #[error("catalogue bytes end early")]
    Short(#[source] ShortBytes),
    /// Written by a newer Esker.
    #[error("catalogue bytes have version {version}, this build reads up to {VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// No command of this version.
    #[error("catalogue command {code} is unknown")]
    Unknown {
        /// Its code.
        code: u8,
    },
    /// Settings of neither all brokers nor one.
    #[error("catalogue holds settings of an unknown scope {code}")]
    Scope {
        /// Its code.
        code: u8,
    },
    /// A text is not UTF-8.
    #[error("catalogue text is not UTF-8")]
    Text,
    /// A topic's name breaks the rules.
    #[error("catalogue holds a topic name that is not valid")]
    Name(#[source] TopicNameError),
    /// A topic without partitions.
    #[error("catalogue holds a topic without partitions")]
    NoPartitions,
    /// Bytes are left over.
    #[error("{bytes} bytes are left behind a catalogue value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

impl From<ShortBytes> for CatalogueDecodeError {
    fn from(short: ShortBytes) -> Self {
        Self::Short(short)
    }
}

fn put_text(into: &mut BytesMut, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    into.put_u32(length);
    into.put_slice(text.as_bytes());
}

fn text<'a>(reader: &mut ByteReader<'a>) -> Result<&'a str, CatalogueDecodeError> {
    std::str::from_utf8(reader.bytes_u32()?).map_err(|_| CatalogueDecodeError::Text)
}

fn name(reader: &mut ByteReader<'_>) -> Result<TopicName, CatalogueDecodeError> {
    TopicName::new(text(reader)?).map_err(CatalogueDecodeError::Name)
}

fn put_topic(into: &mut BytesMut, topic: &Topic) {
    into.put_slice(&topic.id.bytes());
    put_text(into, topic.name.as_str());
    into.put_u32(topic.partition_count.get());
    into.put_u16(topic.replication_factor);
    put_configs(into, &topic.configs);
}

fn put_configs(into: &mut BytesMut, configs: &BTreeMap<String, String>) {
    into.put_u32(u32::try_from(configs.len()).unwrap_or(u32::MAX));
    for (key, value) in configs {
        put_text(into, key);
        put_text(into, value);
    }
}

fn configs(reader: &mut ByteReader<'_>) -> Result<BTreeMap<String, String>, CatalogueDecodeError> {
    let mut configs = BTreeMap::new();
    for _ in 0..reader.count_u32(8)? {
        let key = text(reader)?.to_owned();
        configs.insert(key, text(reader)?.to_owned());
    }
    Ok(configs)
}

fn partition_count(reader: &mut ByteReader<'_>) -> Result<NonZeroU32, CatalogueDecodeError> {
    NonZeroU32::new(reader.u32()?).ok_or(CatalogueDecodeError::NoPartitions)
}

fn topic(reader: &mut ByteReader<'_>) -> Result<Topic, CatalogueDecodeError> {
    let id = TopicId::from_bytes(reader.array()?);
    let name = name(reader)?;
    Ok(Topic {
        id,
        name,
        partition_count: partition_count(reader)?,
        replication_factor: reader.u16()?,
        configs: configs(reader)?,
        defaults: Arc::default(),
    })
}

fn end<T>(reader: &ByteReader<'_>, value: T) -> Result<T, CatalogueDecodeError> {
    match reader.remaining() {
        0 => Ok(value),
        bytes => Err(CatalogueDecodeError::Trailing { bytes }),
    }
}

fn check_version(reader: &mut ByteReader<'_>) -> Result<(), CatalogueDecodeError> {
    match reader.u8()? {
        VERSION => Ok(()),
        version => Err(CatalogueDecodeError::Version { version }),
    }
}

fn put_scope(into: &mut BytesMut, scope: BrokerScope) {
    match scope {
        BrokerScope::All => into.put_u8(ALL_BROKERS),
        BrokerScope::Node(node) => {
            into.put_u8(ONE_BROKER);
            into.put_i32(node);
        }
    }
}

fn scope(reader: &mut ByteReader<'_>) -> Result<BrokerScope, CatalogueDecodeError> {
    match reader.u8()? {
        ALL_BROKERS => Ok(BrokerScope::All),
        ONE_BROKER => Ok(BrokerScope::Node(i32::from_be_bytes(reader.array()?))),
        code => Err(CatalogueDecodeError::Scope { code }),
    }
}

fn put_brokers(into: &mut BytesMut, brokers: &BrokerConfigs) {
    let count = brokers.iter().count();
    into.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
    for (scope, configs) in brokers.iter() {
        put_scope(into, scope);
        put_configs(into, configs);
    }
}

fn brokers(reader: &mut ByteReader<'_>) -> Result<BrokerConfigs, CatalogueDecodeError> {
    let mut brokers = BrokerConfigs::default();
    for _ in 0..reader.count_u32(5)? {
        let scope = scope(reader)?;
        brokers.set(scope, configs(reader)?);
    }
    Ok(brokers)
}

fn put_change(into: &mut BytesMut, topic: TopicId, change: &TopicChange) {
    match change {
        TopicChange::PartitionCount(count) => {
            into.put_u8(ADD_PARTITIONS);
            into.put_slice(&topic.bytes());
            into.put_u32(count.get());
        }
        TopicChange::Configs { expected, configs } => {
            into.put_u8(SET_CONFIGS);
            into.put_slice(&topic.bytes());
            put_configs(into, expected);
            put_configs(into, configs);
        }
    }
}

impl CatalogueCommand {
    pub(crate) fn encode(&self) -> Bytes {
        let mut into = BytesMut::new();
        into.put_u8(VERSION);
        match self {
            Self::CreateTopic(topic) => {
                into.put_u8(CREATE_TOPIC);
                put_topic(&mut into, topic);
            }
            Self::DeleteTopic(TopicRef::Name(name)) => {
                into.put_u8(DELETE_TOPIC_NAMED);
                put_text(&mut into, name.as_str());
            }
            Self::DeleteTopic(TopicRef::Id(id)) => {
                into.put_u8(DELETE_TOPIC_ID);
                into.put_slice(&id.bytes());
            }
            Self::TakeProducerIds => into.put_u8(TAKE_PRODUCER_IDS),
            Self::AlterTopic { topic, change } => put_change(&mut into, *topic, change),
            Self::AlterBroker(change) => {
                into.put_u8(SET_BROKER_CONFIGS);
                put_scope(&mut into, change.scope);
                put_configs(&mut into, &change.expected);
                put_configs(&mut into, &change.configs);
            }
        }
        into.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CatalogueDecodeError> {
        let mut reader = ByteReader::new(bytes);
        check_version(&mut reader)?;
        let command = match reader.u8()? {
            CREATE_TOPIC => Self::CreateTopic(topic(&mut reader)?),
            DELETE_TOPIC_NAMED => Self::DeleteTopic(TopicRef::Name(name(&mut reader)?)),
            DELETE_TOPIC_ID => {
                Self::DeleteTopic(TopicRef::Id(TopicId::from_bytes(reader.array()?)))
            }
            TAKE_PRODUCER_IDS => Self::TakeProducerIds,
            ADD_PARTITIONS => Self::AlterTopic {
                topic: TopicId::from_bytes(reader.array()?),
                change: TopicChange::PartitionCount(partition_count(&mut reader)?),
            },
            SET_CONFIGS => Self::AlterTopic {
                topic: TopicId::from_bytes(reader.array()?),
                change: TopicChange::Configs {
                    expected: configs(&mut reader)?,
                    configs: configs(&mut reader)?,
                },
            },
            SET_BROKER_CONFIGS => Self::AlterBroker(AlterBroker {
                scope: scope(&mut reader)?,
                expected: configs(&mut reader)?,
                configs: configs(&mut reader)?,
            }),
            code => return Err(CatalogueDecodeError::Unknown { code }),
        };
        end(&reader, command)
    }
}

impl Catalogue {
    /// The whole catalogue in parts of about a MiB.
    pub(crate) fn snapshot(&self) -> Vec<Bytes> {
        let mut parts = Vec::new();
        let mut part = self.snapshot_part(self.topics.brokers());
        for topic in self.topics.iter() {
            if part.len() >= PART_BYTES {
                parts.push(part.freeze());
                part = self.snapshot_part(&BrokerConfigs::default());
            }
            put_topic(&mut part, topic);
        }
        parts.push(part.freeze());
        parts
    }

    /// The front of a part; topics follow. Settings of brokers stand in the first one only.
    fn snapshot_part(&self, brokers: &BrokerConfigs) -> BytesMut {
        let mut part = BytesMut::new();
        part.put_u8(SNAPSHOT_VERSION);
        part.put_i64(self.producer_id_next);
        put_brokers(&mut part, brokers);
        part
    }

    /// Adds one part of a snapshot.
    pub(crate) fn restore(&mut self, part: &[u8]) -> Result<(), CatalogueDecodeError> {
        let mut reader = ByteReader::new(part);
        let version = reader.u8()?;
        if !(SNAPSHOT_VERSION_TOPICS..=SNAPSHOT_VERSION).contains(&version) {
            return Err(CatalogueDecodeError::Version { version });
        }
        self.producer_id_next = self.producer_id_next.max(reader.i64()?);
        if version > SNAPSHOT_VERSION_TOPICS {
            let brokers = brokers(&mut reader)?;
            if brokers.iter().next().is_some() {
                self.topics.set_brokers(brokers);
            }
        }
        while reader.remaining() > 0 {
            self.insert(topic(&mut reader)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{retention, topic as sample};
    use super::*;

    fn commands() -> Vec<CatalogueCommand> {
        vec![
            CatalogueCommand::CreateTopic(sample("orders", 7, 3)),
            CatalogueCommand::DeleteTopic(TopicRef::Name(TopicName::new("orders").unwrap())),
            CatalogueCommand::DeleteTopic(TopicRef::Id(TopicId::from_bytes([7; 16]))),
            CatalogueCommand::TakeProducerIds,
            CatalogueCommand::AlterTopic {
                topic: TopicId::from_bytes([7; 16]),
                change: TopicChange::PartitionCount(NonZeroU32::new(9).unwrap()),
            },
            CatalogueCommand::AlterTopic {
                topic: TopicId::from_bytes([7; 16]),
                change: TopicChange::Configs {
                    expected: BTreeMap::new(),
                    configs: BTreeMap::from([("flush.ms".to_owned(), "1".to_owned())]),
                },
            },
            CatalogueCommand::AlterBroker(retention(BrokerScope::All)),
            CatalogueCommand::AlterBroker(retention(BrokerScope::Node(7))),
        ]
    }

    fn encoded(command: &CatalogueCommand) -> BytesMut {
        BytesMut::from(command.encode())
    }

    #[test]
    fn golden_bytes_of_the_commands() {
        let golden = include_str!("../../../../docs/formats/metadata-catalogue.hex");

        let lines: Vec<String> = commands()
            .iter()
            .map(|command| {
                let bytes = encoded(command);
                bytes.iter().map(|byte| format!("{byte:02x}")).collect()
            })
            .collect();

        assert_eq!(lines, golden.lines().collect::<Vec<_>>());
    }

    #[test]
    fn commands_read_back_and_no_cut_or_extended_one_does() {
        for command in commands() {
            let mut bytes = encoded(&command);

            assert_eq!(CatalogueCommand::decode(&bytes), Ok(command.clone()));
            for cut in 0..bytes.len() {
                let error = CatalogueCommand::decode(&bytes[..cut]).unwrap_err();
                assert!(matches!(error, CatalogueDecodeError::Short(_)), "{error:?}");
            }
            bytes.put_u8(0);
            let trailing = Err(CatalogueDecodeError::Trailing { bytes: 1 });
            assert_eq!(CatalogueCommand::decode(&bytes), trailing);
        }
    }

    #[test]
    fn hostile_bytes_are_named_for_what_they_are() {
        let mut create = encoded(&commands()[0]);
        create[18..22].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut no_partitions = encoded(&CatalogueCommand::CreateTopic(sample("t", 1, 1)));
        no_partitions[23..27].copy_from_slice(&0_u32.to_be_bytes());

        let decode = CatalogueCommand::decode;
        assert!(matches!(
            decode(&create),
            Err(CatalogueDecodeError::Short(_))
        ));
        assert_eq!(
            decode(&no_partitions),
            Err(CatalogueDecodeError::NoPartitions)
        );
        assert_eq!(
            decode(&[1, 99]),
            Err(CatalogueDecodeError::Unknown { code: 99 })
        );
        assert_eq!(
            decode(&[1, 7, 2]),
            Err(CatalogueDecodeError::Scope { code: 2 })
        );
        assert_eq!(
            decode(&[2]),
            Err(CatalogueDecodeError::Version { version: 2 })
        );
        assert!(matches!(
            decode(&[1, 2, 0, 0, 0, 1, b'/']),
            Err(CatalogueDecodeError::Name(_))
        ));
        assert_eq!(
            decode(&[1, 2, 0, 0, 0, 1, 0xff]),
            Err(CatalogueDecodeError::Text)
        );
    }

    #[test]
    fn a_snapshot_of_several_parts_restores_the_whole_catalogue() {
        let mut catalogue = Catalogue::default();
        catalogue.apply(CatalogueCommand::TakeProducerIds);
        catalogue.apply(CatalogueCommand::AlterBroker(retention(BrokerScope::All)));
        for index in 0..20_000_u128 {
            let mut row = sample(&format!("topic-{index}"), 1, 1);
            row.id = TopicId::from_bytes((index + 1).to_be_bytes());
            catalogue.insert(row);
        }

        let parts = catalogue.snapshot();
        let mut restored = Catalogue::default();
        for part in &parts {
            restored.restore(part).unwrap();
        }

        assert!(parts.len() > 1);
        assert_eq!(restored.ids(), catalogue.ids());
        assert_eq!(restored.partition_count, catalogue.partition_count);
        assert_eq!(restored.producer_id_next, catalogue.producer_id_next);
        assert_eq!(restored.collisions, catalogue.collisions);
        assert_eq!(restored.topics.brokers(), catalogue.topics.brokers());
    }

    #[test]
    fn a_snapshot_of_the_version_before_has_no_settings_of_brokers() {
        let mut part = BytesMut::new();
        part.put_u8(SNAPSHOT_VERSION_TOPICS);
        part.put_i64(7);
        put_topic(&mut part, &sample("orders", 7, 3));
        let mut restored = Catalogue::default();

        restored.restore(&part).unwrap();
        part[0] = SNAPSHOT_VERSION + 1;
        let newer = Catalogue::default().restore(&part);

        assert_eq!((restored.ids().len(), restored.producer_id_next), (1, 7));
        let newest = SNAPSHOT_VERSION + 1;
        assert_eq!(
            newer,
            Err(CatalogueDecodeError::Version { version: newest })
        );
    }
}
