//! Each anomaly has the smallest history that shows it and one that just does not; what is found in
//! them is that anomaly and no other, and what a report cites of it shows it again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use esker_history::{Kind, Report, check, check_file};

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    folder.join(format!("{name}.jsonl"))
}

fn kinds(report: &Report) -> Vec<&'static str> {
    report.counts.keys().map(|kind| kind.name()).collect()
}

/// The header and the lines that an anomaly cites.
fn excerpt(report: &Report, path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = vec![text.lines().next().unwrap().to_owned()];
    lines.extend(report.anomalies[0].excerpt.iter().cloned());
    lines.join("\n")
}

#[test]
fn each_anomaly_is_found_in_its_history_and_not_in_the_near_miss() {
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        let path = file(kind.name());

        let report = check_file(&path).unwrap();
        let near = check_file(&file(&format!("{kind}.near"))).unwrap();

        if kinds(&report) != [kind.name()] {
            wrong.push(format!("{kind}: {report}"));
            continue;
        }
        if !near.clean {
            wrong.push(format!("near miss of {kind}: {near}"));
        }
        let again = check(Cursor::new(excerpt(&report, &path))).unwrap();
        if !again.has(*kind) {
            wrong.push(format!(
                "what is cited of {kind} does not show it: {report}{again}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn further_histories_show_their_anomaly() {
    for name in ["hw-regress.over-pods", "offset-regress.after-seen"] {
        let report = check_file(&file(name)).unwrap();

        assert_eq!(
            kinds(&report),
            [name.split('.').next().unwrap()],
            "{report}"
        );
    }
}

#[test]
fn every_golden_history_belongs_to_an_anomaly() {
    let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let kind = name.split('.').next().unwrap();

        assert!(names.contains(kind), "{name}");
        check(BufReader::new(
            File::open(file(name.strip_suffix(".jsonl").unwrap())).unwrap(),
        ))
        .unwrap();
    }
}
