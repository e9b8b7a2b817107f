//! Who hears what a producer does while it does it, to write a history.

use super::{Batch, BatchOwner, Told};

/// One request of a producer: a batch that goes out, for the first time or again.
#[derive(Clone, Copy, Debug)]
pub struct SentBatch<'a> {
    /// Who sends.
    pub producer: u32,
    /// Where to.
    pub topic: &'a str,
    /// What.
    pub batch: Batch,
    /// The identity and sequence under which it goes; `None` without idempotence.
    pub owner: Option<BatchOwner>,
}

/// Hears each request when it goes out and when it ends. Called from the producer's task: no wait.
pub trait Witness: std::fmt::Debug + Send + Sync {
    /// A connection was opened; what it calls it. Sends of one connection have an order.
    fn connected(&self) -> u32;

    /// A batch goes out on that connection; what it calls the request.
    fn sends(&self, connection: u32, sent: &SentBatch<'_>) -> u64;

    /// The request of that name has ended.
    fn told(&self, request: u64, told: Told);
}
