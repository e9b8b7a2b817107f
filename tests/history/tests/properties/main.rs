//! Random histories: clean ones never raise an alarm, changed ones always do, and the time of a
//! check grows with the length of its history.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod generate;
mod mutate;

use std::collections::BTreeMap;
use std::io::Cursor;

use esker_history::format::{Header, Line};
use esker_history::{Checker, Report, add_excerpts};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use mutate::{Edit, MUTATIONS};

const SEEDS: u64 = 100;
const STEPS: u32 = 400;

fn check(header: &Header, lines: &[Line]) -> Report {
    let mut checker = Checker::new(header.clone()).unwrap();
    for line in lines {
        checker.line(line.clone()).unwrap();
    }
    checker.finish()
}

fn text(header: &Header, lines: &[Line]) -> String {
    let header = serde_json::to_string(header).unwrap();
    let lines = lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap());
    std::iter::once(header)
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_clean_history_has_no_anomaly() {
    let (mut acknowledged, mut unknown) = (0, 0);
    for seed in 0..SEEDS * 3 {
        let world = generate::history(seed, STEPS);

        let report = check(&world.header, &world.lines);

        assert!(report.clean, "seed {seed}: {report}");
        acknowledged += report.figures.acknowledged;
        unknown += report.figures.info;
    }
    assert!(
        acknowledged > 50_000 && unknown > 2_000,
        "{acknowledged} {unknown}"
    );
    println!(
        "{} clean histories: {acknowledged} records acknowledged, 0 alarms",
        SEEDS * 3
    );
}

#[test]
fn each_change_of_a_clean_history_is_found() {
    let mut made: BTreeMap<&str, u64> = BTreeMap::new();
    let mut shown_again = 0_u64;
    let mut rng = StdRng::seed_from_u64(1);
    for seed in 0..SEEDS {
        let world = generate::history(seed, STEPS);
        for (name, change, kinds) in MUTATIONS {
            let lines = world.lines.clone();
            let mut edit = Edit {
                lines,
                rng: &mut rng,
            };
            if !change(&mut edit) {
                continue;
            }
            let lines = edit.lines;

            let mut report = check(&world.header, &lines);

            let found = kinds.iter().copied().find(|kind| report.has(*kind));
            let Some(found) = found else {
                panic!("seed {seed}, {name}: not found, but {report}");
            };
            *made.entry(name).or_default() += 1;
            add_excerpts(&mut report, Cursor::new(text(&world.header, &lines))).unwrap();
            let one = report
                .anomalies
                .iter()
                .find(|one| one.kind == found)
                .unwrap();
            let header = serde_json::to_string(&world.header).unwrap();
            let excerpt = [vec![header], one.excerpt.clone()].concat().join("\n");
            let again = esker_history::check(Cursor::new(excerpt)).unwrap();
            assert!(
                again.has(found),
                "seed {seed}, {name}: {report}\nshows only {again}"
            );
            shown_again += 1;
        }
    }
    for (name, ..) in MUTATIONS {
        let count = made.get(name).copied().unwrap_or(0);
        assert!(count >= 20, "{name} was made {count} times only: {made:?}");
        println!("{count:4} of {count:4} found: {name}");
    }
    let all: u64 = made.values().sum();
    println!("{all} changes, {all} found, {shown_again} shown again by their excerpt alone");
}

#[test]
fn the_time_of_a_check_grows_with_the_length() {
    let time = |steps: u32| {
        let world = generate::history(5, steps);
        let text = text(&world.header, &world.lines);
        // The shortest of some: other programs run beside this one.
        let times = (0..5).map(|_| {
            let clock = stopwatch();
            let report = esker_history::check(Cursor::new(&text)).unwrap();
            assert!(report.clean, "{report}");
            clock()
        });
        (times.fold(f64::INFINITY, f64::min), world.lines.len())
    };
    let (short, few) = time(5_000);
    let (long, many) = time(40_000);

    println!("{few} lines in {short:.3} s, {many} lines in {long:.3} s");
    let growth = (long / short) / (as_f64(many) / as_f64(few));
    assert!(
        growth < 4.0,
        "eight times the length took {growth:.1} times the time per line"
    );
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// Seconds since now.
#[expect(
    clippy::disallowed_methods,
    reason = "the time of a pure computation is measured"
)]
fn stopwatch() -> impl Fn() -> f64 {
    let begun = std::time::Instant::now();
    move || begun.elapsed().as_secs_f64()
}
