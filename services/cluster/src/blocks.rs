//! Whom to ask for a block of a segment: its owner in a zone, and the process that wrote it.
//!
//! Pure. A wrong table costs a request to the bucket, never a byte: who is asked serves whatever it
//! is asked for, and who gets nothing asks the bucket.

use std::sync::Arc;

use esker_metadata_api::{Pod, PodTable, Roles};
use esker_types::{SegmentId, SessionId};

use crate::placement::Fingerprint;

/// The process of `zone` that loads a block for all others there: the one of the fetch processes
/// with an internal address that has the highest weight for it. `None`: there is none.
#[must_use]
pub fn block_owner<'a>(
    table: &'a PodTable,
    zone: Option<&str>,
    segment: SegmentId,
    block: u64,
) -> Option<&'a Arc<Pod>> {
    let mut key = Fingerprint::default();
    key.add(&segment.session.bytes());
    key.add(&segment.index.get().to_be_bytes());
    key.add(&block.to_be_bytes());
    let near = |pod: &&Arc<Pod>| pod.internal.is_some() && pod.zone.as_deref() == zone;
    let able = table.with(Roles::FETCH).filter(near);
    able.max_by_key(|pod| (key.weight(pod.node_id), pod.node_id))
}

/// The process that writes a session, or wrote it a moment ago. It may be about to stop.
#[must_use]
pub fn session_writer(table: &PodTable, session: SessionId) -> Option<&Arc<Pod>> {
    let mut pods = table.pods.values();
    pods.find(|pod| pod.internal.is_some() && pod.sessions.contains(&session))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use esker_metadata_api::Endpoint;
    use esker_types::{ChainIndex, PodId};

    use super::*;

    const BLOCKS: u64 = 2000;

    fn pod(node_id: i32, zone: Option<&str>) -> Pod {
        Pod {
            pod: PodId::from_bytes([u8::try_from(node_id % 200).unwrap(); 16]),
            node_id,
            roles: Roles::FETCH,
            zone: zone.map(str::to_owned),
            kafka: None,
            internal: Some(Endpoint {
                host: "127.0.0.1".to_owned(),
                port: 9094,
            }),
            version: String::new(),
            is_draining: false,
            sessions: Vec::new(),
        }
    }

    fn table(pods: &[Pod]) -> PodTable {
        let pods = pods.iter().map(|pod| (pod.node_id, Arc::new(pod.clone())));
        PodTable {
            is_settled: true,
            pods: pods.collect(),
        }
    }

    fn segment(index: u64) -> SegmentId {
        SegmentId {
            session: SessionId::from_bytes([9; 16]),
            index: ChainIndex::new(index),
        }
    }

    /// Owners of many blocks, four of each object.
    fn owners(table: &PodTable, zone: Option<&str>) -> Vec<Option<i32>> {
        let owner = |number| block_owner(table, zone, segment(number / 4), number % 4);
        (0..BLOCKS)
            .map(|at| owner(at).map(|pod| pod.node_id))
            .collect()
    }

    fn shares(owners: &[Option<i32>]) -> BTreeMap<i32, usize> {
        let mut shares = BTreeMap::new();
        for owner in owners.iter().flatten() {
            *shares.entry(*owner).or_default() += 1;
        }
        shares
    }

    #[test]
    fn each_process_of_a_zone_owns_about_its_share_of_the_blocks() {
        let four: Vec<Pod> = (101..105).map(|node| pod(node, Some("a"))).collect();

        let shares = shares(&owners(&table(&four), Some("a")));

        assert_eq!(shares.len(), 4);
        assert!(
            shares.values().all(|share| (400..600).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn who_goes_moves_only_the_blocks_that_it_owned() {
        let four: Vec<Pod> = (101..105).map(|node| pod(node, None)).collect();
        let (before, after) = (
            owners(&table(&four), None),
            owners(&table(&four[1..]), None),
        );

        for (before, after) in before.iter().zip(&after) {
            assert!(
                *before == Some(101) || before == after,
                "{before:?} {after:?}"
            );
        }
        assert_eq!(shares(&after).get(&101), None);
    }

    #[test]
    fn every_zone_has_owners_of_its_own_and_one_without_fetch_has_none() {
        let mut leaving = pod(4, Some("b"));
        leaving.is_draining = true;
        let mut unreachable = pod(5, Some("b"));
        unreachable.internal = None;
        let mut ingest = pod(6, Some("b"));
        ingest.roles = Roles::INGEST;
        let pods = [
            pod(1, Some("a")),
            pod(2, Some("b")),
            pod(3, None),
            leaving,
            unreachable,
            ingest,
        ];
        let table = table(&pods);

        let all_of = |zone| {
            let owners = owners(&table, zone);
            assert!(owners.iter().all(|owner| *owner == owners[0]), "{zone:?}");
            owners[0]
        };
        assert_eq!(all_of(Some("a")), Some(1));
        assert_eq!(all_of(Some("b")), Some(2));
        assert_eq!(all_of(None), Some(3));
        assert_eq!(all_of(Some("c")), None);
    }

    #[test]
    fn a_session_is_found_where_it_is_written_even_while_that_process_drains() {
        let session = |number| SessionId::from_bytes([number; 16]);
        let mut writer = pod(7, Some("a"));
        writer.roles = Roles::INGEST;
        writer.is_draining = true;
        writer.sessions = vec![session(1), session(2)];
        let mut unreachable = pod(8, Some("a"));
        unreachable.internal = None;
        unreachable.sessions = vec![session(3)];
        let table = table(&[pod(6, None), writer, unreachable]);

        let found = [1, 2, 3, 4].map(|number| session_writer(&table, session(number)));

        let nodes = found.map(|pod| pod.map(|pod| pod.node_id));
        assert_eq!(nodes, [Some(7), Some(7), None, None]);
    }
}
