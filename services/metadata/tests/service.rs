//! Claims about the metadata service as its callers see it, over a faulty bucket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

mod apart;
mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_metadata::limits::{
    CHAIN_WORK_MAX, COMMANDS_WAITING_MAX, FOLLOWERS_MAX, QUESTIONS_WAITING_MAX, UNDECIDED_WAIT_MAX,
};
use esker_metadata::{MetadataFailure, MetadataStatus, RecoveryError};
use esker_metadata_api::limits::LOOKUP_EXTENTS_MAX;
use esker_metadata_api::{
    Admin as _, AlterBroker, AlterBrokerError, AlterTopic, AlterTopicError, BatchVerdict,
    BrokerScope, CommitOffsets, CommittedOffset, CreateTopicError, DeleteBefore,
    DeleteRecordsError, FeedUpdate, FetchOffsets, GroupReply, GroupRequest, ListedOffset,
    LogIndex as _, LogIndexError, MetadataError, OffsetPartition, OffsetQuery, ProduceRefusal,
    ProducerSpan, ReserveError, Sequencer as _, TopicAdmin as _, TopicChange, TopicRef, configs,
};
use esker_object::{Bucket as _, Fault, FaultRule, Gate, KeyClass, ObjectKey, Operation};
use esker_types::{
    ChainIndex, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
use futures::FutureExt as _;

use world::{Process, World, batch, create};

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

async fn latest(process: &Process, at: TopicPartition) -> Result<ListedOffset, LogIndexError> {
    let service = &process.service;
    service
        .list_offset(at, OffsetQuery::Latest, Offset::ZERO)
        .await
}

fn first_of(topic: &std::sync::Arc<esker_metadata_api::Topic>) -> TopicPartition {
    topic.at(PartitionIndex::default())
}

#[tokio::test(start_paused = true)]
async fn a_written_segment_is_visible_at_its_offsets_and_pushed_to_followers() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut feed = process.service.follow().await.unwrap();
    let mut pod = process.register(None).await;

    let reserved = pod.reserve(&process, at, &batch(&["a", "b"])).await;
    let before = process.service.look_up(at, Offset::ZERO, 10).await.unwrap();
    pod.write(&process, &reserved).await;
    let after = process.service.look_up(at, Offset::ZERO, 10).await.unwrap();

    assert_eq!(before.extents, []);
    assert_eq!(after.high_watermark, offset(2));
    assert_eq!(after.extents[0].segment, reserved.segment);
    assert_eq!(
        latest(&process, at).await,
        Ok(ListedOffset::Known(offset(2)))
    );
    assert!(matches!(feed.next().await, Some(FeedUpdate::Topics(_))));
    let pushed = feed.next().await;
    assert!(
        matches!(&pushed, Some(FeedUpdate::Advanced(advance)) if advance.extents == after.extents),
        "{pushed:?}"
    );
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_kill_is_there_after_it_although_nobody_said_so() {
    let world = World::new();
    let process = world.start().await;
    let topic = process.topic("t").await;
    let at = first_of(&topic);
    let mut pod = process.register(None).await;
    let told = pod.reserve(&process, at, &batch(&["a"])).await;
    pod.write(&process, &told).await;
    let untold = pod.reserve(&process, at, &batch(&["b", "c"])).await;
    pod.upload(&process, &untold).await;
    let lost = pod.reserve(&process, at, &batch(&["never written"])).await;
    assert_eq!(lost.base_offset, offset(3));

    process.kill().await;
    let process = world.start().await;

    let slice = process.service.look_up(at, Offset::ZERO, 10).await.unwrap();
    assert_eq!(slice.high_watermark, offset(3));
    assert_eq!(slice.extents[1].segment, untold.segment);
    assert_eq!(process.service.topics().with_id(topic.id), Some(&topic));
    let mut pod = process.register(None).await;
    let next = pod.reserve(&process, at, &batch(&["d"])).await;
    assert_eq!(
        next.base_offset,
        offset(3),
        "a void range is given out again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_leaves_nothing_to_walk() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    for value in ["a", "b", "c"] {
        let reserved = pod.reserve(&process, at, &batch(&[value])).await;
        pod.write(&process, &reserved).await;
    }
    let session = pod.registered.session;
    process.service.end_session(session).await.unwrap();
    process.stop().await;
    let reads = world.faulty.count(Operation::Get, KeyClass::Session);

    let process = world.start().await;

    assert_eq!(world.faulty.count(Operation::Get, KeyClass::Session), reads);
    assert_eq!(
        latest(&process, at).await,
        Ok(ListedOffset::Known(offset(3)))
    );
}

/// A request every 5 ms: less than any pause that the leader could sleep through.
async fn ask_without_pause(world: &World, process: &Process, count: u32) {
    for _ in 0..count {
        process.service.topics_current().await.unwrap();
        world.env.clock.sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_written_while_requests_never_pause() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    let reserved = pod.reserve(&process, at, &batch(&["a"])).await;
    pod.write(&process, &reserved).await;
    let puts = || world.faulty.count(Operation::Put, KeyClass::Journal);
    let before = puts();

    ask_without_pause(&world, &process, 2400).await;

    assert_eq!(puts(), before + 1, "12 s are longer than the interval");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_segment_is_sealed_while_requests_never_pause() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    pod.reserve(&process, at, &batch(&["a"])).await;

    ask_without_pause(&world, &process, 200).await;

    let seals = world.faulty.count(Operation::Put, KeyClass::Session);
    assert!(seals > 0, "1 s is longer than the stall deadline");
    assert_eq!(
        latest(&process, at).await,
        Ok(ListedOffset::Known(offset(0)))
    );
}

#[tokio::test(start_paused = true)]
async fn latest_waits_for_what_was_undecided_and_covers_it() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    let reserved = pod.reserve(&process, at, &batch(&["a"])).await;
    pod.upload(&process, &reserved).await;

    let mut asked = Box::pin(latest(&process, at));
    let early = futures::poll!(&mut asked);
    let answer = asked.await;

    assert!(early.is_pending());
    assert_eq!(
        answer,
        Ok(ListedOffset::Known(offset(1))),
        "probed at the stall deadline"
    );
}

#[tokio::test(start_paused = true)]
async fn latest_says_not_decided_while_the_store_is_silent() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    pod.reserve(&process, at, &batch(&["a"])).await;
    let silent = FaultRule::new(Fault::HangBefore).class(KeyClass::Session);
    world.faulty.add(silent);

    let asked_at = world.env.clock.now();
    let answer = latest(&process, at).await;
    let waited = world.env.clock.now().since(asked_at);

    assert_eq!(answer, Err(LogIndexError::NotDecided));
    assert!(waited >= UNDECIDED_WAIT_MAX && waited < UNDECIDED_WAIT_MAX * 2);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_while_as_many_commands_wait_as_allowed() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let gate = Gate::new();
    let held = FaultRule::new(Fault::GateBefore(gate.clone())).class(KeyClass::Journal);
    world.faulty.add(held.on(Operation::Put));
    let unknown = TopicRef::Id(TopicId::from_bytes([9; 16]));

    let deletions =
        (0..3 * COMMANDS_WAITING_MAX).map(|_| process.service.delete_topic(unknown.clone()));
    let mut deletions = futures::future::join_all(deletions).boxed();
    assert!((&mut deletions).now_or_never().is_none());
    gate.arrived(1).await;
    world.env.clock.sleep(Duration::from_secs(1)).await;
    let mut looked_up = process.service.look_up(at, Offset::ZERO, 1);
    world.env.clock.sleep(Duration::from_secs(1)).await;
    let held_back = (&mut looked_up).now_or_never().is_none();
    gate.open();

    assert!(held_back, "no further request is taken in");
    assert!(looked_up.await.is_ok());
    assert_eq!(deletions.await.len(), 3 * COMMANDS_WAITING_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_returns_no_more_extents_than_allowed() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    for _ in 0..=LOOKUP_EXTENTS_MAX {
        let reserved = pod.reserve(&process, at, &batch(&["a"])).await;
        pod.write(&process, &reserved).await;
    }

    let slice = process
        .service
        .look_up(at, Offset::ZERO, usize::MAX)
        .await
        .unwrap();

    assert_eq!(slice.extents.len(), LOOKUP_EXTENTS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_segment_missing_below_a_durable_end_stops_the_next_start() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    let first = pod.reserve(&process, at, &batch(&["a"])).await;
    pod.write(&process, &first).await;
    let second = pod.reserve(&process, at, &batch(&["b"])).await;
    pod.write(&process, &second).await;
    let session = pod.registered.session;
    process.service.end_session(session).await.unwrap();
    process.kill().await;
    let key = ObjectKey::session_place(world::CLUSTER, first.segment);
    world.faulty.delete(&key).await.unwrap();

    let ended = world.spawn().task.await.unwrap();

    let walk = |failure: &MetadataFailure| {
        matches!(failure, MetadataFailure::Recovery(RecoveryError::Walk(_)))
    };
    assert!(ended.as_ref().is_err_and(walk), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn chains_that_hold_one_offset_twice_stop_the_next_start() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    let first = pod.reserve(&process, at, &batch(&["a"])).await;
    pod.write(&process, &first).await;
    let mut other = process.register(None).await;
    let planted = other.place(at, &batch(&["b"]), first.base_offset);
    other.upload(&process, &planted).await;
    process.kill().await;

    let ended = world.spawn().task.await.unwrap();

    let chains = |failure: &MetadataFailure| {
        matches!(failure, MetadataFailure::Recovery(RecoveryError::Chains(_)))
    };
    assert!(ended.as_ref().is_err_and(chains), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_current_is_answered_before_an_epoch_check_that_began_after_the_question() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let pod = process.register(None).await;
    let gate = Gate::new();
    let held = FaultRule::new(Fault::GateBefore(gate.clone()));
    world
        .faulty
        .add(held.on(Operation::Get).class(KeyClass::Journal));
    let unknown = TopicPartition {
        topic: TopicId::from_bytes([9; 16]),
        partition: PartitionIndex::default(),
    };
    let request = pod.reserve_request(unknown, &batch(&["a"]), None);

    let mut refused = Box::pin(process.service.reserve(request));
    let mut topics = Box::pin(process.service.topics_current());
    let mut missing = Box::pin(process.service.look_up(unknown, Offset::ZERO, 1));
    let mut asked = Box::pin(latest(&process, at));
    gate.arrived(1).await;
    let waiting = [
        (&mut refused).now_or_never().is_none(),
        (&mut topics).now_or_never().is_none(),
        (&mut missing).now_or_never().is_none(),
        (&mut asked).now_or_never().is_none(),
    ];
    gate.open();

    assert_eq!(waiting, [true; 4]);
    let verdict = BatchVerdict::Refused(ProduceRefusal::UnknownPartition);
    assert_eq!(refused.await.unwrap().verdicts, [verdict]);
    assert_eq!(topics.await.unwrap().count(), 1);
    assert_eq!(missing.await, Err(LogIndexError::UnknownPartition));
    assert_eq!(asked.await, Ok(ListedOffset::Known(Offset::ZERO)));
}

#[tokio::test(start_paused = true)]
async fn a_deposed_leader_answers_nothing_more_and_ends() {
    let world = World::new();
    let old = world.start().await;
    let at = first_of(&old.topic("t").await);
    let mut pod = old.register(None).await;
    let reserved = pod.reserve(&old, at, &batch(&["a"])).await;
    pod.write(&old, &reserved).await;

    let new = world.start().await;
    let answer = latest(&old, at).await;
    let created = old.service.create_topic(create("late")).await;

    assert!(
        matches!(answer, Err(LogIndexError::Metadata(_))),
        "{answer:?}"
    );
    assert!(created.is_err());
    let ended = old.task.await.unwrap();
    assert!(
        matches!(ended, Err(MetadataFailure::Deposed { .. })),
        "{ended:?}"
    );
    assert!(matches!(
        old.service.status(),
        MetadataStatus::Deposed { .. }
    ));
    assert_eq!(
        old.service.register(None).await,
        Err(MetadataError::Deposed)
    );
    assert_eq!(latest(&new, at).await, Ok(ListedOffset::Known(offset(1))));
    assert!(new.service.topics().named("late").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_standby_waits_while_the_leader_lives_and_takes_over_when_it_does_not() {
    let world = World::new();
    let leader = world.start().await;
    let topic = leader.topic("t").await;
    world.told.alive.store(true, Ordering::Relaxed);

    let standby = world.spawn();
    standby
        .service
        .status_becomes(|status| matches!(status, MetadataStatus::Standby { .. }))
        .await;
    let refused = standby.service.topics_current().await;
    world.env.clock.sleep(Duration::from_secs(120)).await;
    let still = standby.service.status();
    leader.kill().await;
    world.told.alive.store(false, Ordering::Relaxed);
    standby
        .service
        .status_becomes(MetadataStatus::is_leading)
        .await;

    assert_eq!(refused.unwrap_err(), MetadataError::Unavailable);
    assert!(matches!(still, MetadataStatus::Standby { .. }));
    assert_eq!(standby.service.topics().with_id(topic.id), Some(&topic));
}

#[tokio::test(start_paused = true)]
async fn a_standby_asks_the_bucket_little_while_the_leader_lives() {
    let world = World::new();
    let leader = world.start().await;
    world.told.alive.store(true, Ordering::Relaxed);
    let standby = world.spawn();
    standby
        .service
        .status_becomes(|status| matches!(status, MetadataStatus::Standby { .. }))
        .await;
    let journal_gets = || world.faulty.count(Operation::Get, KeyClass::Journal);
    let before = (journal_gets(), world.faulty.requests().len());

    world.env.clock.sleep(Duration::from_secs(600)).await;
    let after = (journal_gets(), world.faulty.requests().len());

    let (gets, requests) = (after.0 - before.0, after.1 - before.1);
    // Ten minutes: a look of the leader every 10 s, two gets of the standby every 30 s.
    assert!((60..=110).contains(&gets), "{gets} gets");
    assert_eq!(requests, gets, "nothing else is asked");
    leader.kill().await;
    standby.kill().await;
}

#[tokio::test(start_paused = true)]
async fn topics_are_durable_before_the_answer_and_gone_after_their_deletion() {
    let world = World::new();
    let process = world.start().await;
    let topic = process.topic("a.b").await;

    let again = process.service.create_topic(create("a.b")).await;
    let alike = process.service.create_topic(create("a_b")).await;
    let mut check = create("new");
    check.validate_only = true;
    let checked = process.service.create_topic(check).await;
    process.kill().await;
    let process = world.start().await;
    let kept = process.service.topics().named("a.b").cloned();
    let deleted = process.service.delete_topic(TopicRef::Id(topic.id)).await;
    let missing = process.service.delete_topic(TopicRef::Id(topic.id)).await;

    assert_eq!(again, Err(CreateTopicError::Exists));
    assert!(matches!(alike, Err(CreateTopicError::Collides { .. })));
    assert!(checked.is_ok());
    assert_eq!(kept.map(|kept| kept.id), Some(topic.id));
    assert!(deleted.is_ok() && missing.is_err());
    assert_eq!(process.service.topics().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_says_what_was_committed_and_the_rest_is_void() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    let written = pod.reserve(&process, at, &batch(&["a"])).await;
    pod.upload(&process, &written).await;
    pod.reserve(&process, at, &batch(&["void"])).await;
    let old = pod.registered.session;

    let end = process.service.end_session(old).await.unwrap();
    let again = process.service.end_session(old).await.unwrap();

    assert_eq!(end.end.get(), 1);
    assert_eq!(again, end);
    assert_eq!(
        latest(&process, at).await,
        Ok(ListedOffset::Known(offset(1)))
    );
    let unknown = esker_types::SessionId::from_bytes([3; 16]);
    let unknown = process.service.end_session(unknown).await;
    assert_eq!(unknown, Err(MetadataError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_asked_again_has_the_same_answer() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let span = ProducerSpan {
        producer_id: process.service.producer_id().await.unwrap(),
        producer_epoch: ProducerEpoch::from_wire(0).unwrap(),
        base_sequence: 5,
    };
    let pod = process.register(None).await;
    let request = pod.reserve_request(at, &batch(&["a"]), Some(span));

    let placed = process.service.reserve(request.clone()).await.unwrap();
    let repeated = process.service.reserve(request.clone()).await.unwrap();
    let mut skipping = request;
    skipping.index = ChainIndex::new(9);
    let skipped = process.service.reserve(skipping).await;

    assert_eq!(placed, repeated, "W3");
    assert_eq!(skipped, Err(ReserveError::OutOfTurn));
}

#[tokio::test(start_paused = true)]
async fn producer_ids_are_never_given_out_twice() {
    let world = World::new();
    let mut given = std::collections::BTreeSet::<ProducerId>::new();

    for _ in 0..3 {
        let process = world.start().await;
        for _ in 0..1500 {
            let id = process.service.producer_id().await.unwrap();
            assert!(given.insert(id), "{id:?}");
        }
        process.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_committed_group_offset_survives_a_kill() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let committed = CommittedOffset {
        offset: 7,
        leader_epoch: 0,
        metadata: "mine".to_owned(),
    };
    let commit = GroupRequest::Commit(CommitOffsets {
        group: "g".to_owned(),
        member: String::new(),
        instance: None,
        generation: -1,
        offsets: vec![OffsetPartition {
            topic_partition: at,
            committed: committed.clone(),
        }],
    });

    let answer = process.service.group(commit).await.unwrap();
    process.kill().await;
    let process = world.start().await;
    let fetch = GroupRequest::Fetch(FetchOffsets {
        group: "g".to_owned(),
        partitions: None,
    });
    let fetched = process.service.group(fetch).await.unwrap();

    assert_eq!(answer, GroupReply::Committed(Ok(vec![Ok(())])));
    assert_eq!(fetched, GroupReply::Offsets(Ok(vec![(at, committed)])));
}

#[tokio::test(start_paused = true)]
async fn one_question_past_the_limit_is_refused_and_the_others_are_answered() {
    let world = World::new();
    let process = world.start().await;
    let gate = Gate::new();
    let held = FaultRule::new(Fault::GateBefore(gate.clone()));
    world
        .faulty
        .add(held.on(Operation::Get).class(KeyClass::Journal));

    let asked = (0..=QUESTIONS_WAITING_MAX).map(|_| process.service.topics_current());
    let mut asked = futures::future::join_all(asked).boxed();
    assert!((&mut asked).now_or_never().is_none());
    gate.arrived(1).await;
    gate.open();
    let answers = asked.await;

    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(matches!(
        answers.last(),
        Some(Err(MetadataError::Overloaded))
    ));
    assert_eq!(refused, 1);
}

#[tokio::test(start_paused = true)]
async fn one_follower_past_the_limit_is_refused() {
    let world = World::new();
    let process = world.start().await;
    let mut feeds = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        feeds.push(process.service.follow().await.unwrap());
    }

    let beyond = process.service.follow().await.map(|_| ());
    feeds.pop();
    let again = process.service.follow().await.map(|_| ());

    assert_eq!(beyond, Err(MetadataError::Overloaded));
    assert_eq!(again, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn no_more_chain_requests_run_at_once_than_allowed() {
    let world = World::new();
    let process = world.start().await;
    let mut sessions = Vec::new();
    for _ in 0..=CHAIN_WORK_MAX {
        sessions.push(process.register(None).await.registered.session);
    }
    let gate = Gate::new();
    let held = FaultRule::new(Fault::GateBefore(gate.clone())).class(KeyClass::Session);
    world.faulty.add(held.on(Operation::Put));

    let ends = sessions
        .iter()
        .map(|session| process.service.end_session(*session));
    let mut ends = futures::future::join_all(ends).boxed();
    assert!((&mut ends).now_or_never().is_none());
    gate.arrived(u64::try_from(CHAIN_WORK_MAX).unwrap()).await;
    assert!((&mut ends).now_or_never().is_none());
    let puts = world.faulty.count(Operation::Put, KeyClass::Session);
    gate.open();
    let ends = ends.await;

    assert_eq!(puts, CHAIN_WORK_MAX);
    assert!(ends.iter().all(Result::is_ok));
}

fn alter(topic: TopicId, change: TopicChange) -> AlterTopic {
    AlterTopic {
        topic,
        change,
        validate_only: false,
    }
}

fn partitions(count: u32) -> TopicChange {
    TopicChange::PartitionCount(std::num::NonZeroU32::new(count).unwrap())
}

#[tokio::test(start_paused = true)]
async fn added_partitions_are_seen_at_once_and_after_a_kill() {
    let world = World::new();
    let process = world.start().await;
    let topic = process.topic("t").await;
    let checked = AlterTopic {
        validate_only: true,
        ..alter(topic.id, partitions(9))
    };

    let would_be = process.service.alter_topic(checked).await.unwrap();
    let unchanged = process.service.topics();
    let altered = process
        .service
        .alter_topic(alter(topic.id, partitions(5)))
        .await
        .unwrap();
    let seen = process.service.topics();
    let fewer = process
        .service
        .alter_topic(alter(topic.id, partitions(4)))
        .await;
    process.kill().await;
    let process = world.start().await;

    assert_eq!(would_be.partition_count.get(), 9);
    assert_eq!(unchanged.named("t"), Some(&topic));
    assert_eq!(altered.partition_count.get(), 5);
    assert_eq!(seen.named("t"), Some(&altered));
    assert_eq!(fewer, Err(AlterTopicError::NotMore { partition_count: 5 }));
    assert_eq!(process.service.topics().named("t"), Some(&altered));
    let new = altered.at(PartitionIndex::new(4).unwrap());
    let mut pod = process.register(None).await;
    let reserved = pod.reserve(&process, new, &batch(&["a"])).await;
    assert_eq!(reserved.base_offset, Offset::ZERO);
}

#[tokio::test(start_paused = true)]
async fn settings_change_only_from_what_was_seen() {
    let world = World::new();
    let process = world.start().await;
    let topic = process.topic("t").await;
    let set = |value: &str| TopicChange::Configs {
        expected: topic.configs.clone(),
        configs: [("flush.ms".to_owned(), value.to_owned())].into(),
    };

    let first = process.service.alter_topic(alter(topic.id, set("1"))).await;
    let second = process.service.alter_topic(alter(topic.id, set("2"))).await;
    let unknown = TopicId::from_bytes([9; 16]);
    let unknown = process.service.alter_topic(alter(unknown, set("1"))).await;
    process.kill().await;
    let process = world.start().await;

    assert_eq!(first.as_ref().unwrap().configs["flush.ms"], "1");
    assert_eq!(second, Err(AlterTopicError::Changed));
    assert_eq!(unknown, Err(AlterTopicError::Unknown));
    assert_eq!(process.service.topics().named("t"), first.as_ref().ok());
}

fn retention(scope: BrokerScope, expected: &str, value: &str) -> AlterBroker {
    let configs = |value: &str| {
        let given = (!value.is_empty()).then(|| ("log.retention.ms".to_owned(), value.to_owned()));
        given.into_iter().collect()
    };
    AlterBroker {
        scope,
        expected: configs(expected),
        configs: configs(value),
    }
}

#[tokio::test(start_paused = true)]
async fn settings_of_brokers_are_in_force_when_they_are_answered_and_after_a_kill() {
    let world = World::new();
    let process = world.start().await;
    process.topic("t").await;
    let mut feed = process.service.follow().await.unwrap();
    let kept = |process: &Process| {
        let topics = process.service.topics();
        configs::retention(topics.named("t").unwrap())
    };
    let millis = |value| Some(Duration::from_millis(value));
    let node = BrokerScope::Node(1);

    let all = process
        .service
        .alter_broker(retention(BrokerScope::All, "", "7"))
        .await;
    let for_all = kept(&process);
    let other = process
        .service
        .alter_broker(retention(BrokerScope::Node(2), "", "8"))
        .await;
    let for_other = kept(&process);
    let own = process.service.alter_broker(retention(node, "", "9")).await;
    let late = process
        .service
        .alter_broker(retention(node, "", "10"))
        .await;
    let for_own = kept(&process);
    let current = process.service.topics_current().await.unwrap();
    let mut pushed = None;
    for _ in 0..4 {
        if let Some(FeedUpdate::Topics(table)) = feed.next().await {
            pushed = configs::retention(table.named("t").unwrap());
        }
    }
    process.kill().await;
    let process = world.start().await;
    let after = kept(&process);
    let gone = process.service.alter_broker(retention(node, "9", "")).await;

    assert_eq!((all, other, own, gone), (Ok(()), Ok(()), Ok(()), Ok(())));
    assert_eq!(late, Err(AlterBrokerError::Changed));
    assert_eq!(
        (for_all, for_other, for_own),
        (millis(7), millis(7), millis(9))
    );
    assert_eq!(configs::retention(current.named("t").unwrap()), millis(9));
    assert_eq!(
        (pushed, after, kept(&process)),
        (millis(9), millis(9), millis(7))
    );
}

#[tokio::test(start_paused = true)]
async fn the_producers_of_a_partition_are_those_of_its_written_batches() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    let reserved = pod.reserve(&process, at, &batch(&["a"])).await;
    pod.write(&process, &reserved).await;

    let none = process.service.producers(at).await;
    let unknown = TopicPartition {
        topic: TopicId::from_bytes([9; 16]),
        ..at
    };
    let unknown = process.service.producers(unknown).await;

    assert_eq!(none, Ok(Vec::new()), "its producer has no id");
    assert_eq!(unknown, Err(LogIndexError::UnknownPartition));
}

#[tokio::test(start_paused = true)]
async fn deleted_records_are_gone_for_readers_followers_and_the_next_leader() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut feed = process.service.follow().await.unwrap();
    let mut pod = process.register(None).await;
    for values in [&["a", "b"][..], &["c", "d"]] {
        let reserved = pod.reserve(&process, at, &batch(values)).await;
        pod.write(&process, &reserved).await;
    }
    let bytes_before = process.service.log_bytes().await.unwrap()[&at];
    let before = |offset| DeleteBefore::Offset(Offset::new(offset).unwrap());

    let beyond = process.service.delete_records(at, before(5)).await;
    let deleted = process.service.delete_records(at, before(3)).await;
    let lower = process.service.delete_records(at, before(1)).await;
    let slice = process.service.look_up(at, Offset::ZERO, 10).await.unwrap();
    let bytes_after = process.service.log_bytes().await.unwrap()[&at];
    let mut told = Offset::ZERO;
    while told < offset(3) {
        if let Some(FeedUpdate::Advanced(advance)) = feed.next().await {
            told = advance.log_start;
        }
    }
    process.kill().await;
    let process = world.start().await;

    let high_watermark = offset(4);
    assert_eq!(
        beyond,
        Err(DeleteRecordsError::OutOfRange { high_watermark })
    );
    assert_eq!((deleted, lower), (Ok(offset(3)), Ok(offset(3))));
    assert_eq!((slice.log_start, slice.extents.len()), (offset(3), 1));
    assert_eq!(
        slice.extents[0].base_offset,
        offset(2),
        "batches stay whole"
    );
    assert_eq!(bytes_after * 2, bytes_before);
    let earliest = process
        .service
        .list_offset(at, OffsetQuery::Earliest, Offset::ZERO)
        .await;
    assert_eq!(earliest, Ok(ListedOffset::Known(offset(3))));
    let mut pod = process.register(None).await;
    let next = pod.reserve(&process, at, &batch(&["e"])).await;
    assert_eq!(next.base_offset, offset(4));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_emptied_goes_on_where_it_ended_also_after_a_kill() {
    let world = World::new();
    let process = world.start().await;
    let at = first_of(&process.topic("t").await);
    let mut pod = process.register(None).await;
    let reserved = pod.reserve(&process, at, &batch(&["a", "b", "c"])).await;
    pod.write(&process, &reserved).await;

    let emptied = process
        .service
        .delete_records(at, DeleteBefore::HighWatermark)
        .await;
    let bytes = process.service.log_bytes().await.unwrap();
    process.kill().await;
    let process = world.start().await;

    assert_eq!(emptied, Ok(offset(3)));
    assert!(bytes.is_empty());
    assert_eq!(
        latest(&process, at).await,
        Ok(ListedOffset::Known(offset(3)))
    );
    let slice = process.service.look_up(at, Offset::ZERO, 10).await.unwrap();
    assert_eq!((slice.log_start, slice.extents.len()), (offset(3), 0));
    let mut pod = process.register(None).await;
    let next = pod.reserve(&process, at, &batch(&["d"])).await;
    pod.write(&process, &next).await;
    assert_eq!(next.base_offset, offset(3));
    assert_eq!(
        latest(&process, at).await,
        Ok(ListedOffset::Known(offset(4)))
    );
}

#[tokio::test(start_paused = true)]
async fn the_high_watermark_of_a_deletion_covers_every_acknowledgement_before_it() {
    let world = World::new();
    let process = world.start().await;
    let topic = process.topic("t").await;
    let at = first_of(&topic);
    let mut slow = process.register(None).await;
    let mut quick = process.register(None).await;
    let held_up = slow.reserve(&process, at, &batch(&["slow"])).await;
    let acknowledged = quick.reserve(&process, at, &batch(&["quick"])).await;
    quick.write(&process, &acknowledged).await;

    let deletion = process
        .service
        .delete_records(at, DeleteBefore::HighWatermark);
    let ((), deleted) = tokio::join!(slow.write(&process, &held_up), deletion);
    let absent = topic.at(PartitionIndex::new(7).unwrap());
    let absent = process
        .service
        .delete_records(absent, DeleteBefore::HighWatermark)
        .await;

    assert_eq!(deleted, Ok(offset(2)));
    assert_eq!(absent, Err(DeleteRecordsError::UnknownPartition));
}

#[tokio::test(start_paused = true)]
async fn the_place_in_the_journal_rises_with_every_command_and_every_leader() {
    let world = World::new();
    let process = world.start().await;
    let first = process.service.leadership().await.unwrap();
    process.topic("t").await;
    let second = process.service.leadership().await.unwrap();
    process.kill().await;
    let process = world.start().await;
    let third = process.service.leadership().await.unwrap();

    assert_eq!(second.epoch, first.epoch);
    assert_eq!(
        (second.roll, second.commands),
        (first.roll, first.commands + 1)
    );
    assert!(third.epoch > second.epoch && third.roll > second.roll);
}
