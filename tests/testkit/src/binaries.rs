//! What tests are told by the environment, and where `.ci/bootstrap` puts what it brings.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// A variable of the environment; an empty one is as none.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told about tools by the environment"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file that `.ci/bootstrap` made in its cache (`$ESKER_CACHE`, or `~/.cache/esker`).
///
/// # Errors
/// It is missing; `part` is the argument of `.ci/bootstrap` that makes it.
pub fn bootstrapped(name: &str, part: &str) -> anyhow::Result<PathBuf> {
    let cache = variable("ESKER_CACHE").map(PathBuf::from);
    let home = || Path::new(&variable("HOME").unwrap_or_default()).join(".cache/esker");
    let path = cache.unwrap_or_else(home).join(name);
    if !path.exists() {
        bail!("{} is missing: run .ci/bootstrap {part}", path.display());
    }
    Ok(path)
}
