//! Random logs, written and read in any order, against the plainest reference there is.

use std::collections::BTreeMap;

use bytes::Bytes;
use esker_fetch::FetchConfig;
use esker_kafka::KafkaError;
use esker_record::Compression;
use proptest::prelude::*;

use crate::world::{
    Placed, World, Write, at, batch, batches_of, cache_config, offset, records, request,
};

#[derive(Clone, Debug)]
struct NewBatch {
    partition: u32,
    /// Offsets left out in front of the partition's run in its segment.
    gap: u64,
    records: u32,
    value_bytes: usize,
    codec: usize,
}

#[derive(Clone, Debug)]
enum Action {
    Write(Write, Vec<NewBatch>),
    /// Partition and offset (per mille of what is there), per-partition limit, whole limit.
    Fetch(Vec<(u32, u64, i32)>, i32),
}

/// A batch as a reader must get it.
#[derive(Clone, Debug)]
struct Written {
    end: u64,
    bytes: Bytes,
}

/// All batches of each partition by base offset, and how far readers were shown each log.
#[derive(Debug, Default)]
struct Reference {
    logs: BTreeMap<u32, BTreeMap<u64, Written>>,
    shown: BTreeMap<u32, i64>,
}

impl Reference {
    fn end(&self, partition: u32) -> u64 {
        let log = self.logs.get(&partition);
        let last = log.and_then(BTreeMap::last_key_value);
        last.map_or(0, |(_, written)| written.end)
    }

    /// The batches from the one that holds `from`, or follows it.
    fn batches(&self, partition: u32, from: u64) -> Vec<Bytes> {
        let log = self.logs.get(&partition).into_iter().flatten();
        let behind = log.filter(|(_, written)| written.end > from);
        behind.map(|(_, written)| written.bytes.clone()).collect()
    }
}

fn new_batch() -> impl Strategy<Value = NewBatch> {
    let value_bytes = prop_oneof![8 => 0..3000_usize, 1 => 100_000..400_000_usize];
    let gap = prop_oneof![3 => Just(0_u64), 1 => 1..20_u64];
    (0..4_u32, gap, 1..12_u32, value_bytes, 0..5_usize).prop_map(
        |(partition, gap, records, value_bytes, codec)| NewBatch {
            partition,
            gap,
            records,
            value_bytes,
            codec,
        },
    )
}

fn limit() -> impl Strategy<Value = i32> {
    prop_oneof![
        Just(0),
        1..2000_i32,
        2000..100_000_i32,
        100_000..10_000_000_i32
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let how = prop_oneof![
        Just(Write::Here),
        Just(Write::Elsewhere),
        Just(Write::Unheard)
    ];
    let write = (how, proptest::collection::vec(new_batch(), 1..8))
        .prop_map(|(how, batches)| Action::Write(how, batches));
    let asked = (0..4_u32, 0..1100_u64, limit());
    let fetch = (proptest::collection::vec(asked, 1..5), limit())
        .prop_map(|(asked, bytes)| Action::Fetch(asked, bytes));
    prop_oneof![write, fetch]
}

/// Lays out batches as a segment has them: grouped by partition, a gap in front of each group.
fn place(reference: &mut Reference, mut batches: Vec<NewBatch>) -> Vec<Placed> {
    batches.sort_by_key(|new| new.partition);
    let mut placed = Vec::new();
    let mut last = None;
    for new in batches {
        let gap = if last == Some(new.partition) {
            0
        } else {
            new.gap
        };
        last = Some(new.partition);
        let base = reference.end(new.partition) + gap;
        let time = i64::try_from(base).unwrap();
        let codec = Compression::ALL[new.codec];
        let bytes = batch(codec, &records(new.records, new.value_bytes, time));
        let mut stamped = bytes.to_vec();
        stamped[..8].copy_from_slice(&time.to_be_bytes());
        stamped[12..16].fill(0);
        let written = Written {
            end: base + u64::from(new.records),
            bytes: stamped.into(),
        };
        let log = reference.logs.entry(new.partition).or_default();
        log.insert(base, written);
        placed.push((at(new.partition), offset(base), bytes));
    }
    placed
}

/// Asks, and checks everything that must hold of the answer.
async fn check_fetch(
    world: &World,
    reference: &mut Reference,
    asked: &[(u32, u64, i32)],
    bytes_max: i32,
) {
    let wanted: Vec<_> = asked
        .iter()
        .map(|(partition, share, _)| (*partition, reference.end(*partition) * share / 1000))
        .collect();
    let mut fetch = request(&wanted).with_max_bytes(bytes_max).with_min_bytes(0);
    for (partition, (_, _, limit)) in fetch.topics[0].partitions.iter_mut().zip(asked) {
        partition.partition_max_bytes = *limit;
    }

    let reply = world.ask(12, fetch).await;

    let mut total = 0;
    let mut nonempty = 0;
    let mut counts = Vec::new();
    for (found, ((partition, from), (_, _, limit))) in reply.topics[0]
        .partitions
        .iter()
        .zip(wanted.iter().zip(asked))
    {
        let end = reference.end(*partition);
        if *from > end {
            assert_eq!(found.error, KafkaError::OffsetOutOfRange);
            continue;
        }
        assert_eq!(found.error, KafkaError::None, "{partition} from {from}");
        let shown = reference.shown.entry(*partition).or_default();
        assert!(found.high_watermark >= *shown, "CP6: it never falls");
        *shown = found.high_watermark;
        assert!(found.high_watermark <= i64::try_from(end).unwrap(), "CP7");
        let batches = batches_of(&found.records);
        let there = reference.batches(*partition, *from);
        assert_eq!(
            batches[..],
            there[..batches.len()],
            "{partition} from {from}"
        );
        let bytes: usize = batches.iter().map(Bytes::len).sum();
        total += bytes;
        counts.push(batches.len());
        nonempty += usize::from(!batches.is_empty());
        let is_within = bytes <= usize::try_from(*limit).unwrap();
        assert!(is_within || batches.len() == 1, "its limit is {limit}");
        let visible = found.high_watermark > i64::try_from(*from).unwrap();
        if !visible {
            assert!(batches.is_empty(), "nothing at or above the high watermark");
        }
    }
    let is_within = total <= usize::try_from(bytes_max).unwrap();
    let is_one = counts.iter().sum::<usize>() == 1;
    assert!(is_within || is_one, "the limit is {bytes_max}");
    let any_visible = wanted.iter().any(|(partition, from)| {
        let shown = reference.shown.get(partition).copied().unwrap_or(0);
        shown > i64::try_from(*from).unwrap()
    });
    let is_failed = reply.topics[0]
        .partitions
        .iter()
        .any(|at| !at.error.is_none());
    assert!(
        nonempty > 0 || !any_visible || is_failed,
        "something follows"
    );
}

/// Reads every partition to its end.
async fn check_all(world: &World, reference: &Reference, bytes_max: i32) {
    for partition in 0..4 {
        let end = reference.end(partition);
        let mut all = Vec::new();
        let mut from = 0;
        while from < end {
            let mut fetch = request(&[(partition, from)]);
            fetch.topics[0].partitions[0].partition_max_bytes = bytes_max;
            let reply = world.ask(12, fetch).await;
            let found = batches_of(&reply.topics[0].partitions[0].records);
            assert!(
                !found.is_empty(),
                "{partition} stands still at {from} of {end}"
            );
            all.extend(found);
            let last = reference.logs[&partition].values().nth(all.len() - 1);
            from = last.unwrap().end;
        }
        assert_eq!(all, reference.batches(partition, 0));
    }
}

async fn run(actions: Vec<Action>, index_extents_max: usize, bytes_max: i32) {
    let config = FetchConfig {
        index_extents_max,
        ..FetchConfig::default()
    };
    let mut world = World::with(config, cache_config()).await;
    let mut reference = Reference::default();
    for action in actions {
        match action {
            Action::Write(how, batches) => {
                let placed = place(&mut reference, batches);
                world.write(how, &placed).await;
            }
            Action::Fetch(asked, bytes) => {
                check_fetch(&world, &mut reference, &asked, bytes).await;
            }
        }
    }
    // What nobody has heard of becomes known with the next push.
    let last = (0..4).map(|partition| NewBatch {
        partition,
        gap: 1,
        records: 1,
        value_bytes: 10,
        codec: 0,
    });
    let placed = place(&mut reference, last.collect());
    world.write(Write::Elsewhere, &placed).await;
    check_all(&world, &reference, bytes_max).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_log_is_read_as_it_was_written(
        actions in proptest::collection::vec(action(), 1..25),
        index_extents_max in prop_oneof![Just(0_usize), 1..6_usize, Just(100_000_usize)],
        bytes_max in limit(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();

        runtime.block_on(run(actions, index_extents_max, bytes_max));
    }
}
