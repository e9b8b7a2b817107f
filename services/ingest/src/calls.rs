//! The calls the writer makes: register, reserve, upload, end. Each runs as a task of its own and
//! reports one answer; the writer never waits for one of them alone.
//!
//! A call that takes too long is dropped and reported as of unknown outcome. Calls of a session end
//! with the session. Bounds: one register, one reserve, `uploads_max` uploads per session, one end
//! per lost session; answers wait in a bounded queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_cache::SegmentCache;
use esker_chain::{Chain, UploadError, Uploaded};
use esker_env::{Env, Shutdown, TaskFailure, TaskGroup, timeout};
use esker_metadata_api::{
    MetadataError, Registered, ReserveError, ReserveReply, ReserveRequest, Sequencer, SessionEnd,
};
use esker_types::{SegmentId, SessionId};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::config::IngestConfig;
use crate::limits::{ANSWERS_QUEUED_MAX, CALL_RETRY};
use crate::metrics::Metrics;

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    Registered(Result<Registered, MetadataError>),
    Reserved {
        segment: SegmentId,
        answer: Result<ReserveReply, ReserveError>,
    },
    Uploaded {
        segment: SegmentId,
        answer: Result<Uploaded, UploadError>,
    },
    Ended {
        session: SessionId,
        end: SessionEnd,
    },
}

/// Whom to call.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) sequencer: Arc<dyn Sequencer>,
    pub(crate) chain: Chain,
    pub(crate) cache: Arc<dyn SegmentCache>,
    pub(crate) env: Env,
    pub(crate) metrics: Arc<Metrics>,
}

/// Calls under way.
#[derive(Debug)]
pub(crate) struct Calls {
    peers: Peers,
    reserve_timeout: Duration,
    register_timeout: Duration,
    tasks: TaskGroup,
    sender: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
}

impl Calls {
    pub(crate) fn new(peers: Peers, config: &IngestConfig) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS_QUEUED_MAX);
        Self {
            peers,
            reserve_timeout: config.reserve_timeout,
            register_timeout: config.register_timeout,
            tasks: TaskGroup::new("ingest calls"),
            sender,
            answers,
        }
    }

    /// The next answer. Cancel safe.
    ///
    /// # Errors
    /// [`TaskFailure`]: a call panicked.
    pub(crate) async fn next(&mut self) -> Result<Answer, TaskFailure> {
        loop {
            tokio::select! {
                biased;
                Some(answer) = self.answers.recv() => return Ok(answer),
                Some(ended) = self.tasks.join_next() => ended?,
                else => std::future::pending().await,
            }
        }
    }

    pub(crate) fn register(&mut self, replaces: Option<SessionId>) {
        let peers = self.peers.clone();
        let (limit, sender) = (self.register_timeout, self.sender.clone());
        self.tasks.spawn(async move {
            let call = peers.sequencer.register(replaces);
            let answer = timeout(peers.env.clock.as_ref(), limit, call).await;
            let answer = answer.unwrap_or(Err(MetadataError::Unknown));
            report(&sender, Answer::Registered(answer)).await;
        });
    }

    pub(crate) fn reserve(&mut self, request: ReserveRequest, over: Shutdown) {
        let peers = self.peers.clone();
        let limit = self.reserve_timeout;
        let (session, index) = (request.session, request.index);
        let segment = SegmentId { session, index };
        let span = tracing::debug_span!("ingest.reserve", %session, %index);
        self.spawn_until(over, async move {
            let clock = peers.env.clock.as_ref();
            let begin = clock.now();
            let call = peers.sequencer.reserve(request).instrument(span);
            let answer = timeout(clock, limit, call).await;
            let answer = answer.unwrap_or(Err(ReserveError::Metadata(MetadataError::Unknown)));
            peers.metrics.reserved(clock.now().since(begin));
            Answer::Reserved { segment, answer }
        });
    }

    pub(crate) fn upload(&mut self, segment: SegmentId, object: Bytes, over: Shutdown) {
        let peers = self.peers.clone();
        self.spawn_until(over, async move {
            let begin = peers.env.clock.now();
            let answer = peers.chain.upload(segment, object.clone()).await;
            if answer.is_ok() {
                peers.cache.insert(segment, object);
            }
            peers.metrics.uploaded(peers.env.clock.now().since(begin));
            Answer::Uploaded { segment, answer }
        });
    }

    /// Asks for the session's end until it is told.
    pub(crate) fn end(&mut self, session: SessionId, over: Shutdown) {
        let peers = self.peers.clone();
        let limit = self.register_timeout;
        self.spawn_until(over, async move {
            let mut backoff = CALL_RETRY.begin();
            loop {
                if let Some(end) = peers.end_once(session, limit).await {
                    return Answer::Ended { session, end };
                }
                let delay = backoff.next_delay(&peers.env.rng);
                let delay = delay.unwrap_or(CALL_RETRY.delay_max);
                peers.env.clock.sleep(delay).await;
            }
        });
    }

    /// Asks for the session's end once; for the way out.
    pub(crate) async fn end_once(&self, session: SessionId, limit: Duration) -> Option<SessionEnd> {
        self.peers.end_once(session, limit).await
    }

    fn spawn_until(&mut self, over: Shutdown, call: impl Future<Output = Answer> + Send + 'static) {
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = over.requested() => {}
                answer = call => report(&sender, answer).await,
            }
        });
    }
}

impl Peers {
    async fn end_once(&self, session: SessionId, limit: Duration) -> Option<SessionEnd> {
        let call = self.sequencer.end_session(session);
        let answer = timeout(self.env.clock.as_ref(), limit, call).await;
        match answer {
            Ok(Ok(end)) => Some(end),
            Ok(Err(error)) => {
                tracing::debug!(%session, %error, "session end not told");
                None
            }
            Err(error) => {
                tracing::debug!(%session, %error, "session end not told");
                None
            }
        }
    }
}

async fn report(sender: &mpsc::Sender<Answer>, answer: Answer) {
    // The receiver lives as long as the tasks: in `Calls`.
    let _ = sender.send(answer).await;
}

#[cfg(test)]
mod tests;
