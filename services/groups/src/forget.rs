//! How offsets and groups go: deleted by a client, or expired.
//!
//! DeleteGroups takes groups without members; OffsetDelete takes offsets of topics that no member
//! reads. The sweep lets offsets expire of groups without members, and, as in Kafka, of topics
//! that a stable group of consumers no longer subscribes to.

use esker_metadata_api::{DeleteOffsets, GroupError, GroupReply, TopicName};
use esker_types::{Timestamp, TopicId, TopicPartition};

use crate::arrival::check_text;
use crate::group::{Group, Phase};
use crate::limits::{DELETED_OFFSETS_PER_COMMAND_MAX, EXPIRED_GROUPS_PER_SWEEP_MAX};
use crate::subscription::Subscription;
use crate::turn::Turn;
use crate::{GroupCommand, GroupCoordinator, GroupOffsets, Ticket};

impl GroupCoordinator {
    /// Answers when the last deletion is durable.
    pub(crate) fn delete(
        &self,
        turn: &mut Turn,
        ticket: Ticket,
        names: &[String],
        offsets: &GroupOffsets,
    ) {
        let mut commands = Vec::new();
        let mut outcomes = Vec::with_capacity(names.len());
        for name in names {
            let outcome = self.may_delete(name, offsets);
            if outcome.is_ok() {
                let group = name.clone();
                commands.push(GroupCommand::DeleteGroup { group });
            }
            outcomes.push(outcome);
        }
        append_all(turn, commands, (ticket, GroupReply::Deleted(outcomes)));
    }

    fn may_delete(&self, name: &str, offsets: &GroupOffsets) -> Result<(), GroupError> {
        check_text(name)?;
        let held = self.groups.get(name);
        if held.is_some_and(|held| !held.members.is_empty()) {
            return Err(GroupError::NotEmpty);
        }
        if held.is_none() && !offsets.groups.contains_key(name) {
            return Err(GroupError::UnknownGroup);
        }
        Ok(())
    }

    /// Answers when the last command is durable.
    pub(crate) fn delete_offsets(
        &self,
        turn: &mut Turn,
        ticket: Ticket,
        request: &DeleteOffsets,
        offsets: &GroupOffsets,
    ) {
        let subscription = match self.may_delete_offsets(&request.group, offsets) {
            Ok(subscription) => subscription,
            Err(error) => {
                turn.reply(ticket, GroupReply::OffsetsDeleted(Err(error)));
                return;
            }
        };
        let mut deleted = Vec::new();
        let mut outcomes = Vec::with_capacity(request.partitions.len());
        for (at, name) in &request.partitions {
            if subscription.has(name.as_str()) {
                outcomes.push(Err(GroupError::SubscribedToTopic));
            } else {
                deleted.push(*at);
                outcomes.push(Ok(()));
            }
        }
        let answer = (ticket, GroupReply::OffsetsDeleted(Ok(outcomes)));
        // Later than any commit.
        let all = Timestamp::from_millis(i64::MAX);
        append_all(turn, deletions(&request.group, all, &deleted), answer);
    }

    /// What the members of a group read. Only groups of consumers say; others must be empty.
    fn may_delete_offsets(
        &self,
        name: &str,
        offsets: &GroupOffsets,
    ) -> Result<Subscription, GroupError> {
        self.may_delete(name, offsets).map_or_else(
            |error| match (error, self.groups.get(name)) {
                (GroupError::NotEmpty, Some(group)) if group.is_of_consumers() => {
                    Ok(group.subscription())
                }
                (error, _) => Err(error),
            },
            |()| Ok(Subscription::nothing()),
        )
    }

    /// Lets offsets expire, of a bounded number of groups at once.
    pub(crate) fn sweep(
        &self,
        turn: &mut Turn,
        offsets: &GroupOffsets,
        name_of: &dyn Fn(TopicId) -> Option<TopicName>,
    ) {
        let retention = i64::try_from(self.config.offset_retention.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(turn.at.wall.millis().saturating_sub(retention));
        let mut left = EXPIRED_GROUPS_PER_SWEEP_MAX;
        for name in offsets.groups.keys() {
            let command = match self.groups.get(name) {
                None => offsets.has_expired(name, before).then(|| {
                    let group = name.clone();
                    GroupCommand::Expire { group, before }
                }),
                Some(group) => expire_unread(group, offsets, before, name_of),
            };
            if let Some(command) = command {
                turn.append(command, None);
                left -= 1;
            }
            if left == 0 {
                return;
            }
        }
    }
}

/// Old offsets of topics that a stable group of consumers does not read; the rest of more than one
/// command's worth goes in later sweeps.
fn expire_unread(
    group: &Group,
    offsets: &GroupOffsets,
    before: Timestamp,
    name_of: &dyn Fn(TopicId) -> Option<TopicName>,
) -> Option<GroupCommand> {
    if !matches!(group.phase, Phase::Stable { .. }) || !group.is_of_consumers() {
        return None;
    }
    let mut older = offsets.older_than(&group.name, before).peekable();
    older.peek()?;
    let subscription = group.subscription();
    // A topic without a name is deleted, and its offsets with it.
    let is_unread = |at: &TopicPartition| {
        name_of(at.topic).is_some_and(|name| !subscription.has(name.as_str()))
    };
    let unread = older.filter(is_unread);
    let unread: Vec<_> = unread.take(DELETED_OFFSETS_PER_COMMAND_MAX).collect();
    deletions(&group.name, before, &unread).pop()
}

fn deletions(group: &str, before: Timestamp, partitions: &[TopicPartition]) -> Vec<GroupCommand> {
    let command = |chunk: &[TopicPartition]| GroupCommand::DeleteOffsets {
        group: group.to_owned(),
        before,
        partitions: chunk.to_vec(),
    };
    let chunks = partitions.chunks(DELETED_OFFSETS_PER_COMMAND_MAX);
    chunks.map(command).collect()
}

/// Appends commands; the answer goes with the last, and then all are durable.
pub(crate) fn append_all(
    turn: &mut Turn,
    mut commands: Vec<GroupCommand>,
    answer: (Ticket, GroupReply),
) {
    let Some(last) = commands.pop() else {
        turn.reply(answer.0, answer.1);
        return;
    };
    for command in commands {
        turn.append(command, None);
    }
    turn.append(last, Some(answer));
}
