//! One member of a group, in memory.

use std::time::Duration;

use bytes::Bytes;
use esker_metadata_api::{DescribedMember, JoinGroup, JoinedMember};
use esker_types::MonotonicTime;

use crate::limits::MEMBER_OVERHEAD_BYTES;
use crate::{SummaryMember, Ticket};

/// A member. Its id is its key in the group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    client_id: String,
    client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// Protocols it can do, best first, with its metadata for each.
    protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// Gone when not heard of until then. Does not count while it waits, unless it is new.
    pub(crate) alive_until: MonotonicTime,
    /// Was never told a generation: it cannot send heartbeats, so its wait for the first one is
    /// bounded by `alive_until`.
    pub(crate) is_new: bool,
    /// Was told the generation and has not asked for its assignment.
    pub(crate) sync_pending: bool,
    /// Its waiting Join.
    pub(crate) joining: Option<Ticket>,
    /// Its waiting Sync.
    pub(crate) syncing: Option<Ticket>,
}

impl Member {
    /// A member that joins, waiting on `ticket`.
    pub(crate) fn joining(request: &JoinGroup, ticket: Ticket, alive_until: MonotonicTime) -> Self {
        Self {
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            alive_until,
            is_new: true,
            sync_pending: false,
            joining: Some(ticket),
            syncing: None,
        }
    }

    /// A member as it stood at the last completed rebalance. Only its metadata for the protocol
    /// chosen then is known.
    pub(crate) fn restored(summary: &SummaryMember, protocol: &str, now: MonotonicTime) -> Self {
        Self {
            instance: summary.instance.clone(),
            client_id: summary.client_id.clone(),
            client_host: summary.client_host.clone(),
            session_timeout: summary.session_timeout,
            rebalance_timeout: summary.rebalance_timeout,
            protocols: vec![(protocol.to_owned(), summary.metadata.clone())],
            assignment: summary.assignment.clone(),
            alive_until: now.after(summary.session_timeout),
            is_new: false,
            sync_pending: false,
            joining: None,
            syncing: None,
        }
    }

    /// Takes over what a Join says.
    pub(crate) fn update(&mut self, request: &JoinGroup) {
        self.client_id.clone_from(&request.client_id);
        self.client_host.clone_from(&request.client_host);
        self.session_timeout = request.session_timeout;
        self.rebalance_timeout = request.rebalance_timeout;
        self.protocols.clone_from(&request.protocols);
    }

    /// Whether a Join says nothing new about protocols and metadata.
    pub(crate) fn matches(&self, request: &JoinGroup) -> bool {
        self.protocols == request.protocols
    }

    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// The protocols it can do, best first.
    pub(crate) fn protocol_names(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// Heard of at `now`.
    pub(crate) fn refresh(&mut self, now: MonotonicTime) {
        self.alive_until = now.after(self.session_timeout);
    }

    /// Until when it must be heard of; `None` while its own request waits here.
    pub(crate) fn deadline(&self) -> Option<MonotonicTime> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !waits).then_some(self.alive_until)
    }

    /// Ids, texts, protocols and metadata, as the limits count them.
    pub(crate) fn bytes(&self, id: &str) -> usize {
        let texts = id.len() + self.client_id.len() + self.client_host.len();
        let instance = self.instance.as_ref().map_or(0, String::len);
        texts + instance + protocol_bytes(&self.protocols) + MEMBER_OVERHEAD_BYTES
    }

    pub(crate) fn joined(&self, id: &str, protocol: &str) -> JoinedMember {
        JoinedMember {
            member: id.to_owned(),
            instance: self.instance.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// For tools; metadata and assignment only of a stable group (`protocol`).
    pub(crate) fn described(&self, id: &str, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member: id.to_owned(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol.map(|name| self.metadata(name)).unwrap_or_default(),
            assignment: protocol
                .map(|_| self.assignment.clone())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn summary(&self, id: &str, protocol: &str) -> SummaryMember {
        SummaryMember {
            member: id.to_owned(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout: self.session_timeout,
            rebalance_timeout: self.rebalance_timeout,
            metadata: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }
}

/// Names and metadata of protocols, with a little for each, as the limits count them.
pub(crate) fn protocol_bytes(protocols: &[(String, Bytes)]) -> usize {
    let each = |(name, metadata): &(String, Bytes)| name.len() + metadata.len() + PROTOCOL_BYTES;
    protocols.iter().map(each).sum()
}

/// Memory of a protocol beside its name and metadata.
const PROTOCOL_BYTES: usize = 64;
