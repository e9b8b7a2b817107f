//! Frames and replies on their way, and which of them has stood still for longest.
//!
//! A peer may be slow, and a consumer may rest for minutes with a reply half read: nothing happens
//! to it while memory is there. But memory that a transfer holds is memory that others wait for:
//! past the limit of unread replies, and for others that wait, the transfer that has stood still
//! for longest ends, with its connection. Only transfers that had
//! to wait for their peer are here; one that went through at once costs nothing.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker_env::Clock;
use esker_types::MonotonicTime;
use futures::FutureExt as _;
use tokio::sync::Notify;

use crate::frame::FrameError;
use crate::limits::{PROGRESS_BYTES_MIN, RELIEF_INTERVAL, STANDSTILL_MIN};

/// Memory that a transfer holds, and that others may wait for: one kind for each budget, so that
/// nothing is ended whose end would not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holds {
    /// A frame that is read, or the reply of a Produce, which holds the requests behind it.
    Requests,
    /// A frame that is read, of the lane of small ones.
    SmallRequests,
    /// A reply that holds bytes of the budget of large answers.
    Answers,
    /// Any other reply.
    Replies,
}

impl Holds {
    fn is_reply(self) -> bool {
        matches!(self, Self::Answers | Self::Replies)
    }
}

/// Transfers that wait for their peers.
#[derive(Debug)]
pub(crate) struct Stragglers {
    clock: Arc<dyn Clock>,
    reply_bytes_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    transfers: BTreeMap<u64, Standing>,
    reply_bytes: usize,
    /// When somebody who waits last looked, by kind: however many wait, one transfer ends at once.
    relieved: BTreeMap<Holds, MonotonicTime>,
}

#[derive(Debug)]
struct Standing {
    holds: Holds,
    bytes: usize,
    since: MonotonicTime,
    cut: Option<Arc<Notify>>,
}

/// One transfer that had to wait for its peer.
#[derive(Debug)]
struct Transfer {
    stragglers: Arc<Stragglers>,
    key: u64,
    moved_bytes: usize,
    cut: Arc<Notify>,
}

/// A transfer as its reader or writer sees it: step by step.
#[derive(Debug)]
pub(crate) struct Watched {
    stragglers: Option<Arc<Stragglers>>,
    holds: Holds,
    bytes: usize,
    transfer: Option<Transfer>,
}

impl Stragglers {
    /// `reply_bytes_max`: bytes of replies that may wait for their peers before any is cut.
    pub(crate) fn new(clock: Arc<dyn Clock>, reply_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            clock,
            reply_bytes_max,
            waiting: Mutex::default(),
        })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Others wait for such memory: ends the transfer that holds some and has stood still for
    /// longest, if for [`STANDSTILL_MIN`] at least; at most one each [`RELIEF_INTERVAL`].
    pub(crate) fn relieve(&self, holds: Holds) {
        let now = self.clock.now();
        let mut waiting = self.lock();
        let last = waiting.relieved.get(&holds);
        if last.is_none_or(|last| now.since(*last) >= RELIEF_INTERVAL) {
            waiting.relieved.insert(holds, now);
            waiting.cut_longest(now, |found| found == holds);
        }
    }

    /// Ends transfers until the replies that wait for their peers keep within their limit, or all
    /// that are left have moved lately.
    fn relieve_replies(&self) {
        let now = self.clock.now();
        let mut waiting = self.lock();
        while waiting.reply_bytes > self.reply_bytes_max
            && waiting.cut_longest(now, Holds::is_reply)
        {}
    }

    fn begin(self: &Arc<Self>, holds: Holds, bytes: usize) -> Transfer {
        let since = self.clock.now();
        let cut = Arc::new(Notify::new());
        let mut waiting = self.lock();
        let key = waiting.next;
        waiting.next += 1;
        waiting.transfers.insert(
            key,
            Standing {
                holds,
                bytes,
                since,
                cut: Some(Arc::clone(&cut)),
            },
        );
        if holds.is_reply() {
            waiting.reply_bytes = waiting.reply_bytes.saturating_add(bytes);
        }
        Transfer {
            stragglers: Arc::clone(self),
            key,
            moved_bytes: 0,
            cut,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn cut_longest(&mut self, now: MonotonicTime, helps: impl Fn(Holds) -> bool) -> bool {
        let candidates = self.transfers.values_mut();
        let candidates =
            candidates.filter(|standing| helps(standing.holds) && standing.cut.is_some());
        let longest = candidates.min_by_key(|standing| standing.since);
        let longest = longest.filter(|standing| now.since(standing.since) >= STANDSTILL_MIN);
        let Some(longest) = longest else {
            return false;
        };
        if let Some(cut) = longest.cut.take() {
            cut.notify_one();
        }
        if longest.holds.is_reply() {
            self.reply_bytes = self.reply_bytes.saturating_sub(longest.bytes);
            longest.bytes = 0;
        }
        true
    }
}

impl Transfer {
    /// A trickle is no progress: only every so many bytes count.
    fn moved(&mut self, bytes: usize) {
        self.moved_bytes = self.moved_bytes.saturating_add(bytes);
        if self.moved_bytes < PROGRESS_BYTES_MIN {
            return;
        }
        self.moved_bytes = 0;
        let now = self.stragglers.clock.now();
        if let Some(standing) = self.stragglers.lock().transfers.get_mut(&self.key) {
            standing.since = now;
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut waiting = self.stragglers.lock();
        if let Some(standing) = waiting.transfers.remove(&self.key)
            && standing.holds.is_reply()
        {
            waiting.reply_bytes = waiting.reply_bytes.saturating_sub(standing.bytes);
        }
    }
}

impl Watched {
    /// A transfer of `bytes`; nobody watches it without `stragglers`.
    pub(crate) fn new(stragglers: Option<&Arc<Stragglers>>, holds: Holds, bytes: usize) -> Self {
        Self {
            stragglers: stragglers.map(Arc::clone),
            holds,
            bytes,
            transfer: None,
        }
    }

    /// Runs one step, which gives the bytes that it moved.
    pub(crate) async fn step(
        &mut self,
        step: impl Future<Output = io::Result<usize>>,
    ) -> Result<usize, FrameError> {
        let mut step = pin!(step);
        let done = match (step.as_mut().now_or_never(), &self.stragglers) {
            (Some(done), _) => done,
            (None, None) => step.await,
            (None, Some(stragglers)) => {
                let begin = || stragglers.begin(self.holds, self.bytes);
                let transfer = self.transfer.get_or_insert_with(begin);
                loop {
                    tokio::select! {
                        biased;
                        done = &mut step => break done,
                        () = transfer.cut.notified() => return Err(FrameError::Straggler),
                        () = stragglers.clock.sleep(STANDSTILL_MIN),
                            if self.holds.is_reply() => stragglers.relieve_replies(),
                    }
                }
            }
        };
        let bytes = done.map_err(FrameError::Socket)?;
        if let Some(transfer) = &mut self.transfer {
            transfer.moved(bytes);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use esker_env::SystemClock;

    use super::*;

    fn stragglers(reply_bytes_max: usize) -> Arc<Stragglers> {
        Stragglers::new(Arc::new(SystemClock::new()), reply_bytes_max)
    }

    fn count(stragglers: &Stragglers) -> usize {
        stragglers.lock().transfers.len()
    }

    async fn never() -> io::Result<usize> {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_that_stand_still_the_first_is_cut_and_no_other() {
        let stragglers = stragglers(usize::MAX);
        let mut first = Watched::new(Some(&stragglers), Holds::Requests, 1);
        let mut second = Watched::new(Some(&stragglers), Holds::Requests, 1);
        let mut reply = Watched::new(Some(&stragglers), Holds::Replies, 1);
        let mut reply = std::pin::pin!(reply.step(never()));
        assert!(futures::poll!(&mut reply).is_pending());
        stragglers.clock.sleep(Duration::from_secs(1)).await;
        let mut first = std::pin::pin!(first.step(never()));
        assert!(futures::poll!(&mut first).is_pending());
        stragglers.clock.sleep(Duration::from_secs(1)).await;
        let mut second = std::pin::pin!(second.step(never()));
        assert!(futures::poll!(&mut second).is_pending());

        stragglers.relieve(Holds::Requests);
        let early = futures::poll!(&mut first);
        stragglers.clock.sleep(STANDSTILL_MIN).await;
        stragglers.relieve(Holds::Requests);
        let cut = first.await;

        assert!(early.is_pending(), "nobody has stood still for long enough");
        assert!(matches!(cut, Err(FrameError::Straggler)));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut reply).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_wait_end_one_transfer_at_a_time_and_none_that_would_not_help() {
        let stragglers = stragglers(usize::MAX);
        let kinds = [
            Holds::Answers,
            Holds::Answers,
            Holds::Replies,
            Holds::SmallRequests,
        ];
        let mut transfers = Vec::new();
        for holds in kinds {
            let mut watched = Watched::new(Some(&stragglers), holds, 1);
            let mut step = Box::pin(async move { watched.step(never()).await });
            assert!(futures::poll!(&mut step).is_pending());
            transfers.push(step);
        }
        stragglers.clock.sleep(STANDSTILL_MIN).await;

        for _ in 0..100 {
            stragglers.relieve(Holds::Answers);
        }
        let mut ended = Vec::new();
        for step in &mut transfers {
            ended.push(futures::poll!(step).is_ready());
        }

        assert_eq!(ended, [true, false, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_moves_enough_is_not_cut_and_a_trickle_is_not_enough() {
        let stragglers = stragglers(usize::MAX);
        for (bytes, is_cut) in [(PROGRESS_BYTES_MIN, false), (PROGRESS_BYTES_MIN - 1, true)] {
            let mut watched = Watched::new(Some(&stragglers), Holds::Requests, 1);
            let waits = async {
                stragglers.clock.sleep(STANDSTILL_MIN).await;
                Ok(bytes)
            };
            watched.step(waits).await.unwrap();

            let mut next = std::pin::pin!(watched.step(never()));
            assert!(futures::poll!(&mut next).is_pending());
            stragglers.relieve(Holds::Requests);

            assert_eq!(futures::poll!(&mut next).is_ready(), is_cut, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn replies_stand_still_unharmed_up_to_their_limit_and_not_one_byte_past_it() {
        for (limit, is_cut) in [(200, false), (199, true)] {
            let stragglers = stragglers(limit);
            let mut first = Watched::new(Some(&stragglers), Holds::Replies, 100);
            let mut second = Watched::new(Some(&stragglers), Holds::Replies, 100);
            let mut first = std::pin::pin!(first.step(never()));
            assert!(futures::poll!(&mut first).is_pending());
            let mut second = std::pin::pin!(second.step(never()));

            // The second looks, as it stands still itself.
            let waited = 3 * STANDSTILL_MIN;
            let waited = esker_env::timeout(stragglers.clock(), waited, &mut second).await;

            assert!(waited.is_err(), "one of them makes room enough");
            assert_eq!(futures::poll!(&mut first).is_ready(), is_cut, "{limit}");
        }
    }

    #[tokio::test]
    async fn a_step_that_ends_at_once_is_not_noted_and_one_that_is_over_is_forgotten() {
        let stragglers = stragglers(0);
        let mut at_once = Watched::new(Some(&stragglers), Holds::Replies, 9);
        let moved = at_once.step(async { Ok(9) }).await.unwrap();
        let before = count(&stragglers);
        let mut waits = Watched::new(Some(&stragglers), Holds::Replies, 9);

        let waiting = waits.step(never()).now_or_never();
        let during = (count(&stragglers), stragglers.lock().reply_bytes);
        drop(waits);

        assert!((moved, before) == (9, 0) && waiting.is_none());
        assert_eq!(during, (1, 9));
        assert_eq!((count(&stragglers), stragglers.lock().reply_bytes), (0, 0));
    }
}
