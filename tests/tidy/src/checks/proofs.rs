//! Checks 10 and 15: one maker of `Committed`, one acknowledger; seams stay small.

use crate::finding::Finding;
use crate::source::{matching, words};
use crate::tree::Tree;

/// Where the proof that producers wait for is made.
const MAKER: &str = "storage/chain/src/tail.rs";
const ACKNOWLEDGER: &str = "services/ingest/src/";
/// Traits that a simulation or a test replaces.
const SEAMS: &[&str] = &[
    "Clock",
    "Bucket",
    "Sequencer",
    "LogIndex",
    "Admin",
    "TopicAdmin",
    "SegmentCache",
];
const SEAM_METHODS_MAX: usize = 7;

/// Check 10.
pub(super) fn proofs(tree: &Tree) -> Vec<Finding> {
    const RULE: &str = "proofs";
    let mut found = Vec::new();
    for source in tree.product().filter(|source| source.path != MAKER) {
        for at in source.find_production("Committed {") {
            let before = source.code.get(..at).unwrap_or_default().trim_end();
            // A variant of some enum is another word.
            if !before.ends_with("::") || before.ends_with("esker_chain::") {
                let message = format!("only {MAKER} makes a Committed");
                found.push(Finding::new(RULE, &source.path, source.line(at), message));
            }
        }
    }

    let mut calls = Vec::new();
    for source in tree
        .sources()
        .filter(|source| source.path.starts_with(ACKNOWLEDGER))
    {
        calls.extend(
            source
                .find_production(".acknowledge(")
                .map(|at| (source, at)),
        );
    }
    for (source, at) in calls.iter().skip(1) {
        let message = "ReplySlots::acknowledge has one caller".to_owned();
        found.push(Finding::new(RULE, &source.path, source.line(*at), message));
    }
    for path in [MAKER, "services/ingest/src/slots.rs"] {
        if tree
            .text(path)
            .is_some_and(|text| !text.contains("```compile_fail"))
        {
            let message = "the doc-test that must not compile is gone".to_owned();
            found.push(Finding::new(RULE, path, 1, message));
        }
    }
    found
}

/// Check 15.
pub(super) fn seams(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree.product() {
        for at in source.find_production("pub trait ") {
            let rest = source
                .code
                .get(at + "pub trait ".len()..)
                .unwrap_or_default();
            let name = words(rest).next().map_or("", |(_, name)| name);
            let open = source.code.get(at..).and_then(|code| code.find('{'));
            let Some(open) = open.filter(|_| SEAMS.contains(&name)).map(|open| at + open) else {
                continue;
            };
            let close = matching(&source.code, open).unwrap_or(open);
            let methods = source
                .find("fn ")
                .filter(|at| (open..close).contains(at))
                .count();
            if methods > SEAM_METHODS_MAX {
                let message =
                    format!("{name} has {methods} methods, a seam has at most {SEAM_METHODS_MAX}");
                found.push(Finding::new(
                    "seams",
                    &source.path,
                    source.line(at),
                    message,
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{MAKER, proofs, seams};
    use crate::checks::{fires, passes};

    const MADE: &str = "/// ```compile_fail\n/// ```\nfn f() { Ok(Committed { session }) }";

    #[test]
    fn only_the_tail_makes_a_committed() {
        passes(proofs, &[(MAKER, MADE)]);
        passes(
            proofs,
            &[(
                "services/groups/src/a.rs",
                "GroupReply::Committed { offsets }",
            )],
        );
        fires(
            proofs,
            &[("storage/chain/src/walk.rs", MADE)],
            "only storage",
        );
        fires(proofs, &[(MAKER, "fn f() {}")], "must not compile");
    }

    #[test]
    fn slots_are_acknowledged_in_one_place() {
        let one = ("services/ingest/src/a.rs", "slots.acknowledge(proof, now);");
        let other = ("services/ingest/src/b.rs", "slots.acknowledge(proof, now);");
        let test = (
            "services/ingest/src/b/tests.rs",
            "slots.acknowledge(proof, now);",
        );

        passes(proofs, &[one, test]);
        fires(proofs, &[one, other], "one caller");
    }

    #[test]
    fn a_seam_has_seven_methods() {
        let clock = |count| {
            format!(
                "pub trait Clock: Send {{\n{}}}",
                "fn a(&self);\n".repeat(count)
            )
        };

        passes(seams, &[("storage/env/src/clock.rs", &clock(7))]);
        fires(
            seams,
            &[("storage/env/src/clock.rs", &clock(8))],
            "8 methods",
        );
    }
}
