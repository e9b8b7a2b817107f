//! Where a consumer is in each partition: pure arithmetic on offsets.

use esker_record::{BatchError, split_batches};

/// A partition being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) partition: i32,
    /// The next offset to read.
    pub(super) next: i64,
    /// Where to stop, when it is to stop.
    pub(super) end: Option<i64>,
}

impl Position {
    pub(super) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// Offsets between here and the ends: as many records, or fewer after compaction.
pub(super) fn records_to_come(positions: &[Position], count: Option<u64>) -> u64 {
    let behind = positions.iter().map(|position| {
        let end = position.end.unwrap_or(position.next);
        u64::try_from(end.saturating_sub(position.next)).unwrap_or(0)
    });
    let behind = behind.fold(0, u64::saturating_add);
    count.map_or(behind, |count| count.min(behind))
}

/// Whole batches at the front of `batches`: their bytes, and the offset behind them. Brokers may
/// cut the last batch, which is then fetched again.
///
/// # Errors
/// [`BatchError`]: not even the first batch is whole.
pub(super) fn whole_batches(batches: &[u8], next: i64) -> Result<(usize, i64), BatchError> {
    let mut whole = 0;
    let mut behind = next;
    for split in split_batches(batches) {
        let (header, range) = match split {
            Ok(found) => found,
            Err(error) if whole == 0 => return Err(error),
            Err(_) => break,
        };
        let last = i64::from(header.last_offset_delta()).saturating_add(1);
        behind = behind.max(header.base_offset().saturating_add(last));
        whole = range.end;
    }
    Ok((whole, behind))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use esker_record::{BatchBuilder, Compression, NewRecord};

    use super::*;

    fn batch(record_count: usize) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        for _ in 0..record_count {
            let value = Some("value".into());
            builder
                .push(&NewRecord {
                    value,
                    ..NewRecord::default()
                })
                .unwrap();
        }
        builder.build().unwrap()
    }

    #[test]
    fn a_position_is_done_at_its_end_and_never_without_one() {
        let at = |next, end| Position {
            partition: 0,
            next,
            end,
        };

        assert!(at(5, Some(5)).is_done());
        assert!(at(0, Some(0)).is_done());
        assert!(!at(4, Some(5)).is_done());
        assert!(!at(i64::MAX, None).is_done());
    }

    #[test]
    fn what_is_to_come_is_bounded_by_the_count() {
        let position = |next, end| Position {
            partition: 0,
            next,
            end: Some(end),
        };
        let positions = [position(2, 10), position(0, 4), position(9, 3)];

        assert_eq!(records_to_come(&positions, None), 12);
        assert_eq!(records_to_come(&positions, Some(5)), 5);
        assert_eq!(records_to_come(&positions, Some(50)), 12);
    }

    #[test]
    fn a_cut_batch_at_the_end_is_left_for_the_next_fetch() {
        let first = batch(3);
        let mut bytes = first.to_vec();
        bytes.extend_from_slice(&batch(2)[..30]);

        assert_eq!(whole_batches(&bytes, 0), Ok((first.len(), 3)));
        assert_eq!(whole_batches(&[], 7), Ok((0, 7)));
        assert!(whole_batches(&first[..40], 0).is_err());
    }

    #[test]
    fn positions_never_go_back() {
        let old = batch(3);

        assert_eq!(whole_batches(&old, 100), Ok((old.len(), 100)));
    }
}
