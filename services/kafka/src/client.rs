//! A small Kafka client for the command line and for tests; works against any Kafka broker.
//!
//! Versions are negotiated per connection. A request is routed to the partition's leader, the
//! group's coordinator or any broker, and asked again, within bounds, when the cluster says that it
//! was routed wrongly. Concurrent requests each take a connection of their own from a small pool,
//! so dropping a request's future never leaves a half-read reply to another.

mod cluster;
mod configs;
mod error;
mod groups;
mod log;
mod socket;
mod topics;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use esker_env::{Env, RetryPolicy};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Request, StrBytes};

use crate::limits::{BOOTSTRAP_ADDRESSES_MAX, CLIENT_IDLE_SOCKETS_MAX, CLIENT_SOCKET_IDLE_MAX};
use cluster::Cluster;
pub use cluster::{Address, Broker};
pub use configs::{ConfigChange, ConfigResource, Effect};
pub use error::ClientError;
pub use groups::{CommittedOffset, OffsetToCommit};
pub use log::{FetchOptions, Fetched, Isolation, ListedOffset, OffsetQuery, Produced};
use socket::Socket;
pub use topics::{CreatedTopic, NewTopic};

/// How often and how patiently a routed request is tried.
const RETRY: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_millis(50),
    delay_max: Duration::from_secs(1),
    tries_max: 12,
};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Whichever broker answers first, known ones before the bootstrap list.
    Any,
    /// The broker with this node id, as Metadata names it.
    Node(i32),
}

/// A client of one cluster. Cheap to share by reference; methods may run concurrently.
#[derive(Debug)]
pub struct Client {
    client_id: StrBytes,
    env: Env,
    request_timeout: Duration,
    bootstrap: Vec<Address>,
    cluster: Mutex<Cluster>,
    idle: Mutex<BTreeMap<Address, Vec<Socket>>>,
}

impl Client {
    /// Connects to the first broker of `bootstrap` (`host:port`, separated by commas) that answers,
    /// and learns the others from it.
    ///
    /// # Errors
    /// - [`ClientError::BadAddress`]: the list is malformed, empty or longer than 64.
    /// - [`ClientError::Unreachable`], [`ClientError::NoAnswer`]: no broker of the list; the last
    ///   one's failure.
    pub async fn connect(bootstrap: &str, client_id: &str, env: Env) -> Result<Self, ClientError> {
        let addresses = bootstrap.split(',').map(Address::parse);
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        if addresses.len() > BOOTSTRAP_ADDRESSES_MAX {
            return Err(ClientError::BadAddress {
                given: bootstrap.to_owned(),
            });
        }
        let client = Self {
            client_id: StrBytes::from_string(client_id.to_owned()),
            env,
            request_timeout: Duration::from_secs(30),
            bootstrap: addresses,
            cluster: Mutex::default(),
            idle: Mutex::default(),
        };
        client.metadata(Some(&[])).await?;
        Ok(client)
    }

    /// Changes how long a reply may take (30 s at first); a Fetch's own wait comes on top.
    #[must_use]
    pub fn with_request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Sends `request` in the highest version that this client and the broker both know.
    ///
    /// # Errors
    /// See [`Self::request_at_most`].
    pub async fn request<Req: Request>(
        &self,
        target: Target,
        request: &Req,
    ) -> Result<Req::Response, ClientError> {
        self.request_at_most(target, request, i16::MAX).await
    }

    /// Sends `request` in the highest version up to `version_max` that both sides know. Error codes
    /// inside the response are the caller's to read.
    ///
    /// # Errors
    /// - [`ClientError::Unsupported`]: no common version, or it lacks a field that is set.
    /// - [`ClientError::UnknownBroker`]: no such node; ask for metadata.
    /// - [`ClientError::Unreachable`]: nothing was sent.
    /// - [`ClientError::Closed`], [`ClientError::NoAnswer`]: sent, its effect is unknown.
    /// - [`ClientError::Malformed`]: the answer makes no sense; the connection was dropped.
    ///
    /// # Cancel safety
    /// Dropping the future closes its connection; the request may still have its effect.
    pub async fn request_at_most<Req: Request>(
        &self,
        target: Target,
        request: &Req,
        version_max: i16,
    ) -> Result<Req::Response, ClientError> {
        self.request_within(target, request, 0..=version_max).await
    }

    async fn request_within<Req: Request>(
        &self,
        target: Target,
        request: &Req,
        versions: RangeInclusive<i16>,
    ) -> Result<Req::Response, ClientError> {
        let mut socket = self.socket(target).await?;
        let response = socket.exchange(&self.env, request, versions).await?;
        self.keep(socket);
        Ok(response)
    }

    /// A connection to `target`: a kept one, or a new one.
    async fn socket(&self, target: Target) -> Result<Socket, ClientError> {
        let addresses = match target {
            Target::Any => {
                let mut known = self.with_cluster(|cluster| cluster.addresses());
                known.extend(self.bootstrap.iter().cloned());
                known
            }
            Target::Node(node) => vec![self.with_cluster(|cluster| cluster.address(node))?],
        };
        let mut failure = ClientError::UnknownBroker { node: -1 };
        for address in addresses {
            if let Some(kept) = self.kept(&address) {
                return Ok(kept);
            }
            let opened = Socket::open(&address, &self.client_id, &self.env, self.request_timeout);
            match opened.await {
                Ok(socket) => return Ok(socket),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn kept(&self, address: &Address) -> Option<Socket> {
        let now = self.env.clock.now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = idle.get_mut(address)?;
        sockets.retain(|socket| {
            socket.idle_since(now) < CLIENT_SOCKET_IDLE_MAX && socket.looks_open()
        });
        sockets.pop()
    }

    fn keep(&self, socket: Socket) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = idle.entry(socket.address().clone()).or_default();
        if sockets.len() < CLIENT_IDLE_SOCKETS_MAX {
            sockets.push(socket);
        }
    }

    fn with_cluster<T>(&self, read: impl FnOnce(&mut Cluster) -> T) -> T {
        read(&mut self.cluster.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `attempt` until it succeeds, fails for good, or the tries are used up. Between tries
    /// the cluster's map is refreshed where the failure says that it was wrong.
    async fn retrying<T, Attempt: Future<Output = Result<T, ClientError>>>(
        &self,
        topic: Option<&str>,
        is_safe: fn(&ClientError) -> bool,
        attempt: impl Fn() -> Attempt,
    ) -> Result<T, ClientError> {
        let mut backoff = RETRY.begin();
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) if !is_safe(&error) => return Err(error),
                Err(error) => error,
            };
            let Some(delay) = backoff.next_delay(&self.env.rng) else {
                return Err(error);
            };
            tracing::debug!(%error, "asking again");
            self.env.clock.sleep(delay).await;
            if let Some(topic) = topic {
                // A failure here shows again in the next attempt.
                let _ = self.metadata(Some(&[topic])).await;
            }
        }
    }
}

/// The codec's name of a request's API, for errors.
fn api_of<Req: Request>() -> Option<ApiKey> {
    ApiKey::try_from(Req::KEY).ok()
}
