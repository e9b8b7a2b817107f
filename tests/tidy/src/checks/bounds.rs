//! Check 12: each limit is named in a test, and the page of limits is what the code says.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::limits_page::{LIMITS_PAGE, limits as limits_of, limits_files, page};
use crate::tree::{Tree, crate_of};

const RULE: &str = "limits";

pub(super) fn limits(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for source in limits_files(tree) {
        for limit in limits_of(source) {
            *uses.entry(limit.name).or_default() += 1;
        }
    }
    for source in limits_files(tree) {
        for limit in limits_of(source) {
            // A name that two crates use must be in a test of each; else any test will do.
            let is_shared = uses.get(limit.name).is_some_and(|count| *count > 1);
            let own = crate_of(&source.path);
            let mut tests = tree
                .sources()
                .filter(|test| !is_shared || crate_of(&test.path) == own);
            let is_named = tests.any(|test| test.find(limit.name).any(|at| test.is_test(at)));
            if !is_named {
                let message = format!(
                    "no test names {}: add one that goes one past it",
                    limit.name
                );
                found.push(Finding::new(RULE, &source.path, limit.line, message));
            }
        }
    }
    if tree.text(LIMITS_PAGE) != Some(page(tree).as_str()) {
        let message = "not what the code says: cargo run -p esker-tidy -- --write";
        found.push(Finding::new(RULE, LIMITS_PAGE, 1, message));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::limits;
    use crate::checks::{fires, messages, passes};
    use crate::limits_page::{LIMITS_PAGE, page};
    use crate::tree::Tree;

    const LIMITS: (&str, &str) = (
        "storage/x/src/limits.rs",
        "/// A.\npub const A_MAX: u8 = 1;\n",
    );
    const TEST: (&str, &str) = ("storage/x/tests/a.rs", "assert_eq!(a, A_MAX + 1);");

    #[test]
    fn a_limit_that_a_test_names_passes_and_another_does_not() {
        let page = page(&Tree::of(&[LIMITS]));
        let page = (LIMITS_PAGE, page.as_str());
        let production = ("storage/x/src/a.rs", "let a = A_MAX;");

        passes(limits, &[LIMITS, page, TEST]);
        fires(limits, &[LIMITS, page, production], "no test names A_MAX");
    }

    #[test]
    fn a_name_of_two_crates_needs_a_test_in_each() {
        let other = ("storage/y/src/limits.rs", LIMITS.1);

        let found = messages(limits, &[LIMITS, other, TEST, (LIMITS_PAGE, "")]);

        let unnamed = found.iter().filter(|found| found.contains("A_MAX")).count();
        assert_eq!(unnamed, 1);
    }

    #[test]
    fn a_page_that_is_out_of_date_is_found() {
        fires(
            limits,
            &[LIMITS, TEST, (LIMITS_PAGE, "# Limits\n")],
            "--write",
        );
    }
}
