//! Lists files below a directory in the byte order of their keys, as S3 does.
//!
//! A directory sorts as its name with `/` behind it: that is where its keys stand.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::limits::LOCAL_KEY_PARTS_MAX;
use crate::{ListedObject, ObjectKey};

/// What to list.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListRequest<'a> {
    pub(super) prefix: &'a str,
    pub(super) after: Option<&'a str>,
    pub(super) count_max: usize,
}

impl ListRequest<'_> {
    /// Whether a directory may hold a wanted key. `directory_key` ends with `/` or is empty.
    fn may_hold(&self, directory_key: &str) -> bool {
        let below =
            directory_key.starts_with(self.prefix) || self.prefix.starts_with(directory_key);
        let behind = self
            .after
            .is_none_or(|after| directory_key > after || after.starts_with(directory_key));
        below && behind
    }

    fn wants(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }
}

pub(super) fn list(root: &Path, request: ListRequest<'_>) -> io::Result<Vec<ListedObject>> {
    let mut found = Vec::new();
    visit(root, "", request, &mut found)?;
    Ok(found)
}

fn visit(
    directory: &Path,
    directory_key: &str,
    request: ListRequest<'_>,
    found: &mut Vec<ListedObject>,
) -> io::Result<()> {
    for (name, path) in sorted_entries(directory)? {
        if found.len() >= request.count_max {
            return Ok(());
        }
        let key = format!("{directory_key}{name}");
        let is_directory = name.ends_with('/');
        if is_directory {
            let depth = key.matches('/').count();
            if depth < LOCAL_KEY_PARTS_MAX && request.may_hold(&key) {
                visit(&path, &key, request, found)?;
            }
        } else if request.wants(&key) {
            add(&path, &key, found)?;
        }
    }
    Ok(())
}

fn add(path: &Path, key: &str, found: &mut Vec<ListedObject>) -> io::Result<()> {
    let length = match path.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(key) = ObjectKey::from_listing(key) {
        found.push(ListedObject {
            key,
            object_bytes: length,
        });
    }
    Ok(())
}

/// Visible entries; the name of a directory ends with `/`. Names that are not UTF-8 are not ours.
fn sorted_entries(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut sorted = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(mut name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            name.push('/');
        }
        sorted.push((name, entry.path()));
    }
    sorted.sort();
    Ok(sorted)
}
