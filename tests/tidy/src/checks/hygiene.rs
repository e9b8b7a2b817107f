//! Checks 9 and 11: bans carry reasons; tests are neither skipped nor slept through.

use toml::{Table, Value};

use crate::finding::Finding;
use crate::tree::Tree;

const CLIPPY: &str = "clippy.toml";
/// What no Rust file may have in its code.
const NOWHERE: &[(&str, &str)] = &[
    ("#[ignore", "an ignored test is deleted or runs"),
    (
        "should_panic",
        "assert the outcome, or catch the panic where it is",
    ),
    (
        "#[allow(",
        "use #[expect(…, reason = …)]: it ends when its cause does",
    ),
    (
        "#![allow(",
        "use #[expect(…, reason = …)]: it ends when its cause does",
    ),
];
/// What no test may have in its code.
const NOT_IN_TESTS: &[(&str, &str)] = &[
    (
        "thread::sleep",
        "time is advanced, or an event is waited for",
    ),
    ("time::sleep", "time is advanced, or an event is waited for"),
];

/// Check 9.
pub(super) fn bans(tree: &Tree) -> Vec<Finding> {
    let say = |message: String| Finding::new("bans", CLIPPY, 1, message);
    let Some(text) = tree.text(CLIPPY) else {
        return Vec::new();
    };
    let Ok(table) = text.parse::<Table>() else {
        return vec![say("cannot be read".to_owned())];
    };
    let mut found = Vec::new();
    for (name, list) in table
        .iter()
        .filter(|(name, _)| name.starts_with("disallowed-"))
    {
        for ban in list.as_array().into_iter().flatten() {
            let reason = ban.get("reason").and_then(Value::as_str);
            if reason.is_none_or(|reason| reason.trim().is_empty()) {
                let path = ban.get("path").unwrap_or(ban);
                found.push(say(format!(
                    "{name}: {path} has no reason that names our replacement"
                )));
            }
        }
    }
    found
}

/// Check 11.
pub(super) fn tests_only_test(tree: &Tree) -> Vec<Finding> {
    const RULE: &str = "hygiene";
    let mut found = Vec::new();
    for source in tree.sources() {
        let everywhere = NOWHERE.iter().map(|row| (row, false));
        let in_tests = NOT_IN_TESTS.iter().map(|row| (row, true));
        for ((part, remedy), only_tests) in everywhere.chain(in_tests) {
            let places = source.find(part);
            for at in places.filter(|at| !only_tests || source.is_test(*at)) {
                let message = format!("{part}: {remedy}");
                found.push(Finding::new(RULE, &source.path, source.line(at), message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{CLIPPY, bans, tests_only_test};
    use crate::checks::{fires, passes};

    #[test]
    fn a_ban_has_a_reason() {
        let good = "disallowed-methods = [{ path = \"a::b\", reason = \"use c\" }]";
        let bare = "disallowed-types = [\"a::B\"]";

        passes(bans, &[(CLIPPY, good)]);
        fires(bans, &[(CLIPPY, bare)], "a::B");
    }

    #[test]
    fn a_test_runs_and_does_not_sleep() {
        let file = "storage/x/tests/a.rs";

        passes(
            tests_only_test,
            &[(file, "#[test]\nfn a() {} // #[ignore]")],
        );
        fires(
            tests_only_test,
            &[(file, "#[test]\n#[ignore = \"\"]\nfn a() {}")],
            "#[ignore",
        );
        fires(
            tests_only_test,
            &[(file, "std::thread::sleep(a);")],
            "thread::sleep",
        );
    }

    #[test]
    fn an_allow_is_an_expect() {
        let file = "storage/x/src/a.rs";

        passes(
            tests_only_test,
            &[(file, "#[expect(dead_code, reason = \"…\")]")],
        );
        fires(
            tests_only_test,
            &[(file, "#[allow(dead_code)]")],
            "#[expect",
        );
    }
}
