//! The outside world behind seams: clock, randomness, shutdown, tasks, retry.
//!
//! Everything that a simulation must replay from a seed comes through here: no other crate reads a
//! clock, draws a random number or starts a task. `Env` is handed down by value (it is cheap to
//! clone).

mod clock;
mod group;
mod retry;
mod rng;
mod shutdown;
#[cfg(feature = "simulation")]
mod suspension;

pub use clock::{Clock, Elapsed, SystemClock, timeout};
pub use group::{TaskFailure, TaskGroup};
pub use retry::{Backoff, RetryPolicy};
pub use rng::Rng;
pub use shutdown::{Shutdown, ShutdownTrigger};
#[cfg(feature = "simulation")]
pub use suspension::Suspension;

use std::sync::Arc;

/// The seams that nearly every stage needs, together.
#[derive(Clone, Debug)]
pub struct Env {
    /// Wall and monotonic time, and sleeping.
    pub clock: Arc<dyn Clock>,
    /// Randomness, from one root seed.
    pub rng: Rng,
}

impl Env {
    /// The real world: the system's clock, a seed from the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            rng: Rng::from_os(),
        }
    }
}
