//! The decisions by themselves, and the task on a clock that wakes as late as a test says.

use std::sync::atomic::AtomicU32;

use esker_env::{ShutdownTrigger, TaskGroup};
use esker_types::Timestamp;
use futures::future::{BoxFuture, FutureExt as _};

use super::*;

const MIB: u64 = 1024 * 1024;

fn window(late: u32, has_tail: bool, cold_bytes: u64) -> Window {
    Window {
        length: Duration::from_millis(100),
        late,
        has_tail,
        hot_bytes: 0,
        cold_bytes,
    }
}

#[test]
fn who_is_not_late_is_not_paced_and_who_has_no_tail_neither() {
    let mut controller = Controller::default();

    assert_eq!(controller.turn(window(0, true, 100 * MIB)), None);
    assert_eq!(controller.turn(window(WINDOW, false, 100 * MIB)), None);
    assert!(controller.turn(window(1, true, 100 * MIB)).is_some());
}

#[test]
fn old_records_begin_slowly_and_without_late_windows_are_free_within_seconds() {
    assert_eq!(Controller::begin(false).pace, None, "there is no tail");
    let mut controller = Controller::begin(true);
    assert_eq!(controller.pace, Some(COLD_PACE_START));

    let mut windows = 1;
    while controller.turn(window(0, true, 100 * MIB)).is_some() {
        windows += 1;
    }
    let sample = SAMPLE_EVERY * WINDOW;
    assert!(sample * windows <= Duration::from_secs(5), "{windows}");
}

#[test]
fn late_windows_cut_the_pace_to_its_least_and_quiet_ones_end_it() {
    let mut controller = Controller::default();
    let mut paces = Vec::new();
    for _ in 0..40 {
        paces.push(controller.turn(window(WINDOW, true, 100 * MIB)).unwrap());
    }
    assert!(paces.is_sorted_by(|one, next| one >= next), "{paces:?}");
    assert_eq!(paces.last(), Some(&COLD_PACE_MIN));

    let grown = controller.turn(window(0, true, 3 * MIB)).unwrap();
    assert_eq!(grown, COLD_PACE_MIN + COLD_PACE_MIN / 100);
    let quiet = (0..700).find(|_| controller.turn(window(0, true, 3 * MIB)).is_none());
    assert!(quiet.is_some(), "{controller:?}");
}

#[test]
fn a_window_without_old_records_changes_nothing() {
    let mut controller = Controller::begin(true);
    let before = controller.turn(window(1, true, MIB));
    assert!(before.is_some());

    assert_eq!(controller.turn(window(WINDOW, true, 0)), before);
    assert_eq!(controller.turn(window(0, true, 0)), before);
}

#[test]
fn whoever_is_behind_gets_twice_what_the_tail_takes_or_never_comes_near() {
    let mut controller = Controller::default();
    let mut pace = None;
    for _ in 0..60 {
        let busy = Window {
            hot_bytes: 10 * MIB,
            ..window(WINDOW, true, MIB)
        };
        pace = controller.turn(busy);
    }
    let expected = 2 * 100 * MIB;
    let pace = pace.unwrap();
    assert!(
        (expected - MIB..=expected).contains(&pace),
        "{pace} of {expected}"
    );
}

/// Every sleep wakes `late_ms` after its time.
#[derive(Debug, Default)]
struct LateClock {
    now_micros: AtomicU64,
    late_ms: AtomicU32,
}

impl Clock for LateClock {
    fn now(&self) -> MonotonicTime {
        MonotonicTime::from_start(Duration::from_micros(self.now_micros.load(Relaxed)))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let late = Duration::from_millis(u64::from(self.late_ms.load(Relaxed)));
        let micros = u64::try_from((duration + late).as_micros()).unwrap();
        self.now_micros.fetch_add(micros, Relaxed);
        tokio::task::yield_now().boxed()
    }
}

async fn some_windows() {
    for _ in 0..WINDOW * 30 {
        tokio::task::yield_now().await;
    }
}

fn started(clock: &Arc<LateClock>) -> (Arc<ColdPace>, ShutdownTrigger, TaskGroup) {
    let (stop, shutdown) = Shutdown::new();
    let shared: Arc<dyn Clock> = Arc::<LateClock>::clone(clock);
    let (pace, task) = ColdPace::new(shared, shutdown);
    let mut tasks = TaskGroup::new("pace");
    tasks.spawn(task.run());
    (pace, stop, tasks)
}

#[tokio::test]
async fn a_late_process_paces_old_records_while_the_tail_is_read_and_rests_after() {
    let clock = Arc::new(LateClock::default());
    let (pace, stop, mut tasks) = started(&clock);

    some_windows().await;
    assert_eq!(clock.now_micros.load(Relaxed), 0, "nobody looks at rest");

    clock.late_ms.store(20, Relaxed);
    pace.answered(0, 8 * MIB, false);
    some_windows().await;
    assert_eq!(pace.bytes_per_second(), None, "there is no tail");
    assert!(!pace.turn(MIB).await);

    pace.answered(MIB, 8 * MIB, false);
    some_windows().await;
    assert_eq!(pace.bytes_per_second(), None, "it never waited at the end");

    let mut seen = None;
    for _ in 0..WINDOW * 4 {
        pace.answered(MIB, 8 * MIB, true);
        tokio::task::yield_now().await;
        seen = seen.or(pace.bytes_per_second());
    }
    assert!(seen >= Some(COLD_PACE_MIN), "{seen:?}");

    some_windows().await;
    assert_eq!(pace.bytes_per_second(), None, "over");
    let rested = clock.now_micros.load(Relaxed);
    some_windows().await;
    assert_eq!(clock.now_micros.load(Relaxed), rested);
    stop.request();
    tasks.join_next().await.unwrap().unwrap();
}

#[test]
fn a_slow_pace_is_one_of_small_answers() {
    let portion = |pace| {
        let portion = Portion::at(pace);
        (portion.answer_bytes, portion.load_bytes)
    };
    let most = PACED_ANSWER_BYTES;
    let least = u32::try_from(COLD_PACE_MIN / PACED_ANSWERS_PER_SECOND).unwrap();

    assert_eq!(portion(COLD_PACE_MIN), (least, PACED_LOADS_BYTES / 4));
    assert_eq!(portion(COLD_PACE_START), (most, PACED_LOADS_BYTES));
    assert_eq!(portion(u64::MAX), (most, PACED_LOADS_BYTES));
}

#[test]
fn turns_follow_one_another_and_none_waits_past_the_limit() {
    let clock = Arc::new(LateClock::default());
    let (_, shutdown) = Shutdown::new();
    let (pace, _) = ColdPace::new(clock, shutdown);
    let answer = u64::from(Portion::at(COLD_PACE_MIN).answer_bytes);
    assert_eq!(pace.reserve(answer), None, "no pace, no turns");

    pace.publish(Some(COLD_PACE_MIN));
    assert_eq!(pace.reserve(answer), None, "the first goes at once");
    let second = pace.reserve(answer).unwrap();
    assert_eq!(
        second,
        Duration::from_micros(1_000_000 / PACED_ANSWERS_PER_SECOND)
    );
    let mut waits = (0..100).map(|_| pace.reserve(answer).unwrap());
    assert_eq!(waits.next(), Some(second * 2));
    assert_eq!(waits.max(), Some(COLD_PACE_WAIT_MAX));
}

#[test]
fn the_end_of_a_log_that_rests_is_the_tail_only_for_who_waited_there() {
    let grew = MonotonicTime::from_start(Duration::from_secs(9));
    let look = |after: Duration, has_waited| TailLook {
        now: grew.after(after),
        has_waited,
    };
    let past = TAIL_FOR + Duration::from_millis(1);

    assert!(look(TAIL_FOR, false).is_tail(true, Some(grew)));
    assert!(!look(past, false).is_tail(true, Some(grew)));
    assert!(look(past, true).is_tail(true, Some(grew)));
    assert!(!look(TAIL_FOR, false).is_tail(true, None));
    assert!(!look(TAIL_FOR, true).is_tail(false, Some(grew)));
}

#[test]
fn old_records_that_nobody_paces_yet_begin_slowly_only_beside_a_tail() {
    let clock = Arc::new(LateClock::default());
    let (_, shutdown) = Shutdown::new();
    let (pace, _) = ColdPace::new(clock, shutdown);
    assert_eq!(pace.bytes_per_second(), None);

    pace.answered(MIB, 0, true);
    assert_eq!(pace.bytes_per_second(), Some(COLD_PACE_START));
}

#[tokio::test]
async fn what_the_tail_read_while_nobody_looked_makes_no_pace() {
    let clock = Arc::new(LateClock::default());
    let (pace, stop, mut tasks) = started(&clock);
    pace.answered(1024 * MIB, 0, true);
    assert_eq!(pace.gauge(), 0, "nobody is paced");

    pace.answered(MIB, 8 * MIB, true);
    for _ in 0..WINDOW + 2 {
        tokio::task::yield_now().await;
    }

    assert!(pace.gauge() > 0 && pace.gauge() < 2 * COLD_PACE_START);
    stop.request();
    tasks.join_next().await.unwrap().unwrap();
}
