//! One step under way: its time, the settings, and the effects gathered so far.

use esker_metadata_api::GroupReply;

use crate::{GroupCommand, GroupConfig, GroupEffect, Moment, Ticket};

/// Handed down through everything that one step does.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) at: Moment,
    pub(crate) config: GroupConfig,
    pub(crate) effects: Vec<GroupEffect>,
}

impl Turn {
    pub(crate) fn new(at: Moment, config: GroupConfig) -> Self {
        Self {
            at,
            config,
            effects: Vec::new(),
        }
    }

    pub(crate) fn reply(&mut self, ticket: Ticket, reply: GroupReply) {
        self.effects.push(GroupEffect::Reply(ticket, reply));
    }

    pub(crate) fn append(&mut self, command: GroupCommand, then: Option<(Ticket, GroupReply)>) {
        self.effects.push(GroupEffect::Append { command, then });
    }
}
