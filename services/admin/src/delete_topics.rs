//! DeleteTopics, by name (all versions) or by id (from 6 on).
//!
//! What is told as deleted is durably gone. Names are resolved in a current table (R1) and deletion
//! goes by id, so a topic created again meanwhile under the same name is left alone. A topic that
//! the request names twice is not deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_kafka::RequestContext;
use esker_kafka::messages::delete_topics_request::DeleteTopicState;
use esker_kafka::messages::delete_topics_response::DeletableTopicResult;
use esker_kafka::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, StrBytes, TopicName as WireName,
};
use esker_metadata_api::{DeleteTopicError, MetadataError, Topic, TopicTable};
use esker_types::{MonotonicTime, TopicId};
use futures::StreamExt as _;
use uuid::Uuid;

use crate::error::DeletionRefusal;
use crate::front::Front;
use crate::limits::TOPIC_CHANGES_PARALLEL;
use crate::reply;

/// First version that names topics one by one, by name or id.
const TOPIC_ID_FROM: i16 = 6;

/// How a client names one topic.
#[derive(Clone, Debug)]
struct Asked {
    name: Option<StrBytes>,
    id: Uuid,
}

/// One topic on its way out.
#[derive(Clone, Debug)]
struct Target {
    asked: Asked,
    found: Result<Arc<Topic>, DeletionRefusal>,
}

pub(crate) async fn answer(
    front: &Front,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let deadline = front.deadline(context, request.timeout_ms);
    let asked = asked(context.api_version, request);
    let table = front.catalogue.current_by(deadline).await;
    let targets = resolve(asked, &table);
    let one = |target: Target| async move {
        let deleted = match &target.found {
            Ok(topic) => delete(front, deadline, topic.id, &target.asked).await,
            Err(refusal) => Err(*refusal),
        };
        result(target, deleted)
    };
    let results = futures::stream::iter(targets)
        .map(one)
        .buffered(TOPIC_CHANGES_PARALLEL);
    DeleteTopicsResponse::default().with_responses(results.collect().await)
}

fn asked(version: i16, request: DeleteTopicsRequest) -> Vec<Asked> {
    if version >= TOPIC_ID_FROM {
        let one = |topic: DeleteTopicState| Asked {
            name: topic.name.map(|name| name.0),
            id: topic.topic_id,
        };
        return request.topics.into_iter().map(one).collect();
    }
    let one = |name: WireName| Asked {
        name: Some(name.0),
        id: Uuid::nil(),
    };
    request.topic_names.into_iter().map(one).collect()
}

fn resolve(asked: Vec<Asked>, table: &Result<Arc<TopicTable>, MetadataError>) -> Vec<Target> {
    let find = |asked: Asked| Target {
        found: look_up(&asked, table),
        asked,
    };
    let mut targets: Vec<Target> = asked.into_iter().map(find).collect();
    let mut named: BTreeMap<TopicId, usize> = BTreeMap::new();
    for topic in targets
        .iter()
        .filter_map(|target| target.found.as_ref().ok())
    {
        *named.entry(topic.id).or_default() += 1;
    }
    for target in &mut targets {
        let times = target
            .found
            .as_ref()
            .ok()
            .and_then(|topic| named.get(&topic.id));
        if times.is_some_and(|times| *times > 1) {
            target.found = Err(DeletionRefusal::Repeated);
        }
    }
    targets
}

fn look_up(
    asked: &Asked,
    table: &Result<Arc<TopicTable>, MetadataError>,
) -> Result<Arc<Topic>, DeletionRefusal> {
    if asked.name.is_some() && !asked.id.is_nil() {
        return Err(DeletionRefusal::TwiceNamed);
    }
    if asked.name.is_none() && asked.id.is_nil() {
        return Err(DeletionRefusal::Unnamed);
    }
    let table = table
        .as_ref()
        .map_err(|error| DeletionRefusal::NotStarted(*error))?;
    let found = match &asked.name {
        Some(name) => table.named(name),
        None => table.with_id(TopicId::from_bytes(asked.id.into_bytes())),
    };
    found.cloned().ok_or(asked.absent())
}

impl Asked {
    /// What is said when no such topic exists.
    fn absent(&self) -> DeletionRefusal {
        match self.name {
            Some(_) => DeletionRefusal::UnknownName,
            None => DeletionRefusal::UnknownId,
        }
    }
}

async fn delete(
    front: &Front,
    deadline: MonotonicTime,
    topic: TopicId,
    asked: &Asked,
) -> Result<(), DeletionRefusal> {
    match front.catalogue.delete_by(deadline, topic).await {
        Ok(_) => Ok(()),
        Err(DeleteTopicError::Unknown) => Err(asked.absent()),
        Err(error) => Err(DeletionRefusal::Refused(error)),
    }
}

fn result(target: Target, deleted: Result<(), DeletionRefusal>) -> DeletableTopicResult {
    // The topic's name is told also to those who asked by id, when there is one.
    let found = target.found.ok();
    let named = found
        .as_ref()
        .map(|topic| StrBytes::from_string(topic.name.to_string()));
    let id = found.map_or(target.asked.id, |topic| Uuid::from_bytes(topic.id.bytes()));
    let result = DeletableTopicResult::default()
        .with_name(target.asked.name.or(named).map(WireName))
        .with_topic_id(id);
    match deleted {
        Ok(()) => result.with_error_message(None),
        Err(refusal) => result
            .with_error_code(reply::deletion(refusal).code())
            .with_error_message(Some(reply::words(&refusal))),
    }
}
