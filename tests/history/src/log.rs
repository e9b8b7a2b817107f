//! What is known of one partition's log: offset → record, in pages of 64 offsets.
//!
//! Cost: O(1) to set and get, O(p log p) once to bring p pages into order, 4 bytes an offset.

use std::collections::HashMap;

const PAGE_OFFSETS: u64 = 64;
type Page = [u32; 64];

/// Number of a record in the checker's table.
pub(crate) type RecordIndex = u32;

/// Offset → record.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pages: HashMap<u64, Box<Page>>,
}

fn slot(offset: u64) -> usize {
    usize::try_from(offset % PAGE_OFFSETS).unwrap_or(0)
}

impl Log {
    /// Puts a record at an offset; the one that is there already, if another.
    pub(crate) fn set(&mut self, offset: u64, record: RecordIndex) -> Option<RecordIndex> {
        let page = self.pages.entry(offset / PAGE_OFFSETS);
        let page = page.or_insert_with(|| Box::new([0; 64]));
        let held = page.get_mut(slot(offset))?;
        match held.checked_sub(1) {
            None => {
                *held = record.saturating_add(1);
                None
            }
            Some(there) => (there != record).then_some(there),
        }
    }

    /// All records in the order of their offsets.
    pub(crate) fn ordered(&self) -> Vec<(u64, RecordIndex)> {
        let mut pages: Vec<_> = self.pages.iter().collect();
        pages.sort_unstable_by_key(|(number, _)| **number);
        let mut all = Vec::new();
        for (number, page) in pages {
            for (at, held) in (0_u64..).zip(page.iter()) {
                if let Some(record) = held.checked_sub(1) {
                    all.push((
                        number.saturating_mul(PAGE_OFFSETS).saturating_add(at),
                        record,
                    ));
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_the_first_record_of_an_offset_and_gives_all_in_order() {
        let mut log = Log::default();

        let set = [(200, 7), (0, 1), (63, 2), (64, 3), (u64::MAX, 9)];
        for (offset, record) in set {
            assert_eq!(log.set(offset, record), None);
        }

        assert_eq!(log.set(63, 2), None, "again the same");
        assert_eq!(log.set(63, 5), Some(2), "another");
        assert_eq!(
            log.ordered(),
            [(0, 1), (63, 2), (64, 3), (200, 7), (u64::MAX, 9)]
        );
    }
}
