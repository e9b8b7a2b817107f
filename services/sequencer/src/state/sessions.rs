//! The durable side of sessions: registered, decided up to, ended.
//!
//! A session is *settled* when it is ended and every segment below its end is checkpointed: then
//! nothing reads its chain again. The last few settled ones are kept for their pods' questions.
//! Forgetting one is safe: C1 asks for a registered session, so a stray segment means nothing.

use std::collections::{BTreeMap, VecDeque};

use esker_types::{ChainIndex, SequencerEpoch, SessionId};

use crate::limits::SESSIONS_SETTLED_MAX;

/// What is durable of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The sequencer that registered it.
    pub epoch: SequencerEpoch,
    /// Segments below are committed and in the index.
    pub decided_upto: ChainIndex,
    /// Segments below are committed, this one and all above are void. `None` while it may grow.
    pub end: Option<ChainIndex>,
}

impl SessionRecord {
    /// Whether its chain need not be read again.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.end == Some(self.decided_upto)
    }
}

/// All sessions that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    records: BTreeMap<SessionId, SessionRecord>,
    /// Settled ones, oldest first.
    settled: VecDeque<SessionId>,
}

impl Sessions {
    pub(crate) fn get(&self, session: SessionId) -> Option<SessionRecord> {
        self.records.get(&session).copied()
    }

    /// By id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, SessionRecord)> {
        self.records.iter().map(|(id, record)| (*id, *record))
    }

    /// Those whose chains must be read at a take-over, by id.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = (SessionId, SessionRecord)> {
        self.iter().filter(|(_, record)| !record.is_settled())
    }

    /// The others, in the order in which they will be forgotten.
    pub(crate) fn settled(&self) -> impl Iterator<Item = (SessionId, SessionRecord)> {
        self.settled
            .iter()
            .filter_map(|id| self.get(*id).map(|record| (*id, record)))
    }

    /// Adds or changes one; forgets the oldest settled one when there are too many.
    pub(crate) fn put(&mut self, session: SessionId, record: SessionRecord) {
        let before = self.records.insert(session, record);
        let was_settled = before.is_some_and(|before| before.is_settled());
        assert!(
            !was_settled || before == Some(record),
            "CP5: a settled session never changes"
        );
        if record.is_settled() && !was_settled {
            self.settled.push_back(session);
        }
        if self.settled.len() > SESSIONS_SETTLED_MAX
            && let Some(oldest) = self.settled.pop_front()
        {
            self.records.remove(&oldest);
        }
    }
}
