//! One call over several servers: to the one that leads, and on only from where nothing was done.

use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_env::timeout;
use esker_metadata_api::MetadataError;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tonic::Streaming;

use super::Inner;
use super::connection::{CallNote, Connection, NoAnswer};
use super::peer::{Address, Peer};
use crate::convert::{Reply, kind_of};
use crate::limits::{ADDRESSES_LEARNED_MAX, ADDRESSES_MAX};
use crate::metrics::add_one;
use crate::proto::{Failure, refusal::Reason};

/// Servers that one call asks: each known one, and one twice when its connection had just ended.
const TRIES_MAX: usize = 2 * (ADDRESSES_MAX + ADDRESSES_LEARNED_MAX);

/// An answer that may be that there is none.
pub(super) trait Answer: Send + 'static {
    fn failure(&self) -> Option<&Failure>;
}

impl<R: Reply> Answer for R {
    fn failure(&self) -> Option<&Failure> {
        Reply::failure(self)
    }
}

/// An answer in parts, of which the first is here.
#[derive(Debug)]
pub(super) struct Opened<R> {
    pub(super) first: R,
    pub(super) rest: Streaming<R>,
}

impl<R: Reply> Answer for Opened<R> {
    fn failure(&self) -> Option<&Failure> {
        self.first.failure()
    }
}

/// What a try with one server came to.
enum Tried<A> {
    Answered(A),
    /// Nothing was done there; `Some` when that is more than "nobody leads there".
    Elsewhere(Option<MetadataError>),
    /// As [`Tried::Elsewhere`], but the same server may be asked again: its connection ended.
    Again,
    Ended(MetadataError),
}

type Asking<A> = BoxFuture<'static, Result<A, NoAnswer>>;

impl Inner {
    /// Asks for one answer.
    pub(super) async fn ask<Q, R>(
        &self,
        method: &'static str,
        deadline: Duration,
        question: Q,
    ) -> Result<R, MetadataError>
    where
        Q: prost::Message + Clone + 'static,
        R: Reply,
    {
        self.ask_in(method, deadline, question, |_, _| {}).await
    }

    /// Asks for one answer, with a question that `fit` makes one of a connection's version.
    pub(super) async fn ask_in<Q, R>(
        &self,
        method: &'static str,
        deadline: Duration,
        question: Q,
        fit: fn(&mut Q, u32),
    ) -> Result<R, MetadataError>
    where
        Q: prost::Message + Clone + 'static,
        R: Reply,
    {
        // Nothing was sent, and a queue is full: that of bytes.
        if question.encoded_len() > self.config.message_bytes_max {
            return Err(MetadataError::Overloaded);
        }
        let note = CallNote::new(method, deadline);
        let noted = note.clone();
        let call = self.route(&note, move |connection| {
            let (note, mut question) = (noted.clone(), question.clone());
            fit(&mut question, connection.protocol());
            async move { connection.unary(&note, question).await }.boxed()
        });
        self.bounded(&note, call.boxed()).await
    }

    /// Asks for an answer in parts; the deadline is that of the first.
    pub(super) async fn open<Q, R>(
        &self,
        method: &'static str,
        question: Q,
    ) -> Result<Opened<R>, MetadataError>
    where
        Q: prost::Message + Clone + 'static,
        R: Reply,
    {
        let note = CallNote::new(method, self.config.deadlines.call);
        let noted = note.clone();
        let call = self.route(&note, move |connection| {
            let (note, question) = (noted.clone(), question.clone());
            async move {
                let (first, rest) = connection.streaming(&note, question).await?;
                Ok(Opened { first, rest })
            }
            .boxed()
        });
        self.bounded(&note, call.boxed()).await
    }

    async fn bounded<A>(
        &self,
        note: &CallNote,
        call: BoxFuture<'_, Result<A, MetadataError>>,
    ) -> Result<A, MetadataError> {
        let Ok(_permit) = self.calls.try_acquire() else {
            return Err(MetadataError::Overloaded);
        };
        add_one(&self.metrics.calls);
        let answer = timeout(self.env.clock.as_ref(), note.deadline, call).await;
        let answer = answer.unwrap_or(Err(if note.is_sent() {
            MetadataError::Unknown
        } else {
            MetadataError::Unavailable
        }));
        if matches!(answer, Err(MetadataError::Unknown)) {
            add_one(&self.metrics.unknown);
        }
        answer
    }

    async fn route<A: Answer>(
        &self,
        note: &CallNote,
        ask: impl Fn(Connection) -> Asking<A> + Send,
    ) -> Result<A, MetadataError> {
        let mut asked: Vec<Address> = Vec::new();
        let mut may_repeat = true;
        let mut why = MetadataError::Unavailable;
        for _ in 0..TRIES_MAX {
            let Some(peer) = self.peers.next(&asked) else {
                break;
            };
            let tried = match peer.connection(&self.env).await {
                Ok(connection) => self.judge(note, &peer, ask(connection).await),
                Err(_) => {
                    self.peers.demote(&peer.address, "");
                    Tried::Elsewhere(None)
                }
            };
            match tried {
                Tried::Answered(answer) => return Ok(answer),
                Tried::Ended(error) => return Err(error),
                Tried::Again if may_repeat => may_repeat = false,
                Tried::Again => asked.push(peer.address),
                Tried::Elsewhere(error) => {
                    why = error.unwrap_or(why);
                    asked.push(peer.address);
                }
            }
        }
        Err(why)
    }

    fn judge<A: Answer>(
        &self,
        note: &CallNote,
        peer: &Peer,
        answer: Result<A, NoAnswer>,
    ) -> Tried<A> {
        let address = &peer.address;
        let answer = match answer {
            Ok(answer) => answer,
            Err(NoAnswer::NotSent) => return Tried::Again,
            Err(NoAnswer::Refused(reason)) => return refused(note, address, &reason),
            Err(NoAnswer::Lost(status)) => {
                tracing::debug!(
                    %address, method = note.method, %status, "outcome of a call is unknown"
                );
                return Tried::Ended(MetadataError::Unknown);
            }
        };
        let Some(failure) = answer.failure() else {
            self.peers.prefer(address);
            return Tried::Answered(answer);
        };
        let error = kind_of(failure);
        match error {
            MetadataError::Unavailable => {
                self.peers.demote(address, &failure.leader);
                note.sent.store(false, Ordering::Relaxed);
                Tried::Elsewhere(None)
            }
            MetadataError::Recovering => {
                note.sent.store(false, Ordering::Relaxed);
                Tried::Elsewhere(Some(error))
            }
            MetadataError::Deposed => {
                self.peers.demote(address, &failure.leader);
                Tried::Ended(error)
            }
            MetadataError::Unknown | MetadataError::Overloaded => Tried::Ended(error),
        }
    }
}

fn refused<A>(note: &CallNote, address: &Address, reason: &Reason) -> Tried<A> {
    match reason {
        Reason::Overloaded(_) | Reason::TooLarge(_) => Tried::Ended(MetadataError::Overloaded),
        Reason::Stopping(_) => Tried::Elsewhere(None),
        Reason::Protocols(_) | Reason::OtherCluster(_) | Reason::Malformed(_) => {
            tracing::error!(
                %address, method = note.method, ?reason, "metadata server refused a call"
            );
            Tried::Elsewhere(None)
        }
    }
}
