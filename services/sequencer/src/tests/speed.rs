//! The cost of a large reservation, with room for slow machines: quadratic work would show.

use super::harness::*;

#[test]
fn a_segment_of_10_000_batches_in_1_000_partitions_costs_no_quadratic_work() {
    let mut leader = Leader::new();
    let batches = |round: i32| {
        let partition = move |partition: u32| {
            (0..10_i64).map(move |producer| {
                let mut batch = from(producer, round, 1);
                batch.topic_partition = at(partition);
                batch
            })
        };
        (0..1000).flat_map(partition).collect::<Vec<_>>()
    };

    for round in 0..50_u32 {
        let index = u64::from(round);
        let verdicts = leader.reserve(1, index, batches(i32::try_from(round).unwrap()));
        assert_eq!(verdicts.len(), 10_000);
        leader.written(1, index + 1);
        leader.checkpoint();
    }

    assert_eq!(leader.high_watermark(999), 500);
}
