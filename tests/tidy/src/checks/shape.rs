//! Checks 4, 6 and 8: sizes of files, their headers, their names.

use crate::finding::Finding;
use crate::source::Source;
use crate::tree::Tree;

/// Lines before a file's inline tests.
const PRODUCTION_LINES_MAX: usize = 600;
const LIB_LINES_MAX: usize = 80;
const INLINE_TEST_LINES_MAX: usize = 150;
const COLUMNS_MAX: usize = 100;
const HEADER_LINES_MAX: usize = 10;
const FORBIDDEN_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "manager", "misc",
];

/// Check 4.
pub(super) fn sizes(tree: &Tree) -> Vec<Finding> {
    const RULE: &str = "sizes";
    let mut found = Vec::new();
    for source in tree.sources() {
        let mut say = |line, message| found.push(Finding::new(RULE, &source.path, line, message));
        let lines = production_lines(source);
        if lines > PRODUCTION_LINES_MAX && !source.is_all_test() {
            say(
                1,
                format!(
                    "{lines} lines before its tests, at most {PRODUCTION_LINES_MAX}: split by stage"
                ),
            );
        }
        if source.path.ends_with("/src/lib.rs") && lines > LIB_LINES_MAX {
            say(
                1,
                format!("{lines} lines, a lib.rs has at most {LIB_LINES_MAX}"),
            );
        }
        for (first, last) in source.inline_tests().filter(|_| !source.is_all_test()) {
            let lines = last + 1 - first;
            if lines > INLINE_TEST_LINES_MAX {
                say(
                    first,
                    format!(
                        "{lines} lines of inline tests, at most {INLINE_TEST_LINES_MAX}: \
                         move them to tests.rs"
                    ),
                );
            }
        }
        for (at, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                say(at + 1, format!("{columns} columns, at most {COLUMNS_MAX}"));
            }
        }
    }
    found
}

fn production_lines(source: &Source) -> usize {
    let tests = source.inline_tests().map(|(first, _)| first - 1).min();
    tests.unwrap_or_else(|| source.line_count())
}

/// Check 6.
pub(super) fn headers(tree: &Tree) -> Vec<Finding> {
    const RULE: &str = "header";
    let mut found = Vec::new();
    for source in tree.sources() {
        let header = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let message = match header.count() {
            0 => "opens without `//!`: say its job, callers and invariants".to_owned(),
            lines if lines > HEADER_LINES_MAX => {
                format!("a header of {lines} lines, at most {HEADER_LINES_MAX}")
            }
            _ => continue,
        };
        found.push(Finding::new(RULE, &source.path, 1, message));
    }
    found
}

/// Check 8.
pub(super) fn names(tree: &Tree) -> Vec<Finding> {
    const RULE: &str = "names";
    let mut found = Vec::new();
    for (path, _) in tree.lengths() {
        let stems = path
            .split('/')
            .map(|part| part.split('.').next().unwrap_or(part));
        for stem in stems.filter(|stem| FORBIDDEN_NAMES.contains(stem)) {
            let message = format!("{stem} says nothing: name what is in it");
            found.push(Finding::new(RULE, path, 1, message));
        }
    }
    for source in tree.sources() {
        for name in FORBIDDEN_NAMES {
            for at in source.find(&format!("mod {name} {{")) {
                let message = format!("{name} says nothing: name what is in it");
                found.push(Finding::new(RULE, &source.path, source.line(at), message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{headers, names, sizes};
    use crate::checks::{fires, passes};

    const FILE: &str = "storage/x/src/a.rs";

    #[test]
    fn a_file_of_600_lines_passes_and_one_more_does_not() {
        let limit = "x\n".repeat(600);
        let more = "x\n".repeat(601);

        passes(sizes, &[(FILE, &limit)]);
        fires(sizes, &[(FILE, &more)], "601 lines");
        passes(sizes, &[("storage/x/src/a/tests.rs", &more)]);
    }

    #[test]
    fn inline_tests_count_apart_up_to_150_lines() {
        let tests = |lines| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(lines));
        let limit = format!("{}{}", "x\n".repeat(600), tests(147));
        let more = tests(148);

        passes(sizes, &[(FILE, &limit)]);
        fires(sizes, &[(FILE, &more)], "151 lines of inline tests");
    }

    #[test]
    fn a_lib_has_80_lines() {
        passes(sizes, &[("storage/x/src/lib.rs", &"x\n".repeat(80))]);
        fires(
            sizes,
            &[("storage/x/src/lib.rs", &"x\n".repeat(81))],
            "81 lines",
        );
    }

    #[test]
    fn columns_are_characters() {
        passes(sizes, &[(FILE, &"…".repeat(100))]);
        fires(sizes, &[(FILE, &"…".repeat(101))], "101 columns");
    }

    #[test]
    fn a_header_has_one_to_ten_lines() {
        passes(headers, &[(FILE, &"//! a\n".repeat(10))]);
        fires(headers, &[(FILE, &"//! a\n".repeat(11))], "11 lines");
        fires(headers, &[(FILE, "// a\n")], "opens without");
    }

    #[test]
    fn names_say_what_is_inside() {
        passes(
            names,
            &[("storage/x/src/topic_manager.rs", "mod utilities {}")],
        );
        fires(names, &[("storage/x/src/utils.rs", "")], "utils");
        fires(names, &[("storage/common/Cargo.toml", "")], "common");
        fires(names, &[(FILE, "mod helpers {\n}")], "helpers");
    }
}
