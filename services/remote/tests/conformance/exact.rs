//! Every question arrives as it was put; every answer, every kind of error, comes back as given.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use esker_metadata_api::{
    AlterBrokerError, AlterTopicError, CreateTopicError, CreatedTopic, DeleteBefore,
    DeleteRecordsError, DeleteTopicError, IndexSlice, Leadership, ListedOffset, LogIndexError,
    OffsetQuery, ReserveError, ReserveReply, SessionEnd, TopicRef, TopicTable,
};
use esker_types::{ChainIndex, ProducerId, SequencerEpoch, Timestamp, TopicId};

use crate::stage::samples::{
    METADATA_ERRORS, SESSION, alterations, at, broker_changes, configs, create_topic, extent,
    group_replies, group_requests, name, offset, producers, registered, reserve_request, topic,
    verdicts, written,
};
use crate::stage::scripted::{CLUSTER, Script, Scripted};
use crate::subject::{Subject, WAYS};

/// Both ways, the answers given come back in order, and each question arrived as `question`.
pub(crate) async fn check<T, F>(
    question: &dyn Debug,
    answers: Vec<T>,
    queue: fn(&mut Script) -> &mut std::collections::VecDeque<T>,
    ask: impl Fn(Arc<Subject>) -> F,
) where
    T: Clone + Debug + PartialEq,
    F: Future<Output = T>,
{
    for way in WAYS {
        let service = Arc::new(Scripted::default());
        let subject = Arc::new(Subject::new(way, &service, CLUSTER).await);
        for answer in &answers {
            queue(&mut service.script()).push_back(answer.clone());
            let told = ask(subject.clone()).await;
            assert_eq!(told, *answer, "{way:?}");
        }
        let asked = service.asked();
        assert_eq!(asked.len(), answers.len(), "{way:?}: each is asked once");
        let question = format!("{question:?}");
        assert!(
            asked.iter().all(|one| *one == question),
            "{way:?}: {asked:?}"
        );
        Arc::into_inner(subject).unwrap().end().await;
    }
}

/// `good` answers, `own` errors, and those of every call.
pub(crate) fn answers<T, E>(
    good: impl IntoIterator<Item = T>,
    own: impl IntoIterator<Item = E>,
    failed: impl Fn(esker_metadata_api::MetadataError) -> E,
) -> Vec<Result<T, E>> {
    let own = own.into_iter().chain(METADATA_ERRORS.map(failed));
    good.into_iter().map(Ok).chain(own.map(Err)).collect()
}

#[tokio::test]
async fn sessions_are_registered_heard_and_ended() {
    for replaces in [None, Some(SESSION)] {
        let all = answers([registered()], [], |error| error);
        let question = ("register", replaces);
        check(
            &question,
            all,
            |script| &mut script.register,
            move |subject| async move { subject.sequencer.register(replaces).await },
        )
        .await;
    }
    let all = answers([()], [], |error| error);
    check(
        &written(),
        all,
        |script| &mut script.written,
        |subject| async move { subject.sequencer.written(written()).await },
    )
    .await;
    let end = |end| SessionEnd {
        end: ChainIndex::new(end),
    };
    let all = answers([end(0), end(u64::MAX)], [], |error| error);
    check(
        &("end", SESSION),
        all,
        |script| &mut script.end_session,
        |subject| async move { subject.sequencer.end_session(SESSION).await },
    )
    .await;
}

#[tokio::test]
async fn reservations_have_a_verdict_for_each_batch() {
    let pairs = verdicts().into_iter().map(|verdict| ReserveReply {
        verdicts: vec![verdict, verdict],
    });
    let own = [
        ReserveError::SessionClosed,
        ReserveError::OutOfTurn,
        ReserveError::TooManyUndecided,
    ];
    let all = answers(pairs, own, ReserveError::Metadata);
    check(
        &reserve_request(),
        all,
        |script| &mut script.reserve,
        |subject| async move { subject.sequencer.reserve(reserve_request()).await },
    )
    .await;
}

#[tokio::test]
async fn the_index_is_looked_up() {
    let slice = |extents| IndexSlice {
        log_start: offset(1),
        high_watermark: offset(9),
        extents,
    };
    let good = [slice(Vec::new()), slice(vec![extent(1), extent(5)])];
    let own = [LogIndexError::UnknownPartition, LogIndexError::NotDecided];
    let all = answers(good, own, LogIndexError::Metadata);
    let question = ("look up", at(4), offset(3), 17_usize);
    check(
        &question,
        all,
        |script| &mut script.look_up,
        |subject| async move { subject.log_index.look_up(at(4), offset(3), 17).await },
    )
    .await;
}

#[tokio::test]
async fn offsets_are_listed_by_every_question() {
    let queries = [
        OffsetQuery::Latest,
        OffsetQuery::Earliest,
        OffsetQuery::MaxTimestamp,
        OffsetQuery::AtTimestamp(Timestamp::from_millis(-5)),
    ];
    for query in queries {
        let good = [
            ListedOffset::Known(offset(0)),
            ListedOffset::Inside(extent(3)),
            ListedOffset::Nothing,
        ];
        let own = [LogIndexError::UnknownPartition, LogIndexError::NotDecided];
        let all = answers(good, own, LogIndexError::Metadata);
        let question = ("list", at(0), query, offset(2));
        check(&question, all, |script| &mut script.list_offset, move |subject| async move {
            subject.log_index.list_offset(at(0), query, offset(2)).await
        })
        .await;
    }
}

#[tokio::test]
async fn topics_are_created() {
    let created = CreatedTopic {
        topic: Arc::new(topic("t", 1)),
    };
    let own = [
        CreateTopicError::Exists,
        CreateTopicError::Collides { with: name("a.b") },
        CreateTopicError::TooManyPartitions,
        CreateTopicError::TooManyTopics,
    ];
    let all = answers([created], own, CreateTopicError::Metadata);
    check(
        &create_topic(),
        all,
        |script| &mut script.create_topic,
        |subject| async move { subject.admin.create_topic(create_topic()).await },
    )
    .await;
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_id() {
    let by_id = TopicRef::Id(TopicId::from_bytes([2; 16]));
    for reference in [TopicRef::Name(name("t")), by_id] {
        let own = [DeleteTopicError::Unknown];
        let all = answers([Arc::new(topic("t", 1))], own, DeleteTopicError::Metadata);
        let asked = reference.clone();
        check(
            &reference,
            all,
            |script| &mut script.delete_topic,
            move |subject| {
                let asked = asked.clone();
                async move { subject.admin.delete_topic(asked).await }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn topics_are_altered() {
    for change in alterations() {
        let own = [
            AlterTopicError::Unknown,
            AlterTopicError::NotMore { partition_count: 4 },
            AlterTopicError::TooManyPartitions,
            AlterTopicError::Changed,
        ];
        let all = answers([Arc::new(topic("t", 1))], own, AlterTopicError::Metadata);
        let asked = change.clone();
        check(
            &change,
            all,
            |script| &mut script.alter_topic,
            move |subject| {
                let asked = asked.clone();
                async move { subject.topic_admin.alter_topic(asked).await }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn brokers_are_altered() {
    for change in broker_changes() {
        let own = [AlterBrokerError::Changed, AlterBrokerError::TooManyBrokers];
        let all = answers([()], own, AlterBrokerError::Metadata);
        let asked = change.clone();
        check(
            &change,
            all,
            |script| &mut script.alter_broker,
            move |subject| {
                let asked = asked.clone();
                async move { subject.topic_admin.alter_broker(asked).await }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn records_are_deleted() {
    for before in [DeleteBefore::HighWatermark, DeleteBefore::Offset(offset(6))] {
        let own = [
            DeleteRecordsError::UnknownPartition,
            DeleteRecordsError::OutOfRange {
                high_watermark: offset(5),
            },
            DeleteRecordsError::NotDecided,
        ];
        let all = answers([offset(0), offset(6)], own, DeleteRecordsError::Metadata);
        let question = ("delete", at(1), before);
        check(
            &question,
            all,
            |script| &mut script.delete_records,
            move |subject| async move { subject.topic_admin.delete_records(at(1), before).await },
        )
        .await;
    }
}

#[tokio::test]
async fn accounts_are_given() {
    let ids = [0, i64::MAX].map(|id| ProducerId::from_wire(id).unwrap());
    let all = answers(ids, [], |error| error);
    check(
        &"producer id",
        all,
        |script| &mut script.producer_id,
        |subject| async move { subject.admin.producer_id().await },
    )
    .await;
    let logs = [[].into(), [(at(0), 0), (at(1), u64::MAX)].into()];
    let all = answers(logs, [], |error| error);
    check(
        &"log bytes",
        all,
        |script| &mut script.log_bytes,
        |subject| async move { subject.topic_admin.log_bytes().await },
    )
    .await;
    let leadership = Leadership {
        epoch: SequencerEpoch::new(3),
        roll: 2,
        commands: u64::MAX,
    };
    let all = answers([leadership], [], |error| error);
    check(
        &"leadership",
        all,
        |script| &mut script.leadership,
        |subject| async move { subject.topic_admin.leadership().await },
    )
    .await;
    let own = [LogIndexError::UnknownPartition, LogIndexError::NotDecided];
    let all = answers([producers(), Vec::new()], own, LogIndexError::Metadata);
    check(
        &("producers", at(3)),
        all,
        |script| &mut script.producers,
        |subject| async move { subject.topic_admin.producers(at(3)).await },
    )
    .await;
}

#[tokio::test]
async fn every_question_reaches_the_group_coordinator() {
    for request in group_requests() {
        let some = group_replies().swap_remove(2);
        let all = answers([some], [], |error| error);
        let asked = request.clone();
        check(
            &request,
            all,
            |script| &mut script.group,
            move |subject| {
                let asked = asked.clone();
                async move { subject.admin.group(asked).await }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn every_answer_of_the_group_coordinator_comes_back() {
    let all = answers(group_replies(), [], |error| error);
    let request = esker_metadata_api::GroupRequest::List;
    check(
        &request,
        all,
        |script| &mut script.group,
        |subject| async move {
            let request = esker_metadata_api::GroupRequest::List;
            subject.admin.group(request).await
        },
    )
    .await;
}

#[tokio::test]
async fn the_table_of_topics_comes_whole_with_the_defaults_of_brokers() {
    let mut brokers = esker_metadata_api::BrokerConfigs::default();
    let all = esker_metadata_api::BrokerScope::All;
    brokers.set(all, configs(&[("log.retention.ms", "9")]));
    let mut table = TopicTable::default();
    for (at, text) in ["a", "b.c", "d"].into_iter().enumerate() {
        table.insert(topic(text, u8::try_from(at + 1).unwrap()));
    }
    table.set_brokers(brokers);
    table.version = 77;
    let table = Arc::new(table.on_node(crate::stage::running::NODE));
    for way in WAYS {
        let service = Arc::new(Scripted::default());
        let subject = Subject::new(way, &service, CLUSTER).await;
        let answers = [Ok(table.clone())]
            .into_iter()
            .chain(METADATA_ERRORS.map(Err));
        service.script().topics_current.extend(answers);

        let told = subject.admin.topics_current().await.unwrap();
        let mut errors = Vec::new();
        for _ in METADATA_ERRORS {
            errors.push(subject.admin.topics_current().await.unwrap_err());
        }

        assert_eq!(told.version, 77, "{way:?}");
        assert!(told.iter().eq(table.iter()), "{way:?}: {told:?}");
        assert_eq!(told.brokers(), table.brokers(), "{way:?}");
        assert_eq!(errors, METADATA_ERRORS, "{way:?}");
        subject.end().await;
    }
}

#[tokio::test]
async fn the_cluster_is_known_without_asking() {
    for way in WAYS {
        let service = Arc::new(Scripted::default());
        let subject = Subject::new(way, &service, CLUSTER).await;

        assert_eq!(subject.admin.cluster(), CLUSTER, "{way:?}");
        assert_eq!(service.asked(), Vec::<String>::new());
        subject.end().await;
    }
}
