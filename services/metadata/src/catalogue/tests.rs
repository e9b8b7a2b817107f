//! Claims about the catalogue: what a command does, and in which order commands win.

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

/// A change of what one scope keeps.
pub(crate) fn retention(scope: BrokerScope) -> AlterBroker {
    AlterBroker {
        scope,
        expected: BTreeMap::new(),
        configs: BTreeMap::from([("log.retention.ms".to_owned(), "5".to_owned())]),
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
    let shared = |value: &str| BTreeMap::from([("log.retention.ms".to_owned(), value.to_owned())]);
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
