//! Check 21: a test that a page cites as `path.rs::name` exists. A page that argues with proofs is
//! worth what its proofs are.

use crate::finding::Finding;
use crate::tree::Tree;

const RULE: &str = "cited_tests";

pub(super) fn cited_tests(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| is_page(path)) {
        for (number, line) in text.lines().enumerate() {
            for (file, name) in line.split('`').skip(1).step_by(2).filter_map(citation) {
                let function = format!("fn {name}(");
                let is_there = tree.text(file).is_some_and(|text| text.contains(&function));
                if !is_there {
                    let message = format!("{file} has no {name}");
                    found.push(Finding::new(RULE, path, number + 1, message));
                }
            }
        }
    }
    found
}

fn is_page(path: &str) -> bool {
    path.starts_with("docs/") && path.ends_with(".md")
}

/// File and function of `file.rs::function`; `None` for anything else in backticks.
fn citation(quoted: &str) -> Option<(&str, &str)> {
    let (file, name) = quoted.split_once(".rs::")?;
    let file = quoted.get(..file.len() + ".rs".len())?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && !name.is_empty() && file.contains('/')).then_some((file, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{fires, passes};

    const FILE: (&str, &str) = ("storage/a/src/b.rs", "#[test]\nfn it_holds() {}");

    #[test]
    fn a_cited_test_exists() {
        let page = (
            "docs/why.md",
            "held by `storage/a/src/b.rs::it_holds`, `b.rs::x`",
        );
        passes(cited_tests, &[FILE, page]);

        let gone = ("docs/why.md", "held by `storage/a/src/b.rs::it_held`");
        fires(cited_tests, &[FILE, gone], "has no it_held");

        let elsewhere = ("docs/why.md", "`storage/a/src/c.rs::it_holds`");
        fires(cited_tests, &[FILE, elsewhere], "c.rs has no it_holds");
    }
}
