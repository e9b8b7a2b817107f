//! The conditional create of `DurableBucket`: attempts, hedges, and who is there when in doubt.
//!
//! Doubt = some attempt may have been executed, or may still be. It never goes away again: from
//! then on the answer is what the key shows, or `Unknown`.

use std::time::Duration;

use bytes::Bytes;
use esker_env::timeout;
use esker_types::{ByteRange, Planted, planted};
use futures::future::{BoxFuture, Either, FutureExt as _, select};

use crate::{
    IDENTITY_BYTES, ObjectKey, Operation, PutOutcome, ReadRange, RequestOutcome, StoreError,
    StoreErrorKind,
};

use super::{DurableBucket, byte_count, check_length, is_passing, outcome_of, weigh_read};

const MIB: u64 = 1024 * 1024;

/// Who holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Us,
    Another,
    Nobody,
}

/// What an attempt left behind when it did not settle the put.
#[derive(Debug)]
struct Unsettled {
    error: StoreError,
    /// It may have been executed, or may still be.
    in_doubt: bool,
}

impl DurableBucket {
    pub(super) async fn put(&self, key: &ObjectKey, body: Bytes) -> PutOutcome {
        let mut progress = self.begin();
        self.hedges.earn();
        let mut in_doubt = false;
        let mut hedge_delay = self.hedge_delay(&body);
        loop {
            let unsettled = match self.attempt(key, &body, hedge_delay.take()).await {
                Ok(settled) => return settled,
                Err(unsettled) => unsettled,
            };
            in_doubt |= unsettled.in_doubt;
            let error = unsettled.error;
            if !in_doubt && !is_passing(error.kind) {
                return PutOutcome::Refused(error);
            }
            tracing::debug!(%key, in_doubt, error = ?error, "put attempt failed");
            if in_doubt && !is_passing(error.kind) {
                return PutOutcome::Unknown(error);
            }
            if !self.wait_to_retry(&mut progress, Operation::Put).await {
                return exhausted(key, error, in_doubt);
            }
            // A store that asks for less is not asked twice: the put itself will tell.
            if in_doubt
                && error.kind != StoreErrorKind::Throttled
                && let Some(settled) = self.settle_by_look(key, &body).await
            {
                return settled;
            }
        }
    }

    /// Looks who is there; `None` when nobody is or the look failed: put again.
    async fn settle_by_look(&self, key: &ObjectKey, body: &Bytes) -> Option<PutOutcome> {
        match self.who(key, body).await {
            Ok(Holder::Us) => Some(PutOutcome::AlreadyOurs),
            Ok(Holder::Another) => Some(PutOutcome::Exists),
            Ok(Holder::Nobody) => None,
            Err(error) => {
                tracing::debug!(%key, error = ?error, "look after a put in doubt failed");
                None
            }
        }
    }

    /// One attempt, hedged if it is slow. `Ok` settles the put.
    async fn attempt(
        &self,
        key: &ObjectKey,
        body: &Bytes,
        hedge_delay: Option<Duration>,
    ) -> Result<PutOutcome, Unsettled> {
        let start = self.env.clock.now();
        let outcome = self.put_hedged(key, body, hedge_delay).await;
        match outcome {
            PutOutcome::Created => {
                let elapsed = self.env.clock.now().since(start);
                self.latencies.record(byte_count(body), elapsed);
                Ok(PutOutcome::Created)
            }
            PutOutcome::AlreadyOurs => Ok(PutOutcome::AlreadyOurs),
            // The one who is there may be our own earlier attempt, or our hedge.
            PutOutcome::Exists => match self.who(key, body).await {
                Ok(Holder::Us) => Ok(PutOutcome::AlreadyOurs),
                Ok(Holder::Another) if planted(Planted::AnotherIsOurs) => {
                    Ok(PutOutcome::AlreadyOurs)
                }
                Ok(Holder::Another) => Ok(PutOutcome::Exists),
                Ok(Holder::Nobody) => {
                    let error = StoreError::new("put", key, StoreErrorKind::Retry);
                    Err(Unsettled {
                        error,
                        in_doubt: true,
                    })
                }
                Err(error) => Err(Unsettled {
                    error,
                    in_doubt: true,
                }),
            },
            PutOutcome::Unknown(error) => Err(Unsettled {
                error,
                in_doubt: true,
            }),
            PutOutcome::Refused(error) => Err(Unsettled {
                error,
                in_doubt: false,
            }),
        }
    }

    /// The first put, and a second one with the same bytes if the first takes long. The loser is
    /// dropped, which aborts it.
    async fn put_hedged(
        &self,
        key: &ObjectKey,
        body: &Bytes,
        hedge_delay: Option<Duration>,
    ) -> PutOutcome {
        let first = self.put_once(key, body.clone());
        let Some(delay) = hedge_delay else {
            return first.await;
        };
        let first = match select(first, self.env.clock.sleep(delay)).await {
            Either::Left((outcome, _)) => return outcome,
            Either::Right(((), first)) => first,
        };
        if !self.hedges.take(self.env.clock.now()) {
            return first.await;
        }
        self.meter.record_hedge();
        let second = self.put_once(key, body.clone());
        let (early, other) = match select(first, second).await {
            Either::Left((outcome, other)) | Either::Right((outcome, other)) => (outcome, other),
        };
        match early {
            // Somebody is there. The other put can only meet the same, and `attempt` looks.
            PutOutcome::Created | PutOutcome::AlreadyOurs | PutOutcome::Exists => early,
            PutOutcome::Unknown(_) | PutOutcome::Refused(_) => merge(early, other.await),
        }
    }

    fn hedge_delay(&self, body: &Bytes) -> Option<Duration> {
        let slow = self
            .latencies
            .ninety_fifth(byte_count(body), self.config.hedge_samples_min)?;
        Some(slow.max(self.config.hedge_delay_min))
    }

    /// One put with a deadline, counted.
    fn put_once<'a>(&'a self, key: &'a ObjectKey, body: Bytes) -> BoxFuture<'a, PutOutcome> {
        async move {
            let mut in_flight = self.in_flight(Operation::Put, key);
            let body_bytes = byte_count(&body);
            in_flight.bytes = body_bytes;
            let mib = u32::try_from(body_bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
            let body_time = self.config.attempt_timeout_per_mib.saturating_mul(mib);
            let limit = self.config.attempt_timeout.saturating_add(body_time);
            let put = self.inner.put_if_absent(key, body);
            let outcome = match timeout(self.env.clock.as_ref(), limit, put).await {
                Ok(outcome) => outcome,
                Err(elapsed) => {
                    in_flight.outcome = RequestOutcome::TimedOut;
                    let error = StoreError::new("put", key, StoreErrorKind::Retry);
                    return PutOutcome::Unknown(error.caused_by(elapsed));
                }
            };
            in_flight.outcome = match &outcome {
                PutOutcome::Created | PutOutcome::AlreadyOurs => RequestOutcome::Ok,
                PutOutcome::Exists => RequestOutcome::Exists,
                PutOutcome::Unknown(error) | PutOutcome::Refused(error) => outcome_of(error),
            };
            outcome
        }
        .boxed()
    }

    /// Reads the first bytes at `key` and compares them, and the length, with ours.
    async fn who(&self, key: &ObjectKey, body: &Bytes) -> Result<Holder, StoreError> {
        let front = &body[..body.len().min(IDENTITY_BYTES)];
        let front_bytes = u64::try_from(IDENTITY_BYTES).unwrap_or(u64::MAX);
        let range = ByteRange::new(0, front_bytes).map_or(ReadRange::Full, ReadRange::Bounded);
        let look = async move { check_length(key, range, self.inner.get(key, range).await?) };
        let found = self
            .request(Operation::Get, key, look.boxed(), weigh_read)
            .await?;
        Ok(match found {
            None => Holder::Nobody,
            Some(read) if read.bytes == front && read.object_bytes == byte_count(body) => {
                Holder::Us
            }
            Some(_) => Holder::Another,
        })
    }
}

/// The answer of two puts of which neither found the key taken or free at first: doubt wins.
fn merge(early: PutOutcome, late: PutOutcome) -> PutOutcome {
    match (early, late) {
        (_, PutOutcome::Created) => PutOutcome::Created,
        (_, PutOutcome::AlreadyOurs) => PutOutcome::AlreadyOurs,
        (_, PutOutcome::Exists) => PutOutcome::Exists,
        (PutOutcome::Refused(_), late) => late,
        (early, PutOutcome::Refused(_) | PutOutcome::Unknown(_)) => early,
    }
}

fn exhausted(key: &ObjectKey, error: StoreError, in_doubt: bool) -> PutOutcome {
    let exhausted = StoreError::new("put", key, StoreErrorKind::Exhausted).caused_by(error);
    if in_doubt {
        PutOutcome::Unknown(exhausted)
    } else {
        PutOutcome::Refused(exhausted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> StoreError {
        StoreError::new("put", &ObjectKey::cluster(), StoreErrorKind::Denied)
    }

    #[test]
    fn of_two_puts_a_doubtful_one_is_never_hidden_by_a_refused_one() {
        let unknown = || PutOutcome::Unknown(error());
        let refused = || PutOutcome::Refused(error());

        assert!(matches!(
            merge(refused(), unknown()),
            PutOutcome::Unknown(_)
        ));
        assert!(matches!(
            merge(unknown(), refused()),
            PutOutcome::Unknown(_)
        ));
        assert!(matches!(
            merge(unknown(), unknown()),
            PutOutcome::Unknown(_)
        ));
        assert!(matches!(
            merge(refused(), refused()),
            PutOutcome::Refused(_)
        ));
        for early in [unknown(), refused()] {
            assert!(matches!(
                merge(early, PutOutcome::Created),
                PutOutcome::Created
            ));
        }
        for early in [unknown(), refused()] {
            assert!(matches!(
                merge(early, PutOutcome::Exists),
                PutOutcome::Exists
            ));
        }
    }
}
