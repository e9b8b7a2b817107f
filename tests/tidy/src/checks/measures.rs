//! Check 14: names of metrics are constants of a `metrics.rs`, unique, and of one template,
//! `esker_<area>_<thing>_<unit>`; counters end in `_total`.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::source::{Source, words};
use crate::tree::Tree;

const RULE: &str = "metrics";
const PREFIX: &str = "\"esker_";
const KINDS: &[&str] = &["counter", "gauge", "histogram"];

pub(super) fn metrics(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for source in tree.product().filter(|source| !source.is_all_test()) {
        for (at, name) in names(source) {
            let mut say = |message| {
                found.push(Finding::new(RULE, &source.path, source.line(at), message));
            };
            let Some(constant) = constant(source, at) else {
                if looks_like_a_metric(name) {
                    say(format!("{name} is not a constant of a metrics.rs"));
                }
                continue;
            };
            if !source.path.ends_with("/metrics.rs") {
                say(format!("{name} belongs to metrics.rs"));
            }
            if !looks_like_a_metric(name) {
                say(format!("{name} is not esker_<area>_<thing>_<unit>"));
            }
            if seen.insert(name, &source.path).is_some() {
                say(format!("{name} is the name of two metrics"));
            }
            let is_total = name.ends_with("_total");
            if kind(source, constant).is_some_and(|kind| (kind == "counter") != is_total) {
                say(format!("{name}: counters, and only they, end in _total"));
            }
        }
    }
    found
}

/// String literals outside tests that begin as our metrics do, with their places.
fn names(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let places = source.text.match_indices(PREFIX).map(|(at, _)| at);
    places.filter(|at| !source.is_test(*at)).filter_map(|at| {
        // In a comment the quote is no literal: the line is blank in the code from its start.
        let line = source.text.get(..at)?.rsplit('\n').next()?;
        let literal = source.text.get(at + 1..)?.split('"').next()?;
        (!line.trim_start().starts_with("//")).then_some((at, literal))
    })
}

/// Name of the constant whose value the literal at `at` is.
fn constant(source: &Source, at: usize) -> Option<&str> {
    let before = source.code.get(..at)?.trim_end().strip_suffix('=')?;
    let (_, declaration) = before.rsplit_once("const ")?;
    let is_text = declaration.trim_end().ends_with("str");
    words(declaration)
        .next()
        .filter(|_| is_text)
        .map(|(_, name)| name)
}

fn looks_like_a_metric(name: &str) -> bool {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_plain && name.split('_').count() >= 3 && name.split('_').all(|part| !part.is_empty())
}

/// The kind that stands beside a use of the constant, where rows are (name, kind, …).
fn kind<'a>(source: &'a Source, constant: &'a str) -> Option<&'a str> {
    source.find(constant).find_map(|at| {
        let after = source.text.get(at + constant.len()..)?;
        let literal = after
            .trim_start()
            .strip_prefix(',')?
            .trim_start()
            .strip_prefix('"')?;
        let kind = literal.split('"').next()?;
        KINDS.contains(&kind).then_some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::metrics;
    use crate::checks::{fires, passes};

    const FILE: &str = "storage/x/src/metrics.rs";

    #[test]
    fn a_constant_of_the_template_passes() {
        let text = "/// Loads, \"esker_x\".\nconst LOADS: &str = \"esker_x_loads_total\";\n\
                    fn f() { row(LOADS, \"counter\") }\n\
                    #[cfg(test)]\nmod tests { const A: &str = \"esker_x_loads_total 1\"; }";

        passes(metrics, &[(FILE, text)]);
    }

    #[test]
    fn a_name_outside_a_metrics_file_is_found() {
        let constant = "const LOADS: &str = \"esker_x_loads\";";

        fires(
            metrics,
            &[("storage/x/src/a.rs", constant)],
            "belongs to metrics.rs",
        );
        fires(
            metrics,
            &[(FILE, "f(\"esker_x_loads\");")],
            "not a constant",
        );
    }

    #[test]
    fn names_are_unique_and_of_the_template() {
        let twice = "const A: &str = \"esker_x_a\";\nconst B: &str = \"esker_x_a\";";

        fires(metrics, &[(FILE, twice)], "two metrics");
        fires(
            metrics,
            &[(FILE, "const A: &str = \"esker_Loads\";")],
            "<area>",
        );
    }

    #[test]
    fn counters_and_only_they_end_in_total() {
        let counter = "const A: &str = \"esker_x_a\";\nrow(\n    A,\n    \"counter\");";
        let gauge = "const A: &str = \"esker_x_a_total\";\nrow(A, \"gauge\");";

        fires(metrics, &[(FILE, counter)], "_total");
        fires(metrics, &[(FILE, gauge)], "_total");
    }
}
