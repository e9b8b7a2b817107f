//! Check 19: what may stand at the top, how large a file may be, and that no path is a machine's.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::tree::Tree;

const RULE: &str = "top-level";
const ENTRIES: &[&str] = &[
    ".ci",
    ".git",
    ".gitignore",
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "Makefile",
    "README.md",
    "changes",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    "docs",
    "helm",
    "services",
    "storage",
    "terraform",
    "tests",
];
const FILE_BYTES_MAX: usize = 256 * 1024;
/// Places of somebody's machine, or beside the checkout. Cut, so that this file has none of them.
const FOREIGN_PLACES: &[[&str; 2]] = &[
    ["/wo", "rk/"],
    ["/ro", "ot/"],
    ["/ho", "me/"],
    ["/Us", "ers/"],
    ["../sha", "red"],
    ["shared/", "design"],
];

pub(super) fn top_level(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let tops: BTreeSet<&str> = tree
        .lengths()
        .filter_map(|(path, _)| path.split('/').next())
        .collect();
    for top in tops.into_iter().filter(|top| !ENTRIES.contains(top)) {
        let message = "does not belong at the top level (ENTRIES in tests/tidy)";
        found.push(Finding::new(RULE, top, 1, message));
    }
    for (path, bytes) in tree.lengths() {
        if bytes > FILE_BYTES_MAX && !path.ends_with("Cargo.lock") {
            let message = format!("{bytes} bytes, at most {FILE_BYTES_MAX}");
            found.push(Finding::new(RULE, path, 1, message));
        }
    }
    for (path, text) in tree.texts() {
        for place in FOREIGN_PLACES.iter().map(|parts| parts.concat()) {
            for (at, _) in text
                .match_indices(&place)
                .filter(|(at, _)| begins_path(text, *at))
            {
                let line = text
                    .get(..at)
                    .map_or(1, |before| before.matches('\n').count() + 1);
                found.push(Finding::new(
                    RULE,
                    path,
                    line,
                    format!("a machine's path: {place}"),
                ));
            }
        }
    }
    found
}

/// Nothing that a path could go on from stands before.
fn begins_path(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    !before.is_some_and(|before| before.is_alphanumeric() || "._-}".contains(before))
}

#[cfg(test)]
mod tests {
    use super::{FOREIGN_PLACES, top_level};
    use crate::checks::{fires, passes};

    #[test]
    fn only_the_listed_entries_stand_at_the_top() {
        passes(top_level, &[("README.md", ""), ("docs/a.md", "")]);
        fires(top_level, &[("notes.txt", "")], "does not belong");
    }

    #[test]
    fn a_file_has_256_kib_at_most() {
        passes(top_level, &[("docs/a.md", &"a".repeat(256 * 1024))]);
        passes(top_level, &[("Cargo.lock", &"a".repeat(256 * 1024 + 1))]);
        fires(
            top_level,
            &[("docs/a.md", &"a".repeat(256 * 1024 + 1))],
            "at most",
        );
    }

    #[test]
    fn no_path_of_a_machine_is_written_down() {
        let [left, right] = FOREIGN_PLACES[0];

        passes(
            top_level,
            &[("docs/a.md", "see net/work and target/work/x")],
        );
        fires(
            top_level,
            &[("docs/a.md", &format!("see {left}{right}x"))],
            "machine's path",
        );
    }
}
