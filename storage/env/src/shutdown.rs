//! Asking a process, or a part of it, to stop. One trigger, any number of listeners.

use std::sync::Arc;

use tokio::sync::watch;

/// Requests the stop. Dropping it requests the stop too: an owner that is gone wants nothing more.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger {
    sender: Arc<watch::Sender<bool>>,
}

/// Hears of the stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    receiver: watch::Receiver<bool>,
}

impl Shutdown {
    /// A trigger and its listener.
    #[must_use]
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (
            ShutdownTrigger {
                sender: Arc::new(sender),
            },
            Self { receiver },
        )
    }

    /// Completes when the stop is requested, at once when it was before. Cancel safe.
    pub async fn requested(&self) {
        let mut receiver = self.receiver.clone();
        // An error means that the trigger is gone, which is a request as well.
        let _ = receiver.wait_for(|stop| *stop).await;
    }

    /// Whether the stop was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.receiver.borrow() || self.receiver.has_changed().is_err()
    }
}

impl ShutdownTrigger {
    /// Requests the stop; doing so again changes nothing.
    pub fn request(&self) {
        self.sender.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_listener_hears_the_request_also_late_ones() {
        let (trigger, shutdown) = Shutdown::new();
        assert!(!shutdown.is_requested());

        trigger.request();

        shutdown.requested().await;
        shutdown.clone().requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_dropped_trigger_is_a_request() {
        let (trigger, shutdown) = Shutdown::new();

        drop(trigger);

        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
