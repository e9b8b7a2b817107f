//! Topics and partitions that a path names, found before a handler begins: `{name}` and
//! `{partition}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use esker_metadata_api::Topic;
use esker_types::{PartitionIndex, TopicPartition};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::body::bad;
use crate::front::Front;
use crate::problem::Problem;
use crate::record::no_partition;
use crate::topics::find;

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Partition {
    partition: String,
}

/// The topic of a path.
#[derive(Debug)]
pub(crate) struct PathTopic(pub(crate) Arc<Topic>);

/// The partition of a path.
#[derive(Debug)]
pub(crate) struct PathPartition {
    pub(crate) topic: Arc<Topic>,
    pub(crate) partition: PartitionIndex,
}

impl PathPartition {
    pub(crate) fn at(&self) -> TopicPartition {
        self.topic.at(self.partition)
    }
}

/// Some of the names in a path; the others are for others.
pub(crate) async fn named<T: DeserializeOwned + Send>(
    parts: &mut Parts,
    front: &Arc<Front>,
) -> Result<T, Problem> {
    let named = Path::<T>::from_request_parts(parts, front).await;
    let wrong = |rejection: PathRejection| bad(format!("path: {}", rejection.body_text()));
    named.map(|Path(named)| named).map_err(wrong)
}

/// The partition of a topic that `text` names.
pub(crate) fn partition_of(topic: &Topic, text: &str) -> Result<PartitionIndex, Problem> {
    let index = text.parse().ok().and_then(PartitionIndex::from_wire);
    let index = index.filter(|index| topic.has(*index));
    index.ok_or_else(|| no_partition(format!("{text:?}")))
}

impl FromRequestParts<Arc<Front>> for PathTopic {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, Problem> {
        let Name { name } = named(parts, front).await?;
        find(&front.parts, &name).await.map(Self)
    }
}

impl FromRequestParts<Arc<Front>> for PathPartition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, Problem> {
        let PathTopic(topic) = PathTopic::from_request_parts(parts, front).await?;
        let Partition { partition } = named(parts, front).await?;
        let partition = partition_of(&topic, &partition)?;
        Ok(Self { topic, partition })
    }
}
