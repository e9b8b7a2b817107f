//! OffsetCommit: who may, what is refused, and the commands it becomes.
//!
//! I18: what is stored is what was sent, verbatim. A large commit is cut into commands; it is
//! answered when the last is durable, and then all are.

use esker_metadata_api::{CommitOffsets, CommittedOffset, GroupError, GroupReply, OffsetPartition};
use esker_types::TopicPartition;

use crate::arrival::check_text;
use crate::forget::append_all;
use crate::limits::{COMMIT_COMMAND_BYTES, OFFSET_METADATA_BYTES_MAX, OFFSETS_BYTES_MAX};
use crate::offsets::committed_bytes;
use crate::turn::Turn;
use crate::{GroupCommand, GroupCoordinator, GroupOffsets, Ticket};

type Accepted = Vec<(TopicPartition, CommittedOffset)>;

impl GroupCoordinator {
    pub(crate) fn commit(
        &mut self,
        turn: &mut Turn,
        ticket: Ticket,
        request: CommitOffsets,
        offsets: &GroupOffsets,
        exists: &dyn Fn(TopicPartition) -> bool,
    ) -> String {
        if let Err(error) = self.may_commit(turn, &request, offsets) {
            turn.reply(ticket, GroupReply::Committed(Err(error)));
            return request.group;
        }
        let mut outcomes = Vec::with_capacity(request.offsets.len());
        let mut accepted = Vec::new();
        for offset in request.offsets {
            let outcome = check_offset(&offset, exists);
            if outcome.is_ok() {
                accepted.push((offset.topic_partition, offset.committed));
            }
            outcomes.push(outcome);
        }
        append(
            turn,
            &request.group,
            accepted,
            (ticket, GroupReply::Committed(Ok(outcomes))),
        );
        request.group
    }

    fn may_commit(
        &mut self,
        turn: &Turn,
        request: &CommitOffsets,
        offsets: &GroupOffsets,
    ) -> Result<(), GroupError> {
        check_text(&request.group)?;
        let durable = offsets.groups.contains_key(&request.group);
        let mut outcome = match (request.generation < 0, durable) {
            (true, _) => Ok(()),
            (false, true) => Err(GroupError::UnknownMember),
            (false, false) => Err(GroupError::IllegalGeneration),
        };
        self.in_group(&request.group, |group| {
            outcome = group.may_commit(turn, request)
        });
        outcome?;
        let added = offsets.growth(&request.group, &request.offsets);
        let may_be_made = offsets.has_room_for(&request.group, "");
        if offsets.bytes() + added > OFFSETS_BYTES_MAX || !may_be_made {
            return Err(GroupError::GroupFull);
        }
        Ok(())
    }
}

fn check_offset(
    offset: &OffsetPartition,
    exists: &dyn Fn(TopicPartition) -> bool,
) -> Result<(), GroupError> {
    if !exists(offset.topic_partition) {
        Err(GroupError::UnknownPartition)
    } else if offset.committed.metadata.len() > OFFSET_METADATA_BYTES_MAX {
        Err(GroupError::OffsetMetadataTooLarge)
    } else {
        Ok(())
    }
}

/// Appends what was accepted, in commands of bounded size; the answer goes with the last.
fn append(turn: &mut Turn, group: &str, accepted: Accepted, answer: (Ticket, GroupReply)) {
    let mut chunks: Vec<Accepted> = Vec::new();
    let mut bytes = COMMIT_COMMAND_BYTES;
    for offset in accepted {
        if bytes >= COMMIT_COMMAND_BYTES {
            bytes = 0;
            chunks.push(Vec::new());
        }
        bytes += committed_bytes(&offset.1);
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(offset);
        }
    }
    let command = |offsets| GroupCommand::Commit {
        group: group.to_owned(),
        at: turn.at.wall,
        offsets,
    };
    append_all(turn, chunks.into_iter().map(command).collect(), answer);
}
