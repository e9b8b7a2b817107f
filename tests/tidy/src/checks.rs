//! The checks, in the order of docs/STYLE.md. Each takes the tree and returns findings.

mod ambient;
mod bounds;
mod causes;
mod cited_tests;
mod crates;
mod functions;
mod hygiene;
mod kafka_errors;
mod measures;
mod pages;
mod proofs;
mod shape;
mod top_level;

use crate::finding::Finding;
use crate::tree::Tree;

pub(crate) type Check = fn(&Tree) -> Vec<Finding>;

const ALL: &[Check] = &[
    crates::layers,
    crates::homes,
    crates::pure,
    shape::sizes,
    functions::functions,
    shape::headers,
    crates::manifests_say,
    shape::names,
    hygiene::bans,
    proofs::proofs,
    hygiene::tests_only_test,
    bounds::limits,
    kafka_errors::kafka_errors,
    measures::metrics,
    proofs::seams,
    pages::pages,
    causes::fuzz_targets,
    causes::error_variants,
    ambient::ambient,
    top_level::top_level,
    cited_tests::cited_tests,
];

pub(crate) fn all(tree: &Tree) -> Vec<Finding> {
    ALL.iter().flat_map(|check| check(tree)).collect()
}

/// Messages of what `check` finds in a tree of these files.
#[cfg(test)]
pub(crate) fn messages(check: Check, files: &[(&str, &str)]) -> Vec<String> {
    let found = check(&Tree::of(files));
    found.into_iter().map(|finding| finding.message).collect()
}

/// Asserts that `check` finds one breach, whose message has `part` in it.
#[cfg(test)]
#[track_caller]
pub(crate) fn fires(check: Check, files: &[(&str, &str)], part: &str) {
    let found = messages(check, files);
    assert!(
        matches!(found.as_slice(), [only] if only.contains(part)),
        "{found:?}"
    );
}

/// Asserts that `check` finds nothing.
#[cfg(test)]
#[track_caller]
pub(crate) fn passes(check: Check, files: &[(&str, &str)]) {
    assert_eq!(messages(check, files), Vec::<String>::new());
}
