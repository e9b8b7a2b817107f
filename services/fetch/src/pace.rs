//! Readers that catch up yield to those at the tail when the process is late.
//!
//! While somebody at the tail was answered within [`TAIL_FOR`] and old records are read, a task
//! sleeps for [`SAMPLE_EVERY`] again and again and looks how late it wakes: what everything else on
//! the runtime, and on the machine, feels too. Old records begin with [`COLD_PACE_START`], which
//! quiet windows raise to none within 5 s; late ones cut it, and what comes after gives little back
//! at a time. Below [`COLD_PACE_MIN`], and below twice what the tail reads, it never goes, so
//! that whoever is behind gets there. An answer waits [`COLD_PACE_WAIT_MAX`] at most.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use esker_env::{Clock, Shutdown};
use esker_types::MonotonicTime;
use tokio::sync::Notify;

use crate::limits::{
    COLD_PACE_MIN, COLD_PACE_START, COLD_PACE_WAIT_MAX, PACED_ANSWER_BYTES,
    PACED_ANSWERS_PER_SECOND, PACED_LOADS_BYTES,
};

/// How long after its last answer the tail is still yielded to.
const TAIL_FOR: Duration = Duration::from_secs(1);
/// Between two looks at how late the process is.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
/// A timer's own grain is a millisecond; beyond this somebody else had the processor.
const LATE: Duration = Duration::from_millis(3);
/// Looks that are judged together.
const WINDOW: u32 = 16;
/// Windows without old records until the task rests.
const IDLE_WINDOWS: u32 = 10;
/// A pace above this is none.
const FREE: u64 = 4 * 1024 * 1024 * 1024;
/// In place of a pace: nobody has read old records for a while, nobody looks.
const RESTING: u64 = u64::MAX;

/// What was seen in one window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    length: Duration,
    /// Looks that came late.
    late: u32,
    /// Whether the tail is read.
    has_tail: bool,
    /// Bytes answered from the end of logs that grow, and from elsewhere.
    hot_bytes: u64,
    cold_bytes: u64,
}

/// Decides the pace: down to half when a look came late; when none did, up by a tenth at first, and
/// by a hundredth once one was late: what is too much is seen when it hurts already.
#[derive(Debug, Default)]
struct Controller {
    /// Bytes a second; `None`: as fast as can be.
    pace: Option<u64>,
    was_late: bool,
    hot_rate: u64,
    cold_rate: u64,
}

/// Three parts of what was, one of what is.
fn smoothed(before: u64, bytes: u64, length: Duration) -> u64 {
    let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
    let now = bytes.saturating_mul(1_000_000) / micros;
    (before / 4).saturating_mul(3).saturating_add(now / 4)
}

impl Controller {
    /// Of old records that begin to be read.
    fn begin(has_tail: bool) -> Self {
        Self {
            pace: has_tail.then_some(COLD_PACE_START),
            ..Self::default()
        }
    }

    fn turn(&mut self, window: Window) -> Option<u64> {
        self.hot_rate = smoothed(self.hot_rate, window.hot_bytes, window.length);
        self.cold_rate = smoothed(self.cold_rate, window.cold_bytes, window.length);
        let least = COLD_PACE_MIN.max(self.hot_rate.saturating_mul(2));
        self.pace = match self.pace {
            _ if !window.has_tail => None,
            // Nobody read old records: it was not them, and nothing was learned of more.
            before if window.cold_bytes == 0 => before,
            before if window.late > 0 => {
                self.was_late = true;
                let before = before.unwrap_or(FREE).min(self.cold_rate);
                Some((before / 2).max(least))
            }
            None => None,
            Some(before) => {
                let more = if self.was_late {
                    before / 100
                } else {
                    before / 10
                };
                Some((before + more).max(least)).filter(|pace| *pace < FREE)
            }
        };
        self.pace
    }
}

/// What one answer may have, and load, at a pace: each takes the store and the processor for a
/// moment, so a slow pace is one of small answers and not of rare ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    pub(crate) answer_bytes: u32,
    pub(crate) load_bytes: u64,
}

impl Portion {
    /// At so many bytes a second.
    pub(crate) fn at(pace: u64) -> Self {
        let bytes = u32::try_from(pace / PACED_ANSWERS_PER_SECOND).unwrap_or(u32::MAX);
        let answer_bytes = bytes.min(PACED_ANSWER_BYTES);
        let most = u64::from(PACED_ANSWER_BYTES);
        let load_bytes = PACED_LOADS_BYTES * u64::from(answer_bytes) / most;
        Self {
            answer_bytes,
            load_bytes,
        }
    }
}

/// The pace of all old records that this process reads. What is touched on every answer are
/// counters; the lock is taken by who is paced.
#[derive(Debug)]
pub(crate) struct ColdPace {
    clock: Arc<dyn Clock>,
    /// Bytes a second; zero: as fast as can be; or [`RESTING`].
    pace: AtomicU64,
    /// When the tail was answered last, in milliseconds from the clock's start, plus one.
    tail_at: AtomicU64,
    hot_bytes: AtomicU64,
    cold_bytes: AtomicU64,
    /// When the next answer's turn comes.
    free_at: Mutex<MonotonicTime>,
    begun: Notify,
}

fn millis(time: MonotonicTime) -> u64 {
    u64::try_from(time.since_start().as_millis()).unwrap_or(u64::MAX)
}

impl ColdPace {
    pub(crate) fn new(clock: Arc<dyn Clock>, shutdown: Shutdown) -> (Arc<Self>, PaceTask) {
        let pace = Arc::new(Self {
            clock,
            pace: AtomicU64::new(RESTING),
            tail_at: AtomicU64::new(0),
            hot_bytes: AtomicU64::new(0),
            cold_bytes: AtomicU64::new(0),
            free_at: Mutex::default(),
            begun: Notify::new(),
        });
        let task = PaceTask {
            pace: Arc::clone(&pace),
            shutdown,
        };
        (pace, task)
    }

    /// Bytes a second that old records may take together; `None`: as many as can be.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        match self.pace.load(Relaxed) {
            0 => None,
            RESTING => self.has_tail(self.clock.now()).then_some(COLD_PACE_START),
            pace => Some(pace),
        }
    }

    /// What the last windows allow, in bytes a second; zero: as many as can be, or nobody looks.
    pub(crate) fn gauge(&self) -> u64 {
        match self.pace.load(Relaxed) {
            RESTING => 0,
            pace => pace,
        }
    }

    /// Waits for the turn of an answer of `bytes` old bytes. Whether it had to. Cancel safe: its
    /// turn passes unused.
    pub(crate) async fn turn(&self, bytes: u64) -> bool {
        let Some(wait) = self.reserve(bytes) else {
            return false;
        };
        self.clock.sleep(wait).await;
        true
    }

    fn reserve(&self, bytes: u64) -> Option<Duration> {
        let pace = self.bytes_per_second()?;
        let micros = bytes.saturating_mul(1_000_000) / pace;
        let now = self.clock.now();
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        // Turns past the longest wait are not queued further: a debt nobody pays would only grow.
        let latest = now.after(COLD_PACE_WAIT_MAX);
        let start = (*free_at).clamp(now, latest);
        *free_at = start.after(Duration::from_micros(micros));
        Some(start.since(now)).filter(|wait| !wait.is_zero())
    }

    /// Bytes of an answer, and whether its reader had waited for them at the log's end.
    pub(crate) fn answered(&self, hot: u64, cold: u64, has_waited: bool) {
        if hot > 0 {
            self.hot_bytes.fetch_add(hot, Relaxed);
            if has_waited {
                self.tail_at.store(millis(self.clock.now()) + 1, Relaxed);
            }
        }
        if cold > 0 && self.cold_bytes.fetch_add(cold, Relaxed) == 0 {
            self.begun.notify_one();
        }
    }

    /// A look of one request, now.
    pub(crate) fn look(&self, has_waited: bool) -> TailLook {
        TailLook {
            now: self.clock.now(),
            has_waited,
        }
    }

    fn has_tail(&self, now: MonotonicTime) -> bool {
        let at = self.tail_at.load(Relaxed);
        let ago = (millis(now) + 1).saturating_sub(at);
        at != 0 && u128::from(ago) <= TAIL_FOR.as_millis()
    }

    fn publish(&self, pace: Option<u64>) {
        self.pace.store(pace.unwrap_or(0), Relaxed);
    }
}

/// What one request takes for the tail. Looked at once, before its records are read: a read that
/// takes long makes none of them old.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailLook {
    now: MonotonicTime,
    has_waited: bool,
}

impl TailLook {
    /// Whether a place near the end of a log that grew at `grew` is the tail: its reader has waited
    /// there, or the log grows. The end of one that rests is as old as everything before it.
    pub(crate) fn is_tail(&self, is_near_end: bool, grew: Option<MonotonicTime>) -> bool {
        let is_lately = |at| self.now.since(at) <= TAIL_FOR;
        is_near_end && (self.has_waited || grew.is_some_and(is_lately))
    }
}

/// The looks at how late the process is, and the decisions.
#[derive(Debug)]
pub(crate) struct PaceTask {
    pace: Arc<ColdPace>,
    shutdown: Shutdown,
}

impl PaceTask {
    /// Runs until the stop is requested; rests while no old records are read.
    pub(crate) async fn run(self) {
        let work = async {
            loop {
                self.pace.begun.notified().await;
                self.watch().await;
                self.pace.pace.store(RESTING, Relaxed);
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.requested() => self.pace.publish(None),
            () = work => {}
        }
    }

    /// Until no old records were read for a while.
    async fn watch(&self) {
        let has_tail = self.pace.has_tail(self.pace.clock.now());
        let mut controller = Controller::begin(has_tail);
        // Counted while nobody looked: it is not one window's.
        self.pace.hot_bytes.store(0, Relaxed);
        self.pace.publish(controller.pace);
        let mut idle = 0;
        while idle < IDLE_WINDOWS {
            let window = self.window().await;
            idle = match window.cold_bytes {
                0 => idle + 1,
                _ => 0,
            };
            self.pace.publish(controller.turn(window));
        }
    }

    async fn window(&self) -> Window {
        let clock = &self.pace.clock;
        let begun = clock.now();
        let mut late = 0;
        for _ in 0..WINDOW {
            let before = clock.now();
            clock.sleep(SAMPLE_EVERY).await;
            if clock.now().since(before) > SAMPLE_EVERY + LATE {
                late += 1;
            }
        }
        let now = clock.now();
        Window {
            length: now.since(begun),
            late,
            has_tail: self.pace.has_tail(now),
            hot_bytes: self.pace.hot_bytes.swap(0, Relaxed),
            cold_bytes: self.pace.cold_bytes.swap(0, Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
