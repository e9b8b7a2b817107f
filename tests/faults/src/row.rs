//! The rows of the fault matrix that can be run: their numbers, stores, and what CI runs of them.

use crate::arguments::StoreName;

/// A row of the matrix.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its number there.
    pub(crate) number: u32,
    /// What is done.
    pub(crate) name: &'static str,
    /// Where it can be done.
    pub(crate) stores: &'static [StoreName],
    /// The store on which every change runs it, if it does.
    pub(crate) short: Option<StoreName>,
    /// Whether requests to the store must have been struck.
    pub(crate) strikes: bool,
    /// Whether it changes what requests to the store have signed.
    pub(crate) is_open_store: bool,
}

const ALL: &[StoreName] = &[StoreName::Dir, StoreName::Minio, StoreName::Seaweed];
const S3: &[StoreName] = &[StoreName::Minio, StoreName::Seaweed];
const DIR: &[StoreName] = &[StoreName::Dir];
const LOCAL: &[StoreName] = &[StoreName::Dir, StoreName::Minio];
const MINIO: &[StoreName] = &[StoreName::Minio];
const SEAWEED: &[StoreName] = &[StoreName::Seaweed];

const fn row(number: u32, name: &'static str, stores: &'static [StoreName]) -> Row {
    Row {
        number,
        name,
        stores,
        short: None,
        strikes: false,
        is_open_store: false,
    }
}

impl Row {
    /// Every change runs it on this store.
    const fn short_on(mut self, store: StoreName) -> Self {
        self.short = Some(store);
        self
    }

    /// Requests must be struck, else nothing was shown.
    const fn strikes(mut self) -> Self {
        self.strikes = true;
        self
    }

    /// Only on a store that looks at no signature.
    const fn unsigned(mut self) -> Self {
        self.is_open_store = true;
        self
    }
}

/// The rows, by number.
pub(crate) const ROWS: &[Row] = &[
    row(0, "self-check: older state restored", DIR).short_on(StoreName::Dir),
    row(1, "kill -9 under load", ALL).short_on(StoreName::Dir),
    row(2, "SIGSTOP, then SIGCONT", ALL),
    row(3, "SIGTERM drains under load", ALL).short_on(StoreName::Minio),
    row(4, "SIGTERM while the store hangs", S3).strikes(),
    row(5, "memory runs out", LOCAL),
    row(6, "5 % of a processor", LOCAL),
    row(8, "segment put done, reply lost", S3)
        .strikes()
        .short_on(StoreName::Minio),
    row(9, "segment put arrives late", S3).strikes(),
    row(10, "503 for half of all requests", S3).strikes(),
    row(11, "store away", S3).strikes(),
    row(12, "segment put cut", SEAWEED).strikes().unsigned(),
    row(14, "credentials refused, expired", S3).strikes(),
    row(19, "leader killed, standby takes over", S3).short_on(StoreName::Minio),
    row(20, "zombie leader", S3).short_on(StoreName::Minio),
    row(22, "leader cut from its store", S3).strikes(),
    row(23, "leader and standby cut apart", S3),
    row(24, "journal: reply lost, late, doubled", S3)
        .strikes()
        .short_on(StoreName::Minio),
    row(25, "409 with and without effect", S3).strikes(),
    row(26, "store ignores conditions", SEAWEED)
        .strikes()
        .unsigned(),
    row(27, "stale, unordered lists at a start", S3),
    row(29, "wall clock jumps by an hour", LOCAL),
    row(31, "readers meet a cold start", ALL),
    row(33, "reads flipped, cut, short, 404", S3)
        .strikes()
        .short_on(StoreName::Minio),
    row(36, "topic deleted and made again", ALL),
    row(37, "kills while a group rebalances", ALL),
    row(38, "group member silent too long", ALL),
    row(47, "resets, silence, a thin line", ALL),
    row(50, "everything killed, the store too", MINIO),
    row(51, "SIGTERM to leader after leader", S3),
    row(53, "puts work, gets do not", S3).strikes(),
    row(54, "a live object is gone", DIR),
    row(55, "another cluster's bucket", ALL),
    row(56, "read-only root, full /tmp", MINIO),
    row(57, "seal races a segment put", S3)
        .strikes()
        .short_on(StoreName::Minio),
    row(58, "one place fails, later ones succeed", S3).strikes(),
    row(59, "slow segment puts", S3).strikes(),
    row(60, "session registered, reply lost", S3).strikes(),
    row(61, "killed with no checkpoint made", ALL),
    row(62, "killed between reserve and put", S3).strikes(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_rise_and_what_every_change_runs_can_be_run_there() {
        let numbers: Vec<u32> = ROWS.iter().map(|row| row.number).collect();

        assert!(numbers.is_sorted() && numbers.windows(2).all(|pair| pair[0] != pair[1]));
        for row in ROWS {
            assert!(row.short.is_none_or(|store| row.stores.contains(&store)));
            assert!(row.name.len() <= 36, "{}", row.name);
        }
        for number in [0, 1, 3, 8, 19, 20, 33, 57] {
            let row = ROWS.iter().find(|row| row.number == number);
            assert!(row.is_some_and(|row| row.short.is_some()), "{number}");
        }
    }
}
