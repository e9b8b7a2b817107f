//! The real service, asked both ways: sessions, the index, topics.

use std::num::NonZeroU32;

use esker_metadata_api::{
    AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError, BatchVerdict, BrokerScope, Configs,
    CreateTopicError, DeleteBefore, DeleteRecordsError, DeleteTopicError, FeedUpdate, ListedOffset,
    LogIndexError, MetadataError, OffsetQuery, ProduceRefusal, ReserveError, TopicChange, TopicRef,
};
use esker_types::{ChainIndex, Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};

use crate::stage::samples::{configs, name, offset};
use crate::subject::{Subject, WAYS, Way};
use crate::world::{CLUSTER, Pod, World, batch, create, made, span};

async fn begin(way: Way) -> (World, Subject) {
    let world = World::new().await;
    let subject = Subject::new(way, &world.service, CLUSTER).await;
    (world, subject)
}

fn nowhere() -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_bytes([0xee; 16]),
        partition: PartitionIndex::default(),
    }
}

#[tokio::test]
async fn what_is_written_is_found_listed_pushed_and_accounted_for() {
    for way in WAYS {
        let (world, subject) = begin(way).await;
        let at = made(&*subject.admin, "t")
            .await
            .at(PartitionIndex::default());
        let mut feed = subject.log_index.follow().await.unwrap();
        let sequencer = &*subject.sequencer;
        let mut pod = Pod::register(sequencer).await;
        let records = batch(&["a", "b"]);

        let request = pod.request(at, &records);
        let base = pod.append(sequencer, &world, request, &records).await;
        let slice = subject
            .log_index
            .look_up(at, Offset::ZERO, 10)
            .await
            .unwrap();
        let list = |query| subject.log_index.list_offset(at, query, Offset::ZERO);
        let latest = list(OffsetQuery::Latest).await;
        let earliest = list(OffsetQuery::Earliest).await;
        let timed = list(OffsetQuery::AtTimestamp(Timestamp::from_millis(1))).await;
        let late = list(OffsetQuery::AtTimestamp(Timestamp::from_millis(2))).await;
        let bytes = subject.topic_admin.log_bytes().await.unwrap();
        let leadership = subject.topic_admin.leadership().await.unwrap();

        assert_eq!(base, Offset::ZERO, "{way:?}");
        assert_eq!(slice.high_watermark, offset(2), "{way:?}");
        assert_eq!(slice.extents.len(), 1, "{way:?}");
        assert_eq!(latest, Ok(ListedOffset::Known(offset(2))), "{way:?}");
        assert_eq!(earliest, Ok(ListedOffset::Known(offset(0))), "{way:?}");
        assert_eq!(timed, Ok(ListedOffset::Inside(slice.extents[0])), "{way:?}");
        assert_eq!(late, Ok(ListedOffset::Nothing), "{way:?}");
        assert!(bytes[&at] > 0, "{way:?}");
        assert_eq!(leadership.epoch, pod.registered.epoch, "{way:?}");
        let first = feed.next().await;
        assert!(matches!(first, Some(FeedUpdate::Topics(_))), "{way:?}");
        let pushed = feed.next().await;
        assert!(
            matches!(&pushed, Some(FeedUpdate::Advanced(told)) if told.extents == slice.extents),
            "{way:?}: {pushed:?}"
        );
        drop(feed);
        subject.end().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn reservations_are_refused_for_the_reasons_that_there_are() {
    for way in WAYS {
        let (world, subject) = begin(way).await;
        let at = made(&*subject.admin, "t")
            .await
            .at(PartitionIndex::default());
        let sequencer = &*subject.sequencer;
        let mut pod = Pod::register(sequencer).await;
        let records = batch(&["a"]);
        let request = pod.request(at, &records);
        pod.append(sequencer, &world, request, &records).await;

        let mut request = pod.request(at, &records);
        let one = request.batches[0].clone();
        let mut variants = [one.clone(), one.clone(), one];
        variants[0].topic_partition = nowhere();
        variants[1].expected_end = Some(offset(7));
        variants[2].producer = Some(span(5));
        request.batches = variants.to_vec();
        let mixed = sequencer.reserve(request).await.unwrap();
        let mut skipping = pod.request(at, &records);
        skipping.index = ChainIndex::new(9);
        let skipped = sequencer.reserve(skipping).await;
        let end = sequencer.end_session(pod.registered.session).await;
        let closed = sequencer.reserve(pod.request(at, &records)).await;

        let refusals = [
            ProduceRefusal::UnknownPartition,
            ProduceRefusal::UnexpectedEnd { end: offset(1) },
        ];
        let expected = refusals.map(BatchVerdict::Refused);
        assert_eq!(mixed.verdicts[..2], expected, "{way:?}");
        assert_eq!(mixed.verdicts.len(), 3, "{way:?}");
        assert_eq!(skipped, Err(ReserveError::OutOfTurn), "{way:?}");
        assert!(end.is_ok(), "{way:?}: {end:?}");
        assert_eq!(closed, Err(ReserveError::SessionClosed), "{way:?}");
        subject.end().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn topics_come_change_and_go() {
    for way in WAYS {
        let (world, subject) = begin(way).await;
        let admin = &*subject.admin;

        let topic = made(admin, "a.b").await;
        let exists = admin.create_topic(create("a.b")).await;
        let collides = admin.create_topic(create("a_b")).await;
        let mut large = create("large");
        large.partition_count = NonZeroU32::MAX;
        let large = admin.create_topic(large).await;
        let mut tried = create("tried");
        tried.validate_only = true;
        let tried = admin.create_topic(tried).await;
        let current = admin.topics_current().await.unwrap();
        let heard = subject.topics(|table| table.named("a.b").is_some()).await;
        let alter = |change| AlterTopic {
            topic: topic.id,
            change,
            validate_only: false,
        };
        let count = |count| alter(TopicChange::PartitionCount(NonZeroU32::new(count).unwrap()));
        let more = subject.topic_admin.alter_topic(count(3)).await.unwrap();
        let less = subject.topic_admin.alter_topic(count(3)).await;
        let settings = || TopicChange::Configs {
            expected: Configs::new(),
            configs: configs(&[("retention.ms", "7")]),
        };
        let set = subject
            .topic_admin
            .alter_topic(alter(settings()))
            .await
            .unwrap();
        let changed = subject.topic_admin.alter_topic(alter(settings())).await;
        let deleted = admin.delete_topic(TopicRef::Id(topic.id)).await.unwrap();
        let unknown = admin.delete_topic(TopicRef::Name(name("a.b"))).await;
        let gone = subject.topic_admin.alter_topic(count(4)).await;
        let left = subject.topics(|table| table.count() == 0).await;

        assert_eq!(exists.err(), Some(CreateTopicError::Exists), "{way:?}");
        let with = name("a.b");
        assert_eq!(
            collides.err(),
            Some(CreateTopicError::Collides { with }),
            "{way:?}"
        );
        assert_eq!(
            large.err(),
            Some(CreateTopicError::TooManyPartitions),
            "{way:?}"
        );
        assert_eq!(tried.unwrap().topic.name, name("tried"), "{way:?}");
        assert_eq!(current.named("a.b"), Some(&topic), "{way:?}");
        assert_eq!(current.count(), 1, "{way:?}");
        assert_eq!(heard.with_id(topic.id), Some(&topic), "{way:?}");
        assert_eq!(more.partition_count.get(), 3, "{way:?}");
        let not_more = AlterTopicError::NotMore { partition_count: 3 };
        assert_eq!(less.err(), Some(not_more), "{way:?}");
        assert_eq!(set.configs, configs(&[("retention.ms", "7")]), "{way:?}");
        assert_eq!(changed.err(), Some(AlterTopicError::Changed), "{way:?}");
        assert_eq!(deleted, set, "{way:?}");
        assert_eq!(unknown.err(), Some(DeleteTopicError::Unknown), "{way:?}");
        assert_eq!(gone.err(), Some(AlterTopicError::Unknown), "{way:?}");
        assert_eq!(left.count(), 0, "{way:?}");
        subject.end().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn settings_of_brokers_are_the_defaults_of_topics_on_this_node() {
    for way in WAYS {
        let (world, subject) = begin(way).await;
        made(&*subject.admin, "t").await;
        let change = |scope, value: &str| AlterBroker {
            scope,
            expected: Configs::new(),
            configs: configs(&[("log.retention.ms", value)]),
        };

        let node = BrokerScope::Node(crate::stage::running::NODE);
        let admin = &*subject.topic_admin;
        let all = admin.alter_broker(change(BrokerScope::All, "5")).await;
        let own = admin.alter_broker(change(node, "6")).await;
        let other = admin.alter_broker(change(BrokerScope::Node(99), "7")).await;
        let late = admin.alter_broker(change(node, "8")).await;
        let set = |table: &esker_metadata_api::TopicTable| table.brokers().iter().count() == 3;
        let heard = subject.topics(set).await;

        assert_eq!((all, own, other), (Ok(()), Ok(()), Ok(())), "{way:?}");
        assert_eq!(late, Err(AlterBrokerError::Changed), "{way:?}");
        let defaults = configs(&[("retention.ms", "6")]);
        assert_eq!(*heard.named("t").unwrap().defaults, defaults, "{way:?}");
        subject.end().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn records_are_deleted_and_what_does_not_exist_is_said_to() {
    for way in WAYS {
        let (world, subject) = begin(way).await;
        let at = made(&*subject.admin, "t")
            .await
            .at(PartitionIndex::default());
        let sequencer = &*subject.sequencer;
        let mut pod = Pod::register(sequencer).await;
        let records = batch(&["a", "b", "c"]);
        let request = pod.request(at, &records);
        pod.append(sequencer, &world, request, &records).await;
        let admin = &*subject.topic_admin;

        let past = admin
            .delete_records(at, DeleteBefore::Offset(offset(4)))
            .await;
        let some = admin
            .delete_records(at, DeleteBefore::Offset(offset(1)))
            .await;
        let all = admin.delete_records(at, DeleteBefore::HighWatermark).await;
        let lost = admin
            .delete_records(nowhere(), DeleteBefore::HighWatermark)
            .await;
        let looked_up = subject.log_index.look_up(nowhere(), Offset::ZERO, 1).await;
        let latest = OffsetQuery::Latest;
        let listed = subject
            .log_index
            .list_offset(nowhere(), latest, Offset::ZERO)
            .await;
        let producers = admin.producers(nowhere()).await;
        let none = admin.producers(at).await;

        let high_watermark = offset(3);
        let out_of_range = DeleteRecordsError::OutOfRange { high_watermark };
        assert_eq!(past, Err(out_of_range), "{way:?}");
        assert_eq!((some, all), (Ok(offset(1)), Ok(offset(3))), "{way:?}");
        assert_eq!(lost, Err(DeleteRecordsError::UnknownPartition), "{way:?}");
        assert_eq!(
            looked_up.err(),
            Some(LogIndexError::UnknownPartition),
            "{way:?}"
        );
        assert_eq!(listed, Err(LogIndexError::UnknownPartition), "{way:?}");
        assert_eq!(producers, Err(LogIndexError::UnknownPartition), "{way:?}");
        assert_eq!(none, Ok(Vec::new()), "{way:?}");
        subject.end().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_leader_that_stopped_ends_its_feeds_and_is_no_leader() {
    for way in WAYS {
        let (world, subject) = begin(way).await;
        let mut feed = subject.log_index.follow().await.unwrap();
        let first = feed.next().await;
        let ids = [
            subject.admin.producer_id().await.unwrap(),
            subject.admin.producer_id().await.unwrap(),
        ];

        world.stop().await;

        assert!(matches!(first, Some(FeedUpdate::Topics(_))), "{way:?}");
        assert_ne!(ids[0], ids[1], "{way:?}");
        assert!(feed.next().await.is_none(), "{way:?}");
        let asked = subject.admin.producer_id().await;
        assert_eq!(asked, Err(MetadataError::Unavailable), "{way:?}");
        let followed = subject.log_index.follow().await;
        assert_eq!(followed.err(), Some(MetadataError::Unavailable), "{way:?}");
        drop(feed);
        subject.end().await;
    }
}
