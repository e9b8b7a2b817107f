//! The page that says which test goes past which limit names tests that exist.

use std::path::Path;

use anyhow::{Context as _, ensure};

const PAGE: &str = include_str!("../../../../docs/limit-tests.md");

/// Every `path::test` that the page names, in backticks in the last cell of a row.
fn named() -> Vec<(&'static str, &'static str)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit_once('|'));
    let names = cells.flat_map(|(_, tests)| tests.split('`').skip(1).step_by(2));
    names.filter_map(|name| name.split_once("::")).collect()
}

#[test]
fn every_test_that_the_page_names_is_there() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = named();

    for (path, test) in &named {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| path.to_string())?;
        let is_there = text.contains(&format!("fn {test}("));
        ensure!(is_there, "{path} has no test {test}");
    }
    ensure!(named.len() >= 25, "{} tests are named", named.len());
    Ok(())
}
