//! What a seed draws besides faults: the cluster's shape and settings.

use std::time::Duration;

use esker_env::Rng;
use esker_ingest::IngestConfig;

use crate::fault::Fault;
use crate::node::{MILLI, Nanos, SECOND};

/// What commands take for no kind of faults.
const NO_FAULT: &str = "none";

/// What a produce request allows the server, as a rule.
const PATIENT: Nanos = 7 * SECOND;

/// What to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Root of all randomness.
    pub seed: u64,
    /// Simulated minutes before everything is healed.
    pub minutes: u64,
    /// Kinds of faults that are off, whatever the seed draws.
    pub masked: Vec<Fault>,
    /// Clients that are left out, by number.
    pub silent: Vec<usize>,
    /// Prints each event.
    pub trace: bool,
    /// File for the history.
    pub history: Option<String>,
}

impl RunOptions {
    /// The usual run of a seed.
    #[must_use]
    pub fn of(seed: u64, minutes: u64) -> Self {
        Self {
            seed,
            minutes,
            masked: Vec::new(),
            silent: Vec::new(),
            trace: false,
            history: None,
        }
    }

    /// Leaves out all kinds of faults but those of these labels; `none` is no kind. Whether all
    /// labels are known: if not, nothing has changed.
    #[must_use]
    pub fn only(&mut self, labels: &[String]) -> bool {
        let is_known = |label: &String| {
            let mut kinds = Fault::ALL.iter();
            label == NO_FAULT || kinds.any(|kind| kind.label() == label)
        };
        if !labels.iter().all(is_known) {
            return false;
        }
        let is_left_out = |kind: &&Fault| !labels.iter().any(|label| kind.label() == label);
        self.masked = Fault::ALL.iter().filter(is_left_out).copied().collect();
        true
    }

    /// The arguments of `esker-sim run` that repeat this run.
    #[must_use]
    pub fn arguments(&self) -> String {
        let mut text = format!("--seed {} --minutes {}", self.seed, self.minutes);
        if !self.masked.is_empty() {
            let kept = Fault::ALL.iter().filter(|kind| !self.masked.contains(kind));
            let kept: Vec<&str> = kept.map(|kind| kind.label()).collect();
            let kept = match kept.is_empty() {
                true => NO_FAULT.to_owned(),
                false => kept.join(","),
            };
            text.push_str(&format!(" --faults {kept}"));
        }
        if !self.silent.is_empty() {
            let silent: Vec<String> = self.silent.iter().map(usize::to_string).collect();
            text.push_str(&format!(" --silent {}", silent.join(",")));
        }
        text
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Idempotent,
    Plain,
    Consume,
    Member,
    Latest,
}

/// Shape and settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) partitions: u32,
    pub(crate) clients: Vec<Work>,
    pub(crate) ingest: IngestConfig,
    pub(crate) stall_deadline: Duration,
    pub(crate) take_over_grace: Duration,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) checkpoint_segments: usize,
    pub(crate) rebalance_delay: Duration,
    pub(crate) standby_misses: u32,
    /// Mean pause of a producer between two batches.
    pub(crate) think: Nanos,
    pub(crate) in_flight_max: usize,
    pub(crate) habits: Habits,
    pub(crate) store_latency: Nanos,
    pub(crate) network_latency: Nanos,
    /// Mean pause between two episodes.
    pub(crate) calm: Nanos,
    /// Clocks are off by up to so many 1024ths.
    pub(crate) skew: u64,
}

impl Settings {
    pub(crate) fn draw(root: &Rng) -> Self {
        let rng = root.stream("settings");
        let millis = |from: u64, to: u64| Duration::from_millis(from + rng.below(to - from));
        let count = |from: u64, to: u64| {
            let drawn = from + rng.below(to - from + 1);
            usize::try_from(drawn).unwrap_or(1)
        };
        let mut clients = vec![
            Work::Idempotent,
            Work::Idempotent,
            Work::Plain,
            Work::Consume,
            Work::Latest,
            Work::Member,
        ];
        for _ in 0..rng.below(4) {
            let more = [
                Work::Idempotent,
                Work::Member,
                Work::Consume,
                Work::Plain,
                Work::Member,
            ];
            clients.push(more[count(0, 4)]);
        }
        Self {
            partitions: 1 + u32::try_from(rng.below(4)).unwrap_or(0),
            clients,
            ingest: IngestConfig {
                linger: millis(1, 250),
                uploads_max: count(1, 8),
                segment_batches_max: u32::try_from(1 << rng.below(7)).unwrap_or(1),
                stall: millis(2_000, 20_000),
                patience: millis(2_000, 15_000),
                reserve_timeout: millis(1_000, 5_000),
                register_timeout: millis(3_000, 15_000),
                ..IngestConfig::default()
            },
            stall_deadline: millis(300, 5_000),
            take_over_grace: Duration::from_secs(30),
            checkpoint_interval: millis(100, 10_000),
            checkpoint_segments: count(1, 64),
            rebalance_delay: millis(0, 3_000),
            standby_misses: 2 + u32::try_from(rng.below(2)).unwrap_or(0),
            think: (20 + rng.below(400)) * MILLI,
            in_flight_max: count(1, 5),
            habits: Habits::draw(root),
            store_latency: (5 + rng.below(60)) * MILLI,
            network_latency: (200 + rng.below(3_000)) * 1_000,
            calm: (3 + rng.below(20)) * SECOND,
            skew: rng.below(128),
        }
    }
}

/// How clients behave. Some seeds are at the edge of what clients may do: they are far away, in a
/// hurry, begin anew often, or their groups never come to rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// What a batch may take before its producer gives it up and goes on under a new epoch.
    pub(crate) delivery_timeout: Nanos,
    /// What a produce request allows the server.
    pub(crate) produce_timeout: Nanos,
    /// Mean way between a client and a server, on top of the network's.
    pub(crate) distance: Nanos,
    /// Chance that an idempotent producer begins anew, in thousandths, each time that it thinks.
    pub(crate) renewal: u64,
    /// A group's leader takes up to so long to assign.
    pub(crate) assign_pause: Nanos,
    /// Chance that a member falls silent, in thousandths of its turns; it leaves twice as often.
    pub(crate) unrest: u64,
}

impl Habits {
    fn draw(root: &Rng) -> Self {
        let rng = root.stream("habits");
        let between = |from: Nanos, to: Nanos| from + rng.below(to - from);
        Self {
            delivery_timeout: match rng.below(3) {
                0 => between(2 * SECOND, 10 * SECOND),
                _ => between(20 * SECOND, 80 * SECOND),
            },
            produce_timeout: match rng.below(2) {
                0 => between(SECOND / 4, 3 * SECOND),
                _ => PATIENT,
            },
            distance: match rng.below(2) {
                0 => between(20 * MILLI, 400 * MILLI),
                _ => 0,
            },
            renewal: match rng.below(2) {
                0 => between(1, 40),
                _ => 0,
            },
            assign_pause: match rng.below(2) {
                0 => between(SECOND / 2, 4 * SECOND),
                _ => 0,
            },
            unrest: match rng.below(2) {
                0 => between(5, 20),
                _ => 1,
            },
        }
    }

    /// When everything is healed nobody is far away or in a hurry: what is left must go through.
    pub(crate) fn calm_down(&mut self) {
        (self.produce_timeout, self.distance) = (PATIENT, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(options: &RunOptions) -> RunOptions {
        let text = options.arguments();
        let words: Vec<&str> = text.split(' ').collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1).copied()
        };
        let number = |name| value(name).unwrap().parse().unwrap();
        let mut again = RunOptions::of(number("--seed"), number("--minutes"));
        if let Some(faults) = value("--faults") {
            let labels: Vec<String> = faults.split(',').map(str::to_owned).collect();
            assert!(again.only(&labels), "{faults}");
        }
        if let Some(silent) = value("--silent") {
            again.silent = silent.split(',').map(|one| one.parse().unwrap()).collect();
        }
        again
    }

    #[test]
    fn the_arguments_of_a_run_repeat_it() {
        let whole = RunOptions::of(7, 3);
        let mut some = RunOptions::of(8, 1);
        some.silent = vec![2, 5];
        some.masked = Fault::ALL.to_vec();
        some.masked
            .retain(|kind| ![Fault::PutHeld, Fault::GreyWay].contains(kind));
        let mut none = RunOptions::of(9, 1);
        none.masked = Fault::ALL.to_vec();

        for options in [whole, some, none] {
            let again = repeated(&options);

            let of = |one: &RunOptions| {
                let (masked, silent) = (one.masked.clone(), one.silent.clone());
                (one.seed, one.minutes, masked, silent)
            };
            assert_eq!(of(&again), of(&options), "{}", options.arguments());
        }
    }

    #[test]
    fn a_fault_that_nobody_knows_leaves_the_run_as_it_was() {
        let mut options = RunOptions::of(7, 3);

        let is_known = options.only(&["PutHeld".to_owned(), "PutHold".to_owned()]);

        assert!(!is_known && options.masked.is_empty());
    }
}
