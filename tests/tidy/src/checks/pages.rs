//! Check 16: decisions have numbers of their own, format pages have golden bytes that a test loads,
//! and every rule and page that the code cites is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::source::words;
use crate::tree::Tree;

const RULE: &str = "pages";
/// What a page says that has no golden bytes by design.
const NO_BYTES: &str = "No golden bytes:";
/// Where rules are defined, in bold: `**W5`.
const RULE_PAGES: &[&str] = &[
    "docs/commit-protocol.md",
    "docs/journal.md",
    "docs/invariants.md",
];
const RULE_LETTERS: &[&str] = &[
    "CP", "C", "W", "D", "H", "Q", "R", "K", "G", "J", "I", "P", "X",
];

pub(super) fn pages(tree: &Tree) -> Vec<Finding> {
    let mut found = decisions(tree);
    found.extend(formats(tree));
    found.extend(citations(tree));
    found.extend(cited_pages(tree));
    found
}

fn decisions(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut numbers: BTreeSet<&str> = BTreeSet::new();
    for (path, _) in tree.texts() {
        let Some(name) = path.strip_prefix("docs/adr/") else {
            continue;
        };
        let number = name.split('-').next().unwrap_or_default();
        let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            found.push(Finding::new(
                RULE,
                path,
                1,
                "a decision is called NNNN-name.md",
            ));
        } else if !numbers.insert(number) {
            found.push(Finding::new(RULE, path, 1, format!("{number} is taken")));
        }
    }
    found
}

fn formats(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.texts() {
        let name = path.strip_prefix("docs/formats/");
        let Some(name) = name.and_then(|name| name.strip_suffix(".md")) else {
            continue;
        };
        if text.contains(NO_BYTES) {
            continue;
        }
        let golden = format!("docs/formats/{name}.hex");
        let is_loaded = tree.sources().any(|source| {
            source.find("include_str!(").any(|at| {
                let call = source.text.get(at..).unwrap_or_default();
                call.split(')')
                    .next()
                    .is_some_and(|call| call.contains(&golden))
            })
        });
        if tree.text(&golden).is_none() {
            let message = format!("has no {golden}, nor says \"{NO_BYTES}\" and why");
            found.push(Finding::new(RULE, path, 1, message));
        } else if !is_loaded {
            found.push(Finding::new(
                RULE,
                path,
                1,
                format!("no test loads {golden}"),
            ));
        }
    }
    found
}

fn citations(tree: &Tree) -> Vec<Finding> {
    let defined: BTreeSet<&str> = RULE_PAGES
        .iter()
        .filter_map(|path| tree.text(path))
        .flat_map(|text| text.split("**").skip(1).step_by(2))
        .filter_map(|bold| words(bold).next().map(|(_, word)| word))
        .collect();
    let mut cited: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for source in tree.sources() {
        for (at, word) in words(&source.text).filter(|(_, word)| is_rule(word)) {
            // In comments and messages only: in code such a word is a name.
            let code = source.code.get(at..at + word.len()).unwrap_or_default();
            if code.trim().is_empty() && !defined.contains(word) {
                cited
                    .entry(word)
                    .or_insert_with(|| (&source.path, source.line(at)));
            }
        }
    }
    cited
        .into_iter()
        .map(|(word, (path, line))| {
            let message = format!("{word} is cited and not defined in {RULE_PAGES:?}");
            Finding::new(RULE, path, line, message)
        })
        .collect()
}

/// Pages that the code names and nobody can read.
fn cited_pages(tree: &Tree) -> Vec<Finding> {
    let there: BTreeSet<&str> = tree
        .texts()
        .filter_map(|(path, _)| path.rsplit('/').next())
        .collect();
    let mut found = Vec::new();
    for source in tree.product() {
        for (at, _) in source.text.match_indices(".md") {
            let before = source.text.get(..at).unwrap_or_default();
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            let start = before.trim_end_matches(is_name).len();
            let name = source.text.get(start..at + ".md".len()).unwrap_or_default();
            if name != ".md" && !there.contains(name) {
                let message = format!("there is no page {name}");
                found.push(Finding::new(RULE, &source.path, source.line(at), message));
            }
        }
    }
    found
}

fn is_rule(word: &str) -> bool {
    let letters = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let digits = word.len() - letters.len();
    (1..=2).contains(&digits) && RULE_LETTERS.contains(&letters)
}

#[cfg(test)]
mod tests {
    use super::pages;
    use crate::checks::{fires, passes};

    const CODE: &str = "storage/x/src/a.rs";

    #[test]
    fn a_decision_has_a_number_of_its_own() {
        let first = ("docs/adr/0001-a.md", "");

        passes(pages, &[first, ("docs/adr/0002-b.md", "")]);
        fires(pages, &[first, ("docs/adr/0001-b.md", "")], "is taken");
        fires(pages, &[("docs/adr/why.md", "")], "NNNN");
    }

    #[test]
    fn a_format_has_golden_bytes_that_a_test_loads() {
        let page = ("docs/formats/a.md", "# A");
        let bytes = ("docs/formats/a.hex", "00");
        let test = (
            CODE,
            "const G: &str = include_str!(\"../../../docs/formats/a.hex\");",
        );

        passes(pages, &[page, bytes, test]);
        passes(pages, &[("docs/formats/a.md", "No golden bytes: text.")]);
        fires(pages, &[page], "has no docs/formats/a.hex");
        fires(pages, &[page, bytes], "no test loads");
    }

    #[test]
    fn a_page_that_is_cited_is_there() {
        let page = ("docs/journal.md", "");

        passes(pages, &[page, (CODE, "//! Source: docs/journal.md.")]);
        fires(
            pages,
            &[page, (CODE, "//! Source: kafka.md.")],
            "no page kafka.md",
        );
    }

    #[test]
    fn a_rule_that_is_cited_is_defined() {
        let rules = (
            "docs/commit-protocol.md",
            "- **W5** The pod writes.\n- **CP1** A. See W6.",
        );

        passes(
            pages,
            &[rules, (CODE, "assert!(a, \"CP1: b\"); // W5\nlet H3 = 1;")],
        );
        fires(pages, &[rules, (CODE, "// W6 and CP1")], "W6 is cited");
    }
}
