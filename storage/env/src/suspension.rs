//! Stops all tasks of a simulated process for a while, as SIGSTOP would. Feature `simulation`.
//!
//! A root task is run under a suspension; what it starts through `TaskGroup` is under the same
//! one. While paused no task of it is polled; requests that are under way elsewhere go on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::{BoxFuture, FutureExt as _};

tokio::task_local! {
    static CURRENT: Suspension;
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
    /// Tasks that wanted to run meanwhile, one waker each, in order.
    waiting: Vec<Waker>,
}

/// Pauses and resumes the tasks of one simulated process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Suspension {
    state: Arc<Mutex<State>>,
}

struct Gate {
    suspension: Suspension,
    task: BoxFuture<'static, ()>,
}

impl Suspension {
    /// A process that runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The suspension that the calling task is under.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// `task`, under this suspension.
    pub fn run(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let gate = Gate {
            suspension: self.clone(),
            task: task.boxed(),
        };
        CURRENT.scope(self.clone(), gate)
    }

    /// From now on nothing is polled.
    pub fn pause(&self) {
        self.lock().paused = true;
    }

    /// Lets all go on, in the order in which they wanted to.
    pub fn resume(&self) {
        let waiting = {
            let mut state = self.lock();
            state.paused = false;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the task must wait; it is woken by [`Self::resume`] then.
    fn holds(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.paused && !state.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        state.paused
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.suspension.holds(context.waker()) {
            return Poll::Pending;
        }
        self.task.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use crate::{Clock as _, SystemClock, TaskGroup};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_process_does_nothing_and_goes_on_when_resumed() {
        let clock = Arc::new(SystemClock::new());
        let turns = Arc::new(AtomicU32::new(0));
        let (counted, sleeping) = (Arc::clone(&turns), Arc::clone(&clock));
        let suspension = Suspension::new();
        let mut roots = TaskGroup::new("roots");
        roots.spawn(suspension.run(async move {
            let mut children = TaskGroup::new("children");
            children.spawn(async move {
                loop {
                    sleeping.sleep(Duration::from_secs(1)).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
            let _ = children.join_next().await;
        }));

        clock.sleep(Duration::from_millis(3500)).await;
        suspension.pause();
        clock.sleep(Duration::from_secs(60)).await;
        let while_paused = turns.load(Ordering::Relaxed);
        suspension.resume();
        clock.sleep(Duration::from_secs(2)).await;

        assert_eq!(while_paused, 3);
        assert!(turns.load(Ordering::Relaxed) > 3);
        assert!(!suspension.is_paused() && Suspension::current().is_none());
    }
}
