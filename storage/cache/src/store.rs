//! What the engine asks of the memory behind it.

use std::fmt::Debug;

use bytes::Bytes;
use esker_types::MonotonicTime;

use crate::Heat;
use crate::key::EntryKey;

/// Entries up to a weight in bytes; evicts by itself when one more comes in. Never waits.
pub(crate) trait Store: Debug + Send + Sync + 'static {
    /// The entry, which counts as a use of it.
    fn get(&self, key: &EntryKey) -> Option<Bytes>;
    /// Puts an entry in at this time; one that is there under the key is replaced.
    fn put(&self, key: EntryKey, bytes: Bytes, heat: Heat, now: MonotonicTime);
    /// Takes an entry out.
    fn remove(&self, key: &EntryKey);
    /// Bytes of all entries.
    fn bytes(&self) -> u64;
    /// Bytes of the heaviest entry that may be put in.
    fn entry_bytes_max(&self) -> u64;
}
