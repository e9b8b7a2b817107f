//! Random faults under a dependable bucket, in virtual time: many seeds, one set of promises.
//!
//! A pod keeps K segments in flight while walkers end its session; puts hang, are held and land
//! late, replies are lost. Whatever happens: what was acknowledged is found, once, by everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use esker_env::Rng;
use esker_object::{Fault, FaultRule, Operation, StoreErrorKind};
use futures::StreamExt as _;

use super::world::{SESSION, World, key_of, place, segment};
use crate::{ChainTail, Committed, PlaceHolder, UploadError, WalkEnd, Walked};

const SEEDS: u64 = 150;
const IN_FLIGHT: usize = 4;

fn random_fault(rng: &Rng) -> Fault {
    let passing = [StoreErrorKind::Retry, StoreErrorKind::Throttled];
    let kind = passing[usize::try_from(rng.below(2)).unwrap()];
    let wait = Duration::from_millis(rng.below(5000));
    match rng.below(9) {
        0 => Fault::Refuse(kind),
        1 => Fault::FailBefore(kind),
        2 => Fault::FailAfter(kind),
        3 => Fault::HangBefore,
        4 => Fault::HangAfter,
        5 => Fault::Hold,
        6 => Fault::Slow(wait),
        7 => Fault::SlowAfter(wait),
        _ => Fault::Conflict,
    }
}

fn random_rule(rng: &Rng) -> FaultRule {
    let operation = if rng.below(3) == 0 {
        Operation::Get
    } else {
        Operation::Put
    };
    FaultRule::new(random_fault(rng))
        .on(operation)
        .skip(rng.below(12))
        .times(1 + rng.below(4))
}

/// Writes segments until a seal is met; what was acknowledged, in order.
async fn pod(world: &World, rng: &Rng, most: u64) -> Vec<Committed> {
    let chain = world.chain();
    let mut tail = ChainTail::new(SESSION);
    let mut landed = BTreeMap::new();
    let mut acknowledged = Vec::new();
    let segments = futures::stream::iter(0..most).map(|index| {
        let chain = &chain;
        let pause = Duration::from_millis(rng.below(300));
        async move {
            world.env.clock.sleep(pause).await;
            chain
                .upload(place(index), segment(place(index), 1).object)
                .await
        }
    });
    let mut uploads = segments.buffer_unordered(IN_FLIGHT);
    while let Some(uploaded) = uploads.next().await {
        match uploaded {
            Ok(uploaded) => landed.insert(uploaded.index(), uploaded),
            Err(UploadError::Sealed { .. }) => break,
            Err(error) => panic!("{error:?}"),
        };
        while let Some(next) = landed.remove(&tail.next()) {
            acknowledged.push(tail.extend(next).unwrap());
        }
    }
    acknowledged
}

async fn walker(world: &World, rng: &Rng) -> Walked {
    world
        .env
        .clock
        .sleep(Duration::from_millis(rng.below(2000)))
        .await;
    loop {
        match world
            .chain()
            .walk(SESSION, place(0).index, WalkEnd::Open)
            .await
        {
            Ok(walked) => return walked,
            Err(error) => assert!(!error.is_damage(), "{error:?}"),
        }
    }
}

/// Lets held puts land, one batch now and then.
async fn late_puts(world: &World, rng: &Rng) {
    for _ in 0..20 {
        world
            .env
            .clock
            .sleep(Duration::from_millis(rng.below(4000)))
            .await;
        world.faulty.release_held().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_found_by_every_walk_whatever_the_store_does() {
    let mut struck = 0;
    let mut acknowledged_before_end = 0;
    let mut ends_above_zero = 0;
    for seed in 0..SEEDS {
        let world = World::new();
        let rng = Rng::from_seed(seed);
        for _ in 0..8 {
            world.faulty.add(random_rule(&rng));
        }

        let (acknowledged, first, second, ()) = futures::join!(
            pod(&world, &rng, 30),
            walker(&world, &rng),
            walker(&world, &rng),
            late_puts(&world, &rng),
        );

        world.faulty.heal();
        world.faulty.release_held().await;
        let last = world
            .chain()
            .walk(SESSION, place(0).index, WalkEnd::At(first.end))
            .await;
        assert_eq!(first, second, "seed {seed}: CP5, one end for all");
        assert_eq!(first, last.unwrap(), "seed {seed}: and for ever");
        for (committed, index) in acknowledged.iter().zip(0..) {
            assert_eq!(committed.index(), place(index).index, "seed {seed}");
            assert!(committed.index() < first.end, "seed {seed}: CP1");
            let stored = world.stored(&key_of(index)).await;
            assert_eq!(
                stored,
                Some(segment(place(index), 1).object),
                "seed {seed}: CP1"
            );
        }
        let at_end = world.chain().look(place(first.end.get())).await;
        assert_eq!(at_end.unwrap(), PlaceHolder::Seal, "seed {seed}: CP18");
        struck += world.faulty.struck();
        acknowledged_before_end += acknowledged.len();
        ends_above_zero += u64::from(first.end.get() > 0);
    }
    assert!(struck > SEEDS * 8, "{struck} faults");
    assert!(
        acknowledged_before_end > 500,
        "{acknowledged_before_end} acknowledged"
    );
    assert!(ends_above_zero > SEEDS / 2, "{ends_above_zero}");
}
