//! The start-up probe: proves on the raw back end that conditional create is atomic, also under a
//! race, and that a write is read back at once. A store that fails it must not be used.
//!
//! Cost: about 30 small requests, most of them at once; nothing is left behind. Stores that let the
//! losers of a race wait take seconds for it: what has passed once may start before it has again.

use std::time::Duration;

use bytes::Bytes;
use esker_env::{Backoff, Env, RetryPolicy, timeout};
use esker_types::{ByteRange, ClusterId, ObjectHeader, ObjectKind};

use crate::{Bucket, ObjectKey, PutOutcome, ReadRange, StoreError, StoreErrorKind};

/// Rounds of the race, each on a key of its own.
const ROUNDS: usize = 2;
/// Writers that race for one key.
const WRITERS: usize = 8;
/// The probe runs below `DurableBucket` and so brings its own few retries.
const RETRY: RetryPolicy = RetryPolicy {
    delay_first: Duration::from_millis(50),
    delay_max: Duration::from_secs(1),
    tries_max: 4,
};
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Races with exactly one winner.
    pub races_won_once: usize,
    /// Time it took.
    pub elapsed: Duration,
}

/// Why the store must not be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A second create of one key succeeded.
    #[error(
        "the store has no conditional create: a second create of {key} was not refused; use a \
         store that honours If-None-Match, or check what stands between"
    )]
    NoConditionalCreate {
        /// The key that was created twice.
        key: ObjectKey,
    },
    /// Several writers created one key, or the bytes there are not the winner's.
    #[error(
        "the store loses races: of {WRITERS} writers of {key} {winners} won, and one must; \
         records would be lost, use another store"
    )]
    RaceLost {
        /// The key they raced for.
        key: ObjectKey,
        /// Writers that were told they won.
        winners: usize,
    },
    /// A write was not read back as written.
    #[error(
        "the store does not read back what it has just stored at {key} ({range:?}); use a store \
         with read-after-write consistency and byte ranges"
    )]
    ReadAfterWrite {
        /// The key.
        key: ObjectKey,
        /// What was read.
        range: ReadRange,
    },
    /// Wrong credentials or rights.
    #[error(
        "the store denies access: check the credentials and that they may read, create and \
         list below the prefix"
    )]
    Denied(#[source] StoreError),
    /// The bucket is not there.
    #[error("the bucket does not exist: create it, or check its name, region and endpoint")]
    NoBucket(#[source] StoreError),
    /// Anything else.
    #[error("the store could not be probed: check that its endpoint is right and that it is up")]
    Store(#[source] StoreError),
}

impl From<StoreError> for ProbeError {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Denied => Self::Denied(error),
            StoreErrorKind::NoBucket => Self::NoBucket(error),
            StoreErrorKind::Retry
            | StoreErrorKind::Throttled
            | StoreErrorKind::Full
            | StoreErrorKind::Unsupported
            | StoreErrorKind::Exhausted => Self::Store(error),
        }
    }
}

/// Probes `bucket`, a single-attempt back end.
///
/// # Errors
/// [`ProbeError`]: what is wrong and what to do about it. The process must not start.
///
/// # Cancel safety
/// Dropping it leaves a few objects below `probe/`, which nothing reads.
pub async fn probe(bucket: &dyn Bucket, env: &Env) -> Result<ProbeReport, ProbeError> {
    let start = env.clock.now();
    // A denied or missing bucket answers here, before anything else is asked.
    probe_conditions(bucket, env).await?;
    probe_races(bucket, env).await?;
    Ok(ProbeReport {
        races_won_once: ROUNDS,
        elapsed: env.clock.now().since(start),
    })
}

/// The first half of [`probe`]: one create after the other, and reads. About 7 requests in
/// sequence.
///
/// # Errors
/// As [`probe`], but for lost races.
///
/// # Cancel safety
/// As [`probe`].
pub async fn probe_conditions(bucket: &dyn Bucket, env: &Env) -> Result<(), ProbeError> {
    create_twice_and_read(bucket, env).await
}

/// The second half of [`probe`]: creates of one key at once.
///
/// # Errors
/// [`ProbeError::RaceLost`]: the process must stop. Anything else: the store could not be asked.
///
/// # Cancel safety
/// As [`probe`].
pub async fn probe_races(bucket: &dyn Bucket, env: &Env) -> Result<(), ProbeError> {
    let races = (0..ROUNDS).map(|_| race(bucket, env));
    let raced = futures::future::join_all(races).await;
    raced.into_iter().collect()
}

/// A header without a body: the objects of two writes differ in their write ids.
fn body(env: &Env) -> Bytes {
    let header = ObjectHeader {
        kind: ObjectKind::Probe,
        cluster: ClusterId::from_bytes([0; 16]),
        write_id: env.rng.write_id(),
        body_bytes: 0,
        body_crc: 0,
    };
    Bytes::copy_from_slice(&header.encode())
}

/// Whether our create won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Won,
    Lost,
}

async fn create_twice_and_read(bucket: &dyn Bucket, env: &Env) -> Result<(), ProbeError> {
    let key = ObjectKey::probe(env.rng.write_id());
    let (first, second) = (body(env), body(env));
    let won = create(bucket, env, &key, &first).await?;
    if won == Verdict::Lost {
        return Err(ProbeError::ReadAfterWrite {
            key,
            range: ReadRange::Full,
        });
    }
    let middle = ByteRange::new(8, 24).map_or(ReadRange::Full, ReadRange::Bounded);
    for (range, wanted) in [
        (ReadRange::Full, first.clone()),
        (middle, first.slice(8..24)),
        (ReadRange::Suffix(16), first.slice(first.len() - 16..)),
    ] {
        let read = read(bucket, env, &key, range).await?;
        if read.is_none_or(|bytes| bytes != wanted) {
            return Err(ProbeError::ReadAfterWrite { key, range });
        }
    }
    if create(bucket, env, &key, &second).await? == Verdict::Won {
        return Err(ProbeError::NoConditionalCreate { key });
    }
    if read(bucket, env, &key, ReadRange::Full)
        .await?
        .is_none_or(|bytes| bytes != first)
    {
        return Err(ProbeError::NoConditionalCreate { key });
    }
    remove(bucket, env, &key).await;
    Ok(())
}

async fn race(bucket: &dyn Bucket, env: &Env) -> Result<(), ProbeError> {
    let key = ObjectKey::probe(env.rng.write_id());
    let bodies: Vec<Bytes> = std::iter::repeat_with(|| body(env)).take(WRITERS).collect();
    let creates = bodies.iter().map(|body| create(bucket, env, &key, body));
    let mut winners = Vec::new();
    for (verdict, body) in futures::future::join_all(creates)
        .await
        .into_iter()
        .zip(&bodies)
    {
        if verdict? == Verdict::Won {
            winners.push(body);
        }
    }
    let stays = read(bucket, env, &key, ReadRange::Full).await?;
    let fair = winners.len() == 1 && winners.first().copied() == stays.as_ref();
    if !fair {
        return Err(ProbeError::RaceLost {
            key,
            winners: winners.len(),
        });
    }
    remove(bucket, env, &key).await;
    Ok(())
}

/// One create, asked again when it fails in passing; in doubt the key itself tells who won.
async fn create(
    bucket: &dyn Bucket,
    env: &Env,
    key: &ObjectKey,
    body: &Bytes,
) -> Result<Verdict, ProbeError> {
    let mut backoff = RETRY.begin();
    let mut in_doubt = false;
    loop {
        let put = bucket.put_if_absent(key, body.clone());
        let error = match timeout(env.clock.as_ref(), REQUEST_TIMEOUT, put).await {
            Ok(PutOutcome::Created | PutOutcome::AlreadyOurs) => return Ok(Verdict::Won),
            Ok(PutOutcome::Exists) if !in_doubt => return Ok(Verdict::Lost),
            Ok(PutOutcome::Exists) => StoreError::new("put", key, StoreErrorKind::Retry),
            Ok(PutOutcome::Unknown(error) | PutOutcome::Refused(error)) => error,
            Err(elapsed) => StoreError::new("put", key, StoreErrorKind::Retry).caused_by(elapsed),
        };
        in_doubt = true;
        retry_or_fail(env, &mut backoff, error).await?;
        match read(bucket, env, key, ReadRange::Full).await? {
            Some(found) if found == *body => return Ok(Verdict::Won),
            Some(_) => return Ok(Verdict::Lost),
            None => {}
        }
    }
}

async fn retry_or_fail(
    env: &Env,
    backoff: &mut Backoff,
    error: StoreError,
) -> Result<(), ProbeError> {
    let passing = matches!(
        error.kind,
        StoreErrorKind::Retry | StoreErrorKind::Throttled
    );
    match backoff.next_delay(&env.rng) {
        Some(delay) if passing => {
            env.clock.sleep(delay).await;
            Ok(())
        }
        Some(_) | None => Err(error.into()),
    }
}

async fn read(
    bucket: &dyn Bucket,
    env: &Env,
    key: &ObjectKey,
    range: ReadRange,
) -> Result<Option<Bytes>, ProbeError> {
    let mut backoff = RETRY.begin();
    loop {
        let get = bucket.get(key, range);
        let error = match timeout(env.clock.as_ref(), REQUEST_TIMEOUT, get).await {
            Ok(Ok(found)) => return Ok(found.map(|read| read.bytes)),
            Ok(Err(error)) => error,
            Err(elapsed) => StoreError::new("get", key, StoreErrorKind::Retry).caused_by(elapsed),
        };
        retry_or_fail(env, &mut backoff, error).await?;
    }
}

/// Best effort: the right to delete is not needed to serve.
async fn remove(bucket: &dyn Bucket, env: &Env, key: &ObjectKey) {
    let delete = bucket.delete(key);
    match timeout(env.clock.as_ref(), REQUEST_TIMEOUT, delete).await {
        Ok(Ok(())) => {}
        failed => tracing::debug!(%key, ?failed, "probe object could not be deleted"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::{BoxFuture, FutureExt as _};

    use super::*;
    use crate::{
        Fault, FaultRule, FaultyBucket, ListedObject, LocalBucket, MemoryBucket, ObjectRead,
        Operation,
    };

    /// A store without conditional create; with `check_first`, one that checks and then writes.
    #[derive(Debug)]
    struct Careless {
        memory: MemoryBucket,
        check_first: bool,
    }

    impl Bucket for Careless {
        fn put_if_absent<'a>(
            &'a self,
            key: &'a ObjectKey,
            body: Bytes,
        ) -> BoxFuture<'a, PutOutcome> {
            async move {
                if self.check_first && matches!(self.memory.head(key).await, Ok(Some(_))) {
                    return PutOutcome::Exists;
                }
                tokio::task::yield_now().await;
                let _ = self.memory.delete(key).await;
                self.memory.put_if_absent(key, body).await
            }
            .boxed()
        }

        fn get<'a>(
            &'a self,
            key: &'a ObjectKey,
            range: ReadRange,
        ) -> BoxFuture<'a, Result<Option<ObjectRead>, StoreError>> {
            self.memory.get(key, range)
        }

        fn head<'a>(
            &'a self,
            key: &'a ObjectKey,
        ) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
            self.memory.head(key)
        }

        fn list_after<'a>(
            &'a self,
            prefix: &'a ObjectKey,
            after: Option<&'a ObjectKey>,
            count_max: usize,
        ) -> BoxFuture<'a, Result<Vec<ListedObject>, StoreError>> {
            self.memory.list_after(prefix, after, count_max)
        }

        fn delete<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<(), StoreError>> {
            self.memory.delete(key)
        }
    }

    #[tokio::test]
    async fn a_sound_directory_passes_in_under_a_second_and_stays_clean() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = LocalBucket::open(directory.path()).await.unwrap();
        let env = Env::system();

        let report = probe(&bucket, &env).await.unwrap();

        assert!(report.elapsed < Duration::from_secs(1), "{report:?}");
        let everything = ObjectKey::from_listing("probe/").unwrap();
        assert_eq!(bucket.list_after(&everything, None, 10).await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn stores_that_overwrite_or_race_are_refused() {
        let env = Env::system();
        let overwriting = Careless {
            memory: MemoryBucket::new(),
            check_first: false,
        };
        let racing = Careless {
            memory: MemoryBucket::new(),
            check_first: true,
        };

        let overwritten = probe(&overwriting, &env).await;
        let raced = probe(&racing, &env).await;
        let in_sequence = probe_conditions(&racing, &env).await;
        let at_once = probe_races(&racing, &env).await;

        assert!(matches!(
            overwritten,
            Err(ProbeError::NoConditionalCreate { .. })
        ));
        assert!(
            matches!(raced, Err(ProbeError::RaceLost { winners: 2.., .. })),
            "{raced:?}"
        );
        assert!(in_sequence.is_ok(), "only a race shows it");
        assert!(matches!(at_once, Err(ProbeError::RaceLost { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn each_refusal_of_the_store_is_told_apart() {
        let env = Env::system();
        let outcome = async |operation, fault, times| {
            let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
            bucket.add(FaultRule::new(fault).on(operation).times(times));
            probe(&bucket, &env).await
        };
        let refuse = |kind| Fault::Refuse(kind);

        let denied = outcome(Operation::Put, refuse(StoreErrorKind::Denied), 1).await;
        let missing = outcome(Operation::Put, refuse(StoreErrorKind::NoBucket), 1).await;
        let down = outcome(Operation::Put, Fault::HangBefore, 99).await;
        let stale = outcome(Operation::Get, Fault::Missing, 1).await;
        let flaky = outcome(Operation::Put, Fault::FailAfter(StoreErrorKind::Retry), 2).await;

        assert!(matches!(denied, Err(ProbeError::Denied(_))));
        assert!(matches!(missing, Err(ProbeError::NoBucket(_))));
        assert!(matches!(down, Err(ProbeError::Store(_))));
        assert!(matches!(stale, Err(ProbeError::ReadAfterWrite { .. })));
        assert!(flaky.is_ok(), "{flaky:?}");
    }
}
