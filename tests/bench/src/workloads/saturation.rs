//! What the server takes at most, beside what its store takes from nobody but us.

use anyhow::ensure;
use bytes::Bytes;
use esker_env::Env;
use esker_object::{Bucket as _, ObjectKey, PutOutcome, S3Bucket};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::own_load::{saturate, short};
use super::{Figures, numbers};
use crate::contender::Running;
use crate::own::Load;
use crate::suite::Plan;

const OBJECT_MIB: usize = 8;
const OBJECTS: u32 = 64;
const PARALLEL: usize = 8;

/// Four producers as fast as they go; on an S3 store also plain puts of 8 MiB, eight at once.
pub(super) async fn run(on: &Running, plan: &Plan) -> anyhow::Result<Figures> {
    let load = Load {
        producers: 4,
        ..Load::usual("produce", short(plan))
    };
    let mut figures = saturate(on, load).await?;
    if let Some(bucket) = on.scratch_bucket().await? {
        let plain = put_rate(&bucket).await?;
        let reached = figures.get("mib_per_s").copied().unwrap_or(0.0);
        figures.insert("plain_puts_mib_per_s".to_owned(), plain);
        figures.insert("share_of_plain_puts".to_owned(), reached / plain);
    }
    Ok(figures)
}

async fn put_rate(bucket: &S3Bucket) -> anyhow::Result<f64> {
    let env = Env::system();
    let body = Bytes::from(vec![0x5a; OBJECT_MIB * 1024 * 1024]);
    let start = env.clock.now();
    let puts = (0..OBJECTS).map(|_| {
        let (key, body) = (ObjectKey::probe(env.rng.write_id()), body.clone());
        async move {
            let outcome = bucket.put_if_absent(&key, body).await;
            ensure!(matches!(outcome, PutOutcome::Created), "{outcome:?}");
            bucket.delete(&key).await?;
            Ok(())
        }
    });
    let mut puts = stream::iter(puts).buffer_unordered(PARALLEL);
    while puts.try_next().await?.is_some() {}
    let took = env.clock.now().since(start).as_secs_f64();
    let mib = numbers::of(u64::from(OBJECTS)) * numbers::of(u64::try_from(OBJECT_MIB)?);
    Ok(mib / took)
}
