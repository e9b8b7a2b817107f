//! What goes over the simulated network.

use std::sync::Arc;

use bytes::Bytes;
use esker_groups::{GroupCommand, GroupOffsets};
use esker_ingest::AppendErrorKind;
use esker_metadata_api::{
    GroupReply, GroupRequest, IndexSlice, MetadataError, PartitionAdvance, Registered,
    ReserveError, ReserveReply, ReserveRequest, SessionEnd, WrittenReport,
};
use esker_sequencer::{LogCommand, LogState};
use esker_types::SessionId;

/// A command of the metadata journal.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Log(LogCommand),
    Group(GroupCommand),
}

/// Why a batch was not appended, as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProduceFailure {
    Kind(AppendErrorKind),
    OutOfOrder,
    DuplicateForgotten,
}

/// What one fetch read.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) log_start: u64,
    pub(crate) high_watermark: u64,
    /// Offset and value, ascending.
    pub(crate) records: Vec<(u64, u64)>,
}

/// Why a fetch has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchFailure {
    OutOfRange,
    NotNow,
}

/// The durable state as one that opens the journal reads it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) epoch: u64,
    pub(crate) log: LogState,
    pub(crate) groups: GroupOffsets,
}

/// One message. Calls have numbers that are never used again.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Produce {
        call: u64,
        connection: u64,
        partition: u32,
        batch: Bytes,
        timeout_millis: u64,
    },
    Produced(u64, Result<u64, ProduceFailure>),
    Fetch {
        call: u64,
        partition: u32,
        offset: u64,
    },
    Fetched(u64, Result<Arc<Fetched>, FetchFailure>),
    Latest(u64, u32),
    /// Offset and epoch.
    LatestDone(u64, Option<(u64, u64)>),
    Group(u64, Arc<GroupRequest>),
    /// With the epoch of the answer.
    Grouped(u64, Result<(Arc<GroupReply>, u64), MetadataError>),
    Register(u64, Option<SessionId>),
    Registered(u64, Result<Registered, MetadataError>),
    Reserve(u64, Arc<ReserveRequest>),
    Reserved(u64, Result<ReserveReply, ReserveError>),
    Written(u64, WrittenReport),
    Heard(u64),
    EndSession(u64, SessionId),
    Ended(u64, Option<SessionEnd>),
    Follow(u64),
    /// Of a stream, its n-th: an update, or a sign of life.
    Feed(u64, u64, Option<Arc<PartitionAdvance>>),
    LookUp {
        call: u64,
        partition: u32,
        offset: u64,
        extents_max: usize,
    },
    LookedUp(u64, Option<Arc<IndexSlice>>),
    Ping(u64),
    Pong(u64, bool),
    Open(u64),
    Opened(u64, Arc<Opened>),
    /// Epoch, number of the first command, commands.
    Append(u64, u64, Arc<Vec<Command>>),
    /// Epoch, number of the next command; `None`: fenced.
    Appended(u64, Option<u64>),
    Check(u64, u64),
    Checked(u64, bool),
}

impl Message {
    /// For the rolling hash and traces.
    pub(crate) fn kind(&self) -> (&'static str, u64) {
        match self {
            Self::Produce { call, .. } => ("produce", *call),
            Self::Produced(call, _) => ("produced", *call),
            Self::Fetch { call, .. } => ("fetch", *call),
            Self::Fetched(call, _) => ("fetched", *call),
            Self::Latest(call, _) => ("latest", *call),
            Self::LatestDone(call, _) => ("latest done", *call),
            Self::Group(call, _) => ("group", *call),
            Self::Grouped(call, _) => ("grouped", *call),
            Self::Register(call, _) => ("register", *call),
            Self::Registered(call, _) => ("registered", *call),
            Self::Reserve(call, _) => ("reserve", *call),
            Self::Reserved(call, _) => ("reserved", *call),
            Self::Written(call, _) => ("written", *call),
            Self::Heard(call) => ("heard", *call),
            Self::EndSession(call, _) => ("end session", *call),
            Self::Ended(call, _) => ("ended", *call),
            Self::Follow(stream) => ("follow", *stream),
            Self::Feed(_, number, _) => ("feed", *number),
            Self::LookUp { call, .. } => ("look up", *call),
            Self::LookedUp(call, _) => ("looked up", *call),
            Self::Ping(call) => ("ping", *call),
            Self::Pong(call, _) => ("pong", *call),
            Self::Open(call) => ("open", *call),
            Self::Opened(call, _) => ("opened", *call),
            Self::Append(_, from, _) => ("append", *from),
            Self::Appended(_, next) => ("appended", next.unwrap_or(u64::MAX)),
            Self::Check(call, _) => ("check", *call),
            Self::Checked(call, _) => ("checked", *call),
        }
    }

    /// The connection that breaks when this is lost.
    pub(crate) fn connection(&self) -> Option<u64> {
        match self {
            Self::Produce { connection, .. } => Some(*connection),
            _ => None,
        }
    }

    /// Goes over a connection that keeps order and sends nothing twice: a client's, or a feed.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(
            self,
            Self::Produce { .. }
                | Self::Produced(..)
                | Self::Fetch { .. }
                | Self::Fetched(..)
                | Self::Group(..)
                | Self::Grouped(..)
                | Self::Follow(_)
                | Self::Feed(..)
        )
    }
}
