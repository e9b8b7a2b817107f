//! Settings of an S3 bucket, and how it is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use esker_env::Env;
use object_store::aws::{
    AmazonS3Builder, AwsCredential, AwsCredentialProvider, Checksum, S3ConditionalPut,
};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::S3Bucket;
use super::credentials::Credentials;
use super::transport::{CheckedConnector, StoreClock};

/// Longer than any deadline of `DurableBucket`, which is the one that counts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// S3 closes idle connections after about 20 s; ours go first.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// What an upload carries so that the store can tell whether its bytes arrived as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UploadChecksum {
    /// CRC-64/NVME in a header; the payload itself is not part of the signature. One pass at tens
    /// of GB/s. Who can change bytes on the way can change the checksum too: that is TLS's task.
    #[default]
    Crc64Nvme,
    /// SHA-256 in a header and in the signature: for stores without the above, or plain HTTP on a
    /// network that is not trusted. About 0.6 s of a core per GiB where the processor helps.
    Sha256,
}

/// Where the bucket is and how to reach it. What is `None` comes from AWS's usual places.
#[derive(Clone, Default)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// Everything of ours lies below it; may be empty.
    pub prefix: String,
    /// For stores other than AWS, such as `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Default: AWS's own search, then `us-east-1`.
    pub region: Option<String>,
    /// Bucket in the path rather than in the host name. Default: yes with an endpoint, else no.
    pub path_style: Option<bool>,
    /// With the secret key: fixed credentials instead of AWS's search.
    pub access_key_id: Option<String>,
    /// See `access_key_id`.
    pub secret_access_key: Option<String>,
    /// Of temporary fixed credentials.
    pub session_token: Option<String>,
    /// How uploads are checked by the store.
    pub upload_checksum: UploadChecksum,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("access_key_id", &self.access_key_id)
            .field("upload_checksum", &self.upload_checksum)
            .finish_non_exhaustive()
    }
}

/// Why an S3 bucket cannot be opened. Nothing was sent to the store yet.
#[derive(Debug, thiserror::Error)]
pub enum S3OpenError {
    /// No bucket name.
    #[error("no bucket is named: write s3://bucket/prefix")]
    NoBucketName,
    /// One half of the fixed credentials.
    #[error("an access key id and a secret access key are needed together: set both or neither")]
    HalfCredentials,
    /// Neither fixed credentials nor a provider.
    #[error("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")]
    NoCredentials,
    /// A prefix with empty parts, dots or control characters.
    #[error("prefix is not valid: use plain words between slashes")]
    Prefix {
        /// What is wrong with it.
        #[source]
        source: object_store::path::Error,
    },
    /// The endpoint is no URL of a host.
    #[error("endpoint {endpoint:?} is no URL: write http://host:port or https://host")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The client could not be made.
    #[error("client for S3 could not be made: check endpoint and region")]
    Client {
        /// What the library said.
        #[source]
        source: object_store::Error,
    },
}

/// Nothing is hidden behind our own retries.
fn no_retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 0,
        retry_timeout: Duration::ZERO,
    }
}

impl S3Config {
    fn fixed_credential(&self) -> Result<Option<AwsCredential>, S3OpenError> {
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(key_id), Some(secret_key)) => Ok(Some(AwsCredential {
                key_id: key_id.clone(),
                secret_key: secret_key.clone(),
                token: self.session_token.clone(),
            })),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(S3OpenError::HalfCredentials),
        }
    }

    /// Without slashes around it, with one behind it unless it is empty.
    fn normal_prefix(&self) -> Result<String, S3OpenError> {
        let trimmed = self.prefix.trim_matches('/');
        object_store::path::Path::parse(trimmed)
            .map_err(|source| S3OpenError::Prefix { source })?;
        Ok(if trimmed.is_empty() {
            String::new()
        } else {
            format!("{trimmed}/")
        })
    }
}

impl S3Bucket {
    /// Settles region, endpoint and credentials and makes the client. AWS's search may read files
    /// and the environment; nothing is sent to the store.
    ///
    /// # Errors
    /// [`S3OpenError`]: the settings do not fit together.
    pub async fn open(config: S3Config, env: Env) -> Result<Self, S3OpenError> {
        if config.bucket.is_empty() {
            return Err(S3OpenError::NoBucketName);
        }
        let prefix = config.normal_prefix()?;
        let clock = Arc::new(StoreClock::new(env.clone()));
        let mut endpoint = config.endpoint.clone();
        let mut region = config.region.clone();
        let credentials = match config.fixed_credential()? {
            Some(credential) if region.is_some() || endpoint.is_some() => {
                Credentials::fixed(credential, env)
            }
            fixed => {
                let found = aws_config::defaults(BehaviorVersion::v2026_01_12())
                    .load()
                    .await;
                region = region.or_else(|| found.region().map(ToString::to_string));
                endpoint = endpoint.or_else(|| found.endpoint_url().map(str::to_owned));
                match (fixed, found.credentials_provider()) {
                    (Some(credential), _) => Credentials::fixed(credential, env),
                    (None, Some(provider)) => Credentials::chain(provider, env),
                    (None, None) => return Err(S3OpenError::NoCredentials),
                }
            }
        };
        let credentials = Arc::new(credentials);
        let provider: AwsCredentialProvider = Arc::<Credentials>::clone(&credentials);
        let path_style = config.path_style.unwrap_or(endpoint.is_some());
        let is_plain = endpoint
            .as_ref()
            .is_some_and(|url| url.starts_with("http://"));
        let options = ClientOptions::new()
            .with_allow_http(is_plain)
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_pool_idle_timeout(POOL_IDLE_TIMEOUT);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(region.unwrap_or_else(|| "us-east-1".to_owned()))
            .with_credentials(provider)
            .with_client_options(options)
            .with_http_connector(CheckedConnector::new(Arc::clone(&clock)))
            .with_retry(no_retries())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_checksum_algorithm(config.upload_checksum.header())
            .with_unsigned_payload(config.upload_checksum == UploadChecksum::Crc64Nvme)
            .with_disable_bulk_delete(true)
            .with_virtual_hosted_style_request(!path_style);
        if let Some(endpoint) = endpoint {
            check_endpoint(&endpoint)?;
            builder = builder.with_endpoint(endpoint_for(&endpoint, &config.bucket, path_style));
        }
        let store = builder
            .build()
            .map_err(|source| S3OpenError::Client { source })?;
        Ok(Self {
            store,
            prefix,
            credentials,
            clock,
        })
    }
}

impl UploadChecksum {
    fn header(self) -> Checksum {
        match self {
            Self::Crc64Nvme => Checksum::CRC64NVME,
            Self::Sha256 => Checksum::SHA256,
        }
    }
}

/// `object_store` would only fail at the first request.
fn check_endpoint(endpoint: &str) -> Result<(), S3OpenError> {
    let host = endpoint
        .strip_prefix("http://")
        .or_else(|| endpoint.strip_prefix("https://"));
    let of_host = |text: char| text.is_ascii_alphanumeric() || ".:-_[]/%".contains(text);
    match host {
        Some(host) if host.starts_with(|first| first != '/') && host.chars().all(of_host) => Ok(()),
        Some(_) | None => Err(S3OpenError::Endpoint {
            endpoint: endpoint.to_owned(),
        }),
    }
}

/// `object_store` wants the bucket in the endpoint's host itself unless it goes into the path.
fn endpoint_for(endpoint: &str, bucket: &str, path_style: bool) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.split_once("://") {
        Some((scheme, host)) if !path_style && !host.starts_with(&format!("{bucket}.")) => {
            format!("{scheme}://{bucket}.{host}")
        }
        Some(_) | None => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_stands_in_the_host_or_in_the_path_once() {
        assert_eq!(endpoint_for("http://h:1/", "b", true), "http://h:1");
        assert_eq!(endpoint_for("https://h", "b", false), "https://b.h");
        assert_eq!(endpoint_for("https://b.h", "b", false), "https://b.h");
    }

    #[tokio::test]
    async fn settings_that_do_not_fit_together_are_refused() {
        let good = S3Config {
            bucket: "b".to_owned(),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            access_key_id: Some("id".to_owned()),
            secret_access_key: Some("very-secret".to_owned()),
            ..S3Config::default()
        };
        let open = async |config| S3Bucket::open(config, Env::system()).await.map(drop);

        let nameless = S3Config {
            bucket: String::new(),
            ..good.clone()
        };
        let half = S3Config {
            secret_access_key: None,
            ..good.clone()
        };
        let dots = S3Config {
            prefix: "a/../b".to_owned(),
            ..good.clone()
        };

        assert!(matches!(
            open(nameless).await,
            Err(S3OpenError::NoBucketName)
        ));
        assert!(matches!(
            open(half).await,
            Err(S3OpenError::HalfCredentials)
        ));
        assert!(matches!(open(dots).await, Err(S3OpenError::Prefix { .. })));
        for endpoint in [
            "",
            "h:1",
            "http://",
            "http:///b",
            "ftp://h",
            "http://two words",
        ] {
            let odd = S3Config {
                endpoint: Some(endpoint.to_owned()),
                ..good.clone()
            };
            let refused = open(odd).await;
            assert!(
                matches!(refused, Err(S3OpenError::Endpoint { .. })),
                "{endpoint}"
            );
        }
        assert!(!format!("{good:?}").contains("very-secret"));
        open(good).await.unwrap();
    }
}
