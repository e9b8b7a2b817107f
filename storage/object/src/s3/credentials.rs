//! Credentials for S3: fixed ones from the configuration, or AWS's default chain (environment,
//! profiles, SSO, web identity, container, instance), cached and fetched anew ahead of expiry.
//!
//! One fetch is in flight; others wait for it. Never printed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError as ChainError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use esker_env::Env;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

/// Credentials are replaced this long before they expire.
const REFRESH_AHEAD: Duration = Duration::from_secs(300);

/// Credentials that the store refuses are fetched anew this often at most: it may refuse for other
/// reasons, at every read.
const SUSPECT_INTERVAL: Duration = Duration::from_secs(5);

/// No credentials could be had: nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error(
    "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or give the \
     machine a role"
)]
pub(super) struct CredentialsError {
    #[source]
    source: ChainError,
}

#[derive(Debug)]
struct Cached {
    credential: Arc<AwsCredential>,
    /// Milliseconds since 1970; none: they do not expire.
    expires_ms: Option<i64>,
}

#[derive(Debug)]
enum Origin {
    Fixed(Arc<AwsCredential>),
    Chain(SharedCredentialsProvider),
}

/// Where the store's credentials come from.
#[derive(Debug)]
pub(super) struct Credentials {
    origin: Origin,
    cached: Mutex<Option<Cached>>,
    is_stale: AtomicBool,
    /// When they are fetched anew for a refusal again, in milliseconds of the process's time.
    suspect_from_ms: AtomicU64,
    env: Env,
}

impl Credentials {
    pub(super) fn fixed(credential: AwsCredential, env: Env) -> Self {
        Self::new(Origin::Fixed(Arc::new(credential)), env)
    }

    pub(super) fn chain(provider: SharedCredentialsProvider, env: Env) -> Self {
        Self::new(Origin::Chain(provider), env)
    }

    fn new(origin: Origin, env: Env) -> Self {
        Self {
            origin,
            cached: Mutex::new(None),
            is_stale: AtomicBool::new(false),
            suspect_from_ms: AtomicU64::new(0),
            env,
        }
    }

    /// The store called them expired. `false` when there are no others to be had.
    pub(super) fn expire(&self) -> bool {
        self.is_stale.store(true, Ordering::Release);
        matches!(self.origin, Origin::Chain(_))
    }

    /// The store refused them.
    pub(super) fn suspect(&self) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = self.env.clock.now();
        let next = millis(now.after(SUSPECT_INTERVAL).since_start());
        let is_due = |from: u64| (from <= millis(now.since_start())).then_some(next);
        let order = Ordering::AcqRel;
        let from = self
            .suspect_from_ms
            .fetch_update(order, Ordering::Acquire, is_due);
        if from.is_ok() {
            self.is_stale.store(true, Ordering::Release);
        }
    }

    async fn current(&self) -> Result<Arc<AwsCredential>, CredentialsError> {
        let provider = match &self.origin {
            Origin::Fixed(credential) => return Ok(Arc::clone(credential)),
            Origin::Chain(provider) => provider,
        };
        let mut cached = self.cached.lock().await;
        let is_stale = self.is_stale.swap(false, Ordering::AcqRel);
        let now_ms = self.env.clock.wall().millis();
        let ahead_ms = i64::try_from(REFRESH_AHEAD.as_millis()).unwrap_or(0);
        let expires_by = |cached: &Cached, at: i64| cached.expires_ms.is_some_and(|end| end <= at);
        if let Some(kept) = cached.as_ref()
            && !is_stale
            && !expires_by(kept, now_ms.saturating_add(ahead_ms))
        {
            return Ok(Arc::clone(&kept.credential));
        }
        match provider.provide_credentials().await {
            Ok(fresh) => {
                let since_1970 = fresh
                    .expiry()
                    .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let credential = Arc::new(AwsCredential {
                    key_id: fresh.access_key_id().to_owned(),
                    secret_key: fresh.secret_access_key().to_owned(),
                    token: fresh.session_token().map(str::to_owned),
                });
                let expires_ms = since_1970.and_then(|since| i64::try_from(since.as_millis()).ok());
                *cached = Some(Cached {
                    credential: Arc::clone(&credential),
                    expires_ms,
                });
                Ok(credential)
            }
            Err(source) => match cached.as_ref() {
                // Too early to give up: those at hand are still good.
                Some(kept) if !is_stale && !expires_by(kept, now_ms) => {
                    tracing::warn!(error = %source, "refresh of AWS credentials failed");
                    Ok(Arc::clone(&kept.credential))
                }
                Some(_) | None => Err(CredentialsError { source }),
            },
        }
    }
}

type Provided<'a> =
    Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'a>>;

impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    fn get_credential<'life0, 'async_trait>(&'life0 self) -> Provided<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            self.current()
                .await
                .map_err(|source| object_store::Error::Generic {
                    store: "S3",
                    source: Box::new(source),
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials as AwsCredentials;
    use aws_credential_types::provider::{ProvideCredentials, future};

    use super::*;

    /// Gives out numbered credentials that expire after so many seconds.
    #[derive(Debug)]
    struct Numbered {
        given: std::sync::atomic::AtomicU64,
        lifetime: Duration,
        env: Env,
    }

    impl ProvideCredentials for Numbered {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.given.fetch_add(1, Ordering::Relaxed);
            let now = u64::try_from(self.env.clock.wall().millis()).unwrap();
            let expiry = UNIX_EPOCH + Duration::from_millis(now) + self.lifetime;
            let fresh = AwsCredentials::new(number.to_string(), "s", None, Some(expiry), "test");
            future::ProvideCredentials::ready(Ok(fresh))
        }
    }

    fn credentials(lifetime: Duration) -> Credentials {
        let env = Env::system();
        let given = std::sync::atomic::AtomicU64::new(0);
        let provider = Numbered {
            given,
            lifetime,
            env: env.clone(),
        };
        Credentials::chain(SharedCredentialsProvider::new(provider), env)
    }

    async fn key_id(credentials: &Credentials) -> String {
        credentials.get_credential().await.unwrap().key_id.clone()
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_they_expire() {
        let long = credentials(Duration::from_secs(3600));
        let short = credentials(REFRESH_AHEAD);

        assert_eq!(
            (key_id(&long).await, key_id(&long).await),
            ("0".into(), "0".into())
        );
        assert_eq!(
            (key_id(&short).await, key_id(&short).await),
            ("0".into(), "1".into())
        );
    }

    #[tokio::test]
    async fn credentials_that_the_store_calls_expired_are_fetched_anew() {
        let credentials = credentials(Duration::from_secs(3600));
        assert_eq!(key_id(&credentials).await, "0");

        assert!(credentials.expire());

        assert_eq!(key_id(&credentials).await, "1");
        assert_eq!(key_id(&credentials).await, "1");
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_the_store_refuses_are_fetched_anew_now_and_then() {
        let credentials = credentials(Duration::from_secs(3600));
        assert_eq!(key_id(&credentials).await, "0");

        for _ in 0..3 {
            credentials.suspect();
            assert_eq!(key_id(&credentials).await, "1");
        }
        credentials.env.clock.sleep(SUSPECT_INTERVAL).await;
        credentials.suspect();

        assert_eq!(key_id(&credentials).await, "2");
    }

    #[tokio::test]
    async fn fixed_credentials_cannot_be_renewed_and_are_not_printed() {
        let credential = AwsCredential {
            key_id: "id".to_owned(),
            secret_key: "very-secret".to_owned(),
            token: None,
        };
        let credentials = Credentials::fixed(credential, Env::system());

        assert!(!credentials.expire());
        assert_eq!(key_id(&credentials).await, "id");
        assert!(!format!("{credentials:?}").contains("very-secret"));
    }
}
