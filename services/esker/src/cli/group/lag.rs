//! How far a group is behind, and who reads what.

use bytes::Buf as _;
use serde::Serialize;

/// One partition of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PartitionLag {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) committed: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) lag: Option<i64>,
    pub(crate) member: Option<String>,
}

impl PartitionLag {
    pub(super) fn new(
        (topic, partition): (String, i32),
        committed: Option<i64>,
        end: Option<i64>,
        member: Option<String>,
    ) -> Self {
        let behind = |committed: i64| end.map(|end| end.saturating_sub(committed).max(0));
        Self {
            topic,
            partition,
            committed,
            end,
            lag: committed.and_then(behind),
            member,
        }
    }
}

/// Records that the group has still to read, where that is known.
pub(super) fn total(partitions: &[PartitionLag]) -> i64 {
    let lags = partitions.iter().filter_map(|partition| partition.lag);
    lags.fold(0, i64::saturating_add)
}

/// The partitions in a member's assignment; none where it is not a consumer's. Members write what
/// they like: nothing is allocated by a count that they name.
pub(super) fn assigned_partitions(assignment: &[u8]) -> Vec<(String, i32)> {
    read_assignment(assignment).unwrap_or_default()
}

/// Version, then topics with their partitions; what follows differs by version.
fn read_assignment(mut bytes: &[u8]) -> Option<Vec<(String, i32)>> {
    let bytes = &mut bytes;
    if bytes.try_get_i16().ok()? < 0 {
        return None;
    }
    let mut places = Vec::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        let name_bytes = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let (name, rest) = bytes.split_at_checked(name_bytes)?;
        let name = std::str::from_utf8(name).ok()?;
        *bytes = rest;
        for _ in 0..bytes.try_get_i32().ok()? {
            places.push((name.to_owned(), bytes.try_get_i32().ok()?));
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag_of(committed: Option<i64>, end: Option<i64>) -> Option<i64> {
        PartitionLag::new(("orders".into(), 0), committed, end, None).lag
    }

    #[test]
    fn lag_is_what_lies_between_the_committed_offset_and_the_end() {
        assert_eq!(lag_of(Some(30), Some(100)), Some(70));
        assert_eq!(lag_of(Some(100), Some(100)), Some(0));
    }

    #[test]
    fn lag_is_never_negative_and_unknown_without_both_ends() {
        assert_eq!(lag_of(Some(110), Some(100)), Some(0));
        assert_eq!(lag_of(None, Some(100)), None);
        assert_eq!(lag_of(Some(1), None), None);
    }

    #[test]
    fn the_groups_lag_counts_what_is_known() {
        let place = || ("orders".to_owned(), 0);
        let partitions = [
            PartitionLag::new(place(), Some(1), Some(5), None),
            PartitionLag::new(place(), None, Some(5), None),
            PartitionLag::new(place(), Some(5), Some(6), None),
        ];

        assert_eq!(total(&partitions), 5);
    }

    #[test]
    fn assignments_are_read_as_java_writes_them_and_foreign_bytes_are_none() {
        let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff]);

        assert_eq!(
            assigned_partitions(&bytes),
            [("t".into(), 0), ("t".into(), 7)]
        );
        for foreign in [
            &[][..],
            &[0],
            &[0xff, 0xff, 1],
            &[0, 0, 0x7f, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(assigned_partitions(foreign), []);
        }
    }
}
