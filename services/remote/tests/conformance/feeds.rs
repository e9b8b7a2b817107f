//! The feed: the same updates in the same order, and the same end.

use std::sync::Arc;

use esker_metadata_api::{FeedUpdate, PartitionAdvance, TopicTable};
use tokio::sync::mpsc;

use crate::stage::samples::{at, extent, offset, topic};
use crate::stage::scripted::{CLUSTER, Scripted};
use crate::subject::{Subject, WAYS, Way};

fn table(topics: &[(&str, u8)], version: u64) -> Arc<TopicTable> {
    let mut table = TopicTable::default();
    for (text, id) in topics {
        table.insert(topic(text, *id));
    }
    table.version = version;
    Arc::new(table)
}

fn advance(extents: u64) -> Arc<PartitionAdvance> {
    Arc::new(PartitionAdvance {
        topic_partition: at(2),
        log_start: offset(1),
        high_watermark: offset(1000),
        extents: (0..extents).map(|base| extent(base * 2)).collect(),
        previous_high_watermark: offset(3),
    })
}

/// Comparable: tables are not.
fn shown(update: Option<&FeedUpdate>) -> String {
    match update {
        Some(FeedUpdate::Topics(table)) => {
            let topics: Vec<_> = table.iter().collect();
            format!("topics {} {topics:?}", table.version)
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn updates_arrive_as_they_were_told_until_the_leader_is_gone() {
    let updates = [
        FeedUpdate::Topics(table(&[("a", 1), ("b", 2)], 5)),
        FeedUpdate::Advanced(advance(0)),
        // More than one part holds.
        FeedUpdate::Advanced(advance(9000)),
        FeedUpdate::Topics(table(&[("b", 2), ("a", 3)], 6)),
        FeedUpdate::Resync,
        FeedUpdate::Topics(table(&[("b", 2), ("a", 3)], 7)),
        FeedUpdate::Topics(table(&[], 8)),
        FeedUpdate::Advanced(advance(1)),
    ];
    for way in WAYS {
        let service = Arc::new(Scripted::default());
        let (sender, receiver) = mpsc::channel(updates.len());
        // A remote client follows the topics by itself, first or second.
        let (topics, own) = mpsc::channel(1);
        for update in &updates {
            sender.send(update.clone()).await.unwrap();
        }
        if way == Way::Remote {
            service.script().follow.push_back(Ok(own));
        }
        let subject = Subject::new(way, &service, CLUSTER).await;
        let first = table(&[], 1);
        if way == Way::Remote {
            topics.send(FeedUpdate::Topics(first)).await.unwrap();
            subject.topics(|known| known.version == 1).await;
        }
        service.script().follow.push_back(Ok(receiver));

        let mut feed = subject.log_index.follow().await.unwrap();
        drop(sender);

        for update in &updates {
            let told = feed.next().await;
            assert_eq!(shown(told.as_ref()), shown(Some(update)), "{way:?}");
        }
        assert!(feed.next().await.is_none(), "{way:?}");
        assert!(feed.next().await.is_none(), "{way:?}: an end stays one");
        drop(feed);
        subject.end().await;
    }
}

#[tokio::test]
async fn who_follows_no_leader_is_told_why() {
    for way in WAYS {
        for error in crate::stage::samples::METADATA_ERRORS {
            let service = Arc::new(Scripted::default());
            let subject = Subject::new(way, &service, CLUSTER).await;
            // The client's own feed asks too; both get the same answer.
            let errors = (0..20).map(|_| Err(error));
            service.script().follow.extend(errors);

            let refused = subject.log_index.follow().await;

            assert_eq!(refused.err(), Some(error), "{way:?}");
            subject.end().await;
        }
    }
}
