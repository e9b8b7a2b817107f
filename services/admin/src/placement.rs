//! Which broker stands where: leaders, replicas and coordinators by rendezvous hash.

/// A process that clients can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its node id; not negative.
    pub node_id: i32,
    /// The host that clients reach it by.
    pub host: String,
    /// The port that goes with it.
    pub port: u16,
    /// The zone it runs in.
    pub rack: Option<String>,
}
