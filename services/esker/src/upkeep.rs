//! `esker verify` and `esker rebuild`: what operators ask of a bucket, without a server.
//!
//! Both work on the store alone. Verifying only reads, and works beside running servers; rebuilding
//! wants them stopped. The work itself is in `esker-audit`; here are arguments, bars and reports.

mod bar;
mod rebuild;
mod report;
mod topics;
mod verify;

use anyhow::Context as _;
use clap::Args;
use esker_audit::{AuditParts, find_clusters};
use esker_env::Env;
use esker_object::{ClusterError, read_cluster};

use crate::cli::exit::{Cause, Failure, with_causes};
use crate::cli::{Output, Plainness};
use crate::config::ServeConfig;
use crate::store::{Access, OpenBucket, open_bucket};

pub(crate) use rebuild::{RebuildArguments, run as rebuild};
pub(crate) use verify::{VerifyArguments, run as verify};

// How the output looks. No doc comment: clap would make it the help of the command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Look {
    /// How the output looks
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) plainness: Plainness,
}

/// A bucket and whose it is.
#[derive(Debug)]
struct Opened {
    bucket: OpenBucket,
    parts: AuditParts,
}

/// The bucket could not be looked at at all.
fn unreadable(tried: &str, error: &anyhow::Error) -> Failure {
    let text = with_causes(error.as_ref());
    let what = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Failure::new(tried, Cause::Unreadable { what })
}

/// Opens the store and finds out whose it is: by the settings, by `cluster.json`, or by the only
/// cluster that has objects below the prefix.
async fn open(config: &ServeConfig, access: Access, env: &Env) -> anyhow::Result<Opened> {
    let bucket = open_bucket(config, access, env)
        .await
        .context("open the store")?;
    let found = match read_cluster(bucket.bucket.as_ref()).await {
        Ok(found) => found.map(|file| file.cluster_id),
        Err(error @ ClusterError::Store(_)) => return Err(error.into()),
        Err(error) if config.cluster_id.is_none() => return Err(error.into()),
        Err(_) => None,
    };
    let named = config.cluster_id.or(found);
    let cluster = match named {
        Some(cluster) => cluster,
        None => {
            let clusters = find_clusters(bucket.bucket.as_ref()).await;
            match clusters.context("list the prefix")?.as_slice() {
                [only] => *only,
                [] => anyhow::bail!("the prefix holds no cluster: check --store and its prefix"),
                several => {
                    let count = several.len();
                    anyhow::bail!(
                        "the prefix holds {count} clusters and no cluster.json: name one with \
                         --cluster-id"
                    )
                }
            }
        }
    };
    let parts = AuditParts {
        bucket: bucket.bucket.clone(),
        env: env.clone(),
        cluster,
    };
    Ok(Opened { bucket, parts })
}
