//! Check 18: no statics but the allocator's, no unbounded channels; the environment is read by
//! `services/esker` only.

use crate::finding::Finding;
use crate::tree::Tree;

const RULE: &str = "ambient";
const READER: &str = "services/esker/";
/// The one static of a process that it cannot be without.
const ALLOCATOR: &str = "#[global_allocator]";
const PARTS: &[(&str, &str)] = &[
    (
        "static ",
        "a static is shared state that no run owns: pass it",
    ),
    ("unbounded_channel", "every queue has a stated limit"),
    ("UnboundedSender", "every queue has a stated limit"),
    ("mpsc::unbounded", "every queue has a stated limit"),
    ("std::env", "only services/esker reads the environment"),
    ("env::var", "only services/esker reads the environment"),
];

pub(super) fn ambient(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.product() {
        for (part, message) in PARTS {
            if part.contains("env") && source.path.starts_with(READER) {
                continue;
            }
            for at in source.find_production(part) {
                let before = source.code.get(..at).unwrap_or_default();
                let is_lifetime = before.ends_with('\'');
                let is_allocator = before.trim_end().ends_with(ALLOCATOR);
                let is_counted = part.starts_with("env") && before.ends_with("std::");
                if !is_lifetime && !is_counted && !is_allocator {
                    let line = source.line(at);
                    found.push(Finding::new(RULE, &source.path, line, *message));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::ambient;
    use crate::checks::{fires, passes};

    const FILE: &str = "storage/x/src/a.rs";

    #[test]
    fn lifetimes_bounded_channels_and_our_own_env_pass() {
        passes(
            ambient,
            &[(
                FILE,
                "fn f(a: &'static str) { mpsc::channel(4); esker_env::now() }",
            )],
        );
        passes(ambient, &[("services/esker/src/a.rs", "std::env::var(A)")]);
        passes(
            ambient,
            &[(FILE, "#[global_allocator]\nstatic A: Jemalloc = Jemalloc;")],
        );
        passes(
            ambient,
            &[("storage/x/tests/a.rs", "static A: Counting = Counting;")],
        );
    }

    #[test]
    fn what_no_run_owns_is_found() {
        fires(
            ambient,
            &[(FILE, "static A: AtomicU64 = AtomicU64::new(0);")],
            "a static",
        );
        fires(
            ambient,
            &[(FILE, "mpsc::unbounded_channel()")],
            "stated limit",
        );
        fires(ambient, &[(FILE, "std::env::var(A)")], "environment");
        fires(ambient, &[(FILE, "env::var(A)")], "environment");
    }
}
