//! What is durable of the metadata service: catalogue, log and group offsets as one state machine.
//!
//! Changed by applying journal commands in order, and by nothing else (J2, J6).

use bytes::{BufMut as _, Bytes, BytesMut};
use esker_groups::{GroupCommand, GroupOffsets};
use esker_journal::limits::SNAPSHOT_PART_BYTES_MAX;
use esker_journal::{CommandError, JournalState};
use esker_sequencer::{LogCommand, LogState};
use esker_types::ByteReader;

use crate::catalogue::{Catalogue, CatalogueCommand, CatalogueOutcome};
use crate::command::{Command, catalogue_error, group_error, log_error};

/// Version of a snapshot's first part that this build writes, and the newest it reads.
const SNAPSHOT_VERSION: u8 = 1;

/// The durable state.
#[derive(Clone, Debug, Default)]
pub(crate) struct DurableState {
    pub(crate) catalogue: Catalogue,
    pub(crate) log: LogState,
    pub(crate) groups: GroupOffsets,
}

/// What one command came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Log(LogCommand),
    Group(GroupCommand),
    Catalogue(CatalogueOutcome),
}

impl DurableState {
    fn apply_log(&mut self, command: &LogCommand) -> Result<(), CommandError> {
        let catalogue = &self.catalogue;
        let exists = |topic_partition| catalogue.has(topic_partition);
        self.log.apply(command, &exists).map_err(|error| {
            tracing::error!(%error, "journal command does not fit the log's state");
            CommandError::Malformed
        })
    }

    fn apply_groups(&mut self, command: &GroupCommand) {
        let catalogue = &self.catalogue;
        let exists = |topic_partition| catalogue.has(topic_partition);
        self.groups.apply(command, &exists);
    }

    fn apply_catalogue(
        &mut self,
        command: CatalogueCommand,
    ) -> Result<CatalogueOutcome, CommandError> {
        let outcome = self.catalogue.apply(command);
        if let CatalogueOutcome::Deleted(Ok(topic)) = &outcome {
            // One atomic command: a deleted topic leaves no entry and no committed offset behind.
            self.apply_log(&LogCommand::DropTopic { topic: topic.id })?;
            self.apply_groups(&GroupCommand::DropTopic { topic: topic.id });
        }
        Ok(outcome)
    }
}

impl JournalState for DurableState {
    type Outcome = Outcome;

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, command: &Bytes) -> Result<Outcome, CommandError> {
        match Command::decode(command)? {
            Command::Log(command) => {
                self.apply_log(&command)?;
                Ok(Outcome::Log(command))
            }
            Command::Group(command) => {
                self.apply_groups(&command);
                Ok(Outcome::Group(command))
            }
            Command::Catalogue(command) => self.apply_catalogue(command).map(Outcome::Catalogue),
        }
    }

    fn snapshot(&self) -> Vec<Bytes> {
        let log = self.log.snapshot(SNAPSHOT_PART_BYTES_MAX);
        let groups = self.groups.snapshot();
        let catalogue = self.catalogue.snapshot();
        let mut parts = vec![contents([log.len(), groups.len(), catalogue.len()])];
        parts.extend(log);
        parts.extend(groups);
        parts.extend(catalogue);
        parts
    }

    fn restore(parts: &[Bytes]) -> Result<Self, CommandError> {
        let (first, rest) = parts.split_first().ok_or(CommandError::Malformed)?;
        let [log, groups, catalogue_parts] = read_contents(first)?;
        let fits = log
            .checked_add(groups)
            .and_then(|sum| sum.checked_add(catalogue_parts));
        if fits != Some(rest.len()) {
            return Err(CommandError::Malformed);
        }
        let (log, rest) = rest.split_at(log);
        let (groups, catalogue_parts) = rest.split_at(groups);
        let mut catalogue = Catalogue::default();
        for part in catalogue_parts {
            catalogue.restore(part).map_err(catalogue_error)?;
        }
        Ok(Self {
            catalogue,
            log: LogState::restore(log).map_err(log_error)?,
            groups: GroupOffsets::restore(groups).map_err(group_error)?,
        })
    }
}

/// The first part of a snapshot: how many of the others are about what.
fn contents(counts: [usize; 3]) -> Bytes {
    let mut part = BytesMut::new();
    part.put_u8(SNAPSHOT_VERSION);
    for count in counts {
        part.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
    }
    part.freeze()
}

pub(crate) fn read_contents(part: &[u8]) -> Result<[usize; 3], CommandError> {
    let mut reader = ByteReader::new(part);
    let malformed = |_| CommandError::Malformed;
    let version = reader.u8().map_err(malformed)?;
    if version != SNAPSHOT_VERSION {
        let version = u32::from(version);
        return Err(CommandError::UnknownVersion { version });
    }
    let mut counts = [0; 3];
    for count in &mut counts {
        let stored = reader.u32().map_err(malformed)?;
        *count = usize::try_from(stored).unwrap_or(usize::MAX);
    }
    match reader.remaining() {
        0 => Ok(counts),
        _ => Err(CommandError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use esker_metadata_api::{Topic, TopicName};
    use esker_types::{ChainIndex, SequencerEpoch, SessionId, TopicId};

    use super::*;

    fn filled() -> DurableState {
        let mut state = DurableState::empty();
        let topic = Topic {
            id: TopicId::from_bytes([1; 16]),
            name: TopicName::new("t").unwrap(),
            partition_count: NonZeroU32::MIN,
            replication_factor: 1,
            configs: std::collections::BTreeMap::new(),
            defaults: std::sync::Arc::default(),
        };
        let session = SessionId::from_bytes([2; 16]);
        let register = LogCommand::RegisterSession {
            session,
            epoch: SequencerEpoch::FIRST,
        };
        let commit = GroupCommand::Commit {
            group: "g".to_owned(),
            at: esker_types::Timestamp::from_millis(1),
            offsets: vec![(
                topic.at(esker_types::PartitionIndex::default()),
                esker_metadata_api::CommittedOffset {
                    offset: 0,
                    leader_epoch: -1,
                    metadata: String::new(),
                },
            )],
        };
        for command in [
            Command::Catalogue(CatalogueCommand::CreateTopic(topic)),
            Command::Log(register),
            Command::Group(commit),
        ] {
            state.apply(&command.encode()).unwrap();
        }
        state
    }

    #[test]
    fn a_snapshot_restores_the_state_it_was_taken_of() {
        let state = filled();

        let restored = DurableState::restore(&state.snapshot()).unwrap();

        assert_eq!(restored.log, state.log);
        assert_eq!(restored.groups, state.groups);
        assert_eq!(restored.catalogue.ids(), state.catalogue.ids());
    }

    #[test]
    fn a_deleted_topic_leaves_no_committed_offset_behind() {
        let mut state = filled();
        let id = esker_metadata_api::TopicRef::Id(TopicId::from_bytes([1; 16]));

        state
            .apply(&Command::Catalogue(CatalogueCommand::DeleteTopic(id)).encode())
            .unwrap();

        assert!(state.groups.fetch("g", None).is_empty());
        assert_eq!(state.catalogue.topics().count(), 0);
    }

    #[test]
    fn bytes_of_another_version_or_shape_are_refused() {
        let mut state = filled();
        let parts = state.snapshot();
        let mut future = parts.clone();
        future[0] = Bytes::from_static(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let end = LogCommand::EndSession {
            session: SessionId::from_bytes([7; 16]),
            end: ChainIndex::ZERO,
        };

        let unknown_version = CommandError::UnknownVersion { version: 9 };
        assert_eq!(DurableState::restore(&future).unwrap_err(), unknown_version);
        for parts in [&parts[1..], &parts[..parts.len() - 1], &[]] {
            assert!(DurableState::restore(parts).is_err());
        }
        for bytes in [&b""[..], &[0], &[9, 1], &[1], &[2, 1, 99], &[3, 1, 99]] {
            let refused = state.apply(&Bytes::copy_from_slice(bytes));
            assert_eq!(refused, Err(CommandError::Malformed), "{bytes:?}");
        }
        for bytes in [[1, 9], [2, 9], [3, 9]] {
            let refused = state.apply(&Bytes::copy_from_slice(&bytes));
            assert_eq!(refused, Err(unknown_version), "{bytes:?}");
        }
        let unknown_session = state.apply(&Command::Log(end).encode());
        assert_eq!(unknown_session, Err(CommandError::Malformed));
    }
}
