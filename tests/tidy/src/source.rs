//! One Rust file: its text, its code without comments and literals, and which parts are tests.
//!
//! No parser: brackets, words and attributes are all that the checks need.

mod mask;

use std::collections::BTreeSet;
use std::ops::Range;

use mask::is_word;

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` with comments, strings and characters blanked.
    pub(crate) code: String,
    is_all_test: bool,
    tests: Vec<Range<usize>>,
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = mask::mask(text);
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            is_all_test: is_test_path(path) || code.contains("#![cfg(test)]"),
            tests: Vec::new(),
            line_starts: std::iter::once(0).chain(starts).collect(),
            code,
        };
        source.tests = source.gated().map(|(start, end, _)| start..end).collect();
        source
    }

    /// Items behind `cfg(test)` or the feature `test-util`: start, end, and the name of the module
    /// if its text is in another file.
    fn gated(&self) -> impl Iterator<Item = (usize, usize, Option<&str>)> {
        self.code.match_indices("#[cfg(").filter_map(|(start, _)| {
            let open = start + "#[cfg".len();
            let close = matching(&self.code, open)?;
            let condition = self.text.get(open..close)?;
            let is_test = words(condition).any(|(_, word)| word == "test");
            if !is_test || condition.contains("not(") {
                return None;
            }
            let item = self.code.get(close + 2..)?;
            let body = item.find(['{', ';'])?;
            let head = item.get(..body)?;
            if item.get(body..)?.starts_with(';') {
                let module = head
                    .trim_end()
                    .rsplit_once("mod ")
                    .map(|(_, name)| name.trim());
                return Some((start, close + 2 + body + 1, module));
            }
            let end = matching(&self.code, close + 2 + body)?;
            Some((start, end + 1, None))
        })
    }

    /// Paths, without `.rs`, of the modules that this file declares for tests only.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let (directory, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let own = matches!(name, "lib" | "main" | "mod");
        let base = if own { directory } else { stem };
        self.gated()
            .filter_map(|(_, _, module)| Some(format!("{base}/{}", module?)))
            .collect()
    }

    pub(crate) fn join_test_modules(&mut self, modules: &BTreeSet<String>) {
        let stem = self.path.trim_end_matches(".rs");
        let mut ends = stem
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([stem.len()]);
        self.is_all_test |= ends.any(|end| stem.get(..end).is_some_and(|to| modules.contains(to)));
    }

    /// The whole file is test code.
    pub(crate) fn is_all_test(&self) -> bool {
        self.is_all_test
    }

    /// The place is test code.
    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.is_all_test || self.tests.iter().any(|range| range.contains(&at))
    }

    /// Line of a place, counted from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    /// Places of `part` in code; where `part` begins or ends with a word, it is a whole one.
    pub(crate) fn find<'a>(&'a self, part: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code
            .match_indices(part)
            .map(|(at, _)| at)
            .filter(move |at| is_whole(&self.code, *at, part))
    }

    /// As [`Source::find`], outside tests.
    pub(crate) fn find_production<'a>(&'a self, part: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.find(part).filter(|at| !self.is_test(*at))
    }

    /// Inline test modules, `mod name { … }` behind `cfg(test)`: first and last line.
    pub(crate) fn inline_tests(&self) -> impl Iterator<Item = (usize, usize)> {
        self.tests
            .iter()
            .filter(|range| {
                let item = self.code.get((*range).clone()).unwrap_or_default();
                item.split_once(']')
                    .and_then(|(_, rest)| rest.split_once('{'))
                    .is_some_and(|(head, _)| words(head).any(|(_, word)| word == "mod"))
            })
            .map(|range| (self.line(range.start), self.line(range.end - 1)))
    }

    pub(crate) fn line_count(&self) -> usize {
        self.text.lines().count()
    }
}

fn is_test_path(path: &str) -> bool {
    let in_crate = path.splitn(3, '/').nth(2).unwrap_or(path);
    let is_black_box = path.starts_with("tests/e2e/") || path.starts_with("tests/fuzz/");
    is_black_box
        || in_crate.starts_with("tests/")
        || in_crate.starts_with("benches/")
        || in_crate.contains("/tests/")
        || in_crate.ends_with("/tests.rs")
}

fn is_whole(code: &str, at: usize, part: &str) -> bool {
    let bytes = code.as_bytes();
    let before = at.checked_sub(1).and_then(|at| bytes.get(at));
    let after = bytes.get(at + part.len());
    let cuts = |outer: Option<&u8>, inner: Option<&u8>| {
        outer.is_some_and(|byte| is_word(*byte)) && inner.is_some_and(|byte| is_word(*byte))
    };
    let part = part.as_bytes();
    !cuts(before, part.first()) && !cuts(after, part.last())
}

/// The place of the bracket that closes the one at `open`.
pub(crate) fn matching(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.as_bytes().iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Words of `code` with their places.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = code.as_bytes();
        let start = at + bytes.get(at..)?.iter().position(|byte| is_word(*byte))?;
        let rest = bytes.get(start..)?;
        let length = rest.iter().position(|byte| !is_word(*byte));
        at = start + length.unwrap_or(rest.len());
        Some((start, code.get(start..at)?))
    })
}

#[cfg(test)]
mod tests {
    use crate::tree::Tree;

    fn test_lines(files: &[(&str, &str)], path: &str) -> Vec<bool> {
        let tree = Tree::of(files);
        let source = tree.sources().find(|source| source.path == path).unwrap();
        let starts = source.line_starts.iter();
        starts.map(|start| source.is_test(*start)).collect()
    }

    #[test]
    fn inline_modules_and_gated_items_are_tests() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n}\nfn b() {}";

        let lines = test_lines(&[("storage/x/src/a.rs", text)], "storage/x/src/a.rs");

        assert_eq!(lines, [false, true, true, true, false]);
    }

    #[test]
    fn modules_declared_for_tests_are_tests_with_all_below_them() {
        let files = [
            (
                "storage/x/src/lib.rs",
                "#[cfg(any(test, feature = \"test-util\"))]\nmod fake;",
            ),
            ("storage/x/src/fake.rs", "mod inner;"),
            ("storage/x/src/fake/inner.rs", "fn a() {}"),
            ("storage/x/src/real.rs", "#[cfg(not(test))]\nfn a() {}"),
        ];

        assert_eq!(test_lines(&files, "storage/x/src/fake.rs"), [true]);
        assert_eq!(test_lines(&files, "storage/x/src/fake/inner.rs"), [true]);
        assert_eq!(test_lines(&files, "storage/x/src/real.rs"), [false, false]);
    }

    #[test]
    fn a_word_is_found_whole() {
        let tree = Tree::of(&[(
            "storage/x/src/a.rs",
            "let statics = 1; // static\nstatic A: u8;",
        )]);

        let source = tree.sources().next().unwrap();

        let lines: Vec<_> = source.find("static").map(|at| source.line(at)).collect();
        assert_eq!(lines, [2]);
    }
}
