//! The table of topics as changes: what a follower has not been told yet, in parts.
//!
//! A table is told without the defaults of topics; each process works them out for its own node.
//! Cost: a walk over both tables for each change, bytes for what changed only.

use std::sync::Arc;

use esker_metadata_api::limits::TOPICS_MAX;
use esker_metadata_api::{BrokerConfigs, Configs, Topic, TopicTable};
use prost::Message as _;

use super::Malformed;
use super::ids::{bytes16, topic_id};
use super::topics::{topic, topic_of};
use crate::limits::PART_BYTES;
use crate::proto::{self, TopicsDelta};

/// The parts that make `next` of `told`, at least one.
pub(crate) fn delta_parts(told: &TopicTable, next: &TopicTable) -> Vec<TopicsDelta> {
    let mut parts = Parts::default();
    for gone in told.iter().filter(|old| next.with_id(old.id).is_none()) {
        parts.take(16, |part| part.removed.push(bytes16(gone.id.bytes())));
    }
    for new in next.iter() {
        if told.with_id(new.id).is_some_and(|old| is_same(old, new)) {
            continue;
        }
        let new = topic(new);
        parts.take(new.encoded_len(), |part| part.changed.push(new));
    }
    if told.brokers() != next.brokers() {
        let brokers = proto::BrokerConfigs::from(&**next.brokers());
        parts.take(brokers.encoded_len(), |part| part.brokers = Some(brokers));
    }
    parts.finish(next.version)
}

fn is_same(old: &Arc<Topic>, new: &Arc<Topic>) -> bool {
    Arc::ptr_eq(old, new)
        || (old.name == new.name
            && old.partition_count == new.partition_count
            && old.replication_factor == new.replication_factor
            && old.configs == new.configs)
}

#[derive(Default)]
struct Parts {
    full: Vec<TopicsDelta>,
    open: TopicsDelta,
    open_bytes: usize,
}

impl Parts {
    fn take(&mut self, bytes: usize, add: impl FnOnce(&mut TopicsDelta)) {
        if self.open_bytes > 0 && self.open_bytes + bytes > PART_BYTES {
            self.full.push(std::mem::take(&mut self.open));
            self.open_bytes = 0;
        }
        self.open_bytes += bytes + 4;
        add(&mut self.open);
    }

    fn finish(mut self, version: u64) -> Vec<TopicsDelta> {
        self.full.push(self.open);
        let last = self.full.len() - 1;
        for (at, part) in self.full.iter_mut().enumerate() {
            part.version = version;
            part.more = at < last;
        }
        self.full
    }
}

/// A table that is being told.
#[derive(Debug, Default)]
pub(crate) struct TableParts {
    /// Without defaults.
    table: TopicTable,
}

impl TableParts {
    /// Takes a part; the table as it counts on `node` when it was the last one.
    pub(crate) fn take(
        &mut self,
        part: TopicsDelta,
        node: i32,
    ) -> Result<Option<TopicTable>, Malformed> {
        for gone in &part.removed {
            self.table.remove(topic_id(gone)?);
        }
        let none: Arc<Configs> = Arc::default();
        for changed in part.changed {
            self.table.insert(topic_of(changed, Arc::clone(&none))?);
        }
        if self.table.count() > TOPICS_MAX {
            return Err(Malformed { field: "changed" });
        }
        if let Some(brokers) = part.brokers {
            self.table.set_brokers(BrokerConfigs::try_from(brokers)?);
        }
        if part.more {
            return Ok(None);
        }
        let mut whole = self.table.on_node(node);
        whole.version = part.version;
        Ok(Some(whole))
    }
}
