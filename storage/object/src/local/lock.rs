//! One process per directory: an exclusive `flock` on `.lock`, which holds the process id as text.
//!
//! The kernel frees it with the process, so a crash leaves nothing to clean up.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::LocalOpenError;

/// Name of the lock file, directly in the directory.
pub(super) const LOCK_FILE: &str = ".lock";
/// More than any process id needs.
const PROCESS_ID_BYTES_MAX: u64 = 16;

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    pub(super) fn acquire(directory: &Path) -> Result<Self, LocalOpenError> {
        let io = |source| LocalOpenError::from_io(directory, source);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(directory.join(LOCK_FILE)).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LocalOpenError::InUse {
                    directory: directory.to_owned(),
                    process_id: read_process_id(&mut file),
                });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

fn read_process_id(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PROCESS_ID_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok()
}
