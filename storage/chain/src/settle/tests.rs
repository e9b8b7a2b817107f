//! Settling under every scripted fault, on a plain store and on a dependable one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use esker_object::{Fault, Gate, StoreErrorKind};
use esker_types::{ClusterId, HeaderError, ObjectKind};

use super::*;
use crate::tests::world::{CLUSTER, World, object_of, on_get, on_put};

const PASSING: [StoreErrorKind; 3] = [
    StoreErrorKind::Retry,
    StoreErrorKind::Throttled,
    StoreErrorKind::Exhausted,
];
const LASTING: [StoreErrorKind; 4] = [
    StoreErrorKind::Denied,
    StoreErrorKind::NoBucket,
    StoreErrorKind::Full,
    StoreErrorKind::Unsupported,
];

fn key() -> ObjectKey {
    ObjectKey::journal_place(CLUSTER, 0, 0)
}

fn ours() -> Bytes {
    object_of(ObjectKind::JournalHead, CLUSTER, 1, b"our own")
}

fn theirs() -> Bytes {
    object_of(ObjectKind::JournalHead, CLUSTER, 9, b"another")
}

async fn settle_on(bucket: &dyn Bucket, world: &World) -> Result<Settled, SettleError> {
    create_settled(bucket, &world.env, &key(), ours(), Patience::NONE).await
}

#[tokio::test(start_paused = true)]
async fn a_free_key_is_ours_with_one_put() {
    let world = World::new();

    let settled = settle_on(world.durable.as_ref(), &world).await.unwrap();

    assert_eq!(settled, Settled::Ours);
    assert_eq!(world.requests(), (1, 0, 1));
    assert_eq!(world.stored(&key()).await, Some(ours()));
}

#[tokio::test(start_paused = true)]
async fn the_one_who_was_first_is_named_by_its_header() {
    let world = World::new();
    world.plant(&key(), theirs()).await;

    let plain = settle_on(&world.faulty, &world).await.unwrap();
    let requests = world.requests();
    let durable = settle_on(world.durable.as_ref(), &world).await.unwrap();

    let header = ObjectHeader::decode(&theirs()).unwrap();
    assert_eq!(plain, Settled::Other(header));
    assert_eq!(durable, Settled::Other(header));
    assert_eq!(requests, (1, 1, 2), "one put, one look");
    assert_eq!(
        world.requests(),
        (2, 3, 5),
        "the dependable bucket looks once itself"
    );
    assert_eq!(world.stored(&key()).await, Some(theirs()));
}

#[tokio::test(start_paused = true)]
async fn an_own_put_whose_reply_was_lost_is_ours() {
    for kind in PASSING {
        let world = World::new();
        world.faulty.add(on_put(Fault::FailAfter(kind)).times(1));

        let settled = settle_on(&world.faulty, &world).await.unwrap();

        assert_eq!(settled, Settled::Ours, "{kind:?}");
        assert_eq!(world.requests(), (2, 1, 3), "put, put again, look");
        assert_eq!(world.faulty.struck(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_until_the_key_is_ours() {
    let mut faults = vec![Fault::Conflict, Fault::FalseExists];
    faults.extend(PASSING.map(Fault::FailBefore));
    faults.extend(PASSING.map(Fault::Refuse));
    for fault in faults {
        let world = World::new();
        world.faulty.add(on_put(fault.clone()).times(20));

        let settled = settle_on(&world.faulty, &world).await.unwrap();

        assert_eq!(settled, Settled::Ours, "{fault:?}");
        assert_eq!(world.faulty.struck(), 20);
        assert_eq!(world.stored(&key()).await, Some(ours()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_ends_in_ours_and_is_no_storm() {
    let world = World::new();
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Retry)));
    let outage = async {
        world.pass(3600).await;
        world.faulty.heal();
    };

    let (settled, ()) = futures::join!(settle_on(&world.faulty, &world), outage);

    assert_eq!(settled.unwrap(), Settled::Ours);
    let (puts, ..) = world.requests();
    assert!((1800..=3700).contains(&puts), "{puts} puts in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_dead_store_under_a_dependable_bucket_is_waited_for() {
    let world = World::new();
    world.faulty.add(on_put(Fault::HangBefore));
    let outage = async {
        world.pass(600).await;
        world.faulty.heal();
    };

    let (settled, ()) = futures::join!(settle_on(world.durable.as_ref(), &world), outage);

    assert_eq!(settled.unwrap(), Settled::Ours);
    assert!(
        world.requests().0 <= 70,
        "one put in ten seconds: {:?}",
        world.requests()
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_refusal_for_good_leaves_no_doubt() {
    for kind in LASTING {
        let world = World::new();
        world
            .faulty
            .add(on_put(Fault::Refuse(StoreErrorKind::Retry)).times(1));
        world.faulty.add(on_put(Fault::Refuse(kind)));

        let error = settle_on(&world.faulty, &world).await.unwrap_err();

        assert!(!error.is_in_doubt(), "{kind:?}");
        assert!(matches!(error, SettleError::Store { source, .. } if source.kind == kind));
        assert_eq!(world.stored(&key()).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn missing_rights_that_return_in_time_end_in_ours_and_without_doubt() {
    let world = World::new();
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Denied)));
    let (target, patience) = (key(), Patience::new(Duration::from_secs(60)));
    let returned = async {
        world.pass(55).await;
        let stored = world.stored(&target).await;
        world.faulty.heal();
        stored
    };

    let create = create_settled(&world.faulty, &world.env, &target, ours(), patience);
    let (settled, meanwhile) = futures::join!(create, returned);

    assert_eq!(settled.unwrap(), Settled::Ours);
    assert_eq!(meanwhile, None, "a refusal is a definite not done");
    let (puts, ..) = world.requests();
    assert!((28..=80).contains(&puts), "{puts} puts: no storm");
}

#[tokio::test(start_paused = true)]
async fn missing_rights_that_do_not_return_are_given_up_at_the_limit() {
    for doubt in [false, true] {
        let world = World::new();
        let hold = on_put(Fault::Hold).times(u64::from(doubt));
        world.faulty.add(hold);
        world
            .faulty
            .add(on_put(Fault::Refuse(StoreErrorKind::Denied)));
        let (target, patience) = (key(), Patience::new(Duration::from_secs(60)));
        let start = world.env.clock.now();

        let create = create_settled(&world.faulty, &world.env, &target, ours(), patience);
        let error = create.await.unwrap_err();

        let took = world.env.clock.now().since(start).as_secs();
        assert!((60..=63).contains(&took), "{took} s");
        assert_eq!(error.is_in_doubt(), doubt, "doubt is neither made nor lost");
        let denied = StoreErrorKind::Denied;
        assert!(matches!(error, SettleError::Store { source, .. } if source.kind == denied));
    }
}

#[tokio::test(start_paused = true)]
async fn doubt_stays_until_a_refusal_for_good() {
    let doubts = [
        Fault::Hold,
        Fault::Conflict,
        Fault::FalseExists,
        Fault::FailBefore(StoreErrorKind::Throttled),
    ];
    for doubt in doubts {
        let world = World::new();
        world.faulty.add(on_put(doubt.clone()).times(1));
        world
            .faulty
            .add(on_put(Fault::Refuse(StoreErrorKind::Retry)).times(3));
        world
            .faulty
            .add(on_put(Fault::Refuse(StoreErrorKind::Denied)));

        let error = settle_on(&world.faulty, &world).await.unwrap_err();

        assert!(error.is_in_doubt(), "{doubt:?}");
        assert_eq!(world.faulty.struck(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_that_a_person_must_clear_is_in_doubt() {
    let world = World::new();
    world
        .faulty
        .add(on_put(Fault::FailAfter(StoreErrorKind::Full)));

    let error = settle_on(&world.faulty, &world).await.unwrap_err();

    assert!(error.is_in_doubt());
    assert_eq!(world.stored(&key()).await, Some(ours()), "and rightly so");
}

#[tokio::test(start_paused = true)]
async fn a_taken_key_that_cannot_be_read_is_in_doubt() {
    let world = World::new();
    world.plant(&key(), ours()).await;
    world
        .faulty
        .add(on_get(Fault::Refuse(StoreErrorKind::Retry)).times(2));
    world
        .faulty
        .add(on_get(Fault::Refuse(StoreErrorKind::Denied)));

    let error = settle_on(&world.faulty, &world).await.unwrap_err();

    assert!(error.is_in_doubt());
    assert_eq!(world.requests(), (3, 3, 6));
}

#[tokio::test(start_paused = true)]
async fn what_no_process_of_this_cluster_writes_is_foreign() {
    let other = ClusterId::from_bytes([3; 16]);
    let longer = [theirs().as_ref(), b"!"].concat();
    let objects = [
        Bytes::from_static(b"short"),
        Bytes::from(vec![0; 200]),
        object_of(ObjectKind::JournalHead, other, 9, b"another"),
        Bytes::from(longer),
    ];
    let mut found = Vec::new();
    for object in objects {
        let world = World::new();
        world.plant(&key(), object).await;

        let error = settle_on(&world.faulty, &world).await.unwrap_err();

        assert!(!error.is_in_doubt());
        let SettleError::Foreign { key: at, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!(at, key());
        found.push(source);
    }
    assert!(matches!(
        found[0],
        ForeignObject::Header(HeaderError::Short(_))
    ));
    assert!(matches!(
        found[1],
        ForeignObject::Header(HeaderError::Magic)
    ));
    assert!(matches!(
        found[2],
        ForeignObject::OtherCluster { found, expected } if found == other && expected == CLUSTER
    ));
    assert!(matches!(
        found[3],
        ForeignObject::Length {
            object_bytes: 72,
            header_bytes: 71
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_header_is_read_again_before_it_counts_as_foreign() {
    for fault in [Fault::Flip, Fault::Truncate] {
        for (wrong_reads, known) in [(FOREIGN_READS_MAX - 1, true), (FOREIGN_READS_MAX, false)] {
            let world = World::new();
            world.plant(&key(), theirs()).await;
            let times = u64::from(wrong_reads);
            world.faulty.add(on_get(fault.clone()).times(times));

            let settled = settle_on(&world.faulty, &world).await;

            assert_eq!(settled.is_ok(), known, "{wrong_reads} wrong reads");
            assert_eq!(world.faulty.struck(), times);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_put_that_lands_late_is_still_ours() {
    let world = World::new();
    world.faulty.add(on_put(Fault::Hold).times(1));
    world
        .faulty
        .add(on_put(Fault::Refuse(StoreErrorKind::Throttled)).times(9));
    let release = async {
        world.pass(3).await;
        world.faulty.release_held().await
    };

    let (settled, released) = futures::join!(settle_on(&world.faulty, &world), release);

    assert!(matches!(released[..], [PutOutcome::Created]));
    assert_eq!(settled.unwrap(), Settled::Ours);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_create_one_key_exactly_one_is_told_ours() {
    for lost_reply_of in 0..3 {
        let world = World::new();
        let lost = on_put(Fault::FailAfter(StoreErrorKind::Retry));
        world.faulty.add(lost.skip(lost_reply_of).times(1));
        let (target, env) = (key(), &world.env);

        let settled = futures::join!(
            create_settled(&world.faulty, env, &target, ours(), Patience::NONE),
            create_settled(&world.faulty, env, &target, theirs(), Patience::NONE),
        );

        let (left, right) = (settled.0.unwrap(), settled.1.unwrap());
        assert_ne!(left == Settled::Ours, right == Settled::Ours);
        let winner = if left == Settled::Ours {
            ours()
        } else {
            theirs()
        };
        assert_eq!(world.stored(&target).await, Some(winner));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_create_is_settled_by_calling_again() {
    let world = World::new();
    let gate = Gate::new();
    world
        .faulty
        .add(on_put(Fault::GateAfter(gate.clone())).times(1));
    {
        let create = std::pin::pin!(settle_on(&world.faulty, &world));
        let arrived = std::pin::pin!(gate.arrived(1));
        let _dropped = futures::future::select(create, arrived).await;
    }
    assert_eq!(
        world.stored(&key()).await,
        Some(ours()),
        "unknown, not failed"
    );

    let again = settle_on(&world.faulty, &world).await.unwrap();

    assert_eq!(again, Settled::Ours);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_fitting_header_is_a_programming_error() {
    let world = World::new();
    let header_only = ours().slice(..OBJECT_HEADER_BYTES);
    for body in [Bytes::from_static(b"no header"), header_only] {
        let target = key();
        let create = create_settled(&world.faulty, &world.env, &target, body, Patience::NONE);
        let create = std::panic::AssertUnwindSafe(create);

        let ended = futures::FutureExt::catch_unwind(create).await;

        assert!(ended.is_err());
        assert_eq!(world.requests(), (0, 0, 0));
    }
}

/// Counts warnings.
struct Warnings(Arc<AtomicU32>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_create_that_goes_on_failing_warns_at_its_limit_and_at_each_doubling() {
    let first = SETTLE_WARN_TRIES;
    for (failures, warned) in [
        (first - 1, 0),
        (first, 1),
        (2 * first - 1, 1),
        (2 * first, 2),
    ] {
        let world = World::new();
        world
            .faulty
            .add(on_put(Fault::Conflict).times(u64::from(failures)));
        let count = Arc::new(AtomicU32::new(0));
        let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&count)));

        let settled = settle_on(&world.faulty, &world).await;

        assert_eq!(settled.unwrap(), Settled::Ours);
        assert_eq!(
            count.load(Ordering::Relaxed),
            warned,
            "after {failures} failures"
        );
    }
}

#[test]
fn waits_stay_within_the_longest_however_many_tries_there_were() {
    let rng = esker_env::Rng::from_seed(1);
    let mut backoff = SETTLE_RETRY.begin();

    let waits: Vec<Option<Duration>> = (0..1000).map(|_| backoff.next_delay(&rng)).collect();

    assert!(
        waits
            .iter()
            .flatten()
            .all(|wait| *wait <= SETTLE_RETRY.delay_max)
    );
    assert_eq!(waits.iter().flatten().count(), 1000);
}
