//! Settings of both sides, with their defaults and the reasons for them.

use std::net::SocketAddr;
use std::time::Duration;

use esker_env::RetryPolicy;
use esker_types::ClusterId;

use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, BLOCKS_SERVED_MAX, CALL_DEADLINE_MAX, CALLS_IN_FLIGHT_MAX,
    CALLS_PER_CLIENT_MAX, CONNECTIONS_MAX, DIAL_RETRY, FEEDS_PER_CLIENT_MAX, MESSAGE_BYTES_MAX,
    REQUEST_BYTES_RECEIVED_MAX, STREAMS_PER_CONNECTION_MAX,
};
use crate::protocol::Protocols;
use crate::tls::{ClientTls, ServerTls};

/// How a dead connection is found out: HTTP/2 pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence after which a ping is sent.
    pub interval: Duration,
    /// Silence after a ping that ends the connection.
    pub timeout: Duration,
}

impl Default for KeepAlive {
    /// A silent peer is found within 6 s, and one dial to it fails within 2: a failover has 10.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3),
            timeout: Duration::from_secs(3),
        }
    }
}

/// How long a call may take, from its start to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// All but those of the next row. Above the longest wait for undecided ranges (20 s); callers
    /// give up earlier where they want to.
    pub call: Duration,
    /// JoinGroup and SyncGroup, which wait for other members.
    pub rebalance: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            rebalance: CALL_DEADLINE_MAX,
        }
    }
}

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it listens. Bind it privately: without TLS whoever reaches it is believed.
    pub listen: SocketAddr,
    /// The cluster that it serves; clients of another are refused.
    pub cluster: ClusterId,
    /// Versions that it speaks; narrower than [`Protocols::OURS`] to hold a roll-out back.
    pub protocols: Protocols,
    /// Certificates; `None` for plain text.
    pub tls: Option<ServerTls>,
    /// How dead clients are found, so that their feeds end.
    pub keep_alive: KeepAlive,
    /// How long a connection may take for its TLS handshake.
    pub handshake_timeout: Duration,
    /// How long calls in hand may go on once the server stops.
    pub drain_timeout: Duration,
    /// Connections, see [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// Streams of a connection, see [`STREAMS_PER_CONNECTION_MAX`].
    pub streams_max: u32,
    /// Calls and feeds in hand, see [`CALLS_IN_FLIGHT_MAX`].
    pub calls_max: usize,
    /// Questions for blocks in hand, see [`BLOCKS_SERVED_MAX`].
    pub blocks_max: usize,
    /// Bytes of one message, see [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Bytes of requests being received, see [`REQUEST_BYTES_RECEIVED_MAX`].
    pub request_bytes_max: usize,
}

impl ServerConfig {
    /// Defaults for `cluster`, listening at `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr, cluster: ClusterId) -> Self {
        Self {
            listen,
            cluster,
            protocols: Protocols::OURS,
            tls: None,
            keep_alive: KeepAlive::default(),
            handshake_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
            connections_max: CONNECTIONS_MAX,
            streams_max: STREAMS_PER_CONNECTION_MAX,
            calls_max: CALLS_IN_FLIGHT_MAX,
            blocks_max: BLOCKS_SERVED_MAX,
            message_bytes_max: MESSAGE_BYTES_MAX,
            request_bytes_max: REQUEST_BYTES_RECEIVED_MAX,
        }
    }
}

/// Settings of a client.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Where servers may be reached, `host:port`; one of them leads. 1 to [`ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    /// The cluster; servers of another are not spoken to.
    pub cluster: ClusterId,
    /// Node id of this process: whose defaults of topics count here.
    pub node_id: i32,
    /// Versions that it speaks; narrower than [`Protocols::OURS`] to hold a roll-out back.
    pub protocols: Protocols,
    /// Certificates; `None` for plain text.
    pub tls: Option<ClientTls>,
    /// How long calls may take.
    pub deadlines: Deadlines,
    /// How a dead server is found.
    pub keep_alive: KeepAlive,
    /// How long a connection may take: name, TCP, TLS and the first answer together.
    pub dial_timeout: Duration,
    /// Waits between two dials of one address.
    pub dial_retry: RetryPolicy,
    /// Calls in flight, see [`CALLS_PER_CLIENT_MAX`].
    pub calls_max: usize,
    /// Feeds, see [`FEEDS_PER_CLIENT_MAX`].
    pub feeds_max: usize,
    /// Bytes of one message, see [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
}

/// Settings that no client can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteConfigError {
    /// Nowhere to go.
    #[error("no address of a metadata server is given")]
    NoAddress,
    /// More than are tried.
    #[error("{count} addresses are given, at most {ADDRESSES_MAX} are allowed")]
    TooManyAddresses {
        /// How many.
        count: usize,
    },
    /// Not `host:port`.
    #[error("address {place} is not host:port in at most {ADDRESS_BYTES_MAX} bytes")]
    Address {
        /// Which, counted from 1.
        place: usize,
    },
    /// Zero, or longer than a server takes.
    #[error("a deadline lies outside 1 ms to {CALL_DEADLINE_MAX:?}")]
    Deadline,
}

impl RemoteConfig {
    /// Defaults for `cluster`, over `addresses`.
    #[must_use]
    pub fn new(addresses: Vec<String>, cluster: ClusterId, node_id: i32) -> Self {
        Self {
            addresses,
            cluster,
            node_id,
            protocols: Protocols::OURS,
            tls: None,
            deadlines: Deadlines::default(),
            keep_alive: KeepAlive::default(),
            dial_timeout: Duration::from_secs(2),
            dial_retry: DIAL_RETRY,
            calls_max: CALLS_PER_CLIENT_MAX,
            feeds_max: FEEDS_PER_CLIENT_MAX,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }

    /// Whether a client can work with them.
    ///
    /// # Errors
    /// [`RemoteConfigError`]: which rule they break.
    pub fn check(&self) -> Result<(), RemoteConfigError> {
        if self.addresses.is_empty() {
            return Err(RemoteConfigError::NoAddress);
        }
        let count = self.addresses.len();
        if count > ADDRESSES_MAX {
            return Err(RemoteConfigError::TooManyAddresses { count });
        }
        for (at, address) in self.addresses.iter().enumerate() {
            if !is_address(address) {
                return Err(RemoteConfigError::Address { place: at + 1 });
            }
        }
        let is_allowed = |deadline: Duration| {
            deadline >= Duration::from_millis(1) && deadline <= CALL_DEADLINE_MAX
        };
        if !is_allowed(self.deadlines.call) || !is_allowed(self.deadlines.rebalance) {
            return Err(RemoteConfigError::Deadline);
        }
        Ok(())
    }
}

/// `host:port`: a name, an IPv4 address or an IPv6 address in brackets.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:%".contains(&byte);
    text.len() <= ADDRESS_BYTES_MAX
        && !host.is_empty()
        && host.bytes().all(allowed)
        && (is_bracketed || !host.contains(':'))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &[&str]) -> RemoteConfig {
        let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
        RemoteConfig::new(addresses, ClusterId::from_bytes([1; 16]), 1)
    }

    #[test]
    fn one_address_more_than_allowed_is_refused() {
        let some = vec!["metadata-0.esker:9644"; ADDRESSES_MAX + 1];

        assert_eq!(config(&some[1..]).check(), Ok(()));
        let count = ADDRESSES_MAX + 1;
        let refused = Err(RemoteConfigError::TooManyAddresses { count });
        assert_eq!(config(&some).check(), refused);
        assert_eq!(config(&[]).check(), Err(RemoteConfigError::NoAddress));
    }

    #[test]
    fn an_address_is_host_and_port_in_so_many_bytes() {
        let long = format!("{}:9644", "a".repeat(ADDRESS_BYTES_MAX - 5));
        for good in [
            "a:1",
            "10.0.0.1:65535",
            "[::1]:9644",
            "[fe80::1%eth0]:1",
            &long,
        ] {
            assert_eq!(config(&["a:1", good]).check(), Ok(()), "{good}");
        }
        let longer = format!("a{long}");
        for bad in [
            "", "a", ":1", "a:0", "a:65536", "::1:1", "a b:1", "a/b:1", &longer,
        ] {
            let refused = Err(RemoteConfigError::Address { place: 2 });
            assert_eq!(config(&["a:1", bad]).check(), refused, "{bad}");
        }
    }

    #[test]
    fn a_deadline_is_one_that_servers_take() {
        let mut config = config(&["a:1"]);
        config.deadlines.rebalance = CALL_DEADLINE_MAX + Duration::from_millis(1);
        assert_eq!(config.check(), Err(RemoteConfigError::Deadline));
        config.deadlines = Deadlines {
            call: Duration::ZERO,
            ..Deadlines::default()
        };
        assert_eq!(config.check(), Err(RemoteConfigError::Deadline));
    }
}
