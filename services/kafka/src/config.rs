//! Settings of a listener: numbers only; parts (clock, service) are handed to `bind`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::limits;

/// How a [`crate::Listener`] listens. Defaults are those of `limits.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Address and port to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Bytes of one request; more closes the connection before memory is taken.
    pub frame_bytes_max: usize,
    /// Bytes of requests in flight over all connections. When used up, sockets are not read.
    pub request_bytes_max: usize,
    /// Estimated bytes of decoded requests in flight over all connections.
    pub decoded_bytes_max: usize,
    /// Bytes of replies that may wait for clients to take them: beyond it connections whose client
    /// takes nothing are ended. Also what large answers that are being made may need together.
    pub reply_bytes_max: usize,
    /// Bytes of requests that one connection may have in flight.
    pub connection_bytes_max: usize,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one client address.
    pub connections_per_address_max: usize,
    /// Close a connection that sends no request, or takes no byte of its reply, for this long.
    pub idle_timeout: Duration,
    /// Close a connection that does not finish a frame in this time, plus a second per MiB.
    pub partial_frame_timeout: Duration,
    /// When stopping, wait this long for replies in flight.
    pub drain_timeout: Duration,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9092)),
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            // Two of the largest requests, or some 250 of a usual producer's full ones.
            request_bytes_max: 256 * 1024 * 1024,
            decoded_bytes_max: 256 * 1024 * 1024,
            reply_bytes_max: 256 * 1024 * 1024,
            connection_bytes_max: limits::CONNECTION_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address_max: limits::CONNECTIONS_PER_ADDRESS_MAX,
            idle_timeout: limits::IDLE_TIMEOUT,
            partial_frame_timeout: limits::PARTIAL_FRAME_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_frame_fits_every_budget_by_default() {
        let config = ListenerConfig::default();

        assert!(config.frame_bytes_max <= config.connection_bytes_max);
        assert!(config.frame_bytes_max <= config.request_bytes_max);
        assert_eq!(config.connection_bytes_max, limits::CONNECTION_BYTES_MAX);
        assert!(config.drain_timeout == limits::DRAIN_TIMEOUT);
        assert!(limits::DRAIN_TIMEOUT < config.idle_timeout);
    }
}
