//! The files of the tree in memory: what git tracks, and what it would track.
//!
//! Checks take a [`Tree`] and nothing else, so their tests make small ones from pairs of path and
//! text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::source::Source;

/// Why a tree could not be read.
#[derive(Debug)]
pub enum LoadError {
    /// A file or the command could not be read.
    Io(std::io::Error),
    /// `git ls-files` failed: the tree is no checkout.
    NotACheckout,
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Io(_) => "read a file of the tree",
            Self::NotACheckout => "list the tree with git: it is no checkout",
        })
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotACheckout => None,
        }
    }
}

/// All files by path, Rust files parsed as far as the checks need.
#[derive(Debug)]
pub struct Tree {
    texts: BTreeMap<String, String>,
    bytes: BTreeMap<String, usize>,
    sources: Vec<Source>,
}

impl Tree {
    /// Reads the checkout at `root`: tracked files, and new ones that are not ignored.
    ///
    /// # Errors
    /// - [`LoadError::NotACheckout`]: git does not know the tree.
    /// - [`LoadError::Io`]: a file could not be read.
    pub fn load(root: &Path) -> Result<Self, LoadError> {
        let listed = Command::new("git")
            .args(["ls-files", "-co", "--exclude-standard", "-z"])
            .current_dir(root)
            .output()
            .map_err(LoadError::Io)?;
        if !listed.status.success() {
            return Err(LoadError::NotACheckout);
        }

        let mut files = BTreeMap::new();
        for path in String::from_utf8_lossy(&listed.stdout).split('\0') {
            let on_disk = root.join(path);
            if !path.is_empty() && on_disk.is_file() {
                let bytes = std::fs::read(on_disk).map_err(LoadError::Io)?;
                files.insert(path.to_owned(), bytes);
            }
        }
        Ok(Self::from_files(files))
    }

    fn from_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        let bytes = files
            .iter()
            .map(|(path, bytes)| (path.clone(), bytes.len()))
            .collect();
        let texts: BTreeMap<String, String> = files
            .into_iter()
            .filter_map(|(path, bytes)| Some((path, String::from_utf8(bytes).ok()?)))
            .collect();
        let mut sources: Vec<Source> = texts
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source::new(path, text))
            .collect();
        let test_modules: BTreeSet<String> =
            sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut sources {
            source.join_test_modules(&test_modules);
        }
        Self {
            texts,
            bytes,
            sources,
        }
    }

    /// A tree of these paths and texts.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let bytes = |text: &&str| text.as_bytes().to_vec();
        Self::from_files(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), bytes(text)))
                .collect(),
        )
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Every file that is text, by path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Every file with its length.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = (&str, usize)> {
        self.bytes
            .iter()
            .map(|(path, bytes)| (path.as_str(), *bytes))
    }

    /// Every Rust file.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// Rust files of the product: below `storage/` and `services/`.
    pub(crate) fn product(&self) -> impl Iterator<Item = &Source> {
        self.sources().filter(|source| is_product(&source.path))
    }
}

/// Whether a path lies in a crate of the product.
pub(crate) fn is_product(path: &str) -> bool {
    path.starts_with("storage/") || path.starts_with("services/")
}

/// The directory of the crate that a path lies in, as `storage/types`.
pub(crate) fn crate_of(path: &str) -> &str {
    let end = path.match_indices('/').nth(1).map_or(0, |(at, _)| at);
    path.get(..end).unwrap_or_default()
}
