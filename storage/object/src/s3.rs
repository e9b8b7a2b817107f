//! S3 and its likes as a bucket, through `object_store` with its retries off.
//!
//! Each call is one request (a range past the end costs a second one, for the length). Every answer
//! is classified here; 409 and every failure after sending is "unknown", never "exists".

mod classify;
mod config;
mod credentials;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};

use crate::limits::LIST_PAGE_COUNT_MAX;
use crate::{
    Bucket, ListedObject, ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError, StoreErrorKind,
};

use classify::{Answer, answer_of, classify_put, classify_read};
pub use config::{S3Config, S3OpenError, UploadChecksum};
use credentials::Credentials;
use transport::StoreClock;

/// A bucket, or a prefix of one, on S3.
#[derive(Debug)]
pub struct S3Bucket {
    store: AmazonS3,
    /// Empty, or ends with `/`.
    prefix: String,
    credentials: Arc<Credentials>,
    clock: Arc<StoreClock>,
}

impl S3Bucket {
    /// Milliseconds by which the store's clock is ahead of ours, negative when it is behind: by the
    /// `Date` of its last answer, refusals too. `None` before the first.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        self.clock.ahead_ms()
    }

    fn path(&self, operation: &'static str, key: &ObjectKey) -> Result<Path, StoreError> {
        Path::parse(format!("{}{key}", self.prefix)).map_err(|source| {
            StoreError::new(operation, key, StoreErrorKind::Unsupported).caused_by(source)
        })
    }

    /// Credentials that the store calls expired are fetched anew for the next request, and now and
    /// then those that it refuses: others may stand in their place by now.
    fn heed(&self, answer: Answer) -> Answer {
        match answer {
            Answer::CredentialsExpired if self.credentials.expire() => Answer::Passing,
            Answer::CredentialsExpired => Answer::Denied,
            Answer::Denied => {
                self.credentials.suspect();
                Answer::Denied
            }
            other => other,
        }
    }

    fn read_error(
        &self,
        operation: &'static str,
        key: &ObjectKey,
        error: object_store::Error,
    ) -> StoreError {
        let kind = classify_read(self.heed(answer_of(&error)));
        StoreError::new(operation, key, kind).caused_by(error)
    }

    async fn put(&self, key: &ObjectKey, body: Bytes) -> PutOutcome {
        let path = match self.path("put", key) {
            Ok(path) => path,
            Err(error) => return PutOutcome::Refused(error),
        };
        let options = PutOptions::from(PutMode::Create);
        match self
            .store
            .put_opts(&path, PutPayload::from_bytes(body), options)
            .await
        {
            Ok(_) => PutOutcome::Created,
            Err(error) => classify_put(key, self.heed(answer_of(&error)), error),
        }
    }

    async fn read(
        &self,
        key: &ObjectKey,
        range: ReadRange,
    ) -> Result<Option<ObjectRead>, StoreError> {
        let path = self.path("get", key)?;
        let wanted = match range {
            ReadRange::Full => None,
            ReadRange::Bounded(range) => Some(GetRange::Bounded(range.start()..range.end())),
            // No store has words for "the last 0 bytes".
            ReadRange::Suffix(0) => return self.read_nothing(key).await,
            ReadRange::Suffix(count) => Some(GetRange::Suffix(count)),
        };
        let options = GetOptions {
            range: wanted,
            ..GetOptions::default()
        };
        let found = match self.store.get_opts(&path, options).await {
            Ok(found) => found,
            Err(error) => {
                return match answer_of(&error) {
                    Answer::Missing => Ok(None),
                    Answer::RangePastEnd => self.read_nothing(key).await,
                    _ => Err(self.read_error("get", key, error)),
                };
            }
        };
        let object_bytes = found.meta.size;
        let bytes = found
            .bytes()
            .await
            .map_err(|error| self.read_error("get", key, error))?;
        Ok(Some(ObjectRead {
            bytes,
            object_bytes,
        }))
    }

    async fn read_nothing(&self, key: &ObjectKey) -> Result<Option<ObjectRead>, StoreError> {
        let length = self.length("get", key).await?;
        Ok(length.map(|object_bytes| ObjectRead {
            bytes: Bytes::new(),
            object_bytes,
        }))
    }

    async fn length(
        &self,
        operation: &'static str,
        key: &ObjectKey,
    ) -> Result<Option<u64>, StoreError> {
        let path = self.path(operation, key)?;
        match self.store.head(&path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(error) if answer_of(&error) == Answer::Missing => Ok(None),
            Err(error) => Err(self.read_error(operation, key, error)),
        }
    }

    async fn list(
        &self,
        prefix: &ObjectKey,
        after: Option<&ObjectKey>,
        count_max: usize,
    ) -> Result<Vec<ListedObject>, StoreError> {
        let full_prefix = format!("{}{prefix}", self.prefix);
        let options = PaginatedListOptions {
            offset: after.map(|after| format!("{}{after}", self.prefix)),
            max_keys: Some(count_max.min(LIST_PAGE_COUNT_MAX)),
            ..PaginatedListOptions::default()
        };
        let page = self
            .store
            .list_paginated(Some(&full_prefix), options)
            .await
            .map_err(|error| self.read_error("list", prefix, error))?;
        let mut rows: Vec<ListedObject> = Vec::new();
        for object in page.result.objects {
            let key = object.location.as_ref().strip_prefix(self.prefix.as_str());
            let key = key.and_then(ObjectKey::from_listing);
            // Some stores ignore start-after: what is not behind it is not wanted.
            if let Some(key) = key.filter(|key| after.is_none_or(|after| key > after)) {
                rows.push(ListedObject {
                    key,
                    object_bytes: object.size,
                });
            }
        }
        rows.sort_by(|left, right| left.key.cmp(&right.key)); // S3 Express lists out of order
        Ok(rows)
    }
}

impl Bucket for S3Bucket {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        self.put(key, body).boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        self.read(key, range).boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.length("head", key).boxed()
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        self.list(prefix, after, count_max).boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let path = self.path("delete", key)?;
            match self.store.delete(&path).await {
                Ok(()) => Ok(()),
                Err(error) if answer_of(&error) == Answer::Missing => Ok(()),
                Err(error) => Err(self.read_error("delete", key, error)),
            }
        }
        .boxed()
    }
}
