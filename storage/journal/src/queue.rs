//! Commands that wait for their entry, and how they are grouped. Pure.
//!
//! A group closes at [`GROUP_BYTES_MAX`] encoded bytes; a larger command is a group of its own. The
//! queue's own bound is the room that each command holds until its event is taken.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use esker_types::MonotonicTime;
use tokio::sync::OwnedSemaphorePermit;

use crate::limits::GROUP_BYTES_MAX;
use crate::object::COMMAND_LENGTH_BYTES;
use crate::writer::AppendTicket;

/// A command that was taken and is not durable yet.
#[derive(Debug)]
pub(crate) struct PendingCommand {
    pub(crate) ticket: AppendTicket,
    pub(crate) command: Bytes,
    pub(crate) taken_at: MonotonicTime,
    /// Its room in the queue; tests of pure parts have none.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl PendingCommand {
    fn encoded_bytes(&self) -> usize {
        self.command.len().saturating_add(COMMAND_LENGTH_BYTES)
    }
}

#[derive(Debug, Default)]
pub(crate) struct CommandQueue {
    commands: VecDeque<PendingCommand>,
    encoded_bytes: usize,
}

impl CommandQueue {
    pub(crate) fn push(&mut self, command: PendingCommand) {
        self.encoded_bytes += command.encoded_bytes();
        self.commands.push_back(command);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// When the first group is ready: at once when it is full, else when its oldest command has
    /// waited for `linger`. `None` when nothing waits.
    pub(crate) fn ready_at(&self, linger: Duration) -> Option<MonotonicTime> {
        let oldest = self.commands.front()?;
        if self.encoded_bytes >= GROUP_BYTES_MAX {
            return Some(MonotonicTime::default());
        }
        Some(oldest.taken_at.after(linger))
    }

    /// The first group, in order; empty when nothing waits.
    pub(crate) fn take_group(&mut self) -> Vec<PendingCommand> {
        let mut group = Vec::new();
        let mut group_bytes = 0;
        while let Some(first) = self.commands.front() {
            let grown = first.encoded_bytes().saturating_add(group_bytes);
            if grown > GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            group_bytes = grown;
            group.extend(self.commands.pop_front());
        }
        assert!(
            group_bytes <= self.encoded_bytes,
            "a group is a part of the queue"
        );
        self.encoded_bytes -= group_bytes;
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::COMMAND_BYTES_MAX;

    const LINGER: Duration = Duration::from_millis(1);

    fn queue_of(sizes: &[usize]) -> CommandQueue {
        let mut queue = CommandQueue::default();
        for (ticket, size) in (0..).zip(sizes) {
            queue.push(PendingCommand {
                ticket: AppendTicket(ticket),
                command: Bytes::from(vec![0; *size]),
                taken_at: MonotonicTime::default(),
                room: None,
            });
        }
        queue
    }

    fn sizes_of(group: &[PendingCommand]) -> Vec<usize> {
        group.iter().map(|pending| pending.command.len()).collect()
    }

    #[test]
    fn a_group_closes_before_it_passes_its_limit() {
        let half = GROUP_BYTES_MAX / 2 - COMMAND_LENGTH_BYTES;
        let mut queue = queue_of(&[half, half, 1]);

        let first = queue.take_group();
        let second = queue.take_group();

        assert_eq!(sizes_of(&first), [half, half]);
        assert_eq!(sizes_of(&second), [1]);
        assert!(queue.is_empty() && queue.take_group().is_empty());
    }

    #[test]
    fn a_larger_command_is_a_group_of_its_own_and_keeps_its_turn() {
        let mut queue = queue_of(&[3, COMMAND_BYTES_MAX, GROUP_BYTES_MAX, 4]);

        let groups: Vec<_> = (0..4).map(|_| sizes_of(&queue.take_group())).collect();

        assert_eq!(
            groups,
            [
                vec![3],
                vec![COMMAND_BYTES_MAX],
                vec![GROUP_BYTES_MAX],
                vec![4]
            ]
        );
    }

    #[test]
    fn a_group_waits_for_its_linger_unless_it_is_full() {
        let small = queue_of(&[1]);
        let full = queue_of(&[GROUP_BYTES_MAX - COMMAND_LENGTH_BYTES]);
        let start = MonotonicTime::default();

        assert_eq!(small.ready_at(LINGER), Some(start.after(LINGER)));
        assert_eq!(full.ready_at(LINGER), Some(start));
        assert_eq!(queue_of(&[]).ready_at(LINGER), None);
    }
}
