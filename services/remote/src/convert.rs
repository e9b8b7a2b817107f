//! Between `metadata-api`'s types and those of the wire, both ways and without loss.
//!
//! What comes from the wire is checked here and nowhere else: a value that no type of ours can
//! hold, an absent part, a variant that this version does not know, each is [`Malformed`]. A
//! server refuses such a request before anything is done; for a client such a reply is an unknown
//! outcome.

mod blocks;
mod failure;
mod groups;
mod ids;
mod index;
mod pods;
mod sequencer;
mod table;
mod topics;

pub(crate) use failure::{Reply, failure_of, kind_of};
pub(crate) use ids::{bytes16, cluster, id16, offset, producer_id, topic_partition};
pub(crate) use index::{advance_parts, extent, grown};
pub(crate) use sequencer::{reserve_outcome, verdicts};
pub(crate) use table::{TableParts, delta_parts};
pub(crate) use topics::{alter_request, collision, create_request, topic, topic_of, topic_ref};

/// What came from the wire is nothing that this version understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} of a message makes no sense")]
pub struct Malformed {
    pub(crate) field: &'static str,
}

/// The part called `field`, which must be there.
pub(crate) fn present<T>(value: Option<T>, field: &'static str) -> Result<T, Malformed> {
    value.ok_or(Malformed { field })
}

#[cfg(test)]
mod tests;
