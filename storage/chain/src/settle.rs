//! A conditional create that goes on until it is known who holds the key. Shared with the journal.
//!
//! The bucket below gives up after a while; a chain cannot, since a place that is left open blocks
//! all behind it. Invariants: the same bytes go to the same key every time; `Ours` only for our own
//! bytes, seen or created; once an attempt may have been executed, doubt stays.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use esker_env::{Backoff, Env};
use esker_object::{Bucket, ObjectKey, ObjectRead, Patience, PutOutcome, ReadRange, StoreError};
use esker_types::{ByteRange, ClusterId, OBJECT_HEADER_BYTES, ObjectHeader, Planted, planted};

use crate::error::{ForeignObject, SettleError};
use crate::limits::{FOREIGN_READS_MAX, SETTLE_RETRY, SETTLE_WARN_TRIES};

const _: () = assert!(
    OBJECT_HEADER_BYTES == esker_object::IDENTITY_BYTES,
    "writes are told apart by their headers"
);

/// Who holds a key after a create. Final: a key is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "another's object is not a success"]
pub enum Settled {
    /// The object there is ours, by this call or by an earlier one with the same bytes.
    Ours,
    /// Another write of this cluster was first.
    Other(ObjectHeader),
}

/// Creates `key` with `body` (an object with a header of ours) and returns once it is known who is
/// there. Unknown outcomes and passing refusals are tried again, with the same bytes, for ever;
/// missing rights for as long as `patience` bears them. One PUT when all goes well; one GET of 64
/// bytes more when the key is taken.
///
/// # Errors
/// - [`SettleError::Store`]: rights, bucket, space or a feature is missing; says whether in doubt.
/// - [`SettleError::Foreign`]: the key holds something no process of this cluster writes.
///
/// # Cancel safety
/// Dropping the future leaves the outcome unknown. Calling again with the same bytes finds out.
pub async fn create_settled(
    bucket: &dyn Bucket,
    env: &Env,
    key: &ObjectKey,
    body: Bytes,
    patience: Patience,
) -> Result<Settled, SettleError> {
    let mut creation = Creation::new(bucket, env, key, body).bearing(patience);
    loop {
        if creation.claim().await? == Claim::Ours {
            return Ok(Settled::Ours);
        }
        match creation.holder().await {
            Ok(Some(settled)) => return Ok(settled),
            Ok(None) => creation.nobody_there().await,
            Err(HolderError::Store(source)) => creation.look_failed(source).await?,
            Err(HolderError::Foreign(source)) => {
                let key = key.clone();
                return Err(SettleError::Foreign { key, source });
            }
        }
    }
}

/// What the puts of a [`Creation`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The object is there and ours.
    Ours,
    /// The store says that the key is taken.
    Taken,
}

/// A create that was given up: the store refuses for a reason that a person must clear.
#[derive(Debug)]
pub(crate) struct GaveUp {
    /// Some attempt may have been executed, or may still be.
    pub(crate) in_doubt: bool,
    pub(crate) source: StoreError,
}

impl From<GaveUp> for SettleError {
    fn from(GaveUp { in_doubt, source }: GaveUp) -> Self {
        Self::Store { in_doubt, source }
    }
}

enum HolderError {
    Store(StoreError),
    Foreign(ForeignObject),
}

/// One create with all its tries.
pub(crate) struct Creation<'a> {
    bucket: &'a dyn Bucket,
    env: &'a Env,
    key: &'a ObjectKey,
    body: Bytes,
    header: ObjectHeader,
    backoff: Backoff,
    patience: Patience,
    in_doubt: bool,
}

impl<'a> Creation<'a> {
    pub(crate) fn new(
        bucket: &'a dyn Bucket,
        env: &'a Env,
        key: &'a ObjectKey,
        body: Bytes,
    ) -> Self {
        let header = ObjectHeader::decode(&body).ok();
        let header = header.filter(|header| object_bytes_by(header) == byte_count(&body));
        let header = header.expect("an object to create has a header that fits it");
        Self {
            bucket,
            env,
            key,
            body,
            header,
            backoff: SETTLE_RETRY.begin(),
            patience: Patience::NONE,
            in_doubt: false,
        }
    }

    /// Missing rights are borne for a while.
    pub(crate) fn bearing(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Puts until the object is there or somebody is met.
    pub(crate) async fn claim(&mut self) -> Result<Claim, GaveUp> {
        loop {
            let body = self.body.clone();
            let source = match self.bucket.put_if_absent(self.key, body).await {
                PutOutcome::Created | PutOutcome::AlreadyOurs => return Ok(Claim::Ours),
                PutOutcome::Exists if planted(Planted::ExistsIsSuccess) => {
                    return Ok(Claim::Ours);
                }
                PutOutcome::Unknown(_) if planted(Planted::UnknownIsSuccess) => {
                    return Ok(Claim::Ours);
                }
                PutOutcome::Exists => return Ok(Claim::Taken),
                PutOutcome::Unknown(error) => {
                    self.in_doubt = true;
                    error
                }
                PutOutcome::Refused(error) => error,
            };
            self.wait_or_give_up(source).await?;
        }
    }

    /// The key was taken, yet a look found nobody: whoever it was, an attempt of ours may be under
    /// way.
    pub(crate) async fn nobody_there(&mut self) {
        self.in_doubt = true;
        tracing::debug!(key = %self.key, "key was taken and then free");
        self.wait().await;
    }

    /// The key was taken and the look at it failed: it may be ours.
    pub(crate) async fn look_failed(&mut self, source: StoreError) -> Result<(), GaveUp> {
        self.in_doubt = true;
        self.wait_or_give_up(source).await
    }

    async fn wait_or_give_up(&mut self, source: StoreError) -> Result<(), GaveUp> {
        let in_doubt = self.in_doubt;
        if !self.patience.bears(source.kind, self.env.clock.now()) {
            return Err(GaveUp { in_doubt, source });
        }
        let tries = self.backoff.tries();
        if tries >= SETTLE_WARN_TRIES && tries.is_power_of_two() {
            let key = self.key;
            tracing::warn!(%key, tries, in_doubt, error = ?source, "create goes on failing");
        } else {
            tracing::debug!(key = %self.key, tries, in_doubt, error = ?source, "create failed");
        }
        self.wait().await;
        Ok(())
    }

    async fn wait(&mut self) {
        let delay = self.backoff.next_delay(&self.env.rng);
        let delay = delay.unwrap_or(SETTLE_RETRY.delay_max);
        self.env.clock.sleep(delay).await;
    }

    /// Reads who is there; `None` when nobody is. What makes no sense is read again first.
    async fn holder(&self) -> Result<Option<Settled>, HolderError> {
        let front_bytes = u64::try_from(OBJECT_HEADER_BYTES).unwrap_or(u64::MAX);
        let range = ByteRange::new(0, front_bytes).map_or(ReadRange::Full, ReadRange::Bounded);
        let mut reads = 0;
        loop {
            let read = self.bucket.get(self.key, range).await;
            let Some(read) = read.map_err(HolderError::Store)? else {
                return Ok(None);
            };
            reads += 1;
            match self.identify(&read) {
                Ok(settled) => return Ok(Some(settled)),
                Err(foreign) if reads >= FOREIGN_READS_MAX => {
                    return Err(HolderError::Foreign(foreign));
                }
                Err(foreign) => {
                    tracing::debug!(key = %self.key, error = ?foreign, "reading the header again");
                }
            }
        }
    }

    fn identify(&self, read: &ObjectRead) -> Result<Settled, ForeignObject> {
        let header = ObjectHeader::decode(&read.bytes).map_err(ForeignObject::Header)?;
        check_header(&header, self.header.cluster, read.object_bytes)?;
        if header == self.header {
            return Ok(Settled::Ours);
        }
        Ok(Settled::Other(header))
    }
}

/// Checks that a header found at a key of ours may stand there.
pub(crate) fn check_header(
    header: &ObjectHeader,
    expected: ClusterId,
    object_bytes: u64,
) -> Result<(), ForeignObject> {
    if header.cluster != expected {
        let found = header.cluster;
        return Err(ForeignObject::OtherCluster { found, expected });
    }
    let header_bytes = object_bytes_by(header);
    if header_bytes != object_bytes {
        return Err(ForeignObject::Length {
            object_bytes,
            header_bytes,
        });
    }
    Ok(())
}

/// Length of the whole object by its header.
pub(crate) fn object_bytes_by(header: &ObjectHeader) -> u64 {
    let front_bytes = u64::try_from(OBJECT_HEADER_BYTES).unwrap_or(u64::MAX);
    header.body_bytes.saturating_add(front_bytes)
}

pub(crate) fn byte_count(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
