//! The store: each right by itself, conditional writes with a race, how long everything takes, and
//! whose clock is right.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use esker_env::{Env, timeout};
use esker_object::{
    Bucket, ClusterFile, LocalBucket, LocalOpenError, MemoryBucket, ObjectKey, PutOutcome,
    ReadRange, S3Bucket, StoreError, StoreErrorKind, probe,
};
use esker_types::ByteRange;

use super::finding::{Examined, Finding, Timing};
use super::server::Running;
use crate::cli::exit::with_causes;
use crate::config::{ServeConfig, StoreUrl};
use crate::store::s3_config;

/// How often each operation is timed.
const ROUNDS: usize = 8;
const OBJECT_BYTES: usize = 1024;
/// No operation takes longer.
const OPERATION_MAX: Duration = Duration::from_secs(10);
/// A create that takes longer makes every acknowledgement slow.
const CREATE_SLOW: Duration = Duration::from_millis(500);
/// A difference of clocks to look at …
const SKEW_WARNING_MS: i64 = 5_000;
/// … and one with which requests are soon refused: AWS does at 15 minutes.
const SKEW_FAILED_MS: i64 = 5 * 60_000;

/// An open back end.
enum BackEnd {
    Memory(MemoryBucket),
    Directory(LocalBucket),
    S3(Box<S3Bucket>),
}

impl BackEnd {
    fn bucket(&self) -> &dyn Bucket {
        match self {
            Self::Memory(bucket) => bucket,
            Self::Directory(bucket) => bucket,
            Self::S3(bucket) => bucket.as_ref(),
        }
    }
}

pub(super) async fn examine(
    examined: &mut Examined,
    config: &ServeConfig,
    running: Running,
    env: &Env,
) {
    let Some(back_end) = open(examined, config, running, env).await else {
        return;
    };
    let bucket = back_end.bucket();
    let may_create = rights(examined, bucket, env).await;
    if may_create {
        conditions(examined, bucket, env).await;
    }
    cluster(examined, config, bucket, env).await;
    clock(examined, config, &back_end, env);
}

fn where_it_is(config: &ServeConfig) -> String {
    match &config.store {
        StoreUrl::Memory => "memory".to_owned(),
        StoreUrl::Directory(path) => format!("directory {}", path.display()),
        StoreUrl::S3 { bucket, prefix } => {
            let endpoint = config.s3.endpoint.as_deref().unwrap_or("AWS");
            format!("s3://{bucket}/{prefix} at {endpoint}")
        }
    }
}

async fn open(
    examined: &mut Examined,
    config: &ServeConfig,
    running: Running,
    env: &Env,
) -> Option<BackEnd> {
    let check = "store";
    let tried = format!("open {}", where_it_is(config));
    let (back_end, finding) = match &config.store {
        StoreUrl::Memory => {
            let to_do = "name a directory or an S3 bucket with --store to keep records";
            let happened = "everything is gone when the process ends";
            let finding = Finding::warning(check, tried, happened, to_do);
            (Some(BackEnd::Memory(MemoryBucket::new())), finding)
        }
        StoreUrl::Directory(path) => match LocalBucket::open(path).await {
            Ok(bucket) => {
                let finding = Finding::ok(check, tried, "it is there and free");
                (Some(BackEnd::Directory(bucket)), finding)
            }
            Err(error) => (None, not_opened(tried, &error, running)),
        },
        StoreUrl::S3 { bucket, prefix } => {
            let settings = s3_config(bucket, prefix, &config.s3);
            match S3Bucket::open(settings, env.clone()).await {
                Ok(bucket) => {
                    let finding = Finding::ok(check, tried, "settings and credentials are there");
                    (Some(BackEnd::S3(Box::new(bucket))), finding)
                }
                Err(error) => {
                    let happened = with_causes(&error);
                    let to_do = "correct --store, --s3-endpoint, --s3-region or the credentials";
                    (None, Finding::failed(check, tried, happened, to_do))
                }
            }
        }
    };
    examined.add(finding);
    back_end
}

fn not_opened(tried: String, error: &LocalOpenError, running: Running) -> Finding {
    let check = "store";
    let happened = with_causes(error);
    let to_do = match error {
        LocalOpenError::InUse { .. } if running == Running::Yes => {
            let words = format!("{happened}; the server that runs has it, and is asked instead");
            return Finding::skipped(check, tried, words);
        }
        LocalOpenError::InUse { .. } => "stop that process, or choose another directory: --store",
        LocalOpenError::Denied { .. } => "let this user read and write it, or choose another",
        LocalOpenError::Full { .. } => "make room on its disk, or choose another directory",
        LocalOpenError::Io { .. } => "correct the path, or choose another directory: --store",
    };
    Finding::failed(check, tried, happened, to_do)
}

/// What a right is called on S3, for the person who grants it.
fn advice(error: &StoreError, right: &str) -> String {
    match error.kind {
        StoreErrorKind::Denied => format!(
            "check the credentials, and grant them {right} on the bucket and everything below the \
             prefix"
        ),
        StoreErrorKind::NoBucket => {
            "create the bucket, or check its name, region and endpoint".to_owned()
        }
        StoreErrorKind::Full => "make room: the disk or the quota is used up".to_owned(),
        StoreErrorKind::Throttled => "raise the store's request limit, or try later".to_owned(),
        StoreErrorKind::Unsupported => {
            "use a store that can do it, or check what stands between".to_owned()
        }
        StoreErrorKind::Retry | StoreErrorKind::Exhausted => {
            "check that the endpoint is right and that the store is up".to_owned()
        }
    }
}

/// Runs one operation in time, and takes it.
async fn timed<T>(
    env: &Env,
    key: &ObjectKey,
    operation: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> (Duration, Result<T, StoreError>) {
    let begun = env.clock.now();
    let done = timeout(env.clock.as_ref(), OPERATION_MAX, work).await;
    let exhausted =
        |elapsed| StoreError::new(operation, key, StoreErrorKind::Exhausted).caused_by(elapsed);
    let done = done.unwrap_or_else(|elapsed| Err(exhausted(elapsed)));
    (env.clock.now().since(begun), done)
}

/// Only a create that was made is one.
async fn create(bucket: &dyn Bucket, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
    match bucket.put_if_absent(key, body).await {
        PutOutcome::Created | PutOutcome::AlreadyOurs => Ok(()),
        PutOutcome::Exists => Err(StoreError::new("put", key, StoreErrorKind::Unsupported)),
        PutOutcome::Unknown(error) | PutOutcome::Refused(error) => Err(error),
    }
}

struct Probing<'a> {
    examined: &'a mut Examined,
    env: &'a Env,
}

impl Probing<'_> {
    /// Does one thing several times; a failure ends it. Whether all went well.
    async fn right(
        &mut self,
        check: &'static str,
        (operation, right): (&'static str, &str),
        keys: &[ObjectKey],
        work: impl AsyncFn(&ObjectKey) -> Result<(), StoreError>,
    ) -> bool {
        let mut times = Vec::new();
        let mut failure = None;
        for key in keys {
            let (time, done) = timed(self.env, key, operation, work(key)).await;
            match done {
                Ok(()) => times.push(time),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let slowest = times.iter().max().copied().unwrap_or_default();
        self.examined.timings.extend(Timing::of(operation, times));
        let tried = format!("{operation}, {} times", keys.len());
        let is_well = failure.is_none();
        self.examined.add(match failure {
            Some(error) => {
                Finding::failed(check, tried, with_causes(&error), advice(&error, right))
            }
            None => Finding::ok(check, tried, format!("up to {slowest:.1?}")),
        });
        is_well
    }
}

/// Each right by itself. Whether objects may be created.
async fn rights(examined: &mut Examined, bucket: &dyn Bucket, env: &Env) -> bool {
    let body = Bytes::from(vec![b'e'; OBJECT_BYTES]);
    let keys = std::iter::repeat_with(|| ObjectKey::probe(env.rng.write_id()));
    let keys: Vec<ObjectKey> = keys.take(ROUNDS).collect();
    let mut probing = Probing { examined, env };
    let created = probing
        .right(
            "store create",
            ("create an object", "s3:PutObject"),
            &keys,
            async |key| create(bucket, key, body.clone()).await,
        )
        .await;
    let read = async |key: &ObjectKey, range| {
        let found = bucket.get(key, range).await?;
        let is_there = found.is_some() || !created;
        let kind = StoreErrorKind::Unsupported;
        is_there
            .then_some(())
            .ok_or_else(|| StoreError::new("get", key, kind))
    };
    let middle = ByteRange::new(8, 24).map_or(ReadRange::Full, ReadRange::Bounded);
    let right = "s3:GetObject";
    let get = ("read an object", right);
    let whole = async |key: &ObjectKey| read(key, ReadRange::Full).await;
    if probing.right("store read", get, &keys, whole).await {
        let range = ("read a range of an object", right);
        let part = async |key: &ObjectKey| read(key, middle).await;
        probing.right("store read", range, &keys, part).await;
        let head = async |key: &ObjectKey| bucket.head(key).await.map(drop);
        let length = ("ask for an object's length", right);
        probing.right("store read", length, &keys, head).await;
    }
    let list = async |_: &ObjectKey| {
        let below = ObjectKey::from_listing("probe/").unwrap_or_else(ObjectKey::cluster);
        bucket.list_after(&below, None, 1).await.map(drop)
    };
    let listing = ("list objects", "s3:ListBucket");
    probing.right("store list", listing, &keys, list).await;
    let delete = async |key: &ObjectKey| bucket.delete(key).await;
    let deletion = ("delete an object", "s3:DeleteObject");
    probing.right("store delete", deletion, &keys, delete).await;
    slow(examined);
    created
}

fn slow(examined: &mut Examined) {
    let create = examined.timings.iter();
    let create = create.filter(|one| one.operation == "create an object");
    let slow_ms = CREATE_SLOW.as_secs_f64() * 1000.0;
    let slow = create.filter(|one| one.median_ms > slow_ms);
    let medians: Vec<f64> = slow.map(|one| one.median_ms).collect();
    for median in medians {
        examined.add(Finding::warning(
            "store speed",
            "create objects quickly",
            format!("half of them took longer than {median:.0} ms"),
            "run nearer to the store: every acknowledgement waits for one create",
        ));
    }
}

/// The start-up probe of `esker serve`: what it demands, this store has.
async fn conditions(examined: &mut Examined, bucket: &dyn Bucket, env: &Env) {
    let check = "conditional writes";
    let tried = "create one key twice, and from 8 writers at once";
    let begun = env.clock.now();
    examined.add(match probe(bucket, env).await {
        Ok(report) => {
            let took = env.clock.now().since(begun);
            let races = report.races_won_once;
            let happened = format!(
                "the second create was refused, one writer won each of {races} races, {took:.1?}"
            );
            Finding::ok(check, tried, happened)
        }
        Err(error) => Finding::failed(
            check,
            tried,
            with_causes(&error),
            "use a store that honours If-None-Match, or take away what stands between and drops \
             the header; Esker refuses to run on this one",
        ),
    });
}

/// Whose prefix it is.
async fn cluster(examined: &mut Examined, config: &ServeConfig, bucket: &dyn Bucket, env: &Env) {
    let (check, tried) = ("cluster", "read cluster.json");
    let key = ObjectKey::cluster();
    let (_, read) = timed(env, &key, "get", bucket.get(&key, ReadRange::Full)).await;
    let found = match read {
        Ok(found) => found.map(|read| ClusterFile::decode(&read.bytes)),
        Err(error) => {
            let to_do = advice(&error, "s3:GetObject");
            examined.add(Finding::failed(check, tried, with_causes(&error), to_do));
            return;
        }
    };
    examined.add(match (found, config.cluster_id) {
        (None, _) => Finding::ok(
            check,
            tried,
            "there is none: the first start makes a cluster",
        ),
        (Some(Ok(file)), Some(wanted)) if file.cluster_id != wanted => Finding::failed(
            check,
            tried,
            format!("the prefix belongs to cluster {}", file.cluster_id),
            format!("check bucket and prefix, or --cluster-id, which says {wanted}"),
        ),
        (Some(Ok(file)), _) => Finding::ok(
            check,
            tried,
            format!("the prefix belongs to cluster {}", file.cluster_id),
        ),
        (Some(Err(error)), _) => Finding::failed(
            check,
            tried,
            with_causes(&error),
            "choose another prefix, or start the version of Esker that wrote it",
        ),
    });
}

/// How far the store's clock is ahead of ours.
fn clock(examined: &mut Examined, config: &ServeConfig, back_end: &BackEnd, env: &Env) {
    let (tried, ahead) = match (back_end, &config.store) {
        (BackEnd::S3(bucket), _) => {
            let tried = "compare the clock with the Date of the store's answers";
            (
                tried,
                bucket
                    .clock_ahead_ms()
                    .ok_or_else(|| "no answer had one".to_owned()),
            )
        }
        (BackEnd::Directory(_), StoreUrl::Directory(path)) => {
            let tried = "compare the clock with the time of a new file";
            (
                tried,
                file_ahead_ms(path, env).map_err(|error| error.to_string()),
            )
        }
        (BackEnd::Memory(_) | BackEnd::Directory(_), _) => return,
    };
    examined.add(match ahead {
        Ok(ahead) => skew(tried, ahead),
        Err(reason) => Finding::skipped("clock", tried, reason),
    });
}

fn skew(tried: &str, ahead_ms: i64) -> Finding {
    let check = "clock";
    let apart = ahead_ms.saturating_abs();
    let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let tenths = apart / 100;
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let happened = format!("the store is {seconds}.{tenth} s {side} this machine");
    let to_do = "set this machine's clock (NTP), or the store's: signatures carry the time, and \
                 record timestamps come from it";
    match apart {
        0..SKEW_WARNING_MS => Finding::ok(check, tried, happened),
        SKEW_WARNING_MS..SKEW_FAILED_MS => Finding::warning(check, tried, happened, to_do),
        _ => Finding::failed(check, tried, happened, to_do),
    }
}

/// The time that the file system gives a new file, less ours.
fn file_ahead_ms(directory: &Path, env: &Env) -> std::io::Result<i64> {
    let path = directory.join(format!(".esker-doctor-{:016x}", env.rng.u64()));
    let file = std::fs::File::create_new(&path)?;
    let ours = env.clock.wall().millis();
    let modified = file.metadata().and_then(|about| about.modified());
    std::fs::remove_file(&path)?;
    let since_1970 = modified?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let theirs = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    Ok(theirs.saturating_sub(ours))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn clocks_may_differ_a_little_in_either_direction() {
        for (ahead_ms, status) in [
            (0, Status::Ok),
            (-4_999, Status::Ok),
            (5_000, Status::Warning),
            (-299_999, Status::Warning),
            (300_000, Status::Failed),
            (i64::MIN, Status::Failed),
        ] {
            assert_eq!(skew("", ahead_ms).status, status, "{ahead_ms}");
        }
        assert!(skew("", -61_500).happened.contains("61.5 s behind"));
    }

    #[tokio::test]
    async fn a_sound_store_has_every_right_and_is_left_as_it_was() {
        let bucket = MemoryBucket::new();
        let mut examined = Examined::default();
        let env = Env::system();

        let created = rights(&mut examined, &bucket, &env).await;
        conditions(&mut examined, &bucket, &env).await;

        assert!(created);
        let bad = examined
            .findings
            .iter()
            .find(|one| one.status != Status::Ok);
        assert_eq!(bad, None);
        assert_eq!(examined.timings.len(), 6);
        let below = ObjectKey::from_listing("probe/").unwrap();
        assert_eq!(bucket.list_after(&below, None, 10).await.unwrap(), []);
    }

    #[test]
    fn a_new_files_time_is_now() {
        let directory = tempfile::tempdir().unwrap();

        let ahead = file_ahead_ms(directory.path(), &Env::system()).unwrap();

        assert!(ahead.abs() < 5_000, "{ahead}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
