//! What producers were told, and whether a log agrees with it.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use esker_types::MonotonicTime;

use super::Log;

/// What a producer knows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Acknowledged with the offset of its first record.
    Acknowledged {
        /// Offset of its first record.
        base_offset: i64,
        /// When it was heard.
        at: MonotonicTime,
    },
    /// The cluster said that it was not written.
    Refused {
        /// With this code.
        code: i16,
    },
    /// Nothing, or an answer that leaves it open.
    Unknown,
}

/// Records with consecutive numbers, sent together to one partition.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The partition.
    pub partition: i32,
    /// The number of its first record: counted per producer and partition.
    pub first: u64,
    /// Its records.
    pub count: u64,
    /// The connection that carried it last: order is kept within one, and by sequences.
    pub connection: u64,
    /// When it was sent for the first time.
    pub sent_at: MonotonicTime,
    /// What came of it.
    pub told: Told,
}

/// Everything one producer sent and heard.
#[derive(Clone, Debug)]
pub struct History {
    /// Who.
    pub producer: u32,
    /// Whether each record must be there at most once and in order without a gap.
    pub is_idempotent: bool,
    /// In the order in which they were sent first.
    pub batches: Vec<Batch>,
    /// Connections that were lost.
    pub reconnects: u64,
    /// Batches that were sent again.
    pub resent: u64,
}

impl History {
    /// Records that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let told = self.batches.iter();
        let good = told.filter(|batch| matches!(batch.told, Told::Acknowledged { .. }));
        good.map(|batch| batch.count).sum()
    }
}

/// What a comparison counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records in the log.
    pub records: u64,
    /// Records that were acknowledged, all of them found at their offset.
    pub acknowledged: u64,
    /// Records of unknown outcome that are in the log.
    pub unknown_kept: u64,
    /// Records of unknown outcome that are not.
    pub unknown_lost: u64,
    /// Records refused, none of them found.
    pub refused: u64,
    /// Offsets that no record has.
    pub gaps: u64,
    /// Connections that producers lost.
    pub reconnects: u64,
    /// Batches sent again by idempotent producers.
    pub resent: u64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} records, {} acknowledged (0 lost, 0 elsewhere), unknown {} kept {} not, {} refused \
             (0 found), {} batches resent (0 doubled), {} reconnects, {} void offsets",
            self.records,
            self.acknowledged,
            self.unknown_kept,
            self.unknown_lost,
            self.refused,
            self.resent,
            self.reconnects,
            self.gaps
        )
    }
}

/// Number → offset, of one producer in one partition.
type Places = BTreeMap<u64, i64>;

/// Compares the whole log of a topic with what all its producers were told.
///
/// # Errors
/// The first contradiction.
pub fn compare(log: &Log, histories: &[History]) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let places = index(log, histories, &mut figures)?;
    for history in histories {
        figures.reconnects += history.reconnects;
        figures.resent += history.resent;
        for batch in &history.batches {
            let none = Places::new();
            let found = places
                .get(&(history.producer, batch.partition))
                .unwrap_or(&none);
            check_batch(history, batch, found, &mut figures)?;
        }
    }
    for history in histories {
        check_order(history, &places)?;
    }
    for partition in log.partitions.keys() {
        check_real_time(*partition, histories)?;
    }
    Ok(figures)
}

fn index(
    log: &Log,
    histories: &[History],
    figures: &mut Figures,
) -> anyhow::Result<BTreeMap<(u32, i32), Places>> {
    let kinds: BTreeMap<u32, bool> = histories
        .iter()
        .map(|history| (history.producer, history.is_idempotent))
        .collect();
    let mut places: BTreeMap<(u32, i32), Places> = BTreeMap::new();
    for (partition, records) in &log.partitions {
        let mut next = 0;
        for (offset, (producer, number)) in records {
            figures.records += 1;
            figures.gaps += u64::try_from(offset - next)?;
            next = offset + 1;
            let is_idempotent = kinds.get(producer).context("a record that nobody sent")?;
            let of_producer = places.entry((*producer, *partition)).or_default();
            let before = of_producer.last_key_value().map(|(number, _)| *number);
            if let Some(twice) = of_producer.insert(*number, *offset) {
                bail!("{producer}/{partition}/{number} is at {twice} and again at {offset}");
            }
            if *is_idempotent {
                let due = before.map_or(0, |before| before + 1);
                ensure!(
                    *number == due,
                    "{producer}/{partition}: {number} at {offset} where {due} was due"
                );
            }
        }
    }
    Ok(places)
}

fn check_batch(
    history: &History,
    batch: &Batch,
    found: &Places,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let name = (history.producer, batch.partition, batch.first);
    let range = batch.first..batch.first + batch.count;
    let kept: Vec<(u64, i64)> = found
        .range(range.clone())
        .map(|(n, at)| (*n, *at))
        .collect();
    let kept_count = u64::try_from(kept.len())?;
    match batch.told {
        Told::Acknowledged { base_offset, .. } => {
            let wanted: Vec<(u64, i64)> = range.zip(base_offset..).collect();
            ensure!(
                kept == wanted,
                "batch {name:?} was acknowledged at {base_offset}, the log has {kept:?}"
            );
            figures.acknowledged += batch.count;
        }
        Told::Refused { code } => {
            ensure!(
                kept.is_empty(),
                "batch {name:?} was refused with {code}, the log has {kept:?}"
            );
            figures.refused += batch.count;
        }
        Told::Unknown => {
            ensure!(!history.is_idempotent, "batch {name:?} was given up");
            ensure!(
                kept_count == 0 || kept_count == batch.count,
                "batch {name:?} is there in part: {kept:?}"
            );
            figures.unknown_kept += kept_count;
            figures.unknown_lost += batch.count - kept_count;
        }
    }
    Ok(())
}

/// What one connection carried to one partition is there in the order in which it was sent.
fn check_order(history: &History, places: &BTreeMap<(u32, i32), Places>) -> anyhow::Result<()> {
    let mut last: BTreeMap<(i32, u64), (u64, i64)> = BTreeMap::new();
    for batch in &history.batches {
        let of_partition = places.get(&(history.producer, batch.partition));
        let Some(offset) = of_partition.and_then(|places| places.get(&batch.first)) else {
            continue;
        };
        let lane = (batch.partition, batch.connection);
        let before = last.insert(lane, (batch.first, *offset));
        ensure!(
            before.is_none_or(|(_, before)| before < *offset),
            "{}/{}: {} at {offset} follows {before:?}",
            history.producer,
            batch.partition,
            batch.first
        );
    }
    Ok(())
}

/// What was acknowledged before another batch was sent has the lower offsets (P2). Sound only for
/// times of one clock: an answer is timed behind, and a request before, what the server does.
fn check_real_time(partition: i32, histories: &[History]) -> anyhow::Result<()> {
    let all = histories.iter().flat_map(|history| &history.batches);
    let of_partition = all.filter(|batch| batch.partition == partition);
    let mut heard: Vec<(MonotonicTime, i64, MonotonicTime)> = Vec::new();
    for batch in of_partition {
        if let Told::Acknowledged { base_offset, at } = batch.told {
            heard.push((at, base_offset, batch.sent_at));
        }
    }
    heard.sort_unstable();
    let mut highest = Vec::with_capacity(heard.len());
    let mut top = -1;
    for (at, base_offset, _) in &heard {
        top = top.max(*base_offset);
        highest.push((*at, top));
    }
    for (_, base_offset, sent_at) in &heard {
        let earlier = highest.partition_point(|(at, _)| at < sent_at);
        let Some((_, before)) = earlier.checked_sub(1).and_then(|place| highest.get(place)) else {
            continue;
        };
        ensure!(
            before < base_offset,
            "partition {partition}: {base_offset} was sent after {before} was acknowledged"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_millis(millis))
    }

    fn acknowledged(first: u64, base_offset: i64, sent: u64) -> Batch {
        Batch {
            partition: 0,
            first,
            count: 2,
            connection: 0,
            sent_at: at(sent),
            told: Told::Acknowledged {
                base_offset,
                at: at(sent + 5),
            },
        }
    }

    fn history(batches: Vec<Batch>) -> History {
        History {
            producer: 7,
            is_idempotent: true,
            batches,
            reconnects: 0,
            resent: 0,
        }
    }

    fn log(numbers: &[(i64, u64)]) -> Log {
        let records = numbers
            .iter()
            .map(|(offset, number)| (*offset, (7, *number)));
        Log {
            partitions: BTreeMap::from([(0, records.collect())]),
        }
    }

    #[test]
    fn a_log_that_agrees_passes_and_its_gaps_are_counted() {
        let told = history(vec![acknowledged(0, 0, 0), acknowledged(2, 3, 10)]);

        let figures = compare(&log(&[(0, 0), (1, 1), (3, 2), (4, 3)]), &[told]).unwrap();

        assert_eq!((figures.acknowledged, figures.gaps), (4, 1));
    }

    #[test]
    fn every_contradiction_is_found() {
        let both = || vec![acknowledged(0, 0, 0), acknowledged(2, 2, 10)];
        let mut refused = both();
        refused[1].told = Told::Refused { code: 6 };
        let mut torn = history(both());
        torn.is_idempotent = false;
        torn.batches[1].told = Told::Unknown;
        let whole = log(&[(0, 0), (1, 1), (2, 2), (3, 3)]);
        let reversed = vec![acknowledged(2, 0, 20), acknowledged(0, 2, 10)];
        let mut plain = history(reversed);
        plain.is_idempotent = false;

        let says = |log: &Log, told: History| compare(log, &[told]).unwrap_err().to_string();

        let lost = log(&[(0, 0), (1, 1)]);
        assert!(says(&lost, history(both())).contains("was acknowledged at 2"));
        let moved = log(&[(0, 0), (1, 1), (3, 2), (4, 3)]);
        assert!(says(&moved, history(both())).contains("was acknowledged at 2"));
        let twice = log(&[(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)]);
        assert!(says(&twice, history(both())).contains("again at 4"));
        let swapped = log(&[(0, 0), (1, 1), (2, 3), (3, 2)]);
        assert!(says(&swapped, history(both())).contains("was due"));
        assert!(says(&whole, history(refused)).contains("was refused with 6"));
        assert!(says(&log(&[(0, 0), (1, 1), (2, 2)]), torn).contains("in part"));
        let early = log(&[(0, 2), (1, 3), (2, 0), (3, 1)]);
        plain.batches.reverse();
        assert!(says(&early, plain).contains("follows"));
        let stranger = compare(&whole, &[]).unwrap_err().to_string();
        assert!(stranger.contains("nobody sent"));
    }

    #[test]
    fn an_offset_below_one_acknowledged_before_is_found() {
        let other = History {
            producer: 8,
            batches: vec![acknowledged(0, 0, 20)],
            ..history(vec![])
        };
        let mut records = log(&[(2, 0), (3, 1)]);
        let of_other = [(0, (8, 0)), (1, (8, 1))];
        records.partitions.entry(0).or_default().extend(of_other);

        let found = compare(&records, &[history(vec![acknowledged(0, 2, 0)]), other]);

        let found = found.unwrap_err().to_string();
        assert!(
            found.contains("was sent after 2 was acknowledged"),
            "{found}"
        );
    }

    #[test]
    fn a_second_clock_shows_an_order_that_never_was() {
        // Producer 8 sends at 100 and gets 0; producer 7 sends at 99, gets 2 and hears so at 104.
        // On a clock that began 5 ms later that answer came before the other one's request.
        let of_other = || History {
            producer: 8,
            batches: vec![acknowledged(0, 0, 100)],
            ..history(vec![])
        };
        let mut records = log(&[(2, 0), (3, 1)]);
        let others = [(0, (8, 0)), (1, (8, 1))];
        records.partitions.entry(0).or_default().extend(others);
        let compared = |sent| {
            let one = history(vec![acknowledged(0, 2, sent)]);
            compare(&records, &[one, of_other()])
        };

        let (one_clock, two_clocks) = (compared(99), compared(99 - 5));

        assert!(one_clock.is_ok(), "{one_clock:?}");
        let found = two_clocks.unwrap_err().to_string();
        assert!(
            found.contains("0 was sent after 2 was acknowledged"),
            "{found}"
        );
    }
}
