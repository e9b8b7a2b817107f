//! The checked-in code is what the generator makes of `proto/`. No build runs the generator.
//!
//! `ESKER_UPDATE_GOLDEN=1 cargo test -p esker-remote --test generated` takes new code over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::path::Path;

const HEADER: &str = "//! Messages of `proto/esker/internal/v1`, made by `tests/generated.rs`. \
                      Do not edit.\n\n";
const FILE: &str = "esker.internal.v1.rs";

fn generated(crate_root: &Path) -> String {
    let root = crate_root.join("proto");
    let files = protox::compile(["esker/internal/v1/metadata.proto"], [root]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .out_dir(out.path())
        .compile_fds(files)
        .unwrap();
    let code = std::fs::read_to_string(out.path().join(FILE)).unwrap();
    format!("{HEADER}{code}")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test asks whether it may write"
)]
fn checked_in_code_is_what_the_generator_makes() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = crate_root.join("src/generated").join(FILE);
    let made = generated(crate_root);

    if std::env::var("ESKER_UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, &made).unwrap();
    }

    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(
        kept == made,
        "proto/ has changed: ESKER_UPDATE_GOLDEN=1 takes the new code over"
    );
}
