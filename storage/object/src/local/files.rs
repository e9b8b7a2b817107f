//! The file operations of a local bucket. Blocking; called on blocking threads only.
//!
//! A create writes a temporary file, syncs it, links it to its name (atomic, fails if the name is
//! taken) and syncs the directory. Whoever *sees* a file syncs its directory too unless that is
//! known to be done: nothing is told to exist that a power failure could still take away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::limits::{LOCAL_DIRECTORIES_KNOWN_MAX, LOCAL_KEY_PARTS_MAX};
use crate::memory::resolve_range;
use crate::{
    ListedObject, ObjectKey, ObjectRead, PutOutcome, ReadRange, StoreError, StoreErrorKind,
};

use super::lock::DirectoryLock;
use super::walk;

/// Where files are written before they get their name.
pub(super) const TEMPORARY_DIRECTORY: &str = ".tmp";

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    temporary_number: AtomicU64,
    synced: Mutex<SyncedDirectories>,
    /// Without it the directory may belong to another process: nothing is written.
    lock: Option<DirectoryLock>,
}

/// What is known about directories, so that each needs to be synced on its own behalf only once.
#[derive(Debug, Default)]
struct SyncedDirectories {
    /// Directories whose entries were all durable when last looked at.
    known: BTreeSet<PathBuf>,
    /// Directories with names linked but not yet synced, and how many.
    pending: BTreeMap<PathBuf, u32>,
}

/// What a failed file operation means to the caller.
pub(super) fn kind_of(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Denied,
        _ => StoreErrorKind::Retry,
    }
}

/// Makes the directory and those above it, durably.
pub(super) fn create_root(root: &Path) -> io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    if let Some(parent) = root
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_root(parent)?;
    }
    match fs::create_dir(root) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Err(_) | Ok(()) => {}
    }
    match root
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => sync_directory(parent),
        None => sync_directory(Path::new(".")),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes the temporary file on every way out.
struct Temporary {
    path: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A leftover is harmless and is removed at the next open.
        let _ = fs::remove_file(&self.path);
    }
}

impl Directory {
    pub(super) fn open(root: PathBuf, lock: DirectoryLock) -> io::Result<Self> {
        let temporary = root.join(TEMPORARY_DIRECTORY);
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        fs::create_dir(&temporary)?;
        Self::with(root, Some(lock))
    }

    /// A directory that another process may hold: nothing is made, removed or written.
    pub(super) fn open_to_read(root: PathBuf) -> io::Result<Self> {
        Self::with(root, None)
    }

    fn with(root: PathBuf, lock: Option<DirectoryLock>) -> io::Result<Self> {
        fs::read_dir(&root)?; // an unreadable directory is found now, not at the first listing
        Ok(Self {
            root,
            temporary_number: AtomicU64::new(0),
            synced: Mutex::new(SyncedDirectories::default()),
            lock,
        })
    }

    /// Refuses to change a directory that is open for reading.
    fn check_held(&self, operation: &'static str, key: &ObjectKey) -> Result<(), StoreError> {
        match &self.lock {
            Some(_) => Ok(()),
            None => Err(StoreError::new(operation, key, StoreErrorKind::Denied)),
        }
    }

    fn synced(&self) -> MutexGuard<'_, SyncedDirectories> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a key; `None` for a key that would leave the directory or hide in it.
    fn path(&self, key: &ObjectKey) -> Option<PathBuf> {
        let mut path = self.root.clone();
        let mut part_count = 0;
        for part in key.as_str().split('/') {
            part_count += 1;
            let plain = !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
            if !plain || part_count > LOCAL_KEY_PARTS_MAX {
                return None;
            }
            path.push(part);
        }
        Some(path)
    }

    pub(super) fn put(&self, key: &ObjectKey, body: &Bytes) -> PutOutcome {
        if let Err(refused) = self.check_held("put", key) {
            return PutOutcome::Refused(refused);
        }
        let Some(path) = self.path(key) else {
            return PutOutcome::Refused(StoreError::new("put", key, StoreErrorKind::Unsupported));
        };
        let refuse = |error: io::Error| PutOutcome::Refused(self.failure("put", key, error));
        let parent = path.parent().unwrap_or(&self.root);
        if path.symlink_metadata().is_ok() {
            return self.exists(key, parent);
        }
        if let Err(error) = self.create_parents(parent) {
            self.synced().known.clear(); // somebody may have removed what was known
            return refuse(error);
        }
        let temporary = match self.write_temporary(body) {
            Ok(temporary) => temporary,
            Err(error) => return refuse(error),
        };
        self.begin_link(parent);
        let linked = fs::hard_link(&temporary.path, &path);
        let synced = match &linked {
            Ok(()) => sync_directory(parent),
            Err(_) => Ok(()),
        };
        self.end_link(parent, linked.is_ok() && synced.is_ok());
        match (linked, synced) {
            (Ok(()), Ok(())) => PutOutcome::Created,
            (Ok(()), Err(error)) => PutOutcome::Unknown(self.failure("put", key, error)),
            (Err(error), _) if error.kind() == ErrorKind::AlreadyExists => self.exists(key, parent),
            (Err(error), _) => refuse(error),
        }
    }

    fn exists(&self, key: &ObjectKey, parent: &Path) -> PutOutcome {
        match self.make_durable(parent) {
            Ok(()) => PutOutcome::Exists,
            Err(error) => PutOutcome::Unknown(self.failure("put", key, error)),
        }
    }

    fn write_temporary(&self, body: &Bytes) -> io::Result<Temporary> {
        let number = self.temporary_number.fetch_add(1, Ordering::Relaxed);
        let temporary = Temporary {
            path: self.root.join(TEMPORARY_DIRECTORY).join(number.to_string()),
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary.path)?;
        file.write_all(body)?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn begin_link(&self, parent: &Path) {
        *self.synced().pending.entry(parent.to_owned()).or_insert(0) += 1;
    }

    fn end_link(&self, parent: &Path, is_synced: bool) {
        let mut synced = self.synced();
        if !is_synced {
            synced.known.remove(parent);
        }
        if let Some(count) = synced.pending.get_mut(parent) {
            *count -= 1;
            if *count == 0 {
                synced.pending.remove(parent);
            }
        }
    }

    /// Makes sure that what is seen in `directory`, and the way to it, outlives a power failure.
    fn make_durable(&self, directory: &Path) -> io::Result<()> {
        {
            let synced = self.synced();
            if synced.known.contains(directory) && !synced.pending.contains_key(directory) {
                return Ok(());
            }
        }
        sync_directory(directory)?;
        if directory != self.root
            && let Some(parent) = directory.parent()
        {
            self.make_durable(parent)?;
        }
        self.remember(directory);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn known_count(&self) -> usize {
        self.synced().known.len()
    }

    pub(super) fn remember(&self, directory: &Path) {
        let mut synced = self.synced();
        if synced.known.len() >= LOCAL_DIRECTORIES_KNOWN_MAX {
            synced.known.clear();
        }
        synced.known.insert(directory.to_owned());
    }

    /// Makes the directories of a key. One that another thread has just made may not be durable
    /// yet, so only those known to be are trusted.
    fn create_parents(&self, directory: &Path) -> io::Result<()> {
        if directory == self.root || self.synced().known.contains(directory) {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(&self.root);
        self.create_parents(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Err(_) | Ok(()) => {}
        }
        sync_directory(parent)?;
        sync_directory(directory)?;
        self.remember(directory);
        Ok(())
    }

    fn open_existing(&self, key: &ObjectKey) -> io::Result<Option<File>> {
        let Some(path) = self.path(key) else {
            return Ok(None);
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        self.make_durable(path.parent().unwrap_or(&self.root))?;
        Ok(Some(file))
    }

    pub(super) fn get(
        &self,
        key: &ObjectKey,
        range: ReadRange,
    ) -> Result<Option<ObjectRead>, StoreError> {
        self.read(key, range)
            .map_err(|error| self.failure("get", key, error))
    }

    fn read(&self, key: &ObjectKey, range: ReadRange) -> io::Result<Option<ObjectRead>> {
        let Some(mut file) = self.open_existing(key)? else {
            return Ok(None);
        };
        let object_bytes = file.metadata()?.len();
        let (start, end) = resolve_range(range, object_bytes);
        let count = usize::try_from(end - start).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(start))?;
        // Read into fresh memory as it is: zeroing it first would cost a tenth of a cold read.
        let mut bytes = Vec::with_capacity(count);
        let found = file.take(end - start).read_to_end(&mut bytes)?;
        if found != count {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(ObjectRead {
            bytes: Bytes::from(bytes),
            object_bytes,
        }))
    }

    pub(super) fn head(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        let length = || match self.open_existing(key)? {
            Some(file) => Ok(Some(file.metadata()?.len())),
            None => Ok(None),
        };
        length().map_err(|error| self.failure("head", key, error))
    }

    pub(super) fn list(
        &self,
        prefix: &ObjectKey,
        after: Option<&ObjectKey>,
        count_max: usize,
    ) -> Result<Vec<ListedObject>, StoreError> {
        let request = walk::ListRequest {
            prefix: prefix.as_str(),
            after: after.map(ObjectKey::as_str),
            count_max: count_max.min(crate::limits::LIST_PAGE_COUNT_MAX),
        };
        walk::list(&self.root, request).map_err(|error| self.failure("list", prefix, error))
    }

    pub(super) fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.check_held("delete", key)?;
        let Some(path) = self.path(key) else {
            return Err(StoreError::new("delete", key, StoreErrorKind::Unsupported));
        };
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(self.failure("delete", key, error))
            }
            Err(_) | Ok(()) => Ok(()),
        }
    }

    fn failure(&self, operation: &'static str, key: &ObjectKey, error: io::Error) -> StoreError {
        let kind = if error.kind() == ErrorKind::NotFound && !self.root.is_dir() {
            StoreErrorKind::NoBucket
        } else {
            kind_of(&error)
        };
        StoreError::new(operation, key, kind).caused_by(error)
    }
}
