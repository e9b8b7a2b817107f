//! Calls between pods, and from clients to pods: late, lost on either way, doubled, cut off.
//!
//! A call runs as a task of the pod that is called, so it stops with it and dies with it. What
//! carries it runs in the world.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt as _, select};
use tokio::sync::oneshot;

use crate::clock::sleep;
use crate::pods::Incarnation;
use crate::world::{Place, World};

/// A call without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Nobody took it.
    NotSent,
    /// It may have been executed, or may still be.
    Lost,
}

/// Longest wait for an answer, whatever the caller's own patience.
const CALL_TIME: Duration = Duration::from_secs(60);

/// How a call is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) from: Place,
    pub(crate) to: usize,
    pub(crate) what: &'static str,
    /// May be delivered twice.
    pub(crate) is_idempotent: bool,
}

/// Runs on the pod that is called; `None` when it has no such part.
pub(crate) type Make<T> =
    Box<dyn Fn(&Incarnation) -> Option<BoxFuture<'static, T>> + Send + Sync + 'static>;

impl World {
    pub(crate) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        make: Make<T>,
    ) -> Result<T, CallError> {
        let (reply, answer) = oneshot::channel();
        let world = Arc::clone(self);
        self.spawn(async move {
            let answer = world.carry(call, make).await;
            let told = match &answer {
                Ok(_) => "answered",
                Err(CallError::NotSent) => "not sent",
                Err(CallError::Lost) => "lost",
            };
            world.event(format_args!(
                "{} {:?}->{}: {told}",
                call.what, call.from, call.to
            ));
            // The caller may have given up, or be dead.
            let _ = reply.send(answer);
        });
        answer.await.unwrap_or(Err(CallError::Lost))
    }

    async fn carry<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        make: Make<T>,
    ) -> Result<T, CallError> {
        let (here, there) = (call.from, Place::Pod(call.to));
        sleep(self.way(here, there)).await;
        if self.is_cut(here, there) {
            self.count_fault("network cut: request");
            return self.nothing_comes_back().await;
        }
        if self.is_lost() {
            self.count_fault("network loss: request");
            return self.nothing_comes_back().await;
        }
        let Some(answer) = self.begin(call.to, &make) else {
            return Err(CallError::NotSent);
        };
        if call.is_idempotent && self.is_lost() {
            self.count_fault("network doubles a request");
            let (world, delay) = (Arc::clone(self), self.way(here, there) * 20);
            self.spawn(async move {
                sleep(delay).await;
                if let Some(second) = world.begin(call.to, &make) {
                    let _nobody_waits = second.await;
                }
            });
        }
        let answered = match select(answer, sleep(CALL_TIME)).await {
            Either::Left((answered, _)) => answered,
            Either::Right(((), _)) => return Err(CallError::Lost),
        };
        sleep(self.way(there, here)).await;
        // The process died with it.
        let Ok(answered) = answered else {
            return Err(CallError::Lost);
        };
        if self.is_cut(there, here) {
            self.count_fault("network cut: reply");
            return self.nothing_comes_back().await;
        }
        if self.is_lost() {
            self.count_fault("network loss: reply");
            return self.nothing_comes_back().await;
        }
        Ok(answered)
    }

    /// A broken connection at once, or silence.
    async fn nothing_comes_back<T>(&self) -> Result<T, CallError> {
        if self.chance(50) {
            sleep(CALL_TIME).await;
        }
        Err(CallError::Lost)
    }

    /// Starts it on the pod, if that lives.
    fn begin<T: Send + 'static>(&self, to: usize, make: &Make<T>) -> Option<oneshot::Receiver<T>> {
        let slot = self.pods.get(to)?;
        let mut life = slot.life();
        let incarnation = life.as_mut()?;
        let work = make(incarnation)?;
        let (done, answer) = oneshot::channel();
        incarnation.spawn(
            async move {
                // Nobody may wait any more.
                let _ = done.send(work.await);
            }
            .boxed(),
        );
        Some(answer)
    }
}
