//! Two raw results side by side: what a change did.

use std::path::Path;

use crate::numbers::short;
use crate::results::Results;

/// A ratio within this of 1 is noise on a shared machine.
const NOISE: f64 = 0.05;

/// Prints the ratio of the medians of every figure both have.
#[expect(clippy::print_stdout, reason = "a command line tool answers on stdout")]
pub(crate) fn print(before: &Path, after: &Path) -> anyhow::Result<()> {
    let (before, after) = (Results::read(before)?, Results::read(after)?);
    println!(
        "{:<20} {:<24} {:<26} {:>9} {:>9} {:>7}",
        "contender", "workload", "figure", "before", "after", "ratio"
    );
    for line in lines(&before, &after) {
        println!("{line}");
    }
    Ok(())
}

fn lines(before: &Results, after: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for workload in before.workloads() {
        for figure in before.figures(workload) {
            for contender in before.contenders() {
                let was = before.median(contender, workload, figure);
                let is = after.median(contender, workload, figure);
                if let (Some(was), Some(is)) = (was, is) {
                    lines.push(line([contender, workload, figure], was, is));
                }
            }
        }
    }
    lines
}

fn line(names: [&str; 3], was: f64, is: f64) -> String {
    let [contender, workload, figure] = names;
    let ratio = if was == 0.0 { f64::NAN } else { is / was };
    let mark = if (ratio - 1.0).abs() > NOISE {
        " *"
    } else {
        ""
    };
    let (was, is) = (short(was), short(is));
    format!("{contender:<20} {workload:<24} {figure:<26} {was:>9} {is:>9} {ratio:>7.2}{mark}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::results::Row;

    fn results(value: f64) -> Results {
        let row = Row {
            contender: "esker".to_owned(),
            workload: "produce".to_owned(),
            round: 0,
            figures: BTreeMap::from([("mib_per_s".to_owned(), value)]),
            void: None,
        };
        Results {
            about: BTreeMap::new(),
            rows: vec![row],
        }
    }

    #[test]
    fn a_change_beyond_noise_is_marked() {
        let same = lines(&results(100.0), &results(103.0));
        let faster = lines(&results(100.0), &results(150.0));

        assert!(same.iter().all(|line| !line.ends_with('*')), "{same:?}");
        assert!(
            faster.iter().all(|line| line.contains("1.50 *")),
            "{faster:?}"
        );
    }
}
