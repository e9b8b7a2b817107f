//! Check 17: fuzz targets are registered, and each variant of an error is named in some test.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::source::{Source, matching, words};
use crate::tree::Tree;

const FUZZ_MANIFEST: &str = "tests/fuzz/Cargo.toml";
const FUZZ_TARGETS: &str = "tests/fuzz/fuzz_targets/";

/// Fuzz targets.
pub(super) fn fuzz_targets(tree: &Tree) -> Vec<Finding> {
    let manifest = tree.text(FUZZ_MANIFEST).unwrap_or_default();
    let mut found = Vec::new();
    for source in tree.sources() {
        let Some(name) = source.path.strip_prefix(FUZZ_TARGETS) else {
            continue;
        };
        if !manifest.contains(&format!("path = \"fuzz_targets/{name}\"")) {
            let message = format!("not registered in {FUZZ_MANIFEST}");
            found.push(Finding::new("fuzz", &source.path, 1, message));
        }
    }
    found
}

/// Variants of errors.
pub(super) fn error_variants(tree: &Tree) -> Vec<Finding> {
    let named = named_in_tests(tree);
    let mut found = Vec::new();
    for source in tree.product() {
        // A private error is a step inside one file; its callers see another.
        for at in source
            .find_production("enum ")
            .filter(|at| is_public(source, *at))
        {
            let rest = source.code.get(at + "enum ".len()..).unwrap_or_default();
            let name = words(rest).next().map_or("", |(_, name)| name);
            if !name.ends_with("Error") {
                continue;
            }
            for (at, variant) in variants(source, at) {
                if !named.contains(&(name, variant)) {
                    let message =
                        format!("no test names {name}::{variant}: add one that causes it");
                    let line = source.line(at);
                    found.push(Finding::new("errors", &source.path, line, message));
                }
            }
        }
    }
    found
}

fn is_public(source: &Source, at: usize) -> bool {
    let before = source.code.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.contains("pub")
}

/// Pairs `A::B` in test code.
fn named_in_tests(tree: &Tree) -> BTreeSet<(&str, &str)> {
    let mut named = BTreeSet::new();
    for source in tree.sources() {
        let mut previous: Option<(usize, &str)> = None;
        for (at, word) in words(&source.code) {
            let pair = previous.filter(|(end, _)| source.code.get(*end..at) == Some("::"));
            if let Some((_, owner)) = pair.filter(|_| source.is_test(at)) {
                named.insert((owner, word));
            }
            previous = Some((at + word.len(), word));
        }
    }
    named
}

/// Variants of the enum at `at`, with their places.
fn variants(source: &Source, at: usize) -> Vec<(usize, &str)> {
    let open = source.code.get(at..).and_then(|code| code.find('{'));
    let Some(open) = open.map(|open| at + open) else {
        return Vec::new();
    };
    let close = matching(&source.code, open).unwrap_or(open);
    let body = source.code.get(open..close).unwrap_or_default();
    if body.contains('$') {
        return Vec::new(); // made by a macro
    }
    let mut found = Vec::new();
    let mut next = open + 1;
    while let Some((start, name)) = source
        .code
        .get(next..close)
        .and_then(|code| first_word(code))
    {
        found.push((next + start, name));
        next = variant_end(&source.code, next + start, close);
    }
    found
}

/// First word that is no attribute.
fn first_word(code: &str) -> Option<(usize, &str)> {
    let mut from = 0;
    loop {
        let rest = code.get(from..)?;
        let start = from + rest.find(|letter: char| !letter.is_whitespace() && letter != ',')?;
        if !code.get(start..)?.starts_with('#') {
            let (offset, word) = words(code.get(start..)?).next()?;
            return Some((start + offset, word));
        }
        let open = start + code.get(start..)?.find('[')?;
        from = matching(code, open)? + 1;
    }
}

/// Behind the comma that ends the variant at `at`.
fn variant_end(code: &str, at: usize, close: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().take(close).skip(at) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    close
}

#[cfg(test)]
mod tests {
    use super::{FUZZ_MANIFEST, error_variants, fuzz_targets};
    use crate::checks::{fires, passes};

    #[test]
    fn a_fuzz_target_is_registered() {
        let target = ("tests/fuzz/fuzz_targets/a.rs", "");
        let manifest = "[[bin]]\nname = \"a\"\npath = \"fuzz_targets/a.rs\"\n";

        passes(fuzz_targets, &[target, (FUZZ_MANIFEST, manifest)]);
        fires(
            fuzz_targets,
            &[target, (FUZZ_MANIFEST, "")],
            "not registered",
        );
    }

    #[test]
    fn each_variant_of_an_error_is_named_in_a_test() {
        let text = "pub enum PutError {\n    /// Full.\n    #[error(\"full {a}\")]\n\
                    Full { a: u8 },\n#[error(\"gone\")]\nGone(#[source] Box<E, F>),\n}\n\
                    fn f() -> PutError { PutError::Gone(e) }";
        let file = ("storage/x/src/error.rs", text);
        let one = "matches!(a, PutError::Full { .. })";
        let both = "matches!(a, PutError::Full { .. } | PutError::Gone(_))";

        fires(
            error_variants,
            &[file, ("storage/x/tests/a.rs", one)],
            "PutError::Gone",
        );
        passes(error_variants, &[file, ("storage/x/tests/a.rs", both)]);
    }

    #[test]
    fn other_enums_are_left_alone() {
        let file = "storage/x/src/a.rs";

        passes(error_variants, &[(file, "pub enum Kind { Full, Gone }")]);
        passes(error_variants, &[(file, "enum StepError { Full, Gone }")]);
    }
}
