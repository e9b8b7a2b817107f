//! The narrow view of an object store that everything above works with.
//!
//! Creation is conditional always: a key is written once. Each back end makes single attempts;
//! `DurableBucket` adds retry, hedging and metering around it and is a `Bucket` itself.

use std::fmt::Debug;

use bytes::Bytes;
use esker_types::ByteRange;
use futures::future::BoxFuture;

use crate::ObjectKey;

/// Bytes at the front of an object by which two writes of one key are told apart (with the length).
pub const IDENTITY_BYTES: usize = 64;

/// What became of a conditional create. Exhaustive on purpose: each case must be decided.
#[derive(Debug)]
#[must_use = "an unknown outcome is neither success nor failure"]
pub enum PutOutcome {
    /// The object did not exist; now it holds our bytes.
    Created,
    /// It existed and holds our own bytes: an earlier attempt of this write succeeded.
    AlreadyOurs,
    /// It exists and holds another write's bytes.
    Exists,
    /// The store may or may not have taken it. Send the same bytes to the same key, or look.
    Unknown(StoreError),
    /// The store refused; surely nothing was written.
    Refused(StoreError),
}

/// Which part of an object to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRange {
    /// All of it.
    Full,
    /// These bytes; fewer when the object ends earlier.
    Bounded(ByteRange),
    /// The last so many bytes; the whole object when it is shorter.
    Suffix(u64),
}

/// What a read returned.
#[derive(Clone, Debug)]
pub struct ObjectRead {
    /// The bytes read.
    pub bytes: Bytes,
    /// Length of the whole object.
    pub object_bytes: u64,
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its length.
    pub object_bytes: u64,
}

/// What the caller may do about a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Passing: try again.
    Retry,
    /// The store asks for less: try again, later.
    Throttled,
    /// Wrong credentials or missing rights; surely nothing was done. It may pass, as when
    /// credentials are replaced ([`crate::Patience`]); if not, a person must act.
    Denied,
    /// No such bucket or directory: a person must act.
    NoBucket,
    /// The disk or quota is full: a person must act; nothing was written.
    Full,
    /// The store lacks a feature that Esker needs, or the request is wrong.
    Unsupported,
    /// No try was left or the time was over.
    Exhausted,
}

/// A failed request, with what was attempted.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of {key} failed ({kind:?})")]
pub struct StoreError {
    /// `put`, `get`, `head`, `list` or `delete`.
    pub operation: &'static str,
    /// The key, or the prefix of a listing.
    pub key: ObjectKey,
    /// What may be done about it.
    pub kind: StoreErrorKind,
    /// What the back end said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// A failure without a foreign cause.
    #[must_use]
    pub fn new(operation: &'static str, key: &ObjectKey, kind: StoreErrorKind) -> Self {
        Self {
            operation,
            key: key.clone(),
            kind,
            source: None,
        }
    }

    /// The same failure with what caused it.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// An object store, seen through the operations Esker needs. Object-safe; shared in an `Arc`.
pub trait Bucket: Debug + Send + Sync + 'static {
    /// Creates `key` unless it exists. `body` is sent as it is, in order; the same key may only
    /// ever be tried with the same bytes.
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome>;

    /// Reads an object or a part of it; `None` when it does not exist.
    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>>;

    /// Length of an object; `None` when it does not exist.
    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>>;

    /// Up to `count_max` objects below `prefix` whose keys sort behind `after`, in key order. A
    /// hint only: never proof that something is missing. A back end makes one request and may
    /// therefore return no more than [`LIST_PAGE_COUNT_MAX`](crate::limits::LIST_PAGE_COUNT_MAX).
    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>>;

    /// Deletes an object; one that is gone already counts as deleted.
    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>>;
}
