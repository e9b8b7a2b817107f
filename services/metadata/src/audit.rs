//! The durable state as an audit replays it, and as a rebuild puts it together again.
//!
//! Called by `esker-audit`. [`Salvage`] takes what is readable of a damaged journal in the order in
//! which it was written and leaves out what is not: topics, settings, group offsets, log starts.
//! The index is never salvaged: it follows from the segments.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use esker_groups::{GroupCommand, GroupOffsets};
use esker_journal::{CommandError, JournalState};
use esker_metadata_api::{CreateTopicError, Topic, TopicName, TopicRef, TopicTable};
use esker_sequencer::{LogCommand, LogState};
use esker_types::{Offset, SessionId, TopicId, TopicPartition};

use crate::catalogue::{CatalogueCommand, CatalogueOutcome};
use crate::command::Command;
use crate::state::{DurableState, read_contents};

/// Producer ids that a rebuilt allocator leaves out: ids that were given out and never wrote cannot
/// be found, so the next ones begin far above.
pub const PRODUCER_IDS_SKIPPED: i64 = 1 << 32;

/// The durable state, replayed for reading.
#[derive(Debug, Default)]
pub struct ReplayedState(DurableState);

impl JournalState for ReplayedState {
    type Outcome = ();

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, command: &Bytes) -> Result<(), CommandError> {
        self.0.apply(command).map(|_| ())
    }

    fn snapshot(&self) -> Vec<Bytes> {
        self.0.snapshot()
    }

    fn restore(parts: &[Bytes]) -> Result<Self, CommandError> {
        DurableState::restore(parts).map(Self)
    }
}

impl ReplayedState {
    /// Sessions, index and producers.
    #[must_use]
    pub fn log(&self) -> &LogState {
        &self.0.log
    }

    /// The topics.
    #[must_use]
    pub fn topics(&self) -> &TopicTable {
        self.0.catalogue.topics()
    }

    /// Whether the partition exists.
    #[must_use]
    pub fn has(&self, topic_partition: TopicPartition) -> bool {
        self.0.catalogue.has(topic_partition)
    }

    /// The first producer id that was not given out.
    #[must_use]
    pub fn producer_id_next(&self) -> i64 {
        self.0.catalogue.producer_id_next()
    }
}

/// Where a rebuilt topic has its name from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicOrigin {
    /// What is left of the journal.
    Journal,
    /// The operator.
    Given,
    /// Nowhere: it was derived from the topic's id.
    Derived,
}

/// A topic of the rebuilt state.
#[derive(Clone, Debug)]
pub struct RebuiltTopic {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Where its name and settings come from.
    pub origin: TopicOrigin,
}

/// A state that was put together again.
#[derive(Debug)]
pub struct Rebuilt {
    /// As a snapshot of the journal.
    pub snapshot: Vec<Bytes>,
    /// Its topics, by name.
    pub topics: Vec<RebuiltTopic>,
    /// The first producer id that will be given out.
    pub producer_id_next: i64,
    /// Groups whose committed offsets were found.
    pub groups: usize,
}

/// What was readable of a journal.
#[derive(Debug, Default)]
pub struct Salvage {
    state: DurableState,
    log_starts: BTreeMap<TopicPartition, Offset>,
    deleted: BTreeSet<TopicId>,
    sessions: BTreeSet<SessionId>,
    given: BTreeSet<TopicId>,
}

impl Salvage {
    /// Begins with a whole snapshot.
    ///
    /// # Errors
    /// [`CommandError`]: the parts are no snapshot of this build; begin with an older one, or with
    /// nothing.
    pub fn of_snapshot(parts: &[Bytes]) -> Result<Self, CommandError> {
        let mut state = DurableState::restore(parts)?;
        let log = std::mem::take(&mut state.log);
        let starts = log.partitions().map(|(at, view)| (at, view.log_start()));
        Ok(Self {
            log_starts: starts.filter(|(_, start)| *start > Offset::ZERO).collect(),
            sessions: log.sessions().map(|(session, _)| session).collect(),
            state,
            ..Self::default()
        })
    }

    /// Begins with what is left of a snapshot: topics of every part of the catalogue that is there,
    /// and group offsets if all their parts are. `None` when not even the first part is there.
    #[must_use]
    pub fn of_remains(parts: &[Option<Bytes>]) -> Option<Self> {
        let (first, rest) = parts.split_first()?;
        let [log, groups, catalogue] = read_contents(first.as_ref()?).ok()?;
        let rest = rest.get(log..)?;
        let (of_groups, rest) = rest.split_at_checked(groups)?;
        let mut salvage = Self::default();
        let of_groups: Option<Vec<Bytes>> = of_groups.iter().cloned().collect();
        let offsets = of_groups.and_then(|parts| GroupOffsets::restore(&parts).ok());
        salvage.state.groups = offsets.unwrap_or_default();
        for part in rest.get(..catalogue)?.iter().flatten() {
            // A part that cannot be read leaves the topics of the others.
            let mut with = salvage.state.catalogue.clone();
            if with.restore(part).is_ok() {
                salvage.state.catalogue = with;
            }
        }
        Some(salvage)
    }

    /// Takes the next readable command; commands before it may be missing.
    ///
    /// # Errors
    /// [`CommandError`]: these bytes are no command; nothing changed.
    pub fn apply(&mut self, command: &Bytes) -> Result<(), CommandError> {
        match Command::decode(command)? {
            Command::Catalogue(command) => self.apply_catalogue(command),
            Command::Group(command) => self.apply_group(&command),
            Command::Log(LogCommand::RegisterSession { session, .. }) => {
                self.sessions.insert(session);
            }
            Command::Log(LogCommand::MoveLogStart {
                topic_partition,
                log_start,
            }) => {
                let known = self.log_starts.entry(topic_partition).or_default();
                *known = (*known).max(log_start);
            }
            Command::Log(
                LogCommand::EndSession { .. }
                | LogCommand::Checkpoint { .. }
                | LogCommand::DropTopic { .. },
            ) => {}
        }
        Ok(())
    }

    fn apply_group(&mut self, command: &GroupCommand) {
        let deleted = &self.deleted;
        let exists = |at: TopicPartition| !deleted.contains(&at.topic);
        self.state.groups.apply(command, &exists);
    }

    fn apply_catalogue(&mut self, command: CatalogueCommand) {
        let created = match &command {
            CatalogueCommand::CreateTopic(topic) => Some(topic.clone()),
            _ => None,
        };
        let outcome = self.state.catalogue.apply(command);
        match (outcome, created) {
            (CatalogueOutcome::Deleted(Ok(topic)), _) => self.forget(topic.id),
            // It was created, so the one before it was deleted: that command is lost.
            (CatalogueOutcome::Created(Err(CreateTopicError::Exists)), Some(topic)) => {
                self.replace(topic);
            }
            _ => {}
        }
    }

    fn replace(&mut self, topic: Topic) {
        let named = TopicRef::Name(topic.name.clone());
        let before = self.state.catalogue.find(&named).map(|before| before.id);
        if before == Some(topic.id) {
            return;
        }
        self.apply_catalogue(CatalogueCommand::DeleteTopic(named));
        self.apply_catalogue(CatalogueCommand::CreateTopic(topic));
    }

    fn forget(&mut self, topic: TopicId) {
        self.deleted.insert(topic);
        self.apply_group(&GroupCommand::DropTopic { topic });
    }

    /// Sessions that were registered, as far as is known.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.iter().copied()
    }

    /// Topics that are known to be deleted: their batches are skipped.
    pub fn deleted(&self) -> impl Iterator<Item = TopicId> {
        self.deleted.iter().copied()
    }

    fn is_deleted(&self, topic: TopicId) -> bool {
        self.deleted.contains(&topic)
    }

    /// Adds a topic that the operator names, unless the journal knows it or its name; whether it
    /// was added.
    pub fn give(&mut self, topic: Topic) -> bool {
        let id = topic.id;
        let known = self.state.catalogue.topics().with_id(id).is_some();
        if known || self.is_deleted(id) || self.state.catalogue.check(&topic).is_err() {
            return false;
        }
        self.state.catalogue.insert(topic);
        self.given.insert(id)
    }

    /// The whole state: what was salvaged, and the index that follows from the segments. Topics
    /// that only segments know get a name made of their id, and as many partitions as were seen.
    #[must_use]
    pub fn finish(mut self, mut log: LogState, producer_id_max: i64) -> Rebuilt {
        let derived = self.complete_topics(&log);
        for (topic_partition, log_start) in std::mem::take(&mut self.log_starts) {
            let command = LogCommand::MoveLogStart {
                topic_partition,
                log_start,
            };
            let catalogue = &self.state.catalogue;
            let moved = log.apply(&command, &|at| catalogue.has(at));
            assert!(moved.is_ok(), "a log start can be moved always");
        }
        let catalogue = &mut self.state.catalogue;
        catalogue.skip_producer_ids(producer_id_max, PRODUCER_IDS_SKIPPED);
        let origin = |id: TopicId| match (derived.contains(&id), self.given.contains(&id)) {
            (true, _) => TopicOrigin::Derived,
            (false, true) => TopicOrigin::Given,
            (false, false) => TopicOrigin::Journal,
        };
        let topics = catalogue.topics().iter().map(|topic| RebuiltTopic {
            topic: Arc::clone(topic),
            origin: origin(topic.id),
        });
        let topics = topics.collect();
        let producer_id_next = catalogue.producer_id_next();
        self.state.log = log;
        Rebuilt {
            snapshot: self.state.snapshot(),
            topics,
            producer_id_next,
            groups: self.state.groups.group_count(),
        }
    }

    /// Every partition of the log exists; the topics that were made for that.
    fn complete_topics(&mut self, log: &LogState) -> BTreeSet<TopicId> {
        let mut counts: BTreeMap<TopicId, NonZeroU32> = BTreeMap::new();
        for (at, _) in log.partitions() {
            let count = NonZeroU32::MIN.saturating_add(at.partition.get());
            let known = counts.entry(at.topic).or_insert(count);
            *known = (*known).max(count);
        }
        let mut derived = BTreeSet::new();
        for (id, partition_count) in counts {
            let known = self.state.catalogue.topics().with_id(id).cloned();
            let topic = match known {
                Some(known) if known.partition_count >= partition_count => continue,
                Some(known) => Topic {
                    partition_count,
                    ..Topic::clone(&known)
                },
                None => {
                    derived.insert(id);
                    derived_topic(id, partition_count)
                }
            };
            self.state.catalogue.take(id);
            self.state.catalogue.insert(topic);
        }
        derived
    }
}

fn derived_topic(id: TopicId, partition_count: NonZeroU32) -> Topic {
    let name = TopicName::new(&format!("recovered-{id}"));
    Topic {
        id,
        name: name.expect("hexadecimal digits name a topic"),
        partition_count,
        replication_factor: 1,
        configs: BTreeMap::new(),
        defaults: Arc::default(),
    }
}

#[cfg(test)]
mod tests {
    use esker_metadata_api::CommittedOffset;
    use esker_types::PartitionIndex;

    use super::*;

    fn topic(name: &str, id: u8) -> Topic {
        Topic {
            name: TopicName::new(name).unwrap(),
            ..derived_topic(TopicId::from_bytes([id; 16]), NonZeroU32::MIN)
        }
    }

    fn take(salvage: &mut Salvage, command: Command) {
        salvage.apply(&command.encode()).unwrap();
    }

    fn create(name: &str, id: u8) -> Command {
        Command::Catalogue(CatalogueCommand::CreateTopic(topic(name, id)))
    }

    fn commit(id: u8) -> Command {
        let offset = CommittedOffset {
            offset: 3,
            leader_epoch: -1,
            metadata: String::new(),
        };
        Command::Group(GroupCommand::Commit {
            group: "g".to_owned(),
            at: esker_types::Timestamp::from_millis(1),
            offsets: vec![(topic("t", id).at(PartitionIndex::default()), offset)],
        })
    }

    #[test]
    fn topics_group_offsets_and_log_starts_are_salvaged_past_what_is_missing() {
        let mut salvage = Salvage::default();
        let at = topic("t", 1).at(PartitionIndex::default());
        let log_start = Offset::new(5).unwrap();

        take(&mut salvage, create("orders", 1));
        take(&mut salvage, commit(1));
        take(&mut salvage, commit(9));
        take(&mut salvage, create("orders", 2));
        let moved = LogCommand::MoveLogStart {
            topic_partition: topic("t", 2).at(PartitionIndex::default()),
            log_start,
        };
        take(&mut salvage, Command::Log(moved));
        let malformed = salvage.apply(&Bytes::from_static(b"?"));

        assert_eq!(malformed, Err(CommandError::Malformed));
        assert!(salvage.is_deleted(at.topic), "its name was given away");
        assert!(!salvage.give(topic("orders", 3)), "the name is taken");
        assert!(!salvage.give(topic("old", 1)), "known to be deleted");
        assert!(salvage.give(topic("given", 4)));
        let rebuilt = salvage.finish(LogState::empty(), 77);
        let state = ReplayedState::restore(&rebuilt.snapshot).unwrap();
        let names: Vec<&str> = rebuilt
            .topics
            .iter()
            .map(|t| t.topic.name.as_str())
            .collect();
        assert_eq!(names, ["given", "orders"]);
        assert_eq!(rebuilt.topics[0].origin, TopicOrigin::Given);
        assert_eq!(rebuilt.topics[1].origin, TopicOrigin::Journal);
        assert_eq!(rebuilt.groups, 1, "of a topic that nobody knows yet");
        assert_eq!(state.producer_id_next(), 78 + PRODUCER_IDS_SKIPPED);
        let start = topic("t", 2).at(PartitionIndex::default());
        assert_eq!(state.log().log_start(start), log_start);
        assert!(state.has(start) && !state.has(at));
    }

    #[test]
    fn a_snapshot_is_the_beginning_and_sessions_are_known() {
        let mut before = Salvage::default();
        take(&mut before, create("orders", 1));
        let session = SessionId::from_bytes([2; 16]);
        let epoch = esker_types::SequencerEpoch::FIRST;
        let register = LogCommand::RegisterSession { session, epoch };
        let mut log = LogState::empty();
        log.apply(&register, &|_| true).unwrap();
        let snapshot = before.finish(log, -1).snapshot;

        let mut salvage = Salvage::of_snapshot(&snapshot).unwrap();
        let other = SessionId::from_bytes([3; 16]);
        let register = LogCommand::RegisterSession {
            session: other,
            epoch,
        };
        take(&mut salvage, Command::Log(register));

        assert_eq!(salvage.sessions().collect::<Vec<_>>(), [session, other]);
        assert_eq!(salvage.finish(LogState::empty(), -1).topics.len(), 1);
        assert!(Salvage::of_snapshot(&snapshot[1..]).is_err());
        let mut left: Vec<Option<Bytes>> = snapshot.iter().cloned().map(Some).collect();
        left[1] = None;
        let partial = Salvage::of_remains(&left).unwrap();
        assert_eq!(partial.finish(LogState::empty(), -1).topics.len(), 1);
        assert!(Salvage::of_remains(&left[1..]).is_none());
        left[0] = None;
        assert!(Salvage::of_remains(&left).is_none());
    }
}
