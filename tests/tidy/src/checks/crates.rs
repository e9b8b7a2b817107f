//! Checks 1, 2, 3 and 7: which crate may use which, and what every manifest says.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::finding::Finding;
use crate::tree::Tree;

/// Layers of the product: a crate uses crates of lower layers only, so nothing points up or
/// sideways, and no role uses another. Ten times the layer of docs/ARCHITECTURE.md: `env` and
/// `sequencer` stand half a step above others of their layer, which they use.
const LAYERS: &[(&str, u8)] = &[
    ("esker-types", 0),
    ("esker-env", 5),
    ("esker-record", 10),
    ("esker-object", 10),
    ("esker-metadata-api", 10),
    ("esker-kafka", 10),
    ("esker-segment", 20),
    ("esker-cache", 20),
    ("esker-groups", 20),
    ("esker-http", 20),
    ("esker-cluster", 20),
    ("esker-remote", 20),
    ("esker-sequencer", 25),
    ("esker-chain", 30),
    ("esker-journal", 40),
    ("esker-ingest", 50),
    ("esker-fetch", 50),
    ("esker-metadata", 50),
    ("esker-admin", 50),
    ("esker-audit", 55),
    ("esker", 60),
];
/// Foreign crates that shape us, and the product's crates that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("kafka-protocol", &["esker-kafka"]),
    ("foyer", &["esker-cache"]),
    ("object_store", &["esker-object"]),
    ("aws-config", &["esker-object"]),
    ("aws-credential-types", &["esker-object"]),
    ("aws-sdk-s3", &["esker-object"]),
    ("axum", &["esker-http"]),
    ("tower", &["esker-http"]),
    ("tower-http", &["esker-http"]),
    ("tonic", &["esker-remote"]),
    ("prost", &["esker-remote"]),
    ("anyhow", &["esker"]),
    ("clap", &["esker"]),
    ("serde", &["esker", "esker-http"]),
    ("serde_json", &["esker", "esker-http", "esker-object"]),
];
/// Crates that compute and nothing else.
const PURE: &[&str] = &[
    "esker-types",
    "esker-record",
    "esker-segment",
    "esker-sequencer",
    "esker-groups",
];
const IMPURE: &[&str] = &["tokio", "futures", "esker-env", "esker-object"];
/// Keys that each package takes from the workspace.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

struct Manifest<'a> {
    path: &'a str,
    text: &'a str,
    table: Table,
}

impl Manifest<'_> {
    fn name(&self) -> &str {
        let package = self.table.get("package");
        package
            .and_then(|package| package.get("name")?.as_str())
            .unwrap_or_default()
    }

    fn is_product(&self) -> bool {
        crate::tree::is_product(self.path)
    }

    fn names_in(&self, table: &str) -> Vec<&str> {
        let names = self.table.get(table).and_then(Value::as_table);
        names
            .into_iter()
            .flat_map(Table::keys)
            .map(String::as_str)
            .collect()
    }

    fn line_of(&self, dependency: &str) -> usize {
        let mut lines = self.text.lines();
        let at = lines.position(|line| {
            line.strip_prefix(dependency)
                .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        });
        at.map_or(1, |at| at + 1)
    }

    fn finding(&self, rule: &'static str, dependency: &str, message: String) -> Finding {
        Finding::new(rule, self.path, self.line_of(dependency), message)
    }
}

/// Manifests of the members; the fuzz targets are a workspace of their own.
fn manifests(tree: &Tree) -> Vec<Manifest<'_>> {
    tree.texts()
        .filter(|(path, _)| {
            path.ends_with("/Cargo.toml")
                && path.matches('/').count() == 2
                && *path != "tests/fuzz/Cargo.toml"
        })
        .filter_map(|(path, text)| {
            let table = text.parse().ok()?;
            Some(Manifest { path, text, table })
        })
        .collect()
}

fn layer(name: &str) -> Option<u8> {
    let row = LAYERS.iter().find(|(crate_name, _)| *crate_name == name);
    row.map(|(_, layer)| *layer)
}

/// Check 1.
pub(super) fn layers(tree: &Tree) -> Vec<Finding> {
    const RULE: &str = "layers";
    let all = manifests(tree);
    let uses: BTreeMap<&str, Vec<&str>> = all
        .iter()
        .map(|manifest| (manifest.name(), manifest.names_in("dependencies")))
        .collect();
    let mut found = Vec::new();
    for manifest in all.iter().filter(|manifest| manifest.is_product()) {
        let name = manifest.name();
        let Some(own) = layer(name) else {
            let message = format!("{name} has no layer: add it to LAYERS and docs/ARCHITECTURE.md");
            found.push(Finding::new(RULE, manifest.path, 1, message));
            continue;
        };
        for used in manifest.names_in("dependencies") {
            if used.starts_with("esker") && layer(used).is_none_or(|layer| layer >= own) {
                let message = format!("{name} may not use {used}: not in a lower layer");
                found.push(manifest.finding(RULE, used, message));
            }
        }
        for used in manifest.names_in("dev-dependencies") {
            if used.starts_with("esker") && (layer(used).is_none() || reaches(&uses, used, name)) {
                let message =
                    format!("tests of {name} may not use {used}: a cycle, or a test crate");
                found.push(manifest.finding(RULE, used, message));
            }
        }
    }
    found
}

fn reaches(uses: &BTreeMap<&str, Vec<&str>>, from: &str, to: &str) -> bool {
    let mut open = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            open.extend(uses.get(name).into_iter().flatten().copied());
        }
    }
    false
}

/// Check 2.
pub(super) fn homes(tree: &Tree) -> Vec<Finding> {
    let all = manifests(tree);
    let mut found = Vec::new();
    for manifest in all.iter().filter(|manifest| manifest.is_product()) {
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
        for used in tables
            .into_iter()
            .flat_map(|table| manifest.names_in(table))
        {
            let homes = HOMES.iter().find(|(foreign, _)| *foreign == used);
            if homes.is_some_and(|(_, homes)| !homes.contains(&manifest.name())) {
                let message = format!("{used} has its home elsewhere (HOMES in tests/tidy)");
                found.push(manifest.finding("homes", used, message));
            }
        }
    }
    found
}

/// Check 3.
pub(super) fn pure(tree: &Tree) -> Vec<Finding> {
    let all = manifests(tree);
    let mut found = Vec::new();
    for manifest in all
        .iter()
        .filter(|manifest| PURE.contains(&manifest.name()))
    {
        for used in manifest.names_in("dependencies") {
            if IMPURE.contains(&used) {
                let message = format!("{} is pure: no clock, no I/O, no runtime", manifest.name());
                found.push(manifest.finding("pure", used, message));
            }
        }
    }
    found
}

/// Check 7.
pub(super) fn manifests_say(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for manifest in manifests(tree) {
        let name = manifest.name();
        let mut say = |message: String| {
            found.push(Finding::new("manifests", manifest.path, 1, message));
        };
        if !name.starts_with("esker-") && name != "esker" {
            say(format!("a crate is called esker-*, not {name:?}"));
        }
        let is_inherited = |value: Option<&Value>| {
            let flag = value.and_then(|value| value.get("workspace")?.as_bool());
            flag == Some(true)
        };
        if !is_inherited(manifest.table.get("lints")) {
            say("[lints] workspace = true is missing".to_owned());
        }
        for key in INHERITED {
            let package = manifest.table.get("package");
            if !is_inherited(package.and_then(|package| package.get(key))) {
                say(format!("{key}.workspace = true is missing"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
