//! `cluster.json`: which cluster owns the bucket prefix, and in which format.
//!
//! Created once by the first process; everyone else takes what is there. Read at every start.
//! Source: docs/formats/cluster.md.

use bytes::Bytes;
use esker_env::Env;
use esker_types::ClusterId;

use crate::limits::CLUSTER_FILE_BYTES_MAX;
use crate::{Bucket, IDENTITY_BYTES, ObjectKey, PutOutcome, ReadRange, StoreError};

/// The format of the bucket that this build writes, and the newest that it reads.
pub const CLUSTER_FORMAT: u64 = 1;

/// Contents of `cluster.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterFile {
    /// Format of everything below the prefix.
    pub format: u64,
    /// Who owns the prefix.
    pub cluster_id: ClusterId,
}

/// Bytes that are no `cluster.json` this build can work with.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFileError {
    /// A newer Esker wrote it.
    #[error(
        "bucket has format {found}, this build knows formats up to {known}: start a newer Esker"
    )]
    FutureFormat {
        /// The format in the file.
        found: u64,
        /// The newest one this build knows.
        known: u64,
    },
    /// Larger than any such file.
    #[error(
        "cluster.json has {found_bytes} bytes, more than any Esker wrote: not an Esker prefix?"
    )]
    TooLarge {
        /// Its length.
        found_bytes: u64,
    },
    /// Not JSON.
    #[error("cluster.json is not JSON: not an Esker prefix, or damaged")]
    NotJson {
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// JSON without a usable field.
    #[error("cluster.json has no valid {field}: not an Esker prefix, or damaged")]
    Field {
        /// The field.
        field: &'static str,
    },
}

/// Why the cluster's identity could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The prefix belongs to another cluster.
    #[error(
        "prefix belongs to cluster {found}, not to {expected}: check the bucket and the prefix, \
         or configure the other cluster id"
    )]
    OtherCluster {
        /// Who owns it.
        found: ClusterId,
        /// Who was configured.
        expected: ClusterId,
    },
    /// The file is there but cannot be used.
    #[error("cluster.json cannot be used")]
    File(#[source] ClusterFileError),
    /// The store failed.
    #[error("cluster.json could not be read or created")]
    Store(#[source] StoreError),
    /// The file was refused as existing and then not found: somebody deletes below our prefix.
    #[error("cluster.json exists and then does not: does someone delete below the prefix?")]
    Vanished,
}

impl ClusterFile {
    /// The stored form. The id stands within the first [`IDENTITY_BYTES`], so that two processes
    /// that create the file at once are told apart.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let text = format!(
            "{{\"format\":{},\"cluster_id\":\"{}\"}}\n",
            self.format, self.cluster_id
        );
        assert!(
            text.len() <= IDENTITY_BYTES,
            "the id stands in the identity bytes"
        );
        Bytes::from(text)
    }

    /// Reads the stored form. Unknown fields are left alone.
    ///
    /// # Errors
    /// [`ClusterFileError`]: not such a file, or one from the future.
    pub fn decode(bytes: &[u8]) -> Result<Self, ClusterFileError> {
        let found_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if found_bytes > CLUSTER_FILE_BYTES_MAX {
            return Err(ClusterFileError::TooLarge { found_bytes });
        }
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|source| ClusterFileError::NotJson { source })?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        let format = format.filter(|format| *format > 0);
        let found = format.ok_or(ClusterFileError::Field { field: "format" })?;
        if found > CLUSTER_FORMAT {
            return Err(ClusterFileError::FutureFormat {
                found,
                known: CLUSTER_FORMAT,
            });
        }
        let id = value.get("cluster_id").and_then(serde_json::Value::as_str);
        let cluster_id = id.and_then(|text| ClusterId::from_hex(text).ok());
        let cluster_id = cluster_id.ok_or(ClusterFileError::Field {
            field: "cluster_id",
        })?;
        Ok(Self {
            format: found,
            cluster_id,
        })
    }
}

/// Settles whose prefix this is: reads `cluster.json`, creates it if nobody has. Of several that
/// create it at once one wins and the others take its id. `bucket` should be the dependable one.
///
/// # Errors
/// [`ClusterError`]: another cluster's prefix, a format from the future, or a failing store.
pub async fn open_cluster(
    bucket: &dyn Bucket,
    expected: Option<ClusterId>,
    env: &Env,
) -> Result<ClusterId, ClusterError> {
    let found = read_cluster(bucket).await?;
    claim_cluster(bucket, found, expected, env).await
}

/// The same behind [`read_cluster`], for whoever has to know first whether there is a cluster.
///
/// # Errors
/// As [`open_cluster`].
pub async fn claim_cluster(
    bucket: &dyn Bucket,
    found: Option<ClusterFile>,
    expected: Option<ClusterId>,
    env: &Env,
) -> Result<ClusterId, ClusterError> {
    if let Some(file) = found {
        return check(file, expected);
    }
    let ours = ClusterFile {
        format: CLUSTER_FORMAT,
        cluster_id: expected.unwrap_or_else(|| env.rng.cluster_id()),
    };
    match bucket
        .put_if_absent(&ObjectKey::cluster(), ours.encode())
        .await
    {
        PutOutcome::Created | PutOutcome::AlreadyOurs => {
            tracing::info!(cluster = %ours.cluster_id, "created cluster.json");
            Ok(ours.cluster_id)
        }
        PutOutcome::Exists => check(
            read_cluster(bucket).await?.ok_or(ClusterError::Vanished)?,
            expected,
        ),
        PutOutcome::Unknown(error) | PutOutcome::Refused(error) => Err(ClusterError::Store(error)),
    }
}

/// Reads `cluster.json` and makes nothing; `None` when there is none. One GET.
///
/// # Errors
/// [`ClusterError`]: it cannot be used, or the store fails.
pub async fn read_cluster(bucket: &dyn Bucket) -> Result<Option<ClusterFile>, ClusterError> {
    let read = bucket.get(&ObjectKey::cluster(), ReadRange::Full).await;
    let Some(read) = read.map_err(ClusterError::Store)? else {
        return Ok(None);
    };
    ClusterFile::decode(&read.bytes)
        .map(Some)
        .map_err(ClusterError::File)
}

fn check(file: ClusterFile, expected: Option<ClusterId>) -> Result<ClusterId, ClusterError> {
    match expected {
        Some(expected) if expected != file.cluster_id => Err(ClusterError::OtherCluster {
            found: file.cluster_id,
            expected,
        }),
        Some(_) | None => Ok(file.cluster_id),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Fault, FaultRule, FaultyBucket, MemoryBucket, Operation, StoreErrorKind};

    const GOLDEN: &str = include_str!("../../../docs/formats/cluster.hex");

    fn golden() -> Vec<u8> {
        let digits: Vec<char> = GOLDEN.chars().filter(char::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    async fn bucket_with(text: &str) -> MemoryBucket {
        let bucket = MemoryBucket::new();
        let body = Bytes::from(text.to_owned());
        let _ = bucket.put_if_absent(&ObjectKey::cluster(), body).await;
        bucket
    }

    #[test]
    fn golden_bytes_hold_in_both_directions() {
        let file = ClusterFile {
            format: 1,
            cluster_id: ClusterId::from_bytes([2; 16]),
        };

        assert_eq!(file.encode(), golden());
        assert_eq!(ClusterFile::decode(&golden()).unwrap(), file);
    }

    #[tokio::test]
    async fn the_first_process_creates_and_the_others_take_its_id() {
        let (bucket, env) = (MemoryBucket::new(), Env::system());

        let ids =
            futures::future::join_all((0..8).map(|_| open_cluster(&bucket, None, &env))).await;

        let first = ids[0].as_ref().unwrap();
        assert!(ids.iter().all(|id| id.as_ref().unwrap() == first));
        assert_eq!(
            open_cluster(&bucket, Some(*first), &env).await.unwrap(),
            *first
        );
    }

    #[tokio::test]
    async fn another_clusters_prefix_is_refused() {
        let (bucket, env) = (MemoryBucket::new(), Env::system());
        let found = open_cluster(&bucket, None, &env).await.unwrap();

        let outcome = open_cluster(&bucket, Some(ClusterId::from_bytes([9; 16])), &env).await;

        assert!(matches!(outcome, Err(ClusterError::OtherCluster { found: f, .. }) if f == found));
    }

    #[tokio::test]
    async fn a_format_from_the_future_is_refused_and_an_unknown_field_is_not() {
        let env = Env::system();
        let id = "02".repeat(16);
        let future = bucket_with(&format!("{{\"format\":2,\"cluster_id\":\"{id}\"}}")).await;
        let extra = bucket_with(&format!(
            "{{\"format\":1,\"new\":[],\"cluster_id\":\"{id}\"}}"
        ))
        .await;

        let refused = open_cluster(&future, None, &env).await.unwrap_err();
        let taken = open_cluster(&extra, None, &env).await.unwrap();

        assert!(matches!(
            refused,
            ClusterError::File(ClusterFileError::FutureFormat { found: 2, known: 1 })
        ));
        assert_eq!(taken.to_hex(), id);
    }

    #[tokio::test]
    async fn a_failing_store_and_a_vanishing_file_are_told_apart() {
        let env = Env::system();
        let outcome = async |fault| {
            let bucket = FaultyBucket::new(Arc::new(MemoryBucket::new()), env.clone());
            bucket.add(FaultRule::new(fault).on(Operation::Put));
            open_cluster(&bucket, None, &env).await
        };

        let denied = outcome(Fault::Refuse(StoreErrorKind::Denied)).await;
        let vanished = outcome(Fault::FalseExists).await;

        let kind = StoreErrorKind::Denied;
        assert!(matches!(denied, Err(ClusterError::Store(error)) if error.kind == kind));
        assert!(matches!(vanished, Err(ClusterError::Vanished)));
    }

    #[test]
    fn bytes_that_are_no_cluster_file_are_refused() {
        let large = vec![b' '; usize::try_from(CLUSTER_FILE_BYTES_MAX).unwrap() + 1];
        let decode = ClusterFile::decode;

        assert!(matches!(
            decode(&large),
            Err(ClusterFileError::TooLarge { .. })
        ));
        assert!(matches!(
            decode(b"ESKR"),
            Err(ClusterFileError::NotJson { .. })
        ));
        for text in [
            "{}",
            "[]",
            r#"{"format":1,"cluster_id":"x"}"#,
            r#"{"format":0}"#,
        ] {
            let outcome = decode(text.as_bytes());
            assert!(
                matches!(outcome, Err(ClusterFileError::Field { .. })),
                "{text}"
            );
        }
    }
}
