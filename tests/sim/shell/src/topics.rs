//! Topics: made for the run, and made and deleted beside it by a client that checks that what it
//! was told is what everybody is told from then on (R1).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use esker_metadata_api::{
    Admin as _, CreateTopic, CreateTopicError, CreatedTopic, MetadataError, TopicName, TopicRef,
};
use esker_types::TopicId;
use futures::FutureExt as _;

use crate::client::{Client, Target};
use crate::net::CallError;

type Heard = Result<Result<CreatedTopic, CreateTopicError>, CallError>;

fn request(name: &str, partitions: u32) -> Option<CreateTopic> {
    Some(CreateTopic {
        name: TopicName::new(name).ok()?,
        partition_count: NonZeroU32::new(partitions)?,
        replication_factor: 1,
        configs: BTreeMap::new(),
        validate_only: false,
    })
}

fn targets(id: TopicId, name: &str, partitions: u32) -> Vec<Target> {
    let partitions = 0..partitions;
    partitions
        .filter_map(|partition| Target::new(id, name, partition))
        .collect()
}

impl Client {
    async fn create(&self, request: CreateTopic) -> Heard {
        let to = self.pick(|_| true);
        self.ask("create topic", to, move |remote| {
            let request = request.clone();
            async move { remote.create_topic(request).await }.boxed()
        })
        .await
    }

    /// The topic's id as the leader knows it now; `Err` when nobody said.
    async fn current(&self, name: &str) -> Result<Option<TopicId>, ()> {
        let to = self.pick(|_| true);
        let asked = self.ask("topics", to, |remote| {
            async move { remote.topics_current().await }.boxed()
        });
        match asked.await {
            Ok(Ok(table)) => Ok(table.named(name).map(|topic| topic.id)),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// Makes a topic of the run, however long that takes.
    pub(crate) async fn make_topic(&self, number: usize, partitions: u32) -> Vec<Target> {
        let name = format!("topic{number}");
        let Some(request) = request(&name, partitions) else {
            return Vec::new();
        };
        loop {
            match self.create(request.clone()).await {
                Ok(Ok(created)) => return targets(created.topic.id, &name, partitions),
                Ok(Err(CreateTopicError::Exists)) => {
                    if let Ok(Some(id)) = self.current(&name).await {
                        return targets(id, &name, partitions);
                    }
                }
                _ => {}
            }
            self.pause(Duration::from_millis(300)).await;
        }
    }

    async fn delete(&self, id: TopicId) -> bool {
        let to = self.pick(|_| true);
        let asked = self.ask("delete topic", to, move |remote| {
            async move { remote.delete_topic(TopicRef::Id(id)).await }.boxed()
        });
        matches!(asked.await, Ok(Ok(_)))
    }

    /// Makes topics and deletes them, each under a name of its own.
    pub(crate) async fn make_and_delete_topics(self) {
        let mut number = 0_u32;
        while !self.is_over() {
            self.pause(Duration::from_secs(3)).await;
            number += 1;
            let name = format!("passing{number}");
            let Some(request) = request(&name, 1) else {
                return;
            };
            let id = match self.create(request).await {
                Ok(Ok(created)) => created.topic.id,
                Ok(Err(CreateTopicError::Metadata(
                    MetadataError::Recovering
                    | MetadataError::Unavailable
                    | MetadataError::Overloaded
                    | MetadataError::Unknown
                    | MetadataError::Deposed,
                )))
                | Err(_) => continue,
                Ok(Err(error)) => {
                    self.world
                        .violation(format!("{name} was never made before: {error:?}"));
                    continue;
                }
            };
            if let Ok(found) = self.current(&name).await
                && found != Some(id)
            {
                self.world
                    .violation(format!("{name} was made as {id:?} and is {found:?}"));
            }
            if self.delete(id).await
                && let Ok(Some(found)) = self.current(&name).await
            {
                self.world
                    .violation(format!("{name} was deleted and is {found:?}"));
            }
        }
    }
}
