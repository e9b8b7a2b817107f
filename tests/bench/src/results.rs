//! Raw results: one row per contender, workload and round, kept as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::numbers;

/// One run of the suite.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Results {
    /// Machine, versions and settings, as told to readers.
    pub(crate) about: BTreeMap<String, String>,
    /// In the order they were measured.
    pub(crate) rows: Vec<Row>,
}

/// One measurement.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) contender: String,
    pub(crate) workload: String,
    pub(crate) round: u32,
    /// By name, with the unit in it.
    pub(crate) figures: BTreeMap<String, f64>,
    /// Why it is void: an error, a lost or a doubled record. Such a row counts for nothing.
    pub(crate) void: Option<String>,
}

impl Results {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read results {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("results {}", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("write results {}", path.display()))
    }

    /// All rounds of one figure, void ones left out.
    pub(crate) fn sample(&self, contender: &str, workload: &str, figure: &str) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| {
            row.void.is_none() && row.contender == contender && row.workload == workload
        });
        rows.filter_map(|row| row.figures.get(figure).copied())
            .collect()
    }

    /// The median of one figure; `None` without a sound round.
    pub(crate) fn median(&self, contender: &str, workload: &str, figure: &str) -> Option<f64> {
        let sample = self.sample(contender, workload, figure);
        (!sample.is_empty()).then(|| numbers::median(&sample))
    }

    /// Contenders, workloads and figures that occur, each once, in order of appearance.
    pub(crate) fn contenders(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|row| row.contender.as_str()))
    }

    pub(crate) fn workloads(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|row| row.workload.as_str()))
    }

    pub(crate) fn figures(&self, workload: &str) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| row.workload == workload);
        distinct(rows.flat_map(|row| row.figures.keys().map(String::as_str)))
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(round: u32, value: f64, void: Option<&str>) -> Row {
        Row {
            contender: "esker".to_owned(),
            workload: "produce".to_owned(),
            round,
            figures: BTreeMap::from([("mib_per_s".to_owned(), value)]),
            void: void.map(str::to_owned),
        }
    }

    #[test]
    fn void_rows_count_for_nothing_and_results_survive_their_file() {
        let results = Results {
            about: BTreeMap::from([("machine".to_owned(), "here".to_owned())]),
            rows: vec![
                row(0, 1.0, None),
                row(1, 99.0, Some("lost")),
                row(2, 3.0, None),
            ],
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/results.json");

        results.write(&path).unwrap();

        assert_eq!(Results::read(&path).unwrap(), results);
        assert_eq!(results.median("esker", "produce", "mib_per_s"), Some(2.0));
        assert_eq!(results.median("kafka", "produce", "mib_per_s"), None);
        assert_eq!(results.figures("produce"), ["mib_per_s"]);
    }
}
