//! The project's own rules that a machine can check: docs/STYLE.md, section "What tidy checks".
//!
//! A [`Tree`] is read once; each check looks at it and returns findings; `exceptions.toml` takes
//! away those that a written reason excuses, and an entry that excuses nothing is a finding too.
//! Pure but for `Tree::load` and `--write`. Bounded by the tree: one pass a file, about a second.

mod checks;
mod exceptions;
mod finding;
mod limits_page;
mod source;
mod tree;

pub use exceptions::EXCEPTIONS_PATH;
pub use finding::Finding;
pub use limits_page::{LIMITS_PAGE, page as limits_page};
pub use tree::{LoadError, Tree};

/// All findings of `tree` that no exception excuses, by path and line.
#[must_use]
pub fn findings(tree: &Tree) -> Vec<Finding> {
    let mut found = exceptions::apply(tree, checks::all(tree));
    found.sort();
    found
}
