//! Claims about the checks of manifests.

use super::{homes, layers, manifests_say, pure};
use crate::checks::{fires, passes};

fn manifest(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\n\n{rest}")
}

#[test]
fn a_crate_may_use_lower_layers() {
    let chain = manifest(
        "esker-chain",
        "[dependencies]\nesker-segment.workspace = true\n",
    );
    let sequencer = manifest("esker-sequencer", "[dependencies]\nesker-segment = \"1\"\n");

    passes(layers, &[("storage/chain/Cargo.toml", &chain)]);
    passes(layers, &[("services/sequencer/Cargo.toml", &sequencer)]);
}

#[test]
fn a_crate_may_not_use_its_own_layer_or_a_higher_one() {
    let up = manifest(
        "esker-types",
        "[dependencies]\nesker-env.workspace = true\n",
    );
    let role = manifest(
        "esker-ingest",
        "[dependencies]\nesker-fetch.workspace = true\n",
    );

    fires(
        layers,
        &[("storage/types/Cargo.toml", &up)],
        "may not use esker-env",
    );
    fires(
        layers,
        &[("services/ingest/Cargo.toml", &role)],
        "esker-fetch",
    );
}

#[test]
fn a_crate_without_a_layer_is_found() {
    let text = manifest("esker-lake", "");

    fires(
        layers,
        &[("storage/lake/Cargo.toml", &text)],
        "has no layer",
    );
}

#[test]
fn tests_may_use_crates_that_do_not_lead_back() {
    let record = manifest(
        "esker-record",
        "[dependencies]\nesker-types.workspace = true\n",
    );
    let chain = manifest(
        "esker-chain",
        "[dev-dependencies]\nesker-record.workspace = true\n",
    );
    let cycle = manifest(
        "esker-types",
        "[dev-dependencies]\nesker-record.workspace = true\n",
    );
    let kit = manifest(
        "esker-types",
        "[dev-dependencies]\nesker-testkit.workspace = true\n",
    );

    let record = ("storage/record/Cargo.toml", record.as_str());
    passes(layers, &[record, ("storage/chain/Cargo.toml", &chain)]);
    fires(
        layers,
        &[record, ("storage/types/Cargo.toml", &cycle)],
        "a cycle",
    );
    fires(layers, &[("storage/types/Cargo.toml", &kit)], "test crate");
}

#[test]
fn a_foreign_crate_stays_at_home() {
    let text = manifest("esker-cache", "[dependencies]\nfoyer.workspace = true\n");
    let away = manifest("esker-chain", "[dependencies]\nfoyer.workspace = true\n");
    let test = manifest("esker-e2e", "[dependencies]\nanyhow.workspace = true\n");

    passes(homes, &[("storage/cache/Cargo.toml", &text)]);
    passes(homes, &[("tests/e2e/Cargo.toml", &test)]);
    fires(homes, &[("storage/chain/Cargo.toml", &away)], "foyer");
}

#[test]
fn a_pure_crate_has_no_runtime() {
    let groups = manifest("esker-groups", "[dependencies]\ntokio.workspace = true\n");
    let chain = manifest("esker-chain", "[dependencies]\ntokio.workspace = true\n");
    let tests = manifest(
        "esker-groups",
        "[dev-dependencies]\ntokio.workspace = true\n",
    );

    fires(pure, &[("services/groups/Cargo.toml", &groups)], "is pure");
    passes(pure, &[("storage/chain/Cargo.toml", &chain)]);
    passes(pure, &[("services/groups/Cargo.toml", &tests)]);
}

#[test]
fn a_manifest_takes_lints_and_package_keys_from_the_workspace() {
    let keys = "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
                license.workspace = true\npublish.workspace = true\n";
    let lints = "[lints]\nworkspace = true\n";
    let good = format!("[package]\nname = \"esker-x\"\n{keys}{lints}");
    let no_lints = format!("[package]\nname = \"esker-x\"\n{keys}");
    let named = format!("[package]\nname = \"lake\"\n{keys}{lints}");
    let own = good.replace("edition.workspace = true", "edition = \"2024\"");

    passes(manifests_say, &[("storage/x/Cargo.toml", &good)]);
    fires(
        manifests_say,
        &[("storage/x/Cargo.toml", &no_lints)],
        "[lints]",
    );
    fires(
        manifests_say,
        &[("storage/x/Cargo.toml", &named)],
        "esker-*",
    );
    fires(manifests_say, &[("storage/x/Cargo.toml", &own)], "edition");
}
