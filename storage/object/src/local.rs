//! A directory as a bucket: keys are files, creation is atomic and durable before it is answered.
//!
//! Blocking work runs on tokio's blocking threads, bounded by a semaphore; dropping a future leaves
//! its outcome unknown. One process per directory, held by a lock file.

mod files;
mod lock;
#[cfg(test)]
mod tests;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::Semaphore;

use crate::limits::LOCAL_OPERATIONS_MAX;
use crate::{
    Bucket, ListedObject, ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError, StoreErrorKind,
};

use files::Directory;
use lock::DirectoryLock;

/// Why a directory cannot serve as a bucket.
#[derive(Debug, thiserror::Error)]
pub enum LocalOpenError {
    /// Another process works on it.
    #[error(
        "directory {} is in use by {}: stop that process or choose another directory",
        directory.display(), holder(*.process_id)
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that holds it, if it said so.
        process_id: Option<u32>,
    },
    /// It cannot be made, read or written.
    #[error(
        "directory {} cannot be used: give this user the right to read and write it, \
         or choose another directory", directory.display()
    )]
    Denied {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The disk is full.
    #[error("the disk of directory {} is full: make room", directory.display())]
    Full {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Anything else, such as a path that is a file.
    #[error(
        "directory {} cannot be opened: check the path, or choose another directory",
        directory.display()
    )]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

fn holder(process_id: Option<u32>) -> String {
    process_id.map_or_else(
        || "another process".to_owned(),
        |id| format!("process {id}"),
    )
}

impl LocalOpenError {
    fn from_io(directory: &Path, source: std::io::Error) -> Self {
        let directory = directory.to_owned();
        match files::kind_of(&source) {
            StoreErrorKind::Denied => Self::Denied { directory, source },
            StoreErrorKind::Full => Self::Full { directory, source },
            _ => Self::Io { directory, source },
        }
    }
}

/// A bucket in a directory. Clones share it; the lock is free when the last one is gone.
#[derive(Clone, Debug)]
pub struct LocalBucket {
    directory: Arc<Directory>,
    permits: Arc<Semaphore>,
}

impl LocalBucket {
    /// Makes the directory if needed, locks it and removes what an earlier process left half-done.
    ///
    /// # Errors
    /// [`LocalOpenError`]: another process holds it, or it cannot be used.
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Self, LocalOpenError> {
        Self::opened(directory.into(), |root| {
            let io = |source| LocalOpenError::from_io(root, source);
            files::create_root(root).map_err(io)?;
            let lock = DirectoryLock::acquire(root)?;
            Directory::open(root.to_owned(), lock).map_err(io)
        })
        .await
    }

    /// Opens a directory that another process may work on, to read only: it is not locked, nothing
    /// is made or removed, puts and deletions are refused.
    ///
    /// # Errors
    /// [`LocalOpenError`]: it is not there, or cannot be read.
    pub async fn open_to_read(directory: impl Into<PathBuf>) -> Result<Self, LocalOpenError> {
        Self::opened(directory.into(), |root| {
            Directory::open_to_read(root.to_owned())
                .map_err(|source| LocalOpenError::from_io(root, source))
        })
        .await
    }

    async fn opened(
        root: PathBuf,
        open: impl FnOnce(&Path) -> Result<Directory, LocalOpenError> + Send + 'static,
    ) -> Result<Self, LocalOpenError> {
        let shown = root.clone();
        let opened = tokio::task::spawn_blocking(move || open(&root)).await;
        let directory = opened.unwrap_or_else(|stopped| {
            Err(LocalOpenError::from_io(
                &shown,
                std::io::Error::other(stopped),
            ))
        })?;
        Ok(Self {
            directory: Arc::new(directory),
            permits: Arc::new(Semaphore::new(LOCAL_OPERATIONS_MAX)),
        })
    }

    /// Runs `work` on a blocking thread once a permit is free; `None` when the runtime is stopping.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> T + Send + 'static,
    ) -> Option<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let directory = Arc::clone(&self.directory);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&directory)
        });
        task.await.ok()
    }
}

fn stopped(operation: &'static str, key: &ObjectKey) -> StoreError {
    StoreError::new(operation, key, StoreErrorKind::Exhausted)
}

impl Bucket for LocalBucket {
    fn put_if_absent<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        let owned = key.clone();
        async move {
            let done = self
                .blocking(move |directory| directory.put(&owned, &body))
                .await;
            done.unwrap_or_else(|| PutOutcome::Unknown(stopped("put", key)))
        }
        .boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: ReadRange,
    ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
        let owned = key.clone();
        async move {
            let done = self
                .blocking(move |directory| directory.get(&owned, range))
                .await;
            done.unwrap_or_else(|| Err(stopped("get", key)))
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        let owned = key.clone();
        async move {
            let done = self.blocking(move |directory| directory.head(&owned)).await;
            done.unwrap_or_else(|| Err(stopped("head", key)))
        }
        .boxed()
    }

    fn list_after<'a>(
        &'a self,
        prefix: &'a ObjectKey,
        after: Option<&'a ObjectKey>,
        count_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
        let (owned, after) = (prefix.clone(), after.cloned());
        async move {
            let done = self
                .blocking(move |directory| directory.list(&owned, after.as_ref(), count_max))
                .await;
            done.unwrap_or_else(|| Err(stopped("list", prefix)))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
        let owned = key.clone();
        async move {
            let done = self
                .blocking(move |directory| directory.delete(&owned))
                .await;
            done.unwrap_or_else(|| Err(stopped("delete", key)))
        }
        .boxed()
    }
}
