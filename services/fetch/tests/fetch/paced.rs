//! Old records yield to the tail: their answers load little at a time, and get all in the end.

use std::time::Duration;

use esker_fetch::limits::{HOT_EXTENTS, PACED_LOADS_BYTES};

use crate::world::{World, Write, at, offset, offsets_of, only, plain, request};

const OLD: u64 = 12;
/// One old record at the end of each segment of about a mebibyte, which is loaded whole.
const OLD_BYTES: usize = 100_000;
const OTHERS_BYTES: usize = 900_000;

/// Twelve old segments with a tenth of one partition each, and as many small ones as are hot.
async fn world() -> World {
    let mut world = resting().await;
    for n in 0..u64::try_from(HOT_EXTENTS).unwrap() {
        let hot = (at(7), offset(OLD + n), plain(1, 10));
        world.write(Write::Elsewhere, &[hot]).await;
    }
    world
}

/// The old segments alone: all of them are near the end of a log that rests.
async fn resting() -> World {
    let mut world = World::new().await;
    for n in 0..OLD {
        let old = (at(7), offset(n), plain(1, OLD_BYTES));
        let others = (at(0), offset(n), plain(1, OTHERS_BYTES));
        world.write(Write::Elsewhere, &[others, old]).await;
    }
    world
}

/// A reader waits at the end of another partition, and is answered.
async fn tail(world: &mut World) {
    let poll = request(&[(1, 0)]).with_max_wait_ms(60_000);
    let mut waiting = world.fetch.fetch(world.context(12), poll);
    assert!(futures::poll!(&mut waiting).is_pending());
    world
        .write(Write::Here, &[(at(1), offset(0), plain(1, 10))])
        .await;
    waiting.await;
}

/// Reads what is old; how many gets the first answer cost.
async fn read_old(world: &World) -> usize {
    let (before, mut next, mut first) = (world.gets(), 0, None);
    while next < OLD {
        let mut asked = request(&[(7, next)]);
        asked.topics[0].partitions[0].partition_max_bytes = i32::try_from(OLD_BYTES * 12).unwrap();
        let reply = only(&world.ask(12, asked).await);
        let count = u64::try_from(offsets_of(&reply.records).len()).unwrap();
        assert!(count > 0, "old records are never hidden");
        next += count;
        first = first.or(Some(world.gets() - before));
    }
    first.unwrap()
}

#[tokio::test(start_paused = true)]
async fn beside_a_tail_an_answer_with_old_records_loads_no_more_than_its_share() {
    let alone = read_old(&world().await).await;
    let mut world = world().await;
    tail(&mut world).await;
    let beside = read_old(&world).await;

    let share = usize::try_from(PACED_LOADS_BYTES).unwrap() / (OLD_BYTES + OTHERS_BYTES);
    assert!(alone > share, "{alone} gets without a tail");
    assert!((1..=share).contains(&beside), "{beside} gets beside one");
}

#[tokio::test(start_paused = true)]
async fn so_does_the_end_of_a_log_that_rests_but_not_that_of_one_that_grows() {
    let share = usize::try_from(PACED_LOADS_BYTES).unwrap() / (OLD_BYTES + OTHERS_BYTES);
    let mut growing = resting().await;
    tail(&mut growing).await;
    let unpaced = read_old(&growing).await;
    let mut resting = resting().await;
    resting.env.clock.sleep(Duration::from_millis(1500)).await;
    tail(&mut resting).await;
    let paced = read_old(&resting).await;

    assert!(unpaced > share, "{unpaced} gets of the tail");
    assert!((1..=share).contains(&paced), "{paced} gets at rest");
}
