//! The dependable bucket under every scripted fault: never a wrong answer, never a storm.

use super::*;
use crate::limits::LIST_COUNT_MAX;
use crate::{Fault, FaultRule, FaultyBucket, Gate, KeyClass, MemoryBucket};

struct World {
    memory: MemoryBucket,
    faulty: FaultyBucket,
    durable: Arc<DurableBucket>,
}

fn world_with(config: DurableConfig) -> World {
    let env = Env {
        rng: esker_env::Rng::from_seed(3),
        ..Env::system()
    };
    let memory = MemoryBucket::new();
    let faulty = FaultyBucket::new(Arc::new(memory.clone()), env.clone());
    let durable = Arc::new(DurableBucket::new(Arc::new(faulty.clone()), config, env));
    World {
        memory,
        faulty,
        durable,
    }
}

fn world() -> World {
    world_with(DurableConfig::default())
}

fn key() -> ObjectKey {
    ObjectKey::cluster()
}

fn ours() -> Bytes {
    Bytes::from_static(b"our bytes")
}

async fn stored(world: &World) -> Option<Bytes> {
    let read = world.memory.get(&key(), ReadRange::Full).await.unwrap();
    read.map(|read| read.bytes)
}

fn on_put(fault: Fault) -> FaultRule {
    FaultRule::new(fault).on(Operation::Put)
}

#[tokio::test(start_paused = true)]
async fn a_durable_bucket_keeps_the_contract_over_a_flaky_store() {
    let world = world();
    crate::conformance(world.durable.as_ref()).await;
    for skip in [1, 4, 9] {
        world.faulty.add(
            on_put(Fault::FailAfter(StoreErrorKind::Retry))
                .skip(skip)
                .times(1),
        );
        let read = FaultRule::new(Fault::FailBefore(StoreErrorKind::Throttled));
        world
            .faulty
            .add(read.on(Operation::Get).skip(skip).times(1));
    }

    let flaky = world.durable.put_if_absent(&key(), ours()).await;

    assert!(matches!(flaky, PutOutcome::Created));
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_reply_is_lost_is_known_as_ours() {
    for fault in [Fault::FailAfter(StoreErrorKind::Retry), Fault::HangAfter] {
        let world = world();
        world.faulty.add(on_put(fault).times(1));

        let outcome = world.durable.put_if_absent(&key(), ours()).await;

        assert!(matches!(outcome, PutOutcome::AlreadyOurs), "{outcome:?}");
        assert_eq!(stored(&world).await, Some(ours()));
        assert_eq!(world.faulty.struck(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_earlier_attempt_never_looks_like_another_writer() {
    // Throttled: no look in between, so the second put itself meets our first (412).
    let world = world();
    world
        .faulty
        .add(on_put(Fault::FailAfter(StoreErrorKind::Throttled)).times(1));

    let outcome = world.durable.put_if_absent(&key(), ours()).await;

    assert!(matches!(outcome, PutOutcome::AlreadyOurs), "{outcome:?}");
    assert_eq!(
        world
            .durable
            .meter()
            .count(Operation::Put, KeyClass::Cluster),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn passing_failures_before_the_store_end_in_created() {
    for fault in [
        Fault::FailBefore(StoreErrorKind::Retry),
        Fault::FailBefore(StoreErrorKind::Throttled),
        Fault::Refuse(StoreErrorKind::Retry),
        Fault::Conflict,
        Fault::FalseExists,
        Fault::HangBefore,
    ] {
        let world = world();
        world.faulty.add(on_put(fault.clone()).times(2));

        let outcome = world.durable.put_if_absent(&key(), ours()).await;

        assert!(
            matches!(outcome, PutOutcome::Created),
            "{fault:?}: {outcome:?}"
        );
        assert_eq!(world.faulty.struck(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn another_writers_object_is_told_as_such_also_after_doubt() {
    for fault in [
        Fault::Slow(Duration::ZERO),
        Fault::FailBefore(StoreErrorKind::Retry),
    ] {
        let world = world();
        let theirs = Bytes::from_static(b"their own");
        assert_eq!(theirs.len(), ours().len());
        let _ = world.memory.put_if_absent(&key(), theirs.clone()).await;
        world.faulty.add(on_put(fault).times(1));

        let outcome = world.durable.put_if_absent(&key(), ours()).await;

        assert!(matches!(outcome, PutOutcome::Exists), "{outcome:?}");
        assert_eq!(stored(&world).await, Some(theirs));
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_with_our_front_but_another_length_is_not_ours() {
    let world = world();
    let long = Bytes::from(vec![1; 100]);
    let _ = world
        .memory
        .put_if_absent(&key(), Bytes::from(vec![1; 101]))
        .await;

    let outcome = world.durable.put_if_absent(&key(), long).await;

    assert!(matches!(outcome, PutOutcome::Exists));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_doubtful_attempt_is_unknown_never_refused() {
    let world = world();
    world.faulty.add(on_put(Fault::Hold).times(1));
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)));

    let outcome = world.durable.put_if_absent(&key(), ours()).await;
    let released = world.faulty.release_held().await;

    assert!(matches!(outcome, PutOutcome::Unknown(_)), "{outcome:?}");
    assert!(
        matches!(released[..], [PutOutcome::Created]),
        "the held put came late"
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_refusal_is_final_and_a_passing_one_ends_as_refused() {
    let world = world();
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)).times(1));
    let denied = world.durable.put_if_absent(&key(), ours()).await;
    world.faulty.heal();
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Retry)));
    let exhausted = world.durable.put_if_absent(&key(), ours()).await;

    assert!(matches!(denied, PutOutcome::Refused(e) if e.kind == StoreErrorKind::Denied));
    assert!(matches!(exhausted, PutOutcome::Refused(e) if e.kind == StoreErrorKind::Exhausted));
    assert_eq!(stored(&world).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_dead_store_ends_as_unknown_within_the_time_of_an_operation() {
    let world = world();
    world.faulty.add(FaultRule::new(Fault::HangBefore));
    let clock = Arc::clone(&world.durable.env.clock);
    let start = clock.now();

    let put = world.durable.put_if_absent(&key(), ours()).await;
    let put_time = clock.now().since(start);
    let read = world.durable.get(&key(), ReadRange::Full).await;

    assert!(matches!(put, PutOutcome::Unknown(e) if e.kind == StoreErrorKind::Exhausted));
    assert!(put_time <= Duration::from_secs(45), "{put_time:?}");
    assert!(matches!(read, Err(e) if e.kind == StoreErrorKind::Exhausted));
}

#[tokio::test(start_paused = true)]
async fn retries_stay_within_a_fifth_of_the_demand_and_the_floor() {
    let world = world();
    world
        .faulty
        .add(FaultRule::new(Fault::FailBefore(StoreErrorKind::Throttled)));
    let clock = Arc::clone(&world.durable.env.clock);
    let start = clock.now();
    let keys: Vec<_> = (0..200)
        .map(|n| ObjectKey::from_listing(&format!("storm/{n}")).unwrap())
        .collect();

    let puts = keys
        .iter()
        .map(|key| world.durable.put_if_absent(key, ours()));
    let outcomes = futures::future::join_all(puts).await;

    let seconds = usize::try_from(clock.now().since(start).as_secs()).unwrap();
    let requests = world.faulty.requests().len();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, PutOutcome::Unknown(_)))
    );
    assert!(
        requests <= 200 + 40 + 10 + seconds,
        "{requests} requests in {seconds} s"
    );
    assert!(requests > 240, "the share is used");
}

/// Enough quick puts for the bucket to know what is slow.
async fn warm_up(world: &World, count: usize) {
    world
        .faulty
        .add(on_put(Fault::Slow(Duration::from_millis(20))));
    for number in 0..count {
        let key = ObjectKey::from_listing(&format!("warm/{number}")).unwrap();
        let outcome = world.durable.put_if_absent(&key, ours()).await;
        assert!(matches!(outcome, PutOutcome::Created));
    }
    world.faulty.heal();
}

#[tokio::test(start_paused = true)]
async fn a_slow_put_is_hedged_and_the_quick_answer_wins() {
    for fault in [Fault::HangBefore, Fault::HangAfter] {
        let world = world();
        warm_up(&world, 30).await;
        world.faulty.add(on_put(fault.clone()).times(1));
        let clock = Arc::clone(&world.durable.env.clock);
        let start = clock.now();

        let outcome = world.durable.put_if_absent(&key(), ours()).await;

        let elapsed = clock.now().since(start);
        assert!(elapsed < Duration::from_millis(100), "{elapsed:?}");
        assert_eq!(world.durable.meter().hedges(), 1);
        let created = matches!(outcome, PutOutcome::Created);
        let ours_already = matches!(outcome, PutOutcome::AlreadyOurs);
        assert!(if matches!(fault, Fault::HangBefore) {
            created
        } else {
            ours_already
        });
        let dropped = world.durable.meter().snapshot().into_iter();
        let dropped: u64 = dropped
            .filter(|row| row.outcome == RequestOutcome::Dropped)
            .map(|row| row.count)
            .sum();
        assert_eq!(dropped, 1, "the loser is aborted and counted");
    }
}

#[tokio::test(start_paused = true)]
async fn hedges_stay_within_their_share() {
    let world = world();
    warm_up(&world, 100).await;
    world
        .faulty
        .add(on_put(Fault::Slow(Duration::from_secs(1))));

    let keys: Vec<_> = (0..100)
        .map(|n| ObjectKey::from_listing(&format!("slow/{n}")).unwrap())
        .collect();
    let puts = keys
        .iter()
        .map(|key| world.durable.put_if_absent(key, ours()));
    futures::future::join_all(puts).await;

    assert_eq!(world.durable.meter().hedges(), 10, "5 % of 200 puts");
}

#[tokio::test(start_paused = true)]
async fn a_refused_hedge_leaves_the_first_put_its_word() {
    let world = world();
    warm_up(&world, 30).await;
    let gate = Gate::new();
    world
        .faulty
        .add(on_put(Fault::GateAfter(gate.clone())).times(1));
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)).times(1));

    let (target, gate) = (key(), &gate);
    let put = world.durable.put_if_absent(&target, ours());
    let (outcome, ()) = futures::join!(put, async {
        gate.arrived(1).await;
        world.durable.env.clock.sleep(Duration::from_secs(1)).await;
        gate.open();
    });

    assert!(matches!(outcome, PutOutcome::Created), "{outcome:?}");
    assert_eq!(world.durable.meter().hedges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_read_is_read_again() {
    let world = world();
    let _ = world.memory.put_if_absent(&key(), ours()).await;
    world
        .faulty
        .add(FaultRule::new(Fault::Truncate).on(Operation::Get).times(1));

    let read = world
        .durable
        .get(&key(), ReadRange::Full)
        .await
        .unwrap()
        .unwrap();

    assert_eq!(read.bytes, ours());
    assert_eq!(world.durable.meter().retries(Operation::Get), 1);
}

#[tokio::test(start_paused = true)]
async fn every_request_to_the_back_end_is_on_the_meter() {
    let world = world();
    for fault in [
        Fault::FailAfter(StoreErrorKind::Retry),
        Fault::Conflict,
        Fault::HangBefore,
    ] {
        world.faulty.add(FaultRule::new(fault).skip(2).times(1));
    }
    for number in 0..5 {
        let key = ObjectKey::from_listing(&format!("counted/{number}")).unwrap();
        let _ = world.durable.put_if_absent(&key, ours()).await;
        let _ = world.durable.head(&key).await;
        let _ = world.durable.get(&key, ReadRange::Suffix(3)).await;
        let _ = world.durable.delete(&key).await;
    }
    let _ = world.durable.list_after(&key(), None, 10).await;

    let metered: u64 = world
        .durable
        .meter()
        .snapshot()
        .iter()
        .map(|row| row.count)
        .sum();

    assert_eq!(
        metered,
        u64::try_from(world.faulty.requests().len()).unwrap()
    );
    assert_eq!(world.faulty.struck(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_put_is_counted_and_leaves_no_request_behind() {
    let world = world();
    let gate = Gate::new();
    world.faulty.add(on_put(Fault::GateBefore(gate.clone())));

    {
        let target = key();
        let put = world.durable.put_if_absent(&target, ours());
        let arrived = std::pin::pin!(gate.arrived(1));
        let ended = futures::future::select(put, arrived).await;
        assert!(matches!(ended, futures::future::Either::Right(_)));
    }
    gate.open();

    assert_eq!(stored(&world).await, None);
    let rows = world.durable.meter().snapshot();
    assert_eq!((rows.len(), rows[0].outcome), (1, RequestOutcome::Dropped));
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_collected_over_pages_up_to_its_limit() {
    let world = world();
    let count = LIST_PAGE_COUNT_MAX + 5;
    for number in 0..count {
        let key = ObjectKey::from_listing(&format!("many/{number:06}")).unwrap();
        let _ = world.memory.put_if_absent(&key, Bytes::new()).await;
    }
    let prefix = ObjectKey::from_listing("many/").unwrap();

    let all = world
        .durable
        .list_after(&prefix, None, LIST_COUNT_MAX + 1)
        .await
        .unwrap();
    let few = world.durable.list_after(&prefix, None, 3).await.unwrap();

    assert_eq!((all.len(), few.len()), (count, 3));
    assert!(all.is_sorted_by(|left, right| left.key < right.key));
    assert_eq!(
        world
            .durable
            .meter()
            .count(Operation::List, KeyClass::Other),
        3
    );
}
