//! `docs/LIMITS.md`, generated from every `limits.rs` of the product.

use std::fmt::Write as _;

use crate::source::{Source, words};
use crate::tree::{Tree, crate_of};

/// Where the page is.
pub const LIMITS_PAGE: &str = "docs/LIMITS.md";

const HEAD: &str = "# Limits\n\nGenerated from each `limits.rs`: `cargo run -p esker-tidy -- \
                    --write`. Each has a test that goes one past it.\n";

/// One constant of a `limits.rs`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Limit<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: usize,
    value: String,
    meaning: String,
}

/// The limits of the product, by file.
pub(crate) fn limits_files(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.product()
        .filter(|source| source.path.ends_with("/src/limits.rs"))
}

/// The constants of one file, in its order.
pub(crate) fn limits(source: &Source) -> Vec<Limit<'_>> {
    let mut limits = Vec::new();
    for at in source.find("const ") {
        let rest = source.code.get(at + "const ".len()..).unwrap_or_default();
        let Some((_, name)) = words(rest).next().filter(|(_, name)| *name != "_") else {
            continue;
        };
        let end = statement_end(rest).map(|end| at + "const ".len() + end);
        let statement = end.and_then(|end| source.text.get(at..end));
        let value = statement.and_then(|statement| statement.split_once('='));
        let line = source.line(at);
        limits.push(Limit {
            name,
            line,
            value: value.map_or_else(String::new, |(_, value)| one_line(value)),
            meaning: meaning(source, line),
        });
    }
    limits
}

fn statement_end(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    code.bytes().position(|byte| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        byte == b';' && depth == 0
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The doc comment above a line.
fn meaning(source: &Source, line: usize) -> String {
    let above: Vec<&str> = source.text.lines().take(line - 1).collect();
    let comment = above
        .iter()
        .rev()
        .take_while(|line| line.starts_with("///"))
        .map(|line| line.trim_start_matches("///"))
        .collect::<Vec<_>>();
    one_line(&comment.into_iter().rev().collect::<Vec<_>>().join(" "))
}

/// The page as it must be.
#[must_use]
pub fn page(tree: &Tree) -> String {
    let mut text = HEAD.to_owned();
    for source in limits_files(tree) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n| limit | value | meaning |\n|---|---|---|\n",
            crate_of(&source.path)
        );
        for limit in limits(source) {
            let Limit {
                name,
                value,
                meaning,
                ..
            } = limit;
            let _ = writeln!(text, "| `{name}` | `{value}` | {meaning} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::tree::Tree;

    #[test]
    fn the_page_has_a_row_for_each_limit() {
        let text = "/// Bytes of\n/// one.\npub const A_MAX: u32 = 8 * 1024;\n\
                    pub const B: Wait = Wait {\n    first: 1,\n};\nconst _: () = assert!(true);\n";

        let page = page(&Tree::of(&[("storage/x/src/limits.rs", text)]));

        let rows = "| `A_MAX` | `8 * 1024` | Bytes of one. |\n| `B` | `Wait { first: 1, }` |  |\n";
        assert!(page.ends_with(rows), "{page}");
        assert!(page.contains("\n## storage/x\n"));
    }
}
