//! The metadata journal, modelled: an atomic log whose opening fences every earlier writer.
//!
//! The real one is run by the simulation of shells. Here its replies may be lost, its writes held
//! and doubled; a writer numbers its commands, so that what comes twice is taken once.

use std::sync::Arc;

use esker_groups::GroupOffsets;
use esker_sequencer::LogState;

use crate::message::{Command, Opened};
use crate::truth::Truth;

/// The log, as the fold of its commands.
#[derive(Debug)]
pub(crate) struct Journal {
    epoch: u64,
    next: u64,
    log: LogState,
    groups: GroupOffsets,
    pub(crate) commands: u64,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            epoch: 0,
            next: 0,
            log: LogState::empty(),
            groups: GroupOffsets::default(),
            commands: 0,
        }
    }

    /// A new owner; all before it are fenced from now on.
    pub(crate) fn open(&mut self) -> Arc<Opened> {
        self.epoch += 1;
        self.next = 0;
        Arc::new(Opened {
            epoch: self.epoch,
            log: self.log.clone(),
            groups: self.groups.clone(),
        })
    }

    pub(crate) fn is_owner(&self, epoch: u64) -> bool {
        self.epoch == epoch
    }

    /// Appends what is new of these commands; the number of the next one, or `None` when fenced.
    pub(crate) fn append(
        &mut self,
        epoch: u64,
        from: u64,
        commands: &[Command],
        truth: &mut Truth,
    ) -> Option<u64> {
        if epoch != self.epoch {
            return None;
        }
        for (number, command) in (from..).zip(commands) {
            if number == self.next {
                self.apply(command, truth);
                self.next += 1;
                self.commands += 1;
            }
        }
        Some(self.next)
    }

    fn apply(&mut self, command: &Command, truth: &mut Truth) {
        match command {
            Command::Log(command) => {
                truth.durable(self.epoch, command);
                if let Err(error) = self.log.apply(command, &|_| true) {
                    truth.violate("CP16", format!("a durable command does not fit: {error}"));
                }
            }
            Command::Group(command) => {
                truth.group_durable(command);
                self.groups.apply(command, &|_| true);
            }
        }
    }
}
