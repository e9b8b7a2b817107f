//! Random histories: any interleaving of pods, clients, bucket, journal, zombies and take-overs
//! keeps CP1 to CP9, CP12, CP16 and CP18, after every step; and in the end everything is decided.

use std::collections::BTreeMap;

use esker_metadata_api::ReservationSummary;
use esker_types::{ChainIndex, Offset, SegmentId, SessionId, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::model::{ClientBatch, Object, Pod, World, at, extents_of, partitions, topic};
use crate::LogCommand;

/// One step: what happens, and three numbers that say to whom and how.
type Step = (u8, u8, u8, u8);

const KINDS: u8 = 32;

fn run(world: &mut World, (kind, a, b, c): Step) {
    let pod = usize::from(a) % world.pods.len();
    let current = world.nodes.len() - 1;
    let node = usize::from(b) % world.nodes.len();
    match kind % KINDS {
        0..=2 => register(world, pod, c < 240),
        3..=8 => offer(world, pod, b, c),
        9..=12 => world.put(pod, b),
        13 => world.late_put(b),
        14 | 15 => world.acknowledge(pod),
        16 | 17 => world.report(pod, current, c),
        18 => world.report(pod, node, c),
        19 | 20 => world.carry_out(current, b, c < 40),
        21 => world.carry_out(node, c, a < 40),
        22 | 23 => world.hear(current, c),
        24 => world.hear(node, c),
        25 | 26 => world.durable(),
        27 => checkpoint(world),
        28 => world.tick(u64::from(c) * 24),
        29 => give_up(world, pod, c),
        30 => trim_or_drop(world, b, c),
        _ if c < 96 => crash(world, a, b, c),
        _ if c < 176 => world.stray_look(node, a),
        _ => world.ask_latest(partitions()[usize::from(a) % 3]),
    }
    world.answer_latest();
    check(world);
}

/// A pod without a session asks for one; the answer may be lost.
fn register(world: &mut World, pod: usize, heard: bool) {
    if world.pods[pod].session.is_some() {
        return;
    }
    let mut id = [0; 16];
    let number = world.identity();
    id[..8].copy_from_slice(&number.to_be_bytes());
    let session = SessionId::from_bytes(id);
    let epoch = world.current().sequencer.epoch();
    let command = world.current().sequencer.register(session).unwrap();
    world.journal.push_back(command);
    while !world.journal.is_empty() {
        world.durable();
    }
    if heard {
        world.pods[pod] = Pod {
            session: Some((session, epoch)),
            ..Pod::default()
        };
    }
}

/// A pod reserves for a few batches: of clients, in order or not, and of nobody.
fn offer(world: &mut World, pod: usize, b: u8, c: u8) {
    let mut batches: Vec<ReservationSummary> = Vec::new();
    for number in 0..world.clients.len() {
        if b & (1 << number) != 0 {
            batches.extend(of_client(world, number, c));
        }
    }
    if b & 8 != 0 {
        let identity = world.identity();
        batches.push(ReservationSummary {
            topic_partition: at(0xa, u32::from(b / 16) % 2),
            record_count: 1 + u32::from(c) % 4,
            batch_bytes: 100,
            max_timestamp: Timestamp::from_millis(identity),
            producer: None,
            transactional: false,
            expected_end: None,
        });
    }
    batches.sort_by_key(|batch| batch.topic_partition);
    world.reserve(pod, batches, !c.is_multiple_of(4));
}

/// Mostly what a client would send next, sometimes an old batch, one too early, or a new epoch.
fn of_client(world: &mut World, number: usize, c: u8) -> Vec<ReservationSummary> {
    let identity = world.identity();
    let client = &mut world.clients[number];
    let last = client.batches.last().copied();
    let next = match last {
        None => (0, 0),
        Some(last) if c >= 252 => (last.epoch + 1, 0),
        Some(last) => {
            let records = i32::try_from(last.record_count).unwrap();
            (last.epoch, last.base_sequence + records)
        }
    };
    let acked = &world.acked;
    let open = client
        .batches
        .iter()
        .position(|batch| !acked.contains_key(&batch.identity));
    if open.is_none() || client.batches.len() - open.unwrap() < 5 {
        client.batches.push(ClientBatch {
            identity,
            epoch: next.0,
            base_sequence: next.1,
            record_count: 1 + u32::from(c) % 3,
        });
    }
    let open = open.unwrap_or(client.batches.len() - 1);
    let from = match c % 8 {
        0 | 6 => open.saturating_sub(usize::from(c / 8) % 16),
        1 | 7 => (open + 1 + usize::from(c / 128)).min(client.batches.len() - 1),
        _ => open,
    };
    let many = 1 + usize::from(c / 32) % 3;
    let sent = client.batches.iter().skip(from).take(many);
    sent.map(|batch| client.summary(batch)).collect()
}

fn checkpoint(world: &mut World) {
    if let Some(command) = world.current().sequencer.checkpoint() {
        world.journal.push_back(command);
    }
}

/// A pod ends its session: it asks for the end, puts a seal itself, or just dies.
fn give_up(world: &mut World, pod: usize, c: u8) {
    let Some((session, _)) = world.pods[pod].session else {
        return;
    };
    match c % 3 {
        0 => {
            let now = world.now;
            let node = world.current();
            let (_, effects) = node.sequencer.end_requested(&node.state, session, now);
            let last = world.nodes.len() - 1;
            world.take_effects(last, effects);
        }
        1 => {
            let index = ChainIndex::new(u64::from(c / 3) % 4 + world.pods[pod].prefix());
            world.create(SegmentId { session, index }, &Object::Seal);
        }
        _ => {}
    }
    world.pods[pod] = Pod::default();
}

fn trim_or_drop(world: &mut World, b: u8, c: u8) {
    if c == 255 {
        let topic = topic(0xb);
        world.journal.push_back(LogCommand::DropTopic { topic });
        return;
    }
    let known = partitions()[usize::from(b) % 2];
    let node = world.current();
    let high_watermark = node.sequencer.high_watermark(&node.state, known).get();
    let log_start = Offset::new(high_watermark * u64::from(c) / 512).unwrap();
    let command = node
        .sequencer
        .move_log_start(&node.state, known, log_start)
        .unwrap();
    world.journal.push_back(command);
}

/// The current sequencer becomes a zombie; some of its last commands are durable all the same.
fn crash(world: &mut World, a: u8, b: u8, c: u8) {
    for _ in 0..a % 4 {
        world.durable();
    }
    let (state, dropped) = (world.current().state.clone(), world.current().dropped);
    world.take_over(state, dropped, b, usize::from(c % 8));
}

fn check(world: &mut World) {
    let log = world.log();
    check_batches(world, &log);
    for node in 0..world.nodes.len() {
        check_index(world, node);
        check_served(world, node, &log);
    }
    let current = world.nodes.last().unwrap();
    for known in partitions() {
        if super::model::exists(current.dropped, known) {
            let now = current.sequencer.high_watermark(&current.state, known);
            let ever = world.served.get(&known).map(|(high, _)| *high);
            assert!(Some(now) >= ever, "CP6: the high watermark never falls");
        }
    }
}

type Log =
    BTreeMap<(esker_types::TopicPartition, Offset), (SegmentId, esker_segment::BatchSummary)>;

/// CP1, CP2, CP8 on the log itself.
fn check_batches(world: &World, log: &Log) {
    let mut places = BTreeMap::new();
    let mut end = BTreeMap::new();
    let mut sequences = BTreeMap::new();
    for ((known, base_offset), (_, batch)) in log {
        let before = end.insert(*known, batch.end_offset());
        assert!(before <= Some(*base_offset), "CP2: offsets are disjoint");
        let twice = places.insert(batch.max_timestamp.millis(), (*known, *base_offset));
        assert_eq!(twice, None, "CP8: a batch is committed once");
        let Some(stamp) = batch.producer else {
            continue;
        };
        let producer = (*known, stamp.producer_id);
        let records = i32::try_from(batch.record_count).unwrap();
        let next = (stamp.producer_epoch, stamp.base_sequence + records);
        if let Some((epoch, expected)) = sequences.insert(producer, next) {
            let follows = epoch == stamp.producer_epoch && expected == stamp.base_sequence;
            let begins = epoch < stamp.producer_epoch && stamp.base_sequence == 0;
            assert!(follows || begins, "CP8: in sequence, none skipped");
        }
    }
    for (identity, place) in &world.acked {
        let kept = places.get(identity);
        assert_eq!(kept, Some(place), "CP1: an acked batch stays");
    }
}

/// CP16: the durable index holds exactly the segments below `decided_upto`.
fn check_index(world: &World, node: usize) {
    let node = &world.nodes[node];
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (session, record) in node.state.sessions.iter() {
        for index in 0..record.decided_upto.get() {
            let index = ChainIndex::new(index);
            let Some(Object::Segment(footer)) = world.bucket.get(&SegmentId { session, index })
            else {
                panic!("I5: all below decided_upto are segments");
            };
            for extent in footer.extents() {
                let known = extent.topic_partition;
                let here = super::model::exists(node.dropped, known);
                if here && extent.end_offset > node.state.log_start(known) {
                    let extent = crate::state::index_extent(footer.segment, &extent);
                    expected.entry(known).or_default().push(extent);
                }
            }
        }
    }
    for known in partitions() {
        let mut expected = expected.remove(&known).unwrap_or_default();
        expected.sort_by_key(|extent| extent.base_offset);
        let held = node.state.partition(known);
        let held = held.map_or(&[][..], |log| log.extents.all());
        assert_eq!(held, expected, "CP16");
    }
}

/// CP3 to CP7 on what a sequencer serves, zombie or not.
fn check_served(world: &mut World, node: usize, log: &Log) {
    let known_by = &world.nodes[node];
    for known in partitions() {
        if !super::model::exists(known_by.dropped, known) {
            continue;
        }
        let slice = known_by
            .sequencer
            .look_up(&known_by.state, known, Offset::ZERO, usize::MAX);
        let all = extents_of(log, known);
        let below: Vec<_> = all
            .iter()
            .filter(|extent| extent.base_offset < slice.high_watermark)
            .copied()
            .collect();
        let visible: Vec<_> = below
            .iter()
            .filter(|extent| extent.end_offset > slice.log_start)
            .copied()
            .collect();
        assert_eq!(slice.extents, visible, "CP4, CP5: served is the log by C1");
        let end = below.last().map_or(Offset::ZERO, |last| last.end_offset);
        assert_eq!(end, slice.high_watermark, "CP7: it ends with a batch");
        assert!(slice.log_start <= slice.high_watermark, "CP6");

        let places = below.iter().map(|at| (at.base_offset, at.segment));
        let places: Vec<_> = places.collect();
        let (ever, kept) = world.served.entry(known).or_default();
        let same = kept.iter().zip(&places).all(|(old, new)| old == new);
        assert!(same, "CP3: nothing changes below a served high watermark");
        if slice.high_watermark >= *ever {
            assert!(kept.len() <= places.len(), "CP3: nothing goes");
            (*ever, *kept) = (slice.high_watermark, places);
        }
    }
}

/// Pods are gone, the bucket answers, the journal works: all is decided and shown.
fn settle(world: &mut World) {
    for _ in 0..400 {
        let last = world.nodes.len() - 1;
        world.tick(1000);
        while !world.nodes[last].asked.is_empty() {
            world.carry_out(last, 0, false);
        }
        while !world.nodes[last].found.is_empty() {
            world.hear(last, 0);
        }
        while !world.journal.is_empty() {
            world.durable();
        }
        checkpoint(world);
        check(world);
        let figures = world.current().sequencer.figures();
        if figures.undecided_segments == 0 && figures.lag.segments == 0 {
            break;
        }
    }
    let log = world.log();
    let node = world.nodes.last().unwrap();
    let figures = node.sequencer.figures();
    assert_eq!(figures.undecided_segments, 0, "CP18: all is decided");
    assert_eq!(figures.lag.segments, 0, "K2: all is checkpointed");
    for known in partitions() {
        if super::model::exists(node.dropped, known) {
            let ends = extents_of(&log, known);
            let end = ends.last().map_or(Offset::ZERO, |last| last.end_offset);
            let shown = node.sequencer.high_watermark(&node.state, known);
            assert_eq!(shown, end, "all that is committed is shown");
            let partition = node.sequencer.partitions.get(&known);
            let idle = partition.is_none_or(|partition| partition.producers.is_empty());
            assert!(idle, "D5: all about producers is durable");
        }
    }
}

/// What a few hundred histories must have reached, each several times.
const EVENTS: [&str; 31] = [
    "acked",
    "advanced",
    "deferred",
    "duplicate",
    "duplicate in flight",
    "ended",
    "fenced",
    "forgotten",
    "gap passed",
    "latest answered",
    "out of order",
    "placed",
    "predecessor void",
    "probe failed",
    "probe found a seal",
    "probe found it",
    "probe found nobody",
    "recovered segment",
    "seal failed",
    "seal too late",
    "sealed",
    "session closed",
    "sight of a seal",
    "take-over",
    "take-over broken off",
    "unknown partition",
    "voided",
    "walked",
    "walked from a checkpoint",
    "walked to its end",
    "zombie append",
];

#[test]
fn histories_reach_what_they_are_to_prove() {
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(any::<Step>(), 100..250);
    let mut happened = BTreeMap::new();

    for _ in 0..300 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        for step in steps {
            run(&mut world, step);
        }
        settle(&mut world);
        for (what, count) in world.happened {
            *happened.entry(what).or_default() += count;
        }
    }

    for event in EVENTS {
        let count: u64 = happened.get(event).copied().unwrap_or_default();
        assert!(count >= 5, "{event}: {happened:#?}");
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_invariants(
        steps in prop::collection::vec(any::<Step>(), 1..250)
    ) {
        let mut world = World::new();
        for step in steps {
            run(&mut world, step);
        }
        settle(&mut world);
    }
}
