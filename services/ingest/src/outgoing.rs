//! What the writer asks of others: a seam, so that the writer is one state machine in two worlds.
//!
//! `Live` makes calls that run as tasks; the outbox of `produce_core.rs` hands them to a driver
//! that steps the same writer. No call answers here: answers come back through `Writer::hear`.

use bytes::Bytes;
use esker_env::Shutdown;
use esker_metadata_api::{ReserveRequest, WrittenReport};
use esker_types::{SegmentId, SessionId};

use crate::calls::Calls;
use crate::notifier::Notice;

/// Where the writer's questions go. Each but `written` is answered once, unless `over` comes first.
pub(crate) trait Outgoing {
    /// A new session, in the place of `replaces`.
    fn register(&mut self, replaces: Option<SessionId>);
    /// Offsets for a segment.
    fn reserve(&mut self, request: ReserveRequest, over: Shutdown);
    /// A segment to its place.
    fn upload(&mut self, segment: SegmentId, object: Bytes, over: Shutdown);
    /// The session's durable end, until it is told.
    fn end(&mut self, session: SessionId, over: Shutdown);
    /// The newest report of what is written; the one before it counts no more.
    fn written(&mut self, report: WrittenReport);
}

/// Calls that run as tasks, and the notice that the notifier sends.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) calls: Calls,
    pub(crate) notice: Notice,
}

impl Outgoing for Live {
    fn register(&mut self, replaces: Option<SessionId>) {
        self.calls.register(replaces);
    }

    fn reserve(&mut self, request: ReserveRequest, over: Shutdown) {
        self.calls.reserve(request, over);
    }

    fn upload(&mut self, segment: SegmentId, object: Bytes, over: Shutdown) {
        self.calls.upload(segment, object, over);
    }

    fn end(&mut self, session: SessionId, over: Shutdown) {
        self.calls.end(session, over);
    }

    fn written(&mut self, report: WrittenReport) {
        self.notice.tell(report);
    }
}
