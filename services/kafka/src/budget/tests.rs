//! Claims about the byte budgets.

use esker_env::SystemClock;
use futures::FutureExt as _;

use super::*;
use crate::frame::FrameError;
use crate::limits::STANDSTILL_MIN;
use crate::stragglers::Watched;

fn budget(request_bytes_max: usize) -> ConnectionBudget {
    let config = ListenerConfig {
        request_bytes_max,
        ..ListenerConfig::default()
    };
    let clock = Arc::new(SystemClock::new());
    Budget::new(&config, clock, Arc::default()).for_connection(&config)
}

#[tokio::test]
async fn bytes_beyond_the_budget_wait_for_bytes_given_back() {
    let budget = budget(100);
    let first = budget.frame(60, Lane::Produced).await;

    assert!(budget.frame(60, Lane::Produced).now_or_never().is_none());
    drop(first);

    assert!(budget.frame(60, Lane::Produced).now_or_never().is_some());
}

#[tokio::test]
async fn heartbeats_are_read_while_produced_bytes_wait() {
    let budget = budget(100);
    let heartbeat = Api::Heartbeat.key();
    let small = |bytes| Lane::of(heartbeat, bytes);
    let _produced = budget.frame(100, Lane::of(Api::Produce.key(), 100)).await;

    let beside = budget.frame(100, small(100)).now_or_never();
    let large = small(SMALL_FRAME_BYTES_MAX + 1);
    let rest = budget.frame(SMALL_FRAMES_BYTES_MAX, Lane::Small);
    let past = rest.now_or_never();

    assert!(beside.is_some() && past.is_none());
    assert_eq!(small(SMALL_FRAME_BYTES_MAX), Lane::Small);
    assert_eq!(large, Lane::Produced);
}

#[tokio::test]
async fn a_request_above_a_whole_budget_takes_all_of_it() {
    let budget = budget(100);

    let large = budget.frame(1000, Lane::Produced).await;

    assert!(budget.frame(1, Lane::Produced).now_or_never().is_none());
    assert_eq!(large.metrics.request_bytes_in_flight(), 1000);
    drop(large);
    assert!(budget.frame(1, Lane::Produced).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_has_a_transfer_ended_that_stands_still() {
    let budget = budget(100);
    let held = budget.frame(100, Lane::Produced).await;
    let mut watched = Watched::new(Some(budget.stragglers()), Holds::Requests, 100);
    let straggler = async {
        let cut = watched.step(std::future::pending()).await;
        drop(held);
        cut
    };

    let clock = SystemClock::new();
    let begun = clock.now();
    let (cut, _) = tokio::join!(straggler, budget.frame(1, Lane::Produced));

    assert!(matches!(cut, Err(FrameError::Straggler)));
    let waited = clock.now().since(begun);
    assert!(waited >= STANDSTILL_MIN && waited <= STANDSTILL_MIN + RELIEF_INTERVAL);
}

#[tokio::test]
async fn answers_as_large_as_the_last_ones_wait_and_small_ones_never() {
    let config = ListenerConfig {
        reply_bytes_max: 10 * ANSWER_BYTES_SMALL,
        ..ListenerConfig::default()
    };
    let clock = Arc::new(SystemClock::new());
    let shared = Budget::new(&config, clock, Arc::default());
    let budget = shared.for_connection(&config);
    let sizes = budget.answer_sizes();
    sizes.made(Api::Metadata, 10 * ANSWER_BYTES_SMALL);
    sizes.made(Api::ListGroups, ANSWER_BYTES_SMALL);
    let (mut first, mut second) = (
        budget.frame(1, Lane::Produced).await,
        budget.frame(1, Lane::Produced).await,
    );

    budget.answer(&mut first, Api::Metadata).await;
    let large = budget.answer(&mut second, Api::Metadata).now_or_never();
    let small = budget.answer(&mut second, Api::ListGroups).now_or_never();
    drop(first);
    let after = budget.answer(&mut second, Api::Metadata).now_or_never();

    assert!(large.is_none() && small.is_some() && after.is_some());
}

#[tokio::test]
async fn a_reply_that_is_made_holds_its_own_bytes_and_nothing_of_the_request() {
    let config = ListenerConfig {
        request_bytes_max: 100,
        decoded_bytes_max: SMALL_FRAME_BYTES_MAX + 1,
        reply_bytes_max: 10 * ANSWER_BYTES_SMALL,
        ..ListenerConfig::default()
    };
    let clock = Arc::new(SystemClock::new());
    let budget = Budget::new(&config, clock, Arc::default()).for_connection(&config);
    let large = SMALL_FRAME_BYTES_MAX + 1;
    budget
        .answer_sizes()
        .made(Api::Metadata, 10 * ANSWER_BYTES_SMALL);
    let mut permit = budget.frame(100, Lane::Produced).await;
    budget.decoded(&mut permit, Api::Metadata, large).await;
    budget.answer(&mut permit, Api::Metadata).await;
    assert_eq!(permit.holds(Api::Metadata), Holds::Answers);

    permit.reply_made(Api::Metadata, 2 * ANSWER_BYTES_SMALL);

    let mut next = budget.frame(100, Lane::Produced).now_or_never().unwrap();
    let decoded = budget.decoded(&mut next, Api::Metadata, large);
    assert!(decoded.now_or_never().is_some());
    let answers = &budget.shared.answers;
    let rest = usize::try_from(answers.capacity).unwrap() - 2 * ANSWER_BYTES_SMALL;
    assert!(answers.take(rest + 1).now_or_never().is_none());
    assert!(answers.take(rest).now_or_never().is_some());
    permit.reply_made(Api::Metadata, ANSWER_BYTES_SMALL);
    assert_eq!(permit.holds(Api::Metadata), Holds::Replies);
}

#[tokio::test]
async fn small_requests_are_decoded_while_large_ones_and_produce_wait() {
    let budget = budget(100);
    let all = ListenerConfig::default().decoded_bytes_max;
    let mut permit = budget.frame(1, Lane::Produced).await;
    budget.decoded(&mut permit, Api::Metadata, all).await;
    let mut next = budget.frame(1, Lane::Small).await;

    let heartbeat = budget.decoded(&mut next, Api::Heartbeat, 1).now_or_never();
    let produce = budget.decoded(&mut next, Api::Produce, 1).now_or_never();

    assert!(heartbeat.is_some() && produce.is_none());
}

#[tokio::test]
async fn the_pipeline_takes_its_limit_and_not_one_more() {
    let budget = budget(100);
    let mut slots = Vec::new();
    for _ in 0..PIPELINE_MAX {
        slots.push(budget.slot().await);
    }

    assert!(budget.slot().now_or_never().is_none());
    let mut last = slots.pop().unwrap();
    assert!(budget.alone(&mut last).now_or_never().is_none());
    slots.clear();

    assert!(budget.alone(&mut last).now_or_never().is_some());
    assert!(
        budget.slot().now_or_never().is_none(),
        "nothing is read past it"
    );
}
