//! `cargo run -p esker-tidy` checks the tree it stands in; `-- --write` makes docs/LIMITS.md anew.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use esker_tidy::{LIMITS_PAGE, Tree, findings, limits_page};

fn main() -> anyhow::Result<ExitCode> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = Tree::load(&root).context("read the tree")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => {}
        ["--write"] => {
            std::fs::write(root.join(LIMITS_PAGE), limits_page(&tree))
                .with_context(|| format!("write {LIMITS_PAGE}"))?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => anyhow::bail!("usage: esker-tidy [--write]"),
    }

    let found = findings(&tree);
    let mut out = std::io::stdout().lock();
    for finding in &found {
        writeln!(out, "{finding}")?;
    }
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "{} findings; rules and reasons: docs/STYLE.md",
        found.len()
    )?;
    Ok(ExitCode::FAILURE)
}
