//! Tells the sequencer what is written, until it is heard; acknowledgements never wait for it.
//!
//! Only the newest report counts: it is cumulative, and every Reserve carries it as well. Fed by
//! the writer. Cost: one call per acknowledged segment at most.

use std::sync::Arc;
use std::time::Duration;

use esker_env::{Env, timeout};
use esker_metadata_api::{Sequencer, WrittenReport};
use tokio::sync::watch;

use crate::limits::CALL_RETRY;

/// Where the writer leaves the newest report.
#[derive(Debug)]
pub(crate) struct Notice {
    newest: watch::Sender<Option<WrittenReport>>,
}

/// Sends the newest report.
#[derive(Debug)]
pub(crate) struct Notifier {
    newest: watch::Receiver<Option<WrittenReport>>,
    sequencer: Arc<dyn Sequencer>,
    env: Env,
    call_timeout: Duration,
}

impl Notice {
    pub(crate) fn new(
        sequencer: Arc<dyn Sequencer>,
        env: Env,
        call_timeout: Duration,
    ) -> (Self, Notifier) {
        let (sender, newest) = watch::channel(None);
        let notifier = Notifier {
            newest,
            sequencer,
            env,
            call_timeout,
        };
        (Self { newest: sender }, notifier)
    }

    /// Replaces the report to send.
    pub(crate) fn tell(&self, report: WrittenReport) {
        self.newest.send_replace(Some(report));
    }
}

impl Notifier {
    /// Ends when the [`Notice`] is dropped; what is not heard then goes with the session's end.
    pub(crate) async fn run(mut self) {
        while self.newest.changed().await.is_ok() {
            let Some(mut report) = *self.newest.borrow_and_update() else {
                continue;
            };
            let mut backoff = CALL_RETRY.begin();
            while !self.is_heard(report).await {
                let Some(delay) = backoff.next_delay(&self.env.rng) else {
                    break;
                };
                self.env.clock.sleep(delay).await;
                match self.newest.has_changed() {
                    Ok(false) => {}
                    Ok(true) => report = self.newest.borrow_and_update().unwrap_or(report),
                    Err(_) => return,
                }
            }
        }
    }

    async fn is_heard(&self, report: WrittenReport) -> bool {
        let call = self.sequencer.written(report);
        let answer = timeout(self.env.clock.as_ref(), self.call_timeout, call).await;
        matches!(answer, Ok(Ok(())))
    }
}
